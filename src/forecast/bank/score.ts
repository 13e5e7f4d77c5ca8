/**
 * Answers held against what came: each expert's loss at each horizon, the mixture's errors, the bands' losses, and the
 * level at which a band must be asked for so that what it promises holds (adaptive conformal inference: Gibbs and
 * Candes 2021).
 *
 * A slot holds what was answered at one step for one bucket of horizons until its truth comes.
 */

import { log, power } from '../powers.ts';
import { blendAnswer, learnBlend } from './blend.ts';
import { clampHigh, clampLow, predict } from './experts.ts';
import { fromHalf, MISSING, sizeOf, toHalf, toSize } from './halves.ts';
import { addError, errorQuantiles, exponentialBins } from './histogram.ts';
import {
  BINS,
  BLEND,
  BUCKET_STEPS,
  BUCKETS,
  C,
  COUNT_MAX,
  EXPERT_PERIOD,
  EXPERTS,
  F,
  KINDS,
  QUANTILES,
  type Row,
} from './layout.ts';
import { keepOutside, settleOutside } from './outside.ts';
import { EXPERT_PRIOR, SPREAD_PRIOR } from './priors.ts';

/** What was tuned on public series (`bench/forecast`), in one place. */
export const TUNED = {
  /** Scores that the prior loss of an expert is worth, and those after which an old one weighs little. */
  lossPrior: 6,
  lossMemory: 70,
  /** Losses nearer than this share of the usual deviation are the same. */
  lossFloor: 0.01,
  /** Samples that the prior of an error distribution is worth: its shape is stable, it is the spread that moves. */
  bandPrior: 400,
  bandMemory: 300,
  valuePrior: 30,
  valueMemory: 700,
  /** Scores over which the mean error at a horizon is averaged. */
  spreadMemory: 600,
  /** Spread follows the noise of now, and the forecast's level against the usual, to these powers at first. */
  noisePower: 0.3,
  levelPower: 0.15,
  /** Step with which a row learns powers of its own, per score. */
  levelPowerRate: 0.004,
  noisePowerRate: 0.01,
  /** Share of the usual deviation that a spread has at least. */
  spreadFloor: 0.02,
  /** Step of the adaptive conformal level, per score. */
  conformRate: 0.001,
  kindFloor: 0.01,
  /** Share of the errors' own median that moves p50. */
  medianShift: 0.5,
  windowPrior: 12,
  /** Spreads above the path at which its highest point is looked for. */
  windowLift: 1,
};

const LEVELS = Float64Array.from(QUANTILES);
/** How much of the noise of now is still there at a bucket. */
const FOLLOWED = BUCKET_STEPS.map((steps) => 1 / (1 + 0.1 * steps));
const ERROR_PRIOR = exponentialBins(0, 1, 1);
const VALUE_PRIOR = exponentialBins(-0.2, 1, 1);

/** What a unit of the moved levels of p90 and p99 is: their ranges, see `settle`, fit 16 bits. */
const CONFORM_UNITS = [4e-6, 5e-7] as const;
/** Multiples of it, less their whole parts, are spread evenly. */
const GOLDEN = (Math.sqrt(5) - 1) / 2;

/** An error counts as at most so many spreads where powers are learnt, and its mean is learnt at this rate. */
const ERROR_MAX = 4;
const ERROR_MEAN_RATE = 0.003;
const LEVEL_POWER_RANGE = [-0.3, 1] as const;
const NOISE_POWER_RANGE = [0, 1] as const;

/** Scratch of one thread: nothing in it outlives a call. */
const answers = new Float64Array(EXPERTS + 8);
const weights = new Float64Array(EXPERTS + 8);
const quantiles = new Float64Array(3);
const valueQuantiles = new Float64Array(3);
const asked = new Float64Array(3);
const periodRates = new Float64Array(3);
/** Scores that the guess about a newcomer is worth. */
const NEWCOMER_PRIOR = 2;

/** Weights of the experts at a bucket into `out`; NaN answers have none. */
export function weightsAt(row: Row, bucket: number, into: Float64Array, from: ArrayLike<number>): void {
  const { codes, layout } = row;
  const at = row.c + C.losses + bucket * layout.experts;
  let least = 0xffff;
  // Losses are not below zero: their codes ascend as they do.
  for (let e = 0; e < layout.experts; e++)
    if (!Number.isNaN(from[e]!) && codes[at + e]! < least) least = codes[at + e]!;
  const slack = 1e-5 + TUNED.lossFloor * row.floats[row.f + F.deviation]!;
  const floor = slack + sizeOf(least);
  let sum = 0;
  for (let e = 0; e < layout.experts; e++) {
    if (Number.isNaN(from[e]!)) {
      into[e] = 0;
      continue;
    }
    // To the power of 10, by squares: this is asked hundreds of times a second and series.
    const ratio = floor / (sizeOf(codes[at + e]!) + slack);
    const fourth = ratio * ratio * ratio * ratio;
    const eighth = fourth * fourth;
    const weight = eighth * ratio * ratio;
    into[e] = weight;
    sum += weight;
  }
  const per = 1 / sum;
  for (let e = 0; e < layout.experts; e++) into[e]! *= per;
}

/**
 * The mixture at a bucket. The regression is asked with the others' mixture as its start, then weighs in as one of them;
 * its answer is written to `from`.
 */
export function mixAt(row: Row, bucket: number, from: Float64Array): number {
  const blends = row.layout.blendAt >= 0;
  if (blends) from[BLEND] = Number.NaN;
  weightsAt(row, bucket, weights, from);
  const first = weighted(row.layout.experts, from, weights);
  if (!blends) return first;
  const answer = blendAnswer(row, bucket, from, first);
  const high = clampHigh(row);
  const low = clampLow(row);
  from[BLEND] = answer > high ? high : answer < low ? low : answer;
  weightsAt(row, bucket, weights, from);
  return weighted(row.layout.experts, from, weights);
}

/** The mixture of all but the regression. */
function firstMix(row: Row, bucket: number, from: Float64Array): number {
  const answer = from[BLEND]!;
  from[BLEND] = Number.NaN;
  weightsAt(row, bucket, weights, from);
  from[BLEND] = answer;
  return weighted(row.layout.experts, from, weights);
}

function weighted(experts: number, from: ArrayLike<number>, by: ArrayLike<number>): number {
  let sum = 0;
  for (let e = 0; e < experts; e++) if (by[e]! > 0) sum += by[e]! * from[e]!;
  return sum;
}

/** Mean absolute error of the mixture at a bucket, as the noise of now has it. */
export function usualSpread(row: Row, bucket: number): number {
  const { floats: x, f } = row;
  const slow = x[f + F.noiseSlow]! + 1e-6;
  const count = row.codes[row.c + C.scores + bucket]!;
  const guess = slow * SPREAD_PRIOR[bucket]!;
  const usual = (count * x[f + F.spread + bucket]! + 4 * guess) / (count + 4);
  const followed = TUNED.noisePower + x[f + F.noisePower]!;
  return usual * power(noiseNow(row), followed * FOLLOWED[bucket]!);
}

/** Noise of now against the usual. */
function noiseNow(row: Row): number {
  const { floats: x, f } = row;
  const slow = x[f + F.noiseSlow]! + 1e-6;
  return Math.max(0.2, Math.min(5, (x[f + F.noiseFast]! + 0.1 * slow) / (1.1 * slow)));
}

/** A forecast's level against the usual. */
function levelOf(row: Row, base: number): number {
  const { floats: x, f } = row;
  const slow = x[f + F.noiseSlow]! + 1e-6;
  return Math.max(0.2, Math.min(5, (Math.abs(base) + slow) / (Math.abs(x[f + F.mean]!) + slow)));
}

/** Learns how the spread follows level and noise, by steps down the gradient of a double exponential's likelihood. */
function learnPowers(row: Row, bucket: number, error: number, base: number): void {
  const { floats: x, f } = row;
  const off = Math.min(ERROR_MAX, Math.abs(error)) - 1 - x[f + F.errorMean]!;
  x[f + F.errorMean]! += ERROR_MEAN_RATE * off;
  const level = log(levelOf(row, base));
  const toLevel = (TUNED.levelPowerRate / (1 + level * level)) * off * level;
  x[f + F.levelPower] = within(x[f + F.levelPower]! + toLevel, TUNED.levelPower, LEVEL_POWER_RANGE);
  // Only one step on is the noise of now still that of then.
  if (bucket > 0) return;
  const noise = log(noiseNow(row));
  const toNoise = (TUNED.noisePowerRate / (1 + noise * noise)) * off * noise;
  x[f + F.noisePower] = within(x[f + F.noisePower]! + toNoise, TUNED.noisePower, NOISE_POWER_RANGE);
}

/** What is learnt on top of `first`, so that both together stay in the range. */
function within(learnt: number, first: number, [least, most]: readonly [number, number]): number {
  return Math.max(least - first, Math.min(most - first, learnt));
}

/** Spread follows the forecast's level: what is foreseen high may err more. */
export function spreadFor(row: Row, usual: number, base: number): number {
  const { floats: x, f } = row;
  return (
    usual * power(levelOf(row, base), TUNED.levelPower + x[f + F.levelPower]!) +
    1e-5 +
    TUNED.spreadFloor * x[f + F.deviation]!
  );
}

export function spreadAt(row: Row, bucket: number, base: number): number {
  return spreadFor(row, usualSpread(row, bucket), base);
}

/** Quantiles of the realised errors at a bucket, in spreads. */
export function errorsAt(row: Row, bucket: number, levels: ArrayLike<number>, out: Float64Array): void {
  errorQuantiles(
    row.bytes,
    row.b + row.layout.binsAt + bucket * BINS,
    ERROR_PRIOR,
    TUNED.bandPrior,
    levels,
    out,
  );
  out[0] = TUNED.medianShift * out[0]!;
}

/** Quantiles of the values of late, whatever the horizon, in units of the scale. */
export function valuesAt(row: Row, out: Float64Array): void {
  const { floats: x, f, bytes, b, layout } = row;
  errorQuantiles(bytes, b + layout.binsAt + BUCKETS * BINS, VALUE_PRIOR, TUNED.valuePrior, LEVELS, out);
  const mean = x[f + F.mean]!;
  const deviation = x[f + F.deviation]! + 1e-5;
  for (let q = 0; q < 3; q++) out[q] = mean + deviation * out[q]!;
}

/** Levels to ask for at a bucket: those promised, moved by what was realised. */
export function levelsAt(row: Row, bucket: number, into: Float64Array): void {
  into[0] = 0.5;
  into[1] = 0.9 + movedBy(row, bucket, 1);
  into[2] = 0.99 + movedBy(row, bucket, 2);
}

/** How far the level of p90 (1) or p99 (2) is moved at a bucket. */
function movedBy(row: Row, bucket: number, q: number): number {
  return ((row.codes[row.c + C.conform + 2 * bucket + q - 1]! << 16) >> 16) * CONFORM_UNITS[q - 1]!;
}

/** Share of the first kind at a bucket and quantile. */
export function kindShare(row: Row, bucket: number, q: number): number {
  // The median of all that was seen is no forecast: it would only pull the mixture to the middle.
  if (q === 0) return 1;
  const at = row.c + C.kindLoss + (bucket * 2 + q - 1) * KINDS;
  const slack = 1e-6 + TUNED.kindFloor * row.floats[row.f + F.deviation]!;
  const errors = sizeOf(row.codes[at]!) + slack;
  const values = sizeOf(row.codes[at + 1]!) + slack;
  // To the power of 20.
  const square = (errors / values) * (errors / values);
  const fourth = square * square;
  return 1 / (1 + fourth * fourth * fourth * fourth * fourth);
}

/** Answers the whole bucket's question and keeps it for later, where a slot is free at this step. */
export function makeSlots(
  row: Row,
  externals: (ahead: number, out: Float64Array) => void,
  outside: (expert: number, ahead: number) => ArrayLike<number> | undefined,
): void {
  const { layout, floats: x, f, codes, c } = row;
  const length = x[f + F.length]!;
  for (let b = 0; b < BUCKETS; b++) {
    const stride = layout.slotStride[b]!;
    if (length % stride !== 0) continue;
    const at = c + layout.slotAt[b]! + ((length / stride) % layout.slots[b]!) * layout.slotCodes;
    predict(row, BUCKET_STEPS[b]!, answers);
    if (layout.experts > layout.own) externals(BUCKET_STEPS[b]!, answers);
    const base = mixAt(row, b, answers);
    for (let e = 0; e < layout.experts; e++) codes[at + e] = toHalf(answers[e]!);
    const spread = spreadAt(row, b, base);
    levelsAt(row, b, asked);
    errorsAt(row, b, asked, quantiles);
    const after = at + layout.experts;
    codes[after] = toHalf(base);
    codes[after + 1] = toHalf(spread);
    for (let q = 1; q < 3; q++) codes[after + 1 + q] = toHalf(base + spread * quantiles[q]!);
    if (layout.outside > 0) codes[after + 4] = toHalf(base + spread * quantiles[0]!);
    for (let i = 0; i < layout.outside; i++) keepOutside(row, at, i, outside(i, BUCKET_STEPS[b]!));
  }
}

/** At a missing step nothing is answered: what a slot held is of another time. */
export function clearSlots(row: Row): void {
  const { layout, floats: x, f, codes, c } = row;
  const length = x[f + F.length]!;
  for (let b = 0; b < BUCKETS; b++) {
    const stride = layout.slotStride[b]!;
    if (length % stride !== 0) continue;
    const at = c + layout.slotAt[b]! + ((length / stride) % layout.slots[b]!) * layout.slotCodes;
    codes[at + layout.experts] = MISSING;
  }
}

/** Holds what was answered for this step against its value. Call before the step is pushed. */
export function settle(row: Row, value: number): void {
  const { layout, floats: x, f, codes, c, bytes, b: firstByte } = row;
  const length = x[f + F.length]! + 1;
  let valuesKnown = false;
  for (let b = 0; b < BUCKETS; b++) {
    const from = length - BUCKET_STEPS[b]!;
    const stride = layout.slotStride[b]!;
    if (from < 1 || from % stride !== 0) continue;
    const at = c + layout.slotAt[b]! + ((from / stride) % layout.slots[b]!) * layout.slotCodes;
    const baseCode = codes[at + layout.experts]!;
    if (baseCode === MISSING) continue;
    const after = at + layout.experts;
    const count = codes[c + C.scores + b]!;
    codes[c + C.scores + b] = count + 1 < COUNT_MAX ? count + 1 : COUNT_MAX - 4 + ((count + 1) % 4);
    const rate = Math.max(1 / TUNED.lossMemory, 1 / (count + 1 + TUNED.lossPrior));
    const losses = c + C.losses + b * layout.experts;
    const base = fromHalf(baseCode);
    const made = fromHalf(codes[after + 1]!);
    const baseLoss = Math.abs(value - base);
    newcomerRates(row, b, rate);
    for (let e = 0; e < layout.experts; e++) {
      const answer = fromHalf(codes[at + e]!);
      answers[e] = answer;
      // Who could not say yet is taken for a little worse than the mixture.
      const loss = !Number.isNaN(answer) ? Math.abs(value - answer) : baseLoss * 1.1;
      const before = sizeOf(codes[losses + e]!);
      codes[losses + e] = toSize(
        count === 0
          ? loss * 0.3 + baseLoss * 0.7 * EXPERT_PRIOR[b]![e < layout.own ? e : 0]!
          : before + periodRates[e < layout.own ? EXPERT_PERIOD[e]! : 0]! * (loss - before),
      );
    }
    if (layout.blendAt >= 0) learnBlend(row, b, answers, firstMix(row, b, answers), value, made);
    const own = f + F.spread + b;
    if (count > 8 && made > 0) learnPowers(row, b, (value - base) / made, base);
    const cut = count < 8 ? baseLoss : Math.min(baseLoss, 6 * x[own]! + 1e-5);
    x[own]! += Math.max(1 / TUNED.spreadMemory, 1 / (count + 1)) * (cut - x[own]!);
    addError(bytes, firstByte + layout.binsAt + b * BINS, (value - base) / made, TUNED.bandMemory);
    if (!valuesKnown) {
      valuesKnown = true;
      valuesAt(row, valueQuantiles);
    }
    if (layout.outside > 0)
      settleOutside(row, b, at, 0, value, pinball(value, fromHalf(codes[after + 4]!), LEVELS[0]!));
    for (let q = 1; q < 3; q++) {
      const level = LEVELS[q]!;
      const kinds = c + C.kindLoss + (b * 2 + q - 1) * KINDS;
      const errors = fromHalf(codes[after + 1 + q]!);
      learnSize(codes, kinds, rate, pinball(value, errors, level));
      learnSize(codes, kinds + 1, rate, pinball(value, valueQuantiles[q]!, level));
      const share = kindShare(row, b, q);
      const given = share * errors + (1 - share) * valueQuantiles[q]!;
      settleOutside(row, b, at, q, value, pinball(value, given, level));
      const above = value > given ? 1 : 0;
      const moved = movedBy(row, b, q) + TUNED.conformRate * (above - (1 - level)) * (q === 2 ? 0.3 : 1);
      const most = q === 1 ? 0.06 : 0.008;
      const bounded = moved > most ? most : moved < -2 * most ? -2 * most : moved;
      // Rounded up as often as its part of a unit says, so that many small steps add up to what they are.
      codes[c + C.conform + 2 * b + q - 1] = Math.floor(
        bounded / CONFORM_UNITS[q - 1]! + ((length * GOLDEN) % 1),
      );
    }
  }
  const known = x[f + F.known]!;
  if (known >= 4) {
    const deviation = x[f + F.deviation]! + 1e-5;
    addError(
      bytes,
      firstByte + layout.binsAt + BUCKETS * BINS,
      (value - x[f + F.mean]!) / deviation,
      TUNED.valueMemory,
    );
  }
}

function learnSize(codes: Uint16Array, at: number, rate: number, value: number): void {
  const before = sizeOf(codes[at]!);
  codes[at] = toSize(before + rate * (value - before));
}

/**
 * How fast losses are learnt, by the period an expert looks back by. One that could not say before learns as fast as all
 * did at first: what it was taken for until then was a guess, and a season found is believed within hours, not days.
 */
function newcomerRates(row: Row, bucket: number, rate: number): void {
  const { floats: x, f, layout } = row;
  const length = x[f + F.length]!;
  const stride = layout.slotStride[bucket]!;
  periodRates[0] = rate;
  const first = Math.max(x[f + F.periodA]!, x[f + F.periodFrom]!);
  const second = x[f + F.periodB]!;
  for (let period = 1; period <= 2; period++) {
    const from = (period === 1 ? first : second) + BUCKET_STEPS[bucket]!;
    const scores = length < from ? Number.POSITIVE_INFINITY : (length - from) / stride;
    periodRates[period] = Math.max(rate, 1 / (scores + 1 + NEWCOMER_PRIOR));
  }
}

export function pinball(value: number, quantile: number, level: number): number {
  const off = value - quantile;
  return off > 0 ? level * off : (level - 1) * off;
}

export function clampTo(row: Row, value: number): number {
  const high = clampHigh(row);
  const low = clampLow(row);
  return value > high ? high : value < low ? low : value;
}
