/**
 * Group commit: deltas of all shards of one cell leave in common batches.
 *
 * What one tick brings goes in one call. While a near store is busy the next batch gathers; to a far one several are
 * on their way, one every {@link BATCH_SPACING_MS}. Order a shard is kept in every case, retries included. Where a store
 * has one append of a shard under way at a time, its next deltas stay here meanwhile, so that no call waits for them.
 *
 * OWNERSHIP rule 3: an append whose outcome is unknown is sent again unchanged (same seq, same id) until it is known,
 * or its replica demotes. A batch that got no answer stops the line: when everything sent has come back, one way or
 * the other, what is unresolved goes out again, oldest first.
 */
import type { Io } from '../io/io.ts';
import type { Epoch, Seq, ShardId } from '../model/ids.ts';
import type { Append, AppendResult, CellStore } from '../store/store.ts';
import { StoreError } from '../store/store.ts';

const BATCH_SPACING_MS = 4;
const BATCHES_IN_FLIGHT_MAX = 64;
const BATCH_APPENDS_MAX = 8_192;
const BATCH_BYTES_MAX = 8 * 1024 * 1024;
const RETRY_DELAY_MS_MIN = 20;
const RETRY_DELAY_MS_MAX = 500;

/** Who appends: a replica, told in order what became of its deltas. */
export interface Appender {
  readonly shard: ShardId;
  /** False once it was demoted: what it still has queued is dropped. */
  readonly appending: boolean;
  /** Everything up to `seq` is durable. */
  appended(seq: Seq): void;
  /** Refused, or given up because the cell is out of reach (`cutOff`): demote. */
  appendFailed(reason: string, cutOff: boolean): void;
}

/** An append and who waits for it. */
interface Pending extends Append {
  appender: Appender;
}

/** Bytes of all cells of the node that are not durable yet. */
export class UndurableBytes {
  readonly max: number;
  bytes = 0;

  constructor(max: number) {
    this.max = max;
  }

  admit(bytes: number): boolean {
    return this.bytes + bytes <= this.max;
  }
}

export class AppendBatcher {
  readonly #io: Pick<Io, 'clock' | 'log'>;
  readonly #store: CellStore;
  readonly #undurable: UndurableBytes;
  readonly #silenceMs: number;
  #queue: Pending[] = [];
  /** Sent without an answer; resent once nothing is in flight. */
  #unresolved: Pending[] = [];
  #inFlight = 0;
  /** Shards with a delta under way; kept only for a store that takes one append of a shard at a time. */
  readonly #shardsInFlight = new Set<ShardId>();
  #deferred = false;
  #timerSet = false;
  #lastSentMs = Number.NEGATIVE_INFINITY;
  #failures = 0;
  /** Since when no call was answered; undefined while all is well. */
  #silentSinceMs: number | undefined;
  #closed = false;

  constructor(options: {
    io: Pick<Io, 'clock' | 'log'>;
    store: CellStore;
    undurable: UndurableBytes;
    /** After so long without an answer the appenders are told to give up. */
    silenceMs: number;
  }) {
    this.#io = options.io;
    this.#store = options.store;
    this.#undurable = options.undurable;
    this.#silenceMs = options.silenceMs;
  }

  add(appender: Appender, epoch: Epoch, seq: Seq, id: string, delta: Uint8Array): void {
    this.#undurable.bytes += delta.byteLength;
    this.#queue.push({ shard: appender.shard, epoch, seq, id, delta, appender });
    if (!this.#deferred) {
      this.#deferred = true;
      this.#io.clock.defer(this.#flushDeferred);
    }
  }

  close(): void {
    this.#closed = true;
  }

  readonly #flushDeferred = () => {
    this.#deferred = false;
    this.#flush();
  };

  #flush(): void {
    if (this.#closed || this.#unresolved.length > 0) return;
    while (this.#queue.length > 0 && this.#inFlight < BATCHES_IN_FLIGHT_MAX) {
      if (this.#inFlight > 0) {
        const waitMs = this.#lastSentMs + BATCH_SPACING_MS - this.#io.clock.monotonicMs();
        if (waitMs > 0) {
          this.#wake(waitMs);
          return;
        }
      }
      const batch = this.#nextBatch();
      // Nothing but deltas of shards that have some under way: their answers come back here.
      if (batch.length === 0) return;
      this.#send(batch);
    }
  }

  #wake(delayMs: number): void {
    if (this.#timerSet) return;
    this.#timerSet = true;
    this.#io.clock.setTimer(delayMs, () => {
      this.#timerSet = false;
      this.#flush();
    });
  }

  #nextBatch(): Pending[] {
    if (this.#store.oneAppendPerShard) return this.#nextOfIdleShards();
    let bytes = 0;
    let count = 0;
    for (const pending of this.#queue) {
      bytes += pending.delta.byteLength;
      if (count > 0 && (bytes > BATCH_BYTES_MAX || count >= BATCH_APPENDS_MAX)) break;
      count++;
    }
    if (count === this.#queue.length) {
      const all = this.#queue;
      this.#queue = [];
      return all;
    }
    return this.#queue.splice(0, count);
  }

  #nextOfIdleShards(): Pending[] {
    const batch: Pending[] = [];
    const rest: Pending[] = [];
    let bytes = 0;
    for (const pending of this.#queue) {
      const full = batch.length > 0 && (bytes > BATCH_BYTES_MAX || batch.length >= BATCH_APPENDS_MAX);
      if (full || this.#shardsInFlight.has(pending.shard)) rest.push(pending);
      else {
        batch.push(pending);
        bytes += pending.delta.byteLength;
      }
    }
    this.#queue = rest;
    return batch;
  }

  #send(batch: Pending[]): void {
    const live = batch.filter((pending) => pending.appender.appending || this.#forget(pending));
    if (live.length === 0) return;
    if (this.#store.oneAppendPerShard) for (const { shard } of live) this.#shardsInFlight.add(shard);
    this.#inFlight++;
    this.#lastSentMs = this.#io.clock.monotonicMs();
    const appends: Append[] = new Array(live.length);
    for (let i = 0; i < live.length; i++) {
      const { shard, epoch, seq, id, delta } = live[i]!;
      appends[i] = { shard, epoch, seq, id, delta };
    }
    this.#store.append(appends).then(
      (results) => this.#answered(live, results),
      (error: unknown) => this.#failed(live, error),
    );
  }

  /** Always false, so that it reads as a filter's last word. */
  #forget(pending: Pending): boolean {
    this.#undurable.bytes -= pending.delta.byteLength;
    return false;
  }

  #returned(batch: Pending[]): void {
    this.#inFlight--;
    if (this.#shardsInFlight.size > 0) for (const { shard } of batch) this.#shardsInFlight.delete(shard);
  }

  #answered(batch: Pending[], results: AppendResult[]): void {
    this.#returned(batch);
    this.#failures = 0;
    this.#silentSinceMs = undefined;
    /** Highest durable seq of each appender in this batch: one call each. */
    const durable = new Map<Appender, Seq>();
    for (let i = 0; i < batch.length; i++) {
      const pending = batch[i]!;
      const result = results[i]!;
      const { appender } = pending;
      if (result.ok) {
        this.#forget(pending);
        durable.set(appender, pending.seq);
        continue;
      }
      // An earlier delta of the shard is still without an answer: this one could not be accepted yet.
      if (result.reason === 'seq' && result.end < pending.seq - 1 && this.#waitsBefore(pending)) {
        this.#unresolved.push(pending);
        continue;
      }
      this.#forget(pending);
      const seq = durable.get(appender);
      if (seq !== undefined) {
        durable.delete(appender);
        if (appender.appending) appender.appended(seq);
      }
      if (!appender.appending) continue;
      if (result.reason === 'fenced') appender.appendFailed(`fenced by epoch ${result.fence}`, false);
      else appender.appendFailed(`the log ends at ${result.end}, not before ${pending.seq}`, false);
    }
    for (const [appender, seq] of durable) if (appender.appending) appender.appended(seq);
    this.#afterAnswer();
  }

  #waitsBefore(pending: Pending): boolean {
    return this.#unresolved.some((other) => other.appender === pending.appender && other.seq < pending.seq);
  }

  #failed(batch: Pending[], error: unknown): void {
    this.#returned(batch);
    const code = error instanceof StoreError ? error.code : 'unavailable';
    if (code !== 'unavailable') {
      // Surely nothing written. Alone, each shows whether it was the culprit.
      if (batch.length > 1) for (const pending of batch) this.#send([pending]);
      else {
        this.#forget(batch[0]!);
        if (batch[0]!.appender.appending) batch[0]!.appender.appendFailed(String(error), false);
      }
      this.#afterAnswer();
      return;
    }
    this.#failures++;
    this.#silentSinceMs ??= this.#io.clock.monotonicMs();
    for (const pending of batch) this.#unresolved.push(pending);
    this.#afterAnswer();
  }

  #afterAnswer(): void {
    if (this.#unresolved.length === 0) {
      this.#flush();
      return;
    }
    if (this.#inFlight > 0 || this.#closed) return;
    const delayMs = Math.min(RETRY_DELAY_MS_MAX, RETRY_DELAY_MS_MIN * 2 ** Math.min(this.#failures, 6));
    const silentMs =
      this.#silentSinceMs === undefined ? 0 : this.#io.clock.monotonicMs() - this.#silentSinceMs;
    if (silentMs > this.#silenceMs) {
      // OWNERSHIP rule 1: an owner that cannot reach its cell drops the replica.
      const given = [...this.#unresolved, ...this.#queue];
      this.#unresolved = [];
      this.#queue = [];
      this.#silentSinceMs = undefined;
      for (const pending of given) {
        this.#forget(pending);
        if (pending.appender.appending) pending.appender.appendFailed('the cell gave no answer', true);
      }
      return;
    }
    this.#io.clock.setTimer(delayMs, () => {
      if (this.#closed) return;
      const again = this.#unresolved;
      this.#unresolved = [];
      this.#queue = mergeInOrder(again, this.#queue);
      this.#flush();
    });
  }
}

/** Unresolved ones are older than anything queued, so they go first. */
function mergeInOrder(again: Pending[], queue: Pending[]): Pending[] {
  const first = [...again].sort((a, b) => (a.shard < b.shard ? -1 : a.shard > b.shard ? 1 : a.seq - b.seq));
  return queue.length === 0 ? first : first.concat(queue);
}
