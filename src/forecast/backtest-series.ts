/**
 * Rolling origins over recorded series: at each origin the engine knows what came before and nothing else, and so does
 * seasonal naive. One row a metric, and one over all.
 */
import type { BatchExpert } from './batch-expert.ts';
import { normalQuantile } from './normal.ts';
import { SeriesRun } from './run-series.ts';
import {
  addScore,
  contextScale,
  emptyScore,
  meansOf,
  type ScoreMeans,
  type ScoreSums,
  seasonalNaive,
} from './scores.ts';
import type { SeriesRecord } from './series-record.ts';

const LEVELS = [0.5, 0.9, 0.99] as const;
/** The first origin comes after this share of a series. */
const FIRST_ORIGIN_SHARE = 0.5;
const CONTEXT_STEPS_MIN = 4;
const DAY_S = 86_400;

export interface BacktestSums {
  horizon: number;
  series: number;
  /** Forecasts in which seasonal naive was given at some horizon. */
  fellBack: number;
  engine: Map<string, ScoreSums>;
  naive: Map<string, ScoreSums>;
}

export interface BacktestRow {
  /** Series whose id has the same part after its last slash, or `all`. */
  metric: string;
  engine: ScoreMeans;
  naive: ScoreMeans;
}

export function emptyBacktest(horizon: number): BacktestSums {
  return { horizon, series: 0, fellBack: 0, engine: new Map(), naive: new Map() };
}

/** @returns false where the series is too short for a single origin */
export function addOrigins(
  sums: BacktestSums,
  record: SeriesRecord,
  horizon: number,
  origins: number,
  batchExperts: readonly BatchExpert[] = [],
): boolean {
  const last = record.v.length - horizon;
  const first = Math.max(CONTEXT_STEPS_MIN, Math.floor(last * FIRST_ORIGIN_SHARE));
  if (last < first) return false;
  // A saturated step is a lower bound: no truth to be held against, nor one that a naive forecast would repeat.
  const known = record.v.map((value, i) => (record.censored.has(i) ? Number.NaN : value));
  const run = new SeriesRun(record, { windows: windowsOf(horizon), batchExperts });
  const season = Math.round(DAY_S / record.step_s);
  for (let k = 0; k < origins; k++) {
    const origin = origins === 1 ? last : Math.round(first + ((last - first) * k) / (origins - 1));
    if (k > 0 && origin === Math.round(first + ((last - first) * (k - 1)) / (origins - 1))) continue;
    run.advance(origin);
    const context = known.subarray(0, origin);
    const truth = known.subarray(origin, origin + horizon);
    // Without two seasons seasonal naive is the last value.
    const naiveSeason = season >= 2 && context.length >= 2 * season ? season : 1;
    const scale = contextScale(context, naiveSeason);
    const answer = run.forecast(horizon, LEVELS);
    if (answer.fallsBack.length > 0) sums.fellBack++;
    const naive = seasonalNaive(context, naiveSeason, horizon, LEVELS, normalQuantile);
    const windows = windowsOf(horizon);
    for (const name of [metricOf(record.id), 'all']) {
      addScore(
        sumsOf(sums.engine, name),
        truth,
        answer.quantiles,
        LEVELS,
        scale,
        windows.map((window, w) => ({ window, p90: answer.maxima[w]![1]! })),
      );
      addScore(
        sumsOf(sums.naive, name),
        truth,
        naive,
        LEVELS,
        scale,
        windows.map((window) => ({ window, p90: Math.max(...naive[1]!.subarray(0, window)) })),
      );
    }
  }
  sums.series++;
  return true;
}

/** Rows by metric, `all` last. */
export function finishBacktest(sums: BacktestSums): BacktestRow[] {
  return [...sums.engine]
    .filter(([, engine]) => engine.forecasts > 0)
    .map(([metric, engine]) => ({ metric, engine: meansOf(engine), naive: meansOf(sums.naive.get(metric)!) }))
    .sort(
      (a, b) => Number(a.metric === 'all') - Number(b.metric === 'all') || (a.metric < b.metric ? -1 : 1),
    );
}

function windowsOf(horizon: number): number[] {
  return [15, 60].filter((window) => window <= horizon);
}

function metricOf(id: string): string {
  const slash = id.lastIndexOf('/');
  return slash < 0 ? 'series' : id.slice(slash + 1);
}

function sumsOf(by: Map<string, ScoreSums>, name: string): ScoreSums {
  let sums = by.get(name);
  if (sums === undefined) {
    sums = emptyScore(LEVELS.length);
    by.set(name, sums);
  }
  return sums;
}
