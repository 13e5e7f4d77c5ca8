/**
 * CPU time of short stretches of work on this thread: what a shard's handler costs, from microseconds to seconds.
 *
 * Job: time one synchronous stretch at a time ({@link CpuSegments.begin} to {@link CpuSegments.end}), and the later
 * stretches of asynchronous calls ({@link CpuSegments.follow}). Boundary: it knows no shards; it reports to whoever asked.
 *
 * Two clocks, as neither will do alone. The wall clock costs 0.06 µs a reading, but counts the time in which another
 * process had the core. The thread's CPU clock does not, but costs 0.8 µs: too much around work of 5 µs. So:
 *
 * - work expected to be long is measured by the CPU clock at both ends;
 * - short work is measured by the wall clock, and the CPU clock is asked only where the wall clock says far more than
 *   expected. It then bounds what the stretch can have used, from a reading that is mostly no more than {@link REFERENCE_MS_MAX} old;
 *   within the bounds the expectation decides.
 *
 * Nothing is rescaled: every stretch is charged by itself. Stretches do not nest; an inner one ends the outer.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { promiseHooks } from 'node:v8';

/** From this expectation on both ends are read from the CPU clock: two readings are then 1.5 % or less. */
export const EXACT_FROM_MICROS = 100;
/** A wall time over so many times the expectation, and so many microseconds more, may be waiting for a core. */
export const SUSPECT_FACTOR = 4;
export const SUSPECT_FROM_MICROS = 20;
/** How old the reading before a stretch may be, where readings are cheap. */
export const REFERENCE_MS_MAX = 0.2;
/** Readings are at least so many times their own duration apart: refreshing costs at most 0.4 % of the thread. */
const READING_SPACING = 250;
/** However dear readings are, a reference is no older. */
const REFERENCE_MS_LIMIT = 5;
/** A reading that took longer than those before may have been interrupted: the estimate follows it only slowly. */
const READING_GROWTH = 1.1;
const READING_MS_MIN = 0.0001;
/** Two clocks of one stretch may differ by so much without anything having happened. */
const CLOCKS_APART_MICROS = 5;

/** Who pays for an asynchronous call's later stretches. */
export interface CpuOwner {
  /** What one stretch is expected to take; 0 where nothing is known. */
  readonly expectedMicros: number;
  usedCpu(micros: number): void;
}

export interface CpuClocks {
  monotonicMs(): number;
  /** Exact at the moment of reading, not as of the last scheduler tick. */
  threadCpuMicros(): number;
}

/**
 * The thread's CPU time so far, microseconds, exact to one.
 *
 * Linux brings a thread's own figure up to date only at scheduler ticks (up to 4 ms apart) and when the whole process is
 * asked for: so the process is asked first.
 */
export function threadCpuMicros(): number {
  process.cpuUsage();
  const { user, system } = process.threadCpuUsage();
  return user + system;
}

export class CpuSegments {
  readonly #clocks: CpuClocks;
  #owners: AsyncLocalStorage<CpuOwner> | undefined;
  #isOpen = false;
  #expectedMicros = 0;
  #startMs = 0;
  /** The CPU clock was last read then. */
  #referenceMs = Number.NEGATIVE_INFINITY;
  #referenceMicros = 0;
  /** What a reading takes. On some kernels 10 µs and more while other threads of the process run. */
  #readingMs = 0;
  #referenceMsMax = REFERENCE_MS_MAX;
  /** Wall time of the stretch that ended last. */
  wallMs = 0;

  constructor(clocks: CpuClocks) {
    this.#clocks = clocks;
  }

  begin(expectedMicros: number): void {
    const nowMs = this.#clocks.monotonicMs();
    this.#isOpen = true;
    this.#expectedMicros = expectedMicros;
    if (expectedMicros >= EXACT_FROM_MICROS || nowMs - this.#referenceMs > this.#referenceMsMax) {
      this.#referenceMicros = this.#clocks.threadCpuMicros();
      this.#startMs = this.#clocks.monotonicMs();
      this.#referenceMs = this.#startMs;
      this.#readingTook(this.#startMs - nowMs);
    } else {
      this.#startMs = nowMs;
    }
  }

  #readingTook(tookMs: number): void {
    this.#readingMs = Math.min(tookMs, this.#readingMs * READING_GROWTH + READING_MS_MIN);
    const spacingMs = Math.min(REFERENCE_MS_LIMIT, this.#readingMs * READING_SPACING);
    this.#referenceMsMax = Math.max(REFERENCE_MS_MAX, spacingMs);
  }

  /** CPU time since {@link begin}, microseconds; 0 where nothing was begun. */
  end(): number {
    if (!this.#isOpen) return 0;
    this.#isOpen = false;
    const nowMs = this.#clocks.monotonicMs();
    this.wallMs = nowMs - this.#startMs;
    const wallMicros = this.wallMs * 1000;
    const expected = this.#expectedMicros;
    if (expected < EXACT_FROM_MICROS && wallMicros <= expected * SUSPECT_FACTOR + SUSPECT_FROM_MICROS) {
      return wallMicros;
    }
    const cpuMicros = this.#clocks.threadCpuMicros();
    const spanMicros = cpuMicros - this.#referenceMicros;
    // What lies between the reading and the stretch is other work, or idling: it took between nothing and all of that.
    const gapMicros = (this.#startMs - this.#referenceMs) * 1000;
    this.#referenceMicros = cpuMicros;
    this.#referenceMs = nowMs;
    if (gapMicros === 0) return Math.min(spanMicros, wallMicros);
    if (spanMicros + CLOCKS_APART_MICROS >= wallMicros) return wallMicros;
    const least = Math.max(0, spanMicros - gapMicros);
    return Math.min(Math.max(expected, least), spanMicros);
  }

  /**
   * Calls `call(...args)`; what its promises go on to run later, awaits included, is charged to `owner` stretch by
   * stretch. Code that no promise leads to (the body of a timer's callback) is not seen.
   *
   * From the first call on, each promise continuation of the process costs 0.02 µs more; processes that never call it
   * pay nothing.
   */
  follow<A extends unknown[], R>(owner: CpuOwner, call: (...args: A) => R, ...args: A): R {
    this.#owners ??= this.#startFollowing();
    return this.#owners.run(owner, call, ...args);
  }

  #startFollowing(): AsyncLocalStorage<CpuOwner> {
    const owners = new AsyncLocalStorage<CpuOwner>();
    let current: CpuOwner | undefined;
    promiseHooks.onBefore(() => {
      current = owners.getStore();
      if (current !== undefined) this.begin(current.expectedMicros);
    });
    promiseHooks.onAfter(() => {
      if (current === undefined) return;
      current.usedCpu(this.end());
      current = undefined;
    });
    return owners;
  }
}
