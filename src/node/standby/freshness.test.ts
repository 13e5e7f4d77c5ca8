import fc from 'fast-check';
import { expect, it } from 'vitest';
import { Freshness } from './freshness.ts';

it('knows nothing before the first answer, nor before what was answered is applied', () => {
  const freshness = new Freshness();
  expect(freshness.asOfMs(7)).toBe(Number.NEGATIVE_INFINITY);
  freshness.heard(100, 9);
  expect(freshness.asOfMs(8)).toBe(Number.NEGATIVE_INFINITY);
  expect(freshness.asOfMs(9)).toBe(100);
});

it('keeps what was proven while a later answer is not applied yet, and does not go back for a late one', () => {
  const freshness = new Freshness();
  freshness.heard(100, 1);
  expect(freshness.asOfMs(1)).toBe(100);
  freshness.heard(200, 5);
  expect(freshness.asOfMs(4)).toBe(100);
  freshness.heard(150, 2);
  expect(freshness.asOfMs(5)).toBe(200);
});

it('never claims more than a list of everything heard would', () => {
  const step = fc.record({
    askedMs: fc.integer({ min: 0, max: 50 }),
    seq: fc.integer({ min: 0, max: 20 }),
    applied: fc.nat(2),
  });
  fc.assert(
    fc.property(fc.array(step), (steps) => {
      const freshness = new Freshness();
      const heard: { askedMs: number; seq: number }[] = [];
      let applied = 0;
      let last = Number.NEGATIVE_INFINITY;
      for (const one of steps) {
        applied += one.applied;
        freshness.heard(one.askedMs, one.seq);
        heard.push(one);
        const best = Math.max(
          Number.NEGATIVE_INFINITY,
          ...heard.filter(({ seq }) => seq <= applied).map(({ askedMs }) => askedMs),
        );
        const claimed = freshness.asOfMs(applied);
        expect(claimed).toBeLessThanOrEqual(best);
        expect(claimed).toBeGreaterThanOrEqual(last);
        last = claimed;
      }
    }),
  );
});
