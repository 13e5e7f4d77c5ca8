/**
 * What is known of a migration beyond one process: the record under `migration/<id>` of the control store.
 *
 * Small, because it is written at each transition. Times of phases are not in it: they are measured on a monotonic
 * clock and begin anew with the executor that resumes.
 */
import type { CellId, Epoch, ProcessId, Region, ShardId } from '../model/ids.ts';
import type { LatencyPromise, Move } from '../model/loop.ts';
import type { MeasuredLatency } from './latency.ts';
import type { SettingsChange } from './settings.ts';

export const STATES = [
  'planned',
  'transferring',
  'following',
  'warming',
  'shifting',
  'handing-off',
  'shifting-after',
  'decommissioning',
  'handing-back',
  'rolling-back',
  'done',
  'rolled-back',
  'failed',
] as const;
export type State = (typeof STATES)[number];

export const FINAL_STATES: ReadonlySet<State> = new Set(['done', 'rolled-back', 'failed']);

export interface MigrationRecord {
  id: string;
  shard: ShardId;
  source: ProcessId;
  sourceAddress: string;
  target: ProcessId;
  targetAddress: string;
  /** Where the log is to go. */
  cell: CellId;
  /** Where it was: where a hand-back takes it. */
  sourceCell: CellId;
  /** The shard's epoch when the migration began. */
  epoch: Epoch;
  state: State;
  /** Index into the percents of the shift. */
  step: number;
  /** Share of users sent to the target. */
  percent: number;
  /** The target has become primary (and has not given it back). */
  handedOff: boolean;
  /** Too few users or only commands: handed off at once, nothing to shift. */
  express: boolean;
  /** Somebody asked to stop; honoured as soon as the outcome of a hand-off is known. */
  cancelled: boolean;
  /** How it will end once cleaned up. */
  verdict: 'rolled-back' | 'failed';
  /** Why it rolls back or failed; empty while all is well. */
  detail: string;
  reason: string;
  priority: Move['priority'];
  /** What placement promised the users of each origin; only moves for their sake are judged by it. */
  promise?: LatencyPromise;
  /** What they waited since the hand-off, when last looked at. */
  measured?: Record<Region, MeasuredLatency>;
  startedAtMs: number;
  settings?: SettingsChange;
  /** The executor that drives it; another one that reads this writes itself in first. */
  executor: string;
}
