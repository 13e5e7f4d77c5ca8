/**
 * What users of shards under migration wait, per origin, as this gateway sees it: told to the shard's new primary, where
 * the migration's gate reads it.
 *
 * Job: sum up answered requests while their shard has a shift, and report the sums now and then. Boundary: it judges
 * nothing. Only requests that one node answered at the first try count, before the hand-off by the source and after it by
 * the target: what was passed on or held says nothing about living there.
 *
 * Invariants: sums only grow and are reported whole, so a report may come twice, late or not at all; entries end with
 * their shift and are bounded.
 */
import type { ProcessId, ShardId } from '../model/ids.ts';
import type { LatencyReport, UserLatency } from '../node/protocol.ts';
import type { RouteShift } from '../routing/route-table.ts';

/** Between two reports of one gateway. */
export const REPORT_MS = 200;
/** Shards under migration measured at once; those beyond are not judged by latency. */
export const MEASURED_MAX = 1_000;
/** One request that hung says little of the others: it counts as this much. */
export const SAMPLE_MS_MAX = 2_000;

interface Entry {
  shift: RouteShift;
  byOrigin: UserLatency;
  /** Changed since the last report, after the hand-off. */
  isNews: boolean;
}

export class HandOffLatency {
  readonly #entries = new Map<ShardId, Entry>();

  get size(): number {
    return this.#entries.size;
  }

  /** One request of a shard with a shift was answered by `servedBy`, which `primary` was at the time. */
  answered(
    shard: ShardId,
    shift: RouteShift,
    primary: ProcessId,
    servedBy: ProcessId,
    origin: string,
    latencyMs: number,
  ): void {
    if (servedBy !== primary || (primary !== shift.from && primary !== shift.to)) return;
    let entry = this.#entries.get(shard);
    if (entry === undefined || entry.shift.migration !== shift.migration) {
      if (entry === undefined && this.#entries.size >= MEASURED_MAX) return;
      entry = { shift, byOrigin: {}, isNews: false };
      this.#entries.set(shard, entry);
    }
    entry.byOrigin[origin] ??= { before: { count: 0, msSum: 0 }, after: { count: 0, msSum: 0 } };
    const sums = entry.byOrigin[origin];
    const side = primary === shift.to ? sums.after : sums.before;
    side.count++;
    side.msSum += Math.min(latencyMs, SAMPLE_MS_MAX);
    if (side === sums.after) entry.isNews = true;
  }

  /** What each new primary should hear. Forgets shards whose shift is over. */
  take(shiftOf: (shard: ShardId) => RouteShift | undefined): Map<ProcessId, LatencyReport[]> {
    const reports = new Map<ProcessId, LatencyReport[]>();
    for (const [shard, entry] of this.#entries) {
      const { migration, to } = entry.shift;
      if (migration === undefined || shiftOf(shard)?.migration !== migration) {
        this.#entries.delete(shard);
        continue;
      }
      if (!entry.isNews) continue;
      entry.isNews = false;
      const list = reports.get(to) ?? [];
      list.push({ shard, migration, byOrigin: entry.byOrigin });
      reports.set(to, list);
    }
    return reports;
  }
}
