/**
 * How far shards of one key prefix surge together: a tenant's rooms fill at the same moment, whatever was foreseen of each. Whoever puts them on one
 * node should know: their bands do not average out there.
 *
 * Held is the mean correlation of what was not foreseen a step ahead, in bands of each shard: the decayed mean product over pairs against the
 * decayed mean square (an exchangeable correlation, moment estimator: Liang and Zeger 1986). Only shards with models of their own take part.
 *
 * Boundary: pure. Invariants: from 0 to {@link CORRELATION_MAX}; little evidence says little; a step costs a fixed amount a shard heard; at most
 * {@link GROUPS_MAX} prefixes are held.
 */
import type { ShardId } from '../model/ids.ts';
import type { ShardForecast } from '../model/loop.ts';
import { prefixOf } from './prefixes.ts';

/** Prefixes held; those of shards that come later are not told apart. */
const GROUPS_MAX = 4096;
/** Shards whose prefix is remembered. */
const SHARDS_MAX = 16_384;
/** Steps after which what was learnt weighs little. */
const MEMORY_STEPS = 1000;
/** Steps' worth of belief that shards go each their own way. */
const PRIOR_STEPS = 100;
/** A surprise of more than so many standard deviations counts as one of so many: one crowd is no rule. */
const SURPRISE_MAX = 4;
/** Below this nobody is worth keeping apart for it. */
const CORRELATION_MIN = 0.05;
/** Shards that were one would have one band: numbers beyond this differ by noise. */
const CORRELATION_MAX = 0.95;

interface Sums {
  /** Of the step at hand: surprises, their squares, how many. */
  sum: number;
  squares: number;
  count: number;
  /** Decayed: mean product over pairs, mean square, and steps. */
  product: number;
  square: number;
  steps: number;
}

export type CompanionsState = [prefix: string, product: number, square: number, steps: number][];

export class Companions {
  readonly #sums = new Map<string, Sums>();
  readonly #prefixes = new Map<ShardId, string | undefined>();

  /**
   * What a shard had beyond its forecast in the step at hand.
   *
   * @param surprise in standard deviations of the forecast; NaN where nothing was foreseen
   */
  hear(shard: ShardId, surprise: number): void {
    const prefix = this.#prefixOf(shard);
    if (prefix === undefined || Number.isNaN(surprise)) return;
    let sums = this.#sums.get(prefix);
    if (sums === undefined) {
      if (this.#sums.size >= GROUPS_MAX) return;
      sums = { sum: 0, squares: 0, count: 0, product: 0, square: 0, steps: 0 };
      this.#sums.set(prefix, sums);
    }
    const bounded = Math.max(-SURPRISE_MAX, Math.min(SURPRISE_MAX, surprise));
    sums.sum += bounded;
    sums.squares += bounded * bounded;
    sums.count++;
  }

  endStep(): void {
    for (const sums of this.#sums.values()) {
      const { sum, squares, count } = sums;
      sums.sum = sums.squares = sums.count = 0;
      if (count < 2) continue;
      sums.steps += 1 - sums.steps / MEMORY_STEPS;
      const rate = 1 / sums.steps;
      sums.product += rate * ((sum * sum - squares) / (count * (count - 1)) - sums.product);
      sums.square += rate * (squares / count - sums.square);
    }
  }

  /** Correlation of two shards of a prefix: 0 where nothing is known. */
  correlation(prefix: string): number {
    const sums = this.#sums.get(prefix);
    if (sums === undefined || !(sums.square > 0)) return 0;
    const seen = sums.product / sums.square;
    return Math.max(0, Math.min(CORRELATION_MAX, (seen * sums.steps) / (sums.steps + PRIOR_STEPS)));
  }

  /** Whom a shard surges with; undefined where it is hardly anyone. */
  of(shard: ShardId): ShardForecast['together'] {
    const group = this.#prefixOf(shard);
    if (group === undefined) return undefined;
    const correlation = this.correlation(group);
    return correlation < CORRELATION_MIN ? undefined : { group, correlation };
  }

  #prefixOf(shard: ShardId): string | undefined {
    if (!this.#prefixes.has(shard)) {
      if (this.#prefixes.size >= SHARDS_MAX) this.#prefixes.clear();
      this.#prefixes.set(shard, prefixOf(shard));
    }
    return this.#prefixes.get(shard);
  }

  save(): CompanionsState {
    return [...this.#sums].map(([prefix, { product, square, steps }]) => [prefix, product, square, steps]);
  }

  load(state: CompanionsState = []): void {
    for (const [prefix, product, square, steps] of state)
      this.#sums.set(prefix, { sum: 0, squares: 0, count: 0, product, square, steps });
  }
}
