/**
 * The oracle policy's forecaster: true future rates, supplied from outside (a simulation or a recorded trace). It bounds
 * what any forecaster could gain with the same planner.
 */
import type { LoadStep } from '../metrics/step.ts';
import type { ShardId } from '../model/ids.ts';
import { type CostOfRequests, flatForecast, type OriginRates } from './flat.ts';
import type { Forecaster } from './forecaster.ts';
import { Z90, Z99 } from './normal.ts';

/** True expected requests a second of a shard by origin at a time, and what a request costs. */
export interface OracleSource {
  rates(shard: ShardId, atMs: number): Record<string, { commands: number; queries: number }>;
  cost(shard: ShardId): Omit<CostOfRequests, 'windowS'>;
  totalRate(atMs: number): number;
}

/**
 * @example
 * const oracle = oracleForecaster({ rates: (shard, atMs) => world.rates(shard, atMs), cost, totalRate });
 */
export function oracleForecaster(source: OracleSource): Forecaster {
  let nowMs = 0;
  let stepS = 1;
  return {
    observe(step: LoadStep) {
      nowMs = step.atMs;
      stepS = step.stepS;
    },
    forecast: (shards, horizonsS) =>
      shards.map((shard) => {
        const byOrigin: OriginRates = {};
        horizonsS.forEach((seconds, h) => {
          for (const [origin, { commands, queries }] of Object.entries(
            source.rates(shard, nowMs + seconds * 1000),
          )) {
            byOrigin[origin] ??= { commands: horizonsS.map(() => 0), queries: horizonsS.map(() => 0) };
            byOrigin[origin].commands[h] = commands;
            byOrigin[origin].queries[h] = queries;
          }
        });
        return flatForecast(shard, horizonsS, byOrigin, { ...source.cost(shard), windowS: stepS });
      }),
    total: (horizonsS) => {
      const p50 = horizonsS.map((seconds) => source.totalRate(nowMs + seconds * 1000));
      const band = (z: number) => p50.map((rate) => rate + z * Math.sqrt(rate / stepS));
      return { p50, p90: band(Z90), p99: band(Z99) };
    },
    explain: () => ({ periodsS: [], weights: { oracle: 1 }, coverageP90: Number.NaN }),
    save: () => ({ nowMs, stepS }),
    load(state) {
      ({ nowMs, stepS } = state as { nowMs: number; stepS: number });
    },
  };
}
