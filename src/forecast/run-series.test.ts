/** The engine over recorded series, with experts that answer in batches beside it. */
import { describe, expect, it } from 'vitest';
import type { BatchExpert } from './batch-expert.ts';
import { SeriesRun } from './run-series.ts';
import { parseSeries } from './series-record.ts';

/** A load that nobody foresees from its past: what comes is drawn anew each step. */
function drawn(steps: number): number[] {
  let seed = 11;
  return Array.from({ length: steps }, () => {
    seed = (seed * 48_271) % 2_147_483_647;
    return 10 + (90 * seed) / 2_147_483_647;
  });
}

const record = (v: (number | null)[]) => parseSeries(JSON.stringify({ id: 'a', t0: 0, step_s: 300, v }));

/** Knows the whole series; finds where it stands by its features' age. */
function oracle(values: readonly number[], factor: number): BatchExpert {
  const horizonSteps = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64];
  return {
    name: 'oracle',
    contextSteps: 8,
    horizonSteps,
    quantiles: [0.5, 0.9, 0.99],
    forecast(contexts, features, count, out) {
      const width = features.length / count;
      for (let row = 0; row < count; row++) {
        const known = Math.round(2 ** (features[row * width + 3]! * 16) - 1);
        const level = values[known - 1]! / Math.sinh(contexts[row * 8 + 7]!);
        horizonSteps.forEach((ahead, h) => {
          const truth = Math.asinh((factor * (values[known + ahead - 1] ?? 50)) / level);
          out.fill(truth, (row * horizonSteps.length + h) * 3, (row * horizonSteps.length + h) * 3 + 3);
        });
      }
    },
  };
}

describe('a recorded series', () => {
  it('believes a batch expert that is right, and not one that is wrong', () => {
    const values = drawn(1264);
    const known = record(values.slice(0, 1200));
    const off = (batchExperts: BatchExpert[]) => {
      const run = new SeriesRun(known, { windows: [], batchExperts });
      run.advance(1200);
      const [p50] = run.forecast(24, [0.5]).quantiles;
      // Between its own horizons even an oracle is a straight line.
      const asked = [1, 2, 3, 4, 6, 8, 12, 16, 24];
      return asked.reduce((sum, h) => sum + Math.abs(p50![h - 1]! - values[1199 + h]!), 0) / asked.length;
    };
    const alone = off([]);
    expect(off([oracle(values, 1)])).toBeLessThan(0.3 * alone);
    expect(off([oracle(values, 5)])).toBeLessThan(1.15 * alone);
  });

  it('takes an answer that is not finite, or a horizon beyond its last, for no answer', () => {
    const mute: BatchExpert = {
      name: 'mute',
      contextSteps: 4,
      horizonSteps: [1, 4],
      quantiles: [0.5, 0.9],
      forecast: (_contexts, _features, _count, out) => void out.fill(Number.NaN),
    };
    const v = drawn(300);
    const answers = [[], [mute]].map((batchExperts) => {
      const run = new SeriesRun(record(v), { windows: [15], batchExperts });
      run.advance(300);
      return run.forecast(30, [0.5, 0.9, 0.99]);
    });
    expect(answers[1]).toEqual(answers[0]);
  });

  it('goes on from origin to origin as if it had learnt at once', () => {
    const v = drawn(400);
    const [one, two] = [new SeriesRun(record(v), { windows: [] }), new SeriesRun(record(v), { windows: [] })];
    one.advance(150);
    one.forecast(10, [0.5]);
    one.advance(400);
    two.advance(400);
    expect(one.forecast(10, [0.5])).toEqual(two.forecast(10, [0.5]));
    expect(one.forecast(10, [0.5]).t0).toBe(400 * 300);
  });
});
