/**
 * Both stores in this process: an engine, its group commit, its leases and its watchers, behind the interfaces of
 * `store.ts`. The server puts them on the wire; the simulated world and tests may use them as they are.
 *
 * Watchers hear of a change after it is durable and before the change is answered.
 */
import { crc32 } from 'node:zlib';
import type { Io } from '../io/io.ts';
import type { Epoch, Seq, ShardId } from '../model/ids.ts';
import { GroupCommit } from './group-commit.ts';
import type { ChangeEvent } from './history.ts';
import { SNAPSHOT_BYTES_MAX } from './limits.ts';
import { collectPages, WATCH_HEARTBEAT_MS, type WatchBatch } from './protocol.ts';
import type { CellOpening, SnapshotPart, SqliteCell } from './sqlite/cell-engine.ts';
import type { ControlList, SqliteControl } from './sqlite/control-engine.ts';
import { PIECE_BYTES } from './sqlite/snapshot-pieces.ts';
import type {
  Append,
  AppendResult,
  CellStore,
  ControlStore,
  FencedResult,
  KeyValue,
  LogEntry,
  Opening,
  OpenOptions,
  StoredSnapshot,
  Subscription,
  Transaction,
  TransactionResult,
  WatchEvent,
} from './store.ts';

/** How often leases are looked at. */
const LEASE_TICK_MS = 50;
/** A watcher that saw none of the latest changes is told within this time that there is nothing for it. */
const PROGRESS_MS = 20;
/** What a small operation holds while it waits. */
const OPERATION_BYTES = 256;

interface Watcher {
  prefixes: string[];
  onBatch: (batch: WatchBatch) => void;
  /** The watcher knows of all that matters to it up to here. */
  toldRevision: number;
}

export class LocalControlStore implements ControlStore {
  readonly #engine: SqliteControl;
  readonly #io: Pick<Io, 'clock'>;
  readonly #commits: GroupCommit;
  readonly #watchers = new Set<Watcher>();
  #durableRevision: number;
  #cancelLeaseTimer: () => void = () => {};
  #cancelProgressTimer: (() => void) | undefined;
  #cancelHeartbeat: () => void = () => {};
  #ticking = false;
  #closed = false;

  /** The engine stays its owner's to close, after this. */
  constructor(engine: SqliteControl, io: Pick<Io, 'clock'>) {
    this.#engine = engine;
    this.#io = io;
    this.#durableRevision = engine.revision;
    this.#commits = new GroupCommit(engine, io.clock, () => this.#publish());
    this.#armLeaseTimer();
    this.#armHeartbeat();
  }

  get(key: string): Promise<KeyValue | undefined> {
    return this.#commits.submit(OPERATION_BYTES, () => this.#engine.get(key));
  }

  list(prefix: string, options?: { limit?: number; after?: string }): Promise<ControlList> {
    return collectPages((page) => this.listPage(prefix, page), options);
  }

  /** As {@link list}, but no more than fits one frame. */
  listPage(prefix: string, options?: { limit?: number; after?: string }): Promise<ControlList> {
    return this.#commits.submit(OPERATION_BYTES, () => this.#engine.list(prefix, options));
  }

  transact(transaction: Transaction): Promise<TransactionResult> {
    let bytes = OPERATION_BYTES;
    for (const operation of transaction.operations) if ('put' in operation) bytes += operation.value.length;
    return this.#commits.submit(bytes, () => this.#engine.transact(transaction));
  }

  grantLease(leaseId: string, ttlMs: number): Promise<void> {
    return this.#commits.submit(OPERATION_BYTES, () => this.#engine.grantLease(leaseId, ttlMs));
  }

  keepAlive(leaseId: string): Promise<void> {
    return this.#commits.submit(OPERATION_BYTES, () => this.#engine.keepAlive(leaseId));
  }

  revokeLease(leaseId: string): Promise<void> {
    return this.#commits.submit(OPERATION_BYTES, () => this.#engine.revokeLease(leaseId));
  }

  watch(
    prefixes: string[],
    fromRevision: number,
    onEvent: (event: WatchEvent) => void,
    onProgress: (revision: number) => void = () => {},
  ): Subscription {
    return this.watchBatches(prefixes, fromRevision, (batch) => {
      if ('reset' in batch) onEvent({ type: 'reset', revision: batch.revision });
      else for (const event of batch.events) onEvent(event);
      onProgress(batch.revision);
    });
  }

  /** As {@link watch}, a commit at a time. The first batch, with all that was missed, comes in the next tick. */
  watchBatches(prefixes: string[], fromRevision: number, onBatch: (batch: WatchBatch) => void): Subscription {
    const watcher: Watcher = { prefixes, onBatch, toldRevision: fromRevision };
    let open = true;
    this.#io.clock.defer(() => {
      if (!open || this.#closed) return;
      const missed = this.#engine.changesAfter(fromRevision);
      watcher.toldRevision = this.#durableRevision;
      this.#watchers.add(watcher);
      if (missed)
        onBatch({ events: missed.filter((event) => wants(watcher, event)), revision: this.#durableRevision });
      else onBatch({ reset: true, revision: this.#durableRevision });
    });
    return {
      close: () => {
        open = false;
        this.#watchers.delete(watcher);
      },
    };
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#cancelLeaseTimer();
    this.#cancelProgressTimer?.();
    this.#cancelHeartbeat();
    this.#watchers.clear();
    this.#commits.close();
  }

  #publish(): void {
    const events = this.#engine.takeCommitted();
    this.#durableRevision = this.#engine.revision;
    if (events.length === 0 || this.#watchers.size === 0) return;
    let behind = false;
    for (const watcher of [...this.#watchers]) {
      const wanted = events.filter((event) => wants(watcher, event));
      if (wanted.length === 0) {
        behind = true;
        continue;
      }
      watcher.toldRevision = this.#durableRevision;
      watcher.onBatch({ events: wanted, revision: this.#durableRevision });
    }
    if (behind && !this.#cancelProgressTimer) {
      this.#cancelProgressTimer = this.#io.clock.setTimer(PROGRESS_MS, () => {
        this.#cancelProgressTimer = undefined;
        const revision = this.#durableRevision;
        for (const watcher of [...this.#watchers]) {
          if (watcher.toldRevision >= revision) continue;
          watcher.toldRevision = revision;
          watcher.onBatch({ events: [], revision });
        }
      });
    }
  }

  #armHeartbeat(): void {
    this.#cancelHeartbeat = this.#io.clock.setTimer(WATCH_HEARTBEAT_MS, () => {
      for (const watcher of [...this.#watchers]) {
        watcher.toldRevision = this.#durableRevision;
        watcher.onBatch({ events: [], revision: this.#durableRevision });
      }
      this.#armHeartbeat();
    });
  }

  #armLeaseTimer(): void {
    this.#cancelLeaseTimer = this.#io.clock.setTimer(LEASE_TICK_MS, () => {
      if (this.#closed) return;
      if (!this.#ticking && this.#engine.isDue(this.#io.clock.monotonicMs())) {
        this.#ticking = true;
        const done = () => {
          this.#ticking = false;
        };
        // What fails is tried again at the next tick: a lease that ends late harms nobody.
        this.#commits
          .submit(OPERATION_BYTES, () => this.#engine.tick(this.#io.clock.monotonicMs()))
          .then(done, done);
      }
      this.#armLeaseTimer();
    });
  }
}

function wants(watcher: Watcher, event: ChangeEvent): boolean {
  const key = event.type === 'put' ? event.entry.key : event.key;
  for (const prefix of watcher.prefixes) if (key.startsWith(prefix)) return true;
  return false;
}

export class LocalCellStore implements CellStore {
  readonly #engine: SqliteCell;
  readonly #commits: GroupCommit;
  #sweeping = false;

  /** The engine stays its owner's to close, after this. */
  constructor(engine: SqliteCell, io: Pick<Io, 'clock'>) {
    this.#engine = engine;
    this.#commits = new GroupCommit(engine, io.clock);
    this.#sweep();
  }

  raiseFence(shard: ShardId, epoch: Epoch): Promise<Epoch> {
    return this.#commits.submit(OPERATION_BYTES, () => this.#engine.raiseFence(shard, epoch));
  }

  async open(shard: ShardId, epoch: Epoch, options: OpenOptions = {}): Promise<Opening> {
    const { snapshot, ...rest } = await this.openPart(shard, epoch, undefined, options.knownSeq);
    return snapshot ? { ...rest, snapshot: { seq: snapshot.seq, bytes: snapshot.bytes } } : rest;
  }

  /** As {@link open}, with at most so much of the snapshot; {@link readSnapshot} has the rest. */
  openPart(shard: ShardId, epoch: Epoch, snapshotBytesMax?: number, knownSeq?: Seq): Promise<CellOpening> {
    return this.#commits.submit(OPERATION_BYTES, () =>
      this.#engine.open(shard, epoch, snapshotBytesMax, knownSeq),
    );
  }

  /** Undefined where another snapshot has taken its place. */
  readSnapshot(
    shard: ShardId,
    seq: Seq,
    offset: number,
    bytesMax: number,
  ): Promise<SnapshotPart | undefined> {
    return this.#commits.submit(OPERATION_BYTES, () =>
      this.#engine.readSnapshot(shard, seq, offset, bytesMax),
    );
  }

  append(batch: Append[]): Promise<AppendResult[]> {
    let bytes = OPERATION_BYTES;
    for (const item of batch) bytes += OPERATION_BYTES + item.delta.byteLength;
    return this.#commits.submit(bytes, () => this.#engine.append(batch));
  }

  tail(
    shard: ShardId,
    afterSeq: Seq,
    limitBytes: number,
  ): Promise<{ entries: LogEntry[]; end: Seq; firstSeq: Seq }> {
    return this.#commits.submit(OPERATION_BYTES, () => this.#engine.tail(shard, afterSeq, limitBytes));
  }

  /** A large one goes in by pieces, each in a transaction of its own: what others append gets in between. */
  async putSnapshot(shard: ShardId, epoch: Epoch, snapshot: StoredSnapshot): Promise<FencedResult> {
    const { seq, bytes } = snapshot;
    if (bytes.byteLength > PIECE_BYTES && bytes.byteLength <= SNAPSHOT_BYTES_MAX)
      return this.#putPieces(shard, epoch, seq, bytes);
    const result = await this.#putWhole(shard, epoch, snapshot);
    this.#sweep();
    return result;
  }

  async #putPieces(shard: ShardId, epoch: Epoch, seq: Seq, bytes: Uint8Array): Promise<FencedResult> {
    const upload = this.#engine.beginUpload();
    let checksum = 0;
    try {
      for (let piece = 0; piece * PIECE_BYTES < bytes.byteLength; piece++) {
        const part = bytes.subarray(piece * PIECE_BYTES, (piece + 1) * PIECE_BYTES);
        checksum = crc32(part, checksum);
        await this.#commits.submit(part.byteLength, () => this.#engine.addPiece(upload, piece, part));
      }
      const totalBytes = bytes.byteLength;
      return await this.#commits.submit(OPERATION_BYTES, () =>
        this.#engine.putUpload(shard, epoch, { upload, seq, crc32: checksum, totalBytes }),
      );
    } catch (error) {
      // Adopted after all, where only the answer was lost: then it is no garbage, whatever is said here.
      this.#engine.abandonUpload(upload);
      throw error;
    } finally {
      this.#sweep();
    }
  }

  /** Removes what no snapshot refers to any more, a piece at a time. */
  #sweep(): void {
    if (this.#sweeping || !this.#engine.hasGarbage) return;
    this.#sweeping = true;
    const next = (): Promise<void> =>
      this.#commits
        .submit(PIECE_BYTES, () => this.#engine.dropGarbage())
        .then(() => (this.#engine.hasGarbage ? next() : undefined));
    // What fails is tried again after the next snapshot, or the next start.
    next().then(
      () => {
        this.#sweeping = false;
      },
      () => {
        this.#sweeping = false;
      },
    );
  }

  #putWhole(shard: ShardId, epoch: Epoch, snapshot: StoredSnapshot): Promise<FencedResult> {
    return this.#commits.submit(OPERATION_BYTES + snapshot.bytes.byteLength, () =>
      this.#engine.putSnapshot(shard, epoch, snapshot),
    );
  }

  trim(shard: ShardId, epoch: Epoch, throughSeq: Seq): Promise<FencedResult> {
    return this.#commits.submit(OPERATION_BYTES, () => this.#engine.trim(shard, epoch, throughSeq));
  }

  async deleteLog(shard: ShardId, epoch: Epoch): Promise<FencedResult> {
    const result = await this.#commits.submit(OPERATION_BYTES, () => this.#engine.deleteLog(shard, epoch));
    this.#sweep();
    return result;
  }

  listShards(options?: { limit?: number; after?: ShardId }): Promise<ShardId[]> {
    return this.#commits.submit(OPERATION_BYTES, () =>
      this.#engine.listShards(options?.limit, options?.after),
    );
  }

  close(): void {
    this.#commits.close();
  }
}
