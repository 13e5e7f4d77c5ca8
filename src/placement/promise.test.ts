import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { PlacementShard, ShardForecast } from '../model/loop.ts';
import { AWS_THREE_REGIONS } from '../model/topology.ts';
import { DEFAULT_PRICES } from './defaults.ts';
import { promiseOf } from './promise.ts';
import { flowsIn } from './shard-value.ts';

const [us, eu, ap] = AWS_THREE_REGIONS.regions as [string, string, string];
const at = (region: string, cellRegion = region) => ({ region, cellRegion });
const shardOf = (byOrigin: ShardForecast['byOrigin']) => ({ forecast: { byOrigin } as ShardForecast });

describe('a promise', () => {
  it('is the way there and back, and for commands the way to the cell', () => {
    const shard = shardOf({
      [eu]: { commands: [0, 0], queries: [3, 3] },
      [us]: { commands: [1, 1], queries: [0, 0] },
    });
    const promise = promiseOf(shard, at(us), at(eu, us), AWS_THREE_REGIONS);
    expect(promise[eu]).toEqual({ share: 0.75, nowMs: 84.9, thenMs: 0.8 });
    expect(promise[us]?.nowMs).toBeCloseTo(0.8 + 0.8);
    expect(promise[us]?.thenMs).toBeCloseTo(84.9 + 84.9);
  });

  it('is made to nobody without users, and not to a hundredth of them', () => {
    expect(promiseOf(shardOf({}), at(us), at(eu), AWS_THREE_REGIONS)).toEqual({});
    const few = shardOf({ [eu]: { commands: [1], queries: [999] }, [ap]: { commands: [0], queries: [1] } });
    expect(Object.keys(promiseOf(few, at(us), at(eu), AWS_THREE_REGIONS))).toEqual([eu]);
  });

  it('adds up to what the objective weighs', () => {
    const rate = fc.double({ min: 0.5, max: 10, noNaN: true });
    const region = fc.constantFrom(us, eu, ap);
    fc.assert(
      fc.property(
        fc.tuple(rate, rate, rate, rate),
        region,
        region,
        region,
        ([a, b, c, d], from, to, cell) => {
          const byOrigin = { [us]: { commands: [a], queries: [b] }, [ap]: { commands: [c], queries: [d] } };
          const promise = promiseOf(shardOf(byOrigin), at(from), at(to, cell), AWS_THREE_REGIONS);
          const shard = {
            forecast: { byOrigin },
            bytesPerRequest: 0,
            writeBytesPerSecond: 0,
          } as never as PlacementShard;
          const flows = {
            latencyUsd: new Float64Array(1),
            egressUsd: new Float64Array(1),
            latencyMs: new Float64Array(1),
          };
          flowsIn(shard, to, cell, AWS_THREE_REGIONS, DEFAULT_PRICES, flows);
          const promised = Object.values(promise).reduce((sum, { share, thenMs }) => sum + share * thenMs, 0);
          expect(promised * (a + b + c + d)).toBeCloseTo(flows.latencyMs[0]!, 6);
        },
      ),
    );
  });
});
