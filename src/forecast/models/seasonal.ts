/**
 * The seasonal models. All look the past up in the series' history, so a period found or corrected later needs no
 * relearning.
 *
 * - profile: what this time of day was on past days, recent days weighing more, smoothed over neighbouring times;
 * - yesterday: the same time one period ago, alone (a regime that has just changed);
 * - today: the profile, scaled by how today has run against it so far;
 * - drift: the level of now plus what the profile says will change.
 */
import type { History } from '../history.ts';
import type { Model } from './model.ts';

/** Each day back weighs this much of the day after it. */
const DAY_WEIGHT = 0.8;
/** Days looked back on: beyond, weights are below a sixth. */
const DAYS_MAX = 8;
/** Half width of the smoothing over times of day, as a share of the period: a day curve has no sharper corners. */
const SMOOTHING_SHARE = 1 / 40;

/** The profile at `ahead` steps from now; NaN before a whole period is known. */
export function profileAt(history: History, period: number, ahead: number): number {
  const half = Math.max(0.5, period * SMOOTHING_SHARE);
  const reach = history.reach();
  let sum = 0;
  let weights = 0;
  let weight = 1;
  const first = Math.max(1, Math.ceil((ahead + half) / period));
  for (let day = first; day < first + DAYS_MAX; day++) {
    const age = day * period - ahead;
    if (age >= reach) break;
    const value = history.around(age, half);
    if (!Number.isNaN(value)) {
      sum += weight * value;
      weights += weight;
    }
    weight *= DAY_WEIGHT;
  }
  return weights > 0 ? sum / weights : Number.NaN;
}

export class SeasonalProfile implements Model {
  readonly name = 'profile';
  observe(): void {}
  predict(_ahead: number, season: number): number {
    return season;
  }
  save(): number[] {
    return [];
  }
  load(): void {}
}

export class SeasonalNaive implements Model {
  readonly name = 'yesterday';
  period = 0;
  observe(): void {}
  predict(ahead: number, _season: number, history: History): number {
    if (this.period === 0) return Number.NaN;
    return history.around(
      this.period * Math.max(1, Math.ceil(ahead / this.period)) - ahead,
      Math.max(0.5, this.period * SMOOTHING_SHARE),
    );
  }
  save(): number[] {
    return [this.period];
  }
  load([period]: readonly number[]): void {
    this.period = period ?? 0;
  }
}

/** The ratio's memory of nothing: this many units of load against it. */
const RATIO_SHRINK = 2;

export class TodayAgainstProfile implements Model {
  readonly name: string;
  readonly #keep: number;
  #seen = 0;
  #expected = 0;
  /** Set by the owner before each {@link observe}: the profile at the newest step, from earlier days. */
  seasonNow = Number.NaN;

  constructor(halfLifeSteps: number) {
    this.name = `today-${halfLifeSteps}`;
    this.#keep = 2 ** (-1 / halfLifeSteps);
  }

  observe(value: number): void {
    this.#seen *= this.#keep;
    this.#expected *= this.#keep;
    if (Number.isNaN(value) || Number.isNaN(this.seasonNow)) return;
    this.#seen += value;
    this.#expected += this.seasonNow;
  }

  predict(_ahead: number, season: number): number {
    const ratio = (this.#seen + RATIO_SHRINK) / (this.#expected + RATIO_SHRINK);
    return season * Math.max(0.2, Math.min(5, ratio));
  }

  save(): number[] {
    return [this.#seen, this.#expected];
  }

  load([seen, expected]: readonly number[]): void {
    this.#seen = seen ?? 0;
    this.#expected = expected ?? 0;
  }
}

export class ProfileDrift implements Model {
  readonly name = 'drift';
  readonly #keep: number;
  #gap = 0;
  #weight = 0;
  seasonNow = Number.NaN;

  constructor(halfLifeSteps: number) {
    this.#keep = 2 ** (-1 / halfLifeSteps);
  }

  observe(value: number): void {
    if (Number.isNaN(value) || Number.isNaN(this.seasonNow)) return;
    this.#gap = this.#keep * this.#gap + (value - this.seasonNow);
    this.#weight = this.#keep * this.#weight + 1;
  }

  predict(_ahead: number, season: number): number {
    return this.#weight > 0 ? Math.max(0, season + this.#gap / this.#weight) : season;
  }

  save(): number[] {
    return [this.#gap, this.#weight];
  }

  load([gap, weight]: readonly number[]): void {
    this.#gap = gap ?? 0;
    this.#weight = weight ?? 0;
  }
}
