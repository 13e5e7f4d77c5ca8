/**
 * How long an answer takes here: as TCP reckons it (RFC 6298), the smoothed time of past answers plus four times its
 * deviation, doubled after each silence until something is answered again.
 */
const GAIN = 1 / 8;
const DEVIATION_GAIN = 1 / 4;

export class AnswerTime {
  #smoothedMs: number | undefined;
  #deviationMs = 0;
  #backoff = 1;

  /** Of nearly all answers; undefined before the first. Silences do not count. */
  get usualMs(): number | undefined {
    return this.#smoothedMs === undefined ? undefined : this.#smoothedMs + 4 * this.#deviationMs;
  }

  /** Milliseconds to wait for the next answer, within bounds. */
  waitMs(minMs: number, maxMs: number): number {
    return Math.min(maxMs, Math.max(minMs, this.usualMs ?? 0) * this.#backoff);
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
    this.#backoff = Math.min(this.#backoff * 2, BACKOFF_MAX);
  }
}

/** Any bound on a wait is reached before. */
const BACKOFF_MAX = 64;
