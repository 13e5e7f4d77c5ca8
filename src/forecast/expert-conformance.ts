/** What every expert on single series keeps, whatever the series holds: quantiles that ascend, within reach of what was seen. */
import fc from 'fast-check';
import { expect } from 'vitest';

const VALUE = fc.oneof(
  fc.double({ min: -1e6, max: 1e6, noNaN: true }),
  fc.constantFrom(0, Number.NaN, 1e30, -1e30, 1e-30),
);
const PERIODS = fc.constantFrom<number[] | undefined>(undefined, [], [24], [24, 168], [2.5], [7, 21]);

/** What rounding to single precision may do, as a share of a number. */
const ROUNDING = 1e-3;

/** @param asked p50, p90 and p99 so many steps after the last value; none where the expert has nothing to say */
export function expectWithinReach(
  asked: (seen: Float64Array, ahead: number, periods: number[] | undefined) => readonly number[],
): void {
  fc.assert(
    fc.property(
      fc.array(VALUE, { minLength: 1, maxLength: 300 }),
      fc.integer({ min: 1, max: 90 }),
      PERIODS,
      (seen, ahead, periods) => {
        const answer = asked(Float64Array.from(seen), ahead, periods);
        const known = seen.filter((one) => !Number.isNaN(one));
        const [low, high] = [Math.min(0, ...known), Math.max(...known)];
        for (const [i, one] of answer.entries()) {
          expect(Number.isFinite(one)).toBe(true);
          if (i > 0) expect(one).toBeGreaterThanOrEqual(answer[i - 1]! - ROUNDING * ROUNDING * Math.abs(one));
          expect(one).toBeGreaterThanOrEqual(low - ROUNDING * Math.abs(low) - 1e-9);
          expect(one).toBeLessThanOrEqual(high + (high - low) * 1.01 + 1e-9);
        }
      },
    ),
    { numRuns: 200 },
  );
}
