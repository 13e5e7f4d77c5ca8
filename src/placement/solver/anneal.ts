/**
 * Simulated annealing (Kirkpatrick et al., Optimization by Simulated Annealing, 1983) for problems so small that single steps and
 * exchanges end early: what a few large shards hold decides where all others have room.
 *
 * A step moves one replica to another node, or exchanges it with one that is there; what is dearer is taken too, the less likely the
 * colder it is. Heat alone does not bring a large shard across: its node would be overloaded by more than any heat that still tells
 * regions apart. So a leg may begin with crowding taken as what it is worth at the certificate's prices, a line, and bends it back to
 * what it costs: cost = own + price + bend (overload - price), bend from a few hundredths to 1. At first every shard is in one of
 * the regions that are near best for it, in whatever proportion; the proportions that fit are what is left in the end.
 *
 * Guarantees: the answer costs no more than the beginning; no constraint is broken that was kept; same seed, same answer; steps
 * are a count.
 */
import type { SeededDraws } from '../instance/random.ts';
import type { Dual } from './dual.ts';
import { apart, eligible } from './eligible.ts';
import { primaryUsd, standbyUsd } from './objective.ts';
import { NOWHERE, type Problem, regionAllowed } from './problem.ts';
import { State } from './state.ts';

/** Heats are shares of what a shard costs on average, without nodes' prices. `bend`: the least; it is 1 from `BENT_AT` on. */
export interface Leg {
  hot: number;
  bend: number;
}

/** First what is near, then twice anew, then what is near the best of those. Tuned on 200 shards, 12 nodes, steady and not. */
export const LEGS_FRESH: readonly Leg[] = [
  { hot: 0.05, bend: 1 },
  { hot: 0.08, bend: 0.03 },
  { hot: 0.08, bend: 0.03 },
  { hot: 0.02, bend: 1 },
];
/** Where shards run already: only near what is there, since every step costs its move. */
export const LEGS_WARM: readonly Leg[] = [{ hot: 0.01, bend: 1 }];
const COLD = 5e-4;
const BENT_AT = 0.7;
/** A region is tried where it is dearer than the best one by at most this share of what a shard costs on average. */
const SLACK = 0.1;
/** Share of the steps that are exchanges. */
const EXCHANGED = 0.8;
/** Heat is what it was for so many steps. */
const STEPS_A_HEAT = 64;
/** What is better by less than this share of a shard's cost is rounding. */
const GAIN_SHARE_MIN = 1e-9;

/** The cheapest placement found from `from` on, in `steps` steps a leg. */
export function anneal(
  problem: Problem,
  dual: Dual,
  from: Int32Array,
  draws: SeededDraws,
  { legs, steps }: { legs: readonly Leg[]; steps: number },
): Int32Array {
  const annealing = new Annealing(problem, dual, draws, from);
  let best = from;
  if (annealing.unitUsd > 0) for (const leg of legs) best = annealing.run(best, leg, steps);
  return best;
}

class Annealing {
  /** What a shard costs on average. */
  readonly unitUsd: number;
  readonly #problem: Problem;
  readonly #draws: SeededDraws;
  /** Shards that may move. */
  readonly #shards: Int32Array;
  /** Nodes worth a try for a primary (`2 s`) and a standby (`2 s + 1`): `#nodes[#from[i]] .. #nodes[#from[i + 1]]`. */
  readonly #nodes: Int32Array;
  readonly #from: Int32Array;
  /** What a region asks for a shard's load: `[(2 s + standby) * regionCount + r]`. */
  readonly #price: Float64Array;
  #state: State;
  /** Slots on each node, and where in that list each slot stands. */
  #on: number[][] = [];
  readonly #at: Int32Array;

  constructor(problem: Problem, dual: Dual, draws: SeededDraws, from: Int32Array) {
    const { shardCount, width } = problem;
    this.#problem = problem;
    this.#draws = draws;
    this.#state = new State(problem, from);
    this.#at = new Int32Array(shardCount * width);
    const whole = (s: number) => {
      for (let k = 0; k <= problem.standbys[s]!; k++) if (from[s * width + k]! < 0) return false;
      return problem.frozen[s] === 0;
    };
    this.#shards = Int32Array.from({ length: shardCount }, (_, s) => s).filter(whole);
    let usd = 0;
    for (const s of this.#shards) usd += this.#ownUsd(s);
    for (const overload of this.#state.overload) usd += overload;
    this.unitUsd = usd / Math.max(1, this.#shards.length);
    this.#price = pricesOf(problem, dual, this.#shards);
    ({ nodes: this.#nodes, from: this.#from } = this.#worthTrying(dual));
  }

  /** One leg from a placement on; the cheapest seen. */
  run(begin: Int32Array, leg: Leg, steps: number): Int32Array {
    const state = new State(this.#problem, begin);
    this.#state = state;
    this.#index();
    const best = Int32Array.from(begin);
    let usd = 0;
    let bestUsd = 0;
    for (let step = 0; step < steps; step += STEPS_A_HEAT) {
      const done = step / steps;
      const heat = this.unitUsd * leg.hot * (COLD / leg.hot) ** done;
      const bend = Math.min(1, leg.bend ** (1 - done / BENT_AT));
      for (let i = 0; i < STEPS_A_HEAT; i++) {
        const by = this.#step(heat, bend);
        if (by === 0) continue;
        usd += by;
        if (usd >= bestUsd - GAIN_SHARE_MIN * this.unitUsd) continue;
        bestUsd = usd;
        best.set(state.place);
      }
    }
    return best;
  }

  /** Tries one step; dollars an hour that the whole costs more by it, 0 where it was not taken. */
  #step(heat: number, bend: number): number {
    const problem = this.#problem;
    const state = this.#state;
    const draws = this.#draws;
    const { width, nodeRegion, regionCount } = problem;
    const { place } = state;
    const dearest = -heat * Math.log(1 - draws.next());
    const s = this.#shards[draws.below(this.#shards.length)]!;
    const k = draws.below(1 + problem.standbys[s]!);
    const slot = s * width + k;
    const source = place[slot]!;
    const kind = k > 0 ? 2 * s + 1 : 2 * s;
    const first = this.#from[kind]!;
    const count = this.#from[kind + 1]! - first;
    const target = count > 0 ? this.#nodes[first + draws.below(count)]! : source;
    if (target === source) return 0;
    const other = this.#partner(s, k, target);
    const t = other < 0 ? NOWHERE : (other / width) | 0;
    const l = other < 0 ? 0 : other % width;
    if (!this.#mayExchange(s, k, target, t, l, source)) return 0;
    const before = this.#ownUsd(s) + (t >= 0 && t !== s ? this.#ownUsd(t) : 0);
    place[slot] = target;
    if (t >= 0) place[other] = source;
    let usd = this.#ownUsd(s) + (t >= 0 && t !== s ? this.#ownUsd(t) : 0) - before;
    place[slot] = source;
    if (t >= 0) place[other] = target;
    // What it looks like: with as much of the price as crowding does not count yet.
    let looks = usd;
    const out = nodeRegion[source]!;
    const into = nodeRegion[target]!;
    if (out !== into && bend < 1) {
      const own = kind * regionCount;
      let price = this.#price[own + into]! - this.#price[own + out]!;
      if (t >= 0) {
        const its = (l > 0 ? 2 * t + 1 : 2 * t) * regionCount;
        price += this.#price[its + out]! - this.#price[its + into]!;
      }
      looks += (1 - bend) * price;
    }
    // No node can give back more than what it costs: most steps are refused before loads are looked at.
    const most = this.#costs(target);
    if (looks - bend * (this.#costs(source) + most) >= dearest) return 0;
    let crowding = state.exchangeUsd(source, t, l > 0, s, k > 0);
    if (t >= 0 && !state.fits) return 0;
    if (looks + bend * (crowding - (t >= 0 ? most : 0)) >= dearest) return 0;
    crowding += state.exchangeUsd(target, s, k > 0, t, l > 0);
    if (!state.fits || looks + bend * crowding >= dearest) return 0;
    usd += crowding;
    this.#take(slot, source);
    if (t >= 0) {
      this.#take(other, target);
      this.#give(other, source);
    }
    this.#give(slot, target);
    return usd;
  }

  /** The slot that changes places with slot `k` of `s`: the shard's own one that is on that node, else one drawn or none. */
  #partner(s: number, k: number, target: number): number {
    const { width, standbys } = this.#problem;
    const { place } = this.#state;
    for (let j = 0; j <= standbys[s]!; j++)
      if (j !== k && place[s * width + j] === target) return s * width + j;
    const there = this.#on[target]!;
    if (this.#draws.next() >= EXCHANGED || there.length === 0) return NOWHERE;
    return there[this.#draws.below(there.length)]!;
  }

  #mayExchange(s: number, k: number, target: number, t: number, l: number, source: number): boolean {
    // That `s` may be on the target was asked when nodes worth a try were listed.
    if (t === s) return k > 0 !== l > 0 && eligible(this.#problem, s, source, l > 0);
    if (!this.#isApart(s, k, target)) return false;
    return t < 0 || (eligible(this.#problem, t, source, l > 0) && this.#isApart(t, l, source));
  }

  #isApart(s: number, k: number, n: number): boolean {
    const problem = this.#problem;
    const { place } = this.#state;
    for (let j = 0; j <= problem.standbys[s]!; j++)
      if (j !== k && !apart(problem, s, place[s * problem.width + j]!, n)) return false;
    return true;
  }

  /** Dollars an hour of a shard that no other one changes. */
  #ownUsd(s: number): number {
    const problem = this.#problem;
    const { place } = this.#state;
    const base = s * problem.width;
    const p = place[base]!;
    const region = problem.nodeRegion[p]!;
    let usd = primaryUsd(problem, s, p);
    for (let k = 1; k <= problem.standbys[s]!; k++) usd += standbyUsd(problem, s, region, place[base + k]!);
    return usd;
  }

  /** What a node costs at most more than it would without any of its shards. */
  #costs(n: number): number {
    const { releasable, nodeUsdPerHour } = this.#problem;
    return this.#state.overload[n]! + (releasable[n] === 1 ? nodeUsdPerHour[n]! : 0);
  }

  #index(): void {
    const { nodeCount, width, standbys } = this.#problem;
    this.#on = Array.from({ length: nodeCount }, () => []);
    for (const s of this.#shards)
      for (let k = 0; k <= standbys[s]!; k++) {
        const slot = s * width + k;
        this.#at[slot] = this.#on[this.#state.place[slot]!]!.push(slot) - 1;
      }
  }

  #take(slot: number, n: number): void {
    const { width } = this.#problem;
    this.#state.remove((slot / width) | 0, slot % width);
    const there = this.#on[n]!;
    const last = there.pop()!;
    if (last === slot) return;
    there[this.#at[slot]!] = last;
    this.#at[last] = this.#at[slot]!;
  }

  #give(slot: number, n: number): void {
    const { width } = this.#problem;
    this.#state.put((slot / width) | 0, slot % width, n);
    this.#at[slot] = this.#on[n]!.push(slot) - 1;
  }

  /** Nodes of the regions that are nearly best at the prices, by shard and kind of replica. */
  #worthTrying(dual: Dual): { nodes: Int32Array; from: Int32Array } {
    const problem = this.#problem;
    const { shardCount, regionCount, nodeCount, nodeRegion, value, writeGbPerHour, egressUsdPerGb } = problem;
    const from = new Int32Array(2 * shardCount + 1);
    const nodes: number[] = [];
    const usd = new Float64Array(regionCount);
    for (let s = 0; s < shardCount; s++) {
      const placeable = dual.choose(s) < Number.POSITIVE_INFINITY;
      const beside = dual.chosen[0]! * regionCount;
      for (let kind = 2 * s; kind < 2 * s + 2; kind++) {
        let best = Number.POSITIVE_INFINITY;
        for (let r = 0; r < regionCount && placeable; r++) {
          usd[r] = this.#price[kind * regionCount + r]!;
          if (kind === 2 * s) usd[r]! += value[s * regionCount + r]!;
          else usd[r]! += writeGbPerHour[s]! * egressUsdPerGb[beside + r]!;
          if (regionAllowed(problem, s, r)) best = Math.min(best, usd[r]!);
        }
        for (let n = 0; n < nodeCount && placeable; n++)
          if (usd[nodeRegion[n]!]! <= best + SLACK * this.unitUsd && eligible(problem, s, n, kind > 2 * s))
            nodes.push(n);
        from[kind + 1] = nodes.length;
      }
    }
    return { nodes: Int32Array.from(nodes), from };
  }
}

/** What each region asks for each shard's load at the certificate's prices, as a primary and as a standby. */
function pricesOf(problem: Problem, dual: Dual, shards: Int32Array): Float64Array {
  const { regionCount, shardCount } = problem;
  const prices = new Float64Array(2 * shardCount * regionCount);
  for (const s of shards) {
    dual.price(s);
    for (let r = 0; r < regionCount; r++) {
      prices[2 * s * regionCount + r] = dual.primaryPrice(r);
      prices[(2 * s + 1) * regionCount + r] = dual.standbyPrice(r);
    }
  }
  return prices;
}
