/**
 * Checkpoints a database's write-ahead log in a thread of its own, so that no commit waits for one.
 *
 * SQLite's own checkpoint runs inside the commit that fills the log: 16,000 pages of it held everybody up for 40 ms. Here
 * a second connection copies the log back while the first goes on writing (a PASSIVE checkpoint waits for nobody and
 * nobody for it). A log starts again from its beginning only when a checkpoint has caught up with its end, which one
 * beside a busy writer never does: so the last few pages are the writer's own, between two commits.
 *
 * Invariants: only whole checkpoints of SQLite touch the files; the writer's own one is at most {@link TAIL_PAGES} long
 * unless the log outgrows {@link LOG_PAGES_MAX}; without the thread SQLite checkpoints by itself, as it always did.
 */
import type { DatabaseSync } from 'node:sqlite';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import type { Log } from '../../io/io.ts';
import { realClock } from '../../io/real.ts';
import { openConnection } from './database.ts';

/** What one checkpoint should find: few enough to be quick, enough that a hot page is copied once for many commits. */
const PAGES_A_TIME = 6_000;
const PAUSE_MS_MIN = 50;
const PAUSE_MS_MAX = 2_000;
/** How much of the log the writer copies back itself: under a millisecond. */
const TAIL_PAGES = 200;
/** From here on a log is worth starting again. */
const RESTART_PAGES = 4_000;
/** SQLite's own checkpoint, should the thread fail: 256 MB of log. */
const LOG_PAGES_MAX = 64_000;
/** Checkpoints in a row that try to come close to the end of the log before the thread rests. */
const CHASES_MAX = 4;

/** What the thread tells: pages in the log, and how many of them are back in the database. */
interface Progress {
  logPages: number;
  copiedPages: number;
}

interface CheckpointerData {
  skeinCheckpointer: true;
  path: string;
}

const FILE = new URL(import.meta.url);

export class Checkpointer {
  readonly #worker: Worker;
  readonly #database: DatabaseSync;
  #closed = false;

  /** @param database the writing connection to the file at `path`. */
  constructor(path: string, database: DatabaseSync, log: Log) {
    this.#database = database;
    database.exec(`PRAGMA wal_autocheckpoint = ${LOG_PAGES_MAX}`);
    this.#worker = new Worker(FILE, {
      workerData: { skeinCheckpointer: true, path } satisfies CheckpointerData,
      execArgv: FILE.pathname.endsWith('.ts') ? ['--conditions=skein-source'] : [],
    });
    this.#worker.unref();
    this.#worker.on('message', (progress: Progress) => {
      if (!this.#closed) this.#finish(progress);
    });
    this.#worker.on('error', (error) => {
      log.warn({ error: String(error), path }, 'the checkpointer ended; commits checkpoint by themselves');
    });
  }

  /** Call before the database is closed. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#worker.terminate();
  }

  /** Runs between two transactions: engines begin and commit without giving the thread away. */
  #finish({ logPages, copiedPages }: Progress): void {
    const isNearEnd = logPages - copiedPages <= TAIL_PAGES;
    if (logPages >= RESTART_PAGES && isNearEnd && !this.#database.isTransaction)
      this.#database.exec('PRAGMA wal_checkpoint(PASSIVE)');
  }
}

/** The thread: checkpoints as often as the log grows by {@link PAGES_A_TIME}. */
function run(path: string): void {
  const database = openConnection(path);
  const statement = database.prepare('PRAGMA wal_checkpoint(PASSIVE)');
  let pauseMs = PAUSE_MS_MIN;
  let copiedBefore = 0;
  let chases = 0;
  const checkpoint = () => {
    const row = statement.get() as { log: number; checkpointed: number };
    const progress: Progress = { logPages: row.log, copiedPages: row.checkpointed };
    parentPort!.postMessage(progress);
    // The log starts again when it is copied whole: then all of it is new.
    const isSame = progress.copiedPages >= copiedBefore;
    const copied = isSame ? progress.copiedPages - copiedBefore : progress.copiedPages;
    copiedBefore = progress.copiedPages;
    const isBehind =
      progress.logPages >= RESTART_PAGES && progress.logPages - progress.copiedPages > TAIL_PAGES;
    if (isBehind && chases < CHASES_MAX) {
      chases++;
      realClock.defer(checkpoint);
      return;
    }
    chases = 0;
    const wanted = copied === 0 ? PAUSE_MS_MAX : (pauseMs * PAGES_A_TIME) / copied;
    // Slower by at most a half at a time: a burst after a pause would find a long one.
    pauseMs = Math.min(PAUSE_MS_MAX, Math.max(PAUSE_MS_MIN, Math.min(wanted, pauseMs * 1.5)));
    realClock.setTimer(pauseMs, checkpoint);
  };
  realClock.setTimer(pauseMs, checkpoint);
}

if (!isMainThread && (workerData as Partial<CheckpointerData> | null)?.skeinCheckpointer)
  run((workerData as CheckpointerData).path);
