/**
 * What covariates do to a series: ridge regression on the asinh scale, where a share of the load is a difference.
 *
 * Season and level are taken out of the series and of every covariate alike, as the difference from the same phase of
 * the periods before (Frisch and Waugh 1933: the coefficients are those of a regression that holds the season too), and a
 * share of the step before is taken off both (Cochrane and Orcutt 1949: errors of neighbouring steps are alike).
 *
 * Boundary: pure. Invariants: an effect is finite and never beyond what covariates did in the history by more than a
 * quarter; a constant, an unknown or an endless covariate has none.
 */

/** Values of one covariate that make it one of kinds (a holiday, weather of four sorts), not of amounts. */
const KINDS_MAX = 4;
/** Harmonics of the period in which the effect of a kind may differ by the time of day. */
const HARMONICS = 4;
const FEATURES_MAX = 64;
/** Same phases before that a step is compared with. */
const PERIODS_BEFORE = 7;
/** Steps before, where no period is known. */
const STEPS_BEFORE = 12;
/** Ridge, in steps in which a covariate is one usual deviation off; effects by time of day are shrunk three times as much. */
const RIDGE = 10;
const PHASE_SHRINK = Math.sqrt(1 / 3);
/** Share of the step before that is taken off. */
const WHITEN = 0.3;
/** Half-life of a step's weight, in periods. */
const MEMORY_PERIODS = 21;
const MEMORY_STEPS_MIN = 300;
/** Standardised covariates beyond are as these. */
const OFF_MAX = 4;
/** Larger ones are no measurement. */
const READ_MAX = 1e15;
/** So many usual distances from the median are no measurement either. */
const FAR = 1e4;
/** An effect may exceed those of the history by this share of their range. */
const BEYOND = 0.25;
/** Unit of the asinh, in mean absolute values: below it the scale is that of amounts, above of shares. */
const UNIT_SHARE = 0.5;
/** Steps of history from which anything is said, and compared steps for each feature. */
export const FIT_STEPS_MIN = 36;
const ROWS_PER_FEATURE_MIN = 2;

/** How one covariate is brought to a common scale. */
interface Standard {
  centre: number;
  scale: number;
  far: number;
  kinds: boolean;
}

export interface FitInput {
  /** Oldest first; NaN where missing. */
  values: Float64Array;
  /** Each as long as `values`. */
  columns: readonly Float64Array[];
  /** Number of the first step: phases are counted from it. */
  first: number;
  /** Steps of the strongest period; below 2: none. */
  period: number;
  /** Whether effects of kinds may differ by phase. */
  byPhase: boolean;
}

export class CovariateFit {
  /** Unit of the asinh, in the series' own. */
  readonly unit: number;
  readonly #standards: readonly Standard[];
  readonly #coefficients: Float64Array;
  readonly #period: number;
  readonly #byPhase: boolean;
  readonly #features: Float64Array;
  #low = 0;
  #high = 0;

  private constructor(input: FitInput, standards: readonly Standard[], unit: number, features: number) {
    this.unit = unit;
    this.#standards = standards;
    this.#period = input.period;
    this.#byPhase = input.byPhase;
    this.#features = new Float64Array(features);
    this.#coefficients = new Float64Array(features);
  }

  /** Undefined where the history says nothing: too short, all zero, or no covariate that varies. */
  static of(input: FitInput): CovariateFit | undefined {
    const { values, columns, first } = input;
    const steps = values.length;
    let sum = 0;
    let known = 0;
    for (const value of values)
      if (Number.isFinite(value)) {
        sum += Math.abs(value);
        known++;
      }
    if (known < FIT_STEPS_MIN || !(sum > 0)) return undefined;
    const standards = columns.map(standardOf);
    if (standards.every(({ scale }) => scale === 0)) return undefined;
    const count = featureCount(standards, input);
    const fit = new CovariateFit(input, standards, (UNIT_SHARE * sum) / known, count);
    const features = new Float64Array(steps * count);
    const at = new Float64Array(columns.length);
    for (let t = 0; t < steps; t++) {
      for (let c = 0; c < columns.length; c++) at[c] = columns[c]![t]!;
      fit.#write(at, first + t, features, t * count);
    }
    const target = values.map((value) => fit.scaled(value));
    if (!solve(fit.#coefficients, target, features, input)) return undefined;
    fit.#bound(features, steps);
    return fit;
  }

  /** To the scale on which effects add up, and back. */
  scaled(value: number): number {
    return Math.asinh(value / this.unit);
  }

  unscaled(value: number): number {
    return this.unit * Math.sinh(value);
  }

  /**
   * What covariates add at a step, on the scale of {@link scaled}.
   *
   * @param at their values; NaN ones say nothing
   * @param step its number
   */
  effect(at: ArrayLike<number>, step: number): number {
    this.#write(at, step, this.#features, 0);
    let sum = 0;
    for (let i = 0; i < this.#features.length; i++) sum += this.#coefficients[i]! * this.#features[i]!;
    return Math.max(this.#low, Math.min(this.#high, sum));
  }

  #write(at: ArrayLike<number>, step: number, into: Float64Array, from: number): void {
    let i = from;
    const end = from + this.#coefficients.length;
    for (let c = 0; c < this.#standards.length; c++) into[i++] = standardised(this.#standards[c]!, at[c]!);
    if (!this.#byPhase) return;
    for (let harmonic = 1; harmonic <= HARMONICS; harmonic++)
      for (let c = 0; c < this.#standards.length; c++) {
        if (!this.#standards[c]!.kinds || i + 1 >= end) continue;
        const angle = (2 * Math.PI * harmonic * step) / this.#period;
        into[i++] = into[from + c]! * Math.sin(angle) * PHASE_SHRINK;
        into[i++] = into[from + c]! * Math.cos(angle) * PHASE_SHRINK;
      }
  }

  #bound(features: Float64Array, steps: number): void {
    const count = this.#coefficients.length;
    let low = 0;
    let high = 0;
    for (let t = 0; t < steps; t++) {
      let sum = 0;
      for (let i = 0; i < count; i++) sum += this.#coefficients[i]! * features[t * count + i]!;
      low = Math.min(low, sum);
      high = Math.max(high, sum);
    }
    const beyond = BEYOND * (high - low);
    this.#low = low - beyond;
    this.#high = high + beyond;
  }
}

function standardised({ centre, scale, far }: Standard, value: number): number {
  if (scale === 0 || !(Math.abs(value) <= READ_MAX) || Math.abs(value - centre) > far) return 0;
  const off = (value - centre) / scale;
  return off > OFF_MAX ? OFF_MAX : off < -OFF_MAX ? -OFF_MAX : off;
}

function standardOf(column: Float64Array): Standard {
  const known = column.filter((value) => Math.abs(value) <= READ_MAX).sort();
  const none = { centre: 0, scale: 0, far: Number.POSITIVE_INFINITY, kinds: false };
  if (known.length < 2) return none;
  const median = known[known.length >> 1]!;
  const trim = Math.floor(known.length / 100);
  let usual = 0;
  for (let i = trim; i < known.length - trim; i++) usual += Math.abs(known[i]! - median);
  usual /= known.length - 2 * trim;
  const far = usual > 0 ? FAR * usual : Number.POSITIVE_INFINITY;
  const near = known.filter((value) => Math.abs(value - median) <= far);
  const centre = near.reduce((sum, value) => sum + value, 0) / near.length;
  const square = near.reduce((sum, value) => sum + (value - centre) ** 2, 0) / near.length;
  const range = near[near.length - 1]! - near[0]!;
  if (!(range > 1e-9 * (Math.abs(centre) + range))) return none;
  let kinds = 1;
  for (let i = 1; i < near.length && kinds <= KINDS_MAX; i++) if (near[i] !== near[i - 1]) kinds++;
  // A kind seen once in a month is not one usual deviation when it comes again: it would be believed at once.
  const few = kinds <= KINDS_MAX;
  return { centre, scale: few ? Math.max(Math.sqrt(square), range / 2) : Math.sqrt(square), far, kinds: few };
}

function featureCount(standards: readonly Standard[], { byPhase, period }: FitInput): number {
  const kinds = byPhase && period >= 2 * HARMONICS ? standards.filter((one) => one.kinds).length : 0;
  const room = Math.floor((FEATURES_MAX - standards.length) / 2);
  return standards.length + 2 * Math.min(room, HARMONICS * kinds);
}

/** Lags that a step is compared with, given how much history there is. */
function lagsOf(steps: number, period: number): number[] {
  const lags: number[] = [];
  if (period >= 2)
    for (let k = 1; k <= PERIODS_BEFORE && k * period < steps * 0.75; k++) lags.push(Math.round(k * period));
  if (lags.length === 0) for (let k = 1; k <= STEPS_BEFORE; k++) lags.push(k);
  return lags;
}

/** False where there are too few steps to compare, or the numbers do not allow a solution. */
function solve(into: Float64Array, target: Float64Array, features: Float64Array, input: FitInput): boolean {
  const count = into.length;
  const steps = target.length;
  const lags = lagsOf(steps, input.period);
  const gram = new Float64Array(count * count);
  const right = new Float64Array(count);
  const halfLife = Math.max(MEMORY_STEPS_MIN, MEMORY_PERIODS * Math.max(0, input.period));
  let row = new Float64Array(count + 1);
  let before = new Float64Array(count + 1);
  const used = new Float64Array(count + 1);
  let beforeAt = -2;
  let rows = 0;
  // Half of the lags known are enough: the first steps have few, and would otherwise say nothing.
  const from = lags[Math.min(lags.length - 1, Math.max(0, Math.ceil(lags.length / 2) - 1))]!;
  for (let t = from; t < steps; t++) {
    if (!compare(row, t, lags, target, features)) continue;
    const whiten = beforeAt === t - 1 ? WHITEN : 0;
    for (let i = 0; i <= count; i++) used[i] = row[i]! - whiten * before[i]!;
    const weight = 2 ** ((t - steps) / halfLife);
    for (let i = 0; i < count; i++) {
      const weighted = weight * used[i]!;
      if (weighted === 0) continue;
      right[i]! += weighted * used[count]!;
      for (let j = 0; j <= i; j++) gram[i * count + j]! += weighted * used[j]!;
    }
    [row, before] = [before, row];
    beforeAt = t;
    rows++;
  }
  if (rows < ROWS_PER_FEATURE_MIN * count) return false;
  return cholesky(gram, right, into);
}

/** The features and the target at a step, less their means at the lags; false where the series is missing. */
function compare(
  into: Float64Array,
  t: number,
  lags: readonly number[],
  target: Float64Array,
  features: Float64Array,
): boolean {
  const count = into.length - 1;
  if (!Number.isFinite(target[t]!)) return false;
  into.fill(0);
  let known = 0;
  for (const lag of lags) {
    if (lag > t || !Number.isFinite(target[t - lag]!)) continue;
    known++;
    for (let i = 0; i < count; i++) into[i]! -= features[(t - lag) * count + i]!;
    into[count]! -= target[t - lag]!;
  }
  if (known === 0) return false;
  for (let i = 0; i < count; i++) into[i] = into[i]! / known + features[t * count + i]!;
  into[count] = into[count]! / known + target[t]!;
  return true;
}

function cholesky(gram: Float64Array, right: Float64Array, into: Float64Array): boolean {
  const count = into.length;
  for (let i = 0; i < count; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = gram[i * count + j]! + (i === j ? RIDGE : 0);
      for (let k = 0; k < j; k++) sum -= gram[i * count + k]! * gram[j * count + k]!;
      if (i === j) {
        if (!(sum > 1e-9)) return false;
        gram[i * count + i] = Math.sqrt(sum);
      } else gram[i * count + j] = sum / gram[j * count + j]!;
    }
  }
  for (let i = 0; i < count; i++) {
    let sum = right[i]!;
    for (let k = 0; k < i; k++) sum -= gram[i * count + k]! * into[k]!;
    into[i] = sum / gram[i * count + i]!;
  }
  for (let i = count - 1; i >= 0; i--) {
    let sum = into[i]!;
    for (let k = i + 1; k < count; k++) sum -= gram[k * count + i]! * into[k]!;
    into[i] = sum / gram[i * count + i]!;
  }
  return into.every(Number.isFinite);
}
