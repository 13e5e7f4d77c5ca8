/**
 * A target in an order in which every prefix is sound: what should move, each with what it gains when those before it moved.
 *
 * 1. What must leave, then by dollars gained net of the move for each second that the move takes, most first.
 * 2. Each is taken when its node has room at that point and it pays for itself given those before it.
 * 3. What found no room is tried again with the moves that make it, kept where all of them together pay.
 *
 * Guarantees: no prefix puts a shard on a node beyond full, and neither does leaving out any whose {@link Step.after} names
 * one that is left out: so a plan that stops or skips (a budget) keeps the hard constraints. Gains add up to what the whole
 * saves; the same target gives the same order.
 */
import type { ClusterProblem } from './cluster-problem.ts';
import { overloadUsd, primaryMoveUsd } from './solver/objective.ts';
import { State } from './solver/state.ts';
import { isTimed } from './timing.ts';

/** Gains below this many dollars over the window are rounding, not reasons. */
export const GAIN_USD_MIN = 1e-12;
/** Passes over what found no room or did not pay yet: others have moved meanwhile. */
const PASSES_MAX = 4;
/** Moves that make room for one at most. */
const ROOM_MAKERS_MAX = 16;

export interface Step {
  s: number;
  /** -1: its node is gone. */
  from: number;
  to: number;
  must: boolean;
  /** Dollars over the window, the move not counted; and the move. */
  gainUsd: number;
  costUsd: number;
  /** The gain by step, of a move inside a region: what tells when it is needed (timing.ts). */
  gainByStepUsd?: Float64Array;
  /** Shards that must have left, since they make room for this one. */
  after: number[];
}

export interface Sequence {
  steps: Step[];
  /** Where everything is after all steps. */
  state: State;
  /** What has to leave where it is and has nowhere to go. */
  stuck: number[];
}

export function sequence(cluster: ClusterProblem, place: Int32Array, must: ReadonlySet<number>): Sequence {
  const { problem } = cluster;
  const start = primariesOf(problem.start, problem.width);
  const state = new State(problem, start);
  const taker = new Taker(cluster, state);
  const wanted: { s: number; to: number; key: number }[] = [];
  const stuck: number[] = [];
  for (let s = 0; s < problem.shardCount; s++) {
    const to = place[s * problem.width]!;
    const from = start[s * problem.width]!;
    if (to === from && to >= 0) continue;
    if (to < 0) stuck.push(s);
    else wanted.push({ s, to, key: taker.netUsd(s, to) / cluster.doneS(s) });
  }
  const first = (s: number) => (must.has(s) || start[s * problem.width]! < 0 ? 0 : 1);
  wanted.sort((a, b) => first(a.s) - first(b.s) || b.key - a.key || a.s - b.s);
  const steps: Step[] = [];
  let pending = wanted;
  for (let pass = 0; pass < PASSES_MAX && pending.length > 0; pass++) {
    const left: typeof pending = [];
    for (const move of pending) {
      const step = taker.take(move.s, move.to, first(move.s) === 0);
      if (step === undefined) left.push(move);
      else steps.push(step);
    }
    if (left.length === pending.length) break;
    pending = left;
  }
  makeRoom(taker, pending, steps, (s) => first(s) === 0);
  const taken = new Set(steps.map(({ s }) => s));
  for (const { s } of pending) if (!taken.has(s) && first(s) === 0) stuck.push(s);
  return { steps, state, stuck };
}

/** Tries what found no room again, together with those that would leave its node. */
function makeRoom(
  taker: Taker,
  pending: readonly { s: number; to: number }[],
  steps: Step[],
  must: (s: number) => boolean,
): void {
  const leaving = new Map<number, { s: number; to: number }[]>();
  for (const move of pending) {
    const from = taker.from(move.s);
    const known = leaving.get(from);
    if (known === undefined) leaving.set(from, [move]);
    else known.push(move);
  }
  const done = new Set<number>();
  for (const { s, to } of pending) {
    if (done.has(s) || taker.fits(s, to)) continue;
    const group: Step[] = [];
    let netUsd = 0;
    for (const maker of (leaving.get(to) ?? []).slice(0, ROOM_MAKERS_MAX)) {
      if (done.has(maker.s) || maker.s === s) continue;
      const step = taker.take(maker.s, maker.to, true);
      if (step === undefined) continue;
      group.push(step);
      netUsd += step.gainUsd - step.costUsd;
      if (taker.fits(s, to)) break;
    }
    const own = group.length > 0 && taker.fits(s, to) ? taker.take(s, to, true) : undefined;
    if (own !== undefined && (must(s) || netUsd + own.gainUsd - own.costUsd > GAIN_USD_MIN)) {
      for (const step of [...group, own]) {
        step.must = must(step.s);
        done.add(step.s);
        steps.push(step);
      }
      continue;
    }
    if (own !== undefined) taker.undo(own);
    for (const step of group.reverse()) taker.undo(step);
  }
}

/** Applies single moves to a state and prices them by the objective alone, without the search's wall at full nodes. */
class Taker {
  readonly #cluster: ClusterProblem;
  readonly #state: State;
  /** What nodes would carry if all came and nobody had left: who fits here needs nobody's room. */
  readonly #arrivals: State;
  readonly #left = new Map<number, number[]>();

  constructor(cluster: ClusterProblem, state: State) {
    this.#cluster = cluster;
    this.#state = state;
    this.#arrivals = new State(cluster.problem, state.place);
  }

  from(s: number): number {
    return this.#state.place[s * this.#cluster.problem.width]!;
  }

  fits(s: number, to: number): boolean {
    this.#state.addUsd(s, to, false);
    return this.#state.fits;
  }

  /** What the search gains by the move alone, net of its cost, the wall at full nodes included: what goes first. */
  netUsd(s: number, to: number): number {
    const state = this.#state;
    const { problem, windowHours } = this.#cluster;
    const from = this.from(s);
    const own = from < 0 ? 0 : this.#ownUsd(s, from);
    const freed = from < 0 ? 0 : -state.remove(s, 0);
    const added = state.addUsd(s, to, false);
    if (from >= 0) state.put(s, 0, from);
    return (own - this.#ownUsd(s, to) + freed - added) * windowHours - primaryMoveUsd(problem, s, to);
  }

  /** Moves it where there is room and it pays (or must); undefined where not. */
  take(s: number, to: number, anyway: boolean): Step | undefined {
    const state = this.#state;
    const { problem, windowHours } = this.#cluster;
    const from = this.from(s);
    if (!this.fits(s, to)) return undefined;
    const usdBefore = this.#nodeUsd(from) + this.#nodeUsd(to);
    const near = from >= 0 && problem.nodeRegion[from] === problem.nodeRegion[to];
    const byStep = near && !anyway && isTimed(this.#cluster, s) ? this.#byStepUsd(from, to) : undefined;
    if (from >= 0) state.remove(s, 0);
    state.put(s, 0, to);
    const usdAfter = this.#nodeUsd(from) + this.#nodeUsd(to);
    const own = from < 0 ? 0 : this.#ownUsd(s, from) - this.#ownUsd(s, to);
    const gainUsd = from < 0 ? 0 : (own + usdBefore - usdAfter) * windowHours;
    const costUsd = primaryMoveUsd(problem, s, to);
    if (!anyway && gainUsd <= costUsd + GAIN_USD_MIN) {
      this.#back(s, from);
      return undefined;
    }
    this.#arrivals.addUsd(s, to, false);
    const after = this.#arrivals.fits ? [] : [...(this.#left.get(to) ?? [])];
    // Only its load at the target counts here: at its source it stays, as if nobody had left.
    this.#arrivals.put(s, 0, to);
    if (from >= 0)
      this.#left
        .set(from, this.#left.get(from) ?? [])
        .get(from)!
        .push(s);
    const step: Step = { s, from, to, must: anyway, gainUsd, costUsd, after };
    if (byStep !== undefined) {
      const usd = this.#byStepUsd(from, to);
      step.gainByStepUsd = byStep.map((before, t) => before - usd[t]!);
    }
    return step;
  }

  undo({ s, from }: Step): void {
    this.#back(s, from);
    this.#arrivals.remove(s, 0);
    if (from >= 0) this.#left.get(from)!.pop();
  }

  #back(s: number, from: number): void {
    this.#state.remove(s, 0);
    if (from >= 0) this.#state.put(s, 0, from);
  }

  #ownUsd(s: number, n: number): number {
    const { problem } = this.#cluster;
    return problem.value[s * problem.regionCount + problem.nodeRegion[n]!]!;
  }

  /** Dollars over each step of what two nodes carry. */
  #byStepUsd(a: number, b: number): Float64Array {
    const { problem, windowHours } = this.#cluster;
    const { mean, variance } = this.#state;
    return Float64Array.from({ length: problem.steps }, (_, t) => {
      const usd = (n: number) => overloadUsd(problem, n, mean, variance, n * problem.dims, t);
      return (usd(a) + usd(b)) * windowHours;
    });
  }

  #nodeUsd(n: number): number {
    if (n < 0) return 0;
    const { problem } = this.#cluster;
    const { mean, variance, replicas } = this.#state;
    const free = problem.releasable[n] === 1 && replicas[n] === 0;
    return (
      (free ? 0 : problem.nodeUsdPerHour[n]!) + overloadUsd(problem, n, mean, variance, n * problem.dims)
    );
  }
}

/** Only where primaries are: standbys are load that is there already. */
export function primariesOf(slots: Int32Array, width: number): Int32Array {
  if (width === 1) return Int32Array.from(slots);
  return slots.map((n, i) => (i % width === 0 ? n : -1));
}
