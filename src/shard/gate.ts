/**
 * The output gate (OWNERSHIP rule 4): replies in order, each held back until the delta it read is durable.
 *
 * Job: remember who waits for which seq. It resolves nothing itself; the replica does, as items come out.
 * Invariant: items leave in the order they came, and none before its seq is durable.
 */
import type { ShardReply } from '../model/request.ts';
import type { HeldRequest } from './contract.ts';
import type { Json } from './patch.ts';

/** A state as some delta left it, with what goes into a snapshot beside it. Immutable. */
export interface Committed {
  readonly seq: number;
  readonly state: Json;
  readonly stateBytes: number;
  /** Version of the service that wrote it. */
  readonly version: number;
  /** `ctx.now` of the command that wrote it. */
  readonly timeMs: number;
}

export interface GateItem {
  seq: number;
  /** Undefined for a delta that nobody waits for: an upgrade. */
  held: HeldRequest | undefined;
  reply: ShardReply | undefined;
  /** With a delta: what it left. Undefined for a reply that only read. */
  after: Committed | undefined;
  /** Of input and delta, against the bound of undurable work. */
  bytes: number;
}

// Below this many spent items the array is not worth compacting.
const COMPACT_MIN = 64;

export class OutputGate {
  #items: (GateItem | undefined)[] = [];
  #head = 0;

  get size(): number {
    return this.#items.length - this.#head;
  }

  push(item: GateItem): void {
    this.#items.push(item);
  }

  /** The oldest item if its seq is at most `durableSeq`, taken out. */
  next(durableSeq: number): GateItem | undefined {
    const item = this.#items[this.#head];
    if (item === undefined || item.seq > durableSeq) return undefined;
    this.#items[this.#head++] = undefined;
    if (this.#head === this.#items.length) {
      this.#items.length = 0;
      this.#head = 0;
    } else if (this.#head >= COMPACT_MIN && this.#head * 2 >= this.#items.length) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    return item;
  }
}
