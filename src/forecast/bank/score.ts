/**
 * Answers held against what came: each expert's loss at each horizon, the mixture's errors, the bands' losses, and the
 * level at which a band must be asked for so that what it promises holds (adaptive conformal inference: Gibbs and
 * Candes 2021).
 *
 * A slot holds what was answered at one step for one bucket of horizons until its truth comes.
 */

import { within } from '../within.ts';
import { BLEND_TUNED, blendAnswer, learnBlend } from './blend.ts';
import { clampHigh, clampLow, predict, speakers } from './experts.ts';
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
  VALUE_BINS_AT,
} from './layout.ts';
import { keepOutside, settleOutside } from './outside.ts';
import { EXPERT_PRIOR } from './priors.ts';
import { valueAt } from './rings.ts';
import { learnPowers, spreadsFor, usualSpreads } from './spread.ts';
import { TUNED } from './tuned.ts';

const LEVELS = Float64Array.from(QUANTILES);
const ERROR_PRIOR = exponentialBins(0, 1, 1, TUNED.bandPrior);
const VALUE_PRIOR = exponentialBins(-0.2, 1, 1, TUNED.valuePrior);

/** What a unit of the moved levels of p90 and p99 is: their ranges, see `settle`, fit 16 bits. */
const CONFORM_UNITS = [4e-6, 5e-7] as const;
/** Multiples of it, less their whole parts, are spread evenly. */
const GOLDEN = (Math.sqrt(5) - 1) / 2;

/** Scratch of one thread: nothing in it outlives a call. */
const answers = new Float64Array(EXPERTS + 16);
const weights = new Float64Array(EXPERTS + 16);
const bases = new Float64Array(BUCKETS);
const spreads = new Float64Array(BUCKETS);
const quantiles = new Float64Array(3);
const valueQuantiles = new Float64Array(3);
const asked = new Float64Array(3);
const periodRates = new Float64Array(3);
/** No later score than the first ones moves a loss by more than a part. */
const FIRST_SCORES = 12;
const RATE_MAX = 0.3;
/** Scores that the guess about a newcomer is worth. */
const NEWCOMER_PRIOR = 2;

/**
 * Weights of the first `count` experts at a bucket, whose answers are `from`, to `into`, from the place `to`; NaN answers have
 * none. What makes their sum one comes after the place of the last expert.
 */
export function weightsAt(
  row: Row,
  bucket: number,
  from: Float64Array,
  count: number,
  into: Float64Array,
  to: number,
): void {
  const { codes } = row;
  const { experts, blendAt } = row.layout;
  const at = row.c + C.losses + bucket * experts;
  const slack = slackOf(row);
  let sum = 0;
  for (let e = 0; e < count; e++) {
    const weight = Number.isNaN(from[e]!) ? 0 : weightOf(codes[at + e]!, slack);
    into[to + e] = weight;
    sum += weight;
  }
  if (blendAt >= 0 && !Number.isNaN(from[BLEND]!)) {
    sum += (BLEND_TUNED.say - 1) * into[to + BLEND]!;
    into[to + BLEND]! *= BLEND_TUNED.say;
  }
  into[to + experts] = 1 / sum;
}

/** Losses nearer than this to each other are the same. */
function slackOf(row: Row): number {
  return 1e-5 + TUNED.lossFloor * row.floats[row.f + F.deviation]!;
}

/** One over a loss to the power of 10, which losses in 16 bits and the slack keep between 1e-49 and 1e50. */
function weightOf(lossCode: number, slack: number): number {
  const per = 1 / (sizeOf(lossCode) + slack);
  // By squares: this is asked hundreds of times a second and series.
  const square = per * per;
  const fourth = square * square;
  return fourth * fourth * square;
}

/**
 * The mixture at a bucket. The regression is asked with the others' mixture as its start, then weighs in as one of them;
 * its answer is written to `from`.
 */
function mixAt(row: Row, bucket: number, from: Float64Array): number {
  const first = firstMix(row, bucket, from);
  const { experts, blendAt } = row.layout;
  if (blendAt < 0) return first;
  const answer = clampTo(row, blendAnswer(row, bucket, from, first));
  from[BLEND] = answer;
  const weight =
    BLEND_TUNED.say * weightOf(row.codes[row.c + C.losses + bucket * experts + BLEND]!, slackOf(row));
  const share = weight / (weight + 1 / weights[experts]!);
  return first + share * (answer - first);
}

/** The mixture of all but the regression. */
function firstMix(row: Row, bucket: number, from: Float64Array): number {
  const { experts, blendAt } = row.layout;
  const count = speakers(row);
  const answer = from[BLEND]!;
  if (blendAt >= 0) from[BLEND] = Number.NaN;
  weightsAt(row, bucket, from, count, weights, 0);
  let sum = 0;
  for (let e = 0; e < count; e++) if (weights[e]! > 0) sum += weights[e]! * from[e]!;
  if (blendAt >= 0) from[BLEND] = answer;
  return sum * weights[experts]!;
}

/** Quantiles of the realised errors at a bucket, in spreads; p90 and p99 at levels moved by what was realised. */
export function errorsAt(row: Row, bucket: number, into: Float64Array, to: number): void {
  asked[0] = 0.5;
  asked[1] = 0.9 + movedBy(row, bucket, 1);
  asked[2] = 0.99 + movedBy(row, bucket, 2);
  errorQuantiles(row, row.b + bucket * BINS, ERROR_PRIOR, asked, into, to);
  into[to]! *= TUNED.medianShift;
}

/** Quantiles of the values of late, whatever the horizon, in units of the scale. */
export function valuesAt(row: Row, into: Float64Array): void {
  const { floats: x, f } = row;
  errorQuantiles(row, row.b + VALUE_BINS_AT, VALUE_PRIOR, LEVELS, into, 0);
  const mean = x[f + F.mean]!;
  const deviation = x[f + F.deviation]! + 1e-5;
  for (let q = 0; q < 3; q++) into[q] = mean + deviation * into[q]!;
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

/** Answers the buckets' questions and keeps them for later, where a slot is free at this step. */
export function makeSlots(
  row: Row,
  externals: (ahead: number, out: Float64Array) => void,
  outside: (expert: number, ahead: number) => ArrayLike<number> | undefined,
): void {
  const { layout, codes } = row;
  const length = row.floats[row.f + F.length]! | 0;
  for (let b = layout.keepsNext ? 0 : 1; b < BUCKETS; b++) {
    if (length % layout.slotStride[b]! !== 0) continue;
    const at = slotOf(row, b, length);
    predict(row, BUCKET_STEPS[b]!, answers);
    if (layout.experts > layout.own) externals(BUCKET_STEPS[b]!, answers);
    conclude(row, b);
    for (let i = 0; i < layout.slotOwn; i++) codes[at + i] = toHalf(answers[i]!);
    for (let i = 0; i < layout.outside; i++) keepOutside(row, at, i, outside(i, BUCKET_STEPS[b]!));
  }
}

/** First code of a bucket's slot for what is answered at a step. */
function slotOf({ layout, c }: Row, b: number, step: number): number {
  const nth = ((step / layout.slotStride[b]!) | 0) % layout.slots[b]!;
  return c + layout.slotAt[b]! + nth * layout.slotCodes;
}

/** From the experts' answers in `answers` to what the bucket says; it follows them: mixture, spread, p90, p99, p50. */
function conclude(row: Row, b: number): void {
  const base = mixAt(row, b, answers);
  bases[b] = base;
  usualSpreads(row, b, b, spreads);
  spreadsFor(row, b, b, bases, spreads);
  const spread = spreads[b]!;
  errorsAt(row, b, quantiles, 0);
  const after = row.layout.experts;
  answers[after] = base;
  answers[after + 1] = spread;
  answers[after + 2] = base + spread * quantiles[1]!;
  answers[after + 3] = base + spread * quantiles[2]!;
  answers[after + 4] = base + spread * quantiles[0]!;
}

/** At a missing step nothing is answered: what a slot held is of another time. */
export function clearSlots(row: Row): void {
  const { layout, codes } = row;
  const length = row.floats[row.f + F.length]! | 0;
  for (let b = layout.keepsNext ? 0 : 1; b < BUCKETS; b++)
    if (length % layout.slotStride[b]! === 0) codes[slotOf(row, b, length) + layout.experts] = MISSING;
}

/** Holds what was answered for this step against its value. Call before the step is pushed. */
export function settle(row: Row, value: number): void {
  const { layout, codes } = row;
  const length = (row.floats[row.f + F.length]! | 0) + 1;
  valuesAt(row, valueQuantiles);
  for (let b = 0; b < BUCKETS; b++) {
    const from = length - BUCKET_STEPS[b]!;
    if (from < 1 || from % layout.slotStride[b]! !== 0) continue;
    if (b === 0 && !layout.keepsNext) {
      // Nothing has happened to the row since: it says now what it would have said then.
      if (Number.isNaN(valueAt(row, 0))) continue;
      predict(row, BUCKET_STEPS[b]!, answers);
      conclude(row, b);
      settleBucket(row, b, 0, value, length);
      continue;
    }
    const at = slotOf(row, b, from);
    for (let i = 0; i < layout.slotOwn; i++) answers[i] = fromHalf(codes[at + i]!);
    settleBucket(row, b, at, value, length);
  }
  learnValue(row, value);
}

/** @param at the slot from which `answers` are, for what those from outside said */
function settleBucket(row: Row, b: number, at: number, value: number, length: number): void {
  const { layout, floats: x, f, codes, c } = row;
  const after = layout.experts;
  const base = answers[after]!;
  if (Number.isNaN(base)) return;
  const made = answers[after + 1]!;
  const count = codes[c + C.scores + b]!;
  codes[c + C.scores + b] = count + 1 < COUNT_MAX ? count + 1 : COUNT_MAX - 4 + ((count + 1) % 4);
  const rate = Math.max(1 / TUNED.lossMemory[b]!, 1 / (count + 1 + TUNED.lossPrior));
  const baseLoss = Math.abs(value - base);
  newcomerRates(row, b, rate);
  if (BUCKET_STEPS[b]! <= TUNED.apartStepsMax) heedApart(layout.experts, base, made, count);
  learnLosses(row, b, count, value, baseLoss);
  if (layout.blendAt >= 0) learnBlend(row, b, answers, firstMix(row, b, answers), value, made);
  const own = f + F.spread + b;
  if (count > 8 && made > 0) learnPowers(row, b, (value - base) / made, base);
  const cut = count < 8 ? baseLoss : Math.min(baseLoss, 6 * x[own]! + 1e-5);
  x[own]! += Math.max(1 / TUNED.spreadMemory, 1 / (count + 1)) * (cut - x[own]!);
  addError(row, row.b + b * BINS, (value - base) / made, TUNED.bandMemory);
  if (layout.outside > 0)
    settleOutside(row, b, at, 0, value, pinball(value, answers[after + 4]!, LEVELS[0]!));
  // Rounded up as often as its part of a unit says, so that many small steps add up to what they are.
  const rounding = length * GOLDEN - Math.floor(length * GOLDEN);
  for (let q = 1; q < 3; q++) {
    const level = LEVELS[q]!;
    const kinds = c + C.kindLoss + (b * 2 + q - 1) * KINDS;
    const errors = answers[after + 1 + q]!;
    learnSize(codes, kinds, rate, pinball(value, errors, level));
    learnSize(codes, kinds + 1, rate, pinball(value, valueQuantiles[q]!, level));
    const share = kindShare(row, b, q);
    const given = share * errors + (1 - share) * valueQuantiles[q]!;
    settleOutside(row, b, at, q, value, pinball(value, given, level));
    const above = value > given ? 1 : 0;
    const moved = movedBy(row, b, q) + TUNED.conformRate * (above - (1 - level)) * (q === 2 ? 0.3 : 1);
    const most = q === 1 ? 0.06 : 0.008;
    const bounded = moved > most ? most : moved < -2 * most ? -2 * most : moved;
    codes[c + C.conform + 2 * b + q - 1] = Math.floor(bounded / CONFORM_UNITS[q - 1]! + rounding);
  }
}

/** Learns the experts' losses at a bucket, at the rates of {@link newcomerRates}. */
function learnLosses(row: Row, b: number, count: number, value: number, baseLoss: number): void {
  const { layout, codes } = row;
  const losses = row.c + C.losses + b * layout.experts;
  for (let e = 0; e < layout.experts; e++) {
    const answer = answers[e]!;
    // Who could not say yet is taken for a little worse than the mixture.
    const loss = !Number.isNaN(answer) ? Math.abs(value - answer) : baseLoss * 1.1;
    const before = sizeOf(codes[losses + e]!);
    codes[losses + e] = toSize(
      count === 0
        ? loss * 0.3 + baseLoss * 0.7 * EXPERT_PRIOR[b]![e < layout.own ? e : 0]!
        : before + periodRates[e < layout.own ? EXPERT_PERIOD[e]! : 0]! * (loss - before),
    );
  }
}

/** Learns how values are distributed, whatever was said of them. */
function learnValue(row: Row, value: number): void {
  const { floats: x, f } = row;
  if (x[f + F.known]! < 4) return;
  const deviation = x[f + F.deviation]! + 1e-5;
  addError(row, row.b + VALUE_BINS_AT, (value - x[f + F.mean]!) / deviation, TUNED.valueMemory);
}

/** Scales the rates at which losses are learnt by how far the experts were apart. */
function heedApart(experts: number, base: number, usual: number, count: number): void {
  let off = 0;
  let speaking = 0;
  for (let e = 0; e < experts; e++) {
    if (Number.isNaN(answers[e]!)) continue;
    off += Math.abs(answers[e]! - base);
    speaking++;
  }
  const apart = within(off / speaking / (usual + 1e-9), TUNED.apartLeast, TUNED.apartMost);
  const most = count < FIRST_SCORES ? 1 : RATE_MAX;
  for (let i = 0; i < periodRates.length; i++) periodRates[i] = Math.min(most, apart * periodRates[i]!);
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
