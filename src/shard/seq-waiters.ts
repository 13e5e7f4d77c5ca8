/** Queries on a follower that wait until a seq is applied, each for a time of its own. */

interface Waiter {
  seq: number;
  resolve: (reached: boolean) => void;
  cancelTimer: () => void;
}

export class SeqWaiters {
  #waiters: Waiter[] = [];

  /** True once `seq` is applied, false when that takes longer than `waitMs`. */
  wait(
    seq: number,
    waitMs: number,
    timers: { setTimer(delayMs: number, fire: () => void): () => void },
  ): Promise<boolean> {
    return new Promise((resolve) => {
      const waiter: Waiter = { seq, resolve, cancelTimer: () => {} };
      this.#waiters.push(waiter);
      waiter.cancelTimer = timers.setTimer(waitMs, () => {
        this.#waiters = this.#waiters.filter((other) => other !== waiter);
        resolve(false);
      });
    });
  }

  reached(appliedSeq: number): void {
    if (this.#waiters.length === 0) return;
    const waiters = this.#waiters;
    this.#waiters = waiters.filter(({ seq }) => seq > appliedSeq);
    for (const waiter of waiters) if (waiter.seq <= appliedSeq) settle(waiter, true);
  }

  /** Nobody will apply anything any more. */
  giveUp(): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) settle(waiter, false);
  }
}

function settle(waiter: Waiter, reached: boolean): void {
  waiter.cancelTimer();
  waiter.resolve(reached);
}
