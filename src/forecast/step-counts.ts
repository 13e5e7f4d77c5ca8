/**
 * Requests of the newest step by shard row: what a forecast of that step is held against.
 *
 * It keeps one step only. Invariant: nothing is cleared between steps, so a step costs its active shards; a count is
 * valid where its step is the one asked for, and every other row had none.
 */
const ROWS_FIRST = 1024;

export class StepCounts {
  #requests = new Float64Array(ROWS_FIRST);
  #step = new Float64Array(ROWS_FIRST);

  /** `step` counts from 1. */
  set(row: number, step: number, requests: number): void {
    if (row >= this.#requests.length) this.#grow(row * 2);
    this.#requests[row] = requests;
    this.#step[row] = step;
  }

  of(row: number, step: number): number {
    return this.#step[row] === step ? this.#requests[row]! : 0;
  }

  #grow(rows: number): void {
    const requests = new Float64Array(rows);
    requests.set(this.#requests);
    const steps = new Float64Array(rows);
    steps.set(this.#step);
    this.#requests = requests;
    this.#step = steps;
  }
}
