/**
 * Bands from realised errors: follows one quantile of a stream of standardised residuals by stochastic approximation,
 * so that in the long run the promised share falls below, whatever their distribution (adaptive conformal inference).
 */
import { TRACK_RATE_FIRST, TRACK_RATE_LAST } from './defaults.ts';
import { Z90, Z99 } from './normal.ts';

export class QuantileTracker {
  readonly quantile: number;
  value: number;
  count = 0;
  #below = 0;
  #weight = 0;

  constructor(quantile: number, start: number) {
    this.quantile = quantile;
    this.value = start;
  }

  add(residual: number): void {
    if (!Number.isFinite(residual)) return;
    const above = residual > this.value ? 1 : 0;
    this.count++;
    this.#below = 0.98 * this.#below + (1 - above);
    this.#weight = 0.98 * this.#weight + 1;
    const rate = Math.max(TRACK_RATE_LAST, TRACK_RATE_FIRST / Math.sqrt(this.count));
    this.value += rate * (above - (1 - this.quantile)) * Math.max(1, Math.abs(this.value));
    this.value = Math.max(-8, Math.min(40, this.value));
  }

  /** Share of recent residuals at or below the tracked value; the promise itself before there are any. */
  coverage(): number {
    return (this.#below + this.quantile) / (this.#weight + 1);
  }

  save(): number[] {
    return [this.value, this.count, this.#below, this.#weight];
  }

  load([value, count, below, weight]: readonly number[]): void {
    this.value = value ?? this.value;
    this.count = count ?? 0;
    this.#below = below ?? 0;
    this.#weight = weight ?? 0;
  }
}

/** Quantiles of a standard normal for {@link FORECAST_QUANTILES}: where every tracker starts. */
export const NORMAL_QUANTILES = [0, Z90, Z99] as const;
