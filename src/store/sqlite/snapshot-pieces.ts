/**
 * Large snapshots in pieces, so that writing one (or removing one) is many short transactions and appends of other shards
 * get in between: 15 MB in one kept a cell busy for 50 to 110 ms.
 *
 * Job: keep pieces under an upload's number, and which upload is a shard's stored snapshot. Boundary: fences, seqs and
 * checksums are the cell engine's. Like it, it begins and commits nothing.
 *
 * Invariants: a piece is seen by readers only through {@link SnapshotPieces.adopt}, which is one row; pieces of an upload
 * that no shard has adopted and nobody is writing are garbage, and only garbage is removed, also after a crash.
 */
import type { StatementSync } from 'node:sqlite';
import type { Statements } from './statements.ts';

/** Written in one go: 3 ms on the machine where 15 MB took 100. */
export const PIECE_BYTES = 512 * 1024;

export const PIECES_SCHEMA = `
  CREATE TABLE IF NOT EXISTS snapshot_pieces (
    upload INTEGER NOT NULL,
    piece INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    UNIQUE (upload, piece)
  ) STRICT;
  CREATE TABLE IF NOT EXISTS snapshot_uploads (
    shard_id INTEGER PRIMARY KEY,
    upload INTEGER NOT NULL UNIQUE,
    total_bytes INTEGER NOT NULL
  ) STRICT;
`;

export class SnapshotPieces {
  readonly #insert: StatementSync;
  readonly #select: StatementSync;
  readonly #adopted: StatementSync;
  readonly #adopt: StatementSync;
  readonly #release: StatementSync;
  readonly #dropPiece: StatementSync;
  /** Uploads to be removed piece by piece. */
  readonly #garbage: Set<number>;
  #nextUpload: number;

  constructor(statements: Statements) {
    const prepare = (sql: string) => statements.prepare(sql);
    this.#insert = prepare('INSERT INTO snapshot_pieces (upload, piece, bytes) VALUES (?, ?, ?)');
    this.#select = prepare('SELECT substr(bytes, ?, ?) FROM snapshot_pieces WHERE upload = ? AND piece = ?');
    this.#adopted = prepare('SELECT upload, total_bytes FROM snapshot_uploads WHERE shard_id = ?');
    this.#adopt = prepare(
      'INSERT OR REPLACE INTO snapshot_uploads (shard_id, upload, total_bytes) VALUES (?, ?, ?)',
    );
    this.#release = prepare('DELETE FROM snapshot_uploads WHERE shard_id = ?');
    this.#dropPiece = prepare(
      `DELETE FROM snapshot_pieces WHERE rowid =
        (SELECT rowid FROM snapshot_pieces WHERE upload = ?
          AND NOT EXISTS (SELECT 1 FROM snapshot_uploads WHERE upload = snapshot_pieces.upload) LIMIT 1)`,
    );
    // What a crash left: written, and adopted by nobody.
    const left = prepare(
      'SELECT DISTINCT upload FROM snapshot_pieces WHERE upload NOT IN (SELECT upload FROM snapshot_uploads)',
    ).all() as unknown as [number][];
    this.#garbage = new Set(left.map(([upload]) => upload));
    const [last] = prepare('SELECT max(upload) FROM snapshot_pieces').get() as unknown as [number | null];
    this.#nextUpload = (last ?? 0) + 1;
  }

  begin(): number {
    return this.#nextUpload++;
  }

  add(upload: number, piece: number, bytes: Uint8Array): void {
    this.#insert.run(upload, piece, bytes);
  }

  /** The upload is the shard's snapshot from now on; the one before it is garbage. */
  adopt(shardId: number, upload: number, totalBytes: number): void {
    this.release(shardId);
    this.#adopt.run(shardId, upload, totalBytes);
  }

  /** The shard's snapshot is not in pieces (any more). */
  release(shardId: number): void {
    const adopted = this.of(shardId);
    if (adopted === undefined) return;
    this.#release.run(shardId);
    // Should the transaction be undone, it is adopted again: removing looks first.
    this.#garbage.add(adopted.upload);
  }

  /** Nobody goes on with this upload. */
  abandon(upload: number): void {
    this.#garbage.add(upload);
  }

  of(shardId: number): { upload: number; totalBytes: number } | undefined {
    const row = this.#adopted.get(shardId) as unknown as [number, number] | undefined;
    return row && { upload: row[0], totalBytes: row[1] };
  }

  /** Bytes from `offset` on, `bytesMax` at most. */
  read(upload: number, totalBytes: number, offset: number, bytesMax: number): Uint8Array {
    const length = Math.max(0, Math.min(bytesMax, totalBytes - offset));
    const bytes = new Uint8Array(length);
    for (let at = 0; at < length; ) {
      const within = (offset + at) % PIECE_BYTES;
      const piece = Math.floor((offset + at) / PIECE_BYTES);
      const [part] = this.#select.get(within + 1, length - at, upload, piece) as unknown as [Uint8Array];
      bytes.set(part, at);
      at += part.byteLength;
    }
    return bytes;
  }

  get hasGarbage(): boolean {
    return this.#garbage.size > 0;
  }

  /** Removes one piece of garbage. */
  dropOne(): void {
    const [upload] = this.#garbage;
    if (upload === undefined) return;
    if (this.#dropPiece.run(upload).changes === 0) this.#garbage.delete(upload);
  }
}
