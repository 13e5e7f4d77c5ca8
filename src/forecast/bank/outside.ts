/**
 * Forecasters from outside the bank (a trained network, a model of the user's own) beside the row's own answer.
 *
 * They answer all three quantiles at some steps only, since they are dear. Where they did, their loss and the row's own
 * are compared on the same steps, per horizon and quantile; the say of each is the cube of its loss against the row's. One
 * that was never held against anything has as much say as the row: it was trained for that.
 */
import { fromHalf, MISSING, toHalf } from './halves.ts';
import { F, OUTSIDE_FLOATS, type Row } from './layout.ts';

const OUTSIDE_TUNED = {
  /** Answers that the first say is worth: few losses tell little, least of all those of p99. */
  prior: 10,
  /** Answers over which losses are averaged, where one is asked at every step. */
  memory: 200,
  /** Say of one that names none of its own, before it was held against anything. */
  first: [0.6, 1, 1] as FirstSay,
} as const;

/** Say at p50, p90 and p99 against the row's own 1. */
export type FirstSay = readonly [number, number, number];

/** How one from outside is weighed, where that is not as usual. */
export interface OutsideTerms {
  first?: FirstSay | undefined;
  /** Answers over which its losses are averaged: fewer for one that is asked seldom. */
  memory?: number | undefined;
  /** It knows what the others do not: where it speaks, all are averaged, since a median would not hear it. */
  informed?: boolean | undefined;
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

/** @param own loss of the row's own quantile for the same step */
export function settleOutside(
  row: Row,
  bucket: number,
  slotAt: number,
  q: number,
  value: number,
  own: number,
): void {
  const { layout, floats: x, codes } = row;
  for (let i = 0; i < layout.outside; i++) {
    const code = codes[slotAt + layout.experts + 5 + 3 * i + q]!;
    if (code === MISSING) continue;
    const off = value - fromHalf(code);
    const loss = off > 0 ? LEVELS[q]! * off : (LEVELS[q]! - 1) * off;
    const at = row.f + layout.outsideAt + i * OUTSIDE_FLOATS + (bucket * 3 + q) * NUMBERS;
    const count = x[at + 2]! + 1;
    x[at + 2] = count;
    const rate = Math.max(1 / (layout.outsideTerms[i]?.memory ?? OUTSIDE_TUNED.memory), 1 / count);
    x[at]! += rate * (loss - x[at]!);
    x[at + 1]! += rate * (own - x[at + 1]!);
  }
}

/** Says at a bucket and all quantiles against the row's own answer, which has 1, to `into` from the place `to`. */
export function outsideSays(row: Row, expert: number, bucket: number, into: Float64Array, to: number): void {
  const { layout, floats: x, f } = row;
  const first = layout.outsideTerms[expert]?.first ?? OUTSIDE_TUNED.first;
  const slack = 1e-6 + 0.01 * x[f + F.deviation]!;
  for (let q = 0; q < 3; q++) {
    const at = f + layout.outsideAt + expert * OUTSIDE_FLOATS + (bucket * 3 + q) * NUMBERS;
    const count = x[at + 2]!;
    let ratio = 1;
    if (count > 0) {
      const prior = (OUTSIDE_TUNED.prior / count) * Math.max(x[at]!, x[at + 1]!) + slack;
      ratio = (x[at + 1]! + prior) / (x[at]! + prior);
    }
    into[to + q] = first[q]! * ratio * ratio * ratio;
  }
}
