/**
 * What gateways told of the waiting of a moved shard's users, kept at its new primary until the migration asks.
 *
 * Invariants: the newest report of a gateway replaces its earlier one (reports are whole sums, so one that comes twice
 * or late does no harm); bounded in shards and gateways.
 */
import type { ShardId } from '../../model/ids.ts';
import type { LatencyReport, UserLatency } from '../protocol.ts';

export const SHARDS_MAX = 1_000;
export const GATEWAYS_MAX = 256;

interface Kept {
  migration: string;
  byGateway: Map<string, UserLatency>;
}

export class UserLatencies {
  /** Oldest first: what no longer fits is of a migration long over. */
  readonly #kept = new Map<ShardId, Kept>();

  heard(gateway: string, { shard, migration, byOrigin }: LatencyReport): void {
    let kept = this.#kept.get(shard);
    if (kept?.migration !== migration) {
      this.#kept.delete(shard);
      if (this.#kept.size >= SHARDS_MAX) this.#kept.delete(this.#kept.keys().next().value!);
      kept = { migration, byGateway: new Map() };
      this.#kept.set(shard, kept);
    }
    const before = kept.byGateway.get(gateway);
    if (before === undefined && kept.byGateway.size >= GATEWAYS_MAX) return;
    // A late report holds less than the one it would replace.
    if (before === undefined || countOf(byOrigin) >= countOf(before)) kept.byGateway.set(gateway, byOrigin);
  }

  /** Over all gateways; undefined where none has reported. */
  of(shard: ShardId): { migration: string; byOrigin: UserLatency } | undefined {
    const kept = this.#kept.get(shard);
    if (kept === undefined) return undefined;
    const byOrigin: UserLatency = {};
    for (const report of kept.byGateway.values()) {
      for (const [origin, { before, after }] of Object.entries(report)) {
        byOrigin[origin] ??= { before: { count: 0, msSum: 0 }, after: { count: 0, msSum: 0 } };
        const sums = byOrigin[origin];
        sums.before.count += before.count;
        sums.before.msSum += before.msSum;
        sums.after.count += after.count;
        sums.after.msSum += after.msSum;
      }
    }
    return { migration: kept.migration, byOrigin };
  }

  forget(shard: ShardId, migration: string): void {
    if (this.#kept.get(shard)?.migration === migration) this.#kept.delete(shard);
  }
}

function countOf(byOrigin: UserLatency): number {
  let count = 0;
  for (const { before, after } of Object.values(byOrigin)) count += before.count + after.count;
  return count;
}
