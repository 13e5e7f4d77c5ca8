/**
 * Holds a rotating few shards' forecasts against the truth, a fixed lead later: that calibrates the bands of their classes,
 * at a cost that does not grow with the shards.
 */
import type { ClassBands } from './bands.ts';
import { CALIBRATED_PER_STEP, CALIBRATION_LEAD_STEPS } from './defaults.ts';
import { spreadOf } from './shard-forecast.ts';

/** What is expected of a shard in one step, and the variance that its groups' bands give it. */
export interface ExpectedCount {
  expected: number;
  variance: number;
}

interface Check {
  due: number;
  shards: number[];
  expected: Float64Array;
  spread: Float64Array;
}

export class Calibration {
  readonly #bands: ClassBands;
  readonly #checks: Check[] = [];
  #rotation = 0;

  constructor(bands: ClassBands) {
    this.#bands = bands;
  }

  /**
   * @param steps steps so far
   * @param size shards there are
   * @param counted requests of a shard in this step
   * @param expect {@link CALIBRATION_LEAD_STEPS} ahead
   */
  step(
    steps: number,
    size: number,
    counted: (index: number) => number,
    expect: (index: number) => ExpectedCount,
  ): void {
    const due = this.#checks[0];
    if (due !== undefined && due.due <= steps) {
      this.#checks.shift();
      due.shards.forEach((index, i) => {
        this.#bands.add(due.expected[i]!, due.spread[i]!, counted(index));
      });
    }
    const many = Math.min(size, CALIBRATED_PER_STEP);
    if (many === 0) return;
    const check: Check = {
      due: steps + CALIBRATION_LEAD_STEPS,
      shards: [],
      expected: new Float64Array(many),
      spread: new Float64Array(many),
    };
    for (let i = 0; i < many; i++) {
      const index = (this.#rotation + i) % size;
      const { expected, variance } = expect(index);
      check.shards.push(index);
      check.expected[i] = expected;
      check.spread[i] = spreadOf(expected, variance);
    }
    this.#rotation = (this.#rotation + many) % size;
    this.#checks.push(check);
  }

  /** Steps are missing: what was expected of them cannot be checked. */
  forget(): void {
    this.#checks.length = 0;
  }
}
