/**
 * What the controller needs of the migration driver. Narrow on purpose: tests give a fake, and the loop cannot reach
 * into a migration's steps.
 */
import type { ProcessId, ShardId } from '../model/ids.ts';
import type { Move } from '../model/loop.ts';

/** A migration as it is shown; one that ended stays for a while. */
export interface MigrationInfo {
  id: string;
  shard: ShardId;
  source: ProcessId;
  target: ProcessId;
  sourceName?: string;
  targetName?: string;
  /** One of the six steps, or how it ended. */
  step: string;
  percent: number;
  /** Absent while it runs. */
  outcome?: 'completed' | 'rolledBack' | 'failed';
  reason: string;
  priority: Move['priority'];
  startedAtMs: number;
  endedAtMs?: number;
  /** Why it rolled back or failed, or what it waits for. */
  detail?: string;
  bytesTransferred: number;
  bytesTotal: number;
}

export interface MoveExecutor {
  /** Starts, or throws when a limit or the state of the shard forbids it. */
  start(move: Move): string;
  /** Asks a migration to roll back; false: there is none, or it is past the point of return. */
  cancel(id: string): boolean;
  /** Takes up what an earlier leader left, from the control store. */
  resumeAll(): Promise<void>;
  list(): MigrationInfo[];
  /** Stops acting at once; what runs is taken up by the next leader. */
  stop(): void;
}
