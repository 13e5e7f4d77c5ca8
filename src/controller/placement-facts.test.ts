import { describe, expect, it } from 'vitest';
import type { PlacementShard } from '../model/loop.ts';
import { bandwidthOf, commonVariation, longestTransferS } from './placement-facts.ts';
import { UNMEASURED_BYTES_PER_SECOND } from './transfer-rate.ts';

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

it('bytes take what was measured between two regions, or the limit of transfers', () => {
  const rates = [{ from: 'eu', to: 'us', bytesPerSecond: 1e6 }];
  expect(bandwidthOf(rates)('eu', 'us')).toBe(1e6);
  expect(bandwidthOf(rates)('us', 'eu')).toBe(UNMEASURED_BYTES_PER_SECOND);
  expect(longestTransferS(5e6, rates)).toBe(5);
  expect(longestTransferS(0)).toBe(0);
});
