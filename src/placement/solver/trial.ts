/**
 * What a sample of shards would load each region with at trial prices: asked a hundred times and more while prices are sought.
 *
 * The same choices as {@link Dual.choose} makes one by one, and the same sums (`trial.test.ts` holds the two against each other), with
 * all that does not depend on prices worked out once: each shard's regions in the order of their own dollars, moves included, so
 * that a choice ends at the first that is dearer than the best so far, and the least that its load can count at any prices.
 */
import type { Dual } from './dual.ts';
import { NOWHERE, type Problem, RESOURCE_COUNT, regionAllowed, sourceRegion } from './problem.ts';
import type { Supply } from './supply.ts';

export class Trial {
  readonly #problem: Problem;
  readonly #dual: Dual;
  readonly #supply: Supply;
  readonly #shards: Int32Array;
  readonly #weights: Float64Array;
  readonly #share: Float64Array;
  /** By shard of the sample and dimension: mean, and variance as it counts. */
  readonly #mean: Float64Array;
  readonly #variance: Float64Array;
  /** What its load counts at any prices at least, as a primary and as a standby, by resource: the least over the steps. */
  readonly #primaryLeast: Float64Array;
  readonly #standbyLeast: Float64Array;
  /** Primary's regions that are open to the shard, cheapest first: `[j * regionCount + i]`, and how many. */
  readonly #regions: Uint16Array;
  readonly #regionsUsd: Float64Array;
  readonly #open: Uint16Array;
  /** Dollars an hour of bringing a standby to a region; Infinity where none may be: `[j * regionCount + r]`. */
  readonly #standbyUsd: Float64Array;
  /** Where each was best last: a good first guess spares looking at most others. */
  readonly #last: Uint16Array;
  readonly #lastStandby: Uint16Array;
  /** Prices of the standby of the shard at hand, by region; below 0: not asked yet. */
  readonly #standbyPrice: Float64Array;
  readonly #taken: Int32Array;
  readonly #trial: Int32Array;
  readonly #chosen: Int32Array;

  constructor(dual: Dual, shards: Int32Array, weights: Float64Array) {
    const { problem, supply } = dual;
    const { regionCount, dims, width, moveHours } = problem;
    const size = shards.length;
    this.#problem = problem;
    this.#dual = dual;
    this.#supply = supply;
    this.#shards = shards;
    this.#weights = weights;
    this.#share = Float64Array.from({ length: dims }, (_, d) => problem.standbyShare[d % RESOURCE_COUNT]!);
    this.#mean = new Float64Array(size * dims);
    this.#variance = new Float64Array(size * dims);
    this.#primaryLeast = new Float64Array(size * RESOURCE_COUNT);
    this.#standbyLeast = new Float64Array(size * RESOURCE_COUNT);
    this.#regions = new Uint16Array(size * regionCount);
    this.#regionsUsd = new Float64Array(size * regionCount);
    this.#open = new Uint16Array(size);
    this.#standbyUsd = new Float64Array(size * regionCount);
    this.#last = new Uint16Array(size);
    this.#lastStandby = new Uint16Array(size);
    this.#standbyPrice = new Float64Array(regionCount);
    this.#taken = new Int32Array(regionCount);
    this.#trial = new Int32Array(width);
    this.#chosen = new Int32Array(width);
    for (let j = 0; j < size; j++) {
      const s = shards[j]!;
      this.#weigh(j, s);
      const source = sourceRegion(problem, s);
      const pin = problem.pinnedTo[s]!;
      const at = j * regionCount;
      let open = 0;
      for (let r = 0; r < regionCount; r++) {
        const allowed = regionAllowed(problem, s, r);
        this.#standbyUsd[at + r] = allowed ? dual.standbyMove(s, r, source) : Number.POSITIVE_INFINITY;
        if (pin >= 0 ? problem.nodeRegion[pin] !== r : !allowed) continue;
        if (dual.room[r] === 0) continue;
        const move = source >= 0 ? dual.primaryMove(s, r, source) / moveHours : 0;
        const usd = problem.value[s * regionCount + r]! + move;
        let i = at + open++;
        for (; i > at && this.#regionsUsd[i - 1]! > usd; i--) {
          this.#regionsUsd[i] = this.#regionsUsd[i - 1]!;
          this.#regions[i] = this.#regions[i - 1]!;
        }
        this.#regionsUsd[i] = usd;
        this.#regions[i] = r;
      }
      this.#open[j] = open;
    }
  }

  /**
   * Adds the effective load that the sample chooses at the dual's prices to `demand`: `[r * dims + d]`.
   *
   * One function that calls none, with all it reads in its own variables: it is where a warm round spends its time, and whether an
   * engine takes calls into their callers changes with what ran before (three times slower after a few solves, as methods).
   */
  addDemand(demand: Float64Array): void {
    const { dims, regionCount, frozen, standbys, spread, writeGbPerHour, egressUsdPerGb } = this.#problem;
    const { prices, sums, room } = this.#dual;
    const { perVariance, common, least } = this.#supply;
    const shards = this.#shards;
    const weights = this.#weights;
    const means = this.#mean;
    const variances = this.#variance;
    const shares = this.#share;
    const primaryLeasts = this.#primaryLeast;
    const leasts = this.#standbyLeast;
    const regions = this.#regions;
    const regionsUsd = this.#regionsUsd;
    const moves = this.#standbyUsd;
    const lasts = this.#last;
    const lastStandbys = this.#lastStandby;
    const known = this.#standbyPrice;
    const taken = this.#taken;
    const trial = this.#trial;
    const chosen = this.#chosen;
    for (let j = 0; j < shards.length; j++) {
      const s = shards[j]!;
      if (frozen[s] === 1) {
        this.#addFrozen(j, s, demand);
        continue;
      }
      const count = standbys[s]!;
      const write = writeGbPerHour[s]!;
      const own = j * dims;
      const at = j * regionCount;
      const ofResource = j * RESOURCE_COUNT;
      const end = at + this.#open[j]!;
      const first = at + lasts[j]!;
      const lastStandby = lastStandbys[j]!;
      known.fill(-1);
      let best = Number.POSITIVE_INFINITY;
      for (let next = at - 1; next < end; next++) {
        const here = next < at ? first : next;
        if (next === first) continue;
        let usd = regionsUsd[here]!;
        // Prices are at least 0, and what follows is dearer by its own dollars alone.
        if (usd >= best) break;
        const p = regions[here]!;
        const sum = p * RESOURCE_COUNT;
        let floor = usd + sums[sum]! * primaryLeasts[ofResource]!;
        floor +=
          sums[sum + 1]! * primaryLeasts[ofResource + 1]! + sums[sum + 2]! * primaryLeasts[ofResource + 2]!;
        if (floor >= best) continue;
        let price = 0;
        for (let d = 0, i = p * dims; d < dims; d++, i++) {
          if (prices[i] === 0) continue;
          const mean = means[own + d]!;
          const extra = perVariance[i]! * variances[own + d]!;
          const root = Math.sqrt(common[d]! * mean * mean + extra * (4 * mean + extra));
          price += prices[i]! * ((2 * mean + extra + root) / (2 * least[d]!));
        }
        usd += price;
        if (usd >= best) continue;
        if (count > 0) {
          taken.fill(0);
          taken[p] = 1;
        }
        for (let k = 1; k <= count && usd < best; k++) {
          let cheapest = best - usd;
          let to = NOWHERE;
          // Where it was best last, and beside the primary: what is good rules out most others at once.
          for (let i = -2; i < regionCount; i++) {
            const r = i === -2 ? lastStandby : i === -1 ? p : i;
            if (i >= 0 && (i === lastStandby || i === p)) continue;
            let asked = write * egressUsdPerGb[p * regionCount + r]! + moves[at + r]!;
            if (asked >= cheapest) continue;
            const of = r * RESOURCE_COUNT;
            let atLeast = asked + sums[of]! * leasts[ofResource]!;
            atLeast += sums[of + 1]! * leasts[ofResource + 1]! + sums[of + 2]! * leasts[ofResource + 2]!;
            if (atLeast >= cheapest || taken[r]! >= room[spread[s]! * regionCount + r]!) continue;
            let standbyPrice = known[r]!;
            if (standbyPrice < 0) {
              standbyPrice = 0;
              for (let d = 0, c = r * dims; d < dims; d++, c++) {
                if (prices[c] === 0) continue;
                const share = shares[d]!;
                const mean = share * means[own + d]!;
                const extra = perVariance[c]! * (share * share * variances[own + d]!);
                const root = Math.sqrt(common[d]! * mean * mean + extra * (4 * mean + extra));
                standbyPrice += prices[c]! * ((2 * mean + extra + root) / (2 * least[d]!));
              }
              known[r] = standbyPrice;
            }
            asked += standbyPrice;
            if (asked >= cheapest) continue;
            cheapest = asked;
            to = r;
          }
          if (to < 0) usd = Number.POSITIVE_INFINITY;
          else {
            taken[to]!++;
            trial[k] = to;
            usd += cheapest;
          }
        }
        if (usd >= best) continue;
        best = usd;
        chosen[0] = p;
        for (let k = 1; k <= count; k++) chosen[k] = trial[k]!;
        lasts[j] = here - at;
      }
      if (best === Number.POSITIVE_INFINITY) continue;
      if (count > 0) lastStandbys[j] = chosen[1]!;
      for (let k = 0; k <= count; k++)
        for (let d = 0, i = chosen[k]! * dims; d < dims; d++, i++) {
          const part = k === 0 ? 1 : shares[d]!;
          const mean = part * means[own + d]!;
          const extra = perVariance[i]! * (part * part * variances[own + d]!);
          const root = Math.sqrt(common[d]! * mean * mean + extra * (4 * mean + extra));
          demand[i]! += weights[j]! * ((2 * mean + extra + root) / (2 * least[d]!));
        }
    }
  }

  #addFrozen(j: number, s: number, demand: Float64Array): void {
    if (this.#dual.choose(s) < Number.POSITIVE_INFINITY) this.#dual.addChosen(s, demand, this.#weights[j]!);
  }

  /** What of a shard's load depends on no price. */
  #weigh(j: number, s: number): void {
    const supply = this.#supply;
    const { dims, loadMean, loadVariance } = this.#problem;
    const ofResource = j * RESOURCE_COUNT;
    for (const least of [this.#primaryLeast, this.#standbyLeast])
      least.fill(Number.POSITIVE_INFINITY, ofResource, ofResource + RESOURCE_COUNT);
    for (let d = 0; d < dims; d++) {
      const mean = loadMean[s * dims + d]!;
      const variance = supply.countedVariance(d, mean, loadVariance[s * dims + d]!);
      this.#mean[j * dims + d] = mean;
      this.#variance[j * dims + d] = variance;
      const share = this.#share[d]!;
      const i = ofResource + (d % RESOURCE_COUNT);
      this.#primaryLeast[i] = Math.min(this.#primaryLeast[i]!, supply.leastEffectiveEver(d, mean, variance));
      const standby = supply.leastEffectiveEver(d, share * mean, share * share * variance);
      this.#standbyLeast[i] = Math.min(this.#standbyLeast[i]!, standby);
    }
  }
}
