/**
 * A series' newest values on a log scale of its own, as experts that compare shapes want them.
 *
 * Invariants: every value is finite; gaps hold the last known value, or the first one after.
 */
import type { BatchWindowInput } from './batch-expert.ts';

/** Numbers told beside the values: values known, lowest in units of the scale, highest answer in z, two periods (0: none). */
export const LOG_FEATURES = 5;
const DAY_S = 86_400;

/**
 * Writes z = log(1 + (value - lowest) / scale), right-aligned, and what is told beside it. Fewer than half of the steps
 * known: 0 values are told.
 *
 * @param offset the logarithm starts at this share of the mean
 * @param cyclesMin a period is told that was seen more often than this
 * @returns the scale
 */
export function fillLogWindow(
  input: BatchWindowInput,
  offset: number,
  cyclesMin: number,
  context: Float32Array,
  features: Float32Array,
): number {
  const count = Math.min(context.length, input.length);
  const from = context.length - count;
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
  for (let i = from; i < context.length; i++) context[i] = Math.log1p((context[i]! - lowest) / scale);
  features[0] = known > count / 2 ? count : 0;
  features[1] = lowest / scale;
  features[2] = Math.log1p((2 * highest - least - lowest) / scale);
  const periods = input.periods ?? [DAY_S / input.stepS, (7 * DAY_S) / input.stepS];
  for (let p = 0; p < 2; p++) {
    const period = periods[p] ?? 0;
    features[3 + p] = period >= 2 && count > cyclesMin * period ? period : 0;
  }
  return scale;
}

/** The periods told, in whole steps. */
export function periodsOf(features: Float32Array): number[] {
  return [features[3]!, features[4]!].filter((period) => period > 0).map(Math.round);
}
