/**
 * How old a follower's state is at most, counted from questions it asked its primary. Pure.
 *
 * A question sent at `t` and answered with the durable seq `n`, by a primary that proved to be it *after* it read `n`
 * (`follow.readIndex`, OWNERSHIP rule 4), says: everything that anyone had been told before `t` is in the deltas up to
 * `n`. So once `n` is applied, the state is no older than `t`. Both times are of this process's monotonic clock: no
 * other clock and no network delay is trusted.
 *
 * Invariant: `asOfMs` never goes back, and never names a time before which something acknowledged may be missing.
 */
import type { Seq } from '../../model/ids.ts';

export class Freshness {
  #provenMs = Number.NEGATIVE_INFINITY;
  /** Answered, and not yet applied so far: the latest question alone, which proves most. */
  #askedMs = Number.NEGATIVE_INFINITY;
  #askedSeq: Seq = 0;

  /** A read index was asked for at `askedMs`, and came back as `seq`. */
  heard(askedMs: number, seq: Seq): void {
    if (askedMs <= this.#askedMs) return;
    this.#askedMs = askedMs;
    this.#askedSeq = seq;
  }

  /** The state at `appliedSeq` holds everything acknowledged before this time; -Infinity where that is not known. */
  asOfMs(appliedSeq: Seq): number {
    if (appliedSeq >= this.#askedSeq && this.#askedMs > this.#provenMs) this.#provenMs = this.#askedMs;
    return this.#provenMs;
  }
}
