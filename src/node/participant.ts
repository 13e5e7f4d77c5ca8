/**
 * The seam inside a node between its core (replicas, ownership, requests) and its part in migrations.
 *
 * The core implements {@link ParticipantHost} and {@link LocalReplica}; `node/migration/` implements the calls of
 * `protocol.ts` that begin with `replica.`, `transfer.` and `follow.` on top of them.
 */
import type { Io } from '../io/io.ts';
import type { CellId, Epoch, ProcessId, Seq, ShardId } from '../model/ids.ts';
import type { Mutations } from '../model/mutations.ts';
import type { Assignment } from '../model/records.ts';
import type { ShardReplica } from '../shard/contract.ts';
import type { Slicer } from '../shard/snapshot.ts';
import type { CellStore, ControlStore, LogEntry, Opening } from '../store/store.ts';
import type { ClientStream, RpcError } from '../wire/rpc.ts';
import type { Copying } from './copying.ts';
import type { NodeCalls, NodeStreams, Peer, STANDBY } from './protocol.ts';
import type { StandbyTraffic } from './standby/outbox.ts';

/** Another node, as a typed peer. */
export interface NodePeer {
  call<Method extends keyof NodeCalls>(
    method: Method,
    payload: NodeCalls[Method][0],
    options?: { timeoutMs?: number },
  ): Promise<NodeCalls[Method][1]>;
  open<Stream extends keyof NodeStreams>(
    stream: Stream,
    payload: NodeStreams[Stream][0],
    onItem: (item: NodeStreams[Stream][1]) => void,
    onEnd: (error: RpcError | undefined) => void,
  ): ClientStream;
}

/** Why a primary ended that left memory with nothing in flight. */
export const IDLE = 'idle';

/** Another process that follows a shard: for a migration, or as its standby. */
export interface DeltaReader {
  process: ProcessId;
  /** Its name, or {@link STANDBY}. */
  migration: string;
}

/** A replica on this node. */
export interface LocalReplica {
  readonly shard: ShardId;
  readonly role: 'primary' | 'follower' | 'opening' | 'sealed';
  /** As this node last wrote or read it. */
  readonly assignment: Assignment;
  readonly state: ShardReplica;
  /**
   * Durable deltas as they become durable, in order; returns the unsubscription. Only on a primary. `reader` tells who
   * gets them, where that is another process.
   */
  onDurable(listener: (entries: LogEntry[], durableSeq: Seq) => void, reader?: DeltaReader): () => void;
  /** Called when the replica ends, with the reason. */
  onEnd(listener: (reason: string) => void): () => void;
}

export interface ParticipantHost {
  readonly io: Io;
  readonly self: Peer;
  readonly control: ControlStore;
  /** Of bulk copies, in and out. */
  readonly copying: Copying;
  readonly mutations?: Mutations | undefined;
  cell(id: CellId): CellStore;
  peer(address: string): NodePeer;
  replica(shard: ShardId): LocalReplica | undefined;
  /**
   * Whether this node may answer for the shard right now (OWNERSHIP rule 4), by its lease. Where a host does not say,
   * a read index is proven by a fence check at the cell.
   */
  mayAnswer?(shard: ShardId): true | Promise<boolean>;
  /** Opens a follower from a transferred snapshot; queries to it are answered by read index at `source`. */
  addFollower(options: {
    shard: ShardId;
    migration: string;
    source: { processId: ProcessId; address: string };
    assignment: Assignment;
    opening: Pick<Opening, 'snapshot' | 'entries'>;
    /** Where the work of opening it yields. */
    slicer?: Slicer;
  }): Promise<LocalReplica>;
  /** Feeds a follower. Throws RangeError on a gap (reload from a snapshot: OWNERSHIP rule 7). */
  applyToFollower(shard: ShardId, entries: LogEntry[], sourceDurableSeq: Seq): void;
  dropFollower(shard: ShardId): void;
  /** What a follower is for from now on: a migration, or {@link STANDBY}; and whom it follows. */
  repurposeFollower?(
    shard: ShardId,
    migration: string | typeof STANDBY,
    source: { processId: ProcessId; address: string },
  ): void;
  /** Who should stand by once `primary` is it; `present` have a copy already. */
  standbysFor?(shard: ShardId, primary: ProcessId, present: readonly ProcessId[]): ProcessId[];
  /** Where what leaves for standbys is counted. */
  onStandbyTraffic?(traffic: StandbyTraffic): void;
  /** It is being emptied: what leaves here is waited for. */
  draining?(): boolean;
  /** Why this node takes no further standby, if so. */
  refusesStandby?(): string | undefined;
  /** OWNERSHIP rule 5: holds every request, resolves every append in flight. Rejects if the replica was deposed. */
  seal(shard: ShardId): Promise<{ seq: Seq; epoch: Epoch; version: number }>;
  /**
   * Sealed, with the target asked to take over: held requests and those that come are sent on to it where their sender
   * can go there itself, until the shard is unsealed, handed over, or `target` is undefined.
   */
  sendAhead?(shard: ShardId, target: { primary: ProcessId; epoch: Epoch } | undefined): void;
  /** At the target: it was asked to take over, and requests that come wait until `settled`. */
  takingOver?(shard: ShardId, settled: Promise<unknown>): void;
  /**
   * OWNERSHIP rule 6: a swap that touches the assignment (same epoch, new version), then serves again; demotes when
   * the swap fails because someone else changed it. Stays sealed and retries while the outcome is unknown.
   */
  unseal(shard: ShardId): Promise<'serving' | 'demoted'>;
  /**
   * After a successful swap to `next`: stops being primary, passes held and further requests on to it, and keeps the
   * state as a follower of it until `dropFollower`.
   */
  handOver(shard: ShardId, next: Assignment, address: string): void;
  /**
   * At the target after the swap: raises the fence, checks that the log ends at the follower's seq in one opening
   * transaction (OWNERSHIP rule 2), promotes the follower and serves. Catches up from the log if it was behind.
   *
   * @param endSeq the last seq of the old epoch, by the word of the sealed primary: where the follower is there, its
   * commands may run meanwhile, and nothing leaves before the opening has confirmed it.
   */
  promote(shard: ShardId, assignment: Assignment, endSeq?: Seq): Promise<void>;
}
