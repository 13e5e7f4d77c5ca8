/**
 * Marks what handler is on the CPU, so that another thread can tell which one blocks the event loop.
 *
 * The mark is a few bytes in shared memory: a counter that is odd while a handler runs and even otherwise, and the
 * names of shard, handler and idempotency key. Writing it costs a fraction of a microsecond; reading it is the
 * business of `watchdog-thread.ts`, which only real processes start.
 */

/** What the replicas tell; the simulation passes one that does nothing. */
export interface HandlerWatch {
  enter(shard: string, handler: string, idempotencyKey: string | undefined): void;
  leave(): void;
}

export const NO_WATCH: HandlerWatch = { enter() {}, leave() {} };

/** A handler that holds the event loop for longer ends its process. */
export const HANDLER_BLOCK_MS_MAX = 2_000;

const HEAD_BYTES = 16;
const TEXT_BYTES = 4_096;
export const WATCH_BYTES = HEAD_BYTES + TEXT_BYTES;
const COUNTER = 0;
const LENGTH = 1;
const HAS_KEY = 2;
const ENDING = 3;
const SEPARATOR = '\n';

/** The writing side, on the thread that runs handlers. Synchronous parts never nest. */
export class SharedHandlerWatch implements HandlerWatch {
  readonly shared: SharedArrayBuffer;
  readonly #head: Int32Array;
  readonly #text: Buffer;

  constructor(shared = new SharedArrayBuffer(WATCH_BYTES)) {
    this.shared = shared;
    this.#head = new Int32Array(shared, 0, HEAD_BYTES / 4);
    this.#text = Buffer.from(shared, HEAD_BYTES, TEXT_BYTES);
  }

  enter(shard: string, handler: string, idempotencyKey: string | undefined): void {
    const head = this.#head;
    // Ids are ASCII by construction and keys are header values: one byte a character.
    let length = this.#text.write(shard, 0, 'latin1');
    length += this.#text.write(SEPARATOR, length, 'latin1');
    length += this.#text.write(handler, length, 'latin1');
    if (idempotencyKey !== undefined) {
      length += this.#text.write(SEPARATOR, length, 'latin1');
      length += this.#text.write(idempotencyKey, length, 'latin1');
    }
    head[LENGTH] = length;
    head[HAS_KEY] = idempotencyKey === undefined ? 0 : 1;
    // Last, and ordered: whoever sees it odd sees the names.
    Atomics.store(head, COUNTER, (head[COUNTER]! + 1) | 1);
  }

  leave(): void {
    const head = this.#head;
    if ((head[COUNTER]! & 1) === 1) Atomics.store(head, COUNTER, head[COUNTER]! + 1);
  }
}

/** The process ends with a handler on the CPU: 0 no, 1 asked to be recorded, 2 recorded. */
export const ENDING_NONE = 0;
export const ENDING_ASKED = 1;
export const ENDING_RECORDED = 2;

export function endingOf(shared: SharedArrayBuffer): number {
  return Atomics.load(new Int32Array(shared, 0, HEAD_BYTES / 4), ENDING);
}

export function setEnding(shared: SharedArrayBuffer, ending: number): void {
  const head = new Int32Array(shared, 0, HEAD_BYTES / 4);
  Atomics.store(head, ENDING, ending);
  Atomics.notify(head, ENDING);
}

/** Blocks until the watchdog has recorded, or the time is up. Only for a process that is ending anyway. */
export function waitRecorded(shared: SharedArrayBuffer, timeoutMs: number): void {
  Atomics.wait(new Int32Array(shared, 0, HEAD_BYTES / 4), ENDING, ENDING_ASKED, timeoutMs);
}

export interface RunningHandler {
  /** Differs from one run to the next. */
  run: number;
  shard: string;
  handler: string;
  idempotencyKey?: string;
}

/** The reading side; undefined while no handler is on the CPU. */
export function readRunning(shared: SharedArrayBuffer): RunningHandler | undefined {
  const head = new Int32Array(shared, 0, HEAD_BYTES / 4);
  const run = Atomics.load(head, COUNTER);
  if ((run & 1) === 0) return undefined;
  const text = Buffer.from(Buffer.from(shared, HEAD_BYTES, head[LENGTH]!)).toString('latin1');
  const hasKey = head[HAS_KEY] === 1;
  if (Atomics.load(head, COUNTER) !== run) return undefined;
  const [shard = '', handler = '', ...rest] = text.split(SEPARATOR);
  return { run, shard, handler, ...(hasKey ? { idempotencyKey: rest.join(SEPARATOR) } : {}) };
}

/**
 * Finds a handler that runs too long: fed with readings, says which one has blocked for the limit. Pure.
 */
export class BlockDetector {
  readonly #limitMs: number;
  #run: number | undefined;
  #sinceMs = 0;

  constructor(limitMs = HANDLER_BLOCK_MS_MAX) {
    this.#limitMs = limitMs;
  }

  /** True once the same run has been seen for the limit. */
  observe(running: RunningHandler | undefined, nowMs: number): boolean {
    if (running === undefined || running.run !== this.#run) {
      this.#run = running?.run;
      this.#sinceMs = nowMs;
      return false;
    }
    return nowMs - this.#sinceMs >= this.#limitMs;
  }
}
