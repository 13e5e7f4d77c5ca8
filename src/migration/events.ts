/**
 * What a migration's machine hears and what it asks for. Every action is idempotent (SPEC.md, M1).
 */
import type { Assignment } from '../model/records.ts';
import type { HandOffResult, ReplicaStatus, WarmUpReport } from '../node/protocol.ts';
import type { MigrationRecord, State } from './record.ts';

export type Direction = 'forward' | 'back';
export type Side = 'source' | 'target';

export type Event =
  | { type: 'start' }
  | { type: 'tick' }
  | { type: 'recorded'; state: State; step: number }
  | { type: 'observed'; target?: ReplicaStatus; source?: ReplicaStatus }
  | { type: 'warmed'; report: WarmUpReport }
  | { type: 'handed-off'; direction: Direction; result: HandOffResult }
  | { type: 'assignment'; assignment: Assignment | undefined }
  | { type: 'dropped'; at: Side }
  | { type: 'call-failed'; call: Action['type']; at?: Side; reason: string }
  | { type: 'cancel' }
  | { type: 'gone'; side: Side };

export type Action =
  /** Write the record and the shift in one transaction. `ahead`: nothing after it happens before it is durable. */
  | { type: 'record'; record: MigrationRecord; ahead: boolean }
  | { type: 'read-assignment' }
  | { type: 'prepare' }
  | { type: 'observe' }
  | { type: 'warm-up' }
  | { type: 'hand-off'; direction: Direction; attempt: number }
  | { type: 'drop'; at: Side }
  /** Delete record and shift in one transaction; nothing comes after it. */
  | { type: 'finish'; record: MigrationRecord };
