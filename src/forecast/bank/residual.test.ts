import { describe, expect, it } from 'vitest';
import { SeriesBank } from './bank.ts';

/** Loads that swing around 100: each step keeps so much of the last two differences. */
function swings(keep: readonly [number, number], steps: number): number[] {
  const values = [100, 101];
  let seed = 7;
  for (let step = 2; step < steps; step++) {
    seed = (seed * 16_807) % 2_147_483_647;
    const noise = seed / 2_147_483_647 - 0.5;
    values.push(100 + keep[0] * (values[step - 1]! - 100) + keep[1] * (values[step - 2]! - 100) + 4 * noise);
  }
  return values;
}

function meanErrors(values: readonly number[], regression: boolean): number {
  const bank = new SeriesBank({ stepS: 10, rows: 1, regression });
  const row = bank.add();
  const out = new Float64Array(3);
  let sum = 0;
  values.forEach((value, step) => {
    if (step > values.length / 2) {
      bank.forecast(row, [1], out);
      sum += Math.abs(value - out[0]!);
    }
    bank.observe(row, value);
  });
  return sum / (values.length / 2);
}

describe('autoregressions', () => {
  it('foresee a load that swings back, which levels cannot', () => {
    const values = swings([1.6, -0.8], 1500);
    const errors = meanErrors(values, true);
    // The noise itself is 1 in the mean.
    expect(errors).toBeLessThan(1.25);
    expect(errors).toBeLessThan(0.7 * meanErrors(values, false));
  });

  it('fade to the mean far ahead, and do not explode on a load that did', () => {
    const bank = new SeriesBank({ stepS: 10, rows: 1 });
    const row = bank.add();
    for (const value of swings([0.9, 0], 600)) bank.observe(row, value);
    for (let step = 0; step < 30; step++) bank.observe(row, 100 * 1.3 ** step);
    const out = new Float64Array(9);
    bank.forecast(row, [1, 60, 2000], out);
    const highest = bank.highestSaid(row);
    for (const value of out) {
      expect(Number.isFinite(value)).toBe(true);
      expect(value).toBeLessThanOrEqual(highest);
    }
  });

  it('say nothing after a missing step until the chain is whole again', () => {
    const bank = new SeriesBank({ stepS: 10, rows: 1 });
    const row = bank.add();
    for (const value of swings([1.6, -0.8], 300)) bank.observe(row, value);
    expect(bank.weights(row, 1).ar).toBeGreaterThan(0.2);
    bank.observe(row, Number.NaN);
    expect(bank.weights(row, 1).ar).toBe(0);
    for (const value of swings([1.6, -0.8], 8)) bank.observe(row, value);
    expect(bank.weights(row, 1).ar).toBeGreaterThan(0.1);
  });
});
