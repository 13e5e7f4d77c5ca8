/**
 * Opens a SQLite file the way both engines need it, and nothing else.
 *
 * WAL with synchronous=FULL: COMMIT returns only after the log was synced, so what is committed is durable. A second
 * process on the same file must be refused, not tolerated: the engines cache what they wrote. A lock file beside it sees
 * to that, since an exclusive lock of the database itself would also keep the checkpointing thread out.
 */
import { DatabaseSync } from 'node:sqlite';
import { StoreError } from '../store.ts';

/** How long opening waits for a dying predecessor to let go of the file. */
const LOCK_WAIT_MS = 5_000;
/**
 * Pages in the WAL before a commit also checkpoints. Rarer checkpoints rewrite a hot page fewer times: with 16,000 instead
 * of 4,000 a delta costs 15 % less CPU, and few enough batches wait for one that the p99 of a commit no longer shows it.
 * The WAL then takes 64 MB, which a start after a crash reads once.
 */
const CHECKPOINT_PAGES = 16_000;
const CACHE_KIB = 64 * 1024;
const PAGE_BYTES = 4096;
/** Largest file of one engine: beyond it writes are refused with `too-large`. */
export const DATABASE_BYTES_MAX = 64 * 1024 * 1024 * 1024;

/** What a group commit needs of an engine. */
export interface TransactionalEngine {
  begin(): void;
  /** Returns when durable. Throws where that is not sure. */
  commit(): void;
  /** Forgets everything since `begin`, in memory too. Never throws. */
  rollback(): void;
}

/** Holds its lock file until it is closed, or the process ends in whatever way. */
class LockedDatabase extends DatabaseSync {
  readonly #lock: DatabaseSync | undefined;

  constructor(path: string) {
    const lock =
      path === ':memory:' ? undefined : new DatabaseSync(`${path}-lock`, { timeout: LOCK_WAIT_MS });
    try {
      lock?.exec('BEGIN EXCLUSIVE');
      super(path, { timeout: LOCK_WAIT_MS });
    } catch (error) {
      lock?.close();
      throw error;
    }
    this.#lock = lock;
  }

  override close(): void {
    super.close();
    this.#lock?.close();
  }
}

/**
 * @param path a file, or `:memory:` for tests and the simulated world.
 * @throws StoreError `unavailable` where the file cannot be opened or another process holds it.
 */
export function openDatabase(path: string, bytesMax: number = DATABASE_BYTES_MAX): DatabaseSync {
  let database: DatabaseSync | undefined;
  try {
    database = prepared(new LockedDatabase(path));
    database.exec(`
      PRAGMA wal_autocheckpoint = ${CHECKPOINT_PAGES};
      PRAGMA journal_size_limit = ${CHECKPOINT_PAGES * PAGE_BYTES * 2};
      PRAGMA cache_size = -${CACHE_KIB};
      PRAGMA temp_store = MEMORY;
      PRAGMA max_page_count = ${Math.floor(bytesMax / PAGE_BYTES)};
      BEGIN EXCLUSIVE; COMMIT;
    `);
    return database;
  } catch (error) {
    database?.close();
    throw new StoreError(
      'unavailable',
      `cannot open ${path}: ${(error as Error).message}; is another store process using it, or is it not a database?`,
      { cause: error },
    );
  }
}

/** A further connection to a file that this process holds by {@link openDatabase}. */
export function openConnection(path: string): DatabaseSync {
  return prepared(new DatabaseSync(path, { timeout: LOCK_WAIT_MS }));
}

function prepared(database: DatabaseSync): DatabaseSync {
  try {
    database.exec(`
      PRAGMA page_size = ${PAGE_BYTES};
      PRAGMA journal_mode = WAL;
      PRAGMA synchronous = FULL;
    `);
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

const SQLITE_FULL = 13;

/** What an unexpected failure of an operation that was rolled back means to its caller. */
export function storeErrorOf(error: unknown): StoreError {
  if (error instanceof StoreError) return error;
  const { errcode, message } = error as { errcode?: number; message?: string };
  if (errcode === SQLITE_FULL)
    return new StoreError('too-large', 'the database or its disk is full: trim, or add a cell', {
      cause: error,
    });
  return new StoreError('unavailable', `the store failed: ${message ?? String(error)}`, { cause: error });
}
