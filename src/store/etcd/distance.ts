/**
 * An emulated distance to an etcd cluster: what a process sends and what it hears takes half a round trip each way, in
 * order, as io's emulated network does for store processes (gRPC brings its own connections, which it cannot delay).
 *
 * Timers have a resolution of 1 ms and are late: a round trip below {@link NEAR_MS} is waited for in one delay.
 */
import { type Clock, sleep } from '../../io/io.ts';

const NEAR_MS = 2;

export class Distance {
  readonly #clock: Clock;
  readonly #outMs: number;
  readonly #backMs: number;

  constructor(clock: Clock, roundTripMs: number) {
    this.#clock = clock;
    this.#outMs = roundTripMs < NEAR_MS ? roundTripMs : roundTripMs / 2;
    this.#backMs = roundTripMs < NEAR_MS ? 0 : roundTripMs / 2;
  }

  /** There, the call, and back; an error travels as an answer does. */
  async there<Result>(run: () => Promise<Result>): Promise<Result> {
    await sleep(this.#clock, this.#outMs);
    try {
      return await run();
    } finally {
      if (this.#backMs > 0) await sleep(this.#clock, this.#backMs);
    }
  }

  /** Delivers what a stream sends out, or hears, later and in the same order. */
  line<Item>(way: 'out' | 'back', deliver: (item: Item) => void): (item: Item) => void {
    const delayMs = way === 'out' ? this.#outMs : this.#backMs;
    if (delayMs === 0) return deliver;
    const queue: Item[] = [];
    return (item) => {
      queue.push(item);
      // As many timers as items: whichever fires first delivers the oldest.
      this.#clock.setTimer(delayMs, () => deliver(queue.shift()!));
    };
  }
}
