import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { asinh, exp, log, power, sinh } from './powers.ts';

const positive = fc
  .tuple(fc.integer({ min: -300, max: 300 }), fc.double({ min: 1, max: 2, noNaN: true }))
  .map(([exponent, mantissa]) => mantissa * 2 ** exponent);

describe('powers from tables', () => {
  it('agree with Math to nine digits', () => {
    fc.assert(
      fc.property(positive, fc.double({ min: -600, max: 600, noNaN: true }), (value, exponent) => {
        expect(Math.abs(log(value) - Math.log(value))).toBeLessThan(1e-9);
        expect(Math.abs(exp(exponent) / Math.exp(exponent) - 1)).toBeLessThan(1e-9);
      }),
    );
    fc.assert(
      fc.property(
        fc.double({ min: 0.1, max: 10, noNaN: true }),
        fc.double({ min: -3, max: 3, noNaN: true }),
        (base, exponent) => {
          expect(Math.abs(power(base, exponent) / base ** exponent - 1)).toBeLessThan(1e-8);
        },
      ),
    );
  });

  it('know the hyperbolic sine to nine digits, however near zero', () => {
    for (const value of [0, 1e-12, -0.01, 0.2499, 0.2501, -3, 40, -650])
      expect(Math.abs(sinh(value) - Math.sinh(value))).toBeLessThanOrEqual(1e-9 * Math.abs(Math.sinh(value)));
    for (const value of [1e3, -1e15, Number.POSITIVE_INFINITY, Number.NaN])
      expect(sinh(value)).toBe(Math.sinh(value));
  });

  it('know the inverse hyperbolic sine of what is small, large and negative', () => {
    for (const value of [0, 1e-9, -0.01, 0.3, -2, 1234, -6e4, 1e12])
      expect(Math.abs(asinh(value) - Math.asinh(value))).toBeLessThan(1e-9);
  });
});
