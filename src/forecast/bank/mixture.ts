/**
 * What a row answers: its experts' mixture at any horizon, bands around it, and how high its path reaches in a window.
 *
 * Boundary: reads the row, writes nothing to it. Scratch of one bank. Invariant: quantiles ascend, and lie within the
 * clamps around what was seen.
 */
import { type Between, between, Places, skippedOf } from './between.ts';
import { blendAnswer } from './blend.ts';
import { clampHigh, clampLow, LEVELS, predictAhead, predictLevels, speakers } from './experts.ts';
import { type BankLayout, BLEND, BUCKETS, C, F, type Row } from './layout.ts';
import { outsideSays } from './outside.ts';
import { Pool } from './pool.ts';
import { reachP90, reachP99, spannedBy } from './reach.ts';
import { clampTo, errorsAt, kindShare, valuesAt, weightsAt } from './score.ts';
import { spreadsFor, usualSpreads } from './spread.ts';
import { TUNED } from './tuned.ts';
import { Voices } from './voices.ts';
import { windowQuantiles } from './windows.ts';

/** Points of a window's path: two and a half days of hours still show each day's peak. */
const PATH_POINTS = 24;
/** Scores from which weights at a horizon count for half of what they would. */
const TRUST_SCORES = 4;
/**
 * Share of the median among those from outside and the row's own, at p50, p90 and p99: few voices tell a band's middle. The
 * rest is their mean, at p90 that of the {@link Pool}; with fewer voices than so many it is their mean alone.
 */
const ROBUST = [1, 0.65, 0.5] as const;
const POOLED_VOICES_MIN = 3;

/** Writes the answers of experts from outside the bank behind the row's own; NaN where they cannot say. */
export type AskExternals = (ahead: number, out: Float64Array) => void;
/** Quantiles of a forecaster from outside, in units of the scale; undefined where it has nothing to say. */
export type AskOutside = (expert: number, ahead: number) => ArrayLike<number> | undefined;

export class Mixture {
  readonly #layout: BankLayout;
  readonly #externals: AskExternals;
  readonly #outside: AskOutside;
  readonly #answers: Float64Array;
  #speakers = 0;
  /** Of each bucket, one after the other; see {@link weightsAt}. */
  readonly #weights: Float64Array;
  /** At each bucket, of the experts that say the same at every horizon: weighted answers, and weights. */
  readonly #levelSums = new Float64Array(BUCKETS);
  readonly #levelWeights = new Float64Array(BUCKETS);
  readonly #usual = new Float64Array(BUCKETS);
  /** At each bucket, of p50, p90 and p99: error in spreads, share of the errors' kind of band. */
  readonly #errors = new Float64Array(3 * BUCKETS);
  readonly #shares = new Float64Array(3 * BUCKETS);
  readonly #values = new Float64Array(3);
  readonly #window = new Float64Array(3);
  readonly #between: Between = { left: 0, right: 0, share: 0, skipped: 0 };
  readonly #places = new Places();
  /** The mixture and its spread at each of the horizons asked for. */
  #bases = new Float64Array(PATH_POINTS);
  #spreads = new Float64Array(PATH_POINTS);
  readonly #pathSteps = new Float64Array(PATH_POINTS);
  readonly #pathPlaces = new Places();
  #pathWindow = 0;
  /** Of each forecaster from outside, at each bucket, at p50, p90 and p99. */
  readonly #says: Float64Array;
  /** Of p50, p90 and p99: what those from outside say, and the row's own. */
  readonly #voices: readonly Voices[];
  /** Of all quantiles, each voice with its say at p90. */
  readonly #pool: Pool;
  /** The row's own p50, p90 and p99 at a horizon. */
  readonly #own = new Float64Array(3);
  #informed = false;
  readonly #path = { base: 0, spread: 0 };

  constructor(layout: BankLayout, externals: AskExternals, outside: AskOutside) {
    this.#layout = layout;
    this.#externals = externals;
    this.#outside = outside;
    this.#answers = new Float64Array(layout.experts);
    this.#voices = ROBUST.map(() => new Voices(layout.outside + 1));
    this.#pool = new Pool(layout.outside + 1);
    this.#weights = new Float64Array(BUCKETS * (layout.experts + 1));
    this.#says = new Float64Array(layout.outside * 3 * BUCKETS);
  }

  /** p50, p90, p99 of the first horizon, then of the second, ..., in the series' unit. The row has a scale. */
  quantiles(at: Row, horizons: ArrayLike<number>, out: Float64Array): void {
    const count = horizons.length;
    const places = this.#places;
    places.find(horizons, count, skippedOf(at));
    const buckets = this.#along(at, horizons, count, places, TRUST_SCORES);
    this.#bands(at, buckets);
    const fromOutside = this.#layout.outside > 0;
    const errors = this.#errors;
    const shares = this.#shares;
    const scale = at.floats[at.f + F.scale]!;
    const high = clampHigh(at);
    const low = clampLow(at);
    for (let h = 0; h < count; h++) {
      const b = places.left[h]!;
      const next = places.right[h]!;
      const share = places.share[h]!;
      const base = this.#bases[h]!;
      const spread = this.#spreads[h]!;
      const own = this.#own;
      for (let q = 0; q < 3; q++) {
        const left = 3 * b + q;
        const right = 3 * next + q;
        const error = (1 - share) * errors[left]! + share * errors[right]!;
        const kind = (1 - share) * shares[left]! + share * shares[right]!;
        own[q] = kind * (base + spread * error) + (1 - kind) * this.#values[q]!;
      }
      if (fromOutside) this.#hearAll(horizons[h]!, b, next, share, own);
      if (fromOutside) this.#speakTogether(at, horizons[h]!, own);
      let before = Number.NEGATIVE_INFINITY;
      for (let q = 0; q < 3; q++) {
        let value = own[q]!;
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

  /** Weight of each expert near a horizon. */
  weightsNear(at: Row, ahead: number): Float64Array {
    this.#speakers = speakers(at);
    predictLevels(at, this.#answers);
    this.#predict(at, ahead);
    this.#between.skipped = skippedOf(at);
    between(ahead, this.#between);
    // The longest bucket up to the horizon whose weights hold for others too.
    const b = this.#between.left;
    const { experts } = this.#layout;
    const weights = new Float64Array(experts + 1);
    weightsAt(at, b, this.#answers, experts, weights, 0);
    return weights.map((weight) => weight * weights[experts]!);
  }

  /** What is expected of the next step, in the series' unit; minus infinity for a row without a scale. */
  next(at: Row): number {
    const scale = at.floats[at.f + F.scale]!;
    if (scale === 0) return Number.NEGATIVE_INFINITY;
    this.#speakers = speakers(at);
    predictLevels(at, this.#answers);
    this.#predict(at, 1);
    this.#weigh(at, 0);
    this.#mix(at, 0, 0, 0, 0);
    return this.#bases[0]! * scale;
  }

  /** The highest reach of the path over a window: the mixture and some spreads above it, and the spread there. */
  readonly path = (at: Row, window: number): { base: number; spread: number } => {
    const steps = this.#pathSteps;
    const points = Math.min(PATH_POINTS, window);
    const count = Math.floor(points);
    // Most rows are asked for the same windows: the points are there from the last time.
    if (window !== this.#pathWindow)
      for (let i = 0; i < count; i++) steps[i] = Math.round((window * (i + 1)) / points);
    this.#pathWindow = window;
    this.#pathPlaces.find(steps, count, skippedOf(at));
    this.#along(at, steps, count, this.#pathPlaces, 0);
    let highest = Number.NEGATIVE_INFINITY;
    for (let i = 0; i < count; i++) {
      const reach = this.#bases[i]! + TUNED.windowLift * this.#spreads[i]!;
      if (reach <= highest) continue;
      highest = reach;
      this.#path.spread = this.#spreads[i]!;
    }
    this.#path.base = highest;
    return this.#path;
  };

  /**
   * The mixture and its spread at horizons, to `#bases` and `#spreads`; the last bucket that was asked for.
   *
   * @param trust scores from which weights at a horizon count for half of what they would
   */
  #along(at: Row, horizons: ArrayLike<number>, count: number, places: Places, trust: number): number {
    if (this.#bases.length < count) {
      this.#bases = new Float64Array(count);
      this.#spreads = new Float64Array(count);
    }
    const { codes, c } = at;
    const spreads = this.#spreads;
    const usual = this.#usual;
    let ready = -1;
    this.#speakers = speakers(at);
    predictLevels(at, this.#answers);
    for (let h = 0; h < count; h++) {
      const next = places.right[h]!;
      const share = places.share[h]!;
      this.#predict(at, horizons[h]!);
      while (ready < next) this.#weigh(at, ++ready);
      // Weights that have hardly been scored yet are no better than those next to them.
      const scored = codes[c + C.scores + next]!;
      this.#mix(at, h, places.left[h]!, next, trust > 0 ? (share * scored) / (scored + trust) : share);
    }
    usualSpreads(at, 0, ready, usual);
    for (let h = 0; h < count; h++) {
      const share = places.share[h]!;
      spreads[h] = (1 - share) * usual[places.left[h]!]! + share * usual[places.right[h]!]!;
    }
    spreadsFor(at, 0, count - 1, this.#bases, spreads);
    return ready;
  }

  /** Answers at a horizon; those that are the same at all are there already. */
  #predict(at: Row, ahead: number): void {
    predictAhead(at, ahead, this.#answers);
    if (this.#layout.experts > this.#layout.own) this.#externals(ahead, this.#answers);
  }

  /** Bands of the buckets to the last, and the says of those from outside. */
  #bands(at: Row, last: number): void {
    valuesAt(at, this.#values);
    for (let i = 0; i < this.#layout.outside; i++)
      for (let b = 0; b <= last; b++) outsideSays(at, i, b, this.#says, (i * BUCKETS + b) * 3);
    for (let b = 0; b <= last; b++) {
      errorsAt(at, b, this.#errors, 3 * b);
      for (let q = 0; q < 3; q++) this.#shares[3 * b + q] = kindShare(at, b, q);
    }
  }

  #weigh(at: Row, b: number): void {
    const weights = this.#weights;
    const from = b * (this.#layout.experts + 1);
    weightsAt(at, b, this.#answers, this.#speakers, weights, from);
    let sum = 0;
    let total = 0;
    for (let e = 0; e < LEVELS; e++) {
      sum += weights[from + e]! * this.#answers[e]!;
      total += weights[from + e]!;
    }
    this.#levelSums[b] = sum;
    this.#levelWeights[b] = total;
  }

  /** The mixture between two buckets, to the place `h` of `#bases`. */
  #mix(at: Row, h: number, b: number, next: number, share: number): void {
    const weights = this.#weights;
    const answers = this.#answers;
    const { experts, blendAt } = this.#layout;
    const blends = blendAt >= 0;
    const left = b * (experts + 1);
    const right = next * (experts + 1);
    const ofLeft = (1 - share) * weights[left + experts]!;
    const ofRight = share * weights[right + experts]!;
    let sum = ofLeft * this.#levelSums[b]! + ofRight * this.#levelSums[next]!;
    let total = ofLeft * this.#levelWeights[b]! + ofRight * this.#levelWeights[next]!;
    for (let e = LEVELS; e < this.#speakers; e++) {
      const answer = answers[e]!;
      if ((blends && e === BLEND) || Number.isNaN(answer)) continue;
      const weight = ofLeft * weights[left + e]! + ofRight * weights[right + e]!;
      sum += weight * answer;
      total += weight;
    }
    if (blends && total > 0) {
      const first = sum / total;
      // Each regression by its own weight: a wild one that nobody believes at its horizon is not believed between either.
      const weightLeft = ofLeft * weights[left + BLEND]!;
      const weightRight = ofRight * weights[right + BLEND]!;
      sum += weightLeft * clampTo(at, blendAnswer(at, b, answers, first));
      if (weightRight > 0) sum += weightRight * clampTo(at, blendAnswer(at, next, answers, first));
      total += weightLeft + weightRight;
    }
    this.#bases[h] = total > 0 ? sum / total : 0;
  }

  /** What those from outside say at a horizon, each by its say, and the row's own answer. */
  #hearAll(ahead: number, b: number, next: number, share: number, own: Float64Array): void {
    for (const voices of this.#voices) voices.clear();
    this.#pool.clear();
    this.#informed = false;
    for (let i = 0; i < this.#layout.outside; i++) {
      const answer = this.#outside(i, ahead);
      if (answer === undefined) continue;
      if (this.#layout.outsideTerms[i]?.informed) this.#informed = true;
      const left = (i * BUCKETS + b) * 3;
      const right = (i * BUCKETS + next) * 3;
      for (let q = 0; q < 3; q++) {
        const say = (1 - share) * this.#says[left + q]! + share * this.#says[right + q]!;
        this.#voices[q]!.hear(answer[q]!, say);
        if (q === 1) this.#pool.hear(answer, say);
      }
    }
    for (let q = 0; q < 3; q++) this.#voices[q]!.hear(own[q]!, 1);
    this.#pool.hear(own, 1);
  }

  /** What all heard say, in place of the row's own. */
  #speakTogether(at: Row, ahead: number, own: Float64Array): void {
    for (let q = 0; q < 3; q++) own[q] = this.#ofAll(q);
    if (!this.#pooled) return;
    const { floats: x, f } = at;
    const p50 = own[0]!;
    const band = own[1]! - p50;
    const spanned = spannedBy(ahead, x[f + F.length]!, x[f + F.periodA]!);
    if (band > 0) own[1] = p50 + band * reachP90(this.#voices[0]!.deviation(), band, spanned);
    if (own[2]! > p50) own[2] = p50 + (own[2]! - p50) * reachP99(spanned);
  }

  /** So many that few of them may be far off, and none that knows what the others do not. */
  get #pooled(): boolean {
    return !this.#informed && this.#pool.count >= POOLED_VOICES_MIN;
  }

  /** What all heard say at a quantile. */
  #ofAll(q: number): number {
    const voices = this.#voices[q]!;
    if (this.#informed) return voices.answer(0);
    if (q !== 1 || !this.#pooled) return voices.answer(ROBUST[q]!);
    return (1 - ROBUST[1]) * this.#pool.p90() + ROBUST[1] * voices.answer(1);
  }
}
