/**
 * A series' newest values on a log scale of its own, as experts that compare shapes want them.
 *
 * Invariants: every value is finite; gaps hold the last known value, or the first one after.
 */
import type { BatchWindowInput } from './batch-expert.ts';

/** Numbers told beside the values: values known, lowest in units of the scale, highest answer in z, two periods (0: none). */
export const LOG_FEATURES = 5;
/** How far back is looked: two weeks of 5 minutes. */
export const LOG_STEPS = 4096;
const DAY_S = 86_400;

/**
 * Writes one row of `contexts` and `features`: z = log(1 + (value - lowest) / scale), right-aligned, and what is told beside it.
 * Fewer than half of the steps known: 0 values are told.
 *
 * @param offset the logarithm starts at this share of the mean
 * @param cyclesMin a period is told that was seen more often than this
 * @returns the scale
 */
export function writeLogWindow(
  input: BatchWindowInput,
  { offset, cyclesMin }: { offset: number; cyclesMin: number },
  row: number,
  contexts: Float32Array,
  features: Float32Array,
): number {
  const context = contexts.subarray(row * LOG_STEPS, (row + 1) * LOG_STEPS);
  const at = row * LOG_FEATURES;
  const count = Math.min(LOG_STEPS, input.length);
  const from = LOG_STEPS - count;
  let sum = 0;
  let known = 0;
  let lowest = 0;
  let highest = Number.NEGATIVE_INFINITY;
  let least = Number.POSITIVE_INFINITY;
  let last = Number.NaN;
  for (let i = 0; i < count; i++) {
    const value = input.at(count - 1 - i);
    if (Number.isFinite(value)) {
      sum += Math.abs(value);
      known++;
      if (value < least) least = value;
      if (value > highest) highest = value;
      if (Number.isNaN(last)) context.fill(value, from, from + i);
      last = value;
    }
    context[from + i] = last;
  }
  if (least < lowest) lowest = least;
  const scale = Math.max((offset * sum) / Math.max(1, known), 1e-12);
  for (let i = from; i < LOG_STEPS; i++) context[i] = Math.log1p((context[i]! - lowest) / scale);
  features[at] = known > count / 2 ? count : 0;
  features[at + 1] = lowest / scale;
  features[at + 2] = Math.log1p((2 * highest - least - lowest) / scale);
  const periods = input.periods ?? [DAY_S / input.stepS, (7 * DAY_S) / input.stepS];
  for (let p = 0; p < 2; p++) {
    const period = periods[p] ?? 0;
    features[at + 3 + p] = period >= 2 && count > cyclesMin * period ? period : 0;
  }
  return scale;
}

/**
 * Answers row by row, three quantiles a horizon; NaN, which is no vote, where fewer than `lengthMin` values are told.
 *
 * @param answer z of the series, the newest last; what is told beside it; where its answers go
 */
export function answerLogWindows(
  contexts: Float32Array,
  features: Float32Array,
  count: number,
  out: Float32Array,
  lengthMin: number,
  answer: (z: Float32Array, features: Float32Array, out: Float32Array) => void,
): void {
  const width = out.length / count;
  for (let row = 0; row < count; row++) {
    const told = features.subarray(row * LOG_FEATURES, (row + 1) * LOG_FEATURES);
    const to = (row + 1) * LOG_STEPS;
    const answers = out.subarray(row * width, (row + 1) * width);
    if (told[0]! < lengthMin) answers.fill(Number.NaN);
    else answer(contexts.subarray(to - told[0]!, to), told, answers);
  }
}

/** The periods told, in whole steps. */
export function periodsOf(features: Float32Array): number[] {
  return [features[3]!, features[4]!].filter((period) => period > 0).map(Math.round);
}
