/**
 * A value in 16 bits: asinh of the value in units of the series' scale, so that a spike of ten thousand times the usual
 * and the ripple of a quiet night both keep three and a half digits. Code 0 is "not known", {@link HALF} is zero.
 */

import { asinh } from '../powers.ts';

/** The code of a missing value. */
export const MISSING = 0;
/** The code of zero. */
export const HALF = 32_768;
const STEP = 12 / (HALF - 2);
/** Codes lie within so many of {@link HALF}: values to 60,000, and room for a block's grid beyond. */
const STEPS_MAX = 32_000;

/** By code; NaN for {@link MISSING}. */
export const DECODED = new Float32Array(2 * HALF);
for (let code = 1; code < 2 * HALF; code++) DECODED[code] = Math.sinh((code - HALF) * STEP);
DECODED[MISSING] = Number.NaN;

export function encode(value: number): number {
  if (Number.isNaN(value)) return MISSING;
  const steps = Math.round(asinh(value) / STEP);
  return HALF + (steps < -STEPS_MAX ? -STEPS_MAX : steps > STEPS_MAX ? STEPS_MAX : steps);
}

/** NaN for {@link MISSING}. */
export function decode(code: number): number {
  return DECODED[code]!;
}
