import { describe, expect, it } from 'vitest';
import { compareSeed, frontier, interval, minutesAt, usdFor, verdict } from './compare.ts';
import type { PolicyId, RunResult } from './model.ts';

function run(policy: PolicyId, usd: number, minutesOver: number): RunResult {
  return {
    policy,
    headroom: 0.5,
    scoredS: 86_400,
    usd: { nodes: usd, egress: 0, moves: 0, total: usd },
    minutesOver,
    clockMinutesOver: 0,
    latencyMs: { mean: 1, p50: 1, p99: 1 },
    requestsOverShare: 0,
    rejectedShare: 0,
    moves: 0,
    promotions: 0,
    bytesCopied: 0,
    pingPong: 0,
    bytesMoved: 0,
    nodesMean: 1,
    nodesStarted: 0,
  };
}

describe('a frontier', () => {
  const points = frontier([run('hpa', 30, 10), run('hpa', 10, 100), run('hpa', 20, 120), run('hpa', 40, 15)]);

  it('keeps what no cheaper run is better than', () => {
    expect(points).toEqual([
      { usd: 10, minutesOver: 100 },
      { usd: 30, minutesOver: 10 },
    ]);
  });

  it('falls by the same factor for the same dollars in between, is flat beyond, and nothing below', () => {
    const middle = Math.sqrt(101 * 11) - 1;
    expect(minutesAt(points, 20)).toBeCloseTo(middle, 9);
    expect(minutesAt(points, 99)).toBe(10);
    expect(minutesAt(points, 9)).toBeUndefined();
    expect(usdFor(points, middle)).toBeCloseTo(20, 9);
    expect(minutesAt(frontier([run('hpa', 1, 3), run('hpa', 3, 0)]), 2)).toBeCloseTo(1, 9);
    expect(usdFor(points, 5)).toBeUndefined();
    expect(usdFor(points, 200)).toBe(10);
  });
});

describe('a comparison at equal dollars', () => {
  it('holds predictive against whichever policy without foresight is best at each amount', () => {
    const seed = compareSeed(
      '1',
      [
        run('hpa', 10, 100),
        run('hpa', 20, 60),
        run('reactive', 10, 80),
        run('reactive', 20, 80),
        run('predictive', 10, 40),
        run('predictive', 20, 20),
        run('oracle', 10, 10),
        run('oracle', 20, 10),
      ],
      0,
    );
    expect(seed.usd).toEqual([10, 20]);
    // hpa falls from 100 to 60, reactive stays at 80: the lower of both is 80 to the middle, then down to 60.
    // Of the mean over a stretch of such a curve, 1 + minutes is the logarithmic mean of its ends.
    const mean = (from: number, to: number) => (from - to) / Math.log((1 + from) / (1 + to)) - 1;
    const crossing = Math.log(101 / 81) / Math.log(101 / 61);
    const best = 80 * crossing + mean(80, 60) * (1 - crossing);
    expect(seed.bestNonPredictive).toBeCloseTo(best, 0);
    expect(seed.minutes.predictive).toBeCloseTo(mean(40, 20), 1);
    expect(seed.reduction).toBeCloseTo(1 - mean(40, 20) / best, 2);
    expect(seed.captured).toBeCloseTo((best - mean(40, 20)) / (best - 10), 2);
  });

  it('ends at the dollars that buy the accepted minutes without foresight', () => {
    const runs = [run('hpa', 10, 100), run('hpa', 20, 0), run('predictive', 5, 0), run('oracle', 5, 0)];
    expect(compareSeed('1', runs, Math.sqrt(101) - 1).usd).toEqual([10, 15]);
  });

  it('is not moved to where a wasteful policy without foresight begins, but to where a better one does', () => {
    const runs = (dear: number) => [
      run('latencyGreedy', 80, dear),
      run('reactive', 10, 100),
      run('reactive', 90, 20),
      run('predictive', 12, 40),
      run('oracle', 11, 10),
    ];
    const seed = compareSeed('1', runs(50), 0);
    expect(seed.usd).toEqual([12, 90]);
    expect(seed.minutes.latencyGreedy).toBeUndefined();
    // Nor does it end where only a wasteful one spends more.
    expect(compareSeed('1', [...runs(50), run('latencyGreedy', 200, 30)], 0).usd).toEqual([12, 90]);
    // For $80 the other has 24.6 minutes.
    expect(compareSeed('1', runs(24), 0).usd).toEqual([80, 90]);
  });

  it('says that there is no gain where an oracle has none', () => {
    const runs = [run('reactive', 10, 50), run('predictive', 10, 49), run('oracle', 10, 49.9)];
    const seed = compareSeed('1', runs, 0);
    expect(seed.captured).toBeUndefined();
    expect(verdict([seed]).text[0]).toMatch(/^No gain/);
  });

  it('says so where prediction is worse', () => {
    const runs = [run('reactive', 10, 50), run('predictive', 10, 100), run('oracle', 10, 10)];
    expect(verdict([compareSeed('1', runs, 0)], [0.5, 1]).text.join('\n')).toMatch(
      /100 % more of them .* 100 min against 50 min[\s\S]*-125 %[\s\S]*otherwise/,
    );
  });

  it.each([
    [
      ['oracle'],
      /gain is not known: no policy without foresight was run/,
      /saves is not known: predictive was not run/,
    ],
    [['reactive'], /gain is not known: oracle was not run/, /saves is not known: predictive was not run/],
    [
      ['predictive'],
      /gain is not known: oracle was not run/,
      /saves is not known: no policy without foresight/,
    ],
    [['reactive', 'predictive'], /gain is not known: oracle was not run/, /Moving ahead of load has/],
  ] as [PolicyId[], RegExp, RegExp][])('says of %j alone what is missing', (policies, gain, saving) => {
    const { text } = verdict([
      compareSeed(
        '1',
        policies.map((policy) => run(policy, 10, 50)),
        0,
      ),
    ]);
    expect(text[0]).toMatch(gain);
    expect(text[1]).toMatch(saving);
  });

  it('does not compare what costs more than the others can spend', () => {
    const runs = [run('static', 10, 50), run('reactive', 10, 5), run('predictive', 30, 1)];
    const seed = compareSeed('1', runs, 0);
    expect(seed.usd).toEqual([30, 30]);
    expect(seed.minutes.predictive).toBe(1);
    expect(seed.bestNonPredictive).toBeCloseTo(5);
  });
});

it('intervals are of Student', () => {
  expect(interval([1])).toMatchObject({ mean: 1, half: Number.NaN });
  const two = interval([1, 3])!;
  expect(two.mean).toBe(2);
  expect(two.half).toBeCloseTo(12.706, 3);
});
