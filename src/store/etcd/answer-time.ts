/**
 * How long to wait for an answer before asking again: as TCP does (RFC 6298), the smoothed time of past answers plus four
 * times its deviation, doubled after each silence.
 *
 * An append that was on its way to a leader which then died is never answered; with a fixed 2.5 s its shard would wait
 * longer than the election takes. Asking again is safe: the same append is recognised by its id.
 */
const GAIN = 1 / 8;
const DEVIATION_GAIN = 1 / 4;
/** Below it an ordinary slow sync would look like silence. */
export const ANSWER_WAIT_MS_MIN = 700;

export class AnswerTime {
  readonly #maxMs: number;
  #smoothedMs: number | undefined;
  #deviationMs = 0;
  #backoff = 1;

  /** @param maxMs never longer than this, and so long before the first answer. */
  constructor(maxMs: number) {
    this.#maxMs = maxMs;
  }

  /** Milliseconds to wait for the next answer. */
  get waitMs(): number {
    if (this.#smoothedMs === undefined) return this.#maxMs;
    const waitMs = Math.max(ANSWER_WAIT_MS_MIN, this.#smoothedMs + 4 * this.#deviationMs) * this.#backoff;
    return Math.min(this.#maxMs, waitMs);
  }

  answered(tookMs: number): void {
    this.#backoff = 1;
    if (this.#smoothedMs === undefined) {
      this.#smoothedMs = tookMs;
      this.#deviationMs = tookMs / 2;
      return;
    }
    this.#deviationMs += DEVIATION_GAIN * (Math.abs(tookMs - this.#smoothedMs) - this.#deviationMs);
    this.#smoothedMs += GAIN * (tookMs - this.#smoothedMs);
  }

  silent(): void {
    this.#backoff = Math.min(this.#backoff * 2, this.#maxMs);
  }
}
