/** Autoregressions: the numbers of R's `ar.burg`, and forecasts that do not explode. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Autoregression, fitAutoregression, fitIntegrated, foresee } from './autoregression.ts';

function foreseen(fit: Autoregression, values: Float64Array, steps: number) {
  const expected = new Float64Array(steps);
  const deviation = new Float64Array(steps);
  foresee(fit, values, expected, deviation);
  return { expected, deviation };
}

describe('an autoregression', () => {
  it('is that of R: ar.burg of order 3, and what it predicts', () => {
    const values = Float64Array.from({ length: 80 }, (_, i) => Math.sin(i * 1.7) + ((i * i * 13) % 17) / 6);
    const fit = fitAutoregression(values, 3);
    expect(Array.from(fit.coefficients, (c) => c.toFixed(5))).toEqual(['-0.38328', '-0.27096', '-0.21653']);
    const { expected } = foreseen(fit, values, 5);
    expect(Array.from(expected, (v) => v.toFixed(5))).toEqual([
      '0.77702',
      '1.22292',
      '1.38201',
      '1.51035',
      '1.32150',
    ]);
  });

  it('has no lags where the past tells nothing', () => {
    let seed = 7;
    const noise = Float64Array.from({ length: 2000 }, () => {
      seed = (seed * 48_271) % 2_147_483_647;
      return seed / 2_147_483_647;
    });
    expect(fitAutoregression(noise, 24).coefficients.length).toBeLessThan(4);
    expect(fitAutoregression(new Float64Array(50).fill(3), 24)).toEqual({
      mean: 3,
      coefficients: new Float64Array(0),
      variance: 0,
    });
  });

  it('knows its errors: their deviation at each step is that of random walks and of what returns', () => {
    const walk = { mean: 5, coefficients: Float64Array.of(1), variance: 4 };
    const { expected, deviation } = foreseen(walk, Float64Array.of(9), 9);
    expect([...expected]).toEqual(new Array(9).fill(9));
    expect(deviation[8]).toBeCloseTo(2 * Math.sqrt(9), 10);
    const returns = foreseen(
      { mean: 5, coefficients: Float64Array.of(0.5), variance: 3 },
      Float64Array.of(9),
      40,
    );
    expect(returns.expected[1]).toBe(6);
    expect(returns.deviation[39]).toBeCloseTo(2, 6);
  });

  it('of the differences goes on from the newest value', () => {
    const climbing = Float64Array.from({ length: 60 }, (_, i) => 100 + i + (i % 2));
    const { expected } = foreseen(fitIntegrated(climbing, 4), climbing, 3);
    for (const value of expected) expect(Math.abs(value - 160)).toBeLessThan(3);
  });

  it('never explodes', () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: -10, max: 10, noNaN: true }), { minLength: 8, maxLength: 80 }),
        (seen) => {
          const values = Float64Array.from(seen);
          const { expected, deviation } = foreseen(fitAutoregression(values, 24), values, 500);
          for (const value of expected) expect(Math.abs(value)).toBeLessThan(1e4);
          for (const value of deviation) expect(Number.isFinite(value)).toBe(true);
        },
      ),
    );
  });
});
