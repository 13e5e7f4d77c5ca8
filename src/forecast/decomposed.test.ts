/** Seasons and what is left of them: what the classic methods see in a series. */
import { describe, expect, it } from 'vitest';
import { BatchAnswers } from './batch-answers.ts';
import { DecomposedExpert } from './decomposed.ts';
import { expectWithinReach } from './expert-conformance.ts';

function asked(values: Float64Array, origin: number, horizons: number[], periods?: number[]): number[][] {
  const answers = new BatchAnswers(new DecomposedExpert(), { values, stepS: 1, t0: 0 });
  answers.ask([origin], horizons, periods);
  return horizons.map((ahead) => {
    const out = new Float64Array(3);
    return answers.at(origin, ahead, out) ? [...out] : [];
  });
}

describe('a series taken apart', () => {
  /** Days of 48 steps, a tenth busier each, weekends at half. */
  const load = (t: number) =>
    (100 + 60 * Math.sin((2 * Math.PI * t) / 48)) * 1.02 ** (t / 48) * (Math.floor(t / 48) % 7 > 4 ? 0.5 : 1);
  const values = Float64Array.from({ length: 1800 }, (_, t) => load(t));

  it('goes on with its day and its week', () => {
    const friday = 48 * 7 * 4 + 48 * 4;
    const horizons = [12, 36, 60, 84];
    const [morning, evening, ...weekend] = asked(values, friday, horizons, [48, 336]);
    for (const [h, [p50]] of [morning!, evening!].entries())
      expect(p50! / load(friday - 1 + horizons[h]!)).toBeCloseTo(1, 0.7);
    const daysOnly = asked(values, friday, horizons, [48]).slice(2);
    for (const [h, [p50]] of weekend.entries()) {
      expect(p50).toBeGreaterThan(load(friday - 1 + horizons[h + 2]!));
      expect(p50).toBeLessThan(0.9 * daysOnly[h]![0]!);
    }
  });

  it('is left whole without a season', () => {
    const [[p50, , p99] = []] = asked(values.slice(0, 400).fill(7), 400, [10], []);
    expect(p50).toBeCloseTo(7, 5);
    expect(p99).toBeCloseTo(7, 3);
  });

  it('reads nothing that came after the origin, and says nothing of a series too short', () => {
    const before = asked(values, 900, [1, 8, 40], [48]);
    const changed = values.map((value, t) => (t < 900 ? value : 1e9));
    expect(asked(changed, 900, [1, 8, 40], [48])).toEqual(before);
    expect(asked(values, 23, [1])).toEqual([[]]);
    expect(asked(values.slice().fill(Number.NaN), 900, [1])).toEqual([[]]);
  });

  it('answers ascending and within reach of what was seen, whatever that was', () => {
    expectWithinReach((seen, ahead, periods) => asked(seen, seen.length, [ahead], periods)[0]!);
  });
});
