/**
 * How far shards surge together: a tenant's rooms fill at the same moment, whatever was foreseen of each, and so do tenants whose jobs hang on one
 * clock. Whoever puts them on one node should know: their bands do not average out there.
 *
 * Of the shards of a key prefix, held is the mean correlation of what was not foreseen a step ahead, in bands of each shard: the decayed mean product over pairs against the
 * decayed mean square (an exchangeable correlation, moment estimator: Liang and Zeger 1986). Prefixes, and shards without one, are then heads
 * of which `surges.ts` learns who surges with whom. Only shards with models of their own take part.
 *
 * Boundary: pure. Invariants: from 0 to {@link CORRELATION_MAX}; little evidence says little; a step costs a fixed amount a shard heard; at most
 * {@link GROUPS_MAX} prefixes are held.
 */
import type { ShardId } from '../model/ids.ts';
import type { ShardForecast } from '../model/loop.ts';
import { prefixOf } from './prefixes.ts';
import { Surges, type SurgesState } from './surges.ts';

/** Prefixes held; those of shards that come later are not told apart. */
const GROUPS_MAX = 4096;
/** Shards whose head is remembered. */
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
  /** Heard in the last step in which any was. */
  shards: number;
  /** Decayed: mean product over pairs, mean square, and steps. */
  product: number;
  square: number;
  steps: number;
}

type SavedHead = [head: string, product: number, square: number, steps: number, shards?: number];
/** Before heads of several names were known to surge together, it was a list of prefixes. */
export type CompanionsState = SavedHead[] | { heads: SavedHead[]; surges: SurgesState };

export class Companions {
  readonly #sums = new Map<string, Sums>();
  readonly #heads = new Map<ShardId, string>();
  readonly #surges = new Surges();
  /** Heads by what is said of their shards; made anew with the clusters. */
  readonly #said = new Map<string, ShardForecast['together']>();

  /**
   * What a shard had beyond its forecast in the step at hand.
   *
   * @param surprise in standard deviations of the forecast; NaN where nothing was foreseen
   */
  hear(shard: ShardId, surprise: number): void {
    if (Number.isNaN(surprise)) return;
    const head = this.#headOf(shard);
    const bounded = Math.max(-SURPRISE_MAX, Math.min(SURPRISE_MAX, surprise));
    // A shard that stands for itself has nobody to be correlated with: it takes no place from a prefix.
    if (head === shard) {
      this.#surges.hear(head, bounded);
      return;
    }
    let sums = this.#sums.get(head);
    if (sums === undefined) {
      if (this.#sums.size >= GROUPS_MAX) return;
      sums = emptySums();
      this.#sums.set(head, sums);
    }
    sums.sum += bounded;
    sums.squares += bounded * bounded;
    sums.count++;
  }

  endStep(): void {
    for (const [head, sums] of this.#sums) {
      const { sum, squares, count } = sums;
      sums.sum = sums.squares = sums.count = 0;
      if (count === 0) continue;
      sums.shards = count;
      this.#surges.hear(head, sum / count);
      if (count < 2) continue;
      sums.steps += 1 - sums.steps / MEMORY_STEPS;
      const rate = 1 / sums.steps;
      sums.product += rate * ((sum * sum - squares) / (count * (count - 1)) - sums.product);
      sums.square += rate * (squares / count - sums.square);
    }
    this.#surges.endStep();
    this.#said.clear();
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
    const head = this.#headOf(shard);
    if (!this.#said.has(head)) this.#said.set(head, this.#togetherOf(head));
    return this.#said.get(head);
  }

  /** The mean correlation with all others of the group: of the head's own shards, and of those of heads that surge with it. */
  #togetherOf(head: string): ShardForecast['together'] {
    const cluster = this.#surges.clusterOf(head);
    const mine = this.#sums.get(head)?.shards ?? 1;
    let others = Math.max(0, mine - 1);
    let sum = others * this.correlation(head);
    const steadiness = Math.sqrt(this.#meanVariance(head));
    for (const other of cluster?.heads ?? []) {
      if (other === head) continue;
      const shards = this.#sums.get(other)?.shards ?? 1;
      // The cosine is of two heads' means, in which what each shard has of its own evens out.
      sum += shards * this.#surges.cosine(head, other) * steadiness * Math.sqrt(this.#meanVariance(other));
      others += shards;
    }
    const correlation = others === 0 ? 0 : Math.min(CORRELATION_MAX, sum / others);
    return correlation < CORRELATION_MIN ? undefined : { group: cluster?.name ?? head, correlation };
  }

  /** Variance of the mean of a head's shards, for that of one of them. */
  #meanVariance(head: string): number {
    const shards = Math.max(1, this.#sums.get(head)?.shards ?? 1);
    return (1 + (shards - 1) * this.correlation(head)) / shards;
  }

  /** Its prefix; a shard that has none stands for itself. */
  #headOf(shard: ShardId): string {
    let head = this.#heads.get(shard);
    if (head === undefined) {
      if (this.#heads.size >= SHARDS_MAX) this.#heads.clear();
      head = prefixOf(shard) ?? shard;
      this.#heads.set(shard, head);
    }
    return head;
  }

  save(): CompanionsState {
    return {
      heads: [...this.#sums].map(([head, { product, square, steps, shards }]) => [
        head,
        product,
        square,
        steps,
        shards,
      ]),
      surges: this.#surges.save(),
    };
  }

  load(state: CompanionsState = []): void {
    const heads = Array.isArray(state) ? state : state.heads;
    for (const [head, product, square, steps, shards = 2] of heads)
      this.#sums.set(head, { ...emptySums(), product, square, steps, shards });
    if (!Array.isArray(state)) this.#surges.load(state.surges);
  }
}

function emptySums(): Sums {
  return { sum: 0, squares: 0, count: 0, shards: 0, product: 0, square: 0, steps: 0 };
}
