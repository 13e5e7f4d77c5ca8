/** Scores of forecasts, against figures worked out by hand. */
import { describe, expect, it } from 'vitest';
import { normalQuantile } from './normal.ts';
import { quantileOf } from './run-series.ts';
import { addScore, contextScale, emptyScore, meansOf, seasonalNaive } from './scores.ts';

describe('scores', () => {
  it('floor every denominator', () => {
    expect(contextScale([5, 5, 5, 5], 1)).toEqual({ deviation: 0.05, naive: 0.001 });
    expect(contextScale([0, 0, 0], 1).deviation).toBeGreaterThan(0);
    expect(contextScale([], 1).naive).toBeGreaterThan(0);
  });

  it('are the mean of twice the pinball loss over the deviation', () => {
    const sums = emptyScore(3);
    addScore(
      sums,
      [10, Number.NaN],
      [
        [8, 0],
        [12, 0],
        [20, 0],
      ],
      [0.5, 0.9, 0.99],
      { deviation: 2, naive: 1 },
    );
    const found = meansOf(sums);
    expect(found.sql).toBeCloseTo((2 / 3 / 2) * (0.5 * 2 + 0.1 * 2 + 0.01 * 10), 9);
    expect(found.mase).toBe(2);
    expect(found.coverage).toEqual([0, 1, 1]);
  });

  it('count a tie as the level that was promised', () => {
    const sums = emptyScore(3);
    addScore(
      sums,
      [0, 0],
      [
        [0, 0],
        [0, 0],
        [1, 1],
      ],
      [0.5, 0.9, 0.99],
      { deviation: 1, naive: 1 },
    );
    expect(meansOf(sums).coverage).toEqual([0.5, 0.9, 1]);
  });

  it('hold a maximum against the whole window, and leave out one that is not complete', () => {
    const sums = emptyScore(1);
    addScore(sums, [1, 5, 2], [[1, 1, 1]], [0.5], { deviation: 1, naive: 1 }, [
      { window: 3, p90: 4 },
      { window: 4, p90: 9 },
    ]);
    expect(sums.maxima).toBe(1);
    expect(meansOf(sums)).toMatchObject({ maximumLoss: 1.8, maximumCoverage: 0 });
  });

  it('seasonal naive repeats the last season', () => {
    const [p50] = seasonalNaive([1, 2, 3, 4, 5, 6], 3, 5, [0.5], normalQuantile);
    expect([...p50!]).toEqual([4, 5, 6, 4, 5]);
  });

  it('other levels lie between and beyond the three, in order', () => {
    const found = [0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999].map((level) =>
      quantileOf(level, [10, 14, 20], 0),
    );
    expect(found).toEqual([...found].sort((a, b) => a - b));
    expect(found[2]).toBe(10);
    expect(found[4]).toBeCloseTo(14, 9);
    expect(quantileOf(0.01, [1, 14, 20], 0)).toBe(0);
  });
});
