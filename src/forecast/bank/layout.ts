/**
 * Where each number of a series lives in its row of the bank: one row of 32-bit floats, one of 16-bit numbers, one of
 * bytes.
 *
 * Rows instead of objects: 500,000 series of objects and maps would cost ten times their content. What is averaged over
 * hundreds of steps has 32 bits, since a step's part of it would be lost in fewer; losses, answers in flight and counts
 * have 16; history has 8 in blocks of a scale of their own ({@link HISTORY_BLOCK}), and so have histograms. All values are
 * in units of the row's scale ("u" below).
 */
import type { OutsideTerms } from './outside.ts';
import { RESIDUAL_SIZE, RESIDUALS } from './residual.ts';

/** Experts of every series, in the order of their columns. */
export const EXPERT_NAMES = [
  'last',
  'level-3',
  'level-12',
  'level-60',
  'mean',
  'trend-4',
  'trend-16',
  'season',
  'profile',
  'profile+gap',
  'profile*ratio',
  'long-season',
  'long-season+gap',
  'season+gap',
  'blend',
  'ar',
  'profile+ar',
  'long-season+ar',
  'last+edge',
  'cycles',
  'last+hour',
] as const;
/** Column of the regression on the others. */
export const BLEND = 14;
/** Which period an expert looks back by: 1 the first, 2 the second, 0 none. */
export const EXPERT_PERIOD = [0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 1, 0, 0, 1, 2, 1, 1, 0] as const;
/** The experts it regresses on. */
export const BLEND_EXPERTS = [0, 1, 2, 3, 4, 7, 8, 9, 11, 18, 19, 20] as const;
/** Floats of one regression: the lower triangle of its normal matrix, its right side, its solution. */
export const BLEND_SIZE = (BLEND_EXPERTS.length * (BLEND_EXPERTS.length + 1)) / 2 + 2 * BLEND_EXPERTS.length;
export const EXPERTS = EXPERT_NAMES.length;

/** Horizons in steps at which experts are scored; others take their neighbours' weights, between by log of steps. */
export const BUCKET_STEPS = [1, 4, 12, 30, 75, 200] as const;
export const BUCKETS = BUCKET_STEPS.length;
export const QUANTILES = [0.5, 0.9, 0.99] as const;
/** Kinds of band: realised errors of the mixture; decayed histogram of values. */
export const KINDS = 2;
/** Bins of a histogram of standardised errors: whole words. */
export const BINS = 24;
/** Bytes of a word: rows of bytes begin and end one. */
export const WORD_BYTES = 4;
/** First byte of the histogram of values; those of buckets come before it, those of windows behind. */
export const VALUE_BINS_AT = BUCKETS * BINS;

/** Columns of floats that every row has. */
export const F = {
  scale: 0,
  /** Steps since the series began, missing ones included. */
  length: 1,
  /** Of them, those with a value. */
  known: 2,
  periodA: 3,
  periodB: 4,
  last: 5,
  levels: 6,
  mean: 9,
  trends: 10,
  gap: 14,
  seen: 15,
  expected: 16,
  longGap: 17,
  seasonGap: 18,
  /** Mean absolute step-to-level distance: fast, slow. */
  noiseFast: 19,
  noiseSlow: 20,
  deviation: 21,
  highest: 22,
  lowest: 23,
  /** Length at which the first period was set: its experts are newcomers from there. */
  periodFrom: 24,
  /** Powers with which the spread follows the forecast's level and the noise of now, less those they start from; mean error in spreads, less 1. */
  levelPower: 25,
  noisePower: 26,
  errorMean: 27,
  spread: 28,
} as const;
const FLOATS = F.spread + BUCKETS;

/** Columns of 16-bit numbers that every row has. */
export const C = {
  /** Answers held against the truth, for each bucket; see {@link COUNT_MAX}. */
  scores: 0,
  /** How far the levels of p90 and p99 are moved, for each bucket, in units of `CONFORM_UNITS`. */
  conform: BUCKETS,
  /** Losses of both kinds of band at p90 and p99, for each bucket. */
  kindLoss: 3 * BUCKETS,
  losses: (3 + 2 * KINDS) * BUCKETS,
} as const;
/** Counts go on below this with the same remainder of a division by 4: what is done every so many scores still is. */
export const COUNT_MAX = 60_000;

/** Values of a block of history: 8 bits each, and three bytes for the scale that they share. */
export const HISTORY_BLOCK = 16;
export const HISTORY_BLOCK_BYTES = HISTORY_BLOCK + 3;

/** Rings of history: values held by each, and the steps that one of them stands for; three at most, finest first. */
export interface HistoryShape {
  values: readonly number[];
  steps: readonly number[];
}

export interface BankLayout {
  /** Seconds a step. */
  stepS: number;
  /** Experts of the bank's own, and with those from outside. */
  own: number;
  experts: number;
  ringValues: number[];
  ringSteps: number[];
  /** Ages in steps below which a ring still holds a value and the one before it. */
  ringReach: number[];
  /** Values that there is room for: a block more, since the oldest one is lost at once. */
  ringCells: number[];
  /** First byte of each ring. */
  ringAt: number[];
  /** Slots of answers waiting for their truth, for each bucket, and the steps between two of them. */
  slots: number[];
  slotStride: number[];
  slotAt: number[];
  /** Whether the answer for the next step has a slot: without those from outside the row still gives it when that step comes. */
  keepsNext: boolean;
  /** Codes of a slot: the experts', then base, spread, p90, p99; where there are forecasters from outside p50 and theirs. */
  slotCodes: number;
  /** Of them, those before what was said from outside. */
  slotOwn: number;
  windows: number[];
  windowSlots: number[];
  windowStride: number[];
  /** First code of each window's slots: base, spread, running maximum. */
  windowAt: number[];
  /** First float of the regressions; -1 where the bank has none. */
  blendAt: number;
  /** First float of the autoregressions; -1 where the bank has none. */
  residualAt: number;
  /** Forecasters from outside, and the first float of what is known of them. */
  outside: number;
  outsideAt: number;
  outsideTerms: readonly OutsideTerms[];
  floats: number;
  codes: number;
  bytes: number;
}

/** Floats of a forecaster from outside: two losses and their count, for each bucket and quantile. */
export const OUTSIDE_FLOATS = 3 * 3 * BUCKETS;
const HISTORY_VALUES = [304, 192, 112] as const;
const RING_WIDTHS = [1, 12, 96] as const;
/** A window's path is dear, and overlapping windows tell the same. */
const WINDOW_SLOTS_MAX = 4;
/** From this step on all of the history is kept step by step: 608 hours are more than three weeks. */
const SINGLE_RING_FROM_S = 1800;

/** The history that a row has unless told otherwise: 0.8 kB times `factor`. A series on its own can afford twice. */
export function historyShape(stepS: number, factor: number): HistoryShape {
  const values = HISTORY_VALUES.map((count) => count * factor);
  return stepS >= SINGLE_RING_FROM_S
    ? { values: [values.reduce((a, b) => a + b, 0)], steps: [1] }
    : { values, steps: RING_WIDTHS };
}

/**
 * @param options.slots answers in flight at a time for each horizon: 8 learn eight times over a horizon, 2 save a third
 *   of the memory
 * @param options.windows windows in steps whose maximum is forecast
 * @param options.history by default 0.8 kB a row
 */
export function bankLayout(options: {
  stepS: number;
  slots: number;
  windows: readonly number[];
  externals: number;
  outside: number;
  outsideTerms?: readonly OutsideTerms[] | undefined;
  regression: boolean;
  history: HistoryShape | undefined;
}): BankLayout {
  const shape = options.history ?? historyShape(options.stepS, 1);
  const ringValues = [...shape.values];
  const ringSteps = [...shape.steps];
  const ringCells = ringValues.map((values) => (Math.ceil(values / HISTORY_BLOCK) + 1) * HISTORY_BLOCK);
  // Histograms begin a word: they are counted four bins at a time.
  let bytes = (BUCKETS + 1 + options.windows.length) * BINS;
  const ringAt = ringCells.map((cells) => {
    const at = bytes;
    bytes += (cells / HISTORY_BLOCK) * HISTORY_BLOCK_BYTES;
    return at;
  });
  bytes = Math.ceil(bytes / WORD_BYTES) * WORD_BYTES;
  if (ringSteps.some((steps) => steps > ringValues[0]!))
    throw new RangeError('a value of history stands for more steps than the finest ring holds');
  // The regression, the autoregressions and what tells edges come last.
  const own = options.regression ? EXPERTS : BLEND;
  const experts = own + options.externals;
  let codes = C.losses + experts * BUCKETS;
  const keepsNext = options.outside > 0 || options.externals > 0;
  const slotOwn = experts + (options.outside > 0 ? 5 : 4);
  const slotCodes = slotOwn + 3 * options.outside;
  const slots = BUCKET_STEPS.map((steps) => (steps > 1 || keepsNext ? Math.min(steps, options.slots) : 0));
  const slotStride = BUCKET_STEPS.map((steps, b) => Math.ceil(steps / Math.max(1, slots[b]!)));
  const slotAt = slots.map((count) => take(count * slotCodes));
  const windowSlots = options.windows.map((steps) => Math.min(steps, options.slots, WINDOW_SLOTS_MAX));
  const windowStride = options.windows.map((steps, w) => Math.ceil(steps / windowSlots[w]!));
  const windowAt = windowSlots.map((count) => take(count * 3));
  let floats: number = FLOATS;
  const blendAt = options.regression ? floats : -1;
  if (options.regression) floats += BUCKETS * BLEND_SIZE;
  const residualAt = options.regression ? floats : -1;
  if (options.regression) floats += RESIDUALS * RESIDUAL_SIZE;
  const outsideAt = floats;
  floats += options.outside * OUTSIDE_FLOATS;
  return {
    stepS: options.stepS,
    own,
    experts,
    ringValues,
    ringSteps,
    ringReach: ringValues.map((values, ring) => (values - 1) * ringSteps[ring]!),
    ringCells,
    ringAt,
    slots,
    slotStride,
    slotAt,
    slotCodes,
    slotOwn,
    keepsNext,
    windows: [...options.windows],
    windowSlots,
    windowStride,
    windowAt,
    blendAt,
    residualAt,
    outside: options.outside,
    outsideAt,
    outsideTerms: options.outsideTerms ?? [],
    floats,
    codes,
    bytes,
  };

  function take(count: number): number {
    const at = codes;
    codes += count;
    return at;
  }
}

/** One series' place in the bank, moved from series to series. */
export interface Row {
  readonly layout: BankLayout;
  floats: Float32Array;
  /** First float of the row. */
  f: number;
  codes: Uint16Array;
  /** First code of the row. */
  c: number;
  bytes: Uint8Array;
  /** The same memory. */
  words: Int32Array;
  /** First byte of the row; histograms come first. */
  b: number;
}
