/**
 * When to start a process again that exited unasked: at once the first time, then with a delay that doubles, as
 * before after it has served for a while. Pure.
 */

export const RESTART_DELAY_MS_MIN = 100;
export const RESTART_DELAY_MS_MAX = 5_000;
/** A start that served this long counts as healthy: the next exit is a first one. */
export const HEALTHY_AFTER_MS = 10_000;

export class Backoff {
  #failures = 0;

  /** `servedMs` is how long the start that just ended had served; 0 if it never did. */
  nextDelayMs(servedMs: number): number {
    if (servedMs >= HEALTHY_AFTER_MS) this.#failures = 0;
    const delayMs =
      this.#failures === 0
        ? 0
        : Math.min(RESTART_DELAY_MS_MAX, RESTART_DELAY_MS_MIN * 2 ** (this.#failures - 1));
    this.#failures++;
    return delayMs;
  }
}
