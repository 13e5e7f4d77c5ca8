/**
 * One number from what several forecasters say, each with its say: between the mean, which uses all, and the median, which
 * one that is far off does not move (Jose and Winkler 2008: trimmed and winsorised means of forecasts).
 *
 * Invariants: the answer lies among those heard; of one or two voices it is their mean.
 */

export class Voices {
  readonly #values: Float64Array;
  readonly #says: Float64Array;
  #count = 0;

  /** @param most voices heard at once */
  constructor(most: number) {
    this.#values = new Float64Array(most);
    this.#says = new Float64Array(most);
  }

  clear(): void {
    this.#count = 0;
  }

  /** @param say above zero */
  hear(value: number, say: number): void {
    let at = this.#count++;
    for (; at > 0 && this.#values[at - 1]! > value; at--) {
      this.#values[at] = this.#values[at - 1]!;
      this.#says[at] = this.#says[at - 1]!;
    }
    this.#values[at] = value;
    this.#says[at] = say;
  }

  /** @param robust share of the median, against the mean: 0 to 1 */
  answer(robust: number): number {
    let sum = 0;
    let total = 0;
    for (let i = 0; i < this.#count; i++) {
      sum += this.#says[i]! * this.#values[i]!;
      total += this.#says[i]!;
    }
    const mean = sum / total;
    if (this.#count < 3) return mean;
    return (1 - robust) * mean + robust * this.#median(total / 2);
  }

  /** Root of the mean square of the distances from the mean, by their says; 0 of one voice. */
  deviation(): number {
    const mean = this.answer(0);
    let squares = 0;
    let total = 0;
    for (let i = 0; i < this.#count; i++) {
      squares += this.#says[i]! * (this.#values[i]! - mean) ** 2;
      total += this.#says[i]!;
    }
    return Math.sqrt(squares / total);
  }

  /** Straight between the middles of the voices' says. */
  #median(half: number): number {
    let below = 0;
    let beforeAt = 0;
    for (let i = 0; i < this.#count; i++) {
      const at = below + this.#says[i]! / 2;
      if (at >= half) {
        if (i === 0) return this.#values[0]!;
        const share = (half - beforeAt) / (at - beforeAt);
        // Rounding must not carry it past the next one.
        return Math.min(
          this.#values[i]!,
          this.#values[i - 1]! + share * (this.#values[i]! - this.#values[i - 1]!),
        );
      }
      below += this.#says[i]!;
      beforeAt = at;
    }
    return this.#values[this.#count - 1]!;
  }
}
