/**
 * A value in 16 bits: asinh of the value in units of the series' scale, so that a spike of ten thousand times the usual
 * and the ripple of a quiet night both keep three and a half digits. Code 0 is "not known".
 */

/** The code of a missing value. */
export const MISSING = 0;
const REACH = 12;
const HALF = 32_768;
const STEP = REACH / (HALF - 2);
/** Largest value that a code holds, in units of the scale. */
export const CODE_MAX = Math.sinh(REACH);

const TABLE = new Float32Array(2 * HALF);
for (let code = 1; code < 2 * HALF; code++) TABLE[code] = Math.sinh((code - HALF) * STEP);
TABLE[MISSING] = Number.NaN;

export function encode(value: number): number {
  if (Number.isNaN(value)) return MISSING;
  // Math.asinh in a third of its time; what it lacks near zero is far below a step.
  const size = value < 0 ? -value : value;
  const steps = Math.log(size + Math.sqrt(size * size + 1)) / STEP;
  const code = Math.round(value < 0 ? -steps : steps) + HALF;
  return code < 1 ? 1 : code > 2 * HALF - 1 ? 2 * HALF - 1 : code;
}

/** NaN for {@link MISSING}. */
export function decode(code: number): number {
  return TABLE[code]!;
}
