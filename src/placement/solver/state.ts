/**
 * A placement under change: where every replica is, and what every node carries, kept incrementally.
 *
 * Boundary: no decisions. Invariants: a node's loads are its base and the sums over replicas placed on it; `overload[n]` is
 * the price of those loads, what is beyond full included (`excessUsdPerHour`).
 */
import { GroupSums } from './group-sums.ts';
import { queueing } from './objective.ts';
import { NOWHERE, type Problem } from './problem.ts';

/** Loads are sums of many floats: a node counts as full only this far above its capacity. */
const FULL_TOLERANCE = 1e-9;

/** What one replica adds to a node: by dimension its mean and variance, and its own load at the quantile. */
interface Weighed {
  of: number;
  mean: Float64Array;
  variance: Float64Array;
  most: Float64Array;
}

function weighed(dims: number): Weighed {
  const zeros = () => new Float64Array(dims);
  return { of: NOWHERE, mean: zeros(), variance: zeros(), most: zeros() };
}

export class State {
  readonly problem: Problem;
  readonly place: Int32Array;
  readonly mean: Float64Array;
  readonly variance: Float64Array;
  readonly overload: Float64Array;
  readonly replicas: Int32Array;
  /** Share of each node's capacity used at the quantile: `[n * dims + d]`. */
  readonly #used: Float64Array;
  /** Dollars an hour of overload for one unit of mean more, as it is now: `[n * dims + d]`. */
  readonly #slope: Float64Array;
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
  /** Shared deviations of groups on each node. */
  readonly #together: GroupSums;
  /** Of the shard that {@link addUsd} was asked for last, as a primary and as a standby. */
  readonly #primary: Weighed;
  readonly #standby: Weighed;

  constructor(problem: Problem, from?: Int32Array) {
    this.problem = problem;
    const { nodeCount, dims, shardCount, width } = problem;
    this.place = new Int32Array(shardCount * width).fill(NOWHERE);
    this.mean = Float64Array.from(problem.baseLoad);
    this.variance = new Float64Array(nodeCount * dims);
    this.overload = new Float64Array(nodeCount);
    this.replicas = new Int32Array(nodeCount);
    this.#used = new Float64Array(nodeCount * dims);
    this.#slope = new Float64Array(nodeCount * dims);
    this.#primary = weighed(dims);
    this.#standby = weighed(dims);
    this.#inverse = new Float64Array(nodeCount * dims);
    for (let n = 0; n < nodeCount; n++)
      for (let d = 0; d < dims; d++) this.#inverse[n * dims + d] = 1 / problem.capacity[n * 3 + (d % 3)]!;
    const byDim = (value: (d: number) => number) => Float64Array.from({ length: dims }, (_, d) => value(d));
    this.#share = byDim((d) => problem.standbyShare[d % 3]!);
    this.#common = byDim((d) => problem.commonSquared[d % 3]!);
    this.#weight = byDim((d) => problem.stepWeight[(d / 3) | 0]!);
    this.#full = byDim((d) => problem.fullShare[d]! + FULL_TOLERANCE);
    this.#together = new GroupSums(problem);
    if (from !== undefined)
      for (let i = 0; i < from.length; i++)
        if (from[i]! >= 0) {
          this.place[i] = from[i]!;
          this.#load((i / width) | 0, from[i]!, i % width > 0, 1);
        }
    for (let n = 0; n < nodeCount; n++) this.overload[n] = this.#price(n);
  }

  /**
   * Dollars an hour more with a replica of `s` on `n` than without; sets {@link fits} and {@link spreadScore}.
   *
   * It is where a search spends its time, so a root is only taken where it may matter. Overload is convex in the mean, so what the node's present
   * slopes ask is the least that a shard can cost; and a load at the quantile is a norm, so beside others a shard adds at most what it is alone,
   * and in a dimension where even that stays below the headroom it costs nothing.
   *
   * @param limit from here on it does not matter how dear it is: what is given back is then this or more, and the two are not set
   */
  addUsd(s: number, n: number, standby: boolean, limit = Number.POSITIVE_INFINITY): number {
    const { together } = this.problem;
    if (together !== undefined && together.of[s]! >= 0)
      return this.exchangeUsd(n, s, standby, NOWHERE, false);
    const own = standby ? this.#standby : this.#primary;
    if (own.of !== s) this.#weigh(own, s, standby);
    const { dims, headroom, quantileZ, queueUsdPerHour, excessUsdPerHour } = this.problem;
    const full = this.problem.overloadUsdPerHour[n]!;
    const perHeadroom = 1 / (1 - headroom);
    const { mean, variance } = this;
    const ownMean = own.mean;
    const ownVariance = own.variance;
    const ownMost = own.most;
    const used = this.#used;
    const inverse = this.#inverse;
    const common = this.#common;
    const weights = this.#weight;
    const fulls = this.#full;
    const opening =
      this.replicas[n] === 0 && this.problem.releasable[n] === 1 ? this.problem.nodeUsdPerHour[n]! : 0;
    if (limit < Number.POSITIVE_INFINITY) {
      const slope = this.#slope;
      let least = opening;
      for (let d = 0, i = n * dims; d < dims; d++, i++) least += slope[i]! * ownMean[d]!;
      if (least >= limit) return least;
    }
    const fixed = opening - this.overload[n]!;
    const end = limit - fixed;
    let usd = 0;
    let score = 0;
    let fits = true;
    for (let d = 0, i = n * dims; d < dims; d++, i++) {
      const before = used[i]!;
      const queues = queueUsdPerHour > 0 && d % 3 === 0;
      if (!queues && before + ownMost[d]! * inverse[i]! <= headroom) {
        const share = before + ownMean[d]! * inverse[i]!;
        score += share * share;
        continue;
      }
      const m = mean[i]! + ownMean[d]!;
      const v = variance[i]! + ownVariance[d]!;
      const share = (m + quantileZ * Math.sqrt((v > 0 ? v : 0) + common[d]! * m * m)) * inverse[i]!;
      score += share * share;
      if (share > headroom) {
        const over = (share - headroom) * perHeadroom;
        usd += weights[d]! * full * over * over;
        if (share > fulls[d]!) {
          fits = false;
          usd += weights[d]! * excessUsdPerHour * (share - fulls[d]!);
        }
        if (usd >= end) return usd + fixed;
      }
      if (queues) usd += weights[d]! * queueUsdPerHour * queueing(share);
    }
    this.fits = fits;
    this.spreadScore = score;
    return usd + fixed;
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
    const shared = this.#together.sums;
    const deviation = this.problem.together?.deviation;
    const intoAt = this.#together.at(n, s);
    const outAt = this.#together.at(n, t);
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

  #weigh(own: Weighed, s: number, standby: boolean): void {
    const { dims, loadMean, loadVariance, quantileZ } = this.problem;
    own.of = s;
    for (let d = 0; d < dims; d++) {
      const part = standby ? this.#share[d]! : 1;
      const m = part * loadMean[s * dims + d]!;
      const v = part * part * loadVariance[s * dims + d]!;
      own.mean[d] = m;
      own.variance[d] = v;
      own.most[d] = m + quantileZ * Math.sqrt(v + this.#common[d]! * m * m);
    }
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
    const { dims } = this.problem;
    const used = this.#used;
    let most = 0;
    for (let d = 0, i = n * dims; d < dims; d++, i++) if (used[i]! > most) most = used[i]!;
    return most;
  }

  /** Share of a node's capacity used at the quantile in one dimension. */
  shareOf(n: number, d: number): number {
    return this.#used[n * this.problem.dims + d]!;
  }

  /** @param by only where it is beyond full by more than this share of its capacity */
  isFull(n: number, by = 0): boolean {
    const { dims } = this.problem;
    for (let d = 0, i = n * dims; d < dims; d++, i++) if (this.#used[i]! > this.#full[d]! + by) return true;
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

  #load(s: number, n: number, standby: boolean, sign: 1 | -1): void {
    const { dims, loadMean, loadVariance } = this.problem;
    const at = n * dims;
    const from = s * dims;
    const shared = this.#together.open(n, s);
    const { sums } = this.#together;
    for (let d = 0; shared >= 0 && d < dims; d++) {
      const own = (standby ? this.#share[d]! : 1) * this.problem.together!.deviation[from + d]!;
      const others = sums[shared + d]! - (sign < 0 ? own : 0);
      this.variance[at + d]! += sign * 2 * own * others;
      sums[shared + d] = others + (sign > 0 ? own : 0);
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
      const deviation = Math.sqrt((v > 0 ? v : 0) + this.#common[d]! * m * m);
      const share = (m + quantileZ * deviation) * this.#inverse[at + d]!;
      this.#used[at + d] = share;
      this.#slope[at + d] = 0;
      if (share > headroom) {
        const over = (share - headroom) * perHeadroom;
        usd += this.#weight[d]! * full * over * over;
        const perMean = deviation > 0 ? 1 + (quantileZ * this.#common[d]! * m) / deviation : 1;
        this.#slope[at + d] =
          2 * this.#weight[d]! * full * over * perHeadroom * perMean * this.#inverse[at + d]!;
        if (share > this.#full[d]!) usd += this.#weight[d]! * excessUsdPerHour * (share - this.#full[d]!);
      }
      if (queueUsdPerHour > 0 && d % 3 === 0) usd += this.#weight[d]! * queueUsdPerHour * queueing(share);
    }
    return usd;
  }
}
