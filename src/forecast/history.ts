/**
 * What a series was: rings at three resolutions, so that both a day of 30 steps and one of 8,640 fit in bounded memory.
 *
 * Invariants: age 0 is the newest value; a missing step is NaN and takes its place; means skip it.
 */

/** Values kept at each resolution. */
export const RING_VALUES = 2048;
/** Steps a value of each ring stands for: 2,048 steps, 16,384 and 131,072 (15 days of 10 s steps). */
export const RING_STEPS = [1, 8, 64] as const;

export class History {
  readonly rings = RING_STEPS.map(() => new Float64Array(RING_VALUES));
  /** Values ever written to each ring. */
  readonly written = RING_STEPS.map(() => 0);
  readonly #sums = RING_STEPS.map(() => 0);
  readonly #counts = RING_STEPS.map(() => 0);
  /** Steps seen. */
  length = 0;

  push(value: number): void {
    this.length++;
    for (let level = 0; level < RING_STEPS.length; level++) {
      const width = RING_STEPS[level]!;
      if (!Number.isNaN(value)) {
        this.#sums[level]! += value;
        this.#counts[level]!++;
      }
      if (this.length % width !== 0) continue;
      const ring = this.rings[level]!;
      ring[this.written[level]! % RING_VALUES] =
        this.#counts[level]! > 0 ? this.#sums[level]! / this.#counts[level]! : Number.NaN;
      this.written[level]!++;
      this.#sums[level] = 0;
      this.#counts[level] = 0;
    }
  }

  /** Steps that can be looked back on. */
  reach(): number {
    return Math.min(this.length, RING_VALUES * RING_STEPS[RING_STEPS.length - 1]!);
  }

  /** The value `age` steps ago; NaN where unknown. */
  at(age: number): number {
    if (age < 0 || age >= this.length || age >= RING_VALUES) return Number.NaN;
    return this.rings[0]![(this.written[0]! - 1 - age) % RING_VALUES]!;
  }

  /** Triangular mean around `age` steps ago (may be fractional), `halfWidth` steps to each side; NaN where unknown. */
  around(age: number, halfWidth: number): number {
    let level = 0;
    while (
      level < RING_STEPS.length - 1 &&
      (age + halfWidth + 1 >= RING_VALUES * RING_STEPS[level]! || halfWidth / RING_STEPS[level]! > 6)
    )
      level++;
    const width = RING_STEPS[level]!;
    const ring = this.rings[level]!;
    const written = this.written[level]!;
    // Centre of the newest complete cell, in steps ago.
    const offset = (this.length % width) + (width - 1) / 2;
    const centre = (age - offset) / width;
    const reach = Math.max(1, halfWidth / width + 1);
    let sum = 0;
    let weights = 0;
    for (let cell = Math.ceil(centre - reach); cell <= centre + reach; cell++) {
      if (cell < 0 || cell >= written || cell >= RING_VALUES) continue;
      const weight = 1 - Math.abs(cell - centre) / reach;
      if (weight <= 0) continue;
      const value = ring[(written - 1 - cell) % RING_VALUES]!;
      if (Number.isNaN(value)) continue;
      sum += weight * value;
      weights += weight;
    }
    return weights > 0 ? sum / weights : Number.NaN;
  }

  /** Largest value among the newest `steps`; NaN when all are unknown. */
  maxOf(steps: number): number {
    let max = Number.NaN;
    const reach = Math.min(steps, this.length, RING_VALUES);
    for (let age = 0; age < reach; age++) {
      const value = this.at(age);
      if (!(value <= max) && !Number.isNaN(value)) max = value;
    }
    return max;
  }

  save(): HistoryState {
    return {
      length: this.length,
      // Five digits: a saved state crosses the network each minute.
      rings: this.rings.map((ring, level) =>
        Array.from(this.#tail(ring, level), (value) => Number(value.toPrecision(5))),
      ),
      sums: [...this.#sums],
      counts: [...this.#counts],
    };
  }

  load(state: HistoryState): void {
    this.length = state.length;
    state.rings.forEach((values, level) => {
      const written = Math.floor(state.length / RING_STEPS[level]!);
      this.written[level] = written;
      const ring = this.rings[level]!;
      values.forEach((value, i) => {
        ring[(written - values.length + i) % RING_VALUES] = value ?? Number.NaN;
      });
      this.#sums[level] = state.sums[level] ?? 0;
      this.#counts[level] = state.counts[level] ?? 0;
    });
  }

  /** Oldest first. */
  #tail(ring: Float64Array, level: number): Float64Array {
    const written = this.written[level]!;
    const count = Math.min(written, RING_VALUES);
    const tail = new Float64Array(count);
    for (let i = 0; i < count; i++) tail[i] = ring[(written - count + i) % RING_VALUES]!;
    return tail;
  }

  /** The newest `count` values of a resolution, oldest first, gaps as NaN. */
  recent(level: number, count: number): Float64Array {
    const tail = this.#tail(this.rings[level]!, level);
    return tail.subarray(Math.max(0, tail.length - count));
  }
}

/** Serialisable; NaN may come back as null. */
export interface HistoryState {
  length: number;
  rings: (number | null)[][];
  sums: number[];
  counts: number[];
}
