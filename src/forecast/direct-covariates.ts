/**
 * What covariates tell the direct regression of a step to come: how far each is from what it was at that phase in the
 * cycles before, and what the load was then on days like it (similar days: Hippert, Pedreira and Souza 2001): on a day
 * off the load has another shape, which no sum of effects has.
 *
 * Boundary: pure. Invariants: the load is read up to the moment only, covariates as far as they are told; a covariate that
 * is constant, unknown or endless tells nothing; every number is finite.
 */
import { exponentialMean } from './exponential-mean.ts';

/** Values of one covariate that make it one of kinds, not of amounts. */
const KINDS_MAX = 4;
/** Cycles looked through, and what one weighs against the one after it. */
const CYCLES = 28;
const CYCLE_KEEP = 0.95;
/** What a cycle weighs whose kind is the other end of all kinds, and one that is so many deviations off. */
const SIMILAR_TUNED = { kinds: 2.5, amounts: 0.25 } as const;
/** Standardised covariates beyond are as these. */
const OFF_MAX = 4;
const READ_MAX = 1e15;
/** Half-life in steps of what is usual, where there is no period. */
const USUAL_STEPS = 60;

interface Column {
  /** Standardised, without gaps, as long as steps can be asked for. */
  values: Float64Array;
  /** Kinds are told apart on a scale from 0 to 1. */
  kinds: boolean;
  range: number;
}

export class DirectCovariates {
  readonly width: number;
  readonly #columns: readonly Column[];
  readonly #period: number;
  readonly #z: Float64Array;
  readonly #similar = new Map<number, Float64Array>();
  readonly #usual: Float64Array[];

  /**
   * @param columns each at least as long as the series; NaN where unknown: then as it last was
   * @param z the series on its log scale, without gaps
   * @param known steps that standards are taken from
   * @param reach steps beyond the series that can be asked for
   */
  constructor(
    columns: readonly Float64Array[],
    z: Float64Array,
    known: number,
    period: number,
    reach: number,
  ) {
    this.#z = z;
    this.#period = period;
    this.#columns = columns.flatMap((column) => standardised(column, known, z.length + reach) ?? []);
    this.width = this.#columns.length === 0 ? 0 : 2 * this.#columns.length + (period > 0 ? 2 : 0);
    this.#usual = this.#columns.map(({ values }) =>
      period > 0 ? values : exponentialMean(values, USUAL_STEPS),
    );
  }

  /**
   * Writes what is told of the step `ahead` of `t`.
   *
   * @param passed whole periods to pass over until the load is known
   * @param profile what is expected of that step without covariates, and of `t`
   */
  write(
    t: number,
    ahead: number,
    passed: number,
    profile: readonly [number, number],
    into: Float64Array,
    at: number,
  ): void {
    let i = at;
    this.#columns.forEach(({ values }, c) => {
      into[i++] = values[t + ahead]! - this.#before(c, t + ahead, passed, t);
      into[i++] = values[t]! - this.#before(c, t, 1, t);
    });
    if (this.#period === 0) return;
    into[i++] = this.#profile(passed)[t + ahead]! - profile[0];
    into[i] = this.#profile(1)[t]! - profile[1];
  }

  /** What a covariate was at that phase, over a week of cycles. */
  #before(c: number, step: number, passed: number, t: number): number {
    if (this.#period === 0) return this.#usual[c]![t]!;
    const { values } = this.#columns[c]!;
    let sum = 0;
    let count = 0;
    for (let k = passed; k < passed + 7; k++) {
      const then = Math.round(step - k * this.#period);
      if (then < 0) break;
      sum += values[then]!;
      count++;
    }
    return count > 0 ? sum / count : values[step]!;
  }

  #profile(passed: number): Float64Array {
    let found = this.#similar.get(passed);
    if (found !== undefined) return found;
    const z = this.#z;
    found = new Float64Array(this.#columns[0]!.values.length);
    for (let s = 0; s < found.length; s++) {
      let sum = 0;
      let total = 0;
      let keep = 1;
      for (let k = passed; k < passed + CYCLES; k++, keep *= CYCLE_KEEP) {
        const then = Math.round(s - k * this.#period);
        if (then < 0) break;
        if (then >= z.length) continue;
        let apart = 0;
        for (const { values, kinds, range } of this.#columns) {
          const off = values[s]! - values[then]!;
          apart += kinds ? (SIMILAR_TUNED.kinds * Math.abs(off)) / range : SIMILAR_TUNED.amounts * off * off;
        }
        const weight = keep * Math.exp(-apart) + 1e-9;
        sum += weight * z[then]!;
        total += weight;
      }
      found[s] = total > 0 ? sum / total : z[Math.min(s, z.length - 1)]!;
    }
    this.#similar.set(passed, found);
    return found;
  }
}

function standardised(column: Float64Array, known: number, length: number): Column | undefined {
  const usable = (value: number) => Math.abs(value) <= READ_MAX;
  const seen = column.subarray(0, known).filter(usable).sort();
  if (seen.length < 2) return undefined;
  const mean = seen.reduce((sum, value) => sum + value, 0) / seen.length;
  const deviation = Math.sqrt(seen.reduce((sum, value) => sum + (value - mean) ** 2, 0) / seen.length);
  const range = seen[seen.length - 1]! - seen[0]!;
  if (!(range > 1e-9 * (Math.abs(mean) + range))) return undefined;
  let different = 1;
  for (let i = 1; i < seen.length && different <= KINDS_MAX; i++) if (seen[i] !== seen[i - 1]) different++;
  const kinds = different <= KINDS_MAX;
  const scale = kinds ? Math.max(deviation, range / 2) : deviation;
  const values = new Float64Array(length);
  let last = 0;
  for (let s = 0; s < length; s++) {
    const value = column[s] ?? Number.NaN;
    if (usable(value)) last = Math.max(-OFF_MAX, Math.min(OFF_MAX, (value - mean) / scale));
    values[s] = last;
  }
  return { values, kinds, range: range / scale };
}
