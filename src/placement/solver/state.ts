/**
 * A placement under change: where every replica is, and what every node carries, kept incrementally.
 *
 * Boundary: no decisions. Invariants: a node's loads are its base and the sums over replicas placed on it; `overload[n]` is
 * the price of those loads, what is beyond full included (`excessUsdPerHour`).
 */
import { queueing } from './objective.ts';
import { NOWHERE, type Problem } from './problem.ts';

/** Loads are sums of many floats: a node counts as full only this far above its capacity. */
const FULL_TOLERANCE = 1e-9;

export class State {
  readonly problem: Problem;
  readonly place: Int32Array;
  readonly mean: Float64Array;
  readonly variance: Float64Array;
  readonly overload: Float64Array;
  readonly replicas: Int32Array;
  /** After {@link addUsd}: whether the node would be full in no dimension. */
  fits = true;
  /** After {@link addUsd}: sum of squared shares used, which tells even nodes from uneven ones where none is overloaded. */
  spreadScore = 0;
  /** Dollars an hour of nodes that changes since the beginning have added: a step's are the difference around it. */
  nodesUsd = 0;
  readonly #inverse: Float64Array;
  readonly #share: Float64Array;
  readonly #common: Float64Array;
  readonly #weight: Float64Array;
  readonly #full: Float64Array;
  /** Sums of shared deviations on each node: `[(n * groups + group) * dims + d]`; empty where no group is known. */
  readonly #together: Float64Array;

  constructor(problem: Problem, from?: Int32Array) {
    this.problem = problem;
    const { nodeCount, dims, shardCount, width } = problem;
    this.place = new Int32Array(shardCount * width).fill(NOWHERE);
    this.mean = Float64Array.from(problem.baseLoad);
    this.variance = new Float64Array(nodeCount * dims);
    this.overload = new Float64Array(nodeCount);
    this.replicas = new Int32Array(nodeCount);
    this.#inverse = new Float64Array(nodeCount * dims);
    for (let n = 0; n < nodeCount; n++)
      for (let d = 0; d < dims; d++) this.#inverse[n * dims + d] = 1 / problem.capacity[n * 3 + (d % 3)]!;
    const byDim = (value: (d: number) => number) => Float64Array.from({ length: dims }, (_, d) => value(d));
    this.#share = byDim((d) => problem.standbyShare[d % 3]!);
    this.#common = byDim((d) => problem.commonSquared[d % 3]!);
    this.#weight = byDim((d) => problem.stepWeight[(d / 3) | 0]!);
    this.#full = byDim((d) => problem.fullShare[d % 3]! + FULL_TOLERANCE);
    this.#together = new Float64Array(nodeCount * dims * (problem.together?.groups ?? 0));
    if (from !== undefined)
      for (let i = 0; i < from.length; i++)
        if (from[i]! >= 0) {
          this.place[i] = from[i]!;
          this.#load((i / width) | 0, from[i]!, i % width > 0, 1);
        }
    for (let n = 0; n < nodeCount; n++) this.overload[n] = this.#price(n);
  }

  /** Dollars an hour more with a replica of `s` on `n` than without; sets {@link fits} and {@link spreadScore}. */
  addUsd(s: number, n: number, standby: boolean): number {
    return this.exchangeUsd(n, s, standby, NOWHERE, false);
  }

  /** Dollars an hour more with a replica of `s` on `n` and without one of `t` that is there; NOWHERE is none. Sets what {@link addUsd} does. */
  exchangeUsd(n: number, s: number, standby: boolean, t: number, standbyOut: boolean): number {
    const { dims, loadMean, loadVariance, headroom, quantileZ, queueUsdPerHour, excessUsdPerHour } =
      this.problem;
    const full = this.problem.overloadUsdPerHour[n]!;
    const perHeadroom = 1 / (1 - headroom);
    const at = n * dims;
    const from = s * dims;
    const fromOut = t * dims;
    const { mean, variance } = this;
    const inverse = this.#inverse;
    const common = this.#common;
    const weights = this.#weight;
    const fulls = this.#full;
    const shares = this.#share;
    const shared = this.#together;
    const deviation = this.problem.together?.deviation;
    const intoAt = this.#togetherAt(n, s);
    const outAt = this.#togetherAt(n, t);
    let usd = 0;
    let score = 0;
    let fits = true;
    for (let d = 0; d < dims; d++) {
      let m = mean[at + d]!;
      let v = variance[at + d]!;
      if (s >= 0) {
        const part = standby ? shares[d]! : 1;
        m += part * loadMean[from + d]!;
        v += part * part * loadVariance[from + d]!;
        if (intoAt >= 0) v += 2 * part * deviation![from + d]! * shared[intoAt + d]!;
      }
      if (t >= 0) {
        const part = standbyOut ? shares[d]! : 1;
        m -= part * loadMean[fromOut + d]!;
        v -= part * part * loadVariance[fromOut + d]!;
        if (outAt >= 0) {
          const own = part * deviation![fromOut + d]!;
          const others = shared[outAt + d]! - own;
          const came = intoAt === outAt ? (standby ? shares[d]! : 1) * deviation![from + d]! : 0;
          v -= 2 * own * (others + came);
        }
      }
      const share = (m + quantileZ * Math.sqrt((v > 0 ? v : 0) + common[d]! * m * m)) * inverse[at + d]!;
      score += share * share;
      if (share > headroom) {
        const over = (share - headroom) * perHeadroom;
        usd += weights[d]! * full * over * over;
        if (share > fulls[d]!) {
          fits = false;
          usd += weights[d]! * excessUsdPerHour * (share - fulls[d]!);
        }
      }
      if (queueUsdPerHour > 0 && d % 3 === 0) usd += weights[d]! * queueUsdPerHour * queueing(share);
    }
    this.fits = fits;
    this.spreadScore = score;
    usd -= this.overload[n]!;
    if (this.problem.releasable[n] === 1) {
      const after = this.replicas[n]! + (s >= 0 ? 1 : 0) - (t >= 0 ? 1 : 0);
      if (this.replicas[n] === 0 && after > 0) usd += this.problem.nodeUsdPerHour[n]!;
      if (this.replicas[n]! > 0 && after === 0) usd -= this.problem.nodeUsdPerHour[n]!;
    }
    return usd;
  }

  /** Takes a replica away: dollars an hour less (a number at or below zero). */
  remove(s: number, k: number): number {
    const at = s * this.problem.width + k;
    const n = this.place[at]!;
    this.place[at] = NOWHERE;
    return this.#change(s, n, k > 0, -1);
  }

  put(s: number, k: number, n: number): number {
    this.place[s * this.problem.width + k] = n;
    return this.#change(s, n, k > 0, 1);
  }

  /** Highest share of a node's capacity used at the quantile, over all dimensions. */
  pressure(n: number): number {
    const { dims, quantileZ } = this.problem;
    let most = 0;
    for (let d = 0; d < dims; d++) {
      const i = n * dims + d;
      const m = this.mean[i]!;
      const share =
        (m + quantileZ * Math.sqrt(Math.max(0, this.variance[i]!) + this.#common[d]! * m * m)) *
        this.#inverse[i]!;
      if (share > most) most = share;
    }
    return most;
  }

  /** Share of a node's capacity used at the quantile in one dimension. */
  shareOf(n: number, d: number): number {
    const i = n * this.problem.dims + d;
    const m = this.mean[i]!;
    const deviation = Math.sqrt(Math.max(0, this.variance[i]!) + this.#common[d]! * m * m);
    return (m + this.problem.quantileZ * deviation) * this.#inverse[i]!;
  }

  isFull(n: number): boolean {
    const { dims, quantileZ } = this.problem;
    for (let d = 0; d < dims; d++) {
      const i = n * dims + d;
      const m = this.mean[i]!;
      const load = m + quantileZ * Math.sqrt(Math.max(0, this.variance[i]!) + this.#common[d]! * m * m);
      if (load * this.#inverse[i]! > this.#full[d]!) return true;
    }
    return false;
  }

  #change(s: number, n: number, standby: boolean, sign: 1 | -1): number {
    const { releasable, nodeUsdPerHour } = this.problem;
    const before = this.overload[n]!;
    const paidBefore = releasable[n] === 1 && this.replicas[n] === 0 ? 0 : nodeUsdPerHour[n]!;
    this.#load(s, n, standby, sign);
    this.overload[n] = this.#price(n);
    const paidAfter = releasable[n] === 1 && this.replicas[n] === 0 ? 0 : nodeUsdPerHour[n]!;
    const usd = this.overload[n]! - before + paidAfter - paidBefore;
    this.nodesUsd += usd;
    return usd;
  }

  /** Where the sums of a shard's group on a node begin; NOWHERE for one that has none, or for no shard. */
  #togetherAt(n: number, s: number): number {
    const { together, dims } = this.problem;
    if (together === undefined || s < 0) return NOWHERE;
    const group = together.of[s]!;
    return group < 0 ? NOWHERE : (n * together.groups + group) * dims;
  }

  #load(s: number, n: number, standby: boolean, sign: 1 | -1): void {
    const { dims, loadMean, loadVariance } = this.problem;
    const at = n * dims;
    const from = s * dims;
    const shared = this.#togetherAt(n, s);
    for (let d = 0; shared >= 0 && d < dims; d++) {
      const own = (standby ? this.#share[d]! : 1) * this.problem.together!.deviation[from + d]!;
      const others = this.#together[shared + d]! - (sign < 0 ? own : 0);
      this.variance[at + d]! += sign * 2 * own * others;
      this.#together[shared + d] = others + (sign > 0 ? own : 0);
    }
    for (let d = 0; d < dims; d++) {
      const part = standby ? this.#share[d]! : 1;
      this.mean[at + d]! += sign * part * loadMean[from + d]!;
      this.variance[at + d]! += sign * part * part * loadVariance[from + d]!;
    }
    this.replicas[n]! += sign;
  }

  /** As `overloadUsd` of the objective, from tables by dimension: it is asked four times for every step tried. */
  #price(n: number): number {
    const { dims, headroom, quantileZ, queueUsdPerHour, excessUsdPerHour } = this.problem;
    const full = this.problem.overloadUsdPerHour[n]!;
    const perHeadroom = 1 / (1 - headroom);
    const at = n * dims;
    let usd = 0;
    for (let d = 0; d < dims; d++) {
      const m = this.mean[at + d]!;
      const v = this.variance[at + d]!;
      const share =
        (m + quantileZ * Math.sqrt((v > 0 ? v : 0) + this.#common[d]! * m * m)) * this.#inverse[at + d]!;
      if (share > headroom) {
        const over = (share - headroom) * perHeadroom;
        usd += this.#weight[d]! * full * over * over;
        if (share > this.#full[d]!) usd += this.#weight[d]! * excessUsdPerHour * (share - this.#full[d]!);
      }
      if (queueUsdPerHour > 0 && d % 3 === 0) usd += this.#weight[d]! * queueUsdPerHour * queueing(share);
    }
    return usd;
  }
}
