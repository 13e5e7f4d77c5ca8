/**
 * The demo's load as a formula: who asks for what, when and from where. Pure; the same seed gives the same arrivals,
 * whatever answers them and however fast. docs/demo.md states the formula; this file is its only implementation.
 *
 *   rate(key k, origin r, t) = R * z_k * o_kr * a_r(t) / mean(a_r)  +  flash crowds
 */
import type { Random } from '../../src/io/io.ts';
import { SeededRandom } from '../../src/io/random.ts';
import type { Region } from '../../src/model/ids.ts';

export interface LoadOptions {
  seed: string;
  /** Mean of requests a second over a day, flash crowds not counted. */
  ratePerSecond: number;
  dayS: number;
  /** Concentration of the Dirichlet distribution of origin shares: small means one region a key. */
  alpha: number;
  keys?: number;
  regions?: Region[];
  /** Replaces the awake-and-asleep curve: a rate over time, mean 1, one day long or longer. */
  shape?: RateShape;
}

/** A rate relative to its mean at a share of a day; `day` counts days and is not wrapped. */
export interface RateShape {
  at(day: number): number;
  /** An upper bound of `at`, for drawing arrivals. */
  max: number;
}

export interface Arrival {
  /** Milliseconds after the start of the load. */
  atMs: number;
  /** Index into the regions. */
  origin: number;
  /** Rank of the key, from 0, most asked for first. */
  key: number;
  /** One of the {@link USERS_PER_KEY_AND_ORIGIN} people who use this key from this origin. */
  user: number;
  command: boolean;
}

export const KEYS_DEFAULT = 2000;
export const ZIPF_EXPONENT = 0.9;
export const COMMAND_SHARE = 0.3;
/** Share of the daytime peak that is left at the deepest night. */
export const NIGHT_FLOOR = 0.05;
/** People are most awake at 14:00 of their own time. */
export const PEAK_HOUR = 14;
export const USERS_PER_KEY_AND_ORIGIN = 32;
export const UTC_OFFSET_HOURS: Record<Region, number> = {
  'us-east-1': -5,
  'eu-west-1': 0,
  'ap-northeast-1': 9,
};
export const REGIONS_DEFAULT: Region[] = Object.keys(UTC_OFFSET_HOURS);

/** Flash crowds: about one a day, each one key from one region, adding at its height this share of the mean rate. */
export const FLASH_PER_DAY = 1;
export const FLASH_HEIGHT = 0.15;
export const FLASH_RISE_DAYS = 0.02;
export const FLASH_HOLD_DAYS = 0.06;
export const FLASH_FALL_DAYS = 0.04;
/** Ranks (from 0) that a flash crowd may hit: known keys, but none that is always hot. */
export const FLASH_RANKS = [10, 500] as const;

/** The key of a rank as it stands in a URL. */
export function keyName(rank: number): string {
  return `r${String(rank).padStart(4, '0')}`;
}

/** How awake a region is: 1 at 14:00 of its own time, {@link NIGHT_FLOOR} twelve hours later. */
export function awake(day: number, utcOffsetHours: number): number {
  const local = day + utcOffsetHours / 24;
  const rise = (1 + Math.cos(2 * Math.PI * (local - PEAK_HOUR / 24))) / 2;
  return NIGHT_FLOOR + (1 - NIGHT_FLOOR) * rise * rise;
}

/** Mean of {@link awake} over a day: the square of a raised cosine has mean 3/8. */
export const AWAKE_MEAN = NIGHT_FLOOR + ((1 - NIGHT_FLOOR) * 3) / 8;

export interface FlashCrowd {
  /** In days after the start. */
  fromDay: number;
  key: number;
  origin: number;
}

/** Share of its height that a flash crowd has reached `days` after its start. */
export function flashProfile(days: number): number {
  if (days < 0) return 0;
  if (days < FLASH_RISE_DAYS) return days / FLASH_RISE_DAYS;
  const falling = days - FLASH_RISE_DAYS - FLASH_HOLD_DAYS;
  if (falling < 0) return 1;
  return Math.max(0, 1 - falling / FLASH_FALL_DAYS);
}
const FLASH_DAYS = FLASH_RISE_DAYS + FLASH_HOLD_DAYS + FLASH_FALL_DAYS;

export class LoadFormula {
  readonly regions: Region[];
  readonly keys: number;
  readonly dayS: number;
  readonly ratePerSecond: number;
  /** `keyShares[k]`: Zipf, sums to 1. */
  readonly keyShares: Float64Array;
  /** `originShares[k * regions + r]`: Dirichlet, sums to 1 a key. */
  readonly originShares: Float64Array;
  readonly #random: SeededRandom;
  readonly #shape: RateShape | undefined;
  readonly #offsets: number[];

  constructor(options: LoadOptions) {
    if (!(options.ratePerSecond > 0)) throw new RangeError('the rate must be above 0 requests a second');
    if (!(options.dayS > 0)) throw new RangeError('a day must be longer than 0 seconds');
    if (!(options.alpha > 0)) throw new RangeError('alpha must be above 0');
    this.regions = options.regions ?? REGIONS_DEFAULT;
    this.keys = options.keys ?? KEYS_DEFAULT;
    this.dayS = options.dayS;
    this.ratePerSecond = options.ratePerSecond;
    this.#shape = options.shape;
    this.#random = new SeededRandom(`load/${options.seed}`);
    this.#offsets = this.regions.map((region, i) => UTC_OFFSET_HOURS[region] ?? i * 8);
    this.keyShares = zipfShares(this.keys);
    this.originShares = new Float64Array(this.keys * this.regions.length);
    const random = this.#random.split('origins');
    for (let k = 0; k < this.keys; k++) {
      const shares = dirichlet(random, options.alpha, this.regions.length);
      this.originShares.set(shares, k * this.regions.length);
    }
  }

  /** Rate of a region's people at a time, relative to their own mean over a day. */
  activity(origin: number, day: number): number {
    const offset = this.#offsets[origin]!;
    if (this.#shape) return this.#shape.at(day + offset / 24);
    return awake(day, offset) / AWAKE_MEAN;
  }

  /** Requests a second for a key from an origin, `timeS` after the start; flash crowds not counted. */
  rate(key: number, origin: number, timeS: number): number {
    const share = this.keyShares[key]! * this.originShares[key * this.regions.length + origin]!;
    return this.ratePerSecond * share * this.activity(origin, timeS / this.dayS);
  }

  /** The flash crowds that start before `days`, in order. */
  flashCrowds(days: number): FlashCrowd[] {
    const found: FlashCrowd[] = [];
    const random = this.#random.split('flash');
    for (let fromDay = 0; ; ) {
      fromDay += exponential(random) / FLASH_PER_DAY;
      if (fromDay >= days) return found;
      const [low, high] = FLASH_RANKS;
      const span = Math.max(1, Math.min(high, this.keys) - low);
      const key = Math.min(this.keys - 1, low + Math.floor(random.next() * span));
      found.push({ fromDay, key, origin: Math.floor(random.next() * this.regions.length) });
    }
  }

  /** All arrivals of the first `forS` seconds, in order of time. */
  *arrivals(forS: number): Generator<Arrival, void> {
    const flashes = this.flashCrowds(forS / this.dayS);
    const streams = [this.#everyday(forS), ...flashes.map((flash, i) => this.#flash(flash, i, forS))];
    // A merge of few ordered streams: flash crowds rarely overlap.
    const heads = streams.map((stream) => stream.next());
    for (;;) {
      let first = -1;
      for (let i = 0; i < heads.length; i++) {
        const head = heads[i]!;
        if (head.done) continue;
        if (first < 0 || head.value.atMs < (heads[first]!.value as Arrival).atMs) first = i;
      }
      if (first < 0) return;
      yield heads[first]!.value as Arrival;
      heads[first] = streams[first]!.next();
    }
  }

  /** A Poisson process of changing rate, by thinning: draws at the highest rate, keeps in proportion. */
  *#everyday(forS: number): Generator<Arrival, void> {
    const random = this.#random.split('arrivals');
    const regions = this.regions.length;
    const weights = new Float64Array(regions);
    for (let k = 0; k < this.keys; k++) {
      for (let r = 0; r < regions; r++)
        weights[r]! += this.keyShares[k]! * this.originShares[k * regions + r]!;
    }
    const peak = this.#shape ? this.#shape.max : 1 / AWAKE_MEAN;
    const keysOf = this.regions.map((_, r) => this.#cumulativeKeys(r));
    const rateMax = this.ratePerSecond * peak;
    for (let timeS = exponential(random) / rateMax; timeS < forS; timeS += exponential(random) / rateMax) {
      const day = timeS / this.dayS;
      let left = random.next() * peak;
      let origin = -1;
      for (let r = 0; r < regions && origin < 0; r++) {
        left -= weights[r]! * this.activity(r, day);
        if (left < 0) origin = r;
      }
      if (origin < 0) continue;
      const key = search(keysOf[origin]!, random.next());
      yield this.#arrival(random, timeS, origin, key);
    }
  }

  *#flash(flash: FlashCrowd, number: number, forS: number): Generator<Arrival, void> {
    const random = this.#random.split(`flash/${number}`);
    const rateMax = this.ratePerSecond * FLASH_HEIGHT;
    const endS = Math.min(forS, (flash.fromDay + FLASH_DAYS) * this.dayS);
    let timeS = flash.fromDay * this.dayS;
    for (timeS += exponential(random) / rateMax; timeS < endS; timeS += exponential(random) / rateMax) {
      if (random.next() >= flashProfile(timeS / this.dayS - flash.fromDay)) continue;
      yield this.#arrival(random, timeS, flash.origin, flash.key);
    }
  }

  #arrival(random: Random, timeS: number, origin: number, key: number): Arrival {
    return {
      atMs: timeS * 1000,
      origin,
      key,
      user: Math.floor(random.next() * USERS_PER_KEY_AND_ORIGIN),
      command: random.next() < COMMAND_SHARE,
    };
  }

  /** Cumulative shares of the keys within one origin's requests. */
  #cumulativeKeys(origin: number): Float64Array {
    const cumulative = new Float64Array(this.keys);
    let sum = 0;
    for (let k = 0; k < this.keys; k++) {
      sum += this.keyShares[k]! * this.originShares[k * this.regions.length + origin]!;
      cumulative[k] = sum;
    }
    for (let k = 0; k < this.keys; k++) cumulative[k]! /= sum;
    return cumulative;
  }
}

export function zipfShares(keys: number): Float64Array {
  const shares = Float64Array.from({ length: keys }, (_, k) => (k + 1) ** -ZIPF_EXPONENT);
  const sum = shares.reduce((a, b) => a + b, 0);
  return shares.map((share) => share / sum);
}

/** The first index whose cumulative share is above `share`. */
function search(cumulative: Float64Array, share: number): number {
  let low = 0;
  let high = cumulative.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (cumulative[middle]! > share) high = middle;
    else low = middle + 1;
  }
  return low;
}

function exponential(random: Random): number {
  return -Math.log(1 - random.next());
}

function normal(random: Random): number {
  return Math.sqrt(-2 * Math.log(1 - random.next())) * Math.cos(2 * Math.PI * random.next());
}

/** Marsaglia and Tsang (2000); below 1 by their boost. Returned as a logarithm: small alphas underflow otherwise. */
function logGamma(random: Random, alpha: number): number {
  if (alpha < 1) return logGamma(random, alpha + 1) + Math.log(1 - random.next()) / alpha;
  const d = alpha - 1 / 3;
  const c = 1 / Math.sqrt(9 * d);
  for (;;) {
    const x = normal(random);
    const v = (1 + c * x) ** 3;
    if (v <= 0) continue;
    if (Math.log(1 - random.next()) < (x * x) / 2 + d - d * v + d * Math.log(v)) return Math.log(d * v);
  }
}

/** Shares that sum to 1, symmetric Dirichlet. */
export function dirichlet(random: Random, alpha: number, size: number): number[] {
  const logs = Array.from({ length: size }, () => logGamma(random, alpha));
  const largest = Math.max(...logs);
  const weights = logs.map((log) => Math.exp(log - largest));
  const sum = weights.reduce((a, b) => a + b, 0);
  return weights.map((weight) => weight / sum);
}
