/**
 * Incremental local search on the true objective: relocate a shard with its standbys, promote a standby.
 *
 * Works from dirty lists: a shard is looked at when a pass begins, and again when a node it uses changed. Spends passes and
 * evaluations, never time. Guarantees: each accepted step lowers the objective (moves included); no constraint is broken.
 */
import type { Inserter } from './insert.ts';
import { primaryUsd, standbyUsd } from './objective.ts';
import type { Problem } from './problem.ts';
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
    let usd = primaryUsd(problem, s, p) + state.addUsd(s, p, false) + dual.scarcity(region, false);
    for (let k = 1; k <= problem.standbys[s]!; k++) {
      const n = slots[at + k]!;
      if (n < 0) return Number.POSITIVE_INFINITY;
      usd +=
        standbyUsd(problem, s, region, n) +
        state.addUsd(s, n, true) +
        dual.scarcity(problem.nodeRegion[n]!, true);
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
}
