/** Builds a {@link ShardForecast} from expected rates by origin, with counting noise as its band. */
import type { Region, ShardId } from '../model/ids.ts';
import type { MetricForecast, ShardForecast } from '../model/loop.ts';
import { Z90, Z99 } from './normal.ts';

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
  // Asked of every shard in every step by policies that look back: plain loops.
  const rate = new Array<number>(horizonsS.length).fill(0);
  for (const origin in byOrigin) {
    const { commands, queries } = byOrigin[origin]!;
    for (let h = 0; h < rate.length; h++) rate[h]! += (commands[h] ?? 0) + (queries[h] ?? 0);
  }
  const quantile = (z: number, factor: number): number[] => {
    const values = new Array<number>(rate.length);
    for (let h = 0; h < rate.length; h++)
      values[h] = (rate[h]! + z * Math.sqrt(rate[h]! / cost.windowS)) * factor;
    return values;
  };
  const scaled = (factor: number): MetricForecast => {
    const quantiles: MetricForecast['quantiles'] = [
      quantile(0, factor),
      quantile(Z90, factor),
      quantile(Z99, factor),
    ];
    return { quantiles, max: [largest(quantiles[0]), largest(quantiles[1]), largest(quantiles[2])] };
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

function largest(values: readonly number[]): number {
  let most = 0;
  for (const value of values) if (value > most) most = value;
  return most;
}
