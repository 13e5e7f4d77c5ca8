/**
 * Calls of one client that have no answer yet, by id, and when each is given up.
 *
 * A table for tens of thousands of calls a second that live for milliseconds: a ring of slots instead of a Map, and one
 * timer for all. A Map in constant churn rebuilds its table again and again, and each abandoned table, once old, keeps
 * what it held from the young generation's collection: nearly every call was promoted, and collections took 10 to 25 ms.
 *
 * Invariant: a call is in the slot `id & mask`; ids grow, and one whose slot a long call still holds is left out.
 */
import type { Clock } from '../io/io.ts';

const SLOTS_MIN = 64;

export interface PendingCall<Failure> {
  readonly id: number;
  readonly method: string;
  readonly timeoutMs: number;
  readonly deadlineMs: number;
  readonly resolve: (value: never) => void;
  readonly reject: (error: Failure) => void;
}

export class PendingCalls<Failure> {
  readonly #clock: Pick<Clock, 'monotonicMs' | 'setTimer'>;
  readonly #onTimeout: (call: PendingCall<Failure>) => void;
  #slots: (PendingCall<Failure> | undefined)[] = new Array(SLOTS_MIN).fill(undefined);
  #count = 0;
  #timerDueMs = Number.POSITIVE_INFINITY;
  #cancelTimer: (() => void) | undefined;

  /** `onTimeout` gets each call whose time is up, already taken out. */
  constructor(
    clock: Pick<Clock, 'monotonicMs' | 'setTimer'>,
    onTimeout: (call: PendingCall<Failure>) => void,
  ) {
    this.#clock = clock;
    this.#onTimeout = onTimeout;
  }

  get size(): number {
    return this.#count;
  }

  /** The first id from `id` on that {@link add} takes. */
  freeId(id: number): number {
    if (this.#count * 2 >= this.#slots.length) this.#grow();
    const mask = this.#slots.length - 1;
    let free = id;
    while (this.#slots[free & mask] !== undefined) free++;
    return free;
  }

  add(call: PendingCall<Failure>): void {
    this.#slots[call.id & (this.#slots.length - 1)] = call;
    this.#count++;
    if (call.deadlineMs < this.#timerDueMs) this.#arm(call.deadlineMs);
  }

  /** Takes a call out; undefined where it is not, or no longer, there. */
  take(id: number): PendingCall<Failure> | undefined {
    const slot = id & (this.#slots.length - 1);
    const call = this.#slots[slot];
    if (call === undefined || call.id !== id) return undefined;
    this.#slots[slot] = undefined;
    this.#count--;
    return call;
  }

  /** Takes all out, oldest first, and rests. */
  takeAll(): PendingCall<Failure>[] {
    const all = this.#all();
    this.#slots = new Array(SLOTS_MIN).fill(undefined);
    this.#count = 0;
    this.#disarm();
    return all;
  }

  #all(): PendingCall<Failure>[] {
    const all = this.#slots.filter((call) => call !== undefined);
    return all.sort((a, b) => a.id - b.id);
  }

  #grow(): void {
    const old = this.#slots;
    const slots = new Array<PendingCall<Failure> | undefined>(old.length * 2).fill(undefined);
    for (const call of old) if (call !== undefined) slots[call.id & (slots.length - 1)] = call;
    this.#slots = slots;
  }

  #arm(dueMs: number): void {
    this.#disarm();
    this.#timerDueMs = dueMs;
    const delayMs = Math.max(1, Math.ceil(dueMs - this.#clock.monotonicMs()));
    this.#cancelTimer = this.#clock.setTimer(delayMs, () => this.#expire());
  }

  #disarm(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    this.#timerDueMs = Number.POSITIVE_INFINITY;
  }

  /** The timer was set for a call that is mostly long answered: look who is next. */
  #expire(): void {
    this.#disarm();
    if (this.#count === 0) return;
    const nowMs = this.#clock.monotonicMs();
    let nextMs = Number.POSITIVE_INFINITY;
    const late: PendingCall<Failure>[] = [];
    for (const call of this.#all()) {
      if (call.deadlineMs <= nowMs) late.push(call);
      else if (call.deadlineMs < nextMs) nextMs = call.deadlineMs;
    }
    if (nextMs < Number.POSITIVE_INFINITY) this.#arm(nextMs);
    for (const call of late) if (this.take(call.id) !== undefined) this.#onTimeout(call);
  }
}
