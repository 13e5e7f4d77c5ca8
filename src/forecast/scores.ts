/**
 * How good a forecast was: scaled quantile loss, MASE, coverage, the maximum over windows. Same rules for every
 * forecaster; every denominator is floored, so that a constant series divides nothing by nothing.
 */

/** Floors of the denominators. */
export const DEVIATION_FLOOR_OF_LEVEL = 0.01;
export const DEVIATION_FLOOR = 1e-6;
export const NAIVE_FLOOR_OF_DEVIATION = 0.02;

/** Mean and standard deviation of the context, the latter floored; the scale of seasonal naive within it. */
export interface ContextScale {
  deviation: number;
  naive: number;
}

/** @param season steps; 1: none */
export function contextScale(context: ArrayLike<number>, season: number): ContextScale {
  let count = 0;
  let sum = 0;
  let absolute = 0;
  for (let i = 0; i < context.length; i++) {
    const value = context[i]!;
    if (Number.isNaN(value)) continue;
    count++;
    sum += value;
    absolute += Math.abs(value);
  }
  if (count === 0) return { deviation: DEVIATION_FLOOR, naive: DEVIATION_FLOOR };
  const mean = sum / count;
  let squares = 0;
  let steps = 0;
  let pairs = 0;
  for (let i = 0; i < context.length; i++) {
    const value = context[i]!;
    if (Number.isNaN(value)) continue;
    squares += (value - mean) ** 2;
    const before = i >= season ? context[i - season]! : Number.NaN;
    if (Number.isNaN(before)) continue;
    steps += Math.abs(value - before);
    pairs++;
  }
  const deviation = Math.max(
    Math.sqrt(squares / count),
    (DEVIATION_FLOOR_OF_LEVEL * absolute) / count,
    DEVIATION_FLOOR,
  );
  return {
    deviation,
    naive: Math.max(pairs > 0 ? steps / pairs : 0, NAIVE_FLOOR_OF_DEVIATION * deviation),
  };
}

export function pinballLoss(value: number, quantile: number, level: number): number {
  const off = value - quantile;
  return off > 0 ? level * off : (level - 1) * off;
}

/** Sums over the steps of one or more forecasts; {@link meansOf} makes them figures. */
export interface ScoreSums {
  forecasts: number;
  sql: number;
  sqlFirst: number;
  forecastsFirst: number;
  mase: number;
  steps: number;
  /** Realised counts of y at or below each quantile; a tie counts as the quantile's own level. */
  covered: number[];
  maxima: number;
  maximaLoss: number;
  maximaCovered: number;
}

export function emptyScore(levels: number): ScoreSums {
  return {
    forecasts: 0,
    sql: 0,
    sqlFirst: 0,
    forecastsFirst: 0,
    mase: 0,
    steps: 0,
    covered: new Array<number>(levels).fill(0),
    maxima: 0,
    maximaLoss: 0,
    maximaCovered: 0,
  };
}

/** Steps of {@link ScoreMeans.sqlFirst}. */
export const FIRST_STEPS = 15;

/**
 * Adds one forecast.
 *
 * @param quantiles `quantiles[q][h]`
 * @param levels one of them 0.5
 * @param maxima p90 of the maximum over the first `window` steps
 */
export function addScore(
  sums: ScoreSums,
  truth: ArrayLike<number>,
  quantiles: readonly ArrayLike<number>[],
  levels: readonly number[],
  scale: ContextScale,
  maxima: readonly { window: number; p90: number }[] = [],
): void {
  const median = levels.indexOf(0.5);
  let loss = 0;
  let lossFirst = 0;
  let absolute = 0;
  let known = 0;
  let first = 0;
  for (let h = 0; h < truth.length; h++) {
    const value = truth[h]!;
    if (Number.isNaN(value)) continue;
    let sum = 0;
    for (let q = 0; q < levels.length; q++) {
      const quantile = quantiles[q]![h]!;
      sum += (2 * pinballLoss(value, quantile, levels[q]!)) / levels.length;
      sums.covered[q]! += value < quantile ? 1 : value > quantile ? 0 : levels[q]!;
    }
    loss += sum / scale.deviation;
    if (h < FIRST_STEPS) {
      lossFirst += sum / scale.deviation;
      first++;
    }
    if (median >= 0) absolute += Math.abs(value - quantiles[median]![h]!) / scale.naive;
    known++;
  }
  if (known === 0) return;
  sums.forecasts++;
  sums.sql += loss / known;
  sums.mase += absolute / known;
  sums.steps += known;
  if (first > 0) {
    sums.sqlFirst += lossFirst / first;
    sums.forecastsFirst++;
  }
  for (const { window, p90 } of maxima) {
    let highest = Number.NEGATIVE_INFINITY;
    for (let h = 0; h < Math.min(window, truth.length); h++) if (truth[h]! > highest) highest = truth[h]!;
    if (highest === Number.NEGATIVE_INFINITY || truth.length < window) continue;
    sums.maxima++;
    sums.maximaLoss += (2 * pinballLoss(highest, p90, 0.9)) / scale.deviation;
    sums.maximaCovered += highest < p90 ? 1 : highest > p90 ? 0 : 0.9;
  }
}

export interface ScoreMeans {
  forecasts: number;
  /** Mean over quantiles of 2 x pinball loss over the context's deviation. */
  sql: number;
  /** The same over the first 15 steps. */
  sqlFirst: number;
  mase: number;
  coverage: number[];
  maximumLoss: number;
  maximumCoverage: number;
}

export function meansOf(sums: ScoreSums): ScoreMeans {
  return {
    forecasts: sums.forecasts,
    sql: sums.sql / sums.forecasts,
    sqlFirst: sums.sqlFirst / sums.forecastsFirst,
    mase: sums.mase / sums.forecasts,
    coverage: sums.covered.map((count) => count / sums.steps),
    maximumLoss: sums.maximaLoss / sums.maxima,
    maximumCoverage: sums.maximaCovered / sums.maxima,
  };
}

/** Seasonal naive as a forecaster of quantiles: the value a season before, with normal bands from its own past errors. */
export function seasonalNaive(
  context: ArrayLike<number>,
  season: number,
  horizon: number,
  levels: readonly number[],
  normal: (level: number) => number,
): Float64Array[] {
  let squares = 0;
  let pairs = 0;
  let last = 0;
  const filled = new Float64Array(context.length);
  for (let i = 0; i < context.length; i++) {
    if (!Number.isNaN(context[i]!)) last = context[i]!;
    filled[i] = last;
    if (i < season) continue;
    squares += (filled[i]! - filled[i - season]!) ** 2;
    pairs++;
  }
  const sigma = Math.sqrt(squares / Math.max(1, pairs));
  return levels.map((level) =>
    Float64Array.from({ length: horizon }, (_, h) => {
      const cycles = Math.floor(h / season) + 1;
      const at = context.length + h - season * cycles;
      return (at >= 0 ? filled[at]! : last) + normal(level) * sigma * Math.sqrt(cycles);
    }),
  );
}
