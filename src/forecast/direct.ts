/**
 * Regression on the logarithm of the load, straight to each horizon, over the whole history (direct forecasting: Cox 1961;
 * Marcellino, Stock and Watson 2006): how much of today's difference stays at that horizon, how the season follows the
 * load, how much yesterday and last week tell, all at once. Its bands are the errors it made so far.
 *
 * The row's own regressions forget, and see a few experts or three steps; this one looks back at every moment of the last
 * {@link CONTEXT_STEPS}. For a series on its own: a horizon costs a million operations.
 *
 * Invariants: at an origin only what came before it is read; no answer leaves the range seen by more than its width;
 * errors are of forecasts, never of a fit.
 */
import { DirectFeatures } from './direct-features.ts';

export const DIRECT_TUNED = {
  /** Say before it was held against anything. */
  say: [0.5, 0.7, 0.4] as [number, number, number],
  /** Answers over which its losses are averaged: it answers at every step. */
  memory: 100,
  /** The logarithm starts at this share of the mean. */
  offset: 0.6,
  /**
   * Moments that the prior, what the levels say, is worth: a few, and some for each step ahead, since moments nearer to
   * each other than the horizon tell much the same.
   */
  ridge: 4,
  ridgeAhead: 1,
  momentsAhead: 3,
  /** Half-life of a moment's weight in steps. */
  halfLife: 2000,
  /** Errors beyond so many usual ones count as far off, not as how far. */
  huber: 2.5,
  /** Newest errors that bands are made of. */
  errors: 400,
  /** Share of the errors' own median that moves p50. */
  medianShift: 0.5,
} as const;
const CONTEXT_STEPS = 4096;
/** Horizons with a regression of their own; those between take both neighbours' coefficients, by log of steps. */
const FITTED_STEPS = [1, 2, 4, 8, 12, 16, 24, 30, 45, 60, 75, 100, 140, 200] as const;
const FITTED_GROWTH = 1.4;
/** Fewer moments to learn from, in numbers told of each, say nothing. */
const MOMENTS_PER_FEATURE = 3;
/** Nothing is said before so many answers were held against what came. */
const ERRORS_MIN = 32;
/** Moments between two solutions. */
const SOLVE_EVERY = 16;
const QUANTILES = [0.5, 0.9, 0.99] as const;
/** Quantiles of a double exponential's errors in mean absolute ones, and how many errors that guess is worth. */
const ERROR_GUESS = [0, 1.6, 3.9] as const;
const ERROR_GUESS_WORTH = [5, 10, 40] as const;
/** Answers stay within the range seen on the log scale and this share of it, and within twice the range itself. */
const BEYOND = 0.25;
/** Fewer known values say nothing. */
const KNOWN_MIN = 16;

interface Series {
  /** Oldest first; NaN where missing. */
  values: Float64Array;
  /** Covariates from the first value on, as far as they are told. */
  covariates?: readonly Float64Array[];
}

interface Asked {
  first: number;
  last: number;
  /** Index of the features' first moment in the series. */
  from: number;
  features: DirectFeatures;
  steps: readonly number[];
  /** For each step and origin coefficients and quantiles of errors; NaN where there was too little to learn from. */
  fits: Float64Array;
  lowest: number;
  scale: number;
  /** Range of answers. */
  least: number;
  most: number;
  /** Scratch: what is told of one moment. */
  told: Float64Array;
}

/** Answers along one series: asked for a stretch of origins at a time, read back by origin and horizon. */
export class DirectAnswers {
  readonly #series: Series;
  #asked: Asked | undefined;

  constructor(series: Series) {
    this.#series = series;
  }

  /**
   * Learns along the series for origins from `first` to `last` (how many values are known). What was asked before is
   * forgotten.
   *
   * @param steps horizons to fit, ascending; {@link fittedSteps} reach any in between
   * @param periods steps of the periods believed in, strongest first
   * @param basis how many values decide on the scale and on which periods are known: not more than `first`
   */
  ask(
    first: number,
    last: number,
    steps: readonly number[],
    periods: readonly number[] | undefined,
    basis = first,
  ): void {
    this.#asked = undefined;
    const from = Math.max(0, last - CONTEXT_STEPS);
    // Of a long series the basis may be older than what is looked at.
    const until = basis - from < Math.min(basis, CONTEXT_STEPS / 2) ? first : basis;
    const scaled = scaledBy(this.#series.values, from, until, last);
    if (scaled === undefined) return;
    const { z, known, lowest, scale, least, most } = scaled;
    const columns = this.#series.covariates?.map((column) => column.subarray(from));
    const features = new DirectFeatures(z, until - from, periods ?? [], steps[steps.length - 1]!, columns);
    const size = (last - first + 1) * (features.width + QUANTILES.length);
    const fits = new Float64Array(steps.length * size).fill(Number.NaN);
    reserve(features.width, z.length);
    steps.forEach((ahead, i) => {
      fitAlong(features, z, known, ahead, first - from, fits, i * size);
    });
    const told = new Float64Array(features.width);
    this.#asked = { first, last, from, features, steps, fits, lowest, scale, least, most, told };
  }

  /** p50, p90 and p99 into `out`; false where it was not asked, or knows too little. */
  at(origin: number, ahead: number, out: Float64Array): boolean {
    const asked = this.#asked;
    if (asked === undefined || origin < asked.first || origin > asked.last) return false;
    const { steps, features, fits, told } = asked;
    if (ahead < 1 || ahead > steps[steps.length - 1]!) return false;
    let right = 0;
    while (steps[right]! < ahead) right++;
    const left = steps[right] === ahead ? right : Math.max(0, right - 1);
    const share =
      left === right ? 0 : Math.log(ahead / steps[left]!) / Math.log(steps[right]! / steps[left]!);
    const origins = asked.last - asked.first + 1;
    const { width } = features;
    const l = (left * origins + origin - asked.first) * (width + QUANTILES.length);
    const r = (right * origins + origin - asked.first) * (width + QUANTILES.length);
    if (Number.isNaN(fits[l]!) || (share > 0 && Number.isNaN(fits[r]!))) return false;
    let z = features.write(origin - 1 - asked.from, Math.round(ahead), told, 0);
    const of = (i: number) => (share > 0 ? (1 - share) * fits[l + i]! + share * fits[r + i]! : fits[l + i]!);
    for (let i = 0; i < width; i++) z += of(i) * told[i]!;
    let before = Number.NEGATIVE_INFINITY;
    for (let q = 0; q < 3; q++) {
      const said = Math.min(asked.most, Math.max(asked.least, z + of(width + q)));
      before = Math.max(before, asked.lowest + asked.scale * Math.expm1(said));
      out[q] = before;
    }
    return Number.isFinite(out[2]!);
  }
}

/** Steps to fit so that every horizon up to `reach` lies between two of them. */
export function fittedSteps(reach: number): number[] {
  const steps = FITTED_STEPS.filter((step) => step < reach) as number[];
  let next = FITTED_STEPS[FITTED_STEPS.length - 1]! * FITTED_GROWTH;
  for (; next < reach; next *= FITTED_GROWTH) steps.push(Math.round(next));
  return [...steps, reach];
}

/** z = log(1 + (value - lowest) / scale) without gaps; scale and range from the first `basis` values. */
function scaledBy(values: Float64Array, from: number, basis: number, last: number) {
  let sum = 0;
  let count = 0;
  let lowest = 0;
  let highest = Number.NEGATIVE_INFINITY;
  let least = Number.POSITIVE_INFINITY;
  for (let t = from; t < basis; t++) {
    const value = values[t]!;
    if (!Number.isFinite(value)) continue;
    sum += Math.abs(value);
    count++;
    if (value < least) least = value;
    if (value > highest) highest = value;
  }
  if (count < KNOWN_MIN || 2 * count < basis - from || highest === least) return undefined;
  if (least < 0) lowest = least;
  const scale = Math.max((DIRECT_TUNED.offset * sum) / count, 1e-12);
  const z = new Float64Array(last - from);
  const known = new Uint8Array(last - from);
  let before = Number.NaN;
  for (let t = from; t < last; t++) {
    const value = values[t]!;
    if (Number.isFinite(value)) {
      const now = Math.log1p(Math.max(0, value - lowest) / scale);
      if (Number.isNaN(before)) z.fill(now, 0, t - from);
      before = now;
      known[t - from] = 1;
    }
    z[t - from] = before;
  }
  const low = Math.log1p((least - lowest) / scale);
  const high = Math.log1p((highest - lowest) / scale);
  const beyond = BEYOND * (high - low);
  const most = Math.min(high + beyond, Math.log1p((2 * highest - least - lowest) / scale));
  return { z, known, lowest, scale, least: Math.max(0, low - beyond), most };
}

/** Scratch of one thread: nothing in it outlives a call. */
let gram = new Float64Array(0);
let right = new Float64Array(0);
let factor = new Float64Array(0);
let coefficients = new Float64Array(0);
let solution = new Float64Array(0);
let rows = new Float64Array(0);
let said = new Float64Array(0);
let anchors = new Float64Array(0);

/** Room for so many numbers told of so many moments. */
function reserve(width: number, moments: number): void {
  if (right.length !== width) {
    right = new Float64Array(width);
    coefficients = new Float64Array(width);
    solution = new Float64Array(width);
    gram = new Float64Array((width * (width + 1)) / 2);
    factor = new Float64Array((width * (width + 1)) / 2);
  }
  if (rows.length < width * moments) rows = new Float64Array(width * moments);
  if (said.length < moments) {
    said = new Float64Array(moments);
    anchors = new Float64Array(moments);
  }
}

/** One horizon's regression along the series: at each moment what was known then. */
function fitAlong(
  features: DirectFeatures,
  z: Float64Array,
  known: Uint8Array,
  ahead: number,
  firstKnown: number,
  fits: Float64Array,
  fitsAt: number,
): void {
  const count = features.length;
  const { start } = features;
  const { width } = features;
  const ridge = DIRECT_TUNED.ridge + DIRECT_TUNED.ridgeAhead * ahead;
  const momentsMin = MOMENTS_PER_FEATURE * width + DIRECT_TUNED.momentsAhead * ahead;
  gram.fill(0);
  right.fill(0);
  coefficients.fill(0);
  const errors = new Errors(DIRECT_TUNED.errors);
  const growth = 2 ** (1 / DIRECT_TUNED.halfLife);
  let weight = 1;
  let total = 0;
  let moments = 0;
  let usual = 0;
  // What was foreseen before this moment was no forecast.
  let solvedFrom = Number.POSITIVE_INFINITY;
  for (let t = start; t < count; t++) {
    weight *= growth;
    const then = t - ahead;
    if (then >= start && known[t] === 1) {
      const at = then * width;
      const error = z[t]! - said[then]!;
      const far = Math.abs(error);
      usual += Math.max(0.01, 1 / (moments + 1)) * (Math.min(far, moments < 8 ? far : 6 * usual) - usual);
      const limit = DIRECT_TUNED.huber * usual + 1e-9;
      const counts = far > limit ? (weight * limit) / far : weight;
      if (then >= solvedFrom) errors.add(error);
      const anchor = anchors[then]!;
      let k = 0;
      for (let i = 0; i < width; i++) {
        const weighted = counts * rows[at + i]!;
        right[i]! += weighted * (z[t]! - anchor);
        for (let j = 0; j <= i; j++, k++) gram[k]! += weighted * rows[at + j]!;
      }
      total += counts;
      moments++;
      if (moments >= momentsMin && moments % SOLVE_EVERY === 0 && solve(total, weight * ridge))
        solvedFrom = Math.min(solvedFrom, t);
    }
    const at = t * width;
    const anchor = features.write(t, ahead, rows, at);
    anchors[t] = anchor;
    let sum = anchor;
    for (let i = 0; i < width; i++) sum += coefficients[i]! * rows[at + i]!;
    said[t] = sum;
    if (t < firstKnown - 1 || errors.count < ERRORS_MIN) continue;
    const to = fitsAt + (t - firstKnown + 1) * (width + QUANTILES.length);
    fits.set(coefficients, to);
    errors.quantiles(fits, to + width);
  }
}

/**
 * Ridge in units of each feature's own mean square; false, and the old solution, where the numbers do not allow one.
 *
 * @param total weights of all moments, and those that the prior is worth
 */
function solve(total: number, prior: number): boolean {
  const ridge = prior / total;
  const width = solution.length;
  let k = 0;
  for (let i = 0, rowAt = 0; i < width; rowAt += ++i) {
    for (let j = 0, other = 0; j <= i; j++, k++, other += j) {
      let sum = gram[k]! + (i === j ? ridge * gram[k]! + 1e-9 * prior : 0);
      for (let m = 0; m < j; m++) sum -= factor[rowAt + m]! * factor[other + m]!;
      if (i === j) {
        if (!(sum > 0)) return false;
        factor[k] = Math.sqrt(sum);
      } else factor[k] = sum / factor[other + j]!;
    }
  }
  for (let i = 0, rowAt = 0; i < width; rowAt += ++i) {
    let sum = right[i]!;
    for (let m = 0; m < i; m++) sum -= factor[rowAt + m]! * solution[m]!;
    solution[i] = sum / factor[rowAt + i]!;
  }
  for (let i = width - 1; i >= 0; i--) {
    let sum = solution[i]!;
    for (let m = i + 1; m < width; m++) sum -= factor[(m * (m + 1)) / 2 + i]! * solution[m]!;
    solution[i] = sum / factor[(i * (i + 1)) / 2 + i]!;
  }
  if (!solution.every(Number.isFinite)) return false;
  coefficients.set(solution);
  return true;
}

/** The newest errors, sorted. */
class Errors {
  readonly #ring: Float64Array;
  readonly #sorted: Float64Array;
  #next = 0;
  count = 0;
  #sum = 0;

  constructor(size: number) {
    this.#ring = new Float64Array(size);
    this.#sorted = new Float64Array(size);
  }

  add(error: number): void {
    const sorted = this.#sorted;
    if (this.count === this.#ring.length) {
      const old = this.#ring[this.#next]!;
      const at = this.#place(old);
      sorted.copyWithin(at, at + 1, this.count);
      this.count--;
      this.#sum -= Math.abs(old);
    }
    const at = this.#place(error);
    sorted.copyWithin(at + 1, at, this.count);
    sorted[at] = error;
    this.count++;
    this.#sum += Math.abs(error);
    this.#ring[this.#next] = error;
    this.#next = (this.#next + 1) % this.#ring.length;
  }

  /** Quantiles, at first drawn towards those of a double exponential. */
  quantiles(into: Float64Array, at: number): void {
    const count = this.count;
    const usual = count > 0 ? Math.max(0, this.#sum) / count : 0;
    for (let q = 0; q < QUANTILES.length; q++) {
      const worth = ERROR_GUESS_WORTH[q]!;
      const place = Math.min(count - 1, Math.max(0, QUANTILES[q]! * (count + 1) - 1));
      const below = Math.floor(place);
      const above = Math.min(count - 1, below + 1);
      const own =
        count === 0
          ? 0
          : this.#sorted[below]! + (place - below) * (this.#sorted[above]! - this.#sorted[below]!);
      const found = (count * own + worth * ERROR_GUESS[q]! * usual) / (count + worth);
      into[at + q] = q === 0 ? DIRECT_TUNED.medianShift * found : found;
    }
  }

  /** First place whose error is not below. */
  #place(error: number): number {
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#sorted[middle]! < error) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
