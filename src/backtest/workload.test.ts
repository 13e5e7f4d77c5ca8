/** Series into shards. */
import { expect, it } from 'vitest';
import { parseJsonLines } from './series.ts';
import { makeWorkload } from './workload.ts';

it('keeps apart shards of series whose names differ in what an id cannot hold', () => {
  const series = parseJsonLines(
    ['a b', 'a_b', 'кот', 'дом'].map((id) => JSON.stringify({ id, step_s: 60, v: [1, 2, 3] })).join('\n'),
  );
  const { shards } = makeWorkload(series, {
    seed: 'x',
    regions: ['us-east-1'],
    homeShare: 1,
    followTheSun: false,
    zipf: 1,
    noise: 0,
    sizePower: 1,
    peakCpu: 1,
    shardCpuMax: 1,
    cpuSecondsPerRequest: 0.01,
    stateBytes: 1,
    stateBytesSpread: 0,
  });
  expect(shards[0]).toBe('load/a_b:1');
  expect(new Set(shards).size).toBe(4);
});
