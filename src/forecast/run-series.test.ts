/** The engine over recorded series, with experts that answer in batches beside it. */
import { describe, expect, it } from 'vitest';
import type { BatchExpert } from './batch-expert.ts';
import { SeriesRun } from './run-series.ts';
import { parseSeries } from './series-record.ts';
import { SeriesStream } from './stream.ts';

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

describe('a stream', () => {
  it.each([
    [{ stepS: 0 }, /lasts some seconds/],
    [{ stepS: Number.NaN }, /lasts some seconds/],
    [{ stepS: 60, windows: [15, 0] }, /windows are whole numbers/],
    [{ stepS: 60, covariates: ['rain', 'rain'] }, /two covariates have one name/],
  ])('is not made with %j', (options, reason) => {
    expect(() => new SeriesStream(options)).toThrow(reason);
  });
});

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

  it('says the same of a step however many others it is asked for', () => {
    const v = Array.from({ length: 200 }, (_, i) => 10 + 5 * Math.sin(i / 4));
    const [near, far] = [16, 1200].map((horizon) => {
      const run = new SeriesRun(record(v), { windows: [] });
      run.advance(200);
      return run.forecast(horizon, [0.5, 0.9, 0.99]).quantiles.map((values) => values.subarray(0, 16));
    });
    expect(far).toEqual(near);
  });

  it('gives seasonal naive where its own answers were clearly worse, and only there', () => {
    // Plan: an expert is believed by what it says at the horizons at which it is scored; at all others this one says
    // five times too much.
    const noise = drawn(1264);
    const values = noise.map((x, t) => 100 + 80 * Math.sin((2 * Math.PI * t) / 48) + x / 20);
    const scored = [1, 4, 12, 30, 75, 200];
    const deceiver = (horizonSteps: readonly number[]): BatchExpert => ({
      ...oracle(values, 1),
      horizonSteps,
      withHorizons: deceiver,
      forecast(contexts, features, count, out) {
        const width = features.length / count;
        for (let row = 0; row < count; row++) {
          const known = Math.round(2 ** (features[row * width + 3]! * 16) - 1);
          const level = values[known - 1]! / Math.sinh(contexts[row * 8 + 7]!);
          horizonSteps.forEach((ahead, h) => {
            const factor = scored.includes(ahead) ? 1 : 5;
            const said = Math.asinh((factor * (values[known + ahead - 1] ?? 100)) / level);
            out.fill(said, (row * horizonSteps.length + h) * 3, (row * horizonSteps.length + h) * 3 + 3);
          });
        }
      },
    });
    const answer = (batchExperts: BatchExpert[]) => {
      const run = new SeriesRun(record(values.slice(0, 1200)), { windows: [], batchExperts });
      run.advance(1200);
      return run.forecast(24, [0.5, 0.9, 0.99]);
    };
    const { quantiles, fallsBack } = answer([deceiver([1, 8, 60])]);
    expect(fallsBack.map(({ ahead }) => ahead)).toEqual([8]);
    expect(fallsBack[0]!.lossAgainstNaive).toBeGreaterThan(1.5);
    const [p50, p90, p99] = quantiles;
    expect(p50![5]! / values[1205]!).toBeGreaterThan(1.2);
    for (let h = 7; h < 24; h++) {
      // History is kept in 8 bits.
      expect(Math.abs(p50![h]! / values[1200 + h - 48]! - 1)).toBeLessThan(0.06);
      expect(p90![h]!).toBeGreaterThanOrEqual(p50![h]!);
      expect(p99![h]!).toBeGreaterThanOrEqual(p90![h]!);
    }
    expect(answer([]).fallsBack).toEqual([]);
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

describe('a stream', () => {
  it('falls back to seasonal naive as its watch says, under what events will do, and goes on so after a save', () => {
    const v = drawn(24);
    const stream = new SeriesStream({ stepS: 3600, windows: [15] });
    for (let t = 0; t < 600; t++) stream.observe(v[t % 24]! + 0.1 * (t % 7));
    expect(stream.watched(1).scores).toBeGreaterThan(50);
    expect(stream.watched(60).scores).toBeGreaterThan(50);
    expect(stream.fallenBack(60)).toEqual([]);
    // Edited below, so without the digest of what it was.
    const saved = { ...stream.save(), digest: undefined };
    // Scores, held, own loss, naive's, given: at 8 steps, a hundred of them, naive ten times better.
    saved.watch!.splice(5, 5, 100, 90, 100, 10, 1);
    const again = new SeriesStream({ stepS: 3600, windows: [15] });
    again.load(JSON.parse(JSON.stringify(saved)));
    expect(again.fallenBack(60)).toMatchObject([{ ahead: 8, lossAgainstNaive: 10 }]);
    expect(again.fallenBack(7)).toEqual([]);
    const [own, given] = [new Float64Array(6), new Float64Array(6)];
    stream.forecast([7, 12], own);
    again.forecast([7, 12], given);
    expect(given.subarray(0, 3)).toEqual(own.subarray(0, 3));
    const naive = again.bank.naive(again.row, 12);
    expect(given[3]).toBe(naive);
    expect(given[4]! - given[3]!).toBeCloseTo(own[4]! - own[3]!, 6);
    const maxima = [new Float64Array(3), new Float64Array(3)];
    stream.forecastMax(0, maxima[0]!);
    again.forecastMax(0, maxima[1]!);
    expect(maxima[1]).toEqual(maxima[0]);
    again.declare({ label: 'sale', from: 608 * 3600, to: 620 * 3600, factor: 2 });
    again.forecast([7, 12], given);
    expect(given[3]).toBeCloseTo(2 * naive, 6);
  });
});
