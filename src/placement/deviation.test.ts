/** Standard deviations from three quantiles, against loads whose deviation is known. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { deviationOf } from './deviation.ts';

describe('the deviation of a load', () => {
  it('is that of a normal, wherever and however wide it is', () => {
    fc.assert(
      fc.property(
        fc.double({ min: 0, max: 1e6, noNaN: true }),
        fc.double({ min: 1e-3, max: 1e6, noNaN: true }),
        (mean, deviation) => {
          const found = deviationOf(mean, mean + 1.2816 * deviation, mean + 2.3263 * deviation);
          expect(found / deviation).toBeCloseTo(1, 3);
        },
      ),
    );
  });

  it('of one that sleeps and surges once in fifty steps is of the order of what it is, where p90 alone says nothing', () => {
    const surge = 7;
    const share = 1 / 50;
    const truth = surge * Math.sqrt(share * (1 - share));
    const found = deviationOf(0, 0, surge);
    expect(found).toBeGreaterThan(truth);
    expect(found).toBeLessThan(1.5 * truth);
  });

  it('of an exponential, which has no lower tail, is at most a third too much', () => {
    const quantile = (q: number) => -Math.log(1 - q);
    const found = deviationOf(quantile(0.5), quantile(0.9), quantile(0.99));
    // About the median, as the quantiles are: the mean is 0.31 above it.
    const truth = Math.sqrt(1 + (1 - Math.LN2) ** 2);
    expect(found / truth).toBeGreaterThan(1);
    expect(found / truth).toBeLessThan(4 / 3);
  });

  it('grows with each quantile, and is none where they are one or in disorder', () => {
    const amount = fc.oneof(fc.constant(0), fc.double({ min: 1e-3, max: 1e6, noNaN: true }));
    fc.assert(
      fc.property(amount, amount, amount, amount, (p50, a, b, more) => {
        const found = deviationOf(p50, p50 + a, p50 + a + b);
        expect(deviationOf(p50, p50 + a, p50 + a + b + more)).toBeGreaterThanOrEqual(found * (1 - 1e-9));
        expect(found).toBeGreaterThanOrEqual((0.98 * a) / 1.2816);
      }),
    );
    expect(deviationOf(5, 5, 5)).toBe(0);
    expect(deviationOf(5, 4, 3)).toBe(0);
  });
});
