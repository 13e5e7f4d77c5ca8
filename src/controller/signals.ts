/**
 * Declared signals: what an operator or another system says will happen (`POST /v1/signals`), such as a match that
 * begins at nine. Kept in the control store as `signal/<id>`, so that they outlive a leader; the engine gets those that
 * are not over.
 */
import type { Region, ShardId } from '../model/ids.ts';

export interface DeclaredSignal {
  id: string;
  /** What it concerns: one shard, all shards of a service, or everything. */
  scope: { shard: ShardId } | { service: string } | { all: true };
  /** Free name, for people: `cup-final`. */
  name: string;
  fromMs: number;
  toMs: number;
  /** Its type: what signals of it did before is expected again, in place of `factor`. */
  label?: string;
  /** Expected requests a second times this, for a type never seen; 1 says nothing. */
  factor: number;
  /** Where the extra load comes from; absent: as usual. */
  origin?: Region;
  declaredAtMs: number;
}

export const SIGNALS_MAX = 1_000;
export const SIGNAL_PREFIX = 'signal/';
