/** Regression straight to each horizon: what it learns that levels and seasons do not, and that it never runs away. */
import { describe, expect, it } from 'vitest';
import { DirectAnswers, fittedSteps } from './direct.ts';
import { expectWithinReach } from './expert-conformance.ts';

/** Even numbers from -1 to 1, the same in every run. */
function noise(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 48_271) % 2_147_483_647;
    return (2 * state) / 2_147_483_647 - 1;
  };
}

/** A day of 24 steps, and beside it a difference of which a known share stays from step to step. */
function load(
  steps: number,
  stays: number,
): { values: Float64Array; usual: Float64Array; rest: Float64Array } {
  const next = noise(7);
  const usual = Float64Array.from({ length: steps }, (_, t) => 3 + Math.sin((2 * Math.PI * t) / 24));
  const rest = new Float64Array(steps);
  for (let t = 1; t < steps; t++) rest[t] = stays * rest[t - 1]! + 0.1 * next();
  return { values: usual.map((log, t) => Math.exp(log + rest[t]!)), usual, rest };
}

function asked(
  values: Float64Array,
  origin: number,
  horizons: readonly number[],
  periods: readonly number[] = [],
): number[][] {
  const answers = new DirectAnswers({ values });
  answers.ask(origin, origin, fittedSteps(Math.max(...horizons)), periods);
  return horizons.map((ahead) => {
    const out = new Float64Array(3);
    return answers.at(origin, ahead, out) ? [...out] : [];
  });
}

describe('regression straight to each horizon', () => {
  it('knows how much of a difference is left at each horizon', () => {
    const { values, usual, rest } = load(900, 0.9);
    let off = 0;
    let offProfile = 0;
    for (let origin = 700; origin < 880; origin += 5)
      for (const [i, answer] of asked(values, origin, [1, 4, 12], [24]).entries()) {
        const target = origin - 1 + [1, 4, 12][i]!;
        const best = Math.exp(usual[target]! + 0.9 ** [1, 4, 12][i]! * rest[origin - 1]!);
        off += Math.abs(Math.log(answer[0]! / best));
        offProfile += Math.abs(Math.log(Math.exp(usual[target]!) / best));
      }
    expect(off).toBeLessThan(0.7 * offProfile);
  });

  it('promises what it keeps: nine in ten values are below p90, nearly all below p99', () => {
    const { values } = load(1500, 0.7);
    const answers = new DirectAnswers({ values });
    answers.ask(600, 1400, [1, 12, 30], [24]);
    const out = new Float64Array(3);
    const below = [0, 0, 0];
    let count = 0;
    for (let origin = 600; origin <= 1400; origin++)
      for (const ahead of [1, 12, 30]) {
        expect(answers.at(origin, ahead, out)).toBe(true);
        count++;
        for (let q = 0; q < 3; q++) if (values[origin - 1 + ahead]! <= out[q]!) below[q]!++;
      }
    expect(below[0]! / count).toBeGreaterThan(0.44);
    expect(below[0]! / count).toBeLessThan(0.56);
    expect(below[1]! / count).toBeGreaterThan(0.86);
    expect(below[1]! / count).toBeLessThan(0.94);
    expect(below[2]! / count).toBeGreaterThan(0.975);
  });

  it('answers an origin of a stretch as it answers it alone', () => {
    const { values } = load(600, 0.8);
    const along = new DirectAnswers({ values });
    along.ask(400, 500, [1, 12], [24]);
    const alone = new DirectAnswers({ values });
    alone.ask(400, 400, [1, 12], [24]);
    const [a, b] = [new Float64Array(3), new Float64Array(3)];
    for (const ahead of [1, 6, 12]) {
      expect(along.at(400, ahead, a)).toBe(true);
      expect(alone.at(400, ahead, b)).toBe(true);
      for (let q = 0; q < 3; q++) expect(a[q]).toBeCloseTo(b[q]!, 9);
    }
  });

  it('knows a day off by those before it, which had another shape', () => {
    const next = noise(11);
    const steps = 28 * 24;
    const off = Float64Array.from({ length: steps + 24 }, () => 0);
    for (const day of [3, 9, 10, 15, 19, 22, 26, 28]) off.fill(1, 24 * day, 24 * (day + 1));
    const shape = (t: number) =>
      off[t] === 1 ? 2 - Math.cos((2 * Math.PI * t) / 24) : 3 + Math.sin((4 * Math.PI * t) / 24);
    const values = Float64Array.from({ length: steps + 24 }, (_, t) => 10 * shape(t) * (1 + 0.1 * next()));
    const errorOf = (covariates: Float64Array[]) => {
      const answers = new DirectAnswers({ values: values.slice(0, steps), covariates });
      answers.ask(steps, steps, fittedSteps(24), [24]);
      const out = new Float64Array(3);
      let sum = 0;
      for (let ahead = 1; ahead <= 24; ahead++) {
        expect(answers.at(steps, ahead, out)).toBe(true);
        sum += Math.abs(out[0]! - 10 * shape(steps - 1 + ahead));
      }
      return sum;
    };
    const constant = new Float64Array(steps + 24).fill(3);
    const endless = new Float64Array(steps + 24).fill(Number.POSITIVE_INFINITY);
    const without = errorOf([]);
    expect(errorOf([constant, endless, new Float64Array(0)])).toBeCloseTo(without, 9);
    expect(errorOf([off])).toBeLessThan(0.5 * without);
    expect(errorOf([off, off, constant])).toBeLessThan(0.6 * without);
  });

  it('reads nothing that came after the origin', () => {
    const { values } = load(600, 0.8);
    const before = asked(values, 500, [1, 8, 40], [24, 168]);
    const after = values.map((value, t) => (t < 500 ? value : 1e9));
    expect(asked(after, 500, [1, 8, 40], [24, 168])).toEqual(before);
  });

  it('says nothing where there is too little to learn from, or nothing ever changed', () => {
    const { values } = load(600, 0.8);
    expect(asked(values, 40, [1])).toEqual([[]]);
    expect(asked(values, 120, [100])).toEqual([[]]);
    expect(asked(new Float64Array(500).fill(5), 400, [1])).toEqual([[]]);
    expect(asked(new Float64Array(500), 400, [1])).toEqual([[]]);
  });

  it('answers ascending and within reach of what was seen, whatever that was', () => {
    expectWithinReach((seen, ahead, periods) => asked(seen, seen.length, [ahead], periods ?? [])[0]!);
  });

  it('fits steps so that every horizon lies between two', () => {
    expect(fittedSteps(1)).toEqual([1]);
    expect(fittedSteps(60)).toEqual([1, 2, 4, 8, 12, 16, 24, 30, 45, 60]);
    const day = fittedSteps(1440);
    expect(day.at(-1)).toBe(1440);
    expect(day.every((step, i) => i === 0 || step > day[i - 1]!)).toBe(true);
    expect(day.length).toBeLessThan(24);
  });
});
