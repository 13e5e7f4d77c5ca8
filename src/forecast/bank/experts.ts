/**
 * The experts of every series: what each holds in the row, how it learns a step, what it answers.
 *
 * Levels and the mean are robust (a step moves them by at most a few usual errors), so that a spike is an event and not a
 * new level. Seasonal experts look the past up in the rings, so that a period found later needs no relearning.
 *
 * Invariants: an answer is finite or NaN ("I cannot say yet"); finite ones lie within the clamps, so no mixture of them
 * explodes.
 */

import { within } from '../within.ts';
import { BLEND, F, type Row } from './layout.ts';
import { learnResiduals, residualAhead } from './residual.ts';
import { around, overCycles } from './rings.ts';

/** Half-lives of the levels in steps; the last value is the fastest of the four rates. */
const LEVEL_RATES = [3, 12, 60].map((halfLife) => 1 - 2 ** (-1 / halfLife));
const MEAN_RATE = 1 - 2 ** (-1 / 400);
/** Damped Holt (Gardner and McKenzie 1985): half-life of the level, and what of the trend survives a step. */
const TRENDS = [
  { rate: 1 - 2 ** (-1 / 4), damping: 0.88 },
  { rate: 1 - 2 ** (-1 / 16), damping: 0.97 },
].map((trend) => ({
  ...trend,
  /** By steps, as far as it grows in 64 bits. */
  reach: Float64Array.from({ length: 2048 }, (_, ahead) => trendSum(trend.damping, ahead)),
}));
const [TREND_FAST, TREND_SLOW] = TRENDS as [(typeof TRENDS)[number], (typeof TRENDS)[number]];
const GAP_RATE = 1 - 2 ** (-1 / 6);
const RATIO_KEEP = 2 ** (-1 / 12);
const LONG_GAP_RATE = 1 - 2 ** (-1 / 24);
const NOISE_FAST_RATE = 1 - 2 ** (-1 / 12);
const NOISE_SLOW_RATE = 1 - 2 ** (-1 / 300);
/** A step moves the slower levels by at most so many usual errors. */
const INNOVATION_MAX = 3;
/** What was highest or lowest loses so much of its distance from the mean in a step: clamps follow a shrunken load. */
const EXTREME_KEEP = 1 - 1 / 4000;
/** Forecasts stay within so many times the range that was seen, beyond it. */
const CLAMP_ABOVE = 2;
const RATIO_MAX = 4;
const HOUR_S = 3600;
/** Whatever a load's rhythm, people make jobs begin on the hour: it is told apart in so many steps or more. */
const HOUR_STEPS_MIN = 4;
/** Half width of the profile's smoothing as a share of the period. */
const PROFILE_WIDTH = 1 / 64;

/** Mean of past cycles at this phase, smoothed but for edges; NaN before one is known. */
function profile(row: Row, period: number, ahead: number, smooth: number): number {
  if (period < 2) return Number.NaN;
  return overCycles(row, period, ageAhead(period, ahead), Math.max(0.5, smooth * PROFILE_WIDTH));
}

/** The newest step of the phase to come is so many steps ago. */
function ageAhead(period: number, ahead: number): number {
  return period * Math.ceil(ahead / period) - ahead;
}

/** The value one whole number of periods before a step ahead. */
export function season(row: Row, period: number, ahead: number): number {
  return period < 2 ? Number.NaN : around(row, ageAhead(period, ahead));
}

/** What the seasonal experts expected of the step that comes next; call before it is pushed. */
export interface SeasonNow {
  profile: number;
  season: number;
  long: number;
}

export function seasonNow(row: Row, into: SeasonNow): void {
  const { floats, f } = row;
  const a = floats[f + F.periodA]!;
  into.profile = profile(row, a, 1, a);
  into.season = season(row, a, 1);
  into.long = profile(row, floats[f + F.periodB]!, 1, a);
}

/** Learns a value, in units of the scale; `now` is what {@link seasonNow} said before. */
export function learn(row: Row, value: number, now: SeasonNow): void {
  const { floats: x, f } = row;
  const known = x[f + F.known]! + 1;
  x[f + F.known] = known;
  if (known === 1) {
    x[f + F.last] = value;
    for (let i = 0; i < 3; i++) x[f + F.levels + i] = value;
    x[f + F.mean] = value;
    x[f + F.trends] = value;
    x[f + F.trends + 2] = value;
    x[f + F.highest] = value;
    x[f + F.lowest] = value;
    return;
  }
  learnResiduals(row, value, now);
  const distance = value - x[f + F.levels + 1]!;
  const far = Math.abs(distance);
  const rateSlow = Math.max(NOISE_SLOW_RATE, 1 / known);
  // The first steps say little of what is usual: nothing is clipped by them.
  const usual = known < 8 ? Number.POSITIVE_INFINITY : x[f + F.noiseSlow]! + 1e-6;
  const limit = INNOVATION_MAX * usual;
  const clipped = far > limit * 3 ? limit * 3 : far;
  x[f + F.noiseFast]! += Math.max(NOISE_FAST_RATE, 1 / known) * (clipped - x[f + F.noiseFast]!);
  x[f + F.noiseSlow]! += rateSlow * (clipped - x[f + F.noiseSlow]!);
  x[f + F.last] = value;
  for (let i = 0; i < 3; i++) {
    const at = f + F.levels + i;
    let step = value - x[at]!;
    if (i > 0) step = step > limit ? limit : step < -limit ? -limit : step;
    x[at]! += Math.max(LEVEL_RATES[i]!, 1 / known) * step;
  }
  const off = value - x[f + F.mean]!;
  const wide = known < 8 ? Number.POSITIVE_INFINITY : INNOVATION_MAX * (x[f + F.deviation]! + 1e-6);
  const meanRate = Math.max(Math.min(MEAN_RATE, 0.5 / x[f + F.periodA]!), 1 / known);
  x[f + F.mean]! += meanRate * (off > wide ? wide : off < -wide ? -wide : off);
  x[f + F.deviation]! += meanRate * (Math.min(Math.abs(off), wide * 2) - x[f + F.deviation]!);
  for (let i = 0; i < 2; i++) {
    const { rate, damping } = TRENDS[i]!;
    const at = f + F.trends + 2 * i;
    const expected = x[at]! + damping * x[at + 1]!;
    let step = value - expected;
    step = step > limit ? limit : step < -limit ? -limit : step;
    const level = expected + rate * step;
    x[at + 1] = damping * x[at + 1]! + rate * 0.5 * rate * step;
    x[at] = level;
  }
  if (!Number.isNaN(now.profile)) {
    const gap = value - now.profile;
    x[f + F.gap]! += GAP_RATE * ((gap > limit ? limit : gap < -limit ? -limit : gap) - x[f + F.gap]!);
    x[f + F.seen] = RATIO_KEEP * x[f + F.seen]! + value;
    x[f + F.expected] = RATIO_KEEP * x[f + F.expected]! + now.profile;
  }
  if (!Number.isNaN(now.season)) {
    const gap = value - now.season;
    x[f + F.seasonGap]! +=
      GAP_RATE * ((gap > limit ? limit : gap < -limit ? -limit : gap) - x[f + F.seasonGap]!);
  }
  if (!Number.isNaN(now.long)) {
    const gap = value - now.long;
    x[f + F.longGap]! +=
      LONG_GAP_RATE * ((gap > limit ? limit : gap < -limit ? -limit : gap) - x[f + F.longGap]!);
  }
  const mean = x[f + F.mean]!;
  x[f + F.highest] = Math.max(value, mean + EXTREME_KEEP * (x[f + F.highest]! - mean));
  x[f + F.lowest] = Math.min(value, mean + EXTREME_KEEP * (x[f + F.lowest]! - mean));
}

/** Highest and lowest that any answer may be. */
export function clampHigh(row: Row): number {
  const high = row.floats[row.f + F.highest]!;
  const low = row.floats[row.f + F.lowest]!;
  return high + CLAMP_ABOVE * Math.max(high - low, Math.abs(high) * 0.5);
}

export function clampLow(row: Row): number {
  const high = row.floats[row.f + F.highest]!;
  const low = row.floats[row.f + F.lowest]!;
  // A load that was never negative never will be.
  return low >= 0 ? 0 : low - CLAMP_ABOVE * Math.max(high - low, Math.abs(low) * 0.5);
}

/** Of the experts, the first so many say the same at every horizon. */
export const LEVELS = 5;

/** Those up to here look back no period. */
const SEASONLESS = 7;

/** So many of a row's experts, from the first, may have something to say: before a period has passed no seasonal one has. */
export function speakers(row: Row): number {
  const { floats: x, f, layout } = row;
  const length = x[f + F.length]!;
  const seasonal = length > x[f + F.periodA]! || length > x[f + F.periodB]!;
  return seasonal || layout.experts > BLEND ? layout.experts : SEASONLESS;
}

/** Their answers; the others' follow with {@link predictAhead}. */
export function predictLevels(row: Row, out: Float64Array): void {
  const { floats: x, f } = row;
  const high = clampHigh(row);
  const low = clampLow(row);
  out[0] = x[f + F.last]!;
  for (let i = 0; i < 3; i++) out[1 + i] = x[f + F.levels + i]!;
  out[4] = x[f + F.mean]!;
  for (let e = 0; e < LEVELS; e++) {
    const answer = out[e]!;
    if (answer > high) out[e] = high;
    else if (answer < low) out[e] = low;
  }
  // Asked once the others' mixture is known; until then it counts as an answer, of whatever value.
  if (row.layout.blendAt >= 0) out[BLEND] = out[0]!;
}

/** All experts' answers `ahead` steps from the newest; NaN from those that cannot say. */
export function predict(row: Row, ahead: number, out: Float64Array): void {
  predictLevels(row, out);
  predictAhead(row, ahead, out);
}

/** Sum of what a damped trend adds in so many steps. */
function trendSum(damping: number, ahead: number): number {
  return (damping * (1 - damping ** ahead)) / (1 - damping);
}

/** How much of a trend acts in so many steps: looked up where they are whole, since powers are dear. */
function trendReach({ damping, reach }: (typeof TRENDS)[number], ahead: number): number {
  const whole = ahead | 0;
  if (whole === ahead && whole < reach.length) return reach[whole]!;
  return ahead >= reach.length ? damping / (1 - damping) : trendSum(damping, ahead);
}

/** Answers of the experts that depend on the horizon. */
export function predictAhead(row: Row, ahead: number, out: Float64Array): void {
  const { floats: x, f } = row;
  const high = clampHigh(row);
  const low = clampLow(row);
  out[5] = within(x[f + F.trends]! + x[f + F.trends + 1]! * trendReach(TREND_FAST, ahead), low, high);
  out[6] = within(x[f + F.trends + 2]! + x[f + F.trends + 3]! * trendReach(TREND_SLOW, ahead), low, high);
  let usual = Number.NaN;
  let long = Number.NaN;
  const a = x[f + F.periodA]!;
  if (a >= 2 && x[f + F.length]! > a) {
    const before = season(row, a, ahead);
    usual = profile(row, a, ahead, a);
    const expected = x[f + F.expected]!;
    const ratio = expected > 1e-6 ? (x[f + F.seen]! + 0.02) / (expected + 0.02) : 1;
    out[7] = within(before, low, high);
    out[8] = within(usual, low, high);
    out[9] = within(usual + x[f + F.gap]!, low, high);
    out[10] = within(usual * within(ratio, 1 / RATIO_MAX, RATIO_MAX), low, high);
    out[13] = within(before + x[f + F.seasonGap]!, low, high);
  } else {
    out[7] = out[8] = out[9] = out[10] = out[13] = Number.NaN;
  }
  const b = x[f + F.periodB]!;
  if (b >= 2 && x[f + F.length]! > b) {
    long = profile(row, b, ahead, a);
    out[11] = within(long, low, high);
    out[12] = within(long + x[f + F.longGap]!, low, high);
  } else {
    out[11] = out[12] = Number.NaN;
  }
  if (row.layout.residualAt < 0) return;
  out[15] = within(x[f + F.mean]! + residualAhead(row, 0, ahead), low, high);
  out[16] = within(usual + residualAhead(row, 1, ahead), low, high);
  out[17] = within(long + residualAhead(row, 2, ahead), low, high);
  const last = x[f + F.last]!;
  if (Number.isNaN(usual)) out[18] = out[19] = Number.NaN;
  else {
    const sharp = overCycles(row, a, ageAhead(a, ahead), 0);
    out[18] = within(last + sharp - overCycles(row, a, a, 0), low, high);
    out[19] = within(sharp, low, high);
  }
  const hour = HOUR_S / row.layout.stepS;
  const told = hour >= HOUR_STEPS_MIN && ahead <= 2 * hour && x[f + F.length]! >= 2 * hour;
  out[20] = Number.NaN;
  if (!told) return;
  const change = overCycles(row, hour, ageAhead(hour, ahead), 0) - overCycles(row, hour, hour, 0);
  out[20] = within(last + change, low, high);
}
