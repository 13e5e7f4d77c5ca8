/**
 * Distribution of standardised errors in 24 bins of a byte, old ones fading: quantiles of any shape from few samples, by
 * way of a prior that is worth some samples.
 *
 * Bins are even on an asinh axis: fine where errors usually are, open to one of fifty times the usual.
 */

import { asinh } from '../powers.ts';
import { BINS, type Row, WORD_BYTES } from './layout.ts';

const STRETCH = 1.5;
const PER_UNIT = 4;
const ORIGIN = 9;
/** Words below it; one bin more is. */
const ORIGIN_WORDS = 2;
/** A full bin: all are halved. */
const BIN_MAX = 255;

export function binOf(error: number): number {
  const bin = Math.floor(asinh(error * STRETCH) * PER_UNIT + ORIGIN);
  return bin < 0 ? 0 : bin >= BINS ? BINS - 1 : bin;
}

/** The error at the lower edge of each bin, and hyperbolic cosines there. */
const EDGES = Float64Array.from({ length: BINS + 1 }, (_, i) => Math.sinh((i - ORIGIN) / PER_UNIT) / STRETCH);
const EDGES_COSH = Float64Array.from(
  { length: BINS + 1 },
  (_, i) => Math.cosh((i - ORIGIN) / PER_UNIT) / STRETCH,
);

/**
 * The error at a share of the way through a bin: sinh of a sum, whose second part is at most a quarter, so that its
 * series to the ninth power is exact. Math.sinh takes five times as long.
 */
function errorAt(bin: number, share: number): number {
  const x = share * (1 / PER_UNIT);
  const y = x * x;
  const sinh = x * (1 + y * (1 / 6 + y * (1 / 120 + y * (1 / 5040 + y * (1 / 362_880)))));
  const cosh = 1 + y * (1 / 2 + y * (1 / 24 + y * (1 / 720 + y * (1 / 40_320))));
  return EDGES[bin]! * cosh + EDGES_COSH[bin]! * sinh;
}

/** Where bins are: bytes, and the same memory in words. */
export type Bins = Pick<Row, 'bytes' | 'words'>;

/** Bytes 0 and 2 of a word. */
const EVEN = 0x00ff00ff;

/** Samples in `count` words of bins from the byte `at`: four bins at a time, of which pairs have 16 bits each. */
function samplesIn(words: Int32Array, at: number, count: number): number {
  const from = at >> 2;
  let pairs = 0;
  for (let i = 0; i < count; i++) {
    const word = words[from + i]!;
    pairs += (word & EVEN) + ((word >>> 8) & EVEN);
  }
  return (pairs & 0xffff) + (pairs >>> 16);
}

/**
 * @param at the first of the bins, on a word
 * @param memory samples after which old ones have half their weight
 */
export function addError({ bytes, words }: Bins, at: number, error: number, memory: number): void {
  const bin = at + binOf(error);
  const count = bytes[bin]! + 1;
  bytes[bin] = count;
  if (count < BIN_MAX && samplesIn(words, at, BINS / WORD_BYTES) <= memory) return;
  // What halving a bin leaves over goes to the next: single samples of the tails are not lost.
  let left = 0;
  for (let i = 0; i < BINS; i++) {
    const all = bytes[at + i]! + left;
    bytes[at + i] = all >> 1;
    left = all & 1;
  }
}

/**
 * @param at the first of the bins, on a word
 * @param prior of {@link exponentialBins}
 * @param levels ascending probabilities; their quantiles go to `into`, from the place `to`
 */
export function errorQuantiles(
  { bytes, words }: Bins,
  at: number,
  prior: Float64Array,
  levels: Float64Array,
  into: Float64Array,
  to: number,
): void {
  const low = samplesIn(words, at, ORIGIN_WORDS) + bytes[at + ORIGIN - 1]!;
  const all = samplesIn(words, at, BINS / WORD_BYTES) + prior[BINS]!;
  // Most medians are not below zero: then the bins below it are passed over.
  const over = levels[0]! * all >= low + prior[ORIGIN]!;
  // Samples below the bin.
  let below = over ? low : 0;
  let bin = over ? ORIGIN : 0;
  for (let q = 0; q < levels.length; q++) {
    const wanted = levels[q]! * all;
    while (bin < BINS - 1 && below + bytes[at + bin]! + prior[bin + 1]! < wanted) below += bytes[at + bin++]!;
    const here = bytes[at + bin]! + (prior[bin + 1]! - prior[bin]!);
    const rest = wanted - below - prior[bin]!;
    into[to + q] = errorAt(bin, here > 0 ? (rest < here ? rest / here : 1) : 0.5);
  }
}

/**
 * Samples below each bin's edge of a double exponential around a median: mean distance `left` below and `right` above. The
 * outer bins hold all that is beyond them.
 *
 * @param samples what all of it is worth
 */
export function exponentialBins(median: number, left: number, right: number, samples: number): Float64Array {
  const below = (value: number) => {
    const off = value - median;
    return off < 0 ? 0.5 * Math.exp(off / left) : 1 - 0.5 * Math.exp(-off / right);
  };
  return Float64Array.from(
    { length: BINS + 1 },
    (_, i) => samples * (i === 0 ? 0 : i === BINS ? 1 : below(EDGES[i]!)),
  );
}
