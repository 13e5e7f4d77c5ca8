/**
 * The `bestFixed` policy: the best single placement for known average rates, never changed. A yardstick: what can be had
 * without moving.
 */
import type { ProcessId, ShardId } from '../model/ids.ts';
import type { PlacementInput } from './input.ts';
import { place } from './place.ts';

/**
 * @param input shards with forecasts that hold their average rates (see `flatForecast`)
 * @returns where every shard should be for good: moves are free and the window is long
 */
export function bestFixedPlacement(input: PlacementInput): Map<ShardId, ProcessId> {
  return place({
    ...input,
    prices: { ...input.prices, moveFixedUsd: 0, moveCpuSeconds: 0, handOffPauseMs: 0 },
    owedUsd: undefined,
  }).target;
}
