/**
 * What a series was, at up to three resolutions, in 1.2 kB.
 *
 * Invariants: age 0 is the newest step; a missing step takes its place as NaN; means of coarse cells skip it. A look-up
 * takes the finest ring that still holds the age.
 */
import { decode, encode } from './codes.ts';
import { F, type Row } from './layout.ts';

/** Appends one value in units of the scale; NaN for a missing one. `length` already counts it. */
export function pushValue(row: Row, value: number): void {
  const { layout, floats, codes } = row;
  const length = floats[row.f + F.length]! | 0;
  const { ringValues, ringSteps, ringAt } = layout;
  codes[row.c + ((length - 1) % ringValues[0]!)] = encode(value);
  for (let ring = 1; ring < ringSteps.length; ring++) {
    const at = row.f + F.ringSums + 2 * (ring - 1);
    if (!Number.isNaN(value)) {
      floats[at]! += value;
      floats[at + 1]! += 1;
    }
    const width = ringSteps[ring]!;
    if (length % width !== 0) continue;
    const cell = length / width - 1;
    const count = floats[at + 1]!;
    codes[row.c + ringAt[ring]! + (cell % ringValues[ring]!)] = encode(
      count > 0 ? floats[at]! / count : Number.NaN,
    );
    floats[at] = 0;
    floats[at + 1] = 0;
  }
}

/** The value `age` whole steps ago; NaN where unknown or no longer held step by step. */
export function valueAt(row: Row, age: number): number {
  const length = row.floats[row.f + F.length]! | 0;
  const values = row.layout.ringValues[0]!;
  if (age < 0 || age >= length || age >= values) return Number.NaN;
  return decode(row.codes[row.c + ((length - 1 - age) % values)]!);
}

/** The value about `age` steps ago (may be a fraction), straight between its neighbours; NaN where unknown. */
export function around(row: Row, age: number): number {
  const { ringReach } = row.layout;
  const length = row.floats[row.f + F.length]! | 0;
  if (age < 0 || age >= length) return Number.NaN;
  let ring = 0;
  while (age >= ringReach[ring]!) if (++ring >= ringReach.length) return Number.NaN;
  return lookUp(row, ring, length, age);
}

/**
 * Looks up in one ring. Whole numbers are told as such (`| 0`): this is asked a hundred times a step and series, and a
 * remainder of 64-bit floats is a call.
 */
function lookUp(row: Row, ring: number, length: number, age: number): number {
  const { layout, codes } = row;
  const width = layout.ringSteps[ring]! | 0;
  const values = layout.ringValues[ring]! | 0;
  const written = width === 1 ? length : (length / width) | 0;
  // Age of the newest complete cell's centre.
  const newest = length - written * width + (width - 1) / 2;
  const place = (age - newest) / width;
  let left = Math.floor(place) | 0;
  const share = place - left;
  if (left < 0) left = 0;
  if (left >= written || left >= values) return Number.NaN;
  const base = row.c + layout.ringAt[ring]!;
  const cell = ((written - 1 - left) | 0) % values;
  const near = decode(codes[base + cell]!);
  if (share === 0 || left + 1 >= written || left + 1 >= values || place < 0) return near;
  const far = decode(codes[base + (cell === 0 ? values : cell) - 1]!);
  if (Number.isNaN(near)) return far;
  return !Number.isNaN(far) ? near + share * (far - near) : near;
}

/** All that a ring holds, oldest first, in units of the scale; NaN where unknown. */
export function ringContent(row: Row, ring: number): Float64Array {
  const { ringValues, ringSteps, ringAt } = row.layout;
  const written = Math.floor(row.floats[row.f + F.length]! / ringSteps[ring]!);
  const values = ringValues[ring]!;
  const count = Math.min(written, values);
  const content = new Float64Array(count);
  for (let i = 0; i < count; i++)
    content[i] = decode(row.codes[row.c + ringAt[ring]! + ((written - count + i) % values)]!);
  return content;
}
