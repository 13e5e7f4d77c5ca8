/**
 * What the controller needs of the migration driver. Narrow on purpose: tests give a fake, and the loop cannot reach
 * into a migration's steps.
 */
import type { MigrationView } from '../migration/view.ts';
import type { Move } from '../model/loop.ts';

export { latencyText, type MigrationView } from '../migration/view.ts';

export interface MoveExecutor {
  /** Starts, or throws when a limit or the state of the shard forbids it. */
  start(move: Move): string;
  /** Asks a migration to roll back; false: there is none, or it is past the point of return. */
  cancel(id: string): boolean;
  /** Takes up what an earlier leader left, from the control store. */
  resumeAll(): Promise<void>;
  list(): MigrationView[];
  /** Stops acting at once; what runs is taken up by the next leader. */
  stop(): void;
}
