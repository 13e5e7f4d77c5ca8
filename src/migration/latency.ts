/**
 * User latency of a shard that was moved, per origin: what placement promised against what gateways measured. Pure.
 *
 * A promise is made of published round trips, so it knows nothing of queues, slow disks or a route that is worse than
 * published; the measurement does. Distance is in both, so a shard that was sent far away on purpose keeps its promise.
 */
import type { Region } from '../model/ids.ts';
import type { LatencyPromise } from '../model/loop.ts';
import type { ReplicaStatus, UserLatency } from '../node/protocol.ts';
import type { MigrationRecord } from './record.ts';
import type { GatePolicy } from './settings.ts';

/** What users of one origin waited on average, of so many requests. */
export interface MeasuredLatency {
  count: number;
  meanMs: number;
}

/** The gate of every step after the hand-off (SPEC.md, M16): notes what was measured; why it hands back, or undefined. */
export function judgePromise(
  record: MigrationRecord,
  target: ReplicaStatus | undefined,
  policy: GatePolicy,
): string | undefined {
  const latency = latencyOf(record, target);
  if (latency === undefined) return undefined;
  record.measured = measuredSince(latency);
  if (record.promise === undefined || !isMadeForUsers(record)) return undefined;
  return brokenPromise(record.promise, latency, policy);
}

/** Whether there is nothing (more) to wait for before the promise counts as kept. */
export function isPromiseJudged(
  record: MigrationRecord,
  target: ReplicaStatus | undefined,
  policy: GatePolicy,
): boolean {
  if (record.promise === undefined || !isMadeForUsers(record)) return true;
  return promisedCount(record.promise, latencyOf(record, target)) >= policy.latencySamplesMin;
}

/** Somebody else had a reason for the other moves, which waiting users do not undo. */
function isMadeForUsers({ priority }: MigrationRecord): boolean {
  return priority === 'improve';
}

function latencyOf(record: MigrationRecord, target: ReplicaStatus | undefined): UserLatency | undefined {
  return target?.latency?.migration === record.id ? target.latency.byOrigin : undefined;
}

/** Since the hand-off, by origin; origins without a request are left out. */
export function measuredSince(latency: UserLatency | undefined): Record<Region, MeasuredLatency> {
  const measured: Record<Region, MeasuredLatency> = {};
  for (const [origin, { after }] of Object.entries(latency ?? {}))
    if (after.count > 0) measured[origin] = { count: after.count, meanMs: after.msSum / after.count };
  return measured;
}

/** Requests measured since the hand-off whose origins were promised something. */
export function promisedCount(promise: LatencyPromise, latency: UserLatency | undefined): number {
  let count = 0;
  for (const [origin, { after }] of Object.entries(latency ?? {})) if (promise[origin]) count += after.count;
  return count;
}

/**
 * Why the users should have stayed where they were, or undefined. Two things must hold: some origin waits clearly longer
 * than promised, and all measured users together wait longer than they did (or, where that was not measured, than the
 * source's distance says). So a promise that is missed but still better than before does not send anybody back.
 */
export function brokenPromise(
  promise: LatencyPromise,
  latency: UserLatency | undefined,
  policy: GatePolicy,
): string | undefined {
  if (promisedCount(promise, latency) < policy.latencySamplesMin) return undefined;
  let worst: { origin: Region; meanMs: number; promisedMs: number } | undefined;
  let afterMsSum = 0;
  let stayedMsSum = 0;
  let count = 0;
  for (const [origin, { before, after }] of Object.entries(latency!)) {
    const promised = promise[origin];
    if (promised === undefined || after.count === 0) continue;
    const meanMs = after.msSum / after.count;
    const beforeMs = before.count >= policy.samplesMin ? before.msSum / before.count : promised.nowMs;
    count += after.count;
    afterMsSum += after.msSum;
    stayedMsSum += after.count * beforeMs;
    const limitMs = promised.thenMs * policy.latencyFactorMax + policy.latencyExtraMs;
    if (after.count < policy.samplesMin || meanMs <= limitMs) continue;
    const excessMs = meanMs - promised.thenMs;
    if (worst === undefined || excessMs > worst.meanMs - worst.promisedMs)
      worst = { origin, meanMs, promisedMs: promised.thenMs };
  }
  if (worst === undefined || afterMsSum <= stayedMsSum) return undefined;
  const mean = (sum: number) => (sum / count).toFixed(1);
  return (
    `users in ${worst.origin} wait ${worst.meanMs.toFixed(1)} ms, ${worst.promisedMs.toFixed(1)} were promised; ` +
    `all wait ${mean(afterMsSum)} ms, ${mean(stayedMsSum)} before`
  );
}

/** `eu-west-1 2.1 ms (promised 0.8)`, for people; the most requests first. */
export function formatMeasured(
  promise: LatencyPromise | undefined,
  measured: Record<Region, MeasuredLatency> | undefined,
): string {
  const origins = new Set([...Object.keys(measured ?? {}), ...Object.keys(promise ?? {})]);
  const weight = (origin: Region) => measured?.[origin]?.count ?? promise?.[origin]?.share ?? 0;
  return [...origins]
    .sort((a, b) => weight(b) - weight(a) || (a < b ? -1 : 1))
    .map((origin) => {
      const promised = promise?.[origin];
      const found = measured?.[origin];
      const says = promised === undefined ? 'nothing promised' : `promised ${promised.thenMs.toFixed(1)}`;
      if (found === undefined) return `${origin} ${says} ms, not measured`;
      return `${origin} ${found.meanMs.toFixed(1)} ms (${says})`;
    })
    .join(', ');
}
