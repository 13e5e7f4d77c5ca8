/**
 * A row's past for an expert in batches, in the series' unit: step by step as far as that is held, further back means of some
 * steps.
 *
 * One object for all rows of a bank, and one function that is asked: what is read through it hundreds of times a row is then
 * known to whoever compiles it. Invariant: holds one row, until it looks at another.
 */
import { type BankLayout, F, type Row } from './layout.ts';
import { readRing } from './rings.ts';

export class RowPast {
  /** Steps since the series began. */
  length = 0;
  readonly #layout: BankLayout;
  readonly #rings: readonly Float64Array[];
  readonly #counts: Int32Array;
  #scale = 0;

  constructor(layout: BankLayout) {
    this.#layout = layout;
    this.#rings = layout.ringValues.map((values) => new Float64Array(values));
    this.#counts = new Int32Array(layout.ringValues.length);
  }

  look(row: Row): this {
    this.length = row.floats[row.f + F.length]! | 0;
    this.#scale = row.floats[row.f + F.scale]!;
    for (let ring = 0; ring < this.#rings.length; ring++)
      this.#counts[ring] = readRing(row, ring, this.#rings[ring]!);
    return this;
  }

  /** The value `age` steps before the newest, which has the age 0; NaN where unknown. */
  readonly at = (age: number): number => {
    const last = this.#counts[0]! - 1;
    return age <= last ? this.#rings[0]![last - age]! * this.#scale : this.#coarse(age);
  };

  #coarse(age: number): number {
    const { ringSteps, ringValues } = this.#layout;
    for (let ring = 1; ring < ringSteps.length; ring++) {
      const width = ringSteps[ring]!;
      if (age >= ringValues[ring]! * width) continue;
      const cell = Math.floor(this.length / width) - 1 - Math.floor((this.length - 1 - age) / width);
      return (this.#rings[ring]![this.#counts[ring]! - 1 - cell] ?? Number.NaN) * this.#scale;
    }
    return Number.NaN;
  }
}
