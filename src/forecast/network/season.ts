/**
 * The past of one series as the network's features look at it: the newest steps with gaps filled, older ones looked up,
 * and what one of its periods says of a step.
 *
 * Boundary: pure. Invariant: a value is a finite number of bearable size, or NaN where it is unknown.
 */
import { WINDOW_STEPS } from './layout.ts';

/** What one row is made from. */
export interface NetworkSeries {
  /** The value `age` steps before the newest (age 0); NaN where unknown. Far back it may be a mean of some steps. */
  at: (age: number) => number;
  /** Steps since the series began. */
  length: number;
  /** Steps of the periods believed in, strongest first, fractional; the first two count. */
  periods: readonly number[];
}

/** Values beyond this are taken for this: sums of squares must stay finite. */
const VALUE_MAX = 1e100;
/** Values below this are zero: their squares and quotients would not be numbers. */
const VALUE_MIN = 1e-100;
/** Periods looked back on, and how much each older one weighs. */
const CYCLES_MAX = 6;
const CYCLE_KEEP = 0.75;
/** Values either side of the phase that a profile averages over, as a share of the period, and at most. */
const PROFILE_REACH_SHARE = 1 / 48;
const PROFILE_REACH_MAX = 2;
/** Newest steps held against the profile, and how much each older one weighs. */
const TODAY_STEPS = 8;
const TODAY_KEEP = 0.8;
/** Today is at least and at most so many times the profile. */
const TODAY_SHARE_MIN = 0.2;
const TODAY_SHARE_MAX = 5;
/** Points of the season looked at for its largest value. */
const LARGEST_POINTS = 8;

export class Past {
  /** Newest first, gaps filled with the last known value before them. */
  readonly newest = new Float64Array(WINDOW_STEPS);
  /** Of `newest`, those since the first known value. */
  count = 0;
  /** Known values among them, and their mean size. */
  known = 0;
  size = 0;
  series: NetworkSeries = { at: () => Number.NaN, length: 0, periods: [] };

  read(series: NetworkSeries): void {
    this.series = series;
    const { at, length } = series;
    const n = Math.min(WINDOW_STEPS, length);
    let known = 0;
    let size = 0;
    let last = Number.NaN;
    let oldest = 0;
    for (let age = n - 1; age >= 0; age--) {
      const value = at(age);
      if (Number.isFinite(value)) {
        // Unknown steps before the first known one are as if the series had begun later.
        if (known === 0) oldest = age + 1;
        known++;
        last = bearable(value);
        size += Math.abs(last);
      }
      this.newest[age] = last;
    }
    this.count = oldest;
    this.known = known;
    this.size = known > 0 ? size / known : 0;
  }

  /** The value `age` steps ago; NaN where unknown. */
  at(age: number): number {
    if (age < this.count) return this.newest[age]!;
    if (age >= this.series.length) return Number.NaN;
    const value = this.series.at(age);
    return Number.isFinite(value) ? bearable(value) : Number.NaN;
  }
}

function bearable(value: number): number {
  if (value > VALUE_MAX) return VALUE_MAX;
  if (value < -VALUE_MAX) return -VALUE_MAX;
  return Math.abs(value) < VALUE_MIN ? 0 : value;
}

/** One period of a series; 0 for none. */
export class Season {
  period = 0;
  /** Steps to each side that its profile averages over. */
  reach = 0;
  /** Today's mean difference from the profile, in the series' unit, and its ratio to it. */
  added = 0;
  scaled = 1;
  /** Of the last look-up: the value a period ago, the mean of several periods, how far those lie apart; else NaN. */
  naive = Number.NaN;
  profile = Number.NaN;
  spread = Number.NaN;
  readonly #cycles = new Float64Array(CYCLES_MAX);

  /** A new series; a period of 0 is none. */
  begin(period: number): void {
    this.period = period;
    this.reach = Math.min(PROFILE_REACH_MAX, Math.floor(period * PROFILE_REACH_SHARE));
  }

  /** What the period says of the step `ahead` after the newest; at 0 or less, of that past step from before it. */
  lookUp(past: Past, ahead: number, reach = this.reach): void {
    const { period } = this;
    const { length } = past.series;
    const first = Math.max(1, Math.ceil((ahead - 0.5) / period));
    let sum = 0;
    let weights = 0;
    let weight = 1;
    let cycles = 0;
    this.naive = Number.NaN;
    for (let k = 0; k < CYCLES_MAX; k++) {
      const age = Math.round((first + k) * period) - ahead;
      if (age >= length) break;
      const own = age < 0 ? Number.NaN : past.at(age);
      if (k === 0) this.naive = own;
      if (!Number.isNaN(own)) {
        const value = reach > 0 ? smoothed(past, age, own, reach) : own;
        this.#cycles[cycles++] = value;
        sum += weight * value;
        weights += weight;
      }
      weight *= CYCLE_KEEP;
    }
    this.profile = weights > 0 ? sum / weights : Number.NaN;
    let spread = 0;
    for (let k = 0; k < cycles; k++) spread += Math.abs(this.#cycles[k]! - this.profile);
    this.spread = cycles > 1 ? spread / cycles : Number.NaN;
  }

  /** Sets how the newest steps stand to their profile. */
  meetToday(past: Past): void {
    let weights = 0;
    let added = 0;
    let have = 0;
    let expected = 0;
    let weight = 1;
    for (let age = 0; age < Math.min(TODAY_STEPS, past.count); age++) {
      // Averaged over some steps as it is.
      this.lookUp(past, -age, 0);
      if (!Number.isNaN(this.profile)) {
        const value = past.newest[age]!;
        added += weight * (value - this.profile);
        have += weight * value;
        expected += weight * this.profile;
        weights += weight;
      }
      weight *= TODAY_KEEP;
    }
    this.added = weights > 0 ? added / weights : 0;
    this.scaled =
      expected > 0 && have >= 0 ? Math.max(TODAY_SHARE_MIN, Math.min(TODAY_SHARE_MAX, have / expected)) : 1;
  }

  /** Largest value a period before some points up to `ahead`; NaN where none is known. */
  largest(past: Past, ahead: number): number {
    let most = Number.NaN;
    const points = Math.min(LARGEST_POINTS, ahead);
    for (let i = 1; i <= points; i++) {
      const step = Math.round((ahead * i) / points);
      const cycle = Math.max(1, Math.ceil((step - 0.5) / this.period));
      const value = past.at(Math.max(0, Math.round(cycle * this.period) - step));
      if (!(value <= most) && !Number.isNaN(value)) most = value;
    }
    return most;
  }
}

/** Triangular mean around an age, of what is known there. */
function smoothed(past: Past, age: number, own: number, reach: number): number {
  let sum = own * (reach + 1);
  let shares = reach + 1;
  for (let d = 1; d <= reach; d++) {
    const share = reach + 1 - d;
    const before = past.at(age + d);
    if (!Number.isNaN(before)) {
      sum += share * before;
      shares += share;
    }
    const after = age >= d ? past.at(age - d) : Number.NaN;
    if (!Number.isNaN(after)) {
      sum += share * after;
      shares += share;
    }
  }
  return sum / shares;
}
