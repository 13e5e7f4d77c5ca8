/**
 * One series as it comes, with what is known beside it: covariates, events, cumulative counters. The library's own way in;
 * `skein forecast run` feeds it a recorded series.
 *
 * Order of a step: a counter becomes its increase; events are taken off; what is left is learnt by the series' row and
 * by the experts on covariates. A forecast goes the other way; where its answers were clearly worse than seasonal naive,
 * seasonal naive takes the row's place. Boundary: pure. Invariant: without covariates and events it is the row of a
 * {@link SeriesBank}, watched as the controller's rows are, and nothing else.
 */
import { type SavedRow, SeriesBank, VALUE_READ_MAX } from './bank/bank.ts';
import {
  COVARIATE_EXPERTS,
  CovariateExperts,
  type CovariatesAt,
  type CovariatesState,
} from './bank/covariates.ts';
import { EventEffects, type EventsState } from './bank/events.ts';
import { F, historyShape } from './bank/layout.ts';
import type { Outside, OutsideTerms } from './bank/outside.ts';
import { CounterReader } from './counter.ts';
import { digestOf, loadWhole } from './digest.ts';
import type { SeriesEvent } from './series-record.ts';
import { ForecastWatch, type Watched, type WatchOptions } from './watch.ts';

/** Steps between two looks for periods, as a factor of the length: few looks over a long life. */
const LOOK_GROWTH = 1.5;
const LOOK_FIRST_STEPS = 48;
/** Answers of every seventh step are held against seasonal naive: of all hours of a day, at a tenth of a step's cost. */
const WATCH_EVERY_STEPS = 7;
/** Steps ahead that covariates may be told of. */
export const COMING_STEPS_MAX = 100_000;
const FORMAT = 'skein-stream-1';

export interface StreamOptions {
  /** Seconds a step. */
  stepS: number;
  /** Unix seconds of the first step's begin; events are placed by it. 0 by default. */
  t0?: number;
  /** Windows in steps whose maximum is forecast; 15 and 60 by default. */
  windows?: readonly number[];
  /** Names of covariates, at most 16. */
  covariates?: readonly string[];
  /** `counter`: values are of a cumulative counter; what is learnt and foreseen is its increase a step. */
  kind?: 'gauge' | 'counter';
  /** Forecasters from outside, see {@link SeriesBank.outside}. */
  outside?: number;
  /** How each of them is weighed, where that is not as usual. */
  outsideTerms?: readonly OutsideTerms[];
  /**
   * Which of its answers are held against seasonal naive. By default those of every seventh step; where forecasters from
   * outside answer at some steps only, say at which: what is said without them is not what is given.
   */
  watch?: WatchOptions;
  /** In place of {@link SeriesStream.foresee}: reads all covariates at a step, past or to come. */
  covariatesAt?: CovariatesAt;
}

export interface StreamState {
  format: string;
  row: SavedRow;
  look: number;
  counter: number | null;
  events: EventsState;
  covariates?: CovariatesState;
  watch?: number[];
  /** Of everything above; absent from one saved before there were digests. */
  digest?: number;
}

/**
 * @example
 * const stream = new SeriesStream({ stepS: 3600, covariates: ['temperature'] });
 * for (const { requests, celsius } of hours) stream.observe(requests, { covariates: { temperature: celsius } });
 * stream.foresee({ temperature: weatherForecast });
 * stream.declare({ label: 'sale', from: 1_794_000_000, to: 1_794_007_200 });
 * const quantiles = new Float64Array(3 * 2);
 * stream.forecast([1, 24], quantiles); // p50, p90, p99 an hour ahead, then a day ahead
 */
export class SeriesStream {
  readonly bank: SeriesBank;
  readonly row: number;
  readonly events = new EventEffects();
  /** Undefined without covariates. */
  readonly covariates: CovariateExperts | undefined;
  readonly #names: readonly string[];
  readonly #stepS: number;
  readonly #t0: number;
  readonly #kind: 'gauge' | 'counter';
  readonly #others: number;
  /** Forecasters from outside, see {@link SeriesBank.outside}; those on covariates come after them. */
  outside: Outside = () => false;
  /** Covariates of the step that comes next and of those after it. */
  readonly #coming: Float64Array[];
  readonly #now: Float64Array;
  #steps = 0;
  #look = LOOK_FIRST_STEPS;
  #lastLook = 0;
  readonly #counter = new CounterReader();
  #observing = false;
  #mute = false;
  readonly #watch: ForecastWatch;
  readonly #one = Float64Array.of(1);
  readonly #out = new Float64Array(3);
  readonly #error = new Float64Array(3);

  /** @throws {RangeError} for a step that does not last, a window without a step, or two covariates of one name */
  constructor(options: StreamOptions) {
    const names = options.covariates ?? [];
    if (!(options.stepS > 0 && options.stepS < Infinity))
      throw new RangeError(`a step lasts some seconds, not ${options.stepS}`);
    if (options.windows?.some((steps) => !(Number.isInteger(steps) && steps > 0)))
      throw new RangeError(
        `windows are whole numbers of steps above zero, not ${options.windows.join(', ')}`,
      );
    if (new Set(names).size < names.length) throw new RangeError('two covariates have one name');
    this.#names = names;
    this.#stepS = options.stepS;
    this.#t0 = options.t0 ?? 0;
    this.#kind = options.kind ?? 'gauge';
    this.#others = options.outside ?? 0;
    this.#watch = new ForecastWatch(options.watch ?? { asked: (step) => step % WATCH_EVERY_STEPS === 0 });
    this.bank = new SeriesBank({
      stepS: options.stepS,
      windows: options.windows,
      outside: this.#others + (names.length > 0 ? COVARIATE_EXPERTS.length : 0),
      outsideTerms: [
        ...Array.from({ length: this.#others }, (_, i) => options.outsideTerms?.[i] ?? {}),
        ...COVARIATE_EXPERTS.map(() => ({ informed: true })),
      ],
      rows: 1,
      history: historyShape(options.stepS, 2),
    });
    this.row = this.bank.add();
    this.#coming = names.map(() => new Float64Array(0));
    this.#now = new Float64Array(names.length).fill(Number.NaN);
    this.bank.outside = (row, expert, ahead, out) =>
      expert < this.#others
        ? this.outside(row, expert, ahead, out)
        : !this.#mute && this.covariates!.quantiles(expert - this.#others, ahead, out);
    if (names.length === 0) return;
    this.covariates = new CovariateExperts({
      stepS: options.stepS,
      count: names.length,
      covariates: options.covariatesAt ?? ((step, into) => this.#covariatesAt(step, into)),
    });
  }

  /** Steps seen, missing ones included. */
  get length(): number {
    return this.#steps;
  }

  /** Steps seen when periods are looked for next, and when they were last; 0: not yet. */
  get nextLook(): number {
    return this.#look;
  }
  get lastLook(): number {
    return this.#lastLook;
  }

  /**
   * The next step's value; NaN where it is missing.
   *
   * @param with_.censored the value is a lower bound of demand
   * @param with_.covariates those of this step, by name; absent ones are as {@link foresee} had them, or as they last were
   * @returns what the row learnt: without events, NaN where nothing could be
   */
  observe(
    value: number,
    with_: { censored?: boolean; covariates?: Readonly<Record<string, number>> } = {},
  ): number {
    const clean = this.take(value, with_.covariates);
    this.learn(clean, with_.censored ?? false);
    return clean;
  }

  /** The first half of {@link observe}: the value as it would have been without events. Follow with {@link learn}. */
  take(value: number, covariates?: Readonly<Record<string, number>>): number {
    this.#names.forEach((name, c) => {
      this.#now[c] = covariates?.[name] ?? this.#coming[c]![0] ?? Number.NaN;
      if (this.#coming[c]!.length > 0) this.#coming[c] = this.#coming[c]!.subarray(1);
    });
    return this.#withoutEvents(this.#kind === 'counter' ? this.#counter.next(value) : value);
  }

  /** The second half of {@link observe}. */
  learn(clean: number, censored: boolean): void {
    this.#observing = true;
    this.covariates?.observe(censored ? Number.NaN : clean);
    this.#observing = false;
    this.#steps++;
    this.bank.observe(this.row, clean, censored);
    // A lower bound is no truth to be held against.
    const truth = !censored && Math.abs(clean) <= VALUE_READ_MAX ? clean : Number.NaN;
    this.#watch.observe(this.#steps, truth, this.#say, this.#naive);
    if (this.#steps < this.#look) return;
    this.#lastLook = this.#steps;
    this.#look = Math.ceil(this.#steps * LOOK_GROWTH);
    this.bank.lookForPeriods(this.row);
    this.covariates?.setPeriods(...this.bank.periods(this.row));
  }

  /**
   * Covariates to come, from the next step on, in place of what was told of them before.
   *
   * @throws {RangeError} for a name that the stream was not made with, or more than {@link COMING_STEPS_MAX} steps
   */
  foresee(covariates: Readonly<Record<string, ArrayLike<number>>>): void {
    for (const [name, values] of Object.entries(covariates)) {
      const c = this.#names.indexOf(name);
      if (c < 0)
        throw new RangeError(
          `no covariate "${name}"; the stream was made with ${this.#names.join(', ') || 'none'}`,
        );
      if (values.length > COMING_STEPS_MAX)
        throw new RangeError(
          `"${name}" is told ${values.length} steps ahead; at most ${COMING_STEPS_MAX} are kept`,
        );
      this.#coming[c] = Float64Array.from(values);
    }
  }

  /** An event to come or under way: see {@link EventEffects.declare}. `factor`: what is expected of a type never seen. */
  declare(event: SeriesEvent): void {
    this.events.declare({
      label: event.label,
      fromStep: Math.floor((event.from - this.#t0) / this.#stepS),
      toStep: Math.ceil((event.to - this.#t0) / this.#stepS),
      factor: event.factor ?? 1,
    });
  }

  /** p50, p90, p99 of the first horizon (steps ahead, from 1), then of the second, ..., into `out`. */
  forecast(horizons: ArrayLike<number>, out: Float64Array): void {
    this.bank.forecast(this.row, horizons, out);
    for (let h = 0; h < horizons.length; h++)
      if (this.#watch.fallsBack(horizons[h]!)) this.bank.aroundNaive(this.row, horizons[h]!, out, 3 * h);
    this.#putEvents(horizons, out);
  }

  /** What was realised at the watched horizon next below (1, 8 and 60 steps), and whether seasonal naive is given there. */
  watched(ahead: number): Watched {
    return this.#watch.at(ahead);
  }

  /** The watched horizons up to a number of steps from which seasonal naive is given, to the next of them. */
  fallenBack(reach: number): Watched[] {
    return this.#watch.fallenBack(reach);
  }

  /** p50, p90 and p99 of the maximum over the bank's window of that place. */
  forecastMax(window: number, out: Float64Array): void {
    this.bank.forecastMax(this.row, window, out);
    this.putOnMaximum(window, out);
  }

  /** Puts covariates and events on quantiles of a maximum made without them, by what they do to the path. */
  putOnMaximum(window: number, out: Float64Array): void {
    if (!this.events.any && !this.covariates) return;
    const steps = this.bank.layout.windows[window]!;
    const horizons = Float64Array.from({ length: steps }, (_, i) => i + 1);
    const without = new Float64Array(3 * steps);
    const path = new Float64Array(3 * steps);
    this.#mute = true;
    this.bank.forecast(this.row, horizons, without);
    this.#mute = false;
    this.bank.forecast(this.row, horizons, path);
    this.#putEvents(horizons, path);
    for (let q = 0; q < 3; q++) {
      let before = 0;
      let after = 0;
      for (let h = 0; h < steps; h++) {
        before = Math.max(before, without[3 * h + q]!);
        after = Math.max(after, path[3 * h + q]!);
      }
      if (before > 0) out[q] = out[q]! * (after / before);
    }
    for (let q = 1; q < 3; q++) out[q] = Math.max(out[q]!, out[q - 1]!);
  }

  /** Plain data for JSON or msgpack. */
  save(): StreamState {
    const state: StreamState = {
      format: FORMAT,
      row: this.bank.saveRow(this.row),
      look: this.#look,
      counter: Number.isNaN(this.#counter.last) ? null : this.#counter.last,
      events: this.events.save(),
      ...(this.covariates && { covariates: this.covariates.save() }),
      watch: this.#watch.save(),
    };
    return { ...state, digest: digestOf(state) };
  }

  /**
   * Into a stream made with the same options that has observed nothing.
   *
   * @throws {RangeError} for a state of other options, or one that is damaged; take a new stream then
   */
  load(saved: StreamState): void {
    if (saved?.format !== FORMAT) throw new RangeError(`not a saved stream (wanted ${FORMAT})`);
    if (this.#steps > 0) throw new RangeError('a stream is loaded before it observes anything');
    loadWhole(saved, () => this.#load(saved));
  }

  #load(saved: StreamState): void {
    this.bank.loadRow(this.row, saved.row);
    this.#steps = this.bank.length(this.row);
    this.#look = saved.look;
    this.#counter.last = saved.counter ?? Number.NaN;
    this.events.load(saved.events);
    if (this.covariates && saved.covariates) this.covariates.load(saved.covariates);
    if (saved.watch) this.#watch.load(saved.watch);
  }

  #withoutEvents(value: number): number {
    if (!this.events.any) {
      this.events.pass();
      return value;
    }
    this.bank.forecast(this.row, this.#one, this.#out);
    const { floats, f } = this.bank.seek(this.row);
    const known = floats[f + F.known]!;
    const usual = (Math.abs(floats[f + F.mean]!) + 1e-9) * floats[f + F.scale]!;
    return this.events.without(value, this.#out[0]!, known, usual);
  }

  #putEvents(horizons: ArrayLike<number>, out: Float64Array): void {
    if (!this.events.any) return;
    for (let h = 0; h < horizons.length; h++) this.#withEvents(horizons[h]!, out, 3 * h);
  }

  #withEvents(ahead: number, out: Float64Array, at: number): void {
    const factor = this.events.ahead(ahead, this.#error);
    if (factor === 1 && this.#error[2] === 0) return;
    const without = out[at]!;
    const middle = without * factor;
    let before = middle;
    for (let q = 0; q < 3; q++) {
      const band = factor * (out[at + q]! - without);
      before = Math.max(before, middle + Math.hypot(band, this.#error[q]! * middle));
      out[at + q] = q === 0 ? middle : before;
    }
  }

  /** What the row says, in the unit that it learns. */
  readonly #say = (ahead: number): { p50: number; p90: number } => {
    this.#ahead[0] = ahead;
    this.bank.forecast(this.row, this.#ahead, this.#out);
    return { p50: this.#out[0]!, p90: this.#out[1]! };
  };
  readonly #naive = (ahead: number): number => this.bank.naive(this.row, ahead);
  readonly #ahead = new Float64Array(1);

  #covariatesAt(step: number, into: Float64Array): void {
    const ahead = step - this.covariates!.next;
    for (let c = 0; c < this.#names.length; c++) {
      if (ahead === 0 && this.#observing) into[c] = this.#now[c]!;
      else into[c] = this.#coming[c]![ahead] ?? Number.NaN;
    }
  }
}
