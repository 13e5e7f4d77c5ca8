/**
 * The p90 of all forecasters taken as one: the value that their distributions, each with its say, put nine tenths below
 * (linear opinion pool: Stone 1961). Where they disagree it lies further out than their mean p90: means of quantiles stay as
 * narrow as the forecasters are alone, though one of them may be right about a rise of which the others know nothing
 * (Lichtendahl, Grushka-Cockayne and Winkler 2013).
 *
 * A voice is normal in pieces through its p50, p90 and p99; below p50 it mirrors the piece above. Invariant: the answer lies
 * among the p90 heard.
 */
import { normalShare, Z90, Z99 } from '../normal.ts';

const LEVEL = 0.9;
/** The range of the p90 heard is halved until it is this share of the surest voice's deviation, but not more often than this. */
const PRECISION = 1e-3;
const HALVINGS_MAX = 40;
/** A deviation at least, in units of the series' scale: voices may be sure. */
const DEVIATION_MIN = 1e-9;

export class Pool {
  readonly #p50: Float64Array;
  readonly #p90: Float64Array;
  /** Deviations up to p90, and beyond. */
  readonly #within: Float64Array;
  readonly #beyond: Float64Array;
  readonly #says: Float64Array;
  #count = 0;

  /** @param most voices heard at once */
  constructor(most: number) {
    this.#p50 = new Float64Array(most);
    this.#p90 = new Float64Array(most);
    this.#within = new Float64Array(most);
    this.#beyond = new Float64Array(most);
    this.#says = new Float64Array(most);
  }

  get count(): number {
    return this.#count;
  }

  clear(): void {
    this.#count = 0;
  }

  /**
   * @param voice p50, p90 and p99
   * @param say above zero
   */
  hear(voice: ArrayLike<number>, say: number): void {
    const i = this.#count++;
    this.#p50[i] = voice[0]!;
    this.#p90[i] = voice[1]!;
    this.#within[i] = Math.max(DEVIATION_MIN, (voice[1]! - voice[0]!) / Z90);
    this.#beyond[i] = Math.max(DEVIATION_MIN, (voice[2]! - voice[1]!) / (Z99 - Z90));
    this.#says[i] = say;
  }

  p90(): number {
    let low = Number.POSITIVE_INFINITY;
    let high = Number.NEGATIVE_INFINITY;
    let surest = Number.POSITIVE_INFINITY;
    let total = 0;
    for (let i = 0; i < this.#count; i++) {
      if (this.#within[i]! < surest) surest = this.#within[i]!;
      if (this.#p90[i]! < low) low = this.#p90[i]!;
      if (this.#p90[i]! > high) high = this.#p90[i]!;
      total += this.#says[i]!;
    }
    for (let n = 0; n < HALVINGS_MAX && high - low > PRECISION * surest; n++) {
      const middle = (low + high) / 2;
      if (this.#below(middle) < LEVEL * total) low = middle;
      else high = middle;
    }
    return (low + high) / 2;
  }

  /** Says times the shares that lie below a value. */
  #below(value: number): number {
    let sum = 0;
    for (let i = 0; i < this.#count; i++) {
      const off = value - this.#p90[i]!;
      const z = off < 0 ? (value - this.#p50[i]!) / this.#within[i]! : Z90 + off / this.#beyond[i]!;
      sum += this.#says[i]! * normalShare(z);
    }
    return sum;
  }
}
