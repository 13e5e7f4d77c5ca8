/**
 * Finds the periods of a load from the data alone.
 *
 * Autocorrelation of several series at once (the origins share their day, their noise they do not), on an asinh scale
 * so that a flash crowd is one point among many and not the whole variance. The first peak that is nearly as good as
 * the best is the period (its multiples are as good); its place is refined at its multiples, where an error of a
 * tenth of a step shows as whole steps.
 */
/** A series' past at several resolutions. */
export interface PeriodSource {
  /** Steps that a value of each resolution stands for, finest first. */
  readonly ringSteps: readonly number[];
  /** The newest `count` values of a resolution, oldest first, NaN where missing. */
  recent(ring: number, count: number): Float64Array;
}

/** Shorter periods are noise at any resolution. */
export const PERIOD_VALUES_MIN = 8;
/** A lag counts once the data hold it this many times. */
export const PERIODS_SEEN_MIN = 1.8;
/** Share of the variance a period must explain. */
const CORRELATION_MIN = 0.35;
/** A peak this much below the best one is another peak. */
const CORRELATION_NEARLY = 0.88;
/** Values looked at. */
const VALUES_MAX = 1024;
/** A day and a week. */
export const PERIODS_MAX = 2;

/** Periods in steps, strongest first; empty where none stands out. */
export function detectPeriods(sources: readonly PeriodSource[]): number[] {
  const found: { period: number; strength: number }[] = [];
  const ringSteps = sources[0]?.ringSteps ?? [];
  for (let ring = 0; ring < ringSteps.length; ring++) {
    const series = sources.map((source) => source.recent(ring, VALUES_MAX));
    const result = strongestPeriod(series);
    if (result === undefined) continue;
    const period = result.period * ringSteps[ring]!;
    const known = found.find((other) => sameOrMultiple(other.period, period));
    if (known === undefined) found.push({ period, strength: result.strength });
  }
  found.sort((a, b) => b.strength - a.strength);
  return found.slice(0, PERIODS_MAX).map(({ period }) => period);
}

/** A coarser resolution sees the same day again, or several days as one: neither is news, except about a week. */
function sameOrMultiple(known: number, period: number): boolean {
  const ratio = period / known;
  const whole = Math.round(ratio);
  return Math.abs(ratio - whole) < 0.06 * Math.max(1, ratio) && whole !== 7;
}

/** The strongest period of one or more aligned series, in values of the series. */
export function strongestPeriod(
  series: readonly Float64Array[],
): { period: number; strength: number } | undefined {
  let longest = 0;
  for (const values of series) longest = Math.max(longest, values.length);
  const lags = Math.floor(longest / PERIODS_SEEN_MIN);
  if (lags < PERIOD_VALUES_MIN + 2) return undefined;
  const correlation = new Float64Array(lags + 1);
  let weights = 0;
  for (const values of series) {
    if (values.length < longest) continue;
    const weight = addCorrelation(values, correlation);
    weights += weight;
  }
  if (weights === 0) return undefined;
  for (let lag = 0; lag <= lags; lag++) correlation[lag]! /= weights;
  return pickPeak(correlation);
}

/** Adds the autocorrelation of one series times its weight (its level: bigger series speak louder); returns it. */
function addCorrelation(values: Float64Array, into: Float64Array): number {
  const x = prepared(values);
  if (x === undefined) return 0;
  const n = x.length;
  let variance = 0;
  for (let i = 0; i < n; i++) variance += x[i]! * x[i]!;
  if (variance < 1e-9 * n) return 0;
  let mean = 0;
  for (const value of values) if (!Number.isNaN(value)) mean += value / n;
  const weight = Math.sqrt(mean);
  into[0]! += weight;
  for (let lag = 1; lag < into.length; lag++) {
    let sum = 0;
    for (let i = lag; i < n; i++) sum += x[i]! * x[i - lag]!;
    into[lag]! += (weight * sum * n) / ((n - lag) * variance);
  }
  return weight;
}

/** asinh scale, gaps filled, line removed, noise of single values smoothed. */
function prepared(values: Float64Array): Float64Array | undefined {
  const n = values.length;
  let mean = 0;
  let known = 0;
  for (const value of values)
    if (!Number.isNaN(value)) {
      mean += value;
      known++;
    }
  if (known < n / 2 || mean <= 0) return undefined;
  mean /= known;
  const y = new Float64Array(n);
  let last = 1;
  for (let i = 0; i < n; i++) {
    const value = values[i]!;
    if (!Number.isNaN(value)) last = Math.asinh(value / mean);
    y[i] = last;
  }
  clip(y);
  let slope = 0;
  let centre = 0;
  const middle = (n - 1) / 2;
  let spread = 0;
  for (let i = 0; i < n; i++) {
    centre += y[i]! / n;
    slope += (i - middle) * y[i]!;
    spread += (i - middle) ** 2;
  }
  slope /= spread;
  const x = new Float64Array(n);
  for (let i = 0; i < n; i++) {
    const a = y[Math.max(0, i - 1)]!;
    const b = y[Math.min(n - 1, i + 1)]!;
    x[i] = (a + 2 * y[i]! + b) / 4 - centre - slope * (i - middle);
  }
  return x;
}

/** Values this many median deviations off are crowds or outages: they count as far off, not as how far. */
const CLIP_DEVIATIONS = 3;

function clip(y: Float64Array): void {
  const middle = medianOf(y);
  const reach = CLIP_DEVIATIONS * Math.max(medianOf(y.map((value) => Math.abs(value - middle))), 0.05);
  for (let i = 0; i < y.length; i++) y[i] = Math.max(middle - reach, Math.min(middle + reach, y[i]!));
}

function medianOf(values: Float64Array): number {
  return Float64Array.from(values).sort()[values.length >> 1] ?? 0;
}

function pickPeak(correlation: Float64Array): { period: number; strength: number } | undefined {
  const lags = correlation.length - 1;
  const peaks: number[] = [];
  let lowest = 1;
  let best = 0;
  for (let lag = 2; lag < lags; lag++) {
    const value = correlation[lag]!;
    lowest = Math.min(lowest, value);
    if (lag < PERIOD_VALUES_MIN || value < CORRELATION_MIN) continue;
    // A period is a way down and up again; mere persistence only goes down.
    if (value - lowest < CORRELATION_MIN) continue;
    if (value < correlation[lag - 1]! || value < correlation[lag + 1]!) continue;
    peaks.push(lag);
    best = Math.max(best, value);
  }
  const first = peaks.find((lag) => correlation[lag]! >= CORRELATION_NEARLY * best);
  if (first === undefined) return undefined;
  let period = topOf(correlation, highestNear(correlation, first, Math.max(1, Math.round(first / 8))));
  const strength = correlation[first]!;
  for (let times = 2; times * period < lags - 1; times++) {
    const near = highestNear(correlation, Math.round(times * period), Math.max(1, Math.round(period / 10)));
    if (near <= 1 || near >= lags || correlation[near]! < 0.6 * strength) break;
    period = topOf(correlation, near) / times;
  }
  return { period, strength };
}

function highestNear(values: Float64Array, index: number, reach: number): number {
  let best = index;
  for (let i = Math.max(1, index - reach); i <= Math.min(values.length - 2, index + reach); i++)
    if (values[i]! > (values[best] ?? Number.NEGATIVE_INFINITY)) best = i;
  return best;
}

/** Vertex of the parabola through a peak and its neighbours. */
function topOf(values: Float64Array, index: number): number {
  const left = values[index - 1];
  const middle = values[index];
  const right = values[index + 1];
  if (left === undefined || middle === undefined || right === undefined) return index;
  const bend = left - 2 * middle + right;
  if (bend >= 0) return index;
  return index + Math.max(-0.5, Math.min(0.5, (0.5 * (left - right)) / bend));
}
