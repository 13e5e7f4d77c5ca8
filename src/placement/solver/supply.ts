/**
 * What a region's nodes earn at given prices: the part of the Lagrangian bound that belongs to nodes.
 *
 * A replica of mean m and variance v is charged for its effective load, the mean that would fill as much of a node as it does
 * beside others of its own dispersion v/m, at a reference load of the node. docs/placement.md proves that a node at quantile
 * load L carries at most {@link Supply.psi}'s effective load, whatever the mixture, so that everything here is closed form and
 * the bound is tight where nodes work at the reference. References follow prices: the load at which a node earns most.
 */
import type { Problem } from './problem.ts';

/** Variances are counted up to this many times the load-weighted mean dispersion: less load keeps a lower bound one. */
const DISPERSION_MAX = 16;

interface Kind {
  nodes: number;
  usdPerHour: number;
  releasable: boolean;
  /** Per dimension: what is there beside the shards; the quantile loads between which overload grows; its price when full. */
  base: Float64Array;
  from: Float64Array;
  to: Float64Array;
  headroom: Float64Array;
  overPerLoad: Float64Array;
  full: Float64Array;
}

export class Supply {
  /** Most variance that counts per unit of mean: `[d]`. */
  readonly dispersionMax: Float64Array;
  /** Price at which a region's node would be full, for scale: `[r * dims + d]`. */
  readonly unitPrice: Float64Array;
  readonly #problem: Problem;
  readonly #kinds: Kind[][];
  /** 1 + z g: quantile load per mean without own variance; and 4 z^2 g^2. By dimension. */
  readonly least: Float64Array;
  readonly common: Float64Array;
  /** z^2 over the reference load: `[r * dims + d]`. */
  readonly perVariance: Float64Array;
  /** The least of it over all regions: `[d]`. */
  readonly #perVarianceLeast: Float64Array;
  /** The least of it at any prices: where every node is full. */
  readonly #perVarianceEver: Float64Array;
  /** Mean capacity of a region's nodes. */
  readonly #capacity: Float64Array;

  /** @param stride every so many shards are asked for their dispersion; beyond 1 prices are near, and bound nothing */
  constructor(problem: Problem, stride = 1) {
    this.#problem = problem;
    const { dims, regionCount, nodeCount, quantileZ } = problem;
    // Where z g is 1 or more the proof would not hold: common variation counts nothing there, which lowers the bound.
    const shared = (d: number) => {
      const own = quantileZ * Math.sqrt(problem.commonSquared[d % 3]!);
      return own < 0.999 ? own : 0;
    };
    this.least = Float64Array.from({ length: dims }, (_, d) => 1 + shared(d));
    this.common = Float64Array.from({ length: dims }, (_, d) => 4 * shared(d) ** 2);
    this.dispersionMax = new Float64Array(dims);
    this.#measureDispersion(stride);
    this.unitPrice = new Float64Array(regionCount * dims);
    this.perVariance = new Float64Array(regionCount * dims);
    this.#perVarianceLeast = new Float64Array(dims);
    this.#perVarianceEver = new Float64Array(dims).fill(Number.POSITIVE_INFINITY);
    this.#capacity = new Float64Array(regionCount * dims);
    this.#kinds = Array.from({ length: regionCount }, () => []);
    const known = new Map<string, Kind>();
    for (let n = 0; n < nodeCount; n++) {
      const region = problem.nodeRegion[n]!;
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
    for (let i = 0; i < regionCount * dims; i++) {
      if (this.#capacity[i] === 0) continue;
      const d = i % dims;
      const most = Math.max(problem.headroom, problem.fullShare[d]!) * this.#capacity[i]!;
      this.#perVarianceEver[d] = Math.min(this.#perVarianceEver[d]!, quantileZ ** 2 / most);
    }
    this.refer(new Float64Array(regionCount * dims));
  }

  /** Sets the reference loads to what a node would carry at these prices. */
  refer(prices: Float64Array): void {
    const { dims, headroom, fullShare, quantileZ } = this.#problem;
    this.#perVarianceLeast.fill(Number.POSITIVE_INFINITY);
    for (let i = 0; i < prices.length; i++) {
      const capacity = this.#capacity[i]!;
      if (capacity === 0) continue;
      const d = i % dims;
      const unit = this.unitPrice[i]! * this.least[d]!;
      const over = unit > 0 ? Math.min(1, prices[i]! / unit) : 1;
      const most = Math.max(headroom, fullShare[d]!);
      const share = Math.max(Number.MIN_VALUE, Math.min(most, headroom + (1 - headroom) * over));
      this.perVariance[i] = quantileZ ** 2 / (share * capacity);
      this.#perVarianceLeast[d] = Math.min(this.#perVarianceLeast[d]!, this.perVariance[i]!);
    }
  }

  /** What a load counts in region and dimension `i` (`r * dims + d`); its variance as {@link countedVariance} says. */
  effective(i: number, d: number, mean: number, variance: number): number {
    return this.#filling(d, mean, this.perVariance[i]! * variance);
  }

  /** What it counts in any region at least. */
  leastEffective(d: number, mean: number, variance: number): number {
    return this.#filling(d, mean, this.#perVarianceLeast[d]! * variance);
  }

  /** What it counts in any region at any prices at least. */
  leastEffectiveEver(d: number, mean: number, variance: number): number {
    return this.#filling(d, mean, this.#perVarianceEver[d]! * variance);
  }

  #filling(d: number, mean: number, own: number): number {
    return (
      (2 * mean + own + Math.sqrt(this.common[d]! * mean * mean + own * (4 * mean + own))) /
      (2 * this.least[d]!)
    );
  }

  /** Dollars an hour that the nodes of a region earn at most; adds the effective load they then carry to `load`. */
  psi(region: number, prices: Float64Array, load: Float64Array): number {
    const { dims, quantileZ } = this.#problem;
    const at = region * dims;
    let total = 0;
    const carried = new Float64Array(dims);
    for (const kind of this.#kinds[region]!) {
      let earned = 0;
      for (let d = 0; d < dims; d++) {
        const price = prices[at + d]!;
        const least = this.least[d]!;
        const from = kind.from[d]!;
        const to = kind.to[d]!;
        const reference = quantileZ > 0 ? quantileZ ** 2 / this.perVariance[at + d]! : to;
        // Up to the reference a node carries most of what has no variance, beyond it of what has the most.
        const knee = Math.min(to, Math.max(from, reference));
        const atKnee = this.#most(d, knee, reference);
        const atFull = this.#most(d, to, reference);
        let best = Number.NEGATIVE_INFINITY;
        for (let part = 0; part < 2; part++) {
          const low = part === 0 ? from : knee;
          const high = part === 0 ? knee : to;
          const lowLoad = part === 0 ? Math.min(from / least, atKnee) : atKnee;
          const highLoad = part === 0 ? atKnee : atFull;
          const gain = price * (highLoad - lowLoad);
          const over = Math.max(0, low - kind.headroom[d]!) * kind.overPerLoad[d]!;
          const slope = Math.max(0, high - kind.headroom[d]!) * kind.overPerLoad[d]! - over;
          const full = kind.full[d]!;
          let t = 0;
          if (slope > 0 && full > 0) t = (gain / (2 * full * slope) - over) / slope;
          else if (gain > 0) t = 1;
          t = t < 0 ? 0 : t > 1 ? 1 : t;
          const value = price * (lowLoad - kind.base[d]!) + t * gain - full * (over + t * slope) ** 2;
          if (value > best) {
            best = value;
            carried[d] = lowLoad + t * (highLoad - lowLoad) - kind.base[d]!;
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
    const most = this.dispersionMax[d]! * mean;
    return variance < most ? variance : most;
  }

  /** The most effective load that a node at quantile load `load` can carry. */
  #most(d: number, load: number, reference: number): number {
    const least = this.least[d]!;
    if (load <= reference) return load / least;
    const { quantileZ } = this.#problem;
    const own = quantileZ ** 2 * this.dispersionMax[d]!;
    const perMean = (x: number) => (2 + x + Math.sqrt(this.common[d]! + x * (4 + x))) / 2;
    return (load * perMean(own / reference)) / (perMean(own / load) * least);
  }

  #measureDispersion(stride: number): void {
    const { dims, shardCount, loadMean, loadVariance, standbyShare, standbys } = this.#problem;
    const means = new Float64Array(dims);
    const variances = new Float64Array(dims);
    const most = new Float64Array(dims);
    for (let s = 0; s < shardCount; s += stride)
      for (let d = 0; d < dims; d++) {
        const m = loadMean[s * dims + d]!;
        if (m <= 0) continue;
        const v = loadVariance[s * dims + d]!;
        means[d]! += m;
        variances[d]! += v;
        // A standby's variance grows with the square of its share, so its dispersion with the share itself.
        const times = standbys[s]! > 0 ? Math.max(1, standbyShare[d % 3]!) : 1;
        if (v * times > most[d]! * m) most[d] = (v / m) * times;
      }
    for (let d = 0; d < dims; d++)
      this.dispersionMax[d] =
        means[d]! > 0 ? Math.min(most[d]!, (DISPERSION_MAX * variances[d]!) / means[d]!) : 0;
  }

  #kind(n: number, base: Float64Array): Kind {
    const { dims, headroom, fullShare, capacity, stepWeight } = this.#problem;
    const kind: Kind = {
      nodes: 1,
      usdPerHour: this.#problem.nodeUsdPerHour[n]!,
      releasable: this.#problem.releasable[n] === 1,
      base: Float64Array.from(base),
      from: new Float64Array(dims),
      to: new Float64Array(dims),
      headroom: new Float64Array(dims),
      overPerLoad: new Float64Array(dims),
      full: new Float64Array(dims),
    };
    for (let d = 0; d < dims; d++) {
      const whole = capacity[n * 3 + (d % 3)]!;
      kind.full[d] = stepWeight[(d / 3) | 0]! * this.#problem.overloadUsdPerHour[n]!;
      kind.headroom[d] = headroom * whole;
      kind.overPerLoad[d] = 1 / (whole * (1 - headroom));
      kind.from[d] = Math.max(headroom * whole, base[d]! * this.least[d]!);
      kind.to[d] = Math.max(fullShare[d]! * whole, kind.from[d]!);
    }
    return kind;
  }

  #scale(): void {
    const { dims, regionCount, nodeCount, nodeRegion, headroom, capacity } = this.#problem;
    const nodes = new Int32Array(regionCount);
    for (let n = 0; n < nodeCount; n++) {
      const region = nodeRegion[n]!;
      nodes[region]!++;
      for (let d = 0; d < dims; d++) {
        const whole = capacity[n * 3 + (d % 3)]!;
        this.#capacity[region * dims + d]! += whole;
        this.unitPrice[region * dims + d]! +=
          (2 * this.#problem.stepWeight[(d / 3) | 0]! * this.#problem.overloadUsdPerHour[n]!) /
          ((1 - headroom) * whole);
      }
    }
    for (let i = 0; i < regionCount * dims; i++) {
      const count = nodes[Math.floor(i / dims)]!;
      if (count === 0) continue;
      this.unitPrice[i]! /= count;
      this.#capacity[i]! /= count;
    }
  }
}
