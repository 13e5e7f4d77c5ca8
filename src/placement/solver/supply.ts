/**
 * What a region's nodes earn at given prices: the part of the Lagrangian bound that belongs to nodes.
 *
 * A node at price `p` per unit of effective load (mean + kappa * variance) earns at most
 * `psi = sup p * (M + kappa V) - overload(M + z sqrt(V + g M^2))` over all loads that fit. docs/placement.md proves that the
 * supremum lies on one of two rays V = d M, and that replacing M(L) by its chord between headroom and full keeps it an upper
 * bound. So everything here is closed form; tables are made once per kind of node.
 */
import type { Problem } from './problem.ts';

/** Variances are counted up to this many times the load-weighted mean dispersion: less load keeps a lower bound one. */
const DISPERSION_MAX = 3;

interface Kind {
  nodes: number;
  usdPerHour: number;
  releasable: boolean;
  /** Per ray and dimension: M at headroom, growth of M to full, over-share at the beginning and its growth. */
  mean: Float64Array;
  growth: Float64Array;
  over: Float64Array;
  overGrowth: Float64Array;
  full: Float64Array;
}

export class Supply {
  /** Price of variance per price of mean: `[r * dims + d]`. */
  readonly kappa: Float64Array;
  /** Most variance that counts per unit of mean: `[d]`. */
  readonly dispersionHigh: Float64Array;
  readonly dispersionLow: Float64Array;
  /** Price at which a region's node would be full, for scale: `[r * dims + d]`. */
  readonly unitPrice: Float64Array;
  /** Capacity of the region's nodes together: `[r * dims + d]`. */
  readonly capacity: Float64Array;
  readonly #problem: Problem;
  readonly #kinds: Kind[][];
  /** Squared common variation; 0 where z times it is 1 or more and the proof would not hold. */
  readonly #common: Float64Array;

  constructor(problem: Problem) {
    this.#problem = problem;
    const { dims, regionCount, nodeCount } = problem;
    this.#common = Float64Array.from({ length: dims }, (_, d) => {
      const squared = problem.commonSquared[d % 3]!;
      return problem.quantileZ * Math.sqrt(squared) < 0.999 ? squared : 0;
    });
    this.dispersionHigh = new Float64Array(dims);
    this.dispersionLow = new Float64Array(dims);
    this.#measureDispersion();
    this.kappa = new Float64Array(regionCount * dims);
    this.unitPrice = new Float64Array(regionCount * dims);
    this.capacity = new Float64Array(regionCount * dims);
    this.#kinds = Array.from({ length: regionCount }, () => []);
    const known = new Map<string, Kind>();
    for (let n = 0; n < nodeCount; n++) {
      const region = problem.nodeRegion[n]!;
      for (let d = 0; d < dims; d++) this.capacity[region * dims + d]! += problem.capacity[n * 3 + (d % 3)]!;
      const base = problem.baseLoad.subarray(n * dims, (n + 1) * dims);
      const key = [
        region,
        problem.overloadUsdPerHour[n],
        problem.nodeUsdPerHour[n],
        problem.releasable[n],
        ...problem.capacity.subarray(n * 3, n * 3 + 3),
        ...base,
      ].join();
      const kind = known.get(key);
      if (kind !== undefined) {
        kind.nodes++;
        continue;
      }
      const made = this.#kind(n, base);
      known.set(key, made);
      this.#kinds[region]!.push(made);
    }
    this.#scale();
  }

  /** Dollars an hour that the nodes of a region earn at most; adds the effective load they then carry to `load`. */
  psi(region: number, prices: Float64Array, load: Float64Array): number {
    const { dims } = this.#problem;
    const at = region * dims;
    let total = 0;
    const carried = new Float64Array(dims);
    for (const kind of this.#kinds[region]!) {
      let earned = 0;
      for (let d = 0; d < dims; d++) {
        const price = prices[at + d]!;
        const kappa = this.kappa[at + d]!;
        let best = Number.NEGATIVE_INFINITY;
        for (let ray = 0; ray < 2; ray++) {
          const i = ray * dims + d;
          const perMean = 1 + kappa * (ray === 0 ? this.dispersionLow[d]! : this.dispersionHigh[d]!);
          const p = price * perMean;
          const slope = kind.overGrowth[i]!;
          const gain = p * kind.growth[i]!;
          const full = kind.full[d]!;
          let t = 0;
          if (slope > 0 && full > 0) t = (gain / (2 * full * slope) - kind.over[i]!) / slope;
          else if (gain > 0) t = 1;
          t = t < 0 ? 0 : t > 1 ? 1 : t;
          const over = kind.over[i]! + t * slope;
          const value = p * kind.mean[i]! + t * gain - full * over * over;
          if (value > best) {
            best = value;
            carried[d] = (kind.mean[i]! + t * kind.growth[i]!) * perMean;
          }
        }
        earned += best;
      }
      if (kind.releasable) {
        earned -= kind.usdPerHour;
        if (earned <= 0) continue;
      }
      total += kind.nodes * earned;
      for (let d = 0; d < dims; d++) load[at + d]! += kind.nodes * carried[d]!;
    }
    return total;
  }

  /** Variance of a load as the bound counts it. */
  countedVariance(d: number, mean: number, variance: number): number {
    const most = this.dispersionHigh[d]! * mean;
    return variance < most ? variance : most;
  }

  #measureDispersion(): void {
    const { dims, shardCount, loadMean, loadVariance, standbyShare, standbys } = this.#problem;
    const means = new Float64Array(dims);
    const variances = new Float64Array(dims);
    for (let s = 0; s < shardCount; s++)
      for (let d = 0; d < dims; d++) {
        means[d]! += loadMean[s * dims + d]!;
        variances[d]! += loadVariance[s * dims + d]!;
      }
    for (let d = 0; d < dims; d++) {
      const high = means[d]! > 0 ? (DISPERSION_MAX * variances[d]!) / means[d]! : 0;
      let low = high;
      let most = 0;
      for (let s = 0; s < shardCount; s++) {
        const m = loadMean[s * dims + d]!;
        if (m <= 0) continue;
        const own = loadVariance[s * dims + d]! / m;
        if (own > most) most = own;
        // A standby's variance falls with the square of its share, so its dispersion with the share itself.
        const least = standbys[s]! > 0 ? own * Math.min(1, standbyShare[d % 3]!) : own;
        if (least < low) low = least;
      }
      this.dispersionHigh[d] = Math.min(high, most);
      this.dispersionLow[d] = Math.min(low, this.dispersionHigh[d]!);
    }
  }

  #kind(n: number, base: Float64Array): Kind {
    const { dims, headroom, fullShare, capacity, stepWeight, quantileZ } = this.#problem;
    const kind: Kind = {
      nodes: 1,
      usdPerHour: this.#problem.nodeUsdPerHour[n]!,
      releasable: this.#problem.releasable[n] === 1,
      mean: new Float64Array(2 * dims),
      growth: new Float64Array(2 * dims),
      over: new Float64Array(2 * dims),
      overGrowth: new Float64Array(2 * dims),
      full: new Float64Array(dims),
    };
    for (let d = 0; d < dims; d++) {
      const whole = capacity[n * 3 + (d % 3)]!;
      kind.full[d] = stepWeight[(d / 3) | 0]! * this.#problem.overloadUsdPerHour[n]!;
      const least = base[d]! * (1 + quantileZ * Math.sqrt(this.#common[d]!));
      const from = Math.max(headroom * whole, least);
      const to = Math.max(fullShare[d % 3]! * whole, from);
      for (let ray = 0; ray < 2; ray++) {
        const i = ray * dims + d;
        const dispersion = ray === 0 ? this.dispersionLow[d]! : this.dispersionHigh[d]!;
        kind.mean[i] = Math.max(0, this.#meanAt(d, from, base[d]!, dispersion));
        kind.growth[i] = Math.max(0, this.#meanAt(d, to, base[d]!, dispersion) - kind.mean[i]!);
        kind.over[i] = Math.max(0, from / whole - headroom) / (1 - headroom);
        kind.overGrowth[i] = (to - from) / whole / (1 - headroom);
      }
    }
    return kind;
  }

  /** The mean load M beside `base` at which base + M + z sqrt(dispersion M + g (base + M)^2) is `load`. */
  #meanAt(d: number, load: number, base: number, dispersion: number): number {
    const zz = this.#problem.quantileZ ** 2;
    const g = this.#common[d]!;
    const a = 1 - zz * g;
    const free = load - base;
    const b = 2 * free + zz * dispersion + 2 * zz * g * base;
    const c = free * free - zz * g * base * base;
    // The smaller root, written so that it loses no digits.
    return (2 * c) / (b + Math.sqrt(Math.max(0, b * b - 4 * a * c)));
  }

  #scale(): void {
    const { dims, regionCount, nodeCount, nodeRegion, headroom, fullShare, capacity } = this.#problem;
    const nodes = new Int32Array(regionCount);
    for (let n = 0; n < nodeCount; n++) {
      const region = nodeRegion[n]!;
      nodes[region]!++;
      for (let d = 0; d < dims; d++)
        this.unitPrice[region * dims + d]! +=
          (2 * this.#problem.stepWeight[(d / 3) | 0]! * this.#problem.overloadUsdPerHour[n]!) /
          ((1 - headroom) * capacity[n * 3 + (d % 3)]!);
    }
    for (let region = 0; region < regionCount; region++)
      for (let d = 0; d < dims; d++) {
        const i = region * dims + d;
        if (nodes[region] === 0) continue;
        this.unitPrice[i]! /= nodes[region]!;
        const high = this.dispersionHigh[d]!;
        if (high <= 0) continue;
        // The price of variance that makes both rays earn the same where nodes are busy: the tightest bound there.
        const load = ((this.capacity[i]! / nodes[region]!) * (headroom + fullShare[d % 3]!)) / 2;
        const low = Math.min(this.dispersionLow[d]!, 0.999 * high);
        const meanLow = this.#meanAt(d, load, 0, low);
        const meanHigh = this.#meanAt(d, load, 0, high);
        this.kappa[i] = (meanLow - meanHigh) / (high * meanHigh - low * meanLow);
      }
  }
}
