import { describe, expect, it } from 'vitest';
import { SeriesBank } from './bank.ts';
import { type Between, between, skippedOf } from './between.ts';
import { BUCKET_STEPS } from './layout.ts';

const place = (ahead: number, skipped = 0): Between => {
  const found: Between = { left: 0, right: 0, share: 0, skipped };
  between(ahead, found);
  return found;
};
const bit = (steps: number) => 1 << BUCKET_STEPS.indexOf(steps as (typeof BUCKET_STEPS)[number]);

describe('between two scored horizons', () => {
  it('lies by log of steps; at one of them, only there', () => {
    expect(place(1)).toMatchObject({ left: 0, right: 1, share: 0 });
    expect(place(2)).toMatchObject({ left: 0, right: 1 });
    expect(place(2).share).toBeCloseTo(0.5);
    expect(place(12)).toMatchObject({ left: 2, right: 3, share: 0 });
    expect(place(200)).toMatchObject({ left: 5, right: 5, share: 0 });
    expect(place(5000)).toMatchObject({ left: 5, right: 5, share: 0 });
  });

  it('passes over those that are no neighbours, also at the end', () => {
    expect(place(30, bit(30))).toMatchObject({ left: 2, right: 4 });
    expect(place(100, bit(200))).toMatchObject({ left: 4, right: 4, share: 0 });
    expect(place(100, bit(75) | bit(200))).toMatchObject({ left: 3, right: 3, share: 0 });
  });

  it('takes out horizons of nearly whole periods, once the period has passed', () => {
    const bank = new SeriesBank({ stepS: 1 });
    const row = bank.add();
    const skippedWith = (period: number) => {
      bank.setPeriods(row, period, 0);
      return skippedOf(bank.seek(row));
    };
    expect(skippedWith(30)).toBe(0);
    for (let t = 0; t < 300; t++) bank.observe(row, 1 + (t % 30));
    expect(skippedWith(30)).toBe(bit(30));
    expect(skippedWith(25)).toBe(bit(75) | bit(200));
    expect(skippedWith(0)).toBe(0);
    expect(skippedWith(86_400)).toBe(0);
    expect(skippedWith(Number.NaN)).toBe(0);
  });
});
