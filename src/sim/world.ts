/**
 * Virtual time. A {@link World} runs everything a simulated cluster does, one event at a time, in an order that the
 * seed alone decides: same seed, same run, to the last byte.
 *
 * Promises are part of the run: after every event all microtasks are drained before the next event is taken, so code
 * under test may await as it likes, as long as everything it waits for comes from its simulated {@link Io}.
 */
import type { Random } from '../io/io.ts';
import { SeededRandom } from '../io/random.ts';

interface Scheduled {
  atMs: number;
  order: number;
  run: () => void;
  cancelled: boolean;
}

/** Unix time of the simulated beginning: a Tuesday morning. */
export const BEGINNING_REALTIME_MS = Date.UTC(2026, 0, 6, 8, 0, 0);

/**
 * Macrotasks queued together, an event each. Node drains all microtasks between two of them, and looks for input, which
 * costs more than most events do, only after the last.
 */
const TURNS_AT_ONCE = 500;

export class World {
  readonly seed: string;
  readonly random: Random;
  #nowMs = 0;
  #order = 0;
  #events = 0;
  readonly #heap: Scheduled[] = [];
  /** A readable trace of faults and notable events; newest last, bounded. */
  readonly trace: string[] = [];

  constructor(seed: string) {
    this.seed = seed;
    this.random = new SeededRandom(seed);
  }

  /** Milliseconds since the beginning. */
  get nowMs(): number {
    return this.#nowMs;
  }

  /** Events run so far. */
  get events(): number {
    return this.#events;
  }

  note(text: string): void {
    this.trace.push(`${(this.#nowMs / 1000).toFixed(3)}s ${text}`);
    if (this.trace.length > 5_000) this.trace.splice(0, 1_000);
  }

  /** Runs `run` at a virtual time, never in the past. Returns the cancellation. */
  at(atMs: number, run: () => void): () => void {
    const scheduled: Scheduled = {
      atMs: Math.max(atMs, this.#nowMs),
      order: this.#order++,
      run,
      cancelled: false,
    };
    push(this.#heap, scheduled);
    return () => {
      scheduled.cancelled = true;
    };
  }

  after(delayMs: number, run: () => void): () => void {
    return this.at(this.#nowMs + Math.max(0, delayMs), run);
  }

  sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      this.after(delayMs, resolve);
    });
  }

  /**
   * Runs until the given virtual time, or until `done` says so (asked after every event).
   *
   * @param eventsMax a runaway run ends with an error after so many events.
   */
  async run(untilMs: number, done: () => boolean = () => false, eventsMax = 20_000_000): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      let ended = false;
      const end = (settle: () => void) => {
        ended = true;
        settle();
      };
      /** One event, or the end. */
      const turn = () => {
        if (ended) return;
        try {
          if (!this.#next(untilMs, done, eventsMax)) end(resolve);
        } catch (error) {
          end(() => reject(error));
        }
      };
      const turns = () => {
        for (let i = 0; i < TURNS_AT_ONCE; i++) globalThis.setImmediate(turn);
        globalThis.setImmediate(() => {
          if (!ended) turns();
        });
      };
      turns();
    });
  }

  /** Runs the next event; false: there is none before `untilMs`, or it is done. */
  #next(untilMs: number, done: () => boolean, eventsMax: number): boolean {
    if (done()) return false;
    for (;;) {
      const next = this.#heap[0];
      if (!next || next.atMs > untilMs) {
        this.#nowMs = Math.max(this.#nowMs, untilMs);
        return false;
      }
      pop(this.#heap);
      if (next.cancelled) continue;
      this.#nowMs = next.atMs;
      if (++this.#events > eventsMax)
        throw new Error(`more than ${eventsMax} events: a loop that never rests?`);
      next.run();
      return true;
    }
  }

  /** Runs until a promise settles; fails when nothing is left to happen or virtual time is up. */
  async settle<T>(promise: Promise<T>, withinMs = 600_000): Promise<T> {
    let settled = false;
    const mark = () => {
      settled = true;
    };
    promise.then(mark, mark);
    const untilMs = this.#nowMs + withinMs;
    await this.run(untilMs, () => settled);
    if (!settled) throw new Error(`seed ${this.seed}: nothing settled within ${withinMs} ms of virtual time`);
    return promise;
  }
}

function before(a: Scheduled, b: Scheduled): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}

function push(heap: Scheduled[], item: Scheduled): void {
  let i = heap.length;
  heap.push(item);
  while (i > 0) {
    const parent = (i - 1) >> 1;
    if (!before(item, heap[parent]!)) break;
    heap[i] = heap[parent]!;
    i = parent;
  }
  heap[i] = item;
}

function pop(heap: Scheduled[]): void {
  const last = heap.pop()!;
  if (heap.length === 0) return;
  let i = 0;
  for (;;) {
    let child = 2 * i + 1;
    if (child >= heap.length) break;
    if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++;
    if (!before(heap[child]!, last)) break;
    heap[i] = heap[child]!;
    i = child;
  }
  heap[i] = last;
}
