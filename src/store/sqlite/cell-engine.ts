/**
 * One cell's logs in SQLite: the synchronous engine. It begins and commits nothing by itself: its caller brackets
 * calls with `begin` and `commit`, so that many share one sync (group commit).
 *
 * Invariants:
 *  - end = max(snapshot seq, last seq of the log), and the log's rows are contiguous up to end;
 *  - the fence of a shard never goes down, and its row is never removed (OWNERSHIP rules 2, 8);
 *  - a StoreError is thrown before the first write of a call, so such a call leaves nothing in the transaction;
 *  - the cache is a copy of the shards' rows and ends: rollback empties it.
 */
import type { StatementSync } from 'node:sqlite';
import { crc32 } from 'node:zlib';
import type { Epoch, Seq, ShardId } from '../../model/ids.ts';
import type { Mutations } from '../../model/mutations.ts';
import {
  checkAppends,
  checkShardId,
  checkWholeNumber,
  ENTRIES_BYTES_MAX,
  ENTRIES_MAX,
  SHARDS_PER_LIST_MAX,
  SNAPSHOT_BYTES_MAX,
} from '../limits.ts';
import {
  type Append,
  type AppendResult,
  type FencedResult,
  type LogEntry,
  type Opening,
  type StoredSnapshot,
  StoreError,
} from '../store.ts';
import type { TransactionalEngine } from './database.ts';
import { PIECES_SCHEMA, SnapshotPieces } from './snapshot-pieces.ts';
import { type DatabaseOptions, Statements } from './statements.ts';

/** What an entry costs beside its delta: ids, numbers, framing. */
const ENTRY_OVERHEAD_BYTES = 48;
/** About 150 bytes a shard; one beyond it costs two look-ups again. */
const CACHED_SHARDS_MAX = 100_000;
const NO_SNAPSHOT = -1;
const NO_BYTES = new Uint8Array();

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS shards (
    id INTEGER PRIMARY KEY,
    shard TEXT NOT NULL UNIQUE,
    fence INTEGER NOT NULL,
    snapshot_seq INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE IF NOT EXISTS log (
    shard_id INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    append_id TEXT NOT NULL,
    delta BLOB NOT NULL,
    PRIMARY KEY (shard_id, seq)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS snapshots (
    shard_id INTEGER PRIMARY KEY,
    seq INTEGER NOT NULL,
    crc32 INTEGER NOT NULL,
    bytes BLOB NOT NULL
  ) STRICT;
`;

/** A shard's row and the end of its log, as the running transaction sees them. */
interface ShardState {
  id: number;
  fence: Epoch;
  end: Seq;
  snapshotSeq: Seq;
}

/** What `open` and `readSnapshot` say of a snapshot that may travel in pieces. */
export interface SnapshotPart {
  seq: Seq;
  totalBytes: number;
  /** Of the whole snapshot, as stored. */
  crc32: number;
  bytes: Uint8Array;
}

export interface CellOpening extends Omit<Opening, 'snapshot'> {
  snapshot?: SnapshotPart;
}

export class SqliteCell implements TransactionalEngine {
  readonly #statements: Statements;
  readonly #pieces: SnapshotPieces;
  readonly #mutations: Mutations | undefined;
  readonly #cache = new Map<ShardId, ShardState>();
  readonly #cacheMax: number;
  readonly #findShard: StatementSync;
  readonly #addShard: StatementSync;
  readonly #setFence: StatementSync;
  readonly #setSnapshotSeq: StatementSync;
  readonly #lastSeq: StatementSync;
  readonly #firstSeq: StatementSync;
  readonly #insertEntry: StatementSync;
  readonly #entryId: StatementSync;
  readonly #entriesAfter: StatementSync;
  readonly #trimThrough: StatementSync;
  readonly #putSnapshot: StatementSync;
  readonly #snapshotPart: StatementSync;
  readonly #snapshotSize: StatementSync;
  readonly #dropSnapshot: StatementSync;
  readonly #listShards: StatementSync;

  constructor(
    options: DatabaseOptions & {
      cachedShardsMax?: number;
      /** Rules that the simulated world takes out; see `model/mutations.ts`. */
      mutations?: Mutations;
    },
  ) {
    this.#statements = new Statements(options, SCHEMA + PIECES_SCHEMA);
    this.#pieces = new SnapshotPieces(this.#statements);
    this.#mutations = options.mutations;
    this.#cacheMax = options.cachedShardsMax ?? CACHED_SHARDS_MAX;
    const prepare = (sql: string) => this.#statements.prepare(sql);
    this.#findShard = prepare('SELECT id, fence, snapshot_seq FROM shards WHERE shard = ?');
    this.#addShard = prepare('INSERT INTO shards (shard, fence, snapshot_seq) VALUES (?, ?, ?)');
    this.#setFence = prepare('UPDATE shards SET fence = ? WHERE id = ?');
    this.#setSnapshotSeq = prepare('UPDATE shards SET snapshot_seq = ? WHERE id = ?');
    this.#lastSeq = prepare('SELECT seq FROM log WHERE shard_id = ? ORDER BY seq DESC LIMIT 1');
    this.#firstSeq = prepare('SELECT seq FROM log WHERE shard_id = ? ORDER BY seq LIMIT 1');
    this.#insertEntry = prepare('INSERT INTO log (shard_id, seq, append_id, delta) VALUES (?, ?, ?, ?)');
    this.#entryId = prepare('SELECT append_id FROM log WHERE shard_id = ? AND seq = ?');
    this.#entriesAfter = prepare(
      'SELECT seq, append_id, delta FROM log WHERE shard_id = ? AND seq > ? ORDER BY seq',
    );
    this.#trimThrough = prepare('DELETE FROM log WHERE shard_id = ? AND seq <= ?');
    this.#putSnapshot = prepare(
      'INSERT OR REPLACE INTO snapshots (shard_id, seq, crc32, bytes) VALUES (?, ?, ?, ?)',
    );
    this.#snapshotPart = prepare(
      'SELECT seq, crc32, length(bytes), substr(bytes, ?, ?) FROM snapshots WHERE shard_id = ?',
    );
    // Without touching the bytes: their length stands in the row's header.
    this.#snapshotSize = prepare('SELECT seq, length(bytes) FROM snapshots WHERE shard_id = ?');
    this.#dropSnapshot = prepare('DELETE FROM snapshots WHERE shard_id = ?');
    this.#listShards = prepare(
      `SELECT shard FROM shards WHERE shard > ? AND
        (snapshot_seq >= 0 OR EXISTS (SELECT 1 FROM log WHERE shard_id = shards.id))
       ORDER BY shard LIMIT ?`,
    );
  }

  begin(): void {
    this.#statements.begin();
  }

  commit(): void {
    this.#statements.commit();
  }

  rollback(): void {
    this.#cache.clear();
    this.#statements.rollback();
  }

  close(): void {
    this.#cache.clear();
    this.#statements.close();
  }

  raiseFence(shard: ShardId, epoch: Epoch): Epoch {
    checkWholeNumber('epoch', epoch);
    return this.#raise(shard, epoch).fence;
  }

  /**
   * OWNERSHIP rule 2: raise, then read snapshot, end and fence, all in the caller's one transaction.
   *
   * @param knownSeq see `OpenOptions`: where the log holds all that follows, only that is read.
   * @param snapshotBytesMax how much of the snapshot comes along; the rest with {@link readSnapshot}.
   */
  open(
    shard: ShardId,
    epoch: Epoch,
    snapshotBytesMax: number = SNAPSHOT_BYTES_MAX,
    knownSeq?: Seq,
  ): CellOpening {
    checkWholeNumber('epoch', epoch);
    const state = this.#raise(shard, epoch);
    const opening: CellOpening = { fence: state.fence, entries: [], end: state.end };
    if (knownSeq !== undefined && knownSeq >= state.snapshotSeq && knownSeq <= state.end) {
      const left = this.#snapshotSize.get(state.id) as unknown as [number, number] | undefined;
      const inPieces = left && left[1] === 0 ? this.#pieces.of(state.id)?.totalBytes : undefined;
      if (left) opening.snapshotLeftOut = { seq: left[0], bytes: inPieces ?? left[1] };
      opening.entries = this.#entries(state.id, knownSeq, ENTRIES_BYTES_MAX);
      return opening;
    }
    const snapshot = this.#readSnapshot(state, 0, snapshotBytesMax);
    if (snapshot) opening.snapshot = snapshot;
    opening.entries = this.#entries(state.id, Math.max(0, state.snapshotSeq), ENTRIES_BYTES_MAX);
    return opening;
  }

  /** A part of the stored snapshot, or undefined where that seq is not the stored one any more. */
  readSnapshot(shard: ShardId, seq: Seq, offset: number, bytesMax: number): SnapshotPart | undefined {
    const state = this.#find(shard);
    if (!state || state.snapshotSeq !== seq) return undefined;
    return this.#readSnapshot(state, offset, bytesMax);
  }

  append(batch: readonly Append[]): AppendResult[] {
    checkAppends(batch);
    const results: AppendResult[] = new Array(batch.length);
    for (let i = 0; i < batch.length; i++) results[i] = this.#appendOne(batch[i]!);
    return results;
  }

  /** OWNERSHIP rule 3: fence <= epoch and seq = end + 1; the same id already at that seq is success. */
  #appendOne(item: Append): AppendResult {
    const state = this.#cache.get(item.shard) ?? this.#find(item.shard);
    if (!state) {
      if (item.seq !== 1) return { ok: false, reason: 'seq', end: 0 };
      const added = this.#add(item.shard, 0);
      this.#insertEntry.run(added.id, 1, item.id, item.delta);
      added.end = 1;
      return APPENDED;
    }
    const isNext =
      item.seq === state.end + 1 || (item.seq > state.end && this.#mutations?.has('append-over-a-gap'));
    if (isNext) {
      if (state.fence > item.epoch && !this.#mutations?.has('append-unfenced'))
        return { ok: false, reason: 'fenced', fence: state.fence };
      this.#insertEntry.run(state.id, item.seq, item.id, item.delta);
      state.end = item.seq;
      return APPENDED;
    }
    // A retry of what is in the log is answered with the truth even to a deposed writer: the delta is in history.
    if (item.seq <= state.end) {
      const row = this.#entryId.get(state.id, item.seq) as unknown as [string] | undefined;
      if (row && row[0] === item.id) return APPENDED;
    }
    if (state.fence > item.epoch) return { ok: false, reason: 'fenced', fence: state.fence };
    return { ok: false, reason: 'seq', end: state.end };
  }

  tail(shard: ShardId, afterSeq: Seq, limitBytes: number): { entries: LogEntry[]; end: Seq; firstSeq: Seq } {
    checkWholeNumber('afterSeq', afterSeq);
    const state = this.#find(shard);
    if (!state) return { entries: [], end: 0, firstSeq: 1 };
    const first = this.#firstSeq.get(state.id) as unknown as [number] | undefined;
    const entries = this.#entries(state.id, afterSeq, Math.min(limitBytes, ENTRIES_BYTES_MAX));
    return { entries, end: state.end, firstSeq: first ? first[0] : state.end + 1 };
  }

  /** OWNERSHIP rule 8: fenced, never back; rule 9: beyond the end it replaces the log up to itself. */
  putSnapshot(shard: ShardId, epoch: Epoch, snapshot: StoredSnapshot): FencedResult {
    checkWholeNumber('epoch', epoch);
    checkWholeNumber('snapshot seq', snapshot.seq);
    checkShardId(shard);
    if (snapshot.bytes.byteLength > SNAPSHOT_BYTES_MAX) {
      throw new StoreError(
        'too-large',
        `the snapshot of ${shard} takes ${snapshot.bytes.byteLength} bytes, over the limit of ${SNAPSHOT_BYTES_MAX}`,
      );
    }
    return this.#store(shard, epoch, snapshot.seq, crc32(snapshot.bytes), (id) => {
      this.#pieces.release(id);
      return snapshot.bytes;
    });
  }

  /** For a large snapshot: pieces are added under this number, in transactions of their own, and then adopted. */
  beginUpload(): number {
    return this.#pieces.begin();
  }

  addPiece(upload: number, piece: number, bytes: Uint8Array): void {
    this.#pieces.add(upload, piece, bytes);
  }

  /** As {@link putSnapshot}, of what was added: until here no reader has seen any of it. */
  putUpload(
    shard: ShardId,
    epoch: Epoch,
    upload: { upload: number; seq: Seq; crc32: number; totalBytes: number },
  ): FencedResult {
    checkWholeNumber('epoch', epoch);
    checkWholeNumber('snapshot seq', upload.seq);
    checkShardId(shard);
    let adopted = false;
    const result = this.#store(shard, epoch, upload.seq, upload.crc32, (id) => {
      adopted = true;
      this.#pieces.adopt(id, upload.upload, upload.totalBytes);
      return NO_BYTES;
    });
    if (!adopted) this.#pieces.abandon(upload.upload);
    return result;
  }

  abandonUpload(upload: number): void {
    this.#pieces.abandon(upload);
  }

  /** Pieces that nothing refers to wait to be removed, one by one, with {@link dropGarbage}. */
  get hasGarbage(): boolean {
    return this.#pieces.hasGarbage;
  }

  dropGarbage(): void {
    this.#pieces.dropOne();
  }

  #store(
    shard: ShardId,
    epoch: Epoch,
    seq: Seq,
    checksum: number,
    bytesFor: (id: number) => Uint8Array,
  ): FencedResult {
    const state = this.#find(shard) ?? this.#add(shard, 0);
    if (this.#isFenced(state, epoch)) return { ok: false, reason: 'fenced', fence: state.fence };
    if (seq < state.snapshotSeq && !this.#mutations?.has('snapshot-goes-back'))
      return { ok: false, reason: 'stale' };
    if (seq === state.snapshotSeq) return APPENDED;
    this.#putSnapshot.run(state.id, seq, checksum, bytesFor(state.id));
    this.#setSnapshotSeq.run(seq, state.id);
    state.snapshotSeq = seq;
    if (seq > state.end) {
      this.#trimThrough.run(state.id, seq);
      state.end = seq;
    }
    return APPENDED;
  }

  /** OWNERSHIP rule 8: reaches only below the stored snapshot. */
  trim(shard: ShardId, epoch: Epoch, throughSeq: Seq): FencedResult {
    checkWholeNumber('epoch', epoch);
    checkWholeNumber('throughSeq', throughSeq);
    const state = this.#find(shard);
    if (!state) return APPENDED;
    if (this.#isFenced(state, epoch)) return { ok: false, reason: 'fenced', fence: state.fence };
    this.#trimThrough.run(state.id, Math.min(throughSeq, state.snapshotSeq));
    return APPENDED;
  }

  /** OWNERSHIP rule 8: the fence stays. */
  deleteLog(shard: ShardId, epoch: Epoch): FencedResult {
    checkWholeNumber('epoch', epoch);
    const state = this.#find(shard);
    if (!state) return APPENDED;
    if (this.#isFenced(state, epoch)) return { ok: false, reason: 'fenced', fence: state.fence };
    this.#trimThrough.run(state.id, state.end);
    this.#pieces.release(state.id);
    this.#dropSnapshot.run(state.id);
    this.#setSnapshotSeq.run(NO_SNAPSHOT, state.id);
    state.end = 0;
    state.snapshotSeq = NO_SNAPSHOT;
    return APPENDED;
  }

  listShards(limit: number = SHARDS_PER_LIST_MAX, after: ShardId = ''): ShardId[] {
    const rows = this.#listShards.all(after, Math.min(limit, SHARDS_PER_LIST_MAX)) as unknown as [string][];
    return rows.map((row) => row[0]);
  }

  /** OWNERSHIP rule 8: maintenance carries an epoch. */
  #isFenced(state: ShardState, epoch: Epoch): boolean {
    return state.fence > epoch && !this.#mutations?.has('maintenance-unfenced');
  }

  #raise(shard: ShardId, epoch: Epoch): ShardState {
    checkShardId(shard);
    const state = this.#find(shard);
    if (!state) return this.#add(shard, epoch);
    if (epoch > state.fence) {
      this.#setFence.run(epoch, state.id);
      state.fence = epoch;
    }
    return state;
  }

  #find(shard: ShardId): ShardState | undefined {
    const cached = this.#cache.get(shard);
    if (cached) return cached;
    const row = this.#findShard.get(shard) as unknown as [number, number, number] | undefined;
    if (!row) return undefined;
    const last = this.#lastSeq.get(row[0]) as unknown as [number] | undefined;
    const end = Math.max(0, row[2], last ? last[0] : 0);
    return this.#remember(shard, { id: row[0], fence: row[1], end, snapshotSeq: row[2] });
  }

  #add(shard: ShardId, fence: Epoch): ShardState {
    const { lastInsertRowid } = this.#addShard.run(shard, fence, NO_SNAPSHOT);
    return this.#remember(shard, { id: Number(lastInsertRowid), fence, end: 0, snapshotSeq: NO_SNAPSHOT });
  }

  #remember(shard: ShardId, state: ShardState): ShardState {
    // The oldest goes, used or not: re-reading a hot one costs microseconds, keeping order on every hit costs more.
    if (this.#cache.size >= this.#cacheMax) {
      const oldest = this.#cache.keys().next().value;
      if (oldest !== undefined) this.#cache.delete(oldest);
    }
    this.#cache.set(shard, state);
    return state;
  }

  #readSnapshot(state: ShardState, offset: number, bytesMax: number): SnapshotPart | undefined {
    if (state.snapshotSeq === NO_SNAPSHOT) return undefined;
    const row = this.#snapshotPart.get(offset + 1, bytesMax, state.id) as unknown as
      | [number, number, number, Uint8Array | null]
      | undefined;
    const adopted = row && row[2] === 0 ? this.#pieces.of(state.id) : undefined;
    if (row && adopted) {
      const { upload, totalBytes } = adopted;
      const bytes = this.#pieces.read(upload, totalBytes, offset, bytesMax);
      return { seq: row[0], crc32: row[1], totalBytes, bytes };
    }
    // A part of no bytes comes out of substr as NULL.
    return row && { seq: row[0], crc32: row[1], totalBytes: row[2], bytes: row[3] ?? new Uint8Array() };
  }

  #entries(id: number, afterSeq: Seq, limitBytes: number): LogEntry[] {
    const entries: LogEntry[] = [];
    let bytes = 0;
    for (const row of this.#entriesAfter.iterate(id, afterSeq)) {
      const [seq, appendId, delta] = row as unknown as [number, string, Uint8Array];
      bytes += delta.byteLength + ENTRY_OVERHEAD_BYTES;
      if (entries.length > 0 && (bytes > limitBytes || entries.length >= ENTRIES_MAX)) break;
      entries.push({ seq, id: appendId, delta });
    }
    return entries;
  }
}

const APPENDED: { ok: true } = Object.freeze({ ok: true });
