/**
 * Incremental local search on the true objective: relocate a shard with its standbys, promote a standby, exchange two shards.
 *
 * Works from dirty lists: a shard is looked at when a pass begins, and again when a node it uses changed. Spends passes and
 * evaluations, never time. Guarantees: each accepted step lowers the objective (moves included); no constraint is broken.
 */
import { apart, eligible } from './eligible.ts';
import type { Inserter } from './insert.ts';
import { primaryUsd, standbyUsd } from './objective.ts';
import { NOWHERE, type Problem } from './problem.ts';
import type { State } from './state.ts';

/** Gains below this share of a shard's dollars are rounding, not reasons. */
export const GAIN_SHARE_MIN = 1e-9;

export class Search {
  readonly problem: Problem;
  readonly state: State;
  readonly inserter: Inserter;
  /** Shards looked at, and steps accepted. */
  looked = 0;
  accepted = 0;
  readonly #old: Int32Array;

  constructor(inserter: Inserter) {
    this.inserter = inserter;
    this.problem = inserter.problem;
    this.state = inserter.state;
    this.#old = new Int32Array(this.problem.width);
  }

  /** What a shard costs where it is, its overload as the last one there: it must be off the nodes. */
  usdAt(s: number, slots: Int32Array, at: number): number {
    const { problem, state } = this;
    const p = slots[at]!;
    if (p < 0) return Number.POSITIVE_INFINITY;
    const { dual } = this.inserter;
    const region = problem.nodeRegion[p]!;
    if (dual.scarcityShare > 0) dual.price(s);
    let usd = primaryUsd(problem, s, p) + state.addUsd(s, p, false) + dual.primaryScarcity[region]!;
    for (let k = 1; k <= problem.standbys[s]!; k++) {
      const n = slots[at + k]!;
      if (n < 0) return Number.POSITIVE_INFINITY;
      usd +=
        standbyUsd(problem, s, region, n) +
        state.addUsd(s, n, true) +
        dual.standbyScarcity[problem.nodeRegion[n]!]!;
    }
    return usd;
  }

  /** Moves one shard to where it is best; false where it is there already. */
  relocate(s: number): boolean {
    const { problem, state, inserter } = this;
    if (problem.frozen[s] === 1) return false;
    const { width } = problem;
    const base = s * width;
    this.looked++;
    const old = this.#old;
    for (let k = 0; k < width; k++) {
      old[k] = state.place[base + k]!;
      if (old[k]! >= 0) state.remove(s, k);
    }
    const now = this.usdAt(s, old, 0);
    const best = inserter.find(s, old, 0);
    if (best < now - GAIN_SHARE_MIN * Math.abs(now)) {
      for (let k = 0; k <= problem.standbys[s]!; k++) inserter.put(s, k, inserter.found[k]!);
      for (let k = 0; k < width; k++) if (old[k]! >= 0) inserter.candidates.changed(old[k]!);
      this.accepted++;
      return true;
    }
    for (let k = 0; k < width; k++) if (old[k]! >= 0) state.put(s, k, old[k]!);
    return false;
  }

  /**
   * Whether a shard could gain at all: no node is better than free, so what it costs now is the most it can gain against
   * the cheapest region's own dollars.
   */
  couldGain(s: number): boolean {
    const { problem, state } = this;
    const { width, regionCount, value, nodeRegion } = problem;
    const base = s * width;
    const p = state.place[base]!;
    if (p < 0) return true;
    if (problem.frozen[s] === 1) return false;
    const region = nodeRegion[p]!;
    if (this.inserter.dual.isScarce(region)) return true;
    // On a node without overload, with its standbys beside it, only another region can be better.
    if (problem.releasable[p] === 1 || state.overload[p]! > 0) return true;
    for (let k = 1; k <= problem.standbys[s]!; k++) {
      const n = state.place[base + k]!;
      if (n < 0 || state.overload[n]! > 0 || nodeRegion[n] !== region || problem.releasable[n] === 1)
        return true;
    }
    const here = value[s * regionCount + region]!;
    for (let r = 0; r < regionCount; r++) if (value[s * regionCount + r]! < here) return true;
    return false;
  }

  /**
   * Exchanges: brings `s` to the node it would have without overload there, and one of the shards there to where `s` was
   * or wherever it is best. `on` lists the shards of a node.
   *
   * @returns dollars an hour gained; 0 where nothing was
   */
  exchange(s: number, to: number, others: readonly number[]): number {
    const { problem, state, inserter } = this;
    const { width } = problem;
    if (problem.frozen[s] === 1 || !eligible(problem, s, to, false)) return 0;
    const base = s * width;
    for (let k = 0; k < width; k++) if (state.place[base + k] === to) return 0;
    const old = Int32Array.from(state.place.subarray(base, base + width));
    this.#off(s);
    const sNow = this.usdAt(s, old, 0);
    for (const o of others) {
      if (o === s || problem.frozen[o] === 1) continue;
      this.looked++;
      const otherBase = o * width;
      const otherOld = Int32Array.from(state.place.subarray(otherBase, otherBase + width));
      // Both are off: what both cost where they were, one after the other.
      this.#on(s, old);
      this.#off(o);
      const otherNow = this.usdAt(o, otherOld, 0);
      this.#off(s);
      const trial = Int32Array.from(old);
      trial[0] = to;
      let fine = true;
      for (let k = 1; k <= problem.standbys[s]!; k++) if (!apart(problem, s, to, trial[k]!)) fine = false;
      const sThen = fine ? this.usdAtFit(s, trial, old) : Number.POSITIVE_INFINITY;
      if (sThen < Number.POSITIVE_INFINITY) {
        this.#on(s, trial);
        const otherThen = inserter.find(o, otherOld, 0);
        const gain = sNow + otherNow - sThen - otherThen;
        if (gain > GAIN_SHARE_MIN * (sNow + otherNow) && inserter.found[0] !== NOWHERE) {
          for (let k = 0; k <= problem.standbys[o]!; k++) inserter.put(o, k, inserter.found[k]!);
          for (let k = 0; k < width; k++) {
            if (old[k]! >= 0) inserter.candidates.changed(old[k]!);
            if (otherOld[k]! >= 0) inserter.candidates.changed(otherOld[k]!);
          }
          inserter.candidates.changed(to);
          this.accepted++;
          return gain;
        }
        this.#off(s);
      }
      this.#on(o, otherOld);
    }
    this.#on(s, old);
    return 0;
  }

  /** As {@link usdAt}, but Infinity where a node that was not its own is full. */
  usdAtFit(s: number, slots: Int32Array, own: Int32Array): number {
    const { problem, state } = this;
    let usd = 0;
    const region = problem.nodeRegion[slots[0]!]!;
    for (let k = 0; k <= problem.standbys[s]!; k++) {
      const n = slots[k]!;
      if (n < 0) return Number.POSITIVE_INFINITY;
      usd += state.addUsd(s, n, k > 0);
      if (!state.fits && !own.includes(n)) return Number.POSITIVE_INFINITY;
      usd += k === 0 ? primaryUsd(problem, s, n) : standbyUsd(problem, s, region, n);
    }
    return usd;
  }

  #off(s: number): void {
    const base = s * this.problem.width;
    for (let k = 0; k < this.problem.width; k++)
      if (this.state.place[base + k]! >= 0) this.state.remove(s, k);
  }

  #on(s: number, slots: Int32Array): void {
    for (let k = 0; k < this.problem.width; k++) if (slots[k]! >= 0) this.state.put(s, k, slots[k]!);
  }
}
