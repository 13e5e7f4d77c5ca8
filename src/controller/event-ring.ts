/**
 * The last things that happened, numbered, for the event stream: a client that reconnects says the last number it saw
 * and gets what it missed, as long as the ring still holds it; otherwise it learns that there is a hole.
 */
export interface ControllerEvent {
  /** Grows by one; unique within one start of the controller (see {@link EventRing.stream}). */
  id: number;
  atMs: number;
  type: 'decision' | 'migration' | 'node' | 'repair' | 'leader' | 'mode';
  data: object;
}

export const EVENTS_KEPT_MAX = 2_000;

export class EventRing {
  /** Names this start of the controller: ids of another start mean nothing here. */
  readonly stream: string;
  readonly #kept: ControllerEvent[] = [];
  readonly #listeners = new Set<(event: ControllerEvent) => void>();
  readonly #keptMax: number;
  #nextId = 1;

  constructor(stream: string, keptMax: number = EVENTS_KEPT_MAX) {
    this.stream = stream;
    this.#keptMax = keptMax;
  }

  push(type: ControllerEvent['type'], atMs: number, data: object): void {
    const event: ControllerEvent = { id: this.#nextId++, atMs, type, data };
    this.#kept.push(event);
    // Trimmed in blocks: shifting one at a time costs the whole array each time.
    if (this.#kept.length > this.#keptMax * 1.25) this.#kept.splice(0, this.#kept.length - this.#keptMax);
    for (const listener of this.#listeners) listener(event);
  }

  /** Events after `id`; `complete` is false where some of them are no longer kept. */
  since(id: number): { events: ControllerEvent[]; complete: boolean } {
    const firstId = this.#kept[0]?.id ?? this.#nextId;
    return { events: this.#kept.filter((event) => event.id > id), complete: id >= firstId - 1 };
  }

  get lastId(): number {
    return this.#nextId - 1;
  }

  listen(listener: (event: ControllerEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
