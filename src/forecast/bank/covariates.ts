/**
 * Two experts of a series with covariates: the series as it would have been without them is a row of a bank of its own,
 * with everything a bank has, and what the covariates to come will do is put on its forecast. One takes a covariate's
 * effect to be the same at any time; with the other, that of kinds (a holiday, rain) differs by the time of day. Both
 * enter the weighting of the series' own row and have as much say as they earn there.
 *
 * Boundary: pure. Invariants: at most {@link HISTORY_STEPS_MAX} steps are kept; the rows are made anew when what is known
 * of the covariates has changed by more than a few per cent; an answer is finite or NaN.
 */
import { SeriesBank } from './bank.ts';
import { CovariateFit, FIT_STEPS_MIN } from './covariate-fit.ts';

/** What they are called: forecasters from outside to {@link SeriesBank.outside}. */
export const COVARIATE_EXPERTS = ['covariates', 'covariates*phase'] as const;
export const COVARIATES_MAX = 16;
export const HISTORY_STEPS_MAX = 4096;
/** Steps between two regressions, as a share of the history: few over a long life. */
const FIT_GROWTH = 0.08;
/** Mean change of the adjusted history, as a share of the series' mean, from which the rows are made anew. */
const REBUILD_SHARE = 0.02;
/** Of the two, the one whose regression serves other forecasters. */
const OTHERS = 1;

/** Values of all covariates at a step, by its number; NaN where unknown. */
export type CovariatesAt = (step: number, into: Float64Array) => void;

export interface CovariatesState {
  first: number;
  /** NaN where missing: for msgpack, or JSON with its nulls read as NaN. */
  values: number[];
  columns: number[][];
  periods: [number, number];
}

export class CovariateExperts {
  readonly #bank: SeriesBank;
  readonly #count: number;
  readonly #covariates: CovariatesAt;
  readonly #rows: number[];
  readonly #fits: (CovariateFit | undefined)[] = [undefined, undefined];
  #values = new Float64Array(256);
  #columns: Float64Array[];
  /** Number of the oldest step kept, and how many are. */
  #first = 0;
  #kept = 0;
  #nextFit = FIT_STEPS_MIN;
  #periods: [number, number];
  #negative = false;
  readonly #at: Float64Array;
  /** The last known value of each covariate: what an unknown one is taken for. */
  readonly #last: Float64Array;
  readonly #ahead = new Float64Array(1);
  readonly #out = new Float64Array(3);

  /**
   * @param options.count covariates, at most {@link COVARIATES_MAX}
   * @param options.covariates their values at a step, past or to come
   */
  constructor(options: { stepS: number; count: number; covariates: CovariatesAt }) {
    if (options.count < 1 || options.count > COVARIATES_MAX)
      throw new RangeError(`${options.count} covariates; from 1 to ${COVARIATES_MAX} are used`);
    this.#bank = new SeriesBank({ stepS: options.stepS, windows: [], rows: 2 });
    this.#count = options.count;
    this.#covariates = options.covariates;
    this.#columns = Array.from({ length: options.count }, () => new Float64Array(256));
    this.#at = new Float64Array(options.count);
    this.#last = new Float64Array(options.count).fill(Number.NaN);
    this.#rows = COVARIATE_EXPERTS.map(() => this.#bank.add());
    this.#periods = this.#bank.periods(this.#rows[0]!);
  }

  /** Number of the step that comes next. */
  get next(): number {
    return this.#first + this.#kept;
  }

  /** The next step's value; NaN where missing or a lower bound. Call before the series' own row observes it. */
  observe(value: number): void {
    const step = this.next;
    this.#read(step);
    for (let c = 0; c < this.#count; c++) if (Number.isFinite(this.#at[c]!)) this.#last[c] = this.#at[c]!;
    this.#keep(value);
    if (value < 0) this.#negative = true;
    this.#rows.forEach((row, e) => {
      this.#bank.observe(row, this.#adjusted(this.#fits[e], value, step));
    });
    if (this.next >= this.#nextFit) {
      this.#nextFit = this.next + Math.ceil(FIT_GROWTH * this.#kept);
      this.#fit();
    }
  }

  /** Periods of the series in steps, as its own row has found them. */
  setPeriods(first: number, second: number): void {
    const [before, beforeSecond] = this.#periods;
    if (first === before && second === beforeSecond) return;
    this.#periods = [first, second];
    for (const row of this.#rows) this.#bank.setPeriods(row, first, second);
  }

  /** p50, p90 and p99 of one of them, steps ahead, in the series' unit; false before it knows anything. */
  quantiles(expert: number, ahead: number, out: Float64Array): boolean {
    const fit = this.#fits[expert];
    if (fit === undefined) return false;
    this.#ahead[0] = ahead;
    this.#bank.forecast(this.#rows[expert]!, this.#ahead, this.#out);
    for (let q = 0; q < 3; q++) out[q] = this.#out[q]!;
    this.#put(fit, ahead, out);
    return true;
  }

  /** The newest values as they would have been with usual covariates, into the end of `into`; for other forecasters. */
  adjusted(into: Float64Array): void {
    const fit = this.#fits[OTHERS];
    if (fit === undefined) return;
    const count = Math.min(this.#kept, into.length);
    for (let i = 0; i < count; i++) {
      const t = this.#kept - count + i;
      this.#recall(t);
      into[into.length - count + i] = this.#adjusted(fit, this.#values[t]!, this.#first + t);
    }
  }

  /** Puts what covariates will do on quantiles that another has made from {@link adjusted} values. */
  put(ahead: number, out: Float64Array): void {
    const fit = this.#fits[OTHERS];
    if (fit !== undefined) this.#put(fit, ahead, out);
  }

  #put(fit: CovariateFit, ahead: number, out: Float64Array): void {
    const step = this.next - 1 + Math.max(1, Math.round(ahead));
    this.#read(step);
    const effect = fit.effect(this.#at, step);
    for (let q = 0; q < 3; q++) {
      const value = fit.unscaled(fit.scaled(out[q]!) + effect);
      out[q] = this.#negative ? value : Math.max(0, value);
    }
  }

  /** Covariates at a step into `#at`; unknown ones as they last were. */
  #read(step: number): void {
    this.#at.fill(Number.NaN);
    this.#covariates(step, this.#at);
    for (let c = 0; c < this.#count; c++) if (!Number.isFinite(this.#at[c]!)) this.#at[c] = this.#last[c]!;
  }

  /** The value as it would have been with usual covariates, which are in `#at`. */
  #adjusted(fit: CovariateFit | undefined, value: number, step: number): number {
    if (fit === undefined || !Number.isFinite(value)) return value;
    const adjusted = fit.unscaled(fit.scaled(value) - fit.effect(this.#at, step));
    return this.#negative ? adjusted : Math.max(0, adjusted);
  }

  #keep(value: number): void {
    if (this.#kept === this.#values.length) {
      if (this.#kept >= 2 * HISTORY_STEPS_MAX) {
        const drop = this.#kept - HISTORY_STEPS_MAX;
        for (const kept of [this.#values, ...this.#columns]) kept.copyWithin(0, drop);
        this.#first += drop;
        this.#kept -= drop;
      } else {
        this.#values = twice(this.#values);
        this.#columns = this.#columns.map(twice);
      }
    }
    this.#values[this.#kept] = value;
    for (let c = 0; c < this.#count; c++) this.#columns[c]![this.#kept] = this.#at[c]!;
    this.#kept++;
  }

  #fit(): void {
    const values = this.#values.subarray(0, this.#kept);
    const columns = this.#columns.map((column) => column.subarray(0, this.#kept));
    const [period] = this.#periods;
    this.#rows.forEach((_, e) => {
      const found = CovariateFit.of({ values, columns, first: this.#first, period, byPhase: e === 1 });
      if (found === undefined) return;
      const before = this.#fits[e];
      this.#fits[e] = found;
      if (this.#changed(before, found) > REBUILD_SHARE) this.#rebuild(e);
    });
  }

  /** Mean difference of the adjusted history between two regressions, as a share of its mean. */
  #changed(before: CovariateFit | undefined, after: CovariateFit): number {
    let off = 0;
    let sum = 0;
    for (let t = 0; t < this.#kept; t++) {
      const value = this.#values[t]!;
      if (!Number.isFinite(value)) continue;
      this.#recall(t);
      const step = this.#first + t;
      off += Math.abs(this.#adjusted(after, value, step) - this.#adjusted(before, value, step));
      sum += Math.abs(value);
    }
    return sum > 0 ? off / sum : 0;
  }

  #rebuild(expert: number): void {
    this.#bank.remove(this.#rows[expert]!);
    const row = this.#bank.add();
    this.#rows[expert] = row;
    this.#bank.setPeriods(row, ...this.#periods);
    for (let t = 0; t < this.#kept; t++) {
      this.#recall(t);
      this.#bank.observe(row, this.#adjusted(this.#fits[expert], this.#values[t]!, this.#first + t));
    }
  }

  /** The history it was learnt from; the rest is made from it again. */
  save(): CovariatesState {
    return {
      first: this.#first,
      values: [...this.#values.subarray(0, this.#kept)],
      columns: this.#columns.map((column) => [...column.subarray(0, this.#kept)]),
      periods: [...this.#periods],
    };
  }

  /** @throws {RangeError} for a state of other covariates */
  load({ first, values, columns, periods }: CovariatesState): void {
    if (columns.length !== this.#count || columns.some((column) => column.length !== values.length))
      throw new RangeError(`a saved history of ${columns.length} covariates, wanted ${this.#count}`);
    this.#first = first;
    this.#kept = values.length;
    const room = Math.max(256, values.length);
    this.#values = sized(values, room);
    this.#columns = columns.map((column) => sized(column, room));
    for (let c = 0; c < this.#count; c++)
      for (const value of columns[c]!) if (Number.isFinite(value)) this.#last[c] = value;
    this.#negative = values.some((value) => value < 0);
    this.setPeriods(periods[0], periods[1]);
    this.#nextFit = this.next + 1;
    this.#rows.forEach((_, e) => {
      this.#rebuild(e);
    });
    if (this.next >= FIT_STEPS_MIN) this.#fit();
  }

  #recall(t: number): void {
    for (let c = 0; c < this.#count; c++) this.#at[c] = this.#columns[c]![t]!;
  }
}

function twice(values: Float64Array): Float64Array<ArrayBuffer> {
  return sized(values, 2 * values.length);
}

function sized(values: ArrayLike<number>, length: number): Float64Array<ArrayBuffer> {
  const next = new Float64Array(length);
  next.set(values);
  return next;
}
