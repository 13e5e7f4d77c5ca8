/**
 * What a node answers on the wire. Gateways, other nodes and the controller speak only this.
 *
 * Errors a call may reject with, beside `unavailable`: `no-replica`, `not-primary`, `moved`, `gap`, `bad-checksum`,
 * `refused`.
 */
import type { CellId, Epoch, ProcessId, Region, Seq, ShardId } from '../model/ids.ts';
import type { CopiesWork, HandlerMix, LoadSample, NodeSample } from '../model/load.ts';
import type { Assignment, AssignmentRecord } from '../model/records.ts';
import type { ShardReply, ShardRequest } from '../model/request.ts';
import type { LogEntry } from '../store/store.ts';

/** Stands for a migration's name where a follower is kept for good: no migration is called so. */
export const STANDBY = 'standby';

/** Method name -> [payload, result]. */
export interface NodeCalls {
  /** Run, forward or refuse a request. Never rejects for the request's own faults: those are replies. */
  'shard.execute': [ShardRequest, ShardReply];
  /** Claim and open shards now (repair after a node's death, or pre-activation). A hint: refusals are results. */
  'shard.activate': [
    /** `believed`: the assignments as the sender read them; saves the receiver their look-up. */
    { shards: ShardId[]; sawDead?: ProcessId; believed?: Assignment[] },
    { activated: number; refused: Record<ShardId, string> },
  ];
  /**
   * Load of every shard with any activity since the previous step, of the node itself, its work by handler, and what
   * copies have taken so far. Nodes of builds before the mix or the copies leave them out, and controllers of those
   * builds do not read them.
   */
  'node.samples': [
    { sinceMs: number },
    { node: NodeSample; shards: LoadSample[]; mix?: HandlerMix; copies?: CopiesWork },
  ];
  /** Stop taking new shards, let the controller move what is here. Idempotent. */
  'node.drain': [Record<string, never>, { replicas: number }];
  'node.replicas': [{ after?: ShardId; limit: number }, { replicas: ReplicaStatus[] }];

  /**
   * From a shard's primary to a process that its assignment names as standby: follow me, from the copy that is here if
   * there is one. Answers when it follows, or why it does not (yet): the primary asks again later.
   */
  'standby.follow': [StandbyOrder, { following: boolean; reason?: string }];

  // ---- a migration's participants; every call is idempotent and names its migration
  /** At the target: pull a snapshot from the source, apply, follow. Returns at once; see `replica.status`. */
  'replica.prepare': [PrepareOrder, ReplicaStatus];
  /** With `waitMs`, answers when the follower follows (and has applied `untilSeq`), failed, or the time is up. */
  'replica.status': [{ shard: ShardId; waitMs?: number; untilSeq?: Seq }, ReplicaStatus];
  /** At the target: run the service's `warmUp` hook, then recent real queries of the source, and compare. */
  'replica.warmUp': [{ migration: string; shard: ShardId }, WarmUpReport];
  /** At the source: seal, finish, swap, unseal. The one place a primary changes by plan (OWNERSHIP rules 5, 6, 9). */
  'replica.handOff': [HandOffOrder, HandOffResult];
  /** From a gateway to the new primary: what users of shards under migration waited. */
  'replica.latency': [{ gateway: string; reports: LatencyReport[] }, Record<string, never>];
  /** At either: drop the follower, forget the migration. Never drops a primary. */
  'replica.drop': [{ migration: string; shard: ShardId }, Record<string, never>];

  // ---- between the two nodes of a migration
  /** From the source's durable state: pin a snapshot for transfer. */
  'transfer.begin': [{ shard: ShardId; migration: string; giveWay?: false }, TransferOffer];
  /** `bytesPerSecond`: what the source has room for from now on; absent from nodes of builds that do not say. */
  'transfer.chunk': [
    { transfer: string; offset: number; bytes: number },
    { bytes: Uint8Array; crc32: number; bytesPerSecond?: number },
  ];
  'transfer.end': [{ transfer: string }, Record<string, never>];
  /** Durable seq at the primary, for a linearizable query on a follower (read index). */
  'follow.readIndex': [{ shard: ShardId }, { epoch: Epoch; seq: Seq }];
  'follow.recentQueries': [{ shard: ShardId; limit: number }, { queries: RecentQuery[] }];
  /** From the sealed primary to its target: complete the log, swap in my name, open (OWNERSHIP rules 5 and 9). */
  'follow.takeOver': [TakeOver, TakenOver];
  /** From the old primary to the new one, right after its swap: open now, do not wait for the watch. */
  'follow.promoted': [
    { shard: ShardId; epoch: Epoch; seq: Seq; version: number; cell: CellId; standbys?: ProcessId[] },
    { opened: boolean },
  ];
}

/** Stream name -> [payload, item]. */
export interface NodeStreams {
  /** What all shards here have new for the caller as their standby, in batches (`standby/delta-batch.ts`). */
  'standby.deltas': [Record<string, never>, { batch: Uint8Array }];
  /** Durable deltas after a seq (OWNERSHIP rule 7), then live ones. Ends with `gap` where the log was trimmed. */
  'follow.deltas': [
    { shard: ShardId; migration: string; afterSeq: Seq },
    { entries: LogEntry[]; durableSeq: Seq; epoch: Epoch },
  ];
}

export interface StandbyOrder {
  shard: ShardId;
  primary: ProcessId;
  primaryAddress: string;
  epoch: Epoch;
}

export interface PrepareOrder {
  migration: string;
  shard: ShardId;
  source: ProcessId;
  sourceAddress: string;
  /** Highest transfer rate, bytes a second. */
  bytesPerSecond: number;
  /** False: the copy does not give way to requests. */
  giveWay?: false;
  /** Answer when the follower follows or has failed, or after this long: saves polls. Absent: at once. */
  waitMs?: number;
}

export interface ReplicaStatus {
  shard: ShardId;
  role: 'none' | 'primary' | 'follower' | 'opening' | 'sealed';
  epoch: Epoch;
  appliedSeq: Seq;
  durableSeq: Seq;
  /** For a follower: the source's durable seq as last heard. */
  sourceSeq?: Seq;
  phase?: 'transferring' | 'applying' | 'following' | 'failed';
  bytesTransferred: number;
  bytesTotal: number;
  stateBytes: number;
  /** Work this replica executed itself since its migration began, per kind. */
  executed: { commands: ExecutionStats; queries: ExecutionStats };
  /** Users seen in the last ten seconds: with too few, traffic cannot be split. */
  users: number;
  error?: string;
  /** What gateways measured of the latest migration of the shard to this node. */
  latency?: { migration: string; byOrigin: UserLatency };
}

export interface LatencySum {
  count: number;
  msSum: number;
}

/** By origin, what users waited at a gateway: served by the source before the hand-off, by the target after it. */
export type UserLatency = Record<Region, { before: LatencySum; after: LatencySum }>;

/** Sums since the migration began, as one gateway saw them. */
export interface LatencyReport {
  shard: ShardId;
  migration: string;
  byOrigin: UserLatency;
}

export interface ExecutionStats {
  count: number;
  errors: number;
  /** Sum over `count`, handler time only, milliseconds. */
  handlerMsSum: number;
  handlerMsP99: number;
}

export interface WarmUpReport {
  hookMs: number;
  replayed: number;
  /** Replies whose status or body differ though both states are at the same seq. */
  mismatches: number;
  /** Of those, replies that failed (500 or more) at the target and not at the source: no clock explains these. */
  failures?: number;
  sourceMsMean: number;
  targetMsMean: number;
  error?: string;
}

export interface RecentQuery {
  handler: string;
  input: Uint8Array;
  status: number;
  body: Uint8Array;
  /** State it was answered from. */
  seq: Seq;
  handlerMs: number;
}

export interface TransferOffer {
  transfer: string;
  epoch: Epoch;
  seq: Seq;
  bytes: number;
  crc32: number;
  /** The whole snapshot where it is small: no chunk needs to be asked for. */
  inline?: Uint8Array;
  /** The source's assignment, so that the target need not ask the control store. */
  assignment: Assignment;
  /** What the source has room for; see `transfer.chunk`. */
  bytesPerSecond?: number;
  /** The source waits for the copy to be made: the target's gives way to nobody. */
  urgent?: true;
  /** For warm-up, where they are small: saves a round trip. */
  recentQueries?: RecentQuery[];
}

export interface HandOffOrder {
  migration: string;
  shard: ShardId;
  /** The epoch the orderer believes in; a stale order is refused. */
  epoch: Epoch;
  target: ProcessId;
  targetAddress: string;
  /** The cell that holds the log afterwards. */
  cell: CellId;
}

/** What the sealed source asks of its target. */
export interface TakeOver {
  migration: string;
  shard: ShardId;
  /** The assignment as it will be. */
  next: AssignmentRecord;
  /** Of the assignment, as read while sealed: what the swap compares. */
  version: number;
  /** The target's node key, as the source read it. */
  registration: { key: string; version: number };
  /** The last seq of the old epoch. */
  seq: Seq;
  /** Deltas that the new cell lacks; absent where it is known to have everything. */
  tail?: LogEntry[];
}

export type TakenOver =
  | { outcome: 'swapped'; version: number; swapMs: number }
  /** No swap of this order is under way, and none will be. */
  | { outcome: 'refused'; reason: string };

export type HandOffResult =
  | {
      outcome: 'swapped';
      epoch: Epoch;
      version: number;
      sealedMs: number;
      bytesCopied: number;
      /** Parts of `sealedMs`. */
      phasesMs?: HandOffPhases;
    }
  /** Nothing changed; the source serves as before (or has been deposed by someone else). */
  | { outcome: 'refused'; reason: string }
  /** Already done by an earlier delivery of the same order. */
  | { outcome: 'already'; epoch: Epoch };

/** Of the sealed part of a hand-off, milliseconds. */
export interface HandOffPhases {
  /** Until no handler ran and every append was durable. */
  seal: number;
  /** Until the target and the new cell had everything, the way to the target and back included. */
  prove: number;
  swap: number;
}

/** Where a process says it is, and how the others reach it. */
export interface Peer {
  processId: ProcessId;
  address: string;
  region: Region;
}
