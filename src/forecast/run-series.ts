/**
 * The engine over one recorded series: its steps in order, then a forecast. `skein forecast run` is this, and so is every
 * origin of `skein forecast backtest`; the controller feeds the same bank as steps come.
 */
import { SeriesBank } from './bank/bank.ts';
import { BUCKET_STEPS } from './bank/layout.ts';
import { BatchAnswers } from './batch-answers.ts';
import type { BatchExpert } from './batch-expert.ts';
import { answersMaxima, BatchMaxima } from './batch-maxima.ts';
import { normalQuantile, Z90, Z99 } from './normal.ts';
import type { SeriesRecord } from './series-record.ts';

/** Steps between two looks for periods, as a factor of the length: few looks over a long life. */
const LOOK_GROWTH = 1.5;
const LOOK_FIRST_STEPS = 48;

/** A batch expert is asked at multiples of this many steps, so that every horizon is scored ... */
const ASK_EVERY_STEPS = 20;
/** ... and at most about this often along a series: it is dear. */
const ASKED_MAX = 48;

export interface RunOptions {
  /** Windows in steps whose maximum is forecast. */
  windows: readonly number[];
  /** Beside the bank's own experts. */
  batchExperts?: readonly BatchExpert[];
}

export interface SeriesAnswer {
  /** Unix seconds of the first step of the forecast. */
  t0: number;
  /** `quantiles[q][h]`, in the series' unit. */
  quantiles: Float64Array[];
  /** `maxima[w][q]`. */
  maxima: number[][];
}

/** Learns a series up to a point and answers from there; going on afterwards is what rolling origins do. */
export class SeriesRun {
  readonly #record: SeriesRecord;
  readonly #bank: SeriesBank;
  readonly #row: number;
  readonly #outside: BatchAnswers[];
  readonly #maxima: BatchMaxima[];
  readonly #askEvery: number;
  #next = 0;
  /** Values that the bank knows, the one being learnt included. */
  #known = 0;
  #look = LOOK_FIRST_STEPS;

  constructor(record: SeriesRecord, options: RunOptions) {
    this.#record = record;
    this.#bank = new SeriesBank({
      stepS: record.step_s,
      windows: options.windows,
      outside: options.batchExperts?.length ?? 0,
      rows: 1,
    });
    this.#row = this.#bank.add();
    const experts = options.batchExperts ?? [];
    const series = { values: record.v, stepS: record.step_s, t0: record.t0 };
    this.#outside = experts.map((expert) => new BatchAnswers(expert, series));
    this.#maxima =
      options.windows.length === 0
        ? []
        : experts.filter(answersMaxima).map((expert) => new BatchMaxima(expert, series, options.windows));
    const perAsk = Math.ceil(record.v.length / ASKED_MAX / ASK_EVERY_STEPS);
    this.#askEvery = Math.max(1, perAsk) * ASK_EVERY_STEPS;
    this.#bank.outside = (_row, expert, ahead, out) => this.#outside[expert]!.at(this.#known, ahead, out);
  }

  /** Learns up to, not including, index `end` of the record's values. */
  advance(end: number): void {
    const { v, censored } = this.#record;
    this.#ask(Math.min(end, v.length));
    for (; this.#next < Math.min(end, v.length); this.#next++) {
      this.#known = this.#next + 1;
      this.#bank.observe(this.#row, v[this.#next]!, censored.has(this.#next));
      if (this.#next + 1 >= this.#look) {
        this.#look = Math.ceil((this.#next + 1) * LOOK_GROWTH);
        this.#bank.lookForPeriods(this.#row);
      }
      this.#keepMaxima();
    }
    for (const maxima of this.#maxima) maxima.settle(this.#next);
  }

  /** Remembers the bank's own maxima where a batch expert was asked for them. */
  #keepMaxima(): void {
    for (const maxima of this.#maxima) {
      if (!maxima.has(this.#known)) continue;
      for (let w = 0; w < this.#bank.layout.windows.length; w++) {
        this.#bank.forecastMax(this.#row, w, this.#maximum);
        maxima.keep(this.#known, w, this.#maximum);
      }
    }
  }
  readonly #maximum = new Float64Array(3);

  /** Asks the batch experts for every origin up to `end` at once: what they say depends on the values alone. */
  #ask(end: number): void {
    if (this.#outside.length === 0) return;
    const origins: number[] = [];
    const first = Math.ceil((this.#next + 1) / this.#askEvery) * this.#askEvery;
    for (let origin = first; origin < end; origin += this.#askEvery) origins.push(origin);
    const periods = this.#periods();
    for (const answers of this.#outside) answers.ask(origins, BUCKET_STEPS, periods);
    for (const maxima of this.#maxima) maxima.ask(origins, periods);
  }

  #periods(): number[] | undefined {
    const found = this.#bank.periods(this.#row).filter((steps) => steps >= 2 && 2 * steps <= this.#next);
    return found.length > 0 ? found : undefined;
  }

  forecast(horizon: number, levels: readonly number[]): SeriesAnswer {
    const { t0, step_s } = this.#record;
    const steps = Float64Array.from({ length: horizon }, (_, h) => h + 1);
    for (const answers of this.#outside) answers.ask([this.#next], [...steps], this.#periods(), true);
    this.#known = this.#next;
    const found = new Float64Array(3 * horizon);
    this.#bank.forecast(this.#row, steps, found);
    const spread = levels.map((level) => Float64Array.from(steps, (_, h) => quantileOf(level, found, 3 * h)));
    const out = new Float64Array(3);
    for (const maxima of this.#maxima) maxima.ask([this.#next], this.#periods());
    const maxima = this.#bank.layout.windows.map((_, w) => {
      this.#bank.forecastMax(this.#row, w, out);
      for (const expert of this.#maxima) expert.mix(this.#next, w, out);
      return levels.map((level) => quantileOf(level, out, 0));
    });
    return { t0: t0 + this.#next * step_s, quantiles: spread, maxima };
  }
}

/**
 * Any level from p50, p90 and p99: straight on the normal's scale between and beyond them; below the median the upper
 * half mirrored, not below zero where the median is not.
 */
export function quantileOf(level: number, found: ArrayLike<number>, at: number): number {
  const [p50, p90, p99] = [found[at]!, found[at + 1]!, found[at + 2]!];
  if (level === 0.5) return p50;
  if (level < 0.5) {
    const mirrored = 2 * p50 - quantileOf(1 - level, found, at);
    return p50 >= 0 ? Math.max(0, mirrored) : mirrored;
  }
  const z = normalQuantile(level);
  if (level <= 0.9) return p50 + ((p90 - p50) * z) / Z90;
  return p90 + ((p99 - p90) * (z - Z90)) / (Z99 - Z90);
}
