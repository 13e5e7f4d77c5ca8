/**
 * The few shards busy enough that their own series says something: each has models of its own, with the share model as
 * one of them, and a period of its own if its series shows one. Entry and exit differ, so that a shard on the edge stays.
 */
import { HOT_KEEP_SHARE, HOT_REQUESTS_PER_STEP, HOT_SHARDS_MAX, PERIOD_LOOK_STEPS_MAX } from './defaults.ts';
import { detectPeriods } from './period.ts';
import { SeriesForecaster, type SeriesState } from './series.ts';

/** Steps over which a shard's rate is judged. */
const JUDGE_STEPS = 16;

interface Hot {
  series: SeriesForecaster;
  rate: number;
}

export class HotShards {
  readonly #hot = new Map<number, Hot>();
  /** Candidates: decayed rate and the step it was last updated. */
  readonly #candidates = new Map<number, { rate: number; step: number }>();

  get(index: number): SeriesForecaster | undefined {
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
    this.#hot.set(index, { series: new SeriesForecaster({ externals: ['share'] }), rate });
  }

  observe(
    _step: number,
    countOf: (index: number) => number,
    factor: (index: number, ahead: number) => number,
  ): void {
    for (const [index, hot] of this.#hot) {
      const requests = countOf(index);
      hot.rate += (requests - hot.rate) / (JUDGE_STEPS * 4);
      if (hot.rate < (HOT_REQUESTS_PER_STEP / 2) * HOT_KEEP_SHARE) {
        this.#hot.delete(index);
        continue;
      }
      hot.series.observe(requests, (_, ahead) => factor(index, ahead));
    }
  }

  missing(): void {
    for (const { series } of this.#hot.values()) series.observe(Number.NaN);
  }

  /** A shard may have a rhythm of its own; otherwise it shares its groups'. */
  lookForPeriods(common: number): void {
    for (const { series } of this.#hot.values()) {
      const own = series.length >= PERIOD_LOOK_STEPS_MAX / 4 ? detectPeriods([series.history]) : [];
      series.period = own[0] ?? common;
    }
  }

  save(): { index: number; rate: number; series: SeriesState }[] {
    return [...this.#hot].map(([index, { rate, series }]) => ({ index, rate, series: series.save() }));
  }

  load(state: readonly { index: number; rate: number; series: SeriesState }[]): void {
    for (const { index, rate, series } of state) {
      const hot: Hot = { rate, series: new SeriesForecaster({ externals: ['share'] }) };
      hot.series.load(series);
      this.#hot.set(index, hot);
    }
  }

  #dropBelow(rate: number): boolean {
    let least: number | undefined;
    for (const [index, hot] of this.#hot)
      if (least === undefined || hot.rate < this.#hot.get(least)!.rate) least = index;
    if (least === undefined || this.#hot.get(least)!.rate > 0.7 * rate) return false;
    this.#hot.delete(least);
    return true;
  }
}
