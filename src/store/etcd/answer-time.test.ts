import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ANSWER_WAIT_MS_MIN, AnswerTime } from './answer-time.ts';

const MAX_MS = 2_500;

describe('how long to wait for an answer', () => {
  it('is the longest there is before the first answer, and short after quick ones', () => {
    const time = new AnswerTime(MAX_MS);
    expect(time.waitMs).toBe(MAX_MS);
    for (let i = 0; i < 20; i++) time.answered(5);
    expect(time.waitMs).toBe(ANSWER_WAIT_MS_MIN);
  });

  it('doubles with each silence, and forgets it with an answer', () => {
    const time = new AnswerTime(MAX_MS);
    time.answered(5);
    time.silent();
    expect(time.waitMs).toBe(2 * ANSWER_WAIT_MS_MIN);
    time.silent();
    expect(time.waitMs).toBe(MAX_MS);
    time.answered(5);
    expect(time.waitMs).toBe(ANSWER_WAIT_MS_MIN);
  });

  it('outlasts steady answers however slow, up to the longest', () => {
    fc.assert(
      fc.property(fc.double({ min: 1, max: 2_000, noNaN: true }), (tookMs) => {
        const time = new AnswerTime(MAX_MS);
        for (let i = 0; i < 50; i++) time.answered(tookMs);
        expect(time.waitMs).toBeGreaterThanOrEqual(tookMs);
        expect(time.waitMs).toBeLessThanOrEqual(MAX_MS);
      }),
    );
  });
});
