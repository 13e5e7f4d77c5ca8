/**
 * The trained network as a batch expert: writes its own rows, answers at whatever steps ahead it is asked, and turns
 * its answers from its own scale into that of the interface.
 *
 * Invariants: an answer lies within what `network.ts` bounds; a series of which nothing is known is answered NaN, which
 * is no vote; one object is for one thread.
 */
import { BATCH_HORIZONS_MAX, type BatchExpert, type BatchWindowInput } from '../batch-expert.ts';
import { asinh } from '../powers.ts';
import type { Runtime } from './dense.ts';
import { FeatureWriter } from './features.ts';
import { ANSWERS, CONTEXT_FEATURES, CONTEXT_WIDTH, HORIZON_WIDTH, QUANTILES } from './layout.ts';
import { QuantileNetwork } from './network.ts';
import shipped from './weights.json' with { type: 'json' };
import { readWeights, type WeightsFile } from './weights.ts';

/** Steps ahead asked for by default: powers of two, to a day and a half of minutes. */
export const NETWORK_HORIZON_STEPS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048] as const;
const DAY_S = 86_400;

/** Whatever answers rows of features with {@link ANSWERS} in z: the network here, or the same one in another runtime. */
export interface RowAnswerer {
  answer(
    contexts: Float32Array,
    features: Float32Array,
    count: number,
    horizons: number,
    out: Float32Array,
  ): void;
}

export interface NetworkExpertOptions {
  /** Steps ahead, ascending; {@link NETWORK_HORIZON_STEPS} where left out. */
  horizonSteps?: readonly number[];
  /** `plain` does without WebAssembly. */
  runtime?: Runtime;
}

/**
 * The network that is shipped, as an expert.
 *
 * @example
 * const expert = networkExpert({ horizonSteps: [1, 60, 1440] });
 */
export function networkExpert(options: NetworkExpertOptions = {}): NetworkExpert {
  const network = new QuantileNetwork(readWeights(shipped as WeightsFile), options.runtime);
  return new NetworkExpert(network, options.horizonSteps ?? NETWORK_HORIZON_STEPS);
}

export class NetworkExpert implements BatchExpert {
  readonly name = 'network';
  readonly contextSteps = CONTEXT_WIDTH;
  readonly quantiles = QUANTILES;
  readonly horizonSteps: readonly number[];
  readonly featureWidth: number;
  readonly #answerer: RowAnswerer;
  readonly #writer: FeatureWriter;
  #answers = new Float32Array(0);

  constructor(answerer: RowAnswerer, horizonSteps: readonly number[], writer = new FeatureWriter()) {
    if (horizonSteps.length === 0 || horizonSteps.length > BATCH_HORIZONS_MAX)
      throw new Error(
        `${horizonSteps.length} steps ahead asked for at once; from 1 to ${BATCH_HORIZONS_MAX} can be`,
      );
    if (horizonSteps.some((ahead, i) => !(ahead >= 1) || ahead <= (horizonSteps[i - 1] ?? 0)))
      throw new Error('steps ahead must be 1 or more, and ascend');
    this.horizonSteps = horizonSteps;
    this.featureWidth = horizonSteps.length * HORIZON_WIDTH;
    this.#answerer = answerer;
    this.#writer = writer;
  }

  withHorizons(horizonSteps: readonly number[]): NetworkExpert {
    return new NetworkExpert(this.#answerer, horizonSteps, this.#writer);
  }

  write(input: BatchWindowInput, row: number, contexts: Float32Array, features: Float32Array): number {
    const { at, length, stepS } = input;
    const periods = input.periods ?? [DAY_S / stepS, (7 * DAY_S) / stepS].filter((steps) => steps >= 2);
    const series = { at, length, periods };
    return this.#writer.write(
      series,
      this.horizonSteps,
      contexts,
      row * CONTEXT_WIDTH,
      features,
      row * this.featureWidth,
    );
  }

  forecast(contexts: Float32Array, features: Float32Array, count: number, out: Float32Array): void {
    const horizons = this.horizonSteps.length;
    const answers = this.#answer(contexts, features, count);
    for (let row = 0; row < count; row++)
      for (let h = 0; h < horizons; h++) {
        const from = (row * horizons + h) * ANSWERS;
        const to = (row * horizons + h) * QUANTILES.length;
        for (let q = 0; q < QUANTILES.length; q++) out[to + q] = fromZ(contexts, row, answers[from + q]!);
      }
  }

  /**
   * Quantiles ({@link MAX_QUANTILES}) of the largest value from the next step to each horizon, in the scale and order of
   * {@link forecast}.
   */
  forecastMax(contexts: Float32Array, features: Float32Array, count: number, out: Float32Array): void {
    const rows = count * this.horizonSteps.length;
    const answers = this.#answer(contexts, features, count);
    const width = ANSWERS - QUANTILES.length;
    for (let row = 0; row < rows; row++)
      for (let q = 0; q < width; q++) {
        const series = Math.floor(row / this.horizonSteps.length);
        out[row * width + q] = fromZ(contexts, series, answers[row * ANSWERS + QUANTILES.length + q]!);
      }
  }

  #answer(contexts: Float32Array, features: Float32Array, count: number): Float32Array {
    const horizons = this.horizonSteps.length;
    const size = count * horizons * ANSWERS;
    if (this.#answers.length < size) this.#answers = new Float32Array(size);
    this.#answerer.answer(contexts, features, count, horizons, this.#answers);
    return this.#answers;
  }
}

/** From z to asinh of the value over the level. */
function fromZ(contexts: Float32Array, row: number, z: number): number {
  const at = row * CONTEXT_WIDTH + CONTEXT_FEATURES;
  return asinh(contexts[at]! + contexts[at + 1]! * z);
}
