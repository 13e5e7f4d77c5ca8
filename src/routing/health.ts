/**
 * Passive health of one node, as this process sees it: learnt from requests alone. A pure machine.
 *
 *   healthy --FAILURES_MAX in a row--> down --retryAtMs--> probing --success--> healthy
 *      ^                                ^                     |
 *      +------------success-------------+------failure--------+   (the wait doubles)
 *
 * While `down` nothing is sent; when the wait is over one request is let through as a probe. A success at any time
 * makes the node healthy. Calling `admit` early or often is harmless: it lets through one probe a wait.
 */

/** Failures in a row that make a node unhealthy: one broken connection or one call without an answer each. */
export const FAILURES_MAX = 2;
/** The first wait before a probe; it doubles with each failed probe. */
export const PROBE_DELAY_MS_MIN = 100;
export const PROBE_DELAY_MS_MAX = 2_000;
/** A probe that reports nothing for so long is counted as lost, and another is let through. */
export const PROBE_TIMEOUT_MS = 5_000;

export type Admission = 'yes' | 'probe' | 'no';

export class NodeHealth {
  #failures = 0;
  #down = false;
  #retryAtMs = 0;
  #delayMs = PROBE_DELAY_MS_MIN;
  #probing = false;

  get healthy(): boolean {
    return !this.#down;
  }

  /** When the next probe may be sent; only while unhealthy. */
  get retryAtMs(): number {
    return this.#retryAtMs;
  }

  /** May a request be sent now? `probe` is given to one caller, who must report its outcome. */
  admit(nowMs: number): Admission {
    if (!this.#down) return 'yes';
    if (nowMs < this.#retryAtMs) return 'no';
    this.#retryAtMs = nowMs + PROBE_TIMEOUT_MS;
    this.#probing = true;
    return 'probe';
  }

  /** The node answered, whatever it said. Returns whether it was unhealthy until now. */
  succeeded(): boolean {
    this.#failures = 0;
    this.#delayMs = PROBE_DELAY_MS_MIN;
    const recovered = this.#down;
    this.#down = false;
    this.#probing = false;
    return recovered;
  }

  /**
   * No connection, a broken one, or no answer in time. Returns whether this made the node unhealthy. While it is, only
   * the outcome of a probe counts: the many that were under way must not double the wait many times.
   */
  failed(nowMs: number): boolean {
    if (this.#down && !this.#probing) return false;
    this.#probing = false;
    this.#failures++;
    if (!this.#down && this.#failures < FAILURES_MAX) return false;
    const turned = !this.#down;
    this.#down = true;
    this.#retryAtMs = nowMs + this.#delayMs;
    this.#delayMs = Math.min(PROBE_DELAY_MS_MAX, this.#delayMs * 2);
    return turned;
  }
}
