/** Bands of the mixture with forecasters from outside: they come to hold what they promise. */
import { describe, expect, it } from 'vitest';
import { SeriesBank } from './bank.ts';
import { OUTSIDE_TUNED } from './outside.ts';

/** How often p90 held over the second half of a series, where one from outside says the median and bands of no width. */
function held(reachRate: [number, number]): number {
  const before = OUTSIDE_TUNED.reachRate;
  OUTSIDE_TUNED.reachRate = reachRate;
  try {
    const bank = new SeriesBank({
      stepS: 60,
      rows: 1,
      windows: [],
      outside: 1,
      outsideTerms: [{ first: [50, 50, 50], memory: 1e9 }],
    });
    bank.outside = (_row, _expert, _ahead, out) => {
      out.fill(100.5);
      out[1] = 102.5;
      out[2] = 103.5;
      return true;
    };
    const row = bank.add();
    const out = new Float64Array(3);
    let seed = 5;
    let below = 0;
    for (let t = 0; t < 1200; t++) {
      bank.forecast(row, [1], out);
      seed = (seed * 48_271) % 2_147_483_647;
      const value = 95 + (10 * seed) / 2_147_483_647;
      if (t >= 600 && value <= out[1]!) below++;
      bank.observe(row, value);
    }
    return below / 600;
  } finally {
    OUTSIDE_TUNED.reachRate = before;
  }
}

describe('the reach of bands with forecasters from outside', () => {
  it('grows until p90 holds more nearly as often as it says', () => {
    const still = held([0, 0]);
    const learnt = held(OUTSIDE_TUNED.reachRate);
    expect(still).toBeLessThan(0.85);
    expect(Math.abs(0.9 - learnt)).toBeLessThan(0.7 * Math.abs(0.9 - still));
  });
});
