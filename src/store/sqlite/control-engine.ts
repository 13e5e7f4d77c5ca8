/**
 * The control store in SQLite: the synchronous engine. Like the cell's it never begins or commits by itself.
 *
 * Invariants:
 *  - a transaction that changes anything takes the next revision; all it puts has that version; none is ever reused;
 *  - changes reach {@link SqliteControl.takeCommitted} only after the commit that made them durable;
 *  - leases are stored with their TTL alone; deadlines live in memory, so opening the store gives every lease a fresh
 *    TTL, and so does a stall of the process (OWNERSHIP rule 4: a lease never ends before its holder's own view);
 *  - a StoreError is thrown before the first write of a call.
 */
import type { StatementSync } from 'node:sqlite';
import { type ChangeEvent, History } from '../history.ts';
import {
  checkControlKey,
  checkLeaseTtl,
  checkTransaction,
  LEASES_MAX,
  LIST_BYTES_MAX,
  LIST_ENTRIES_MAX,
} from '../limits.ts';
import { type KeyValue, StoreError, type Transaction, type TransactionResult } from '../store.ts';
import type { TransactionalEngine } from './database.ts';
import { type DatabaseOptions, Statements } from './statements.ts';

/** Expiry later than this after the one before means that the process stood still: renewals may be waiting unread. */
export const LEASE_STALL_MS = 500;

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS entries (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL,
    version INTEGER NOT NULL,
    lease TEXT
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS entries_of_lease ON entries (lease) WHERE lease IS NOT NULL;
  CREATE TABLE IF NOT EXISTS leases (id TEXT PRIMARY KEY, ttl_ms REAL NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS revision (one INTEGER PRIMARY KEY CHECK (one = 1), value INTEGER NOT NULL) STRICT;
  INSERT OR IGNORE INTO revision VALUES (1, 0);
`;

type Row = [key: string, value: string, version: number, lease: string | null];

interface Lease {
  ttlMs: number;
  deadlineMs: number;
}

export interface ControlList {
  entries: KeyValue[];
  revision: number;
  /** Keys with the prefix remain beyond the last entry. */
  more: boolean;
}

export class SqliteControl implements TransactionalEngine {
  readonly #statements: Statements;
  readonly #now: () => number;
  readonly #saveRevision: StatementSync;
  readonly #get: StatementSync;
  readonly #version: StatementSync;
  readonly #put: StatementSync;
  readonly #delete: StatementSync;
  readonly #list: StatementSync;
  readonly #keysOfLease: StatementSync;
  readonly #putLease: StatementSync;
  readonly #dropLease: StatementSync;
  readonly #history: History;
  readonly #leases = new Map<string, Lease>();
  /** Of the running transaction; `#savedRevision` is the durable one. */
  #revision = 0;
  #savedRevision = 0;
  #staged: ChangeEvent[] = [];
  #committed: ChangeEvent[] = [];
  #lastTickMs: number;

  constructor(
    options: DatabaseOptions & {
      /** Monotonic milliseconds: for leases alone. */
      now: () => number;
      historyEventsMax?: number;
    },
  ) {
    this.#statements = new Statements(options, SCHEMA);
    this.#now = options.now;
    this.#lastTickMs = this.#now();
    const prepare = (sql: string) => this.#statements.prepare(sql);
    this.#saveRevision = prepare('UPDATE revision SET value = ?');
    this.#get = prepare('SELECT key, value, version, lease FROM entries WHERE key = ?');
    this.#version = prepare('SELECT version FROM entries WHERE key = ?');
    this.#put = prepare('INSERT OR REPLACE INTO entries (key, value, version, lease) VALUES (?, ?, ?, ?)');
    this.#delete = prepare('DELETE FROM entries WHERE key = ?');
    this.#list = prepare(
      'SELECT key, value, version, lease FROM entries WHERE key >= ? AND key > ? ORDER BY key',
    );
    this.#keysOfLease = prepare('SELECT key FROM entries WHERE lease = ? ORDER BY key');
    this.#putLease = prepare('INSERT OR REPLACE INTO leases (id, ttl_ms) VALUES (?, ?)');
    this.#dropLease = prepare('DELETE FROM leases WHERE id = ?');
    this.#load();
    this.#history = new History(this.#revision, options.historyEventsMax);
  }

  /** Durable and in the running transaction. */
  get revision(): number {
    return this.#revision;
  }

  begin(): void {
    this.#statements.begin();
  }

  commit(): void {
    if (this.#revision !== this.#savedRevision) this.#saveRevision.run(this.#revision);
    this.#statements.commit();
    this.#savedRevision = this.#revision;
    for (const event of this.#staged) {
      this.#history.push(event);
      this.#committed.push(event);
    }
    this.#staged = [];
  }

  rollback(): void {
    this.#staged = [];
    this.#statements.rollback();
    this.#load();
  }

  close(): void {
    this.#statements.close();
  }

  /** Changes committed since the last call, for those who watch. */
  takeCommitted(): ChangeEvent[] {
    const events = this.#committed;
    if (events.length > 0) this.#committed = [];
    return events;
  }

  /** Durable changes after a revision; undefined where history does not reach back (or never was) there. */
  changesAfter(revision: number): ChangeEvent[] | undefined {
    if (revision > this.#savedRevision) return undefined;
    return this.#history.after(revision);
  }

  get(key: string): KeyValue | undefined {
    checkControlKey(key);
    const row = this.#get.get(key) as unknown as Row | undefined;
    return row && keyValueOf(row);
  }

  list(prefix: string, options: { limit?: number; after?: string } = {}): ControlList {
    const limit = options.limit ?? LIST_ENTRIES_MAX;
    if (!Number.isSafeInteger(limit) || limit < 1)
      throw new StoreError('invalid', `a list of at most ${limit} entries makes no sense`);
    const entries: KeyValue[] = [];
    let bytes = 0;
    for (const found of this.#list.iterate(prefix, options.after ?? '')) {
      const row = found as unknown as Row;
      // Keys with one prefix stand together in byte order: the first without it ends the list.
      if (!row[0].startsWith(prefix)) break;
      bytes += row[0].length + row[1].length + 64;
      const full = bytes > LIST_BYTES_MAX && entries.length > 0;
      if (full || entries.length >= Math.min(limit, LIST_ENTRIES_MAX))
        return { entries, revision: this.#revision, more: true };
      entries.push(keyValueOf(row));
    }
    return { entries, revision: this.#revision, more: false };
  }

  transact(transaction: Transaction): TransactionResult {
    checkTransaction(transaction);
    let holds = true;
    for (const { key, version } of transaction.compare) {
      const row = this.#version.get(key) as unknown as [number] | undefined;
      if ((row ? row[0] : 0) !== version) {
        holds = false;
        break;
      }
    }
    if (holds && transaction.operations.length > 0) {
      for (const operation of transaction.operations) {
        if ('put' in operation && operation.lease !== undefined && !this.#leases.has(operation.lease))
          throw leaseGone(operation.lease);
      }
      this.#apply(transaction);
    }
    const read = (transaction.read ?? []).map((key) => this.get(key));
    return { succeeded: holds, revision: this.#revision, read };
  }

  #apply(transaction: Transaction): void {
    const revision = this.#revision + 1;
    let changed = false;
    for (const operation of transaction.operations) {
      if ('put' in operation) {
        const { put: key, value, lease } = operation;
        this.#put.run(key, value, revision, lease ?? null);
        const entry: KeyValue = { key, value, version: revision };
        if (lease !== undefined) entry.lease = lease;
        this.#staged.push({ type: 'put', entry, revision });
        changed = true;
      } else if (this.#deleteKey(operation.delete, revision)) changed = true;
    }
    if (changed) this.#revision = revision;
  }

  #deleteKey(key: string, revision: number): boolean {
    if (Number(this.#delete.run(key).changes) === 0) return false;
    this.#staged.push({ type: 'delete', key, revision });
    return true;
  }

  grantLease(leaseId: string, ttlMs: number): void {
    checkControlKey(leaseId);
    checkLeaseTtl(ttlMs);
    const lease = this.#leases.get(leaseId);
    if (!lease && this.#leases.size >= LEASES_MAX)
      throw new StoreError('too-large', `there are ${LEASES_MAX} leases already`);
    if (lease?.ttlMs !== ttlMs) this.#putLease.run(leaseId, ttlMs);
    this.#leases.set(leaseId, { ttlMs, deadlineMs: this.#now() + ttlMs });
  }

  keepAlive(leaseId: string): void {
    const lease = this.#leases.get(leaseId);
    if (!lease) throw leaseGone(leaseId);
    lease.deadlineMs = this.#now() + lease.ttlMs;
  }

  revokeLease(leaseId: string): void {
    if (!this.#leases.has(leaseId)) return;
    const revision = this.#revision + 1;
    const keys = this.#keysOfLease.all(leaseId) as unknown as [string][];
    for (const [key] of keys) this.#deleteKey(key, revision);
    if (keys.length > 0) this.#revision = revision;
    this.#dropLease.run(leaseId);
    this.#leases.delete(leaseId);
  }

  /** Whether {@link tick} would have something to do. */
  isDue(nowMs: number): boolean {
    if (nowMs - this.#lastTickMs > LEASE_STALL_MS) return true;
    for (const lease of this.#leases.values()) if (lease.deadlineMs <= nowMs) return true;
    this.#lastTickMs = nowMs;
    return false;
  }

  /** Ends the leases that are over. Call it, or {@link isDue}, several times in {@link LEASE_STALL_MS}. */
  tick(nowMs: number): void {
    const stalled = nowMs - this.#lastTickMs > LEASE_STALL_MS;
    this.#lastTickMs = nowMs;
    for (const [id, lease] of this.#leases) {
      if (stalled) lease.deadlineMs = nowMs + lease.ttlMs;
      else if (lease.deadlineMs <= nowMs) this.revokeLease(id);
    }
  }

  /** State as the database has it; leases known in memory keep their deadlines. */
  #load(): void {
    const [revision] = this.#statements.prepare('SELECT value FROM revision').all() as unknown as [number][];
    this.#revision = revision![0];
    this.#savedRevision = revision![0];
    const rows = this.#statements.prepare('SELECT id, ttl_ms FROM leases').all() as unknown as [
      id: string,
      ttlMs: number,
    ][];
    const known = new Map(this.#leases);
    this.#leases.clear();
    for (const [id, ttlMs] of rows) {
      const deadlineMs = known.get(id)?.deadlineMs ?? this.#now() + ttlMs;
      this.#leases.set(id, { ttlMs, deadlineMs });
    }
  }
}

function keyValueOf(row: Row): KeyValue {
  const entry: KeyValue = { key: row[0], value: row[1], version: row[2] };
  if (row[3] !== null) entry.lease = row[3];
  return entry;
}

function leaseGone(id: string): StoreError {
  return new StoreError('lease-gone', `lease ${id} is not there: it expired or was revoked; grant it again`);
}
