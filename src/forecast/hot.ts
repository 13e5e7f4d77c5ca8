/**
 * The shards busy enough that their own series says something: each has models of its own, with the share model as
 * one of them, and a period of its own if its series shows one. Entry and exit differ, so that a shard on the edge stays.
 *
 * Boundary: pure. Invariants: at most {@link HOT_SHARDS_MAX}; a step costs a fixed amount for each of them, also in the steps
 * in which periods are looked for: every row looks at a step of its own.
 */
import type { SeriesBank } from './bank/bank.ts';
import type { BatchExpert } from './batch-expert.ts';
import { HOT_KEEP_SHARE, HOT_REQUESTS_PER_STEP, HOT_SHARDS_MAX, PERIOD_LOOK_STEPS_MAX } from './defaults.ts';
import { detectPeriods } from './period.ts';
import { RowSeries, type RowSeriesState, seriesBank } from './row-series.ts';

/** Steps over which a shard's rate is judged. */
const JUDGE_STEPS = 16;

interface Hot {
  series: RowSeries;
  rate: number;
  /** Period in steps that its own series shows; 0: none. */
  own: number;
}

export interface HotState {
  index: number;
  rate: number;
  own: number;
  series: RowSeriesState;
}

export class HotShards {
  readonly #bank: SeriesBank;
  /** Shard of each row of the bank. */
  readonly #shardOf: number[] = [];
  readonly #hot = new Map<number, Hot>();
  /** The groups' period in steps, 0 while none is known. */
  #common = 0;
  /** The least busy one, sought when it is asked for; undefined: not since rates changed. */
  #least: { index: number; hot: Hot } | undefined;
  /** Candidates: decayed rate and the step it was last updated. */
  readonly #candidates = new Map<number, { rate: number; step: number }>();

  /** @param factor what the share model answers for a shard: one more expert of its row */
  constructor(
    stepS: number,
    factor: (index: number, ahead: number) => number,
    experts: readonly BatchExpert[] = [],
  ) {
    this.#bank = seriesBank(stepS, { externals: ['share'], experts });
    this.#bank.external = (row, _, ahead) => factor(this.#shardOf[row]!, ahead);
  }

  get(index: number): RowSeries | undefined {
    return this.#hot.get(index)?.series;
  }

  get size(): number {
    return this.#hot.size;
  }

  /** A shard with many requests in one step is watched; one that stays so gets models. */
  consider(index: number, requests: number, step: number): void {
    if (this.#hot.has(index) || requests < HOT_REQUESTS_PER_STEP) return;
    const known = this.#candidates.get(index);
    const keep = 1 - 1 / JUDGE_STEPS;
    const rate =
      (known === undefined ? 0 : known.rate * keep ** (step - known.step)) + requests / JUDGE_STEPS;
    if (rate < HOT_REQUESTS_PER_STEP / 2) {
      this.#candidates.set(index, { rate, step });
      if (this.#candidates.size > 4 * HOT_SHARDS_MAX) {
        const oldest = this.#candidates.keys().next().value;
        if (oldest !== undefined) this.#candidates.delete(oldest);
      }
      return;
    }
    if (this.#hot.size >= HOT_SHARDS_MAX && !this.#dropBelow(rate)) return;
    this.#candidates.delete(index);
    this.#add(index, rate);
  }

  /**
   * @param countOf a shard's requests in the step
   * @param heard is told how far each came from what was foreseen of it, in standard deviations; NaN where nothing was
   */
  observe(
    countOf: (index: number) => number,
    heard: (index: number, surprise: number) => void = () => {},
  ): void {
    this.#least = undefined;
    for (const [index, hot] of this.#hot) {
      const requests = countOf(index);
      hot.rate += (requests - hot.rate) / (JUDGE_STEPS * 4);
      if (hot.rate < (HOT_REQUESTS_PER_STEP / 2) * HOT_KEEP_SHARE) {
        this.#drop(index, hot);
        continue;
      }
      hot.series.observe(requests);
      heard(index, hot.series.surprise);
    }
  }

  missing(): void {
    for (const { series } of this.#hot.values()) series.observe(Number.NaN);
  }

  /** The groups' period was looked for: it is everybody's who has none of its own. */
  setCommonPeriod(steps: number): void {
    this.#common = steps;
    for (const { series, own } of this.#hot.values()) if (own === 0) series.period = steps;
  }

  /** A shard may have a rhythm of its own. To be called every step: each row is looked at when it is its turn. */
  lookForPeriods(step: number): void {
    for (const hot of this.#hot.values()) {
      const { series } = hot;
      if ((step + series.row) % PERIOD_LOOK_STEPS_MAX !== 0) continue;
      if (series.length < PERIOD_LOOK_STEPS_MAX / 4) continue;
      hot.own = detectPeriods([series])[0] ?? 0;
      series.period = hot.own > 0 ? hot.own : this.#common;
    }
  }

  save(): HotState[] {
    return [...this.#hot].map(([index, { rate, own, series }]) => ({
      index,
      rate,
      own,
      series: series.save(),
    }));
  }

  /** @param common the groups' period in steps */
  load(state: readonly HotState[], common: number): void {
    this.#common = common;
    for (const { index, rate, own, series } of state) {
      const hot = this.#add(index, rate);
      hot.own = own;
      hot.series.load(series);
    }
  }

  #add(index: number, rate: number): Hot {
    const hot = { series: new RowSeries(this.#bank), rate, own: 0 };
    hot.series.period = this.#common;
    this.#shardOf[hot.series.row] = index;
    this.#hot.set(index, hot);
    this.#least = undefined;
    return hot;
  }

  #drop(index: number, { series }: Hot): void {
    series.close();
    this.#hot.delete(index);
    this.#least = undefined;
  }

  /** Makes room for one of this rate, if it is clearly busier than the least busy one. */
  #dropBelow(rate: number): boolean {
    if (this.#least === undefined)
      for (const [index, hot] of this.#hot)
        if (this.#least === undefined || hot.rate < this.#least.hot.rate) this.#least = { index, hot };
    if (this.#least === undefined || this.#least.hot.rate > 0.7 * rate) return false;
    this.#drop(this.#least.index, this.#least.hot);
    return true;
  }
}
