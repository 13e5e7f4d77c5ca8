/**
 * The two stores, as everyone but their engines sees them. Both engines (SQLite here, etcd later) pass the one suite
 * in `conformance.ts`. All numbers named `revision` and `version` grow and are never reused within one control store.
 *
 * Every method rejects with a {@link StoreError}: `unavailable` means the outcome is unknown (the call may have
 * happened), every other code means it did not happen.
 */
import type { Epoch, Seq, ShardId } from '../model/ids.ts';

export type StoreErrorCode =
  /** No answer: it may or may not have happened. */
  | 'unavailable'
  /** The lease is not there (expired or revoked). */
  | 'lease-gone'
  /** A limit of the store: value, batch or database size. Nothing was written. */
  | 'too-large'
  /** The call makes no sense, such as a key twice in one transaction. A bug of the caller. */
  | 'invalid'
  /** Token wrong or missing. */
  | 'unauthorized';

export class StoreError extends Error {
  override readonly name = 'StoreError';
  readonly code: StoreErrorCode;
  constructor(code: StoreErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}

// ---------------------------------------------------------------- control store

export interface KeyValue {
  key: string;
  value: string;
  /** Revision of the last change of this key: what a compare compares. */
  version: number;
  lease?: string;
}

/** `version` 0 means: the key is absent. */
export interface Compare {
  key: string;
  version: number;
}

export type Operation = { put: string; value: string; lease?: string } | { delete: string };

export interface Transaction {
  /** All must hold, or nothing is done. */
  compare: Compare[];
  /** No key twice. */
  operations: Operation[];
  /** Keys to read in the same transaction, in either case, after the operations. */
  read?: string[];
}

export interface TransactionResult {
  succeeded: boolean;
  /** The store's revision after the transaction; what it put has this version. */
  revision: number;
  /** As asked for by `read`; absent keys are `undefined`. */
  read: (KeyValue | undefined)[];
}

export type WatchEvent =
  | { type: 'put'; entry: KeyValue; revision: number }
  | { type: 'delete'; key: string; revision: number }
  /** History is gone (restart, compaction): list again; what was watched may have changed in any way. */
  | { type: 'reset'; revision: number };

export interface Subscription {
  close(): void;
}

export interface ControlStore {
  get(key: string): Promise<KeyValue | undefined>;
  /**
   * Keys with the prefix in order of key, at one revision. `after` pages on: keys greater than it. A listing too large
   * for one answer is gathered from several: then `revision` is the first one's, and a watch from it brings the whole
   * up to date. `more`: the limit was reached and keys remain.
   */
  list(
    prefix: string,
    options?: { limit?: number; after?: string },
  ): Promise<{ entries: KeyValue[]; revision: number; more?: boolean }>;
  transact(transaction: Transaction): Promise<TransactionResult>;
  /**
   * All changes of keys with one of the prefixes after `fromRevision`, in order, each once, surviving reconnection.
   * Never throws; while the store is away, events are late. After a `reset` it goes on with what comes after that
   * revision. `onProgress` tells now and then up to which revision everything has been delivered, also when there was
   * nothing to deliver.
   */
  watch(
    prefixes: string[],
    fromRevision: number,
    onEvent: (event: WatchEvent) => void,
    onProgress?: (revision: number) => void,
  ): Subscription;
  /** The caller names the lease; granting one that exists renews it. */
  grantLease(leaseId: string, ttlMs: number): Promise<void>;
  /** Rejects with `lease-gone` when it is not there any more. */
  keepAlive(leaseId: string): Promise<void>;
  /** Deletes the lease and its keys at once. Revoking an absent lease is success. */
  revokeLease(leaseId: string): Promise<void>;
  /** How full it is, where it counts that; for whoever watches it. */
  pressure?(): CellPressure | undefined;
  close(): void;
}

// ---------------------------------------------------------------- cells: one log a shard

/**
 * One delta for one shard. `id` identifies the append (process and number): the same id already at that seq is
 * success, which makes a retry after an unknown outcome safe (OWNERSHIP rule 3).
 */
export interface Append {
  shard: ShardId;
  epoch: Epoch;
  seq: Seq;
  id: string;
  delta: Uint8Array;
}

export type AppendResult =
  | { ok: true }
  /** A higher epoch has opened the log: this writer is deposed. */
  | { ok: false; reason: 'fenced'; fence: Epoch }
  /** `seq` is not end + 1, or the seq is taken by another id. */
  | { ok: false; reason: 'seq'; end: Seq };

export interface LogEntry {
  seq: Seq;
  id: string;
  delta: Uint8Array;
}

export interface StoredSnapshot {
  seq: Seq;
  bytes: Uint8Array;
}

/** A consistent reading of a log: snapshot, what follows it, and the fence, from one transaction. */
export interface Opening {
  fence: Epoch;
  snapshot?: StoredSnapshot;
  /** What is stored but was not read, because of {@link OpenOptions.knownSeq}. */
  snapshotLeftOut?: { seq: Seq; bytes: number };
  /** Contiguous from snapshot.seq + 1 (or 1). May stop before `end`: read on with {@link CellStore.tail}. */
  entries: LogEntry[];
  /** Seq of the last delta in the log, or of the snapshot where none follows; 0 for an empty log. */
  end: Seq;
}

export interface OpenOptions {
  /**
   * The caller has applied everything up to here: where the log holds all that follows, the snapshot and what came
   * before may be left out, so that a promotion costs the same with any size of state.
   */
  knownSeq?: Seq;
}

export type FencedResult =
  | { ok: true }
  | { ok: false; reason: 'fenced'; fence: Epoch }
  | { ok: false; reason: 'stale' };

/** The size of a cell against the limit that the store keeps by itself. */
export interface CellPressure {
  /** In use, after what was freed; the file may be larger, and is used again. */
  databaseBytes: number;
  fileBytes: number;
  databaseBytesMax: number;
  /** New work must wait, and be told so: snapshots and trims make room. */
  high: boolean;
  /** Appends are refused with `too-large`. */
  full: boolean;
}

export interface CellStore {
  /**
   * fence = max(fence, epoch); returns the fence after it. Also the fence check of OWNERSHIP rule 4. What the same
   * process writes to the shard's log after it asked for this, or for {@link open}, happens after it, or fails with it.
   */
  raiseFence(shard: ShardId, epoch: Epoch): Promise<Epoch>;
  /** Raises the fence to `epoch` and reads, in one transaction (OWNERSHIP rule 2). The caller checks `fence`. */
  open(shard: ShardId, epoch: Epoch, options?: OpenOptions): Promise<Opening>;
  /**
   * Appends in order, each judged alone: accepted where fence <= epoch and seq = end + 1. Durable before the reply.
   * Appends of one shard stay in the order given; a refused one makes the later ones of that shard fail by seq.
   */
  append(batch: Append[]): Promise<AppendResult[]>;
  /**
   * Durable deltas after a seq, at most about `limitBytes` (at least one if there is one); never past the end.
   * `firstSeq` is the oldest delta still there (end + 1 for an empty log): beyond afterSeq + 1 it means a gap, so load
   * the snapshot (OWNERSHIP rule 7).
   */
  tail(
    shard: ShardId,
    afterSeq: Seq,
    limitBytes: number,
  ): Promise<{ entries: LogEntry[]; end: Seq; firstSeq: Seq }>;
  /**
   * Stores a snapshot if fence <= epoch and it is newer than the stored one (`stale` otherwise; the same seq again is
   * ok). A snapshot beyond the end replaces the log up to itself: so a copy to another cell starts (OWNERSHIP rule 9).
   */
  putSnapshot(shard: ShardId, epoch: Epoch, snapshot: StoredSnapshot): Promise<FencedResult>;
  /** Removes deltas up to `throughSeq`, but none beyond the stored snapshot: that part of the wish is passed over. */
  trim(shard: ShardId, epoch: Epoch, throughSeq: Seq): Promise<FencedResult>;
  /** Removes snapshot and deltas; the fence stays for ever (OWNERSHIP rule 8). */
  deleteLog(shard: ShardId, epoch: Epoch): Promise<FencedResult>;
  /** Shard ids in order, for tools and audits. */
  listShards(options?: { limit?: number; after?: ShardId }): Promise<ShardId[]>;
  /**
   * Appends of a shard wait here for those of the same shard that are under way, and a call for all of its appends. So
   * whoever batches does better to keep a shard's next deltas back until its last ones are answered.
   */
  readonly oneAppendPerShard?: boolean;
  /** How full the cell was when last looked at; undefined where that is not known. */
  pressure?(): CellPressure | undefined;
  close(): void;
}

/** Where the cells are; `cell()` gives one connection a cell, made on first use. */
export interface CellDirectory {
  cell(id: string): CellStore;
}
