/** What the network is told: finite whatever comes, independent of the unit, true to the plain methods it names. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FeatureWriter, Z_MAX } from './features.ts';
import {
  CANDIDATE_NAMES,
  CANDIDATES,
  CONTEXT_FEATURES,
  CONTEXT_WIDTH,
  HORIZON_FEATURES,
  HORIZON_WIDTH,
} from './layout.ts';

const writer = new FeatureWriter();

function written(
  values: readonly number[],
  horizons: readonly number[] = [1],
  periods: readonly number[] = [],
) {
  const contexts = new Float32Array(CONTEXT_WIDTH);
  const features = new Float32Array(horizons.length * HORIZON_WIDTH);
  const at = (age: number) => values[values.length - 1 - age] ?? Number.NaN;
  const level = writer.write({ at, length: values.length, periods }, horizons, contexts, 0, features, 0);
  const centre = contexts[CONTEXT_FEATURES]! * level;
  const scale = contexts[CONTEXT_FEATURES + 1]! * level;
  /** A candidate in the series' own unit. */
  const candidate = (name: (typeof CANDIDATE_NAMES)[number], h = 0) =>
    centre + scale * features[h * HORIZON_WIDTH + HORIZON_FEATURES + CANDIDATE_NAMES.indexOf(name)]!;
  return { contexts, features, level, centre, scale, candidate };
}

describe('the rows of the network', () => {
  it('names as many candidates as it writes', () => {
    expect(CANDIDATE_NAMES.length).toBe(CANDIDATES);
  });

  it('hold the plain methods: the last value, a period ago, the profile of several periods, today against it', () => {
    const day = 24;
    const shape = Array.from({ length: day }, (_, hour) => 10 + hour);
    const values = [1, 2, 3, 4].flatMap((factor) => shape.map((value) => value * factor));
    const { candidate } = written(values, [1, 5, 30], [day]);
    expect(candidate('last')).toBeCloseTo(shape[23]! * 4, 2);
    expect(candidate('season-1', 0)).toBeCloseTo(shape[0]! * 4, 2);
    expect(candidate('season-1', 1)).toBeCloseTo(shape[4]! * 4, 2);
    // Thirty hours ahead is six into the day after tomorrow's: still the last day known.
    expect(candidate('season-1', 2)).toBeCloseTo(shape[5]! * 4, 2);
    const [a, b, c] = [1, 0.75, 0.5625];
    const mean = (4 * a + 3 * b + 2 * c + 0.421875) / (a + b + c + 0.421875);
    expect(candidate('profile-1', 0)).toBeCloseTo(shape[0]! * mean, 1);
    // Today is four thirds to twice of the profile of the days before.
    expect(candidate('profile-1-scaled', 0)).toBeGreaterThan(candidate('profile-1', 0));
    expect(candidate('zero')).toBeCloseTo(0, 2);
  });

  it('fall back to the level where there is no period, or the series is shorter than it', () => {
    const { candidate } = written([5, 5, 5, 5], [3], [24]);
    expect(candidate('season-1')).toBeCloseTo(5, 4);
    expect(candidate('profile-2-added')).toBeCloseTo(5, 4);
  });

  it('do not depend on the unit', () => {
    const values = Array.from({ length: 300 }, (_, t) => 50 + 30 * Math.sin(t / 7) + ((t * 7919) % 13));
    const one = written(values, [1, 9], [44]);
    const other = written(
      values.map((value) => value * 1e6),
      [1, 9],
      [44],
    );
    one.contexts.forEach((value, i) => {
      expect(other.contexts[i]).toBeCloseTo(value, 4);
    });
    one.features.forEach((value, i) => {
      expect(other.features[i]).toBeCloseTo(value, 3);
    });
    expect(other.level / one.level).toBeCloseTo(1e6, -1);
  });

  it('are finite and bounded for whatever a series may hold', () => {
    const odd = fc.oneof(
      fc.double({ min: 0, max: 1e6, noNaN: true }),
      fc.constantFrom(0, Number.NaN, 1e300, -1e300, Number.POSITIVE_INFINITY, 5e-324, 3),
    );
    fc.assert(
      fc.property(
        fc.array(odd, { maxLength: 80 }),
        fc.uniqueArray(fc.integer({ min: 1, max: 5000 }), { minLength: 1, maxLength: 4 }),
        fc.array(fc.double({ min: -3, max: 100, noNaN: true }), { maxLength: 3 }),
        (values, horizons, periods) => {
          horizons.sort((a, b) => a - b);
          const { contexts, features } = written(values, horizons, periods);
          const known = values.some(Number.isFinite);
          const context = contexts.subarray(0, CONTEXT_FEATURES);
          expect(context.every((value) => Math.abs(value) < 20)).toBe(true);
          expect(features.every((value) => Math.abs(value) <= Z_MAX)).toBe(true);
          expect(Number.isFinite(contexts[CONTEXT_FEATURES + 1])).toBe(known);
        },
      ),
      { numRuns: 300 },
    );
  });

  it('count gaps before the first known value as time before the series', () => {
    const gap = Array.from({ length: 10 }, () => Number.NaN);
    const { contexts: late } = written([...gap, 4, 5, 6]);
    const { contexts: short } = written([4, 5, 6]);
    expect([...late.subarray(0, 32)]).toEqual([...short.subarray(0, 32)]);
  });
});
