/** What a batch expert is given: finite whatever the series holds, and scaled as its interface says. */
import { describe, expect, it } from 'vitest';
import { BATCH_FEATURES_STATIC, batchFeatureCount, writeBatchWindow } from './batch-expert.ts';

const expert = { contextSteps: 4, horizonSteps: [1, 3] };

function written(values: number[], options: { stepS?: number; atS?: number } = {}) {
  const contexts = new Float32Array(4);
  const features = new Float32Array(batchFeatureCount(expert));
  const level = writeBatchWindow(
    expert,
    {
      at: (age) => values[values.length - 1 - age] ?? Number.NaN,
      length: values.length,
      stepS: options.stepS ?? 60,
      atS: options.atS ?? Number.NaN,
    },
    0,
    contexts,
    features,
  );
  return { contexts, features, level };
}

describe('the window of a batch expert', () => {
  it('is asinh of the value over the mean of the window, newest last', () => {
    const { contexts, level } = written([9, 1, 2, 3, 2]);
    expect(level).toBe(2);
    expect([...contexts]).toEqual([1, 2, 3, 2].map((value) => Math.fround(Math.asinh(value / 2))));
  });

  it('fills gaps with the last known value, and the time before the series with its first', () => {
    const { contexts, features } = written([4, Number.NaN, 2]);
    expect(contexts[0]).toBe(contexts[1]);
    expect(contexts[2]).toBe(contexts[1]);
    expect(features[1]).toBe(0.5);
  });

  it('stays finite for nothing, zeros, NaN and numbers beyond measure', () => {
    for (const values of [[], [0, 0, 0, 0], [Number.NaN], [Number.POSITIVE_INFINITY, 1e300, -1e300]]) {
      const { contexts, features } = written(values, { atS: 1e9 });
      expect([...contexts, ...features].every(Number.isFinite)).toBe(true);
    }
  });

  it('knows yesterday where there was one', () => {
    const stepS = 43_200;
    const { features, level } = written([1, 5, 3, 7], { stepS, atS: 86_400 });
    expect(features[8]).toBe(1);
    expect(features[9]).toBe(0);
    // One step ahead is two steps after the value 3.
    expect(features[BATCH_FEATURES_STATIC]).toBeCloseTo(Math.asinh(3 / level), 5);
  });
});
