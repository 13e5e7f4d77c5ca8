/**
 * One way of foreseeing a series. A model sees every step once, in order, and answers for any number of steps ahead;
 * whether it is believed is decided elsewhere, by what its answers turned out to be worth.
 *
 * Invariant: an answer is finite or NaN ("I cannot say yet"); callers clamp it.
 */
import type { History } from '../history.ts';

export interface Model {
  readonly name: string;
  /** The newest value; NaN for a missing step. Called after the history has it. */
  observe(value: number, history: History): void;
  /** Expected value `ahead` steps from the newest. `season` is the seasonal profile there, NaN where unknown. */
  predict(ahead: number, season: number, history: History): number;
  save(): number[];
  load(state: readonly number[]): void;
}
