/**
 * Region prices: what a unit of load costs in each region, resource and step, found by dual ascent; and the certified bound.
 *
 * Relaxing node capacities leaves one choice per shard (regions of its replicas at these prices) and one supremum per
 * node (supply.ts). For every price vector at or above zero their difference is a lower bound of the objective:
 * docs/placement.md proves it for exactly the stated objective. Good prices make it tight, and tell the search where
 * capacity is scarce before a single shard is moved.
 */
import { NOWHERE, type Problem, RESOURCE_COUNT, regionAllowed, SPREAD, sourceRegion } from './problem.ts';
import type { Sample } from './sample.ts';
import { Supply } from './supply.ts';
import { Trial } from './trial.ts';

/**
 * Adam (Kingma & Ba 2015) on relative prices: prices differ by four orders of magnitude, and demand between near regions is so
 * elastic that plain subgradients circle. Rates fall geometrically; tuned on instances of 2,000 to 10,000 shards.
 */
const MOMENTUM = 0.8;
const SQUARE_MEMORY = 0.95;
/** A price below this share of a full node's moves as if it were that much. */
const RELATIVE_MIN = 0.01;

/** Of the iterations, where there is a coarse sample for the first ones. */
const COARSE_SHARE = 2 / 3;

/** From nothing, and from prices that were right a round ago. */
export const RATES_FRESH = { from: 1.5, to: 0.01 };
export const RATES_WARM = { from: 0.2, to: 0.01 };

export class Dual {
  readonly problem: Problem;
  readonly supply: Supply;
  /** Dollars an hour for a unit of effective load: `[r * dims + d]`. */
  readonly prices: Float64Array;
  /** Counts changes of prices: what was worked out at another count no longer holds. */
  version = 0;
  /** 0: scarcity is not asked. */
  scarcityShare = 0;
  /** After {@link choose}: the best regions, the primary's first. */
  readonly chosen: Int32Array;
  readonly #priced: Uint8Array;
  readonly #scarce: Uint8Array;
  /** Prices of the shard at hand, by region, as far as they were asked: those whose mark is the current one. */
  readonly #primary: Float64Array;
  readonly #standby: Float64Array;
  /** Prices summed over the steps: `[r * RESOURCE_COUNT + resource]`. */
  readonly sums: Float64Array;
  /** Least effective load of the shard's standby in any region and step, by resource; of the shard of this mark. */
  readonly #standbyLeast: Float64Array;
  #leastMark = 0;
  readonly #primaryMark: Int32Array;
  readonly #standbyMark: Int32Array;
  #mark = 0;
  /** Where each shard's primary and first standby were cheapest last: a good first guess spares looking at most regions. */
  readonly #last: Uint16Array;
  readonly #lastStandby: Uint16Array;
  /** What {@link choose} found at the current prices: asked for by one pass after the other. NaN: not asked yet. */
  #choiceUsd = new Float64Array(0);
  #choice = new Uint16Array(0);
  #choicesOf = -1;
  readonly #taken: Int32Array;
  readonly #trial: Int32Array;
  /** How many replicas of one shard a region can hold: `[spread * regionCount + r]`. */
  readonly room: Int32Array;
  /** Dollars a gigabyte at the quietest node of each region. */
  readonly #transferLeast: Float64Array;
  readonly #share: Float64Array;
  readonly #mean: Float64Array;
  readonly #variance: Float64Array;

  /** @param stride as {@link Supply}'s: beyond 1 there is no certificate */
  constructor(problem: Problem, prices?: Float64Array, stride = 1) {
    const { regionCount, dims, nodeCount, width } = problem;
    this.problem = problem;
    this.supply = new Supply(problem, stride);
    this.prices = prices ? Float64Array.from(prices) : new Float64Array(regionCount * dims);
    this.#primary = new Float64Array(regionCount);
    this.#standby = new Float64Array(regionCount);
    this.sums = new Float64Array(regionCount * RESOURCE_COUNT);
    this.#standbyLeast = new Float64Array(RESOURCE_COUNT);
    this.#primaryMark = new Int32Array(regionCount);
    this.#standbyMark = new Int32Array(regionCount);
    this.#last = new Uint16Array(problem.shardCount);
    this.#lastStandby = new Uint16Array(problem.shardCount);
    this.#scarce = new Uint8Array(regionCount);
    this.chosen = new Int32Array(width);
    this.#trial = new Int32Array(width);
    this.#priced = new Uint8Array(regionCount);
    this.#taken = new Int32Array(regionCount);
    this.#share = Float64Array.from({ length: dims }, (_, d) => problem.standbyShare[d % 3]!);
    this.#mean = new Float64Array(dims);
    this.#variance = new Float64Array(dims);
    this.room = new Int32Array(3 * regionCount);
    this.#transferLeast = new Float64Array(regionCount).fill(Number.POSITIVE_INFINITY);
    const zones = new Map<number, number>();
    for (let n = 0; n < nodeCount; n++) {
      const region = problem.nodeRegion[n]!;
      this.#transferLeast[region] = Math.min(this.#transferLeast[region]!, problem.transferUsdPerGb[n]!);
      this.room[SPREAD.node * regionCount + region]!++;
      this.room[SPREAD.region * regionCount + region] = 1;
      if (!zones.has(problem.nodeZone[n]!)) {
        zones.set(problem.nodeZone[n]!, region);
        this.room[SPREAD.zone * regionCount + region]!++;
      }
    }
    // A region without nodes takes nothing: nobody is to be kept from it by a price.
    for (let r = 0; r < regionCount; r++)
      if (!Number.isFinite(this.#transferLeast[r]!)) this.#transferLeast[r] = 0;
    this.refresh();
  }

  /** To be called after prices were changed. */
  refresh(): void {
    const { regionCount, dims } = this.problem;
    this.version++;
    this.#priced.fill(0);
    this.#scarce.fill(0);
    this.sums.fill(0);
    this.supply.refer(this.prices);
    for (let r = 0; r < regionCount; r++)
      for (let d = 0; d < dims; d++) {
        const i = r * dims + d;
        this.sums[r * RESOURCE_COUNT + (d % RESOURCE_COUNT)]! += this.prices[i]!;
        if (this.prices[i]! > 0) this.#priced[r] = 1;
        if (this.prices[i]! > this.supply.unitPrice[i]!) this.#scarce[r] = 1;
      }
  }

  /**
   * The cheapest regions for a shard at the current prices, moves included.
   *
   * @returns dollars an hour; Infinity where no region may hold it. {@link chosen} holds the regions.
   */
  choose(s: number): number {
    this.price(s);
    if (this.problem.frozen[s] === 1) return this.#frozen(s);
    const { chosen } = this;
    const { width, shardCount } = this.problem;
    if (this.#choicesOf !== this.version) {
      if (this.#choiceUsd.length === 0) {
        this.#choiceUsd = new Float64Array(shardCount);
        this.#choice = new Uint16Array(shardCount * width);
      }
      this.#choiceUsd.fill(Number.NaN);
      this.#choicesOf = this.version;
    }
    const known = this.#choiceUsd[s]!;
    if (known < Number.POSITIVE_INFINITY) {
      for (let k = 0; k <= this.problem.standbys[s]!; k++) chosen[k] = this.#choice[s * width + k]!;
      return known;
    }
    const usd = this.#chooseAnew(s);
    this.#choiceUsd[s] = usd;
    for (let k = 0; k <= this.problem.standbys[s]!; k++) this.#choice[s * width + k] = chosen[k]!;
    return usd;
  }

  #chooseAnew(s: number): number {
    const { problem, chosen } = this;
    const { regionCount, nodeRegion, value, allowed, regionWords, moveHours } = problem;
    const source = sourceRegion(problem, s);
    const count = problem.standbys[s]!;
    const room = this.room;
    const words = s * regionWords;
    const values = s * regionCount;
    const pin = problem.pinnedTo[s]!;
    const first = this.#last[s]!;
    let best = Number.POSITIVE_INFINITY;
    for (let i = -1; i < regionCount; i++) {
      const r = i < 0 ? first : i;
      if (i === first) continue;
      // Prices and moves are at least 0: most regions are out of the question by their own dollars.
      let usd = value[values + r]!;
      if (usd >= best) continue;
      // As regionAllowed: this is asked for every region of every shard in every iteration.
      if (pin >= 0 ? nodeRegion[pin] !== r : ((allowed[words + (r >>> 5)]! >>> (r & 31)) & 1) === 0) continue;
      if (room[r] === 0) continue;
      if (source >= 0) usd += this.primaryMove(s, r, source) / moveHours;
      if (usd >= best) continue;
      usd += this.primaryPrice(r);
      if (usd >= best) continue;
      if (count > 0) {
        usd += this.#chooseStandbys(s, r, count, source, best - usd);
        if (usd >= best) continue;
        for (let k = 1; k <= count; k++) chosen[k] = this.#trial[k]!;
      }
      best = usd;
      chosen[0] = r;
    }
    if (best < Number.POSITIVE_INFINITY) {
      this.#last[s] = chosen[0]!;
      if (count > 0) this.#lastStandby[s] = chosen[1]!;
    }
    return best;
  }

  /** Gives back the room of what was kept for the next question. */
  forget(): void {
    this.#choiceUsd = new Float64Array(0);
    this.#choice = new Uint16Array(0);
    this.#choicesOf = -1;
  }

  /** Adds the effective load of {@link chosen} to `demand`, `times` over. */
  addChosen(s: number, demand: Float64Array, times: number): void {
    const { problem, chosen } = this;
    const { dims } = problem;
    for (let k = 0; k <= problem.standbys[s]!; k++) {
      const r = chosen[k]!;
      if (r < 0) continue;
      for (let d = 0; d < dims; d++) {
        const part = k === 0 ? 1 : this.#share[d]!;
        demand[r * dims + d]! +=
          times *
          this.supply.effective(r * dims + d, d, part * this.#mean[d]!, part * part * this.#variance[d]!);
      }
    }
  }

  /**
   * Raises the bound by moving prices where demand exceeds supply.
   *
   * @param sample shards that stand for all
   * @param weights how many shards each stands for; without, all for the same number
   * @param coarse fewer shards that stand for all in most of the iterations: far from the right prices little tells which way they lie
   */
  ascend(
    sample: Int32Array,
    iterations: number,
    rates: { from: number; to: number },
    weights?: Float64Array,
    coarse?: Sample,
  ): void {
    if (iterations === 0) return;
    const { regionCount, dims, shardCount } = this.problem;
    const size = regionCount * dims;
    const { unitPrice } = this.supply;
    const demand = new Float64Array(size);
    const supplied = new Float64Array(size);
    const mean = new Float64Array(size);
    const square = new Float64Array(size);
    const each = () => new Float64Array(sample.length).fill(shardCount / Math.max(1, sample.length));
    const fineFrom = coarse === undefined ? 0 : Math.round(COARSE_SHARE * iterations);
    let trial = new Trial(this, coarse?.shards ?? sample, coarse?.weights ?? weights ?? each());
    for (let i = 0; i < iterations; i++) {
      if (i === fineFrom && i > 0) trial = new Trial(this, sample, weights ?? each());
      demand.fill(0);
      supplied.fill(0);
      trial.addDemand(demand);
      for (let r = 0; r < regionCount; r++) this.supply.psi(r, this.prices, supplied);
      const rate = rates.from * (rates.to / rates.from) ** (i / iterations);
      const meanScale = 1 / (1 - MOMENTUM ** (i + 1));
      const squareScale = 1 / (1 - SQUARE_MEMORY ** (i + 1));
      let settled = true;
      for (let c = 0; c < size; c++) {
        const unit = unitPrice[c]!;
        if (unit === 0) continue;
        const gradient = (demand[c]! - supplied[c]!) * unit;
        mean[c] = MOMENTUM * mean[c]! + (1 - MOMENTUM) * gradient;
        square[c] = SQUARE_MEMORY * square[c]! + (1 - SQUARE_MEMORY) * gradient * gradient;
        if (mean[c]! > 0 || this.prices[c]! > 0) settled = false;
        const price = this.prices[c]! / unit;
        const by = (mean[c]! * meanScale) / (Math.sqrt(square[c]! * squareScale) + 1e-12);
        const next = price + rate * (price + RELATIVE_MIN) * by;
        this.prices[c] = next > 0 ? next * unit : 0;
      }
      // Nothing is scarce and nothing rises: every further step would be this one again.
      if (settled) return;
      this.refresh();
    }
  }

  /** The bound at the current prices: every shard once (or a sample, by weight). A shard that no region may hold counts nothing. */
  bound(shards?: Int32Array, weights?: Float64Array): number {
    const { problem } = this;
    const { regionCount, dims, shardCount, nodeCount } = problem;
    let total = 0;
    const count = shards?.length ?? shardCount;
    for (let i = 0; i < count; i++) {
      const usd = this.choose(shards === undefined ? i : shards[i]!);
      if (usd < Number.POSITIVE_INFINITY) total += usd * (weights?.[i] ?? 1);
    }
    if (count > 0 && weights === undefined) total *= shardCount / count;
    const ignored = new Float64Array(regionCount * dims);
    for (let r = 0; r < regionCount; r++) total -= this.supply.psi(r, this.prices, ignored);
    for (let n = 0; n < nodeCount; n++) if (problem.releasable[n] === 0) total += problem.nodeUsdPerHour[n]!;
    return total;
  }

  /** Makes `s` the shard whose prices are asked from here on. */
  price(s: number): void {
    const { problem, supply } = this;
    const { dims, loadMean, loadVariance } = problem;
    this.#mark++;
    for (let d = 0; d < dims; d++) {
      const mean = loadMean[s * dims + d]!;
      this.#mean[d] = mean;
      this.#variance[d] = supply.countedVariance(d, mean, loadVariance[s * dims + d]!);
    }
  }

  /** Priced dollars of the shard's primary in a region, its move not included; after {@link price} or {@link choose}. */
  primaryPrice(r: number): number {
    if (this.#priced[r] === 0) return 0;
    if (this.#primaryMark[r] === this.#mark) return this.#primary[r]!;
    const { prices, supply } = this;
    const { dims } = this.problem;
    let usd = 0;
    for (let d = 0, i = r * dims; d < dims; d++, i++)
      if (prices[i]! > 0) usd += prices[i]! * supply.effective(i, d, this.#mean[d]!, this.#variance[d]!);
    this.#primaryMark[r] = this.#mark;
    this.#primary[r] = usd;
    return usd;
  }

  /** The same of one of its standbys. */
  standbyPrice(r: number): number {
    if (this.#priced[r] === 0) return 0;
    if (this.#standbyMark[r] === this.#mark) return this.#standby[r]!;
    const { prices, supply } = this;
    const { dims } = this.problem;
    let usd = 0;
    for (let d = 0, i = r * dims; d < dims; d++, i++) {
      if (prices[i]! === 0) continue;
      const share = this.#share[d]!;
      usd += prices[i]! * supply.effective(i, d, share * this.#mean[d]!, share * share * this.#variance[d]!);
    }
    this.#standbyMark[r] = this.#mark;
    this.#standby[r] = usd;
    return usd;
  }

  /**
   * The part of a primary's or a standby's price that no node's overload asks, since capacity is a wall and not a slope there. A
   * search that ignored it would let whoever came first keep what others need more.
   */
  scarcity(r: number, standby: boolean): number {
    if (!this.isScarce(r)) return 0;
    const { supply, prices } = this;
    const { dims } = this.problem;
    let usd = 0;
    for (let d = 0, i = r * dims; d < dims; d++, i++) {
      const excess = this.scarcityShare * (prices[i]! - supply.unitPrice[i]!);
      if (excess <= 0) continue;
      const share = standby ? this.#share[d]! : 1;
      usd += excess * supply.effective(i, d, share * this.#mean[d]!, share * share * this.#variance[d]!);
    }
    return usd;
  }

  /** Dollars an hour that a standby's load would cost on nodes that are full in every dimension; after {@link price}. */
  standbyFullPrice(s: number): number {
    const { dims } = this.problem;
    const { unitPrice } = this.supply;
    let usd = 0;
    for (let d = 0; d < dims; d++)
      usd += this.#share[d]! * this.problem.loadMean[s * dims + d]! * unitPrice[d]!;
    return usd;
  }

  /** Whether any price stands above what a full node's overload asks. */
  isScarce(r: number): boolean {
    return this.scarcityShare > 0 && this.#scarce[r] === 1;
  }

  /** One-time dollars that a primary's move to a region costs at least; `source` is where its bytes are. */
  primaryMove(s: number, r: number, source: number): number {
    const { problem } = this;
    const { start, nodeRegion, width } = problem;
    const base = s * width;
    const now = start[base]!;
    if (now >= 0 && nodeRegion[now] === r) return 0;
    const bytes = problem.stateGb[s]! * problem.egressUsdPerGb[source * problem.regionCount + r]!;
    const ends = this.#transferLeast[r]! + (now < 0 ? 0 : problem.transferUsdPerGb[now]!);
    let usd =
      (source === r ? problem.moveNearUsd[s]! : problem.moveFarUsd[s]!) + bytes + problem.stateGb[s]! * ends;
    for (let k = 1; k < width; k++) {
      const n = start[base + k]!;
      if (n >= 0 && nodeRegion[n] === r) usd = Math.min(usd, problem.promotionUsd[s]!);
    }
    return usd;
  }

  /** Dollars an hour of bringing a standby to a region: none where any replica is there now. */
  standbyMove(s: number, r: number, source: number): number {
    if (source < 0) return 0;
    const { problem } = this;
    const { start, nodeRegion, width } = problem;
    for (let k = 0; k < width; k++) {
      const n = start[s * width + k]!;
      if (n >= 0 && nodeRegion[n] === r) return 0;
    }
    return (
      (problem.moveUsd + problem.stateGb[s]! * problem.egressUsdPerGb[source * problem.regionCount + r]!) /
      problem.moveHours
    );
  }

  /** What a standby's load costs in a region at least; after {@link price}. */
  #standbyAtLeast(r: number): number {
    if (this.#priced[r] === 0) return 0;
    const least = this.#standbyLeast;
    if (this.#leastMark !== this.#mark) {
      this.#leastMark = this.#mark;
      least.fill(Number.POSITIVE_INFINITY);
      for (let d = 0; d < this.problem.dims; d++) {
        const share = this.#share[d]!;
        const counts = this.supply.leastEffective(
          d,
          share * this.#mean[d]!,
          share * share * this.#variance[d]!,
        );
        if (counts < least[d % RESOURCE_COUNT]!) least[d % RESOURCE_COUNT] = counts;
      }
    }
    const { sums } = this;
    const i = r * RESOURCE_COUNT;
    return sums[i]! * least[0]! + sums[i + 1]! * least[1]! + sums[i + 2]! * least[2]!;
  }

  /** Cheapest regions of the standbys of a shard whose primary is in `p`, into {@link #trial}; Infinity from `limit` on. */
  #chooseStandbys(s: number, p: number, count: number, source: number, limit: number): number {
    const { problem } = this;
    const { regionCount, egressUsdPerGb } = problem;
    const write = problem.writeGbPerHour[s]!;
    const room = problem.spread[s]! * regionCount;
    const taken = this.#taken;
    taken.fill(0);
    taken[p] = 1;
    let total = 0;
    const last = this.#lastStandby[s]!;
    for (let k = 1; k <= count; k++) {
      let best = limit - total;
      let at = NOWHERE;
      // Where it was best last, and beside the primary: what is good rules out most others at once.
      for (let i = -2; i < regionCount; i++) {
        const r = i === -2 ? last : i === -1 ? p : i;
        if (i >= 0 && (i === last || i === p)) continue;
        let usd = write * egressUsdPerGb[p * regionCount + r]!;
        if (usd >= best || taken[r]! >= this.room[room + r]! || !regionAllowed(problem, s, r)) continue;
        if (source >= 0) usd += this.standbyMove(s, r, source);
        // Most are ruled out by what they cost at least, which takes no root.
        if (usd >= best || usd + this.#standbyAtLeast(r) >= best) continue;
        usd += this.standbyPrice(r);
        if (usd >= best) continue;
        best = usd;
        at = r;
      }
      if (at < 0) return Number.POSITIVE_INFINITY;
      taken[at]!++;
      this.#trial[k] = at;
      total += best;
    }
    return total;
  }

  #frozen(s: number): number {
    const { problem, chosen } = this;
    const { regionCount, width, start, nodeRegion, value, egressUsdPerGb } = problem;
    const p = start[s * width]!;
    if (p < 0) return 0;
    const region = nodeRegion[p]!;
    chosen[0] = region;
    let usd = value[s * regionCount + region]! + this.primaryPrice(region);
    for (let k = 1; k <= problem.standbys[s]!; k++) {
      const n = start[s * width + k]!;
      chosen[k] = n < 0 ? NOWHERE : nodeRegion[n]!;
      if (n < 0) continue;
      usd +=
        this.standbyPrice(nodeRegion[n]!) +
        problem.writeGbPerHour[s]! * egressUsdPerGb[region * regionCount + nodeRegion[n]!]!;
    }
    return usd;
  }
}
