/**
 * Declared signals: what an operator or another system says will happen (`POST /v1/signals`), such as a match that
 * begins at nine. Kept in the control store as `signal/<id>`, so that they outlive a leader; the engine gets those that
 * are not over.
 */
import type { Declared } from '../forecast/index.ts';
import type { Region, ShardId } from '../model/ids.ts';

export interface DeclaredSignal {
  id: string;
  /** What it concerns: one shard, all shards of a service, or everything. */
  scope: { shard: ShardId } | { service: string } | { all: true };
  /** Free name, for people: `cup-final`. */
  name: string;
  fromMs: number;
  toMs: number;
  /** Expected requests a second times this; 1 says nothing. */
  factor: number;
  /** Where the extra load comes from; absent: as usual. */
  origin?: Region;
  declaredAtMs: number;
}

export const SIGNALS_MAX = 1_000;
export const SIGNAL_PREFIX = 'signal/';

/** What was declared for a shard, in seconds from `atMs`; without a shard, what concerns everything. */
export function declaredFor(
  signals: readonly DeclaredSignal[],
  shard: ShardId | undefined,
  atMs: number,
): Declared[] {
  const found: Declared[] = [];
  for (const { scope, fromMs, toMs, factor, origin } of signals) {
    const concerns =
      'all' in scope ||
      (shard !== undefined &&
        ('shard' in scope ? scope.shard === shard : shard.startsWith(`${scope.service}/`)));
    if (!concerns || toMs <= atMs) continue;
    found.push({
      fromS: (fromMs - atMs) / 1000,
      toS: (toMs - atMs) / 1000,
      factor,
      ...(origin !== undefined && { origin }),
    });
  }
  return found;
}
