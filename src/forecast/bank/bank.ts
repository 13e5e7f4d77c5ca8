/**
 * Many series of one step length, each a row of numbers: learns a value a step, answers with p50, p90 and p99 at any
 * horizon and for the maximum over a window.
 *
 * This is the engine: the controller's series and `skein forecast run` are rows of it. Boundary: pure and synchronous.
 *
 * Invariants: memory is fixed a row; a missing value (NaN, infinite) teaches nothing and costs a place in time; a
 * censored one never teaches low demand; quantiles ascend; no answer leaves the clamps around what was seen.
 */
import { type Between, between, skippedOf } from './between.ts';
import { blendAnswer } from './blend.ts';
import { clampHigh, clampLow, learn, predict, type SeasonNow, season, seasonNow } from './experts.ts';
import {
  type BankLayout,
  BLEND,
  BUCKET_STEPS,
  BUCKETS,
  bankLayout,
  EXPERT_NAMES,
  F,
  type HistoryShape,
  type Row,
} from './layout.ts';
import { type Outside, outsideSay } from './outside.ts';
import { findPeriods } from './periods.ts';
import { rescale } from './rescale.ts';
import { breakResiduals } from './residual.ts';
import { pushValue, ringContent } from './rings.ts';
import { base64, fromBase64 } from './saved.ts';
import {
  clampTo,
  clearSlots,
  errorsAt,
  kindShare,
  levelsAt,
  makeSlots,
  settle,
  spreadFor,
  TUNED,
  usualSpread,
  valuesAt,
  weightsAt,
} from './score.ts';
import { makeWindows, settleWindows, windowQuantiles } from './windows.ts';

/** Rows allocated at a time. */
const CHUNK_ROWS = 512;
/** Usual load in units of the scale outside of which the scale is set anew. */
const SCALE_HIGH = 12;
const SCALE_LOW = 1 / 24;
/** Larger ones are no measurement, but an error of whoever measured: taken for missing. */
const VALUE_READ_MAX = 1e30;
/** Beyond so many units of the scale the value sets a new one: codes and sums of squares reach no further. */
const VALUE_MAX = 5e4;

export interface BankOptions {
  /** Seconds a step; decides at which resolutions history is kept. */
  stepS: number;
  /** Answers in flight a horizon: 8 by default; 2 for fleets of many series. */
  slots?: number;
  /** Windows in steps whose maximum is forecast; 15 and 60 by default. */
  windows?: readonly number[];
  /** Names of experts from outside, see {@link SeriesBank.external}. */
  externals?: readonly string[];
  /** Forecasters from outside that answer quantiles, see {@link SeriesBank.outside}. */
  outside?: number;
  /** Ridge regression on the experts: on by default; without it a series takes 1.5 kB less. */
  regression?: boolean;
  /** Rows allocated at a time; 512 by default. */
  rows?: number;
  /** How far back a row remembers, and how finely: 10,752 steps in 1.2 kB by default. */
  history?: HistoryShape;
}

/** See {@link SeriesBank.saveRow}. */
export interface SavedRow {
  format: string;
  /** Little-endian numbers in base 64. */
  floats: string;
  codes: string;
}

interface Chunk {
  floats: Float32Array;
  codes: Uint16Array;
}

export class SeriesBank {
  readonly layout: BankLayout;
  readonly names: readonly string[];
  /**
   * Answers of experts from outside for a row, in the series' own unit; NaN where they cannot say. It may ask another bank,
   * not this one.
   */
  external: (row: number, expert: number, ahead: number) => number = () => Number.NaN;
  /** Quantiles of forecasters from outside, in the series' unit. */
  outside: Outside = () => false;
  readonly #chunks: Chunk[] = [];
  readonly #free: number[] = [];
  #rows = 0;
  readonly #row: Row;
  readonly #now: SeasonNow = { profile: Number.NaN, season: Number.NaN, long: Number.NaN };
  readonly #answers: Float64Array;
  readonly #weights: Float64Array[];
  readonly #errors = BUCKET_STEPS.map(() => new Float64Array(3));
  readonly #usual = new Float64Array(BUCKETS);
  readonly #values = new Float64Array(3);
  readonly #shares = BUCKET_STEPS.map(() => new Float64Array(3));
  readonly #asked = new Float64Array(3);
  readonly #windowOut = new Float64Array(3);
  readonly #between: Between = { left: 0, right: 0, share: 0, skipped: 0 };
  readonly #chunkRows: number;
  #current = 0;

  constructor(options: BankOptions) {
    const externals = options.externals ?? [];
    this.#chunkRows = options.rows ?? CHUNK_ROWS;
    this.layout = bankLayout({
      stepS: options.stepS,
      slots: options.slots ?? 8,
      windows: options.windows ?? [15, 60],
      externals: externals.length,
      outside: options.outside ?? 0,
      regression: options.regression ?? true,
      history: options.history,
    });
    this.names = [...EXPERT_NAMES.slice(0, this.layout.own), ...externals];
    this.#answers = new Float64Array(this.layout.experts);
    this.#weights = BUCKET_STEPS.map(() => new Float64Array(this.layout.experts));
    this.#row = { layout: this.layout, floats: new Float32Array(0), f: 0, codes: new Uint16Array(0), c: 0 };
  }

  /** Rows in use. */
  get size(): number {
    return this.#rows - this.#free.length;
  }

  /** Bytes held, free rows included. */
  get bytes(): number {
    return this.#chunks.length * this.#chunkRows * (this.layout.floats * 4 + this.layout.codes * 2);
  }

  /** A new series. Its periods are a day and a week until others are set. */
  add(): number {
    const row = this.#free.pop() ?? this.#rows++;
    if (row >= this.#chunks.length * this.#chunkRows)
      this.#chunks.push({
        floats: new Float32Array(this.#chunkRows * this.layout.floats),
        codes: new Uint16Array(this.#chunkRows * this.layout.codes),
      });
    const at = this.seek(row);
    at.floats.fill(0, at.f, at.f + this.layout.floats);
    at.codes.fill(0, at.c, at.c + this.layout.codes);
    this.setPeriods(row, 86_400 / this.layout.stepS, (7 * 86_400) / this.layout.stepS);
    return row;
  }

  remove(row: number): void {
    this.#free.push(row);
  }

  /** Steps seen, missing ones included. */
  length(row: number): number {
    const at = this.seek(row);
    return at.floats[at.f + F.length]!;
  }

  /** Periods in steps; below 2: none. */
  setPeriods(row: number, first: number, second: number): void {
    const at = this.seek(row);
    const before = at.floats[at.f + F.periodA]!;
    // One found a little better is the same one.
    if (!(Math.abs(first - before) < PERIOD_SAME * before))
      at.floats[at.f + F.periodFrom] = at.floats[at.f + F.length]!;
    at.floats[at.f + F.periodA] = first;
    at.floats[at.f + F.periodB] = second;
  }

  /** Looks for the periods that the row's history shows: some hundred microseconds; look rarely. */
  lookForPeriods(row: number): void {
    const [first, second] = findPeriods(this.seek(row));
    this.setPeriods(row, first, second);
  }

  periods(row: number): [number, number] {
    const at = this.seek(row);
    return [at.floats[at.f + F.periodA]!, at.floats[at.f + F.periodB]!];
  }

  /** The row's place, valid until another row is touched. */
  seek(row: number): Row {
    const chunk = this.#chunks[(row / this.#chunkRows) | 0]!;
    const within = row % this.#chunkRows;
    const at = this.#row;
    at.floats = chunk.floats;
    at.codes = chunk.codes;
    at.f = within * this.layout.floats;
    at.c = within * this.layout.codes;
    this.#current = row;
    return at;
  }

  /**
   * The next step's value.
   *
   * @param value in the series' unit; NaN, infinite or beyond 1e30 where it is missing
   * @param censored the value is a lower bound of demand: where it is below what was expected, it teaches nothing
   */
  observe(row: number, value: number, censored = false): void {
    const at = this.seek(row);
    const { floats: x, f } = at;
    if (!(Math.abs(value) <= VALUE_READ_MAX) || (censored && value < this.#expected(at))) {
      x[f + F.length]! += 1;
      pushValue(at, Number.NaN);
      clearSlots(at);
      breakResiduals(at);
      return;
    }
    let scale = x[f + F.scale]!;
    if (scale === 0 && value !== 0) {
      scale = Math.fround(Math.abs(value));
      if (scale < 1e-30) scale = Math.fround(1e-30);
      x[f + F.scale] = scale;
    }
    let u = scale === 0 ? 0 : value / scale;
    if (u > VALUE_MAX || u < -VALUE_MAX) {
      rescale(at, Math.abs(value) / 100);
      scale = x[f + F.scale]!;
      u = value / scale;
    }
    settle(at, u);
    settleWindows(at, u);
    seasonNow(at, this.#now);
    x[f + F.length]! += 1;
    pushValue(at, u);
    learn(at, u, this.#now);
    makeSlots(at, this.#askExternals, this.#askOutside);
    makeWindows(at, this.#pathMaximum);
    // What is usual, or a hundredth of the highest of late: a sleeping shard keeps the measure of its load.
    const usual = Math.max(
      Math.abs(x[f + F.mean]!) + x[f + F.deviation]!,
      0.01 * Math.max(x[f + F.highest]!, -x[f + F.lowest]!),
    );
    if (usual > SCALE_HIGH || (usual < SCALE_LOW && usual > 0 && x[f + F.known]! > 4))
      rescale(at, Math.max(1e-30, usual * scale));
  }

  /**
   * Quantiles at horizons.
   *
   * @param horizons steps ahead, from 1; fractions are fine
   * @param out p50, p90, p99 of the first horizon, then of the second, ..., in the series' unit
   */
  forecast(row: number, horizons: ArrayLike<number>, out: Float64Array): void {
    const at = this.seek(row);
    const { floats: x, f } = at;
    const scale = x[f + F.scale]!;
    if (scale === 0) {
      out.fill(0, 0, horizons.length * 3);
      return;
    }
    const high = clampHigh(at);
    const low = clampLow(at);
    const place = this.#between;
    place.skipped = skippedOf(at);
    let ready = -1;
    for (let h = 0; h < horizons.length; h++) {
      const ahead = horizons[h]!;
      between(ahead, place);
      const { left: b, right: next, share } = place;
      predict(at, ahead, this.#answers);
      this.#askExternals(ahead, this.#answers);
      while (ready < next) this.#prepare(at, ++ready);
      // Weights that have hardly been scored yet are no better than those next to them.
      const scored = x[f + F.scores + next]!;
      const base = this.#mix(at, b, next, (share * scored) / (scored + TRUST_SCORES));
      const usual = (1 - share) * this.#usual[b]! + share * this.#usual[next]!;
      const spread = spreadFor(at, usual, base);
      this.#hearOutside(at, ahead, b, next, share);
      let before = Number.NEGATIVE_INFINITY;
      for (let q = 0; q < 3; q++) {
        const error = (1 - share) * this.#errors[b]![q]! + share * this.#errors[next]![q]!;
        const kind = (1 - share) * this.#shares[b]![q]! + share * this.#shares[next]![q]!;
        let value = kind * (base + spread * error) + (1 - kind) * this.#values[q]!;
        value = (value + this.#outsideSum[q]!) / (1 + this.#outsideWeight[q]!);
        value = value > high ? high : value < low ? low : value;
        if (value < before) value = before;
        before = value;
        out[h * 3 + q] = value * scale;
      }
    }
  }

  /** Quantiles of the maximum over a window of the layout, in the series' unit. */
  forecastMax(row: number, window: number, out: Float64Array): void {
    const at = this.seek(row);
    const scale = at.floats[at.f + F.scale]!;
    if (scale === 0) {
      out.fill(0, 0, 3);
      return;
    }
    const path = this.#pathMaximum(this.layout.windows[window]!);
    windowQuantiles(at, window, path.base, path.spread, this.#windowOut);
    const high = clampHigh(at);
    for (let q = 0; q < 3; q++)
      out[q] = Math.min(high, Math.max(q > 0 ? out[q - 1]! / scale : 0, this.#windowOut[q]!)) * scale;
  }

  /**
   * Quantiles of the maximum from the next step to any other: the path as far as that, and how far above it maxima came
   * in the windows of the layout next to it (beyond the longest: in that).
   */
  forecastMaxOver(row: number, steps: number, out: Float64Array): void {
    const at = this.seek(row);
    const scale = at.floats[at.f + F.scale]!;
    const { windows } = this.layout;
    if (scale === 0) {
      out.fill(0, 0, 3);
      return;
    }
    const { base, spread } = this.#pathMaximum(steps);
    let above = 0;
    while (above < windows.length - 1 && windows[above]! < steps) above++;
    const below = above > 0 && windows[above]! > steps ? above - 1 : above;
    const share =
      below === above ? 0 : Math.log(steps / windows[below]!) / Math.log(windows[above]! / windows[below]!);
    windowQuantiles(at, below, base, spread, out);
    windowQuantiles(at, above, base, spread, this.#windowOut);
    const high = clampHigh(at);
    let before = 0;
    for (let q = 0; q < 3; q++) {
      const value = (1 - share) * out[q]! + share * this.#windowOut[q]!;
      before = Math.min(high, Math.max(before, value));
      out[q] = before * scale;
    }
  }

  /** The newest values of one resolution of the history, oldest first, in the series' unit; NaN where missing. */
  recent(row: number, ring: number, count: number): Float64Array {
    const at = this.seek(row);
    const scale = at.floats[at.f + F.scale]!;
    const content = ringContent(at, ring);
    const values = content.subarray(Math.max(0, content.length - count));
    for (let i = 0; i < values.length; i++) values[i]! *= scale;
    return values;
  }

  /** What was one period before a step ahead; the last value where no period is known yet. In the series' unit. */
  naive(row: number, ahead: number): number {
    const at = this.seek(row);
    const before = season(at, at.floats[at.f + F.periodA]!, ahead);
    return (Number.isNaN(before) ? at.floats[at.f + F.last]! : before) * at.floats[at.f + F.scale]!;
  }

  /** Highest that any answer may be, in the series' unit. */
  highestSaid(row: number): number {
    const at = this.seek(row);
    return clampHigh(at) * at.floats[at.f + F.scale]!;
  }

  /** Weight of each expert near a horizon. */
  weights(row: number, ahead: number): Record<string, number> {
    const at = this.seek(row);
    predict(at, ahead, this.#answers);
    this.#askExternals(ahead, this.#answers);
    const b = this.#bucketOf(at, ahead);
    weightsAt(at, b, this.#weights[b]!, this.#answers);
    return Object.fromEntries(this.names.map((name, e) => [name, this.#weights[b]![e]!]));
  }

  /** A row as plain data. Answers in flight are in it: a restart costs nothing. */
  saveRow(row: number): SavedRow {
    const at = this.seek(row);
    return {
      format: this.#format(),
      floats: base64(at.floats, at.f, this.layout.floats),
      codes: base64(at.codes, at.c, this.layout.codes),
    };
  }

  /** @throws {RangeError} for a row of a bank of another layout */
  loadRow(row: number, saved: SavedRow): void {
    const at = this.seek(row);
    if (saved?.format !== this.#format())
      throw new RangeError(`not a series of this bank: ${saved?.format}, wanted ${this.#format()}`);
    fromBase64(saved.floats, at.floats, at.f, this.layout.floats);
    fromBase64(saved.codes, at.codes, at.c, this.layout.codes);
  }

  #format(): string {
    const { stepS, floats, codes, experts } = this.layout;
    return `skein-row-1/${stepS}/${floats}/${codes}/${experts}`;
  }

  /** Weights, bands and shares of a bucket for the row at hand. */
  #prepare(at: Row, b: number): void {
    weightsAt(at, b, this.#weights[b]!, this.#answers);
    levelsAt(at, b, this.#asked);
    errorsAt(at, b, this.#asked, this.#errors[b]!);
    this.#usual[b] = usualSpread(at, b);
    if (b === 0) valuesAt(at, this.#values);
    for (let q = 0; q < 3; q++) this.#shares[b]![q] = kindShare(at, b, q);
  }

  #mix(at: Row, b: number, next: number, share: number): number {
    const left = this.#weights[b]!;
    const right = this.#weights[next]!;
    let sum = 0;
    let total = 0;
    for (let e = 0; e < this.layout.experts; e++) {
      const answer = this.#answers[e]!;
      if (e === BLEND || Number.isNaN(answer)) continue;
      const weight = (1 - share) * left[e]! + share * right[e]!;
      sum += weight * answer;
      total += weight;
    }
    if (!(total > 0)) return 0;
    const first = sum / total;
    if (at.layout.blendAt < 0) return first;
    // Each regression by its own weight: a wild one that nobody believes at its horizon is not believed between either.
    const weightLeft = (1 - share) * left[BLEND]!;
    const weightRight = share * right[BLEND]!;
    sum += weightLeft * clampTo(at, blendAnswer(at, b, this.#answers, first));
    if (weightRight > 0) sum += weightRight * clampTo(at, blendAnswer(at, next, this.#answers, first));
    return sum / (total + weightLeft + weightRight);
  }

  readonly #outsideSum = new Float64Array(3);
  readonly #outsideWeight = new Float64Array(3);
  readonly #outsideAnswer = new Float64Array(3);
  readonly #askOutside = (expert: number, ahead: number): ArrayLike<number> | undefined => {
    const scale = this.#row.floats[this.#row.f + F.scale]!;
    const answer = this.#outsideAnswer;
    if (scale === 0 || !this.outside(this.#current, expert, ahead, answer)) return undefined;
    for (let q = 0; q < 3; q++) {
      answer[q] = clampTo(this.#row, answer[q]! / scale);
      if (!Number.isFinite(answer[q]!)) return undefined;
    }
    return answer;
  };

  /** What those from outside say at a horizon, each by its say. */
  #hearOutside(at: Row, ahead: number, b: number, next: number, share: number): void {
    this.#outsideSum.fill(0);
    this.#outsideWeight.fill(0);
    for (let i = 0; i < this.layout.outside; i++) {
      const answer = this.#askOutside(i, ahead);
      if (answer === undefined) continue;
      for (let q = 0; q < 3; q++) {
        const say = (1 - share) * outsideSay(at, i, b, q) + share * outsideSay(at, i, next, q);
        this.#outsideSum[q]! += say * answer[q]!;
        this.#outsideWeight[q]! += say;
      }
    }
  }

  readonly #askExternals = (ahead: number, out: Float64Array): void => {
    const row = this.#current;
    const scale = this.#row.floats[this.#row.f + F.scale]!;
    for (let e = this.layout.own; e < this.layout.experts; e++) {
      const answer = this.external(row, e - this.layout.own, ahead) / scale;
      out[e] = Number.isFinite(answer)
        ? Math.max(clampLow(this.#row), Math.min(clampHigh(this.#row), answer))
        : Number.NaN;
    }
  };

  /** The longest bucket up to a horizon whose weights hold for others too. */
  #bucketOf(at: Row, ahead: number): number {
    this.#between.skipped = skippedOf(at);
    between(ahead, this.#between);
    return this.#between.left;
  }

  readonly #path = { base: 0, spread: 0 };
  /** The highest reach of the path over a window: the mixture and some spreads above it, and the spread there. */
  readonly #pathMaximum = (window: number): { base: number; spread: number } => {
    const at = this.#row;
    const place = this.#between;
    place.skipped = skippedOf(at);
    const points = Math.min(PATH_POINTS, window);
    let ready = -1;
    this.#path.base = Number.NEGATIVE_INFINITY;
    for (let i = 1; i <= points; i++) {
      const ahead = Math.round((window * i) / points);
      between(ahead, place);
      const { left: b, right: next, share } = place;
      predict(at, ahead, this.#answers);
      this.#askExternals(ahead, this.#answers);
      while (ready < next) {
        weightsAt(at, ++ready, this.#weights[ready]!, this.#answers);
        this.#usual[ready] = usualSpread(at, ready);
      }
      const base = this.#mix(at, b, next, share);
      const usual = (1 - share) * this.#usual[b]! + share * this.#usual[next]!;
      const spread = spreadFor(at, usual, base);
      const reach = base + TUNED.windowLift * spread;
      if (reach <= this.#path.base) continue;
      this.#path.base = reach;
      this.#path.spread = spread;
    }
    return this.#path;
  };

  /** What was expected of the next step. */
  #expected(at: Row): number {
    const scale = at.floats[at.f + F.scale]!;
    if (scale === 0) return Number.NEGATIVE_INFINITY;
    predict(at, 1, this.#answers);
    this.#askExternals(1, this.#answers);
    weightsAt(at, 0, this.#weights[0]!, this.#answers);
    return this.#mix(at, 0, 0, 0) * scale;
  }
}

/** Periods within this share of each other are the same. */
const PERIOD_SAME = 0.06;
/** Points of a window's path: two and a half days of hours still show each day's peak. */
const PATH_POINTS = 24;
/** Scores from which weights at a horizon count for half of what they would. */
const TRUST_SCORES = 4;
