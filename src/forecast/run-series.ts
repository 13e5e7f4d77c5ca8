/**
 * The engine over one recorded series: its steps in order, then a forecast. `skein forecast run` is this, and so is every
 * origin of `skein forecast backtest`; the controller feeds the same bank as steps come.
 */
import { SeriesBank } from './bank/bank.ts';
import type { SeriesRecord } from './series-record.ts';

/** Steps between two looks for periods, as a factor of the length: few looks over a long life. */
const LOOK_GROWTH = 1.5;
const LOOK_FIRST_STEPS = 48;

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
  #next = 0;
  #look = LOOK_FIRST_STEPS;

  constructor(record: SeriesRecord, options: { windows: readonly number[]; horizon: number }) {
    this.#record = record;
    this.#bank = new SeriesBank({ stepS: record.step_s, windows: options.windows, rows: 1 });
    this.#row = this.#bank.add();
  }

  /** Learns up to, not including, index `end` of the record's values. */
  advance(end: number): void {
    const { v, censored } = this.#record;
    for (; this.#next < Math.min(end, v.length); this.#next++) {
      this.#bank.observe(this.#row, v[this.#next]!, censored.has(this.#next));
      if (this.#next + 1 >= this.#look) {
        this.#look = Math.ceil((this.#next + 1) * LOOK_GROWTH);
        this.#bank.lookForPeriods(this.#row);
      }
    }
  }

  forecast(horizon: number, levels: readonly number[]): SeriesAnswer {
    const { t0, step_s } = this.#record;
    const steps = Float64Array.from({ length: horizon }, (_, h) => h + 1);
    const found = new Float64Array(3 * horizon);
    this.#bank.forecast(this.#row, steps, found);
    const spread = levels.map((level) => Float64Array.from(steps, (_, h) => quantileOf(level, found, 3 * h)));
    const out = new Float64Array(3);
    const maxima = this.#bank.layout.windows.map((_, w) => {
      this.#bank.forecastMax(this.#row, w, out);
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

const Z90 = 1.2815515655446004;
const Z99 = 2.3263478740408408;

/** Quantile of the standard normal (Acklam's rational approximation, relative error below 1.2e-9). */
export function normalQuantile(level: number): number {
  if (level === 0.9) return Z90;
  if (level === 0.99) return Z99;
  if (!(level > 0 && level < 1)) throw new RangeError(`a quantile level lies between 0 and 1, not ${level}`);
  if (level < 0.02425) return tail(Math.sqrt(-2 * Math.log(level)));
  if (level > 1 - 0.02425) return -tail(Math.sqrt(-2 * Math.log(1 - level)));
  const q = level - 0.5;
  const r = q * q;
  return (
    ((((((-39.69683028665376 * r + 220.9460984245205) * r - 275.9285104469687) * r + 138.357751867269) * r -
      30.66479806614716) *
      r +
      2.506628277459239) *
      q) /
    (((((-54.47609879822406 * r + 161.5858368580409) * r - 155.6989798598866) * r + 66.80131188771972) * r -
      13.28068155288572) *
      r +
      1)
  );
}

function tail(q: number): number {
  return (
    (((((-0.007784894002430293 * q - 0.3223964580411365) * q - 2.400758277161838) * q - 2.549732539343734) *
      q +
      4.374664141464968) *
      q +
      2.938163982698783) /
    ((((0.007784695709041462 * q + 0.3224671290700398) * q + 2.445134137142996) * q + 3.754408661907416) * q +
      1)
  );
}
