/**
 * What a batch expert says of the largest value over a window, beside the row's own answer: both are held against what
 * came at the origins at which the expert was asked, and each has as much say as it earned there, per window and quantile.
 *
 * Invariants: an answer that is not finite is no vote; without one the row's own answer stays as it is; quantiles ascend.
 */
import type { Voices } from './bank/voices.ts';
import { type BatchExpert, writeBatchWindows } from './batch-expert.ts';
import { sinh } from './powers.ts';

const MAXIMA_TUNED = {
  /** Say of an expert that was never held against anything, against the row's own 1: measured on public series. */
  first: 1.2,
  power: 2,
  /** Scores that the first say is worth. */
  prior: 6,
} as const;
const LEVELS = [0.5, 0.9, 0.99] as const;
/** No answer counts as more than so many times the row's own p99: nothing explodes. */
const OWN_FACTOR_MAX = 4;

interface Series {
  values: Float64Array;
  stepS: number;
  t0: number;
}

/** An expert that answers p50, p90 and p99 of the largest value up to each horizon. */
export type MaximaExpert = BatchExpert & Required<Pick<BatchExpert, 'forecastMax' | 'withHorizons'>>;

export function answersMaxima(expert: BatchExpert): expert is MaximaExpert {
  return expert.forecastMax !== undefined && expert.withHorizons !== undefined;
}

export class BatchMaxima {
  readonly #expert: BatchExpert;
  readonly #series: Series;
  readonly #windows: readonly number[];
  /** Place of each window among the expert's horizons. */
  readonly #place: readonly number[];
  /** By origin: three quantiles for each horizon. */
  readonly #answers = new Map<number, Float64Array>();
  /** The row's own answers that wait for their truth, oldest first: three quantiles for each window. */
  readonly #waiting: { origin: number; window: number; own: Float64Array }[] = [];
  // For each window and quantile.
  readonly #ownLoss: Float64Array;
  readonly #loss: Float64Array;
  readonly #scores: Float64Array;

  constructor(expert: MaximaExpert, series: Series, windows: readonly number[]) {
    const steps = [...new Set(windows)].sort((a, b) => a - b);
    this.#expert = expert.withHorizons(steps);
    this.#series = series;
    this.#windows = windows;
    this.#place = windows.map((window) => steps.indexOf(window));
    this.#ownLoss = new Float64Array(3 * windows.length);
    this.#loss = new Float64Array(3 * windows.length);
    this.#scores = new Float64Array(3 * windows.length);
  }

  /** Asks the expert at origins (how many values are known); what was asked before is kept until it is settled. */
  ask(origins: readonly number[], periods: readonly number[] | undefined): void {
    const expert = this.#expert;
    const count = origins.length;
    const width = 3 * expert.horizonSteps.length;
    const { contexts, features, levels } = writeBatchWindows(expert, this.#series, origins, periods);
    const out = new Float32Array(count * width);
    expert.forecastMax!(contexts, features, count, out);
    origins.forEach((origin, row) => {
      const answers = Float64Array.from(
        out.subarray(row * width, (row + 1) * width),
        (u) => levels[row]! * sinh(u),
      );
      this.#answers.set(origin, answers);
    });
  }

  /** Whether the expert was asked there. */
  has(origin: number): boolean {
    return this.#answers.has(origin);
  }

  /** Keeps the row's own answer to be held against the expert's when the window is over. */
  keep(origin: number, window: number, own: ArrayLike<number>): void {
    this.#waiting.push({ origin, window, own: Float64Array.from({ length: 3 }, (_, q) => own[q]!) });
  }

  /** Scores every kept answer whose window has ended by `known` values. */
  settle(known: number): void {
    let left = 0;
    for (const one of this.#waiting) {
      if (one.origin + this.#windows[one.window]! > known) this.#waiting[left++] = one;
      else this.#score(one.origin, one.window, one.own);
    }
    this.#waiting.length = left;
    const oldest = this.#waiting[0]?.origin ?? known;
    for (const origin of this.#answers.keys()) if (origin < oldest) this.#answers.delete(origin);
  }

  /**
   * Turns the row's own p50, p90 and p99 at an origin into the mixture.
   *
   * @param voices hears the expert's p50
   */
  mix(origin: number, window: number, own: Float64Array, voices?: Voices): void {
    const answers = this.#answers.get(origin);
    if (answers === undefined) return;
    const highest = own[2]! > 0 ? OWN_FACTOR_MAX * own[2]! : Number.POSITIVE_INFINITY;
    for (let q = 0; q < 3; q++) {
      const answer = Math.min(highest, answers[this.#place[window]! * 3 + q]!);
      if (!Number.isFinite(answer)) continue;
      const say = this.#say(window * 3 + q);
      if (q === 0) voices?.hear(answer, say);
      const mixed = (own[q]! + say * answer) / (1 + say);
      own[q] = q > 0 ? Math.max(mixed, own[q - 1]!) : mixed;
    }
  }

  #say(at: number): number {
    const { first, power, prior } = MAXIMA_TUNED;
    const scores = this.#scores[at]!;
    if (scores === 0) return first;
    const own = this.#ownLoss[at]! / scores;
    const loss = this.#loss[at]! / scores;
    const slack = (prior / scores) * Math.sqrt(own * loss) + 1e-9 * (own + loss) + 1e-300;
    return first * ((own + slack) / (loss + slack)) ** power;
  }

  #score(origin: number, window: number, own: Float64Array): void {
    const answers = this.#answers.get(origin);
    if (answers === undefined) return;
    const most = largest(this.#series.values, origin, this.#windows[window]!);
    if (Number.isNaN(most)) return;
    for (let q = 0; q < 3; q++) {
      const answer = answers[this.#place[window]! * 3 + q]!;
      if (!Number.isFinite(answer)) continue;
      const at = window * 3 + q;
      this.#ownLoss[at]! += pinball(most, own[q]!, LEVELS[q]!);
      this.#loss[at]! += pinball(most, answer, LEVELS[q]!);
      this.#scores[at]!++;
    }
  }
}

/** The largest known value of some steps; NaN without one. */
function largest(values: Float64Array, from: number, steps: number): number {
  let most = Number.NaN;
  for (let t = from; t < from + steps; t++) {
    const value = values[t]!;
    if (!Number.isNaN(value) && !(value <= most)) most = value;
  }
  return most;
}

function pinball(value: number, quantile: number, level: number): number {
  const off = value - quantile;
  return off > 0 ? level * off : (level - 1) * off;
}
