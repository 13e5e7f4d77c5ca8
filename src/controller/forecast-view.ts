/**
 * What `GET /v1/forecast` and `skein forecast show` show: one metric of a shard, a node, a region or the whole cluster,
 * measured and foreseen. Pure: what is asked about comes in, plain data goes out.
 *
 * A node's and a region's load is forecast as one (`Forecaster.aggregate`): p90s of shards are not summed.
 */
import type { Forecaster } from '../forecast/index.ts';
import type { NodeName, Region, ShardId } from '../model/ids.ts';
import type { ForecastMetric, MetricForecast, ShardForecast } from '../model/loop.ts';
import type { LoadHistory } from './load-history.ts';
import type { ForecastView } from './loop-engine.ts';

/** What is asked about; without a shard, node or region the whole cluster. */
export interface ForecastQuery {
  node?: NodeName;
  region?: Region;
  /** `requests` by default. */
  metric?: ForecastMetric;
  /** How far ahead, seconds, up to {@link AHEAD_S_MAX}; some tens of steps by default. */
  aheadS?: number;
}

export const AHEAD_S_MAX = 86_400;
/** Horizons by default, in steps. */
const VIEW_STEPS = [1, 2, 3, 5, 8, 13, 21, 34, 55, 89];
/** Handlers of a mix that are shown. */
const HANDLERS_SHOWN = 8;
/** Horizons where it is said how far, evenly by their logarithm. */
const HORIZONS = 12;

/** Seconds ahead that are shown. */
export function viewHorizonsS(stepS: number, aheadS: number | undefined): number[] {
  if (aheadS === undefined) return VIEW_STEPS.map((steps) => steps * stepS);
  const last = Math.max(1, Math.round(Math.min(aheadS, AHEAD_S_MAX) / stepS));
  const first = Math.min(last, Math.max(1, Math.round(60 / stepS)));
  const steps = Array.from({ length: HORIZONS }, (_, i) =>
    Math.round(first * (last / first) ** (i / (HORIZONS - 1))),
  );
  return [...new Set(steps)].map((count) => count * stepS);
}

/**
 * @param shards of the node or region asked about, or all; undefined where one shard is
 * @param expect what was declared put on a forecast
 */
export function forecastView(
  { shard, ...query }: ForecastQuery & { shard?: ShardId },
  shards: readonly ShardId[] | undefined,
  { forecaster, history, stepS }: { forecaster: Forecaster; history: LoadHistory; stepS: number },
  expect: (forecast: ShardForecast) => ShardForecast,
): ForecastView {
  const metric = query.metric ?? 'requests';
  const horizonsS = viewHorizonsS(stepS, query.aheadS);
  const part = query.node !== undefined || query.region !== undefined;
  let found: Pick<ForecastView, 'p50' | 'p90' | 'p99'> & { max?: MetricForecast['max'] };
  if (shard === undefined && !part && metric === 'requests') found = forecaster.total(horizonsS);
  else {
    const one =
      shard !== undefined
        ? forecaster.forecast([shard], horizonsS)[0]!
        : (forecaster.aggregate?.(shards ?? [], horizonsS) ??
          sumOf(forecaster.forecast(shards ?? [], horizonsS), horizonsS));
    const [p50, p90, p99] = (shard === undefined ? one : expect(one)).metrics[metric].quantiles;
    found = { p50, p90, p99 };
  }
  return {
    ...(shard !== undefined && { shard }),
    ...(query.node !== undefined && { node: query.node }),
    ...(query.region !== undefined && { region: query.region }),
    metric,
    stepS,
    atMs: history.atMs,
    ...measured(history, metric, shard, part ? shards : undefined),
    horizonsS,
    ...found,
    ...mixOf(forecaster, shard, horizonsS),
    explanation: forecaster.explain(shard ?? ''),
  };
}

function mixOf(
  forecaster: Forecaster,
  shard: ShardId | undefined,
  horizonsS: readonly number[],
): Pick<ForecastView, 'mix'> {
  if (shard === undefined) return {};
  const mix = forecaster.mix?.(shard.slice(0, shard.indexOf('/')), horizonsS) ?? [];
  return mix.length > 0 ? { mix: mix.slice(0, HANDLERS_SHOWN) } : {};
}

/** Requests are kept step by step; of other metrics only means are. */
function measured(
  history: LoadHistory,
  metric: ForecastMetric,
  shard: ShardId | undefined,
  shards: readonly ShardId[] | undefined,
): { history: number[]; foreseen: (number | null)[] } {
  if (metric !== 'requests') return { history: [], foreseen: [] };
  if (shards === undefined) return history.series(shard);
  const sums: number[] = [];
  for (const one of shards)
    history.series(one).history.forEach((value, i) => {
      sums[i] = (sums[i] ?? 0) + value;
    });
  return { history: sums, foreseen: sums.map(() => null) };
}

/** For policies that foresee nothing, and have no bands to speak of. */
function sumOf(forecasts: readonly ShardForecast[], horizonsS: readonly number[]): ShardForecast {
  const sum = (of: (forecast: ShardForecast) => MetricForecast): MetricForecast => {
    const quantiles = [0, 1, 2].map((q) =>
      horizonsS.map((_, h) => forecasts.reduce((all, one) => all + of(one).quantiles[q]![h]!, 0)),
    ) as MetricForecast['quantiles'];
    const max = [0, 1, 2].map((q) => Math.max(0, ...quantiles[q]!)) as MetricForecast['max'];
    return { quantiles, max };
  };
  return {
    shard: '',
    horizonsS: [...horizonsS],
    metrics: {
      requests: sum((one) => one.metrics.requests),
      cpu: sum((one) => one.metrics.cpu),
      memory: sum((one) => one.metrics.memory),
      networkIn: sum((one) => one.metrics.networkIn),
      networkOut: sum((one) => one.metrics.networkOut),
    },
    byOrigin: {},
  };
}
