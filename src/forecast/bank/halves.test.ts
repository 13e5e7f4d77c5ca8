import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fromHalf, MISSING, toHalf } from './halves.ts';

describe('numbers in 16 bits', () => {
  it('come back within 1/2048 of their size, or within 2^-25 where they are tiny', () => {
    fc.assert(
      fc.property(
        fc.double({ min: -65_504, max: 65_504, noNaN: true }),
        fc.integer({ min: 0, max: 40 }),
        (v, e) => {
          const value = v / 2 ** e;
          expect(Math.abs(fromHalf(toHalf(value)) - value)).toBeLessThanOrEqual(
            Math.max(Math.abs(value) / 2048, 2 ** -25) * 1.001,
          );
        },
      ),
    );
  });

  it('are fixed points: every code but the missing one means the number that has it', () => {
    for (let code = 1; code < 0x7c00; code++)
      for (const sign of [0, 0x8000]) expect(toHalf(fromHalf(sign | code))).toBe(sign | code);
  });

  it('know zero, what is missing, and what is too large', () => {
    expect(Math.abs(fromHalf(toHalf(0)))).toBe(0);
    expect(toHalf(0)).not.toBe(MISSING);
    expect(toHalf(Number.NaN)).toBe(MISSING);
    expect(fromHalf(MISSING)).toBeNaN();
    expect(fromHalf(toHalf(1e9))).toBe(65_504);
    expect(fromHalf(toHalf(Number.NEGATIVE_INFINITY))).toBe(-65_504);
  });
});
