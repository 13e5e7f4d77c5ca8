/** Exponential level: tomorrow is as the last few steps were. `halfLifeSteps` 0 is the last value itself. */
import type { Model } from './model.ts';

export class Level implements Model {
  readonly name: string;
  readonly #keep: number;
  #sum = 0;
  #weight = 0;

  constructor(halfLifeSteps: number) {
    this.name = halfLifeSteps > 0 ? `level-${halfLifeSteps}` : 'last';
    this.#keep = halfLifeSteps > 0 ? 2 ** (-1 / halfLifeSteps) : 0;
  }

  observe(value: number): void {
    if (Number.isNaN(value)) return;
    this.#sum = this.#keep * this.#sum + value;
    this.#weight = this.#keep * this.#weight + 1;
  }

  predict(): number {
    return this.#weight > 0 ? this.#sum / this.#weight : Number.NaN;
  }

  save(): number[] {
    return [this.#sum, this.#weight];
  }

  load([sum, weight]: readonly number[]): void {
    this.#sum = sum ?? 0;
    this.#weight = weight ?? 0;
  }
}
