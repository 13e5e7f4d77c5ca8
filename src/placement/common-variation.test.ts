import { describe, expect, it } from 'vitest';
import type { PlacementShard } from '../model/loop.ts';
import { commonVariation } from './common-variation.ts';

const shard = (p50: number, p90: number) =>
  ({
    forecast: { metrics: { requests: { quantiles: [[p50], [p90], [p90]] } } },
  }) as unknown as PlacementShard;

describe('what all loads have in common', () => {
  it('is nothing where the whole varies as its parts do apart', () => {
    const shards = Array.from({ length: 100 }, () => shard(10, 13));
    expect(commonVariation(shards, { p50: [1000], p90: [1030] })).toBeCloseTo(0, 6);
    expect(commonVariation(shards, { p50: [1000], p90: [1010] })).toBe(0);
  });

  it('is what the whole varies beyond that, as a standard deviation of the mean', () => {
    const steady = Array.from({ length: 100 }, () => shard(10, 10));
    expect(commonVariation(steady, { p50: [1000], p90: [1128.16] })).toBeCloseTo(0.1, 6);
    expect(commonVariation(steady, { p50: [0], p90: [10] })).toBe(0);
    expect(commonVariation(steady, { p50: [1], p90: [100] })).toBe(0.5);
  });
});
