/**
 * Machines decide, drivers act (after Databricks Dicer's "passive but decisive" state machines).
 *
 * A machine is synchronous and reads no clock: `step(event, now)` changes its state and says what to do and when to
 * call again. Calling early is harmless: a `tick` before `wakeAtMs` yields no new actions.
 */

/** What one step asks of its driver. `wakeAtMs` is on the clock that `nowMs` came from; absent: no need to wake. */
export interface Step<Action> {
  actions: Action[];
  wakeAtMs?: number;
}

type NotPromise<T> = T extends PromiseLike<unknown> ? never : T;

export interface Machine<Event, Action> {
  /** Refuses an async implementation at compile time: a Promise is not a {@link Step}. */
  step(event: Event, nowMs: number): NotPromise<Step<Action>>;
}

/** The little a driver needs of a clock. */
export interface DriverClock {
  monotonicMs(): number;
  setTimer(delayMs: number, fire: () => void): () => void;
}

/**
 * Delivers events one at a time and performs actions in order. Actions that take time report back through
 * {@link MachineDriver.deliver}; a delivery made from inside `perform` is queued, never nested.
 */
export class MachineDriver<Event, Action> {
  readonly #machine: Machine<Event, Action>;
  readonly #clock: DriverClock;
  readonly #perform: (action: Action) => void;
  readonly #tick: Event;
  readonly #queue: Event[] = [];
  #running = false;
  #stopped = false;
  #cancelTimer: (() => void) | undefined;

  constructor(options: {
    machine: Machine<Event, Action>;
    clock: DriverClock;
    /** The event delivered when `wakeAtMs` has come. */
    tick: Event;
    perform: (action: Action) => void;
  }) {
    this.#machine = options.machine;
    this.#clock = options.clock;
    this.#tick = options.tick;
    this.#perform = options.perform;
  }

  deliver(event: Event): void {
    if (this.#stopped) return;
    this.#queue.push(event);
    if (this.#running) return;
    this.#running = true;
    try {
      for (let next = this.#queue.shift(); next !== undefined && !this.#stopped; next = this.#queue.shift()) {
        const { actions, wakeAtMs } = this.#machine.step(next, this.#clock.monotonicMs());
        this.#cancelTimer?.();
        this.#cancelTimer = undefined;
        if (wakeAtMs !== undefined) {
          const delayMs = Math.max(0, wakeAtMs - this.#clock.monotonicMs());
          this.#cancelTimer = this.#clock.setTimer(delayMs, () => this.deliver(this.#tick));
        }
        for (const action of actions) this.#perform(action);
      }
    } finally {
      this.#running = false;
    }
  }

  /** No further event is delivered and no timer fires. */
  stop(): void {
    this.#stopped = true;
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
  }
}
