/** Neighbours of now: what followed moments like it, whatever no level and no season knows. */
import { describe, expect, it } from 'vitest';
import { BatchAnswers } from './batch-answers.ts';
import { BatchMaxima } from './batch-maxima.ts';
import { expectWithinReach } from './expert-conformance.ts';
import { NeighboursExpert } from './neighbours.ts';

/** A batch job that starts at no regular time: once it does, it runs at 20, 80, 50, 50, 20, as ever. */
const JOB = [20, 80, 50, 50, 20];
function jobs(steps: number): { values: Float64Array; starts: number[] } {
  const values = Float64Array.from({ length: steps }, (_, t) => 5 + ((t * 7919) % 10) / 10);
  const starts: number[] = [];
  let seed = 5;
  for (let at = 30; at + JOB.length < steps; ) {
    for (const [i, load] of JOB.entries()) values[at + i] = load;
    starts.push(at);
    seed = (seed * 48_271) % 2_147_483_647;
    at += 17 + (seed % 31);
  }
  return { values, starts };
}

function asked(values: Float64Array, origin: number, horizons: number[], periods?: number[]): number[][] {
  const answers = new BatchAnswers(new NeighboursExpert(), { values, stepS: 1, t0: 0 });
  answers.ask([origin], horizons, periods);
  return horizons.map((ahead) => {
    const out = new Float64Array(3);
    return answers.at(origin, ahead, out) ? [...out] : [];
  });
}

describe('the neighbours of now', () => {
  const { values, starts } = jobs(1500);

  it('know how a job goes on that has just begun', () => {
    const start = starts.at(-1)!;
    const answers = asked(values, start + 1, [1, 2, 3, 4]);
    for (const [i, [p50, p90]] of answers.entries()) {
      expect(p50).toBeCloseTo(JOB[i + 1]!, -1);
      expect(p90).toBeGreaterThanOrEqual(p50!);
    }
  });

  it('know the highest step of a window, which is not that of any one step', () => {
    const start = starts.at(-1)!;
    const maxima = new BatchMaxima(new NeighboursExpert(), { values, stepS: 1, t0: 0 }, [4]);
    maxima.ask([start + 1], undefined);
    const mixed = Float64Array.of(10, 10, 200);
    maxima.mix(start + 1, 0, mixed);
    expect(mixed[0]).toBeGreaterThan(30);
  });

  it('read nothing that came after the origin', () => {
    const origin = starts[20]! + 2;
    const before = asked(values, origin, [1, 8, 40]);
    expect(asked(values.slice(0, origin), origin, [1, 8, 40])).toEqual(before);
    expect(
      asked(
        values.map((value, t) => (t < origin ? value : 1e9)),
        origin,
        [1, 8, 40],
      ),
    ).toEqual(before);
  });

  it('say nothing of a series too short, or so far ahead that nothing has come in full', () => {
    expect(asked(values, 31, [1])).toEqual([[]]);
    expect(asked(values, 100, [98])).toEqual([[]]);
  });

  it('follow a load that moved: the same shape at a higher level', () => {
    const wave = (t: number) => 10 + 5 * Math.sin((2 * Math.PI * t) / 40);
    const moved = Float64Array.from({ length: 800 }, (_, t) => wave(t) * (t < 700 ? 1 : 3));
    const [[p50] = []] = asked(moved, 790, [10]);
    expect(p50).toBeGreaterThan(1.5 * wave(800));
    expect(p50).toBeLessThan(4 * wave(800));
  });

  it('answer ascending and within reach of what was seen, whatever that was', () => {
    expectWithinReach((seen, ahead, periods) => asked(seen, seen.length, [ahead], periods)[0]!);
  });
});
