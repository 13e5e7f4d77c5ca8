/**
 * What a row answers: its experts' mixture at any horizon, bands around it, and how high its path reaches in a window.
 *
 * Boundary: reads the row, writes nothing to it. Scratch of one bank. Invariant: quantiles ascend, and lie within the
 * clamps around what was seen.
 */
import { type Between, between, Places, skippedOf } from './between.ts';
import { blendAnswer } from './blend.ts';
import { clampHigh, clampLow, LEVELS, predictAhead, predictLevels } from './experts.ts';
import { type BankLayout, BLEND, BUCKET_STEPS, BUCKETS, C, F, type Row } from './layout.ts';
import { outsideSay } from './outside.ts';
import {
  clampTo,
  errorsAt,
  kindShare,
  levelsAt,
  spreadFor,
  TUNED,
  usualSpread,
  valuesAt,
  weightsAt,
} from './score.ts';
import { windowQuantiles } from './windows.ts';

/** Points of a window's path: two and a half days of hours still show each day's peak. */
const PATH_POINTS = 24;
/** Scores from which weights at a horizon count for half of what they would. */
const TRUST_SCORES = 4;

/** Writes the answers of experts from outside the bank behind the row's own; NaN where they cannot say. */
export type AskExternals = (ahead: number, out: Float64Array) => void;
/** Quantiles of a forecaster from outside, in units of the scale; undefined where it has nothing to say. */
export type AskOutside = (expert: number, ahead: number) => ArrayLike<number> | undefined;

export class Mixture {
  readonly #layout: BankLayout;
  readonly #externals: AskExternals;
  readonly #outside: AskOutside;
  readonly #answers: Float64Array;
  readonly #weights: Float64Array[];
  /** At each bucket, of the experts that say the same at every horizon: weighted answers, and weights. */
  readonly #levelSums = new Float64Array(BUCKETS);
  readonly #levelWeights = new Float64Array(BUCKETS);
  readonly #errors = BUCKET_STEPS.map(() => new Float64Array(3));
  readonly #usual = new Float64Array(BUCKETS);
  readonly #values = new Float64Array(3);
  readonly #shares = BUCKET_STEPS.map(() => new Float64Array(3));
  readonly #asked = new Float64Array(3);
  readonly #window = new Float64Array(3);
  readonly #between: Between = { left: 0, right: 0, share: 0, skipped: 0 };
  readonly #places = new Places();
  readonly #outsideSum = new Float64Array(3);
  readonly #outsideWeight = new Float64Array(3);
  readonly #path = { base: 0, spread: 0 };

  constructor(layout: BankLayout, externals: AskExternals, outside: AskOutside) {
    this.#layout = layout;
    this.#externals = externals;
    this.#outside = outside;
    this.#answers = new Float64Array(layout.experts);
    this.#weights = BUCKET_STEPS.map(() => new Float64Array(layout.experts));
  }

  /** p50, p90, p99 of the first horizon, then of the second, ..., in the series' unit. The row has a scale. */
  quantiles(at: Row, horizons: ArrayLike<number>, out: Float64Array): void {
    const scale = at.floats[at.f + F.scale]!;
    const high = clampHigh(at);
    const low = clampLow(at);
    const places = this.#places;
    places.find(horizons, skippedOf(at));
    const fromOutside = this.#layout.outside > 0;
    let ready = -1;
    predictLevels(at, this.#answers);
    for (let h = 0; h < horizons.length; h++) {
      const ahead = horizons[h]!;
      const b = places.left[h]!;
      const next = places.right[h]!;
      const share = places.share[h]!;
      this.#predict(at, ahead);
      while (ready < next) this.#prepare(at, ++ready);
      // Weights that have hardly been scored yet are no better than those next to them.
      const scored = at.codes[at.c + C.scores + next]!;
      const base = this.#mix(at, b, next, (share * scored) / (scored + TRUST_SCORES));
      const usual = (1 - share) * this.#usual[b]! + share * this.#usual[next]!;
      const spread = spreadFor(at, usual, base);
      if (fromOutside) this.#hearOutside(at, ahead, b, next, share);
      const errors = this.#errors[b]!;
      const errorsNext = this.#errors[next]!;
      const shares = this.#shares[b]!;
      const sharesNext = this.#shares[next]!;
      let before = Number.NEGATIVE_INFINITY;
      for (let q = 0; q < 3; q++) {
        const error = (1 - share) * errors[q]! + share * errorsNext[q]!;
        const kind = (1 - share) * shares[q]! + share * sharesNext[q]!;
        let value = kind * (base + spread * error) + (1 - kind) * this.#values[q]!;
        if (fromOutside) value = (value + this.#outsideSum[q]!) / (1 + this.#outsideWeight[q]!);
        value = value > high ? high : value < low ? low : value;
        if (value < before) value = before;
        before = value;
        out[h * 3 + q] = value * scale;
      }
    }
  }

  /** p50, p90, p99 of the maximum from the next step to another, in the series' unit. The row has a scale. */
  maximum(at: Row, steps: number, out: Float64Array): void {
    const { windows } = this.#layout;
    const scale = at.floats[at.f + F.scale]!;
    const { base, spread } = this.path(at, steps);
    let above = 0;
    while (above < windows.length - 1 && windows[above]! < steps) above++;
    const below = above > 0 && windows[above]! > steps ? above - 1 : above;
    const share =
      below === above ? 0 : Math.log(steps / windows[below]!) / Math.log(windows[above]! / windows[below]!);
    windowQuantiles(at, below, base, spread, out);
    windowQuantiles(at, above, base, spread, this.#window);
    const high = clampHigh(at);
    let before = 0;
    for (let q = 0; q < 3; q++) {
      const value = (1 - share) * out[q]! + share * this.#window[q]!;
      before = Math.min(high, Math.max(before, value));
      out[q] = before * scale;
    }
  }

  /** Weight of each expert near a horizon. Valid until the next question. */
  weightsNear(at: Row, ahead: number): Float64Array {
    predictLevels(at, this.#answers);
    this.#predict(at, ahead);
    this.#between.skipped = skippedOf(at);
    between(ahead, this.#between);
    // The longest bucket up to the horizon whose weights hold for others too.
    const b = this.#between.left;
    weightsAt(at, b, this.#weights[b]!, this.#answers);
    return this.#weights[b]!;
  }

  /** What is expected of the next step, in the series' unit; minus infinity for a row without a scale. */
  next(at: Row): number {
    const scale = at.floats[at.f + F.scale]!;
    if (scale === 0) return Number.NEGATIVE_INFINITY;
    predictLevels(at, this.#answers);
    this.#predict(at, 1);
    this.#weigh(at, 0);
    return this.#mix(at, 0, 0, 0) * scale;
  }

  /** The highest reach of the path over a window: the mixture and some spreads above it, and the spread there. */
  readonly path = (at: Row, window: number): { base: number; spread: number } => {
    const place = this.#between;
    place.skipped = skippedOf(at);
    const points = Math.min(PATH_POINTS, window);
    let ready = -1;
    this.#path.base = Number.NEGATIVE_INFINITY;
    predictLevels(at, this.#answers);
    for (let i = 1; i <= points; i++) {
      const ahead = Math.round((window * i) / points);
      between(ahead, place);
      const { left: b, right: next, share } = place;
      this.#predict(at, ahead);
      while (ready < next) {
        this.#weigh(at, ++ready);
        this.#usual[ready] = usualSpread(at, ready);
      }
      const base = this.#mix(at, b, next, share);
      const usual = (1 - share) * this.#usual[b]! + share * this.#usual[next]!;
      const spread = spreadFor(at, usual, base);
      const reach = base + TUNED.windowLift * spread;
      if (reach <= this.#path.base) continue;
      this.#path.base = reach;
      this.#path.spread = spread;
    }
    return this.#path;
  };

  /** Answers at a horizon; those that are the same at all are there already. */
  #predict(at: Row, ahead: number): void {
    predictAhead(at, ahead, this.#answers);
    if (this.#layout.experts > this.#layout.own) this.#externals(ahead, this.#answers);
  }

  /** Weights, bands and shares of a bucket. */
  #prepare(at: Row, b: number): void {
    this.#weigh(at, b);
    levelsAt(at, b, this.#asked);
    errorsAt(at, b, this.#asked, this.#errors[b]!);
    this.#usual[b] = usualSpread(at, b);
    if (b === 0) valuesAt(at, this.#values);
    for (let q = 0; q < 3; q++) this.#shares[b]![q] = kindShare(at, b, q);
  }

  #weigh(at: Row, b: number): void {
    const weights = this.#weights[b]!;
    weightsAt(at, b, weights, this.#answers);
    let sum = 0;
    let total = 0;
    for (let e = 0; e < LEVELS; e++) {
      sum += weights[e]! * this.#answers[e]!;
      total += weights[e]!;
    }
    this.#levelSums[b] = sum;
    this.#levelWeights[b] = total;
  }

  /** The mixture between two buckets. */
  #mix(at: Row, b: number, next: number, share: number): number {
    const left = this.#weights[b]!;
    const right = this.#weights[next]!;
    const answers = this.#answers;
    const blends = this.#layout.blendAt >= 0;
    let sum = (1 - share) * this.#levelSums[b]! + share * this.#levelSums[next]!;
    let total = (1 - share) * this.#levelWeights[b]! + share * this.#levelWeights[next]!;
    for (let e = LEVELS; e < answers.length; e++) {
      const answer = answers[e]!;
      if ((blends && e === BLEND) || Number.isNaN(answer)) continue;
      const weight = (1 - share) * left[e]! + share * right[e]!;
      sum += weight * answer;
      total += weight;
    }
    if (!(total > 0)) return 0;
    const first = sum / total;
    if (!blends) return first;
    // Each regression by its own weight: a wild one that nobody believes at its horizon is not believed between either.
    const weightLeft = (1 - share) * left[BLEND]!;
    const weightRight = share * right[BLEND]!;
    sum += weightLeft * clampTo(at, blendAnswer(at, b, answers, first));
    if (weightRight > 0) sum += weightRight * clampTo(at, blendAnswer(at, next, answers, first));
    return sum / (total + weightLeft + weightRight);
  }

  /** What those from outside say at a horizon, each by its say. */
  #hearOutside(at: Row, ahead: number, b: number, next: number, share: number): void {
    this.#outsideSum.fill(0);
    this.#outsideWeight.fill(0);
    for (let i = 0; i < this.#layout.outside; i++) {
      const answer = this.#outside(i, ahead);
      if (answer === undefined) continue;
      for (let q = 0; q < 3; q++) {
        const say = (1 - share) * outsideSay(at, i, b, q) + share * outsideSay(at, i, next, q);
        this.#outsideSum[q]! += say * answer[q]!;
        this.#outsideWeight[q]! += say;
      }
    }
  }
}
