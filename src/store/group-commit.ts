/**
 * Group commit: what one tick brings runs in one transaction, in order, and is answered after its one sync.
 *
 * Invariants:
 *  - nothing is answered, reads included, before what it did or saw is durable;
 *  - an operation that fails with a StoreError has written nothing and leaves the others alone;
 *  - any other failure undoes the whole transaction; then each operation runs again in one of its own, so one that
 *    cannot succeed neither loses nor falsely acknowledges another;
 *  - the queue is bounded; beyond it operations are refused, not kept.
 */
import type { Clock } from '../io/io.ts';
import { storeErrorOf, type TransactionalEngine } from './sqlite/database.ts';
import { StoreError } from './store.ts';

export const QUEUE_OPERATIONS_MAX = 20_000;
export const QUEUE_BYTES_MAX = 192 * 1024 * 1024;
/** One transaction takes no more than this, so that nobody waits for all. */
const TRANSACTION_OPERATIONS_MAX = 4_000;
const TRANSACTION_BYTES_TARGET = 32 * 1024 * 1024;

interface Queued {
  bytes: number;
  run: () => unknown;
  resolve: (value: unknown) => void;
  reject: (error: StoreError) => void;
  result: unknown;
  error: StoreError | undefined;
}

export class GroupCommit {
  readonly #engine: TransactionalEngine;
  readonly #clock: Pick<Clock, 'defer'>;
  readonly #onCommit: () => void;
  readonly #queue: Queued[] = [];
  #queuedBytes = 0;
  #scheduled = false;
  #closed = false;

  /** @param onCommit called after each durable transaction, before its operations are answered. */
  constructor(engine: TransactionalEngine, clock: Pick<Clock, 'defer'>, onCommit: () => void = () => {}) {
    this.#engine = engine;
    this.#clock = clock;
    this.#onCommit = onCommit;
  }

  /**
   * Runs in the next transaction. Rejects with `unavailable` where the queue is full or the store closed.
   *
   * @param bytes about what the operation holds in memory.
   */
  submit<Result>(bytes: number, run: () => Result): Promise<Result> {
    return new Promise<Result>((resolve, reject) => {
      if (this.#closed) {
        reject(new StoreError('unavailable', 'the store is closed'));
        return;
      }
      if (this.#queue.length >= QUEUE_OPERATIONS_MAX || this.#queuedBytes + bytes > QUEUE_BYTES_MAX) {
        reject(
          new StoreError('unavailable', 'the store has too much to do; nothing was done, try again later'),
        );
        return;
      }
      this.#queue.push({
        bytes,
        run,
        resolve: resolve as (value: unknown) => void,
        reject,
        result: undefined,
        error: undefined,
      });
      this.#queuedBytes += bytes;
      this.#schedule();
    });
  }

  /** Refuses what waits and what comes. */
  close(): void {
    this.#closed = true;
    for (const operation of this.#queue.splice(0))
      operation.reject(new StoreError('unavailable', 'the store is closing; nothing was done'));
    this.#queuedBytes = 0;
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#clock.defer(() => {
      this.#scheduled = false;
      if (this.#closed) return;
      this.#flush(this.#take());
      if (this.#queue.length > 0) this.#schedule();
    });
  }

  #take(): Queued[] {
    let count = 0;
    let bytes = 0;
    for (const operation of this.#queue) {
      if (
        count >= TRANSACTION_OPERATIONS_MAX ||
        (count > 0 && bytes + operation.bytes > TRANSACTION_BYTES_TARGET)
      )
        break;
      bytes += operation.bytes;
      count++;
    }
    this.#queuedBytes -= bytes;
    return this.#queue.splice(0, count);
  }

  #flush(batch: Queued[]): void {
    if (batch.length === 0) return;
    if (!this.#attempt(batch)) for (const operation of batch) this.#alone(operation);
    for (const operation of batch) {
      if (operation.error) operation.reject(operation.error);
      else operation.resolve(operation.result);
    }
  }

  /** False: an operation broke the transaction and nothing of the batch was done. */
  #attempt(batch: Queued[]): boolean {
    try {
      this.#engine.begin();
      for (const operation of batch) {
        try {
          operation.result = operation.run();
        } catch (error) {
          if (!(error instanceof StoreError)) throw error;
          operation.error = error;
        }
      }
    } catch {
      this.#engine.rollback();
      for (const operation of batch) {
        operation.result = undefined;
        operation.error = undefined;
      }
      return false;
    }
    this.#finish(batch);
    return true;
  }

  #alone(operation: Queued): void {
    try {
      this.#engine.begin();
      operation.result = operation.run();
    } catch (error) {
      this.#engine.rollback();
      operation.error = storeErrorOf(error);
      return;
    }
    this.#finish([operation]);
  }

  /** A commit that fails leaves the outcome open: what reached the disk may come back after a crash. */
  #finish(batch: Queued[]): void {
    try {
      this.#engine.commit();
    } catch (error) {
      this.#engine.rollback();
      for (const operation of batch) {
        operation.error ??= new StoreError(
          'unavailable',
          `the commit failed: ${(error as Error).message}; it may or may not have happened`,
          { cause: error },
        );
      }
      return;
    }
    this.#onCommit();
  }
}
