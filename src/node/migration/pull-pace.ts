/**
 * When the next chunk of a pull is asked for: as both ends' room says now, never faster than ordered, never later than
 * {@link CHUNK_WAIT_MS_MAX} after the one before. Pure.
 */

/** A transfer that creeps shows progress all the same: its time-outs are ten times this and more. */
export const CHUNK_WAIT_MS_MAX = 2_000;
/** A timer that was late is made up for, up to this. */
const CATCH_UP_MS = 50;

/** @example pace.waitMs(own, source, nowMs) // 0: now; then pace.left(bytes, nowMs) */
export class PullPace {
  readonly #bytesPerSecondMax: number;
  /** Bytes that left before the pace had room for them; negative: room that was not used. */
  #owedBytes = 0;
  /** The pace as it was asked last. */
  #perMs = 0;
  #atMs: number;
  #leftMs: number;

  /** @param bytesPerSecondMax what was ordered */
  constructor(bytesPerSecondMax: number, nowMs: number) {
    this.#bytesPerSecondMax = bytesPerSecondMax;
    this.#atMs = nowMs;
    this.#leftMs = nowMs;
  }

  /**
   * How long the next chunk waits if nothing changes; 0: not at all. Asking is harmless.
   *
   * @param own bytes a second of this node's room
   * @param source the same of the source's, as it last said; undefined: it does not say
   */
  waitMs(own: number, source: number | undefined, nowMs: number): number {
    const perMs = Math.max(1, Math.min(this.#bytesPerSecondMax, own, source ?? own)) / 1_000;
    this.#perMs = perMs;
    this.#owedBytes = Math.max(-CATCH_UP_MS * perMs, this.#owedBytes - (nowMs - this.#atMs) * perMs);
    this.#atMs = nowMs;
    if (this.#owedBytes <= 0) return 0;
    return Math.max(0, Math.min(this.#owedBytes / perMs, this.#leftMs + CHUNK_WAIT_MS_MAX - nowMs));
  }

  /** A chunk was asked for. */
  left(bytes: number, nowMs: number): void {
    // One that left because it had waited long enough leaves no debt for those after it. A millisecond's is none: timers are no finer.
    this.#owedBytes = (this.#owedBytes > this.#perMs ? 0 : this.#owedBytes) + bytes;
    this.#leftMs = nowMs;
  }
}
