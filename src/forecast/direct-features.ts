/**
 * What the direct regression is told of a moment: the newest load, levels and their differences, on a log scale, less the
 * profile of the period where there is one; what the phase to come was like in periods before.
 *
 * Boundary: pure. Invariants: of a moment nothing is read that came after it; every number is finite.
 */

import { DirectCovariates } from './direct-covariates.ts';
import { exponentialMean } from './exponential-mean.ts';

/** Numbers told of a moment and a horizon, without covariates. */
const FEATURES = 16;
/** Half-lives in steps of the levels. */
const LEVEL_STEPS = [3, 12, 60, 400] as const;
/** Half width of a profile's smoothing as a share of the period. */
const WIDTH = 1 / 96;
/** Cycles of a profile, and what one weighs against the one after it. */
const CYCLES = 7;
const CYCLE_KEEP = 0.85;
/** Half-life in steps of the distance from the long profile. */
const LONG_STEPS = 24;
/** Steps of a profile's period that must have been seen, in periods. */
const PERIODS_MIN = 2;
/** Newest steps told one by one. */
const NEWEST = 3;
/** Half-lives in steps ahead of how much of a level's difference is taken to stay, where nothing is learnt. */
const FADES = [6, 48, 200];
const NO_PROFILE = [0, 0] as const;

export class DirectFeatures {
  /** First moment of which all is known. */
  readonly start: number;
  readonly #z: Float64Array;
  readonly #sums: Float64Array;
  readonly #period: number;
  readonly #long: number;
  readonly #width: number;
  /** Without the profile. */
  readonly #rest: Float64Array;
  readonly #levels: Float64Array[];
  readonly #longGap: Float64Array;
  /** Profiles by the step foreseen, for so many whole periods that have to be passed over. */
  readonly #profiles = new Map<number, Float64Array>();
  readonly #longProfiles = new Map<number, Float64Array>();
  readonly #reach: number;
  readonly #covariates: DirectCovariates | undefined;

  /**
   * @param z the series, oldest first, without gaps
   * @param known how many of them count as known where it is decided which periods are
   * @param reach steps ahead that are asked for
   * @param covariates each a column from the series' first step on, as far as it is told
   */
  constructor(
    z: Float64Array,
    known: number,
    periods: readonly number[],
    reach: number,
    covariates: readonly Float64Array[] = [],
  ) {
    const count = z.length;
    this.#z = z;
    this.#reach = reach;
    this.#sums = new Float64Array(count + 1);
    for (let t = 0; t < count; t++) this.#sums[t + 1] = this.#sums[t]! + z[t]!;
    const fits = (steps: number | undefined) =>
      steps !== undefined && steps >= 2 && known >= PERIODS_MIN * steps + 8 ? steps : 0;
    this.#period = fits(periods[0]);
    this.#long = this.#period > 0 && periods[1]! > this.#period ? fits(periods[1]) : 0;
    this.#width = Math.floor(this.#period * WIDTH + 0.25);
    this.start = Math.ceil(Math.max(this.#period, this.#long)) + this.#width + NEWEST;
    this.#rest = z.slice();
    if (this.#period > 0) {
      const profile = this.#profile(1);
      for (let t = 0; t < count; t++) this.#rest[t] = z[t]! - profile[t]!;
    }
    this.#levels = LEVEL_STEPS.map((steps) => exponentialMean(this.#rest, steps));
    if (this.#long > 0) {
      const profile = this.#longProfile(1);
      this.#longGap = exponentialMean(
        z.map((value, t) => value - profile[t]!),
        LONG_STEPS,
      );
    } else this.#longGap = new Float64Array(count);
    if (covariates.length === 0) return;
    this.#covariates = new DirectCovariates(covariates, z, known, this.#period, reach);
  }

  /** Numbers told of a moment and a horizon. */
  get width(): number {
    return FEATURES + (this.#covariates?.width ?? 0);
  }

  get length(): number {
    return this.#z.length;
  }

  /**
   * Writes what is known at `t` for the step `ahead` of it.
   *
   * @returns what is expected where nothing is learnt
   */
  write(t: number, ahead: number, into: Float64Array, at: number): number {
    const rest = this.#rest;
    const [fast, middle, slow, mean] = this.#levels as [
      Float64Array,
      Float64Array,
      Float64Array,
      Float64Array,
    ];
    for (let i = 0; i < NEWEST; i++) into[at + i] = rest[t - i]! - middle[t]!;
    into[at + 3] = fast[t]! - middle[t]!;
    into[at + 4] = middle[t]! - slow[t]!;
    into[at + 5] = mean[t]! - slow[t]!;
    into[at + 6] = 1;
    into.fill(0, at + 7, at + FEATURES);
    const stays = FADES.map((steps) => 2 ** (-ahead / steps));
    const gap = stays[0]! * (fast[t]! - middle[t]!) + stays[1]! * (middle[t]! - slow[t]!);
    if (this.#period === 0) {
      if (this.width > FEATURES) this.#covariates!.write(t, ahead, 1, NO_PROFILE, into, at + FEATURES);
      return slow[t]! + gap;
    }
    const z = this.#z;
    const target = t + ahead;
    const passed = Math.ceil((ahead + this.#width) / this.#period);
    const profile = this.#profile(passed)[target]!;
    const before = Math.round(target - passed * this.#period);
    const twice = Math.round(target - (passed + 1) * this.#period);
    into[at + 7] = slow[t]!;
    into[at + 8] = z[Math.min(t, before)]! - profile;
    into[at + 9] = twice >= 0 ? z[twice]! - profile : 0;
    const whole = Math.max(0, Math.round(t + 1 - this.#period));
    into[at + 10] = profile - (this.#sums[t + 1]! - this.#sums[whole]!) / (t + 1 - whole);
    into[at + 11] = this.#profile(1)[t]! - profile;
    if (this.width > FEATURES) {
      this.#pair[0] = profile;
      this.#pair[1] = this.#profile(1)[t]!;
      this.#covariates!.write(t, ahead, passed, this.#pair, into, at + FEATURES);
    }
    if (this.#long === 0) return profile + gap + stays[2]! * slow[t]!;
    const passedLong = Math.ceil((ahead + this.#width) / this.#long);
    const long = this.#longProfile(passedLong)[target]!;
    const longBefore = Math.round(target - passedLong * this.#long);
    into[at + 12] = long - profile;
    into[at + 13] = longBefore >= 0 ? z[Math.min(t, longBefore)]! - long : 0;
    into[at + 14] = this.#longGap[t]! - middle[t]!;
    into[at + 15] = this.#longProfile(1)[t]! - this.#profile(1)[t]!;
    return profile + gap + stays[2]! * slow[t]!;
  }

  readonly #pair: [number, number] = [0, 0];

  #profile(passed: number): Float64Array {
    let found = this.#profiles.get(passed);
    if (found === undefined) {
      found = this.#overCycles(this.#period, passed, CYCLES);
      this.#profiles.set(passed, found);
    }
    return found;
  }

  #longProfile(passed: number): Float64Array {
    let found = this.#longProfiles.get(passed);
    if (found === undefined) {
      found = this.#overCycles(this.#long, passed, 4);
      this.#longProfiles.set(passed, found);
    }
    return found;
  }

  /** By step, as far as it can be asked for: the mean of that phase in the cycles before, from `passed` cycles before on. */
  #overCycles(period: number, passed: number, cycles: number): Float64Array {
    const count = this.#z.length;
    const width = this.#width;
    const profile = new Float64Array(count + this.#reach);
    for (let s = 0; s < profile.length; s++) {
      let sum = 0;
      let total = 0;
      let weight = 1;
      for (let k = passed; k < passed + cycles; k++) {
        const middle = Math.round(s - k * period);
        const from = Math.max(0, middle - width);
        const to = Math.min(count, middle + width + 1);
        if (middle < 0) break;
        if (to > from) {
          sum += (weight * (this.#sums[to]! - this.#sums[from]!)) / (to - from);
          total += weight;
        }
        weight *= CYCLE_KEEP;
      }
      // Before a first cycle nothing is told apart; nobody learns from there.
      profile[s] = total > 0 ? sum / total : this.#z[Math.min(s, count - 1)]!;
    }
    return profile;
  }
}
