/**
 * A series taken apart into trend, season and the rest by local regression (STL: Cleveland, Cleveland, McRae and Terpenning,
 * Journal of Official Statistics 6, 1990), without its robust outer loop.
 *
 * Smoothers are evaluated at every few points and are straight in between, as in the paper's own program. Boundary: pure;
 * the series is known at every step.
 */

/** Cycles over which the season of one phase is smoothed. */
const SEASON_CYCLES = 11;
const INNER_LOOPS = 2;
/** A smoother is evaluated at so many points of its window. */
const POINTS_OF_WINDOW = 10;

/**
 * The season of each step, one period beyond the last included: `values.length + period` numbers.
 *
 * @param period steps, two or more; the series has at least two of them
 */
export function seasonOf(values: ArrayLike<number>, period: number): Float64Array {
  const count = values.length;
  const trendSteps = odd((1.5 * period) / (1 - 1.5 / SEASON_CYCLES));
  const lowSteps = odd(period);
  const trend = new Float64Array(count);
  const season = new Float64Array(count + period);
  const detrended = new Float64Array(count);
  const cycles = new Float64Array(count + 2 * period);
  for (let loop = 0; loop < INNER_LOOPS; loop++) {
    for (let i = 0; i < count; i++) detrended[i] = values[i]! - trend[i]!;
    smoothPhases(detrended, period, cycles);
    const low = smoothed(
      movingMean(movingMean(movingMean(cycles, period), period), 3),
      lowSteps,
      Math.ceil(lowSteps / POINTS_OF_WINDOW),
    );
    for (let i = 0; i < count; i++) season[i] = cycles[i + period]! - low[i]!;
    for (let i = 0; i < count; i++) detrended[i] = values[i]! - season[i]!;
    trend.set(smoothed(detrended, trendSteps, Math.ceil(trendSteps / POINTS_OF_WINDOW)));
  }
  for (let i = count; i < count + period; i++) season[i] = season[i - period]!;
  return season;
}

function odd(steps: number): number {
  const whole = Math.ceil(steps);
  return whole % 2 === 1 ? whole : whole + 1;
}

/** Each phase over the cycles, and on for one cycle at both ends: `into[i + period]` is of step `i`. */
function smoothPhases(values: Float64Array, period: number, into: Float64Array): void {
  const most = Math.ceil(values.length / period);
  const phase = new Float64Array(most);
  for (let p = 0; p < period; p++) {
    let count = 0;
    for (let i = p; i < values.length; i += period) phase[count++] = values[i]!;
    for (let at = -1; at <= count; at++) into[p + (at + 1) * period] = weightedMean(phase, count, at);
  }
}

/** Local mean (degree 0) of the first `count` at a place that may lie one beyond them. */
function weightedMean(values: Float64Array, count: number, at: number): number {
  const { from, to, reach } = windowAround(count, SEASON_CYCLES, at);
  let sum = 0;
  let weights = 0;
  for (let i = from; i < to; i++) {
    const weight = tricube(Math.abs(i - at), reach);
    sum += weight * values[i]!;
    weights += weight;
  }
  return weights > 0 ? sum / weights : values[Math.max(0, Math.min(count - 1, at))]!;
}

/** The neighbours of a place, `from` to before `to`, and how far they reach: as far as the window also where they are fewer. */
function windowAround(
  count: number,
  window: number,
  at: number,
): { from: number; to: number; reach: number } {
  const steps = Math.min(window, count);
  const from = Math.max(0, Math.min(count - steps, at - ((window - 1) >> 1)));
  const to = from + steps;
  return { from, to, reach: Math.max(at - from, to - 1 - at) + ((window - steps) >> 1) };
}

function tricube(distance: number, reach: number): number {
  if (distance <= 0.001 * reach) return 1;
  if (distance > 0.999 * reach) return 0;
  const share = distance / reach;
  const rest = 1 - share * share * share;
  return rest * rest * rest;
}

/** Means of `steps` neighbours: `steps - 1` fewer numbers. */
function movingMean(values: Float64Array, steps: number): Float64Array {
  const count = values.length - steps + 1;
  const out = new Float64Array(count);
  let sum = 0;
  for (let i = 0; i < steps; i++) sum += values[i]!;
  out[0] = sum / steps;
  for (let i = 1; i < count; i++) {
    sum += values[i + steps - 1]! - values[i - 1]!;
    out[i] = sum / steps;
  }
  return out;
}

/** Local straight lines over `steps` neighbours, at every `jump`th point, straight in between. */
function smoothed(values: Float64Array, steps: number, jump: number): Float64Array {
  const count = values.length;
  const out = new Float64Array(count);
  let before = 0;
  out[0] = lineAt(values, steps, 0);
  for (let at = 0; before < count - 1; ) {
    at = Math.min(count - 1, before + jump);
    out[at] = lineAt(values, steps, at);
    const slope = (out[at]! - out[before]!) / (at - before);
    for (let i = before + 1; i < at; i++) out[i] = out[before]! + slope * (i - before);
    before = at;
  }
  return out;
}

/** The local line's value at `at`. */
function lineAt(values: Float64Array, window: number, at: number): number {
  const count = values.length;
  const { from, to, reach } = windowAround(count, window, at);
  let weights = 0;
  let place = 0;
  let sum = 0;
  let squares = 0;
  let products = 0;
  for (let i = from; i < to; i++) {
    const off = i - at;
    const weight = tricube(Math.abs(off), reach);
    weights += weight;
    place += weight * off;
    sum += weight * values[i]!;
    squares += weight * off * off;
    products += weight * off * values[i]!;
  }
  if (weights <= 0) return values[at]!;
  const centre = place / weights;
  const spread = squares / weights - centre * centre;
  const mean = sum / weights;
  if (Math.sqrt(spread) <= 0.001 * (count - 1)) return mean;
  return mean - ((products / weights - centre * mean) / spread) * centre;
}
