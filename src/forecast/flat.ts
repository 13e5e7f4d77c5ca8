/** Builds a {@link ShardForecast} from expected rates by origin, with counting noise as its band. */
import type { Region, ShardId } from '../model/ids.ts';
import type { MetricForecast, ShardForecast } from '../model/loop.ts';

/** Expected requests a second at each horizon. */
export type OriginRates = Record<Region, { commands: number[]; queries: number[] }>;

export interface CostOfRequests {
  cpuSeconds: number;
  bytesIn: number;
  bytesOut: number;
  stateBytes: number;
  /** Window over which a rate is counted: bands narrow with its root. */
  windowS: number;
}

export function flatForecast(
  shard: ShardId,
  horizonsS: readonly number[],
  byOrigin: OriginRates,
  cost: CostOfRequests,
): ShardForecast {
  const rate = horizonsS.map((_, h) => {
    let sum = 0;
    for (const { commands, queries } of Object.values(byOrigin))
      sum += (commands[h] ?? 0) + (queries[h] ?? 0);
    return sum;
  });
  const spread = rate.map((value) => Math.sqrt(value / cost.windowS));
  const scaled = (factor: number): MetricForecast => {
    const at = (z: number) => rate.map((value, h) => (value + z * spread[h]!) * factor);
    const quantiles: MetricForecast['quantiles'] = [at(0), at(1.2816), at(2.3263)];
    return {
      quantiles,
      max: [Math.max(0, ...quantiles[0]), Math.max(0, ...quantiles[1]), Math.max(0, ...quantiles[2])],
    };
  };
  const memory = rate.map(() => cost.stateBytes);
  return {
    shard,
    horizonsS: [...horizonsS],
    metrics: {
      requests: scaled(1),
      cpu: scaled(cost.cpuSeconds),
      memory: {
        quantiles: [memory, memory, memory],
        max: [cost.stateBytes, cost.stateBytes, cost.stateBytes],
      },
      networkIn: scaled(cost.bytesIn),
      networkOut: scaled(cost.bytesOut),
    },
    byOrigin,
  };
}
