/**
 * Forecasters from outside the bank (a trained network, a model of the user's own) beside the row's own answer.
 *
 * They answer all three quantiles at some steps only, since they are dear. Where they did, their loss and the row's own
 * are compared on the same steps, per horizon and quantile; the say of each is its loss against the row's to a power. One
 * that was never held against anything has as much say as the row: it was trained for that.
 */
import { fromHalf, MISSING, toHalf } from './halves.ts';
import { F, OUTSIDE_FLOATS, type Row } from './layout.ts';

export const OUTSIDE_TUNED = {
  power: 3,
  /** Answers that the first say is worth: few losses tell little, least of all those of p99. */
  prior: 10,
  /** Answers over which losses are averaged, where one is asked at every step. */
  memory: 200,
  /** Say of one that names none of its own, before it was held against anything. */
  first: [0.6, 1, 1] as FirstSay,
  /** Step with which the reach of p90 and p99 above p50 is learnt, on a log scale, per answer, and how far it may go. */
  reachRate: [0.01, 0.01] as [number, number],
  reachMost: [0.5, 0.4] as [number, number],
};

/** Say at p50, p90 and p99 against the row's own 1. */
export type FirstSay = readonly [number, number, number];

/** How one from outside is weighed, where that is not as usual. */
export interface OutsideTerms {
  first?: FirstSay | undefined;
  /** Answers over which its losses are averaged: fewer for one that is asked seldom. */
  memory?: number | undefined;
}

/** Writes p50, p90, p99 in the series' unit; false where it has nothing to say now. */
export type Outside = (row: number, expert: number, ahead: number, out: Float64Array) => boolean;

const LEVELS = [0.5, 0.9, 0.99] as const;
/** Floats of one bucket and quantile: loss from outside, loss of the row's own on the same steps, scores. */
const NUMBERS = 3;

/** Keeps an answer in its slot until the truth comes; `answer` in units of the scale, undefined where there is none. */
export function keepOutside(
  row: Row,
  slotAt: number,
  expert: number,
  answer: ArrayLike<number> | undefined,
): void {
  const at = slotAt + row.layout.experts + 5 + 3 * expert;
  for (let q = 0; q < 3; q++) row.codes[at + q] = answer === undefined ? MISSING : toHalf(answer[q]!);
}

/**
 * Holds what was said from outside against what came, and the mixture with it.
 *
 * @param own p50, p90 and p99 of the row's own for the same step
 */
export function settleOutside(
  row: Row,
  bucket: number,
  slotAt: number,
  value: number,
  own: ArrayLike<number>,
): void {
  const { layout, floats: x, codes } = row;
  let all = layout.outside > 0;
  for (let q = 0; q < 3; q++) {
    const ownLoss = lossOf(value, own[q]!, q);
    let sum = own[q]!;
    let total = 1;
    for (let i = 0; i < layout.outside; i++) {
      const code = codes[slotAt + layout.experts + 5 + 3 * i + q]!;
      const at = row.f + layout.outsideAt + i * OUTSIDE_FLOATS + (bucket * 3 + q) * NUMBERS;
      if (code === MISSING) {
        if (x[at + 2]! > 0) all = false;
        continue;
      }
      const answer = fromHalf(code);
      const say = outsideSay(row, i, bucket, q);
      sum += say * answer;
      total += say;
      const count = x[at + 2]! + 1;
      x[at + 2] = count;
      const rate = Math.max(1 / (layout.outsideTerms[i]?.memory ?? OUTSIDE_TUNED.memory), 1 / count);
      x[at]! += rate * (lossOf(value, answer, q) - x[at]!);
      x[at + 1]! += rate * (ownLoss - x[at + 1]!);
    }
    mixed[q] = sum / total;
  }
  // Bands are given with all that ever say anything: those of some would be others.
  if (all) learnReach(row, value);
}

const mixed = new Float64Array(3);

/** Bands of a mixture are not as wide as what they promise: their reach above p50 follows how often they held. */
function learnReach(row: Row, value: number): void {
  const { layout, floats: x, f } = row;
  for (let q = 1; q < 3; q++) {
    const at = f + layout.outsideAt + layout.outside * OUTSIDE_FLOATS + q - 1;
    const quantile = mixed[0]! + Math.exp(x[at]!) * (mixed[q]! - mixed[0]!);
    const most = OUTSIDE_TUNED.reachMost[q - 1]!;
    const moved = x[at]! + OUTSIDE_TUNED.reachRate[q - 1]! * ((value > quantile ? 1 : 0) - (1 - LEVELS[q]!));
    x[at] = Math.max(-most, Math.min(most, moved));
  }
}

/** What the distance of p90 (1) or p99 (2) from p50 is multiplied with. */
export function outsideReach(row: Row, q: number): number {
  const { layout, floats: x, f } = row;
  return Math.exp(x[f + layout.outsideAt + layout.outside * OUTSIDE_FLOATS + q - 1]!);
}

function lossOf(value: number, quantile: number, q: number): number {
  const off = value - quantile;
  return off > 0 ? LEVELS[q]! * off : (LEVELS[q]! - 1) * off;
}

/** Say against the row's own answer, which has 1. */
export function outsideSay(row: Row, expert: number, bucket: number, q: number): number {
  const { layout, floats: x, f } = row;
  const at = f + layout.outsideAt + expert * OUTSIDE_FLOATS + (bucket * 3 + q) * NUMBERS;
  const count = x[at + 2]!;
  const first = (layout.outsideTerms[expert]?.first ?? OUTSIDE_TUNED.first)[q]!;
  if (count === 0) return first;
  const slack = 1e-6 + 0.01 * x[f + F.deviation]!;
  const prior = (OUTSIDE_TUNED.prior / count) * Math.max(x[at]!, x[at + 1]!) + slack;
  return first * ((x[at + 1]! + prior) / (x[at]! + prior)) ** OUTSIDE_TUNED.power;
}
