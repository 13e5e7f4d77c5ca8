/**
 * Idempotency keys that a gateway makes for commands whose client sent none: they cover its own retries only.
 *
 * A key is (gateway and start, number, low-water mark). The mark is the lowest number still under way; a shard forgets
 * keys of this gateway below it, and must refuse, not execute, a number below a mark it has seen: it is a late copy of
 * a command that was already answered.
 *
 * Invariants: numbers grow by one and are never reused; the mark never passes a number under way.
 */
import type { IdempotencyKey } from '../model/request.ts';

/** Numbers between the mark and the newest: one request that lasts this many others makes the gateway refuse more. */
export const KEY_WINDOW = 1 << 20;
/** Room at first; a power of two, as is every doubling of it. */
const ROOM = 1 << 10;

export type GatewayKey = Extract<IdempotencyKey, { kind: 'gateway' }>;

export class GatewayKeys {
  readonly #gateway: string;
  /** Of the numbers from the mark on, each at its remainder by the length: 1 once it is answered. */
  #done = new Uint8Array(ROOM);
  #low = 1;
  #next = 1;

  /** `gateway` must be unique per start: two starts that shared it would share numbers. */
  constructor(gateway: string) {
    this.#gateway = gateway;
  }

  /** Numbers taken and not yet given back. */
  get underWay(): number {
    let count = 0;
    for (let number = this.#low; number < this.#next; number++)
      if (this.#done[number & (this.#done.length - 1)] === 0) count++;
    return count;
  }

  /** A new key, or undefined where the oldest request under way is {@link KEY_WINDOW} numbers behind. */
  take(): GatewayKey | undefined {
    if (this.#next - this.#low >= KEY_WINDOW) return undefined;
    if (this.#next - this.#low === this.#done.length) this.#grow();
    const number = this.#next++;
    this.#done[number & (this.#done.length - 1)] = 0;
    return { kind: 'gateway', gateway: this.#gateway, number, lowWater: this.#low };
  }

  /** The command is answered and will never be sent again. */
  done(number: number): void {
    if (number < this.#low || number >= this.#next) return;
    const mask = this.#done.length - 1;
    this.#done[number & mask] = 1;
    while (this.#low < this.#next && this.#done[this.#low & mask] === 1) this.#low++;
  }

  #grow(): void {
    const wider = new Uint8Array(this.#done.length * 2);
    for (let number = this.#low; number < this.#next; number++)
      wider[number & (wider.length - 1)] = this.#done[number & (this.#done.length - 1)]!;
    this.#done = wider;
  }
}
