/**
 * The gates between steps: is the target as good as the source was?
 *
 * They compare, per type of request, errors and handler time of work that each replica executed itself. Forwarding,
 * queueing and distance are in neither figure, so a target that is merely far away passes.
 */
import type { ExecutionStats, ReplicaStatus, WarmUpReport } from '../node/protocol.ts';
import type { GatePolicy } from './settings.ts';

export interface Executed {
  commands: ExecutionStats;
  queries: ExecutionStats;
}

const TYPES = ['queries', 'commands'] as const;

/** What was executed between two readings; a replica that was opened anew counts from nothing. */
export function executedSince(now: ReplicaStatus['executed'], before: Executed | undefined): Executed {
  if (!before) return now;
  return {
    commands: difference(now.commands, before.commands),
    queries: difference(now.queries, before.queries),
  };
}

function difference(now: ExecutionStats, before: ExecutionStats): ExecutionStats {
  if (now.count < before.count) return now;
  return {
    count: now.count - before.count,
    errors: now.errors - before.errors,
    handlerMsSum: now.handlerMsSum - before.handlerMsSum,
    handlerMsP99: now.handlerMsP99,
  };
}

export function countOf(executed: Executed): number {
  return executed.commands.count + executed.queries.count;
}

/**
 * Why the target is worse than the policy allows, or undefined.
 *
 * @param baseline work of the source since the migration began
 */
export function objection(target: Executed, baseline: Executed, policy: GatePolicy): string | undefined {
  for (const type of TYPES) {
    const at = target[type];
    const from = baseline[type];
    const extraShare = share(at) - share(from);
    if (at.errors >= policy.errorsMin && extraShare > policy.errorShareExtraMax)
      return `${at.errors} of ${at.count} ${type} failed at the target, ${percent(share(from))} at the source`;
    // Without a figure of the source there is nothing to be slower than.
    if (at.count < policy.samplesMin || from.count < policy.samplesMin) continue;
    const limitMs = mean(from) * policy.slowFactorMax + policy.slowExtraMs;
    if (mean(at) > limitMs)
      return `${type} take ${mean(at).toFixed(1)} ms at the target, ${mean(from).toFixed(1)} ms at the source`;
  }
  return undefined;
}

/** Why the warm-up speaks against the target, or undefined. */
export function warmUpObjection(report: WarmUpReport, policy: GatePolicy): string | undefined {
  const { replayed, sourceMsMean, targetMsMean } = report;
  if (report.error !== undefined) return `the warm-up failed: ${report.error}`;
  if ((report.failures ?? 0) > 0)
    return `${report.failures} of ${replayed} recent queries fail at the target`;
  if (report.mismatches > policy.mismatchesMax)
    return `${report.mismatches} of ${replayed} recent queries differ at the target`;
  const limitMs = sourceMsMean * policy.slowFactorMax + policy.slowExtraMs;
  if (replayed >= policy.samplesMin && targetMsMean > limitMs)
    return `recent queries take ${targetMsMean.toFixed(1)} ms at the target, ${sourceMsMean.toFixed(1)} ms at the source`;
  return undefined;
}

function share(stats: ExecutionStats): number {
  return stats.count === 0 ? 0 : stats.errors / stats.count;
}

function mean(stats: ExecutionStats): number {
  return stats.count === 0 ? 0 : stats.handlerMsSum / stats.count;
}

function percent(part: number): string {
  return `${(part * 100).toFixed(1)} %`;
}
