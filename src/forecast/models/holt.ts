/**
 * Level and trend, the trend damped (Holt; Gardner and McKenzie 1985): a rise goes on for a while, never for ever.
 * Works on the asinh scale, where growth is a line and a fall ends at zero.
 */
import type { Model } from './model.ts';

/** Share of the trend that survives a step: after 7 steps half of it is gone. */
const DAMPING = 0.9;

export class DampedTrend implements Model {
  readonly name: string;
  readonly #levelRate: number;
  readonly #trendRate: number;
  #level = Number.NaN;
  #trend = 0;

  constructor(halfLifeSteps: number) {
    this.name = `trend-${halfLifeSteps}`;
    this.#levelRate = 1 - 2 ** (-1 / halfLifeSteps);
    this.#trendRate = this.#levelRate / 2;
  }

  observe(value: number): void {
    if (Number.isNaN(value)) {
      this.#level += this.#trend * DAMPING;
      this.#trend *= DAMPING;
      return;
    }
    const y = Math.asinh(value);
    if (Number.isNaN(this.#level)) {
      this.#level = y;
      return;
    }
    const expected = this.#level + DAMPING * this.#trend;
    const level = expected + this.#levelRate * (y - expected);
    this.#trend = DAMPING * this.#trend + this.#trendRate * (level - this.#level - DAMPING * this.#trend);
    this.#level = level;
  }

  predict(ahead: number): number {
    const reach = (DAMPING * (1 - DAMPING ** ahead)) / (1 - DAMPING);
    return Math.sinh(Math.max(0, Math.min(60, this.#level + this.#trend * reach)));
  }

  save(): number[] {
    return [this.#level, this.#trend];
  }

  load([level, trend]: readonly number[]): void {
    this.#level = level ?? Number.NaN;
    this.#trend = trend ?? 0;
  }
}
