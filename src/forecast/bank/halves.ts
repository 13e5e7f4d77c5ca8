/**
 * Numbers in 16 bits as IEEE 754 has it: three and a third digits from 6e-5 to 65,504, fewer below. For what is averaged
 * anyway: answers in flight, losses. Code 0 is "not known", zero is the negative one.
 */

/** The code of a missing value. */
export const MISSING = 0;
const ZERO = 0x8000;
const LARGEST = 0x7bff;
/** Bits of 2^-14, the least with all its digits, and of 65,520, from where on it is infinite, as 32-bit floats. */
const LEAST = 0x38800000;
const BEYOND = 0x477ff000;

const float = new Float32Array(1);
const bits = new Int32Array(float.buffer);

/** Nearest; beyond the largest: that. */
export function toHalf(value: number): number {
  float[0] = value;
  const all = bits[0]!;
  const size = all & 0x7fffffff;
  const sign = (all >>> 16) & 0x8000;
  if (size >= LEAST) {
    if (size >= BEYOND) return size > 0x7f800000 ? MISSING : sign | LARGEST;
    return sign | ((size - 0x38000000 + 0x1000) >> 13);
  }
  const code = Math.round((value < 0 ? -value : value) * 2 ** 24);
  return code === 0 ? ZERO : sign | code;
}

/** NaN for {@link MISSING}. */
export function fromHalf(code: number): number {
  if (code === MISSING) return Number.NaN;
  const size = sizeOf(code & 0x7fff);
  return code >= 0x8000 ? -size : size;
}

/** Of what is never below zero and always known, such as a loss: code 0 is zero, and codes ascend as numbers do. */
export function toSize(value: number): number {
  return toHalf(value) & 0x7fff;
}

export function sizeOf(code: number): number {
  // Bits moved to where a 32-bit float has them, and its exponent made up for.
  bits[0] = code << 13;
  return float[0]! * 2 ** 112;
}
