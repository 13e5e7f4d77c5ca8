/**
 * Distribution of standardised errors in 24 bins of 16 bits, old ones fading: quantiles of any shape from few samples, by
 * way of a prior that is worth some samples.
 *
 * Bins are even on an asinh axis: fine where errors usually are, open to one of fifty times the usual.
 */
import { BINS } from './layout.ts';

const STRETCH = 1.5;
const PER_UNIT = 4;
const ORIGIN = 9;
/** A sample's weight in codes; when a histogram holds as many samples as its memory, all is halved. */
const SAMPLE = 64;

export function binOf(error: number): number {
  const bin = Math.floor(Math.asinh(error * STRETCH) * PER_UNIT + ORIGIN);
  return bin < 0 ? 0 : bin >= BINS ? BINS - 1 : bin;
}

/** The error at the lower edge of a bin (fractions within it). */
function errorAt(place: number): number {
  return Math.sinh((place - ORIGIN) / PER_UNIT) / STRETCH;
}

/** @param memory samples after which old ones have half their weight */
export function addError(codes: Uint16Array, at: number, error: number, memory: number): void {
  const bin = at + binOf(error);
  codes[bin]! += SAMPLE;
  let total = 0;
  for (let i = 0; i < BINS; i++) total += codes[at + i]!;
  if (total > SAMPLE * memory) for (let i = 0; i < BINS; i++) codes[at + i] = codes[at + i]! >> 1;
}

export function samplesOf(codes: Uint16Array, at: number): number {
  let total = 0;
  for (let i = 0; i < BINS; i++) total += codes[at + i]!;
  return total / SAMPLE;
}

/**
 * @param prior probability of each bin
 * @param priorSamples what the prior is worth
 * @param levels ascending probabilities; their quantiles go to `out`
 */
export function errorQuantiles(
  codes: Uint16Array,
  at: number,
  prior: Float64Array,
  priorSamples: number,
  levels: ArrayLike<number>,
  out: Float64Array,
): void {
  let total = 0;
  for (let i = 0; i < BINS; i++) total += codes[at + i]!;
  const priorWeight = priorSamples * SAMPLE;
  total += priorWeight;
  let below = 0;
  let bin = 0;
  for (let q = 0; q < levels.length; q++) {
    const wanted = levels[q]! * total;
    let here = codes[at + bin]! + priorWeight * prior[bin]!;
    while (bin < BINS - 1 && below + here < wanted) {
      below += here;
      bin++;
      here = codes[at + bin]! + priorWeight * prior[bin]!;
    }
    out[q] = errorAt(bin + (here > 0 ? Math.min(1, (wanted - below) / here) : 0.5));
  }
}

/**
 * Probability of each bin under a double exponential around a median: mean distance `left` below and `right` above.
 */
export function exponentialBins(median: number, left: number, right: number): Float64Array {
  const below = (value: number) => {
    const off = value - median;
    return off < 0 ? 0.5 * Math.exp(off / left) : 1 - 0.5 * Math.exp(-off / right);
  };
  const bins = new Float64Array(BINS);
  for (let i = 0; i < BINS; i++)
    bins[i] = (i === BINS - 1 ? 1 : below(errorAt(i + 1))) - (i === 0 ? 0 : below(errorAt(i)));
  return bins;
}
