/**
 * Readings with times of their own, put on a grid of steps: late ones, doubled ones, gaps and any order.
 *
 * Boundary: pure. Invariants: a step nobody read is missing, not zero; of two readings with one time the later in the line
 * counts; several in one step are their mean, of a counter the last.
 */

/** Steps that a grid may have: one stray time would otherwise make a series of a million years. */
export const GRID_STEPS_MAX = 4_000_000;

/** A step found within this share of whole seconds is of whole seconds. */
const WHOLE_SHARE = 0.001;

export interface Grid {
  /** Unix seconds of the first step. */
  t0: number;
  stepS: number;
  steps: number;
  /** Step of each reading; -1 where its time is no number. */
  stepOf: Int32Array;
}

/**
 * @param times Unix seconds, NaN where unknown
 * @param stepS undefined: the usual distance between neighbours
 * @throws {RangeError} without two known times, or where they span too many steps
 */
export function gridOf(times: Float64Array, stepS: number | undefined): Grid {
  const known = times.filter(Number.isFinite).sort();
  if (known.length === 0) throw new RangeError('"t" holds no time');
  const step = stepS ?? medianDistance(known);
  const t0 = known[0]!;
  const steps = Math.round((known[known.length - 1]! - t0) / step) + 1;
  if (!(steps <= GRID_STEPS_MAX))
    throw new RangeError(
      `"t" spans ${steps} steps of ${step} s; at most ${GRID_STEPS_MAX} are read: is one time in milliseconds?`,
    );
  const stepOf = Int32Array.from(times, (t) => (Number.isFinite(t) ? Math.round((t - t0) / step) : -1));
  return { t0, stepS: step, steps, stepOf };
}

/** Readings on the grid; NaN where nothing was read. `last`: the last of a step counts, not the mean. */
export function onGrid(grid: Grid, times: Float64Array, values: Float64Array, last: boolean): Float64Array {
  const order = Int32Array.from(times, (_, i) => i)
    .filter((i) => grid.stepOf[i]! >= 0 && Number.isFinite(values[i] ?? Number.NaN))
    .sort((a, b) => times[a]! - times[b]! || a - b);
  const found = new Float64Array(grid.steps).fill(Number.NaN);
  const counts = new Float64Array(grid.steps);
  order.forEach((i, at) => {
    // The same time again later in the line: that one counts.
    if (at + 1 < order.length && times[order[at + 1]!] === times[i]) return;
    const step = grid.stepOf[i]!;
    const count = last ? 1 : ++counts[step]!;
    found[step] = count === 1 ? values[i]! : found[step]! + (values[i]! - found[step]!) / count;
  });
  return found;
}

function medianDistance(sorted: Float64Array): number {
  const distances = new Float64Array(Math.max(0, sorted.length - 1));
  for (let i = 1; i < sorted.length; i++) distances[i - 1] = sorted[i]! - sorted[i - 1]!;
  const positive = distances.filter((distance) => distance > 0).sort();
  if (positive.length === 0)
    throw new RangeError('"step_s" is missing, and "t" holds no two different times');
  const median = positive[positive.length >> 1]!;
  // A clock that is a little late now and then has the median off by that much, which over a year is days.
  let steps = 0;
  for (const distance of distances) steps += Math.round(distance / median);
  const mean = (sorted[sorted.length - 1]! - sorted[0]!) / steps;
  const whole = Math.round(mean);
  return Math.abs(mean - whole) < WHOLE_SHARE * mean ? whole : mean;
}
