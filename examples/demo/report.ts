/** The report of a comparison, from what two runs and their audits left. Pure; docs/demo.md explains every field. */
import type { AuditResult } from './acknowledgements.ts';
import { keyName } from './load-formula.ts';
import {
  figuresOf,
  type LoggedRequest,
  quantile,
  type RequestFigures,
  type RequestLog,
  round,
} from './request-log.ts';
import type { MigrationEvent } from './view.ts';

/** The figures count from the fourth day on: three days are for learning. */
export const SCORED_FROM_DAY = 3;

export interface PolicyFigures extends RequestFigures {
  bytesBetweenRegions: number;
  moves: number;
  bytesMoved: number;
  cpuSeconds: number;
}

export interface DemoReport {
  static: PolicyFigures;
  predictive: PolicyFigures;
  audit: AuditResult & { failedRequests: number };
  migrations: {
    completed: number;
    rolledBack: number;
    clientPauseMs: { p50: number; p99: number; count: number };
  };
  leadTimeShareOfDay: number;
}

/** What a report needs of a run. */
export interface ScoredRun {
  requests: RequestLog;
  migrations: MigrationEvent[];
  usage: { cpuSeconds: number; bytesBetweenRegions: number };
  done: { startedAtMs: number; failed: number };
}

export function scoredFromMs(dayS: number): number {
  return SCORED_FROM_DAY * dayS * 1000;
}

export function policyFigures(run: ScoredRun, dayS: number): PolicyFigures {
  const fromMs = scoredFromMs(dayS);
  const scored = run.migrations.filter(
    ({ outcome, endedAtMs }) => outcome === 'completed' && (endedAtMs ?? 0) - run.done.startedAtMs >= fromMs,
  );
  return {
    ...figuresOf(run.requests, fromMs),
    bytesBetweenRegions: run.usage.bytesBetweenRegions,
    moves: scored.length,
    bytesMoved: scored.reduce((sum, { bytesTransferred }) => sum + (bytesTransferred ?? 0), 0),
    cpuSeconds: round(run.usage.cpuSeconds),
  };
}

export function makeReport(options: {
  regions: readonly string[];
  dayS: number;
  staticRun: ScoredRun;
  predictiveRun: ScoredRun;
  audit: AuditResult;
}): DemoReport {
  const { dayS, staticRun, predictiveRun, audit } = options;
  const { migrations } = predictiveRun;
  const completed = migrations.filter(({ outcome }) => outcome === 'completed');
  const leadTimesMs = completed.flatMap(({ startedAtMs, endedAtMs }) =>
    endedAtMs === undefined ? [] : [endedAtMs - startedAtMs],
  );
  const pauses = clientPausesMs(predictiveRun, options.regions);
  return {
    static: policyFigures(staticRun, dayS),
    predictive: policyFigures(predictiveRun, dayS),
    audit: { ...audit, failedRequests: staticRun.done.failed + predictiveRun.done.failed },
    migrations: {
      completed: completed.length,
      rolledBack: migrations.filter(({ outcome }) => outcome === 'rolledBack' || outcome === 'failed').length,
      clientPauseMs: { p50: quantile(pauses, 0.5), p99: quantile(pauses, 0.99), count: pauses.length },
    },
    leadTimeShareOfDay: round(quantile(ascending(leadTimesMs), 0.5) / (dayS * 1000), 4),
  };
}

/** Whether the run kept its promises. */
export function auditIsClean({ audit }: DemoReport): boolean {
  return audit.failedRequests === 0 && audit.lost === 0 && audit.duplicated === 0;
}

/**
 * What people noticed of each hand-off, ascending, milliseconds: of the requests to the shard that were under way at
 * some moment of it, the one that took longest beyond the usual. Usual is the median of all requests of that kind and
 * origin that the same region served, the slower of source and target. A hand-off during which nobody asked for the
 * shard was noticed by nobody and is not counted.
 */
export function clientPausesMs(run: ScoredRun, regions: readonly string[]): number[] {
  const regionOf = (process: string) => regions.findIndex((region) => process.startsWith(`${region}-`));
  const latencies = new Map<string, number[]>();
  const byShard = new Map<string, LoggedRequest[]>();
  for (const { shard, handOff } of run.migrations) if (handOff) byShard.set(shard, []);
  for (let i = 0; i < run.requests.count; i++) {
    const request = run.requests.get(i);
    if (request.failed) continue;
    pushTo(latencies, usualKey(request, request.served), request.latencyMs);
    byShard.get(`room/${keyName(request.key)}`)?.push(request);
  }
  const usual = new Map([...latencies].map(([key, values]) => [key, quantile(ascending(values), 0.5)]));
  const pauses: number[] = [];
  for (const { shard, source, target, handOff } of run.migrations) {
    if (handOff?.toMs === undefined) continue;
    const fromMs = handOff.fromMs - run.done.startedAtMs;
    const toMs = handOff.toMs - run.done.startedAtMs;
    let pauseMs: number | undefined;
    for (const request of byShard.get(shard)!) {
      if (request.scheduledMs + request.latencyMs < fromMs || request.scheduledMs > toMs) continue;
      const usualMs = Math.max(
        usual.get(usualKey(request, regionOf(source))) ?? 0,
        usual.get(usualKey(request, regionOf(target))) ?? 0,
      );
      pauseMs = Math.max(pauseMs ?? 0, request.latencyMs - usualMs);
    }
    if (pauseMs !== undefined) pauses.push(pauseMs);
  }
  return ascending(pauses);
}

function usualKey(request: LoggedRequest, served: number | undefined): string {
  return `${request.command} ${request.origin} ${served}`;
}

function pushTo<Key, Value>(map: Map<Key, Value[]>, key: Key, value: Value): void {
  const values = map.get(key);
  if (values) values.push(value);
  else map.set(key, [value]);
}

function ascending(values: number[]): number[] {
  return [...values].sort((a, b) => a - b);
}
