/**
 * What the trained network is told of a series: its newest values and statistics on a scale of its own, and for each
 * horizon the forecasts of the plain methods (levels, trends, what was a period ago, the profile of several periods),
 * which it mixes and corrects.
 *
 * Boundary: pure; the same code writes the rows for training (`training/make-arrays.ts`) and for inference, so the two
 * cannot drift apart. Invariants: every number written is finite and below 20 in size except z of the candidates
 * (below {@link Z_MAX}); nothing depends on the unit of the series; a series of zeros has the scale 0, and with it is
 * answered 0; one without a known value has the scale NaN, and with it answers that are no vote.
 */
import { asinh, asinhs, log } from '../powers.ts';
import {
  CANDIDATES,
  CHANGE_WINDOWS,
  CONTEXT_FEATURES,
  CORRELATION_LAGS,
  CORRELATION_STEPS,
  DEVIATION_WINDOWS,
  HORIZON_FEATURES,
  HORIZON_WIDTH,
  MAX_WINDOWS,
  MEAN_EDGES,
  MIN_WINDOWS,
  NEWEST_STEPS,
  PERIOD_FEATURES,
  PERIOD_SLOTS,
  WINDOW_STEPS,
} from './layout.ts';
import { type NetworkSeries, Past, Season } from './season.ts';

/** Larger distances from the centre, in scales, count as this. */
export const Z_MAX = 1e4;
/** A scale is at least this share of the mean size; more where few values are known. */
const SCALE_SHARE_MIN = 1e-3;
const SCALE_SHARE_FIRST = 0.25;
/** Newest values whose mean is the centre. */
const CENTRE_STEPS = 64;
/** Newest steps held against a period ago. */
const SKILL_STEPS = 64;
const PERIOD_STEPS_MIN = 2;
/** Newest steps that levels, slopes and correlations look at. */
const NEAR_STEPS = 160;

/** After so many steps nothing is left of a damped trend's beginning. */
const FADED_STEPS = 5000;
const LOG2 = Math.LOG2E;

function limited(value: number, most: number): number {
  return value > most ? most : value < -most ? -most : value;
}

/** Places of candidates: the slowest level, which stands in for a season, and zero load. */
const LEVEL = 3;
const ZERO = CANDIDATES - 1;
/** Features that are u of values seen: the newest, means and extremes; they come first. */
const SEEN_FEATURES = NEWEST_STEPS + MEAN_EDGES.length - 1 + MAX_WINDOWS.length + MIN_WINDOWS.length;

/** What a horizon's features hold of it whatever the series; most series are asked at the same ones. */
class HorizonTerms {
  steps: readonly number[] = [];
  /** How much of a damped trend acts: of the newest 16 steps and of 64. */
  reach16 = new Float64Array(0);
  reach64 = new Float64Array(0);
  /** Binary logarithm. */
  logs = new Float64Array(0);

  of(steps: readonly number[]): void {
    if (steps === this.steps) return;
    this.steps = steps;
    this.reach16 = Float64Array.from(steps, (ahead) => trendReach(ahead, 0.9, 9));
    this.reach64 = Float64Array.from(steps, (ahead) => trendReach(ahead, 0.98, 49));
    this.logs = Float64Array.from(steps, (ahead) => log(ahead) * LOG2);
  }
}

function trendReach(ahead: number, damping: number, most: number): number {
  return most * (1 - damping ** Math.min(ahead, FADED_STEPS));
}

/** Writes rows; holds scratch space, so one is used for many series. Not for use by two threads. */
export class FeatureWriter {
  readonly #past = new Past();
  /** z of the newest. */
  readonly #z = new Float64Array(NEAR_STEPS);
  /** Sums of the newest so many values. */
  readonly #sums = new Float64Array(WINDOW_STEPS + 1);
  /** Mean distance from the mean in the whole window, in scales. */
  #wholeDeviation = 0;
  readonly #deviation = new Float64Array(CORRELATION_STEPS);
  readonly #seasons = [new Season(), new Season()];
  #centre = 0;
  #scale = 1;
  #scaleIsKnown = true;
  #share = 1;
  #lengthLog = 0;
  /** Plain forecasts in z; those that do not depend on the horizon stay from horizon to horizon. */
  readonly #candidates = new Float64Array(CANDIDATES);
  /** u of those. */
  readonly #fixed = new Float32Array(CANDIDATES);
  /** z of the newest, of means and of extremes. */
  readonly #seen = new Float64Array(SEEN_FEATURES);
  readonly #horizons = new HorizonTerms();
  #slope16 = 0;
  #slope64 = 0;

  /**
   * Writes the context row at `contexts[c]` and one row of {@link HORIZON_WIDTH} for each horizon from `features[f]`.
   *
   * @returns the level: mean size of the known values of the window, 1 where that is 0
   */
  write(
    series: NetworkSeries,
    horizonSteps: readonly number[],
    contexts: Float32Array,
    c: number,
    features: Float32Array,
    f: number,
  ): number {
    this.#past.read(series);
    const level = this.#measure(contexts, c, features, f, horizonSteps.length);
    if (this.#past.count === 0) return 1;
    const at = this.#writeStatistics(contexts, c);
    this.#writePeriods(contexts, at);
    contexts[c + CONTEXT_FEATURES] = this.#centre / level;
    contexts[c + CONTEXT_FEATURES + 1] = this.#scaleIsKnown ? this.#scale / level : 0;
    this.#plainForecasts();
    this.#horizons.of(horizonSteps);
    for (let h = 0; h < horizonSteps.length; h++) this.#writeHorizon(h, features, f + h * HORIZON_WIDTH);
    return level;
  }

  /** Finds centre and scale. Nothing known: a row of zeros whose scale is NaN. */
  #measure(contexts: Float32Array, c: number, features: Float32Array, f: number, horizons: number): number {
    const { newest: x, count, known, size, series } = this.#past;
    if (known === 0) {
      contexts.fill(0, c, c + CONTEXT_FEATURES + 1);
      contexts[c + CONTEXT_FEATURES + 1] = Number.NaN;
      features.fill(0, f, f + horizons * HORIZON_WIDTH);
      return 1;
    }
    const sums = this.#sums;
    let sum = 0;
    for (let age = 0; age < count; age++) {
      sum += x[age]!;
      sums[age + 1] = sum;
    }
    const centreSteps = Math.min(count, CENTRE_STEPS);
    const centre = sums[centreSteps]! / centreSteps;
    const mean = sum / count;
    let deviation = 0;
    for (let age = 0; age < count; age++) deviation += Math.abs(x[age]! - mean);
    deviation /= count;
    const share = Math.max(SCALE_SHARE_MIN, SCALE_SHARE_FIRST / (count * count));
    const scale = Math.max(deviation, share * size);
    this.#centre = centre;
    // Of zeros alone no scale is known; what is written is then 0, and so is what is answered.
    this.#scale = scale > 0 ? scale : 1;
    const per = 1 / this.#scale;
    const z = this.#z;
    const near = Math.min(count, NEAR_STEPS);
    for (let age = 0; age < near; age++) z[age] = limited((x[age]! - centre) * per, Z_MAX);
    this.#wholeDeviation = deviation * per;
    this.#scaleIsKnown = scale > 0;
    this.#share = known / Math.min(WINDOW_STEPS, series.length);
    return size > 0 ? size : 1;
  }

  /** Everything of the context but the periods; returns where they go. */
  #writeStatistics(contexts: Float32Array, c: number): number {
    const z = this.#z;
    const sums = this.#sums;
    const n = this.#past.count;
    const seen = this.#seen;
    for (let age = 0; age < NEWEST_STEPS; age++) seen[age] = age < n ? z[age]! : 0;
    let place = NEWEST_STEPS;
    for (let e = 1; e < MEAN_EDGES.length; e++) {
      const from = MEAN_EDGES[e - 1]!;
      const to = Math.min(n, MEAN_EDGES[e]!);
      seen[place++] = to > from ? this.#zOf((sums[to]! - sums[from]!) / (to - from)) : 0;
    }
    this.#seeExtremes(place);
    asinhs(seen, 0, SEEN_FEATURES, contexts, c);
    let at = c + SEEN_FEATURES;
    let changes = 0;
    let age = 1;
    for (const window of CHANGE_WINDOWS) {
      for (; age < Math.min(n, window); age++) changes += Math.abs(z[age - 1]! - z[age]!);
      contexts[at++] = logShare(n > 1 ? changes / (Math.min(n, window) - 1) : 0);
    }
    for (const window of DEVIATION_WINDOWS) {
      if (n <= window || window === WINDOW_STEPS) {
        contexts[at++] = logShare(this.#wholeDeviation);
        continue;
      }
      const m = Math.min(n, window);
      const mean = this.#zOf(sums[m]! / m);
      let sum = 0;
      for (let i = 0; i < m; i++) sum += Math.abs(z[i]! - mean);
      contexts[at++] = logShare(sum / m);
    }
    const { newest } = this.#past;
    const recent = Math.min(n, 64);
    let zeros = 0;
    let same = 0;
    for (let i = 0; i < recent; i++) {
      if (newest[i] === 0) zeros++;
      if (i > 0 && newest[i] === newest[i - 1]) same++;
    }
    contexts[at++] = zeros / recent;
    contexts[at++] = recent > 1 ? same / (recent - 1) : 0;
    contexts[at++] = this.#share;
    contexts[at++] = (log(1 + n) * LOG2) / 9;
    this.#lengthLog = log(this.#past.series.length) * LOG2;
    contexts[at++] = (log(1 + this.#past.series.length) * LOG2) / 14;
    contexts[at++] = asinh(limited(-this.#centre / this.#scale, Z_MAX));
    return this.#writeCorrelation(contexts, at);
  }

  /** z of the largest and smallest values, from a place of `#seen`. */
  #seeExtremes(first: number): void {
    const { newest: x, count: n } = this.#past;
    let place = first;
    let most = x[0]!;
    let age = 1;
    for (const window of MAX_WINDOWS) {
      for (; age < Math.min(n, window); age++) if (x[age]! > most) most = x[age]!;
      this.#seen[place++] = this.#zOf(most);
    }
    let least = x[0]!;
    age = 1;
    for (const window of MIN_WINDOWS) {
      for (; age < Math.min(n, window); age++) if (x[age]! < least) least = x[age]!;
      this.#seen[place++] = this.#zOf(least);
    }
  }

  #writeCorrelation(contexts: Float32Array, at: number): number {
    const n = Math.min(this.#past.count, CORRELATION_STEPS);
    const d = this.#deviation;
    let mean = 0;
    for (let i = 0; i < n; i++) {
      d[i] = limited(this.#z[i]!, 5);
      mean += d[i]!;
    }
    mean /= n;
    let variance = 1e-9;
    for (let i = 0; i < n; i++) {
      d[i]! -= mean;
      variance += d[i]! * d[i]!;
    }
    for (const lag of CORRELATION_LAGS) {
      let sum = 0;
      for (let i = lag; i < n; i++) sum += d[i]! * d[i - lag]!;
      contexts[at++] = n > 2 * lag ? sum / variance : 0;
    }
    return at;
  }

  #writePeriods(contexts: Float32Array, start: number): void {
    const { length, periods } = this.#past.series;
    let at = start;
    for (let slot = 0; slot < PERIOD_SLOTS; slot++) {
      const season = this.#seasons[slot]!;
      const period = periods[slot] ?? 0;
      season.begin(period >= PERIOD_STEPS_MIN && Math.round(period) < length ? period : 0);
      if (season.period === 0) {
        contexts.fill(0, at, at + PERIOD_FEATURES);
        at += PERIOD_FEATURES;
        continue;
      }
      const lag = Math.round(season.period);
      const steps = Math.min(SKILL_STEPS, length - lag, this.#past.count);
      let off = 0;
      let known = 0;
      for (let age = 0; age < steps; age++) {
        const before = this.#past.at(age + lag);
        if (Number.isNaN(before)) continue;
        off += Math.abs(this.#past.newest[age]! - before);
        known++;
      }
      season.meetToday(this.#past);
      contexts[at++] = 1;
      contexts[at++] = (log(season.period) * LOG2) / 12;
      contexts[at++] = Math.min(3, log(1 + length / season.period) * LOG2) / 3;
      contexts[at++] = known > 0 ? logShare(off / known / this.#scale) : 1;
      contexts[at++] = asinh(limited(season.added / this.#scale, Z_MAX));
    }
  }

  #plainForecasts(): void {
    const z = this.#z;
    const n = this.#past.count;
    const plain = this.#candidates;
    plain[0] = z[0]!;
    plain[1] = this.#level(2, 16);
    plain[2] = this.#level(8, 48);
    plain[3] = this.#level(32, NEAR_STEPS);
    const m = Math.min(n, 128);
    let mean = 0;
    for (let age = 0; age < m; age++) mean += z[age]!;
    plain[4] = mean / m;
    plain[ZERO] = limited(-this.#centre / this.#scale, Z_MAX);
    asinhs(plain, 0, 5, this.#fixed, 0);
    asinhs(plain, ZERO, CANDIDATES, this.#fixed, ZERO);
    this.#slope16 = this.#slope(16);
    this.#slope64 = this.#slope(64);
  }

  /** Exponential level of a half-life, begun with the mean of the oldest eighth. */
  #level(halfLifeSteps: number, steps: number): number {
    const n = Math.min(this.#past.count, steps);
    const keep = 0.5 ** (1 / halfLifeSteps);
    let sum = 0;
    let weights = 0;
    let weight = 1;
    for (let age = 0; age < n; age++) {
      sum += weight * this.#z[age]!;
      weights += weight;
      weight *= keep;
    }
    return sum / weights;
  }

  /** Least squares slope a step over the newest `steps`; 0 for fewer than 4 known. */
  #slope(steps: number): number {
    const n = Math.min(this.#past.count, steps);
    if (n < 4) return 0;
    const middle = (n - 1) / 2;
    let sum = 0;
    for (let age = 0; age < n; age++) sum += (middle - age) * this.#z[age]!;
    return (sum * 12) / (n * (n * n - 1));
  }

  #writeHorizon(h: number, features: Float32Array, f: number): void {
    const ahead = this.#horizons.steps[h]!;
    const plain = this.#candidates;
    const rest = f + CANDIDATES;
    const [first, second] = this.#seasons as [Season, Season];
    plain[5] = limited(plain[1]! + this.#slope16 * this.#horizons.reach16[h]!, Z_MAX);
    plain[6] = limited(plain[2]! + this.#slope64 * this.#horizons.reach64[h]!, Z_MAX);
    let most = Number.NaN;
    if (first.period > 0) {
      most = first.largest(this.#past, ahead);
      first.lookUp(this.#past, ahead);
    } else first.profile = Number.NaN;
    const hasFirst = !Number.isNaN(first.profile);
    if (hasFirst) {
      plain[7] = this.#zOf(!Number.isNaN(first.naive) ? first.naive : first.profile);
      plain[8] = this.#zOf(first.profile);
      plain[9] = this.#zOf(first.profile + first.added);
      plain[10] = this.#zOf(first.profile * first.scaled);
    } else for (let i = 7; i < 11; i++) plain[i] = plain[LEVEL]!;
    if (second.period > 0) second.lookUp(this.#past, ahead);
    else second.profile = Number.NaN;
    const hasSecond = !Number.isNaN(second.profile);
    if (hasSecond) {
      plain[11] = this.#zOf(!Number.isNaN(second.naive) ? second.naive : second.profile);
      plain[12] = this.#zOf(second.profile);
      plain[13] = this.#zOf(second.profile + second.added);
    } else for (let i = 11; i < 14; i++) plain[i] = plain[i - 4]!;
    for (let i = 0; i < CANDIDATES; i++) {
      features[f + HORIZON_FEATURES + i] = plain[i]!;
      features[f + i] = this.#fixed[i]!;
    }
    // What stands in for a season is the same as it stands for.
    const told = hasSecond ? ZERO : hasFirst ? 11 : 7;
    asinhs(plain, 5, told, features, f + 5);
    for (let i = told; i < ZERO; i++) features[f + i] = i < 11 ? this.#fixed[LEVEL]! : features[f + i - 4]!;
    features[rest] = spreadFeature(hasFirst, first, this.#scale);
    features[rest + 1] = hasFirst ? 1 : 0;
    features[rest + 2] = spreadFeature(hasSecond, second, this.#scale);
    features[rest + 3] = hasSecond ? 1 : 0;
    features[rest + 4] = hasFirst && !Number.isNaN(most) ? asinh(this.#zOf(most)) : this.#fixed[LEVEL]!;
    const aheadLog = this.#horizons.logs[h]!;
    features[rest + 5] = aheadLog / 10;
    features[rest + 6] = first.period > 0 ? Math.min(4, ahead / first.period) / 4 : 0;
    features[rest + 7] = limited((aheadLog - this.#lengthLog) / 8, 2);
    features[rest + 8] = second.period > 0 ? Math.min(4, ahead / second.period) / 4 : 0;
  }

  #zOf(value: number): number {
    return Number.isNaN(value) ? 0 : limited((value - this.#centre) / this.#scale, Z_MAX);
  }
}

/** Natural logarithm of a size in scales, about -7 to 7, halved. */
function logShare(size: number): number {
  return limited(log(size + 1e-6) / 2, 7);
}

/** How far the cycles lie apart at a horizon; 1 where that is not known. */
function spreadFeature(has: boolean, season: Season, scale: number): number {
  return has && !Number.isNaN(season.spread) ? logShare(season.spread / scale) : 1;
}
