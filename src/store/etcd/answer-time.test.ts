import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AnswerTime } from './answer-time.ts';

const MIN_MS = 700;
const MAX_MS = 2_500;

describe('how long to wait for an answer', () => {
  it('is the least there is before the first answer, and after quick ones', () => {
    const time = new AnswerTime();
    expect(time.usualMs).toBeUndefined();
    expect(time.waitMs(MIN_MS, MAX_MS)).toBe(MIN_MS);
    for (let i = 0; i < 20; i++) time.answered(5);
    expect(time.waitMs(MIN_MS, MAX_MS)).toBe(MIN_MS);
  });

  it('doubles with each silence, and forgets it with an answer', () => {
    const time = new AnswerTime();
    time.answered(5);
    time.silent();
    expect(time.waitMs(MIN_MS, MAX_MS)).toBe(2 * MIN_MS);
    time.silent();
    expect(time.waitMs(MIN_MS, MAX_MS)).toBe(MAX_MS);
    time.answered(5);
    expect(time.waitMs(MIN_MS, MAX_MS)).toBe(MIN_MS);
  });

  it('outlasts steady answers however slow, up to the longest', () => {
    fc.assert(
      fc.property(fc.double({ min: 1, max: 2_000, noNaN: true }), (tookMs) => {
        const time = new AnswerTime();
        for (let i = 0; i < 50; i++) time.answered(tookMs);
        expect(time.waitMs(MIN_MS, MAX_MS)).toBeGreaterThanOrEqual(tookMs);
        expect(time.waitMs(MIN_MS, MAX_MS)).toBeLessThanOrEqual(MAX_MS);
      }),
    );
  });
});
