/**
 * What a series was, at up to three resolutions, in 0.8 kB.
 *
 * A value is a byte on the scale of its block of 16 ({@link HISTORY_BLOCK}), which reaches from the block's least to its
 * largest: off by a 500th of the range of the 16 values around it, on the asinh axis of `codes.ts`. That is a hundredth of
 * the noise of most loads. Scales are multiples of a code's step, counted from zero, so that zeros stay zeros.
 *
 *   block: [start, low byte][start, high byte][step][value 0] ... [value 15]     code = HALF + step * (start + value - 1)
 *
 * Invariants: age 0 is the newest step; a missing step takes its place as NaN; means of coarse cells skip it. A look-up
 * takes the finest ring that still holds the age.
 */
import { DECODED, encode, HALF, MISSING } from './codes.ts';
import { F, HISTORY_BLOCK, HISTORY_BLOCK_BYTES, type Row } from './layout.ts';

/** Values of a byte, but for the missing one, less what rounding to the grid takes at both ends. */
const BLOCK_STEPS = 252;
const MIDDLE = 128;
const WITHIN_MASK = HISTORY_BLOCK - 1;
const WITHIN_BITS = Math.log2(HISTORY_BLOCK);
const VALUES_AT = 3;

/** Appends one value in units of the scale; NaN for a missing one. `length` already counts it. */
export function pushValue(row: Row, value: number): void {
  const { ringSteps } = row.layout;
  const length = row.floats[row.f + F.length]! | 0;
  keep(row, 0, length - 1, value);
  for (let ring = 1; ring < ringSteps.length; ring++) {
    const width = ringSteps[ring]! | 0;
    if (length % width === 0) keep(row, ring, ((length / width) | 0) - 1, newestMean(row, length, width));
  }
}

/** Mean of what the finest ring holds of the newest steps; NaN where none of them is known. */
function newestMean(row: Row, length: number, steps: number): number {
  const cells = row.layout.ringCells[0]! | 0;
  let sum = 0;
  let count = 0;
  for (let step = length - steps; step < length; step++) {
    const value = read(row, 0, step % cells);
    if (Number.isNaN(value)) continue;
    sum += value;
    count++;
  }
  return count > 0 ? sum / count : Number.NaN;
}

/** Writes one cell; the first of a block begins it anew. `cell` counts from the series' begin. */
function keep(row: Row, ring: number, cell: number, value: number): void {
  const { layout, bytes } = row;
  const place = cell % layout.ringCells[ring]!;
  const block = row.b + layout.ringAt[ring]! + (place >> WITHIN_BITS) * HISTORY_BLOCK_BYTES;
  const within = place & WITHIN_MASK;
  if (within === 0) bytes.fill(0, block + VALUES_AT, block + HISTORY_BLOCK_BYTES);
  put(bytes, block, within, encode(value));
}

/** Writes one value of a block; those after it are missing. */
function put(bytes: Uint8Array, block: number, within: number, code: number): void {
  if (code === MISSING) return;
  const values = block + VALUES_AT;
  let known = false;
  for (let i = 0; i < within; i++) if (bytes[values + i]! !== MISSING) known = true;
  if (!known) {
    // Half the scale that the block had is a guess at the one that it will need.
    const step = bytes[block + 2]! >> 1 || 1;
    setScale(bytes, block, Math.round((code - HALF) / step) - MIDDLE, step);
  }
  if (!write(bytes, block, within, code)) {
    widen(bytes, block, code);
    write(bytes, block, within, code);
  }
}

/** False where the value lies outside of the block's scale. */
function write(bytes: Uint8Array, block: number, within: number, code: number): boolean {
  const q = 1 + Math.round((code - HALF) / bytes[block + 2]!) - startOf(bytes, block);
  if (q < 1 || q > 255) return false;
  bytes[block + VALUES_AT + within] = q;
  return true;
}

function startOf(bytes: Uint8Array, block: number): number {
  return ((bytes[block]! | (bytes[block + 1]! << 8)) << 16) >> 16;
}

function setScale(bytes: Uint8Array, block: number, start: number, step: number): void {
  bytes[block] = start & 255;
  bytes[block + 1] = (start >> 8) & 255;
  bytes[block + 2] = step;
}

/** Gives a block the scale that its values and one more need. */
function widen(bytes: Uint8Array, block: number, code: number): void {
  const values = block + VALUES_AT;
  const before = bytes[block + 2]!;
  const startBefore = startOf(bytes, block);
  let low = code - HALF;
  let high = low;
  for (let i = 0; i < HISTORY_BLOCK; i++) {
    if (bytes[values + i] === MISSING) continue;
    const steps = before * (startBefore + bytes[values + i]! - 1);
    if (steps < low) low = steps;
    if (steps > high) high = steps;
  }
  const step = Math.max(1, Math.ceil((high - low) / BLOCK_STEPS));
  const first = Math.round(low / step);
  // What is left of the byte's room lies on both sides.
  const start = first - ((254 - (Math.round(high / step) - first)) >> 1);
  setScale(bytes, block, start, step);
  for (let i = 0; i < HISTORY_BLOCK; i++)
    if (bytes[values + i] !== MISSING)
      bytes[values + i] = 1 + Math.round((before * (startBefore + bytes[values + i]! - 1)) / step) - start;
}

function read(row: Row, ring: number, place: number): number {
  const { bytes } = row;
  const block = row.b + row.layout.ringAt[ring]! + (place >> WITHIN_BITS) * HISTORY_BLOCK_BYTES;
  const q = bytes[block + VALUES_AT + (place & WITHIN_MASK)]!;
  if (q === MISSING) return Number.NaN;
  return DECODED[HALF + bytes[block + 2]! * (startOf(bytes, block) + q - 1)]!;
}

/** The value `age` whole steps ago; NaN where unknown or no longer held step by step. */
export function valueAt(row: Row, age: number): number {
  const { layout } = row;
  const length = row.floats[row.f + F.length]! | 0;
  if (age < 0 || age >= length || age >= layout.ringValues[0]!) return Number.NaN;
  return read(row, 0, (length - 1 - age) % layout.ringCells[0]!);
}

/**
 * How far each ring of the row looked at last is: it is asked a hundred times between two steps. Whole numbers are kept as
 * such, since a remainder of 64-bit floats is a call.
 */
const RINGS_MAX = 3;
const seen = {
  bytes: undefined as Uint8Array | undefined,
  b: 0,
  length: 0,
  /** Complete cells, age of the newest one's centre, and its place. */
  written: new Int32Array(RINGS_MAX),
  newest: new Float64Array(RINGS_MAX),
  place: new Int32Array(RINGS_MAX),
};

function see(row: Row): number {
  const length = row.floats[row.f + F.length]! | 0;
  if (seen.bytes === row.bytes && seen.b === row.b && seen.length === length) return length;
  seen.bytes = row.bytes;
  seen.b = row.b;
  seen.length = length;
  const { ringSteps, ringCells } = row.layout;
  for (let ring = 0; ring < ringSteps.length; ring++) {
    const width = ringSteps[ring]! | 0;
    const written = width === 1 ? length : (length / width) | 0;
    seen.written[ring] = written;
    seen.newest[ring] = length - written * width + (width - 1) / 2;
    seen.place[ring] = written === 0 ? 0 : ((written - 1) | 0) % (ringCells[ring]! | 0);
  }
  return length;
}

/** The value about `age` steps ago (may be a fraction), straight between its neighbours; NaN where unknown. */
export function around(row: Row, age: number): number {
  const { ringReach } = row.layout;
  const length = see(row);
  if (age < 0 || age >= length) return Number.NaN;
  let ring = 0;
  while (age >= ringReach[ring]!) if (++ring >= ringReach.length) return Number.NaN;
  const { layout } = row;
  const written = seen.written[ring]!;
  const values = layout.ringValues[ring]! | 0;
  const cells = layout.ringCells[ring]! | 0;
  const place = (age - seen.newest[ring]!) / layout.ringSteps[ring]!;
  let left = Math.floor(place) | 0;
  const share = place - left;
  if (left < 0) left = 0;
  if (left >= written || left >= values) return Number.NaN;
  let cell = seen.place[ring]! - left;
  if (cell < 0) cell += cells;
  const near = read(row, ring, cell);
  if (share === 0 || left + 1 >= written || left + 1 >= values || place < 0) return near;
  const far = read(row, ring, (cell === 0 ? cells : cell) - 1);
  if (Number.isNaN(near)) return far;
  return !Number.isNaN(far) ? near + share * (far - near) : near;
}

/** Cycles that a profile averages, and the weight of each against the next newer one. */
const CYCLES = 7;
const CYCLE_KEEP = 0.75;
/** Of fewer cycles, counted by their weights, nobody knows whether they agree. */
const CYCLES_AGREE_MIN = 1.5;

/**
 * Mean over past cycles of what was at a phase, smoothed: half of what was there, a quarter each of what was `width` steps
 * before and after. NaN before any is known.
 *
 * Where a job begins at the same minute every day smoothing would blur it. How far the mean of what was there itself is from the
 * smoothed one is held against how well the cycles agree on it: what is beyond their noise is kept (positive part of James and Stein
 * 1961, with the noise of each phase told by its own cycles).
 *
 * Asked a hundred times a step and series: where all of a cycle's part lies within one ring and is known, it is read here
 * and not by calls, whose numbers would be allotted one by one.
 *
 * @param age steps ago of the newest cycle's moment, from 0
 */
export function overCycles(row: Row, period: number, age: number, width: number): number {
  const { layout, bytes } = row;
  const { ringReach, ringSteps } = layout;
  const length = see(row);
  let sum = 0;
  let weights = 0;
  let squares = 0;
  let middles = 0;
  let middleSquares = 0;
  let isSharp = width >= 1;
  let weight = 1;
  for (let cycle = 0; cycle < CYCLES && age < length; cycle++, age += period) {
    const last = age + width;
    let value = Number.NaN;
    let middle = Number.NaN;
    let ring = 0;
    while (ring < ringReach.length && last >= ringReach[ring]!) ring++;
    if (
      ring < ringReach.length &&
      age >= width &&
      last < length &&
      (ring === 0 || age - width >= ringReach[ring - 1]!)
    ) {
      const per = 1 / ringSteps[ring]!;
      const half = width * per;
      const first = (age - width - seen.newest[ring]!) * per;
      if (first >= 0 && first + 2 * half + 2 < seen.written[ring]!) {
        const all = layout.ringCells[ring]! | 0;
        const from = row.b + layout.ringAt[ring]!;
        value = 0;
        for (let i = 0; i < 3; i++) {
          const at = first + i * half;
          const left = Math.floor(at) | 0;
          let place = seen.place[ring]! - left;
          if (place < 0) place += all;
          let block = from + (place >> WITHIN_BITS) * HISTORY_BLOCK_BYTES;
          let q = bytes[block + VALUES_AT + (place & WITHIN_MASK)]!;
          let start = ((bytes[block]! | (bytes[block + 1]! << 8)) << 16) >> 16;
          const near = DECODED[q === MISSING ? MISSING : HALF + bytes[block + 2]! * (start + q - 1)]!;
          place = (place === 0 ? all : place) - 1;
          block = from + (place >> WITHIN_BITS) * HISTORY_BLOCK_BYTES;
          q = bytes[block + VALUES_AT + (place & WITHIN_MASK)]!;
          start = ((bytes[block]! | (bytes[block + 1]! << 8)) << 16) >> 16;
          const far = DECODED[q === MISSING ? MISSING : HALF + bytes[block + 2]! * (start + q - 1)]!;
          const part = near + (at - left) * (far - near);
          if (i === 1) middle = part;
          value += (i === 1 ? 0.5 : 0.25) * part;
        }
      }
    }
    if (Number.isNaN(value)) {
      value = smoothed(row, age, width);
      middle = around(row, age);
    }
    if (!Number.isNaN(value)) {
      // A cell of many steps has no edges.
      if (ringSteps[ring]! > width) isSharp = false;
      sum += weight * value;
      weights += weight;
      squares += weight * weight;
      middles += weight * middle;
      middleSquares += weight * middle * middle;
    }
    weight *= CYCLE_KEEP;
  }
  if (weights === 0) return Number.NaN;
  const smooth = sum / weights;
  const cycles = (weights * weights) / squares;
  if (!isSharp || cycles < CYCLES_AGREE_MIN) return smooth;
  const mean = middles / weights;
  const noise = Math.max(0, middleSquares / weights - mean * mean) / (cycles - 1);
  const edge = mean - smooth;
  return edge * edge > noise ? smooth + edge * (1 - noise / (edge * edge)) : smooth;
}

/** The three parts one by one; what is unknown before or after counts as the middle, and NaN without that. */
function smoothed(row: Row, age: number, width: number): number {
  const centre = around(row, age);
  if (Number.isNaN(centre)) return centre;
  const newer = around(row, age > width ? age - width : 0);
  const older = around(row, age + width);
  return (
    0.5 * centre +
    0.25 * (!Number.isNaN(newer) ? newer : centre) +
    0.25 * (!Number.isNaN(older) ? older : centre)
  );
}

/** All that a ring holds, oldest first, in units of the scale; NaN where unknown. */
export function ringContent(row: Row, ring: number): Float64Array {
  const content = new Float64Array(valuesHeld(row, ring));
  readRing(row, ring, content);
  return content;
}

function valuesHeld({ layout, floats, f }: Row, ring: number): number {
  const written = ((floats[f + F.length]! | 0) / layout.ringSteps[ring]!) | 0;
  return Math.min(written, layout.ringValues[ring]!);
}

/** As {@link ringContent}, into memory that has room for it; how many values there are. */
export function readRing(row: Row, ring: number, into: Float64Array): number {
  const { layout, bytes } = row;
  const written = ((row.floats[row.f + F.length]! | 0) / layout.ringSteps[ring]!) | 0;
  const cells = layout.ringCells[ring]!;
  const count = valuesHeld(row, ring);
  let place = (written - count) % cells;
  for (let i = 0; i < count; ) {
    const within = place & WITHIN_MASK;
    const block = row.b + layout.ringAt[ring]! + (place >> WITHIN_BITS) * HISTORY_BLOCK_BYTES;
    const step = bytes[block + 2]!;
    const first = HALF + step * (startOf(bytes, block) - 1);
    const part = Math.min(HISTORY_BLOCK - within, count - i);
    for (let k = 0; k < part; k++) {
      const q = bytes[block + VALUES_AT + within + k]!;
      into[i + k] = DECODED[q === MISSING ? MISSING : first + step * q]!;
    }
    i += part;
    place += part;
    if (place === cells) place = 0;
  }
  return count;
}

/** History in another scale: all values times a factor. */
export function scaleHistory(row: Row, factor: number): void {
  const { layout, bytes } = row;
  layout.ringCells.forEach((cells, ring) => {
    for (let first = 0; first < cells; first += HISTORY_BLOCK) {
      const block = row.b + layout.ringAt[ring]! + (first / HISTORY_BLOCK) * HISTORY_BLOCK_BYTES;
      const before = Array.from({ length: HISTORY_BLOCK }, (_, i) => read(row, ring, first + i));
      bytes.fill(0, block + VALUES_AT, block + HISTORY_BLOCK_BYTES);
      before.forEach((value, i) => {
        put(bytes, block, i, encode(value * factor));
      });
    }
  });
}
