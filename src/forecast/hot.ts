/**
 * The few shards busy enough that their own series says something: each has models of its own, with the share model as
 * one of them, and a period of its own if its series shows one. Entry and exit differ, so that a shard on the edge stays.
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
}

export interface HotState {
  index: number;
  rate: number;
  series: RowSeriesState;
}

export class HotShards {
  readonly #bank: SeriesBank;
  /** Shard of each row of the bank. */
  readonly #shardOf: number[] = [];
  readonly #hot = new Map<number, Hot>();
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

  observe(countOf: (index: number) => number): void {
    for (const [index, hot] of this.#hot) {
      const requests = countOf(index);
      hot.rate += (requests - hot.rate) / (JUDGE_STEPS * 4);
      if (hot.rate < (HOT_REQUESTS_PER_STEP / 2) * HOT_KEEP_SHARE) {
        this.#drop(index, hot);
        continue;
      }
      hot.series.observe(requests);
    }
  }

  missing(): void {
    for (const { series } of this.#hot.values()) series.observe(Number.NaN);
  }

  /** A shard may have a rhythm of its own; otherwise it shares its groups'. */
  lookForPeriods(common: number): void {
    for (const { series } of this.#hot.values()) {
      const own = series.length >= PERIOD_LOOK_STEPS_MAX / 4 ? detectPeriods([series]) : [];
      series.period = own[0] ?? common;
    }
  }

  save(): HotState[] {
    return [...this.#hot].map(([index, { rate, series }]) => ({ index, rate, series: series.save() }));
  }

  load(state: readonly HotState[]): void {
    for (const { index, rate, series } of state) this.#add(index, rate).load(series);
  }

  #add(index: number, rate: number): RowSeries {
    const series = new RowSeries(this.#bank);
    this.#shardOf[series.row] = index;
    this.#hot.set(index, { series, rate });
    return series;
  }

  #drop(index: number, { series }: Hot): void {
    series.close();
    this.#hot.delete(index);
  }

  #dropBelow(rate: number): boolean {
    let least: number | undefined;
    for (const [index, hot] of this.#hot)
      if (least === undefined || hot.rate < this.#hot.get(least)!.rate) least = index;
    const hot = least === undefined ? undefined : this.#hot.get(least)!;
    if (least === undefined || hot === undefined || hot.rate > 0.7 * rate) return false;
    this.#drop(least, hot);
    return true;
  }
}
