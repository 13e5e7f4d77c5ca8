/**
 * The engine over one recorded series: its steps in order, then a forecast. `skein forecast run` is this, and so is every
 * origin of `skein forecast backtest`; the controller feeds the same bank as steps come.
 */
import { BUCKET_STEPS } from './bank/layout.ts';
import { BatchAnswers } from './batch-answers.ts';
import type { BatchExpert } from './batch-expert.ts';
import { answersMaxima, BatchMaxima } from './batch-maxima.ts';
import { NeighboursExpert } from './neighbours.ts';
import { normalQuantile, Z90, Z99 } from './normal.ts';
import type { SeriesRecord } from './series-record.ts';
import { SeriesStream } from './stream.ts';

/** A batch expert is asked at multiples of this many steps, so that every horizon is scored ... */
const ASK_EVERY_STEPS = 20;
/** ... and at most about this often along a series: it is dear. */
const ASKED_MAX = 48;
/** Answers of batch experts over which their losses are averaged: of 240 steps or more. */
const ASKED_MEMORY = 12;

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
  readonly #stream: SeriesStream;
  /** Values without what events did, and without what covariates did as well: what experts in batches see. */
  readonly #clean: Float64Array;
  readonly #adjusted: Float64Array;
  readonly #outside: BatchAnswers[];
  readonly #maxima: BatchMaxima[];
  readonly #askEvery: number;
  /** The values have to be rid of what events or covariates did; events that are all to come did nothing yet. */
  readonly #beside: boolean;
  #next = 0;
  /** Values that the bank knows, the one being learnt included. */
  #known = 0;

  constructor(record: SeriesRecord, options: RunOptions) {
    const experts = [...(options.batchExperts ?? []), new NeighboursExpert()];
    this.#record = record;
    const columns = [...record.covariates.values()];
    this.#stream = new SeriesStream({
      stepS: record.step_s,
      t0: record.t0,
      windows: options.windows,
      outside: experts.length,
      outsideTerms: experts.map(({ firstSay }) => ({ first: firstSay, memory: ASKED_MEMORY })),
      covariates: [...record.covariates.keys()],
      covariatesAt: (step, into) => {
        columns.forEach((column, c) => {
          into[c] = column[step] ?? Number.NaN;
        });
      },
    });
    for (const event of record.events) this.#stream.declare(event);
    this.#clean = record.events.length === 0 ? record.v : record.v.slice();
    this.#adjusted = columns.length === 0 ? this.#clean : this.#clean.slice();
    const series = { values: this.#clean, stepS: record.step_s, t0: record.t0 };
    this.#outside = experts.map((expert) => new BatchAnswers(expert, { ...series, values: this.#adjusted }));
    this.#maxima =
      options.windows.length === 0
        ? []
        : experts.filter(answersMaxima).map((expert) => new BatchMaxima(expert, series, options.windows));
    const perAsk = Math.ceil(record.v.length / ASKED_MAX / ASK_EVERY_STEPS);
    this.#askEvery = Math.max(1, perAsk) * ASK_EVERY_STEPS;
    this.#stream.outside = (_row, expert, ahead, out) => {
      if (!this.#outside[expert]!.at(this.#known, ahead, out)) return false;
      this.#stream.covariates?.put(ahead, out);
      return true;
    };
    const endS = record.t0 + record.v.length * record.step_s;
    this.#beside = !record.events.every(({ from }) => from >= endS) || columns.length > 0;
  }

  /** Learns up to, not including, index `end` of the record's values. */
  advance(end: number): void {
    const { v, censored } = this.#record;
    const to = Math.min(end, v.length);
    // What came without events and covariates is known only once they were taken off, step by step.
    if (!this.#beside) this.#ask(this.#next + 1, to - 1);
    for (; this.#next < to; this.#next++) {
      this.#known = this.#next + 1;
      const clean = this.#stream.take(v[this.#next]!);
      if (this.#beside) {
        this.#clean[this.#next] = clean;
        this.#adjusted[this.#next] = clean;
        this.#ask(this.#known, this.#known);
      }
      this.#stream.learn(clean, censored.has(this.#next));
      this.#keepMaxima();
    }
    for (const maxima of this.#maxima) maxima.settle(this.#next);
  }

  /** Remembers the bank's own maxima where a batch expert was asked for them. */
  #keepMaxima(): void {
    const { bank, row } = this.#stream;
    for (const maxima of this.#maxima) {
      if (!maxima.has(this.#known)) continue;
      for (let w = 0; w < bank.layout.windows.length; w++) {
        bank.forecastMax(row, w, this.#maximum);
        maxima.keep(this.#known, w, this.#maximum);
      }
    }
  }
  readonly #maximum = new Float64Array(3);

  /** Asks the batch experts for every origin from one to another at once: what they say depends on the values alone. */
  #ask(from: number, to: number): void {
    if (this.#outside.length === 0) return;
    const origins: number[] = [];
    const first = Math.ceil(from / this.#askEvery) * this.#askEvery;
    for (let origin = Math.max(1, first); origin <= to; origin += this.#askEvery) origins.push(origin);
    if (origins.length === 0) return;
    this.#adjust();
    const periods = this.#periods();
    for (const answers of this.#outside) answers.ask(origins, BUCKET_STEPS, periods);
    for (const maxima of this.#maxima) maxima.ask(origins, periods);
  }

  /** Takes what covariates did off what experts in batches see, by what is known of them now. */
  #adjust(): void {
    // The newest value is not learnt yet where the experts are asked before it is.
    this.#stream.covariates?.adjusted(this.#adjusted.subarray(0, this.#next));
  }

  #periods(): number[] | undefined {
    const { bank, row } = this.#stream;
    const found = bank.periods(row).filter((steps) => steps >= 2 && 2 * steps <= this.#next);
    return found.length > 0 ? found : undefined;
  }

  forecast(horizon: number, levels: readonly number[]): SeriesAnswer {
    const { t0, step_s } = this.#record;
    const steps = Float64Array.from({ length: horizon }, (_, h) => h + 1);
    this.#adjust();
    for (const answers of this.#outside) answers.ask([this.#next], [...steps], this.#periods(), true);
    this.#known = this.#next;
    const found = new Float64Array(3 * horizon);
    this.#stream.forecast(steps, found);
    const spread = levels.map((level) => Float64Array.from(steps, (_, h) => quantileOf(level, found, 3 * h)));
    const out = new Float64Array(3);
    for (const maxima of this.#maxima) maxima.ask([this.#next], this.#periods());
    const { bank, row } = this.#stream;
    const maxima = bank.layout.windows.map((_, w) => {
      bank.forecastMax(row, w, out);
      for (const expert of this.#maxima) expert.mix(this.#next, w, out);
      this.#stream.putOnMaximum(w, out);
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
