/**
 * Many series of one step length, each a row of numbers: learns a value a step, answers with p50, p90 and p99 at any
 * horizon and for the maximum over a window.
 *
 * This is the engine: the controller's series and `skein forecast run` are rows of it. Boundary: pure and synchronous.
 *
 * Invariants: memory is fixed a row; a missing value (NaN, infinite) teaches nothing and costs a place in time; a
 * censored one never teaches low demand; quantiles ascend; no answer leaves the clamps around what was seen.
 */
import { clampHigh, clampLow, learn, type SeasonNow, season, seasonNow } from './experts.ts';
import { type BankLayout, bankLayout, EXPERT_NAMES, F, type HistoryShape, type Row } from './layout.ts';
import { type AskExternals, type AskOutside, Mixture } from './mixture.ts';
import type { Outside, OutsideTerms } from './outside.ts';
import { RowPast } from './past.ts';
import { findPeriods } from './periods.ts';
import { rescale } from './rescale.ts';
import { breakResiduals } from './residual.ts';
import { pushValue, ringContent } from './rings.ts';
import { base64, fromBase64 } from './saved.ts';
import { clampTo, clearSlots, makeSlots, settle } from './score.ts';
import { makeWindows, settleWindows } from './windows.ts';

/** Rows allocated at a time. */
const CHUNK_ROWS = 512;
/** Usual load in units of the scale outside of which the scale is set anew. */
const SCALE_HIGH = 12;
const SCALE_LOW = 1 / 24;
/** Larger ones are no measurement, but an error of whoever measured: taken for missing. */
export const VALUE_READ_MAX = 1e30;
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
  /** How each of them is weighed, where that is not as usual. */
  outsideTerms?: readonly OutsideTerms[] | undefined;
  /** Ridge regression on the experts: on by default; without it a series takes 1.9 kB less. */
  regression?: boolean;
  /** Rows allocated at a time; 512 by default. */
  rows?: number;
  /** How far back a row remembers, and how finely: 10,752 steps in 0.8 kB by default. */
  history?: HistoryShape;
}

/** See {@link SeriesBank.saveRow}. */
export interface SavedRow {
  format: string;
  /** Little-endian numbers in base 64. */
  floats: string;
  codes: string;
  bytes: string;
}

type Chunk = Pick<Row, 'floats' | 'codes' | 'bytes' | 'words'>;

function makeChunk(layout: BankLayout, rows: number): Chunk {
  const bytes = new Uint8Array(rows * layout.bytes);
  return {
    floats: new Float32Array(rows * layout.floats),
    codes: new Uint16Array(rows * layout.codes),
    bytes,
    words: new Int32Array(bytes.buffer),
  };
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
  readonly #mixture: Mixture;
  readonly #past: RowPast;
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
      outsideTerms: options.outsideTerms,
      regression: options.regression ?? true,
      history: options.history,
    });
    this.names = [...EXPERT_NAMES.slice(0, this.layout.own), ...externals];
    this.#past = new RowPast(this.layout);
    this.#mixture = new Mixture(this.layout, this.#askExternals, this.#askOutside);
    this.#row = { layout: this.layout, ...makeChunk(this.layout, 0), f: 0, c: 0, b: 0 };
  }

  /** Rows in use. */
  get size(): number {
    return this.#rows - this.#free.length;
  }

  /** Bytes held, free rows included. */
  get bytes(): number {
    const { floats, codes, bytes } = this.layout;
    return this.#chunks.length * this.#chunkRows * (floats * 4 + codes * 2 + bytes);
  }

  /** A new series. Its periods are a day and a week until others are set. */
  add(): number {
    const row = this.#free.pop() ?? this.#rows++;
    if (row >= this.#chunks.length * this.#chunkRows)
      this.#chunks.push(makeChunk(this.layout, this.#chunkRows));
    const at = this.seek(row);
    at.floats.fill(0, at.f, at.f + this.layout.floats);
    at.codes.fill(0, at.c, at.c + this.layout.codes);
    at.bytes.fill(0, at.b, at.b + this.layout.bytes);
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
    at.bytes = chunk.bytes;
    at.words = chunk.words;
    at.f = within * this.layout.floats;
    at.c = within * this.layout.codes;
    at.b = within * this.layout.bytes;
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
    if (!(Math.abs(value) <= VALUE_READ_MAX) || (censored && value < this.#mixture.next(at))) {
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
    makeWindows(at, this.#mixture.path);
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
    if (at.floats[at.f + F.scale]! === 0) out.fill(0, 0, horizons.length * 3);
    else this.#mixture.quantiles(at, horizons, out);
  }

  /** Quantiles of the maximum over a window of the layout, in the series' unit. */
  forecastMax(row: number, window: number, out: Float64Array): void {
    this.forecastMaxOver(row, this.layout.windows[window]!, out);
  }

  /**
   * Quantiles of the maximum from the next step to any other: the path as far as that, and how far above it maxima came
   * in the windows of the layout next to it (beyond the longest: in that).
   */
  forecastMaxOver(row: number, steps: number, out: Float64Array): void {
    const at = this.seek(row);
    if (at.floats[at.f + F.scale]! === 0) out.fill(0, 0, 3);
    else this.#mixture.maximum(at, steps, out);
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

  /** The row's past for an expert in batches. Valid until the next call. */
  past(row: number): { at: (age: number) => number; length: number } {
    return this.#past.look(this.seek(row));
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

  /** Turns p50, p90 and p99 of a row so far ahead, from the place `at` of `out`, into the same distances above seasonal naive. */
  aroundNaive(row: number, ahead: number, out: Float64Array, at = 0): void {
    const middle = this.naive(row, ahead);
    const highest = this.highestSaid(row);
    for (let q = 2; q > 0; q--)
      out[at + q] = Math.max(middle, Math.min(highest, middle + out[at + q]! - out[at]!));
    out[at] = middle;
  }

  /** Weight of each expert near a horizon. */
  weights(row: number, ahead: number): Record<string, number> {
    const weights = this.#mixture.weightsNear(this.seek(row), ahead);
    return Object.fromEntries(this.names.map((name, e) => [name, weights[e]!]));
  }

  /** A row as plain data. Answers in flight are in it: a restart costs nothing. */
  saveRow(row: number): SavedRow {
    const at = this.seek(row);
    return {
      format: this.#format(),
      floats: base64(at.floats, at.f, this.layout.floats),
      codes: base64(at.codes, at.c, this.layout.codes),
      bytes: base64(at.bytes, at.b, this.layout.bytes),
    };
  }

  /** @throws {RangeError} for a row of a bank of another layout */
  loadRow(row: number, saved: SavedRow): void {
    const at = this.seek(row);
    if (saved?.format !== this.#format())
      throw new RangeError(`not a series of this bank: ${saved?.format}, wanted ${this.#format()}`);
    fromBase64(saved.floats, at.floats, at.f, this.layout.floats);
    fromBase64(saved.codes, at.codes, at.c, this.layout.codes);
    fromBase64(saved.bytes, at.bytes, at.b, this.layout.bytes);
  }

  #format(): string {
    const { stepS, floats, codes, bytes, experts } = this.layout;
    return `skein-row-3/${stepS}/${floats}/${codes}/${bytes}/${experts}`;
  }

  readonly #outsideAnswer = new Float64Array(3);
  readonly #askOutside: AskOutside = (expert, ahead) => {
    const scale = this.#row.floats[this.#row.f + F.scale]!;
    const answer = this.#outsideAnswer;
    if (scale === 0 || !this.outside(this.#current, expert, ahead, answer)) return undefined;
    for (let q = 0; q < 3; q++) {
      answer[q] = clampTo(this.#row, answer[q]! / scale);
      if (!Number.isFinite(answer[q]!)) return undefined;
    }
    return answer;
  };

  readonly #askExternals: AskExternals = (ahead, out) => {
    const row = this.#current;
    const scale = this.#row.floats[this.#row.f + F.scale]!;
    for (let e = this.layout.own; e < this.layout.experts; e++) {
      const answer = this.external(row, e - this.layout.own, ahead) / scale;
      out[e] = Number.isFinite(answer)
        ? Math.max(clampLow(this.#row), Math.min(clampHigh(this.#row), answer))
        : Number.NaN;
    }
  };
}

/** Periods within this share of each other are the same. */
const PERIOD_SAME = 0.06;
