/**
 * Answers of batch experts along one series: all origins at which they are asked go to them in one batch, and are read
 * back by origin and horizon.
 */
import { BATCH_HORIZONS_MAX, type BatchExpert, writeBatchWindows } from './batch-expert.ts';
import { normalQuantile } from './normal.ts';
import { sinh } from './powers.ts';

const LEVELS = [0.5, 0.9, 0.99] as const;
/** Rows of one call: memory stays bounded on long series. */
const BATCH_ROWS_MAX = 64;

interface Series {
  /** Oldest first; NaN where missing. */
  values: Float64Array;
  stepS: number;
  /** Unix seconds of the first value; NaN where nobody knows. */
  t0: number;
}

export class BatchAnswers {
  readonly #expert: BatchExpert;
  readonly #series: Series;
  /** By origin: quantiles at each horizon asked for, in the series' unit. */
  readonly #answers = new Map<number, { steps: readonly number[]; values: Float64Array }>();

  constructor(expert: BatchExpert, series: Series) {
    this.#expert = expert;
    this.#series = series;
  }

  /**
   * Asks the expert at origins: how many values of the series are known. What was asked before is forgotten unless
   * `keep` says so.
   *
   * @param horizonSteps steps ahead, ascending; an expert that can only answer at its own is asked at those
   * @param periods steps of the periods believed in
   */
  ask(
    origins: readonly number[],
    horizonSteps: readonly number[],
    periods: readonly number[] | undefined,
    keep = false,
  ): void {
    if (!keep) this.#answers.clear();
    for (let from = 0; from < origins.length; from += BATCH_ROWS_MAX)
      this.#askBatch(horizonSteps, origins.slice(from, from + BATCH_ROWS_MAX), periods);
  }

  /** Whether the expert was asked there. */
  has(origin: number): boolean {
    return this.#answers.has(origin);
  }

  /** p50, p90 and p99 into `out`; false where it was not asked, cannot reach so far or said nothing finite. */
  at(origin: number, ahead: number, out: Float64Array): boolean {
    const found = this.#answers.get(origin);
    if (found === undefined) return false;
    const { steps, values: answers } = found;
    if (ahead > steps[steps.length - 1]!) return false;
    let right = 0;
    while (steps[right]! < ahead) right++;
    const left = Math.max(0, right - 1);
    const share =
      left === right
        ? 0
        : Math.min(1, Math.max(0, Math.log(ahead / steps[left]!) / Math.log(steps[right]! / steps[left]!)));
    const width = this.#expert.quantiles.length;
    for (let q = 0; q < 3; q++) {
      const value =
        (1 - share) * this.#quantile(answers, left * width, LEVELS[q]!) +
        share * this.#quantile(answers, right * width, LEVELS[q]!);
      if (!Number.isFinite(value)) return false;
      out[q] = value;
    }
    return true;
  }

  #askBatch(
    wanted: readonly number[],
    origins: readonly number[],
    periods: readonly number[] | undefined,
  ): void {
    const count = origins.length;
    // Far horizons come in pieces: what is said of a step does not depend on how many others are asked for.
    const experts = this.#expert.withHorizons
      ? pieces(wanted).map((steps) => this.#expert.withHorizons!(steps))
      : [this.#expert];
    const steps = experts.flatMap(({ horizonSteps }) => horizonSteps);
    const quantiles = this.#expert.quantiles.length;
    const answers = origins.map(() => new Float64Array(steps.length * quantiles));
    let at = 0;
    for (const expert of experts) {
      const { contexts, features, levels } = writeBatchWindows(expert, this.#series, origins, periods);
      const width = expert.horizonSteps.length * quantiles;
      const out = new Float32Array(count * width);
      expert.forecast(contexts, features, count, out);
      for (let row = 0; row < count; row++)
        for (let i = 0; i < width; i++) answers[row]![at + i] = levels[row]! * sinh(out[row * width + i]!);
      at += width;
    }
    origins.forEach((origin, row) => {
      this.#answers.set(origin, { steps, values: answers[row]! });
    });
  }

  /** Straight on the normal's scale between the expert's own levels, and on beyond its last two. */
  #quantile(answers: Float64Array, at: number, level: number): number {
    const own = this.#expert.quantiles;
    const exact = own.indexOf(level);
    if (exact >= 0) return answers[at + exact]!;
    if (own.length < 2) return Number.NaN;
    let right = own.findIndex((one) => one > level);
    if (right < 0) right = own.length - 1;
    right = Math.max(1, right);
    const [za, zb] = [normalQuantile(own[right - 1]!), normalQuantile(own[right]!)];
    const share = (normalQuantile(level) - za) / (zb - za);
    return answers[at + right - 1]! + share * (answers[at + right]! - answers[at + right - 1]!);
  }
}

/** As many steps at a time as can be asked at once. */
function pieces(steps: readonly number[]): (readonly number[])[] {
  const found: (readonly number[])[] = [];
  for (let from = 0; from < steps.length; from += BATCH_HORIZONS_MAX)
    found.push(steps.slice(from, from + BATCH_HORIZONS_MAX));
  return found;
}
