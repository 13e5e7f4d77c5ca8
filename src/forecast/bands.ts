/**
 * Bands of single shards, calibrated by class of rate: shards of like rate err alike, and most alone have too few
 * requests to tell how far off their forecasts are.
 */
import { NORMAL_QUANTILES, QuantileTracker } from './tracker.ts';

/** Classes are powers of two of the expected requests a step, from 1/64 to 1024. */
const CLASS_LOWEST = -6;
const CLASS_COUNT = 17;

export class ClassBands {
  readonly #trackers = Array.from({ length: CLASS_COUNT }, () =>
    [0.9, 0.99].map((quantile, i) => new QuantileTracker(quantile, NORMAL_QUANTILES[i + 1]!)),
  );

  /** Standardised distance of p90 and p99 above the expected count. */
  of(expected: number): { p90: number; p99: number } {
    const [p90, p99] = this.#trackers[classOf(expected)]!;
    return { p90: Math.max(0, p90!.value), p99: Math.max(0, p90!.value, p99!.value) };
  }

  add(expected: number, spread: number, actual: number): void {
    for (const tracker of this.#trackers[classOf(expected)]!) tracker.add((actual - expected) / spread);
  }

  coverageP90(expected: number): number {
    return this.#trackers[classOf(expected)]![0]!.coverage();
  }

  save(): number[][][] {
    return this.#trackers.map((pair) => pair.map((tracker) => tracker.save()));
  }

  load(state: number[][][]): void {
    state.forEach((pair, i) => {
      pair.forEach((saved, j) => {
        this.#trackers[i]?.[j]?.load(saved);
      });
    });
  }
}

function classOf(expected: number): number {
  const rank = Math.floor(Math.log2(Math.max(expected, 1e-9))) - CLASS_LOWEST;
  return Math.max(0, Math.min(CLASS_COUNT - 1, rank));
}
