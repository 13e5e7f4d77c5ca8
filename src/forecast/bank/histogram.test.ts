/** Histograms of errors, against all samples kept. */
import { describe, expect, it } from 'vitest';
import { addError, type Bins, errorQuantiles, exponentialBins } from './histogram.ts';
import { BINS } from './layout.ts';

const LEVELS = Float64Array.of(0.5, 0.9, 0.99);
const PRIOR = exponentialBins(0, 1, 1, 100);

function empty(): Bins {
  const bytes = new Uint8Array(BINS);
  return { bytes, words: new Int32Array(bytes.buffer) };
}

/** Standard double exponential errors from a small generator. */
function errors(count: number): number[] {
  let seed = 7;
  return Array.from({ length: count }, () => {
    seed = (seed * 16_807) % 2_147_483_647;
    const place = 2 * (seed / 2_147_483_647) - 1;
    return Math.sign(place) * -Math.log(1 - Math.abs(place));
  });
}

describe('a histogram of errors', () => {
  it('answers its prior where it has seen nothing', () => {
    const out = new Float64Array(3);
    errorQuantiles(empty(), 0, PRIOR, LEVELS, out, 0);
    expect(out[0]).toBeCloseTo(0, 2);
    expect(Math.abs(out[1]! - Math.log(5))).toBeLessThan(0.1);
    expect(Math.abs(out[2]! - Math.log(50))).toBeLessThan(0.2);
  });

  it('answers the quantiles of what it saw, whatever it was halved', () => {
    const bins = empty();
    const seen = errors(5000).map((error) => 2 * error + 1);
    for (const error of seen) addError(bins, 0, error, 300);
    const sorted = seen.toSorted((a, b) => a - b);
    const out = new Float64Array(3);
    errorQuantiles(bins, 0, exponentialBins(0, 1, 1, 1), LEVELS, out, 0);
    expect(Math.abs(out[0]! - sorted[2500]!)).toBeLessThan(0.5);
    expect(Math.abs(out[1]! - sorted[4500]!)).toBeLessThan(1);
    expect(Math.abs(out[2]! - sorted[4950]!)).toBeLessThan(4);
  });

  it('keeps all samples when it is halved, but for one, and never overflows', () => {
    const bins = empty();
    const total = () => bins.bytes.reduce((sum, count) => sum + count, 0);
    for (const error of errors(301)) addError(bins, 0, error, 300);
    expect(total()).toBeGreaterThanOrEqual(150);
    for (let i = 0; i < 10_000; i++) addError(bins, 0, 0.1, 700);
    expect(total()).toBeGreaterThan(100);
    expect(total()).toBeLessThan(520);
  });

  it('puts errors beyond all bins into the outermost', () => {
    const bins = empty();
    for (const error of [1e9, -1e9, 1e300]) addError(bins, 0, error, 300);
    expect([bins.bytes[0], bins.bytes[BINS - 1]]).toEqual([1, 2]);
  });
});
