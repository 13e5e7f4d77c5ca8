/**
 * An expert that answers for many series at once: a trained network, or a model that the user brings.
 *
 * It enters the same weighting as every other expert: its answers are held against what came, per series and horizon,
 * and it has as much say as it earns. This file says what it is given and what it answers; who implements it needs
 * nothing else of the engine.
 *
 * Invariants: what it is given is finite, whatever the series holds; an answer that is not finite is no vote.
 */

/** Numbers of {@link BatchExpert.forecast}'s `features` that come before those of each horizon. */
export const BATCH_FEATURES_STATIC = 10;
/** Numbers for each horizon that follow them. */
export const BATCH_FEATURES_PER_HORIZON = 2;
/** Steps ahead that an expert with {@link BatchExpert.withHorizons} is asked for at once. */
export const BATCH_HORIZONS_MAX = 512;
/** Values whose mean is below this are taken for a level of one: a window of zeros stays a window of zeros. */
const LEVEL_MIN = 1e-9;
const DAY_S = 86_400;
const WEEK_S = 7 * DAY_S;

/**
 * Shapes, all row-major with one row a series:
 *
 * - `contexts`: `count x contextSteps`, oldest first, the newest value last. `asinh(value / level)`, where `level` is
 *   the mean of the absolute known values in this window (1 where that mean is below 1e-9). Gaps and steps before the
 *   series began hold the last known value before them, or the first known one after.
 * - `features`: `count x (BATCH_FEATURES_STATIC + BATCH_FEATURES_PER_HORIZON * horizonSteps.length)`:
 *   0 log10 of the step in seconds; 1 share of known steps in the window (steps before the series began are not
 *   known); 2 share of zeros among the known; 3 log2(1 + steps since the series began) / 16; 4, 5 sine and cosine of
 *   the time of day (UTC) of the newest step, 6, 7 of the time of the week (from Thursday 0:00 UTC, as Unix time);
 *   8 is 1 where a value of one day ago is known for every horizon, else 0; 9 the same for one week ago; then, for each
 *   horizon, two numbers scaled as the context: the value one day before that step (the newest multiple of a day that
 *   is not after the newest step), and one week before. Unknown ones hold the newest value of the context.
 * - `out`: `count x horizonSteps.length x quantiles.length`, scaled as the context: the engine takes
 *   `level * sinh(out)`.
 *
 * @example
 * const lastValue: BatchExpert = {
 *   name: 'last', contextSteps: 8, horizonSteps: [1, 60], quantiles: [0.5],
 *   forecast(contexts, _features, count, out) {
 *     for (let row = 0; row < count; row++) out.fill(contexts[row * 8 + 7]!, row * 2, row * 2 + 2);
 *   },
 * };
 */
export interface BatchExpert {
  /** As shown in explanations. */
  readonly name: string;
  readonly contextSteps: number;
  /** Steps ahead, ascending, from 1. Between them its answers are interpolated; beyond the last it has no say. */
  readonly horizonSteps: readonly number[];
  /** Ascending, 0.5 among them; those between and beyond are taken from the nearest and the engine's own bands. */
  readonly quantiles: readonly number[];
  forecast(contexts: Float32Array, features: Float32Array, count: number, out: Float32Array): void;
  /** Say at p50, p90 and p99 before it was held against anything, against the engine's own 1; usually 0.4, 1 and 1. */
  readonly firstSay?: readonly [number, number, number];
  /**
   * p50, p90 and p99 of the largest value from the next step to each horizon, scaled as `forecast` answers: `out` is
   * `count x horizonSteps.length x 3`. Used by an expert that also has {@link withHorizons}.
   */
  forecastMax?(contexts: Float32Array, features: Float32Array, count: number, out: Float32Array): void;
  /** Numbers of one row of `features`, for an expert that writes its own rows; else {@link batchFeatureCount}. */
  readonly featureWidth?: number;
  /**
   * Writes one row in the expert's own form in place of {@link writeBatchWindow} (the trained network sees profiles and
   * levels, not only the window): `contextSteps` numbers of `contexts`, `featureWidth` of `features`. Returns the level.
   */
  write?(input: BatchWindowInput, row: number, contexts: Float32Array, features: Float32Array): number;
  /**
   * The same expert asked at other steps ahead (ascending, at most {@link BATCH_HORIZONS_MAX}); cheap. An expert that
   * has this is asked at exactly the steps wanted, and nothing is interpolated: between 1 and 2 days lies a night.
   */
  withHorizons?(horizonSteps: readonly number[]): BatchExpert;
}

export function batchFeatureCount(expert: Pick<BatchExpert, 'horizonSteps'>): number {
  return BATCH_FEATURES_STATIC + BATCH_FEATURES_PER_HORIZON * expert.horizonSteps.length;
}

/** What one row is made from. */
export interface BatchWindowInput {
  /** The value `age` steps before the newest (age 0); NaN where unknown. */
  at: (age: number) => number;
  /** Steps since the series began. */
  length: number;
  stepS: number;
  /** Unix seconds of the newest step; NaN where nobody knows. */
  atS: number;
  /** Steps of the periods believed in, strongest first, fractional; without it a day and a week where they fit. */
  periods?: readonly number[];
}

/**
 * Writes one series' row of `contexts` and `features` as {@link BatchExpert} documents them.
 *
 * @returns the level to multiply with
 */
export function writeBatchWindow(
  expert: Pick<BatchExpert, 'contextSteps' | 'horizonSteps'>,
  input: BatchWindowInput,
  row: number,
  contexts: Float32Array,
  features: Float32Array,
): number {
  const { contextSteps, horizonSteps } = expert;
  const { at, length, stepS, atS } = input;
  let sum = 0;
  let known = 0;
  let zeros = 0;
  let first = 0;
  for (let age = Math.min(contextSteps, length) - 1; age >= 0; age--) {
    const value = at(age);
    if (!Number.isFinite(value)) continue;
    if (known === 0) first = value;
    known++;
    sum += Math.abs(value);
    if (value === 0) zeros++;
  }
  const mean = known > 0 ? sum / known : 0;
  const level = mean < LEVEL_MIN ? 1 : mean;
  let last = Math.asinh(first / level);
  const from = row * contextSteps;
  for (let i = 0; i < contextSteps; i++) {
    const age = contextSteps - 1 - i;
    const value = age < length ? at(age) : Number.NaN;
    if (Number.isFinite(value)) last = Math.asinh(value / level);
    contexts[from + i] = last;
  }
  const width = BATCH_FEATURES_STATIC + BATCH_FEATURES_PER_HORIZON * horizonSteps.length;
  const f = row * width;
  features[f] = Math.log10(stepS);
  features[f + 1] = known / contextSteps;
  features[f + 2] = known > 0 ? zeros / known : 1;
  features[f + 3] = Math.log2(1 + length) / 16;
  const timed = Number.isFinite(atS);
  const day = timed ? ((atS % DAY_S) / DAY_S) * 2 * Math.PI : 0;
  const week = timed ? ((atS % WEEK_S) / WEEK_S) * 2 * Math.PI : 0;
  features[f + 4] = timed ? Math.sin(day) : 0;
  features[f + 5] = timed ? Math.cos(day) : 0;
  features[f + 6] = timed ? Math.sin(week) : 0;
  features[f + 7] = timed ? Math.cos(week) : 0;
  [DAY_S, WEEK_S].forEach((periodS, p) => {
    const period = Math.round(periodS / stepS);
    let all = period >= 2 ? 1 : 0;
    horizonSteps.forEach((ahead, h) => {
      const age = period >= 2 ? period * Math.ceil(ahead / period) - ahead : length;
      const value = age < length ? at(age) : Number.NaN;
      const isKnown = Number.isFinite(value);
      if (!isKnown) all = 0;
      features[f + BATCH_FEATURES_STATIC + BATCH_FEATURES_PER_HORIZON * h + p] = isKnown
        ? Math.asinh(value / level)
        : last;
    });
    features[f + 8 + p] = all;
  });
  return level;
}

/** A recorded series, evenly spaced. */
export interface BatchSeries {
  values: ArrayLike<number>;
  /** Seconds of a step, and Unix seconds of the first value. */
  stepS: number;
  t0: number;
}

/** What the expert is to see of one series at each origin (how many values are known), and the level each row was divided by. */
export function writeBatchWindows(
  expert: BatchExpert,
  { values, stepS, t0 }: BatchSeries,
  origins: readonly number[],
  periods: readonly number[] | undefined,
): { contexts: Float32Array; features: Float32Array; levels: number[] } {
  const contexts = new Float32Array(origins.length * expert.contextSteps);
  const features = new Float32Array(origins.length * (expert.featureWidth ?? batchFeatureCount(expert)));
  const levels = origins.map((origin, row) => {
    const input = {
      at: (age: number) => values[origin - 1 - age] ?? Number.NaN,
      length: origin,
      stepS,
      atS: t0 + (origin - 1) * stepS,
      ...(periods && { periods }),
    };
    return expert.write
      ? expert.write(input, row, contexts, features)
      : writeBatchWindow(expert, input, row, contexts, features);
  });
  return { contexts, features, levels };
}
