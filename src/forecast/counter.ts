/**
 * Readings of a cumulative counter as what was counted in each step.
 *
 * A reading below the one before means that the counter began anew: what it shows was counted since (as Prometheus'
 * `rate` has it; what came between the last reading and the reset is lost). Boundary: pure.
 */

/** Reads a counter step by step. */
export class CounterReader {
  /** Last reading; NaN before the first. */
  last = Number.NaN;
  #missed = 0;

  /**
   * What was counted in this step; after readings that are missing, the mean of the steps since the last one. NaN for a
   * missing reading, for the first, and for a negative one, which no counter shows.
   */
  next(reading: number): number {
    if (!(Number.isFinite(reading) && reading >= 0)) {
      this.#missed++;
      return Number.NaN;
    }
    const steps = 1 + this.#missed;
    const before = this.last;
    this.last = reading;
    this.#missed = 0;
    if (Number.isNaN(before)) return Number.NaN;
    return counted(before, reading) / steps;
  }
}

/** What was counted between two readings. */
export function counted(before: number, reading: number): number {
  return reading >= before ? reading - before : reading;
}

/** A whole series of readings as counts; the steps without a reading share what was counted over them. */
export function countsOf(readings: Float64Array): Float64Array {
  const reader = new CounterReader();
  const counts = Float64Array.from(readings, (reading) => reader.next(reading));
  let last = -1;
  for (let i = 0; i < counts.length; i++) {
    if (!(Number.isFinite(readings[i]!) && readings[i]! >= 0)) continue;
    if (last >= 0) counts.fill(counts[i]!, last + 1, i);
    last = i;
  }
  return counts;
}
