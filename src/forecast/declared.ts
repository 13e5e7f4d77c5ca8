/**
 * What somebody has declared to come, on a forecast: within its time, load is that many times what it would have been.
 *
 * The bands grow with it: a declared factor is a guess of a person, so what it adds is uncertain by as much as half of
 * it. A factor below one takes nothing off p90 and p99: a declaration may add room early, never take it away.
 */
import type { MetricForecast, ShardForecast } from '../model/loop.ts';

/** A declared change that concerns a shard. */
export interface Declared {
  /** Seconds from now; `fromS` may have passed. */
  fromS: number;
  toS: number;
  /** Expected requests a second times this. */
  factor: number;
  /** Where the extra comes from; absent: as usual. */
  origin?: string;
}

/** What p90 and p99 get of the declared extra, beyond the extra itself. */
const UNSURE = [0, 0.25, 0.5] as const;
const FACTOR_MAX = 1000;

/** The forecast with what was declared; itself where nothing acts within its horizons. */
export function withDeclared(forecast: ShardForecast, declared: readonly Declared[]): ShardForecast {
  const factors = forecast.horizonsS.map((atS) => factorAt(declared, atS));
  if (factors.every((factor) => factor === 1)) return forecast;
  const { metrics } = forecast;
  return {
    ...forecast,
    metrics: {
      ...metrics,
      requests: scaled(metrics.requests, factors),
      cpu: scaled(metrics.cpu, factors),
      networkIn: scaled(metrics.networkIn, factors),
      networkOut: scaled(metrics.networkOut, factors),
    },
    byOrigin: originsWith(forecast, declared, factors),
  };
}

/** Factors of declarations that overlap multiply. */
export function factorAt(declared: readonly Declared[], atS: number): number {
  let factor = 1;
  for (const one of declared) if (atS >= one.fromS && atS < one.toS) factor *= one.factor;
  return Number.isFinite(factor) ? Math.max(0, Math.min(FACTOR_MAX, factor)) : 1;
}

function scaled(metric: MetricForecast, factors: readonly number[]): MetricForecast {
  const quantiles = metric.quantiles.map((values, q) =>
    values.map((value, h) => value * quantileFactor(factors[h]!, q)),
  ) as MetricForecast['quantiles'];
  const max = metric.max.map(
    (value, q) => value * Math.max(1, ratioOf(quantiles[q]!, metric.quantiles[q]!)),
  ) as MetricForecast['max'];
  return { quantiles: ordered(quantiles), max };
}

function quantileFactor(factor: number, q: number): number {
  if (factor < 1) return q === 0 ? factor : 1;
  return factor + UNSURE[q]! * (factor - 1);
}

/** How much the highest point grew. */
function ratioOf(after: readonly number[], before: readonly number[]): number {
  const was = Math.max(...before);
  return was > 0 ? Math.max(...after) / was : 1;
}

function ordered(quantiles: MetricForecast['quantiles']): MetricForecast['quantiles'] {
  const [p50, p90, p99] = quantiles;
  const up90 = p90.map((value, h) => Math.max(value, p50[h]!));
  return [p50, up90, p99.map((value, h) => Math.max(value, up90[h]!))];
}

/** The extra goes to the declared origin, where one is; else it is spread as the load is. */
function originsWith(
  forecast: ShardForecast,
  declared: readonly Declared[],
  factors: readonly number[],
): ShardForecast['byOrigin'] {
  const result: ShardForecast['byOrigin'] = {};
  for (const [origin, counts] of Object.entries(forecast.byOrigin))
    result[origin] = { commands: [...counts.commands], queries: [...counts.queries] };
  forecast.horizonsS.forEach((atS, h) => {
    if (factors[h] === 1) return;
    const from = declared.find(
      (one) => one.origin !== undefined && atS >= one.fromS && atS < one.toS,
    )?.origin;
    let [commands, queries] = [0, 0];
    for (const counts of Object.values(forecast.byOrigin)) {
      commands += counts.commands[h]!;
      queries += counts.queries[h]!;
    }
    if (from === undefined || factors[h]! < 1) {
      for (const counts of Object.values(result)) {
        counts.commands[h]! *= factors[h]!;
        counts.queries[h]! *= factors[h]!;
      }
      return;
    }
    result[from] ??= {
      commands: forecast.horizonsS.map(() => 0),
      queries: forecast.horizonsS.map(() => 0),
    };
    result[from].commands[h]! += commands * (factors[h]! - 1);
    result[from].queries[h]! += queries * (factors[h]! - 1);
  });
  return result;
}
