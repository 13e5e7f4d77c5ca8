import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { afterRefusal, DEATHS_MAX, mayTry, PAUSE_MS_MAX, PAUSE_MS_MIN, TRIES_MAX } from './retry.ts';

const state = { tries: 1, deaths: 0, nowMs: 0, deadlineMs: 10_000 };

describe('retries', () => {
  it.each([
    ['a fresh request', { tries: 0 }, { do: 'again' }],
    ['one death', { deaths: DEATHS_MAX - 1 }, { do: 'again' }],
    ['two deaths', { deaths: DEATHS_MAX }, { do: 'answer', code: 'command-poisoned' }],
    [
      'two deaths, also out of time',
      { deaths: DEATHS_MAX, nowMs: 10_000 },
      { do: 'answer', code: 'command-poisoned' },
    ],
    ['no tries left', { tries: TRIES_MAX }, { do: 'answer', code: 'unavailable' }],
    ['no time left', { nowMs: 10_000 }, { do: 'answer', code: 'unavailable' }],
  ])('%s', (_what, changes, verdict) => {
    expect(mayTry({ ...state, ...changes })).toEqual(verdict);
  });

  it('pauses grow, are spread, and never reach beyond the deadline', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: TRIES_MAX - 1 }),
        fc.double({ min: 0, max: 0.999, noNaN: true }),
        fc.integer({ min: 0, max: 10_000 }),
        (tries, random, nowMs) => {
          const verdict = afterRefusal({ ...state, tries, nowMs }, random);
          if (verdict.do !== 'pause') expect(verdict).toEqual({ do: 'answer', code: 'unavailable' });
          else {
            expect(verdict.delayMs).toBeGreaterThanOrEqual(PAUSE_MS_MIN / 2);
            expect(verdict.delayMs).toBeLessThanOrEqual(PAUSE_MS_MAX);
            expect(nowMs + verdict.delayMs).toBeLessThan(state.deadlineMs);
          }
        },
      ),
    );
  });
});
