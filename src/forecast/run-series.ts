/**
 * The engine over one recorded series: its steps in order, then a forecast. `skein forecast run` is this, and so is every
 * origin of `skein forecast backtest`; the controller feeds the same bank as steps come.
 */
import { BUCKET_STEPS } from './bank/layout.ts';
import { reachMaximum } from './bank/reach.ts';
import { Voices } from './bank/voices.ts';
import { BatchAnswers } from './batch-answers.ts';
import type { BatchExpert } from './batch-expert.ts';
import { answersMaxima, BatchMaxima } from './batch-maxima.ts';
import { DecomposedExpert } from './decomposed.ts';
import { DIRECT_TUNED, DirectAnswers, fittedSteps } from './direct.ts';
import { NeighboursExpert } from './neighbours.ts';
import { normalQuantile, Z90, Z99 } from './normal.ts';
import type { SeriesRecord } from './series-record.ts';
import { SeriesStream } from './stream.ts';
import { WATCHED_STEPS, type Watched } from './watch.ts';

const RUN_TUNED = {
  /** A batch expert is asked at multiples of this many steps, so that every horizon is scored ... */
  askEverySteps: 20,
  /** ... and at most about this often along a series: it is dear. */
  askedMax: 48,
  /** Answers of batch experts over which their losses are averaged: of 240 steps or more. */
  askedMemory: 12,
  /** Answers in which batch experts had their say without which nothing falls back to seasonal naive. */
  watchedMin: 24,
} as const;
/** Steps ahead at which batch experts are asked along a series: scored, or watched. */
const ASKED_STEPS = [...new Set([...BUCKET_STEPS, ...WATCHED_STEPS])].sort((a, b) => a - b);

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
  /**
   * Where seasonal naive is given instead, since the engine's answers along this series were clearly worse: from so many
   * steps `ahead` to the next watched horizon (1, 8, 60). Empty: nowhere. Maxima stay the engine's own.
   */
  fallsBack: FallenBack[];
}

export type FallenBack = Pick<Watched, 'ahead' | 'lossAgainstNaive'>;

/** Origins at which the direct regression is asked at once: its memory is not much longer. */
const DIRECT_STRETCH = 1024;

/** Learns a series up to a point and answers from there; going on afterwards is what rolling origins do. */
export class SeriesRun {
  readonly #record: SeriesRecord;
  readonly #stream: SeriesStream;
  /** Values without what events did, and without what covariates did as well: what experts in batches see. */
  readonly #clean: Float64Array;
  readonly #adjusted: Float64Array;
  readonly #outside: BatchAnswers[];
  readonly #direct: DirectAnswers;
  readonly #maxima: BatchMaxima[];
  /** What the row and those experts say of a maximum. */
  readonly #voices: Voices;
  readonly #askEvery: number;
  /** The values have to be rid of what events did; those that are all to come did nothing yet. */
  readonly #eventful: boolean;
  /** The values have to be rid of what events or covariates did. */
  readonly #beside: boolean;
  #next = 0;
  /** Last origin at which experts in batches were asked, or need not be; the same of the direct regression. */
  #asked = 0;
  #learnt = 0;
  /** Values that the bank knows, the one being learnt included. */
  #known = 0;

  constructor(record: SeriesRecord, options: RunOptions) {
    const experts = [...(options.batchExperts ?? []), new NeighboursExpert(), new DecomposedExpert()];
    this.#record = record;
    const columns = [...record.covariates.values()];
    this.#stream = new SeriesStream({
      stepS: record.step_s,
      t0: record.t0,
      windows: options.windows,
      outside: experts.length + 1,
      outsideTerms: [
        ...experts.map(({ firstSay }) => ({ first: firstSay, memory: RUN_TUNED.askedMemory })),
        { first: DIRECT_TUNED.say, memory: DIRECT_TUNED.memory },
      ],
      // Without batch experts the answers are not those that will be given.
      watch: { asked: () => this.#outside[0]!.has(this.#known), scoresMin: RUN_TUNED.watchedMin },
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
    this.#direct = new DirectAnswers({ values: this.#clean, covariates: columns });
    this.#maxima =
      options.windows.length === 0
        ? []
        : experts.filter(answersMaxima).map((expert) => new BatchMaxima(expert, series, options.windows));
    this.#voices = new Voices(this.#maxima.length + 1);
    const perAsk = Math.ceil(record.v.length / RUN_TUNED.askedMax / RUN_TUNED.askEverySteps);
    this.#askEvery = Math.max(1, perAsk) * RUN_TUNED.askEverySteps;
    this.#stream.outside = (_row, expert, ahead, out) => {
      const answers = this.#outside[expert];
      // It knows of covariates, the others do not.
      if (answers === undefined) return this.#direct.at(this.#known, ahead, out);
      if (!answers.at(this.#known, ahead, out)) return false;
      this.#stream.covariates?.put(ahead, out);
      return true;
    };
    const endS = record.t0 + record.v.length * record.step_s;
    this.#eventful = !record.events.every(({ from }) => from >= endS);
    this.#beside = this.#eventful || columns.length > 0;
  }

  /** Learns up to, not including, index `end` of the record's values. */
  advance(end: number): void {
    const { v, censored } = this.#record;
    const to = Math.min(end, v.length);
    for (; this.#next < to; this.#next++) {
      this.#known = this.#next + 1;
      // What came without events and covariates is known only once they were taken off, step by step. Otherwise all
      // origins are asked at once that know of the same periods.
      const look = this.#stream.nextLook;
      if (!this.#eventful && this.#known > this.#learnt)
        this.#learnDirect(this.#known, Math.min(to, look, this.#known + DIRECT_STRETCH - 1));
      if (!this.#beside && this.#known > this.#asked) this.#ask(this.#known, Math.min(to - 1, look));
      const clean = this.#stream.take(v[this.#next]!);
      if (this.#beside) {
        this.#clean[this.#next] = clean;
        this.#adjusted[this.#next] = clean;
        if (this.#eventful && this.#known % this.#askEvery === 0) this.#learnDirect(this.#known, this.#known);
        this.#ask(this.#known, this.#known);
      }
      this.#stream.learn(clean, censored.has(this.#next));
      this.#keepMaxima();
    }
    this.#settleMaxima(this.#next);
  }

  #settleMaxima(known: number): void {
    for (const maxima of this.#maxima) maxima.settle(known);
  }

  /** Remembers the bank's own maxima where batch experts were asked for them. */
  #keepMaxima(): void {
    const { bank, row } = this.#stream;
    const asked = this.#maxima.filter((maxima) => maxima.has(this.#known));
    if (asked.length === 0) return;
    this.#settleMaxima(this.#known);
    for (let w = 0; w < bank.layout.windows.length; w++) {
      bank.forecastMax(row, w, this.#maximum);
      for (const maxima of asked) maxima.keep(this.#known, w, this.#maximum);
    }
  }
  readonly #maximum = new Float64Array(3);

  #learnDirect(from: number, to: number): void {
    if (to < from) return;
    this.#learnt = to;
    const basis = this.#stream.lastLook;
    if (basis > 0) this.#direct.ask(from, to, BUCKET_STEPS, this.#periods(basis), basis);
  }

  /** Asks the batch experts for every origin from one to another at once: what they say depends on the values alone. */
  #ask(from: number, to: number): void {
    if (to < from) return;
    this.#asked = to;
    const origins: number[] = [];
    const first = Math.ceil(from / this.#askEvery) * this.#askEvery;
    for (let origin = Math.max(1, first); origin <= to; origin += this.#askEvery) origins.push(origin);
    if (origins.length === 0) return;
    this.#adjust();
    // Of the last look, not of this call: whoever advances in pieces gets the same answers.
    const periods = this.#periods(this.#beside ? this.#next : this.#stream.lastLook);
    for (const answers of this.#outside) answers.ask(origins, ASKED_STEPS, periods);
    for (const maxima of this.#maxima) maxima.ask(origins, periods);
  }

  /** Takes what covariates did off what experts in batches see, by what is known of them now. */
  #adjust(): void {
    // The newest value is not learnt yet where the experts are asked before it is.
    this.#stream.covariates?.adjusted(this.#adjusted.subarray(0, this.#next));
  }

  #periods(known = this.#next): number[] | undefined {
    const { bank, row } = this.#stream;
    const found = bank.periods(row).filter((steps) => steps >= 2 && 2 * steps <= known);
    return found.length > 0 ? found : undefined;
  }

  forecast(horizon: number, levels: readonly number[]): SeriesAnswer {
    const { t0, step_s } = this.#record;
    const steps = Float64Array.from({ length: horizon }, (_, h) => h + 1);
    this.#adjust();
    for (const answers of this.#outside) answers.ask([this.#next], [...steps], this.#periods(), true);
    this.#direct.ask(this.#next, this.#next, fittedSteps(horizon), this.#periods());
    this.#known = this.#next;
    const found = new Float64Array(3 * horizon);
    this.#stream.forecast(steps, found);
    const spread = levels.map((level) => Float64Array.from(steps, (_, h) => quantileOf(level, found, 3 * h)));
    const out = new Float64Array(3);
    for (const maxima of this.#maxima) maxima.ask([this.#next], this.#periods());
    const { bank, row } = this.#stream;
    const maxima = bank.layout.windows.map((window, w) => {
      bank.forecastMax(row, w, out);
      this.#voices.clear();
      this.#voices.hear(out[0]!, 1);
      for (const expert of this.#maxima) expert.mix(this.#next, w, out, this.#voices);
      reachMaximum(out, this.#voices.deviation(), window, this.#next);
      this.#stream.putOnMaximum(w, out);
      return levels.map((level) => quantileOf(level, out, 0));
    });
    const fallsBack = this.#stream
      .fallenBack(horizon)
      .map(({ ahead, lossAgainstNaive }) => ({ ahead, lossAgainstNaive }));
    return { t0: t0 + this.#next * step_s, quantiles: spread, maxima, fallsBack };
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
