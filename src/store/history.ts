/**
 * The last changes of a control store, in order, so that a watch can resume where it broke off.
 *
 * Bounded in number and bytes. `floor` is the oldest revision one can resume from: everything after it is here.
 */
import type { WatchEvent } from './store.ts';

export const HISTORY_EVENTS_MAX = 100_000;
export const HISTORY_BYTES_MAX = 64 * 1024 * 1024;
const EVENT_OVERHEAD_BYTES = 100;

/** A change of one key: what a watch delivers beside `reset`. */
export type ChangeEvent = Exclude<WatchEvent, { type: 'reset' }>;

export class History {
  #floor: number;
  #events: (ChangeEvent | undefined)[] = [];
  #head = 0;
  #bytes = 0;
  readonly #eventsMax: number;
  readonly #bytesMax: number;

  constructor(
    revision: number,
    eventsMax: number = HISTORY_EVENTS_MAX,
    bytesMax: number = HISTORY_BYTES_MAX,
  ) {
    this.#floor = revision;
    this.#eventsMax = eventsMax;
    this.#bytesMax = bytesMax;
  }

  get floor(): number {
    return this.#floor;
  }

  /** Revisions must not go down from one push to the next. */
  push(event: ChangeEvent): void {
    this.#events.push(event);
    this.#bytes += eventBytes(event);
    while (this.#events.length - this.#head > this.#eventsMax || this.#bytes > this.#bytesMax) {
      const oldest = this.#events[this.#head]!;
      this.#events[this.#head++] = undefined;
      this.#bytes -= eventBytes(oldest);
      this.#floor = oldest.revision;
    }
    if (this.#head > 4096 && this.#head * 2 > this.#events.length) {
      this.#events = this.#events.slice(this.#head);
      this.#head = 0;
    }
  }

  /** All changes after a revision, oldest first; undefined where some of them are gone. */
  after(revision: number): ChangeEvent[] | undefined {
    if (revision < this.#floor) return undefined;
    let low = this.#head;
    let high = this.#events.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#events[middle]!.revision <= revision) low = middle + 1;
      else high = middle;
    }
    return this.#events.slice(low) as ChangeEvent[];
  }
}

/** About what an event costs in memory and on the wire. */
export function eventBytes(event: ChangeEvent): number {
  if (event.type === 'delete') return EVENT_OVERHEAD_BYTES + event.key.length;
  return EVENT_OVERHEAD_BYTES + event.entry.key.length + event.entry.value.length;
}
