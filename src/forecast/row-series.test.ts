/** What a controller's row tells of its own surges. */
import { expect, it } from 'vitest';
import { SeededRandom } from '../io/random.ts';
import { engineForecaster, type LoadStep } from './index.ts';
import { RowSeries, seriesBank } from './row-series.ts';

function after(values: readonly number[], series = new RowSeries(seriesBank(10))): RowSeries {
  for (const value of values) series.observe(value);
  return series;
}

/** Asleep but for one step in fifty that nobody could foresee. */
function sleeper(steps: number, surge: number): number[] {
  const random = new SeededRandom('sleeper');
  return Array.from({ length: steps }, () => (random.next() < 1 / 50 ? surge : 1));
}

it('a load that sleeps tells how much it is when it wakes, and one that is steady tells of next to nothing', () => {
  const values = sleeper(2020, 61);
  const share = values.filter((value) => value > 1).length / values.length;
  expect(share).toBeGreaterThan(0.01);
  const { surge } = after(values);
  expect(surge / (60 * share ** 0.25)).toBeGreaterThan(0.8);
  expect(surge / (60 * share ** 0.25)).toBeLessThan(1.2);
  expect(after(new Array(500).fill(40)).surge).toBeLessThan(1);
  expect(after([]).surge).toBe(0);
});

it('missing values are no surges, and what was counted goes on after a restart', () => {
  const before = after([...sleeper(600, 30), Number.NaN, Number.NaN]);
  const restarted = new RowSeries(seriesBank(10));
  restarted.load(JSON.parse(JSON.stringify(before.save())));
  expect(restarted.surge).toBe(before.surge);
  const { surgesFourth: _, ...older } = before.save();
  restarted.load(older);
  expect(restarted.surge).toBe(0);
});

it('a shard with models of its own says so in its forecast, in requests, CPU and bytes; others say nothing', () => {
  const engine = engineForecaster();
  const values = sleeper(700, 400);
  values.forEach((value, i) => {
    const sample = (shard: string, requests: number): LoadStep['shards'][number] => ({
      ...{ shard, atMs: (i + 1) * 10_000, stepMs: 10_000, commands: requests, queries: 0, rejected: 0 },
      byOrigin: { 'us-east-1': { commands: requests, queries: 0 } },
      ...{ cpuSeconds: requests * 0.01, stateBytes: 100, bytesIn: 20 * requests, bytesOut: 30 * requests },
      ...{ writeBytes: 0, censored: false },
    });
    engine.observe({
      number: i + 1,
      atMs: (i + 1) * 10_000,
      stepS: 10,
      shards: [sample('room/wakes', 10 + value), sample('room/cold', i % 30 === 0 ? 1 : 0)],
      missingShare: 0,
    });
  });
  const [wakes, cold] = engine.forecast(['room/wakes', 'room/cold'], [10, 20]);
  const share = values.filter((value) => value > 1).length / values.length;
  const { requests, cpu, network } = wakes!.surge!;
  expect(requests / (40 * share ** 0.25)).toBeGreaterThan(0.6);
  expect(requests / (40 * share ** 0.25)).toBeLessThan(1.4);
  expect(cpu / requests).toBeCloseTo(0.01, 3);
  expect(network / requests).toBeCloseTo(50, 0);
  expect(cold!.surge).toBeUndefined();
});

it('what was counted before a period was found weighs little after it: with it much of that is foreseen', () => {
  const series = after(sleeper(1000, 61));
  const before = series.surge;
  expect(before).toBeGreaterThan(5);
  series.period = 100;
  expect(series.surge).toBe(before);
  after(new Array(300).fill(1), series);
  expect(series.surge).toBeLessThan(0.6 * before);
  series.period = 100;
  after(new Array(10).fill(1), series);
  expect(series.surge).toBeGreaterThan(before / 10);
});
