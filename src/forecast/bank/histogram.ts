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
  const size = Math.abs(error) * STRETCH;
  const place = Math.log(size + Math.sqrt(size * size + 1)) * PER_UNIT;
  const bin = Math.floor(error < 0 ? ORIGIN - place : ORIGIN + place);
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
  const x = share / PER_UNIT;
  const y = x * x;
  const sinh = x * (1 + (y / 6) * (1 + (y / 20) * (1 + (y / 42) * (1 + y / 72))));
  const cosh = 1 + (y / 2) * (1 + (y / 12) * (1 + (y / 30) * (1 + y / 56)));
  return EDGES[bin]! * cosh + EDGES_COSH[bin]! * sinh;
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
    out[q] = errorAt(bin, here > 0 ? Math.min(1, (wanted - below) / here) : 0.5);
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
    bins[i] = (i === BINS - 1 ? 1 : below(EDGES[i + 1]!)) - (i === 0 ? 0 : below(EDGES[i]!));
  return bins;
}
