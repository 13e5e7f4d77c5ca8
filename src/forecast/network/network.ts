/**
 * Inference of the trained quantile network, in batches.
 *
 *   context --encode1--> relu --encode2--> relu, + --join--+
 *                                                          +--> relu --decode--> relu --heads--> quantiles
 *   horizon features (one row a horizon) -----horizon------+
 *
 * The heads weigh the candidate forecasts, correct their mixture and say how far the other quantiles lie from it.
 *
 * Boundary: pure. Invariants: quantiles never cross, none is below zero load, and none is further from the largest
 * candidate than the bounds of layout.ts allow: nothing explodes. A series without a known value is answered NaN.
 */
import { exp, sinh } from '../powers.ts';
import { within } from '../within.ts';
import {
  DenseWorkspace,
  type PackedMatrix,
  paddedColumns,
  paddedDepth,
  type RowBuffer,
  type Runtime,
} from './dense.ts';
import {
  ANSWERS,
  CANDIDATES,
  CONTEXT_FEATURES,
  CONTEXT_WIDTH,
  CORRECTION_MAX,
  DISTANCE_LOG_MAX,
  DISTANCE_LOG_MIN,
  HEADS,
  HORIZON_FEATURES,
  HORIZON_WIDTH,
} from './layout.ts';
import type { NetworkWeights } from './weights.ts';

/** Series encoded at once: their rows and a panel of weights stay in the first-level cache. */
const SERIES_AT_ONCE = 32;
/** Shares of candidates this far below the likeliest, in logarithms, are none. */
const EXPONENT_MAX = 600;
/** Rows of horizons decoded at once. */
const HORIZONS_AT_ONCE = 256;

export class QuantileNetwork {
  readonly runtime: Runtime;
  readonly #space: DenseWorkspace;
  readonly #hidden: number;
  readonly #matrices: Record<'encode1' | 'encode2' | 'join' | 'horizon' | 'decode' | 'heads', PackedMatrix>;
  readonly #bias: Record<'encode1' | 'encode2' | 'join' | 'decode' | 'heads', Float32Array>;
  readonly #context: RowBuffer;
  readonly #encoded1: RowBuffer;
  readonly #encoded2: RowBuffer;
  readonly #joined: RowBuffer;
  readonly #horizon: RowBuffer;
  readonly #decoded1: RowBuffer;
  readonly #decoded2: RowBuffer;
  readonly #heads: RowBuffer;

  /** @param runtime `plain` does without WebAssembly; the answers are the same, some 20 times later. */
  constructor(weights: NetworkWeights, runtime?: Runtime) {
    const { hidden, decoder, last } = weights;
    const [wide, joined, narrow, heads] = [hidden, decoder, last, HEADS].map(paddedColumns) as [
      number,
      number,
      number,
      number,
    ];
    const deep = [paddedDepth(CONTEXT_FEATURES), paddedDepth(HORIZON_FEATURES)] as [number, number];
    const numbers =
      (deep[0] + wide + 1) * wide +
      (wide + deep[1] + 2) * joined +
      joined * narrow +
      narrow * heads +
      wide +
      narrow +
      heads +
      SERIES_AT_ONCE * (deep[0] + 2 * wide + joined) +
      HORIZONS_AT_ONCE * (deep[1] + joined + narrow + heads);
    const space = new DenseWorkspace(numbers + 64 * 20, runtime);
    this.#space = space;
    this.runtime = space.runtime;
    this.#hidden = wide;
    this.#matrices = {
      encode1: space.pack(weights.encode1.weight, CONTEXT_FEATURES, hidden),
      encode2: space.pack(weights.encode2.weight, hidden, hidden),
      join: space.pack(weights.join.weight, hidden, decoder),
      horizon: space.pack(weights.horizon.weight, HORIZON_FEATURES, decoder),
      decode: space.pack(weights.decode.weight, decoder, last),
      heads: space.pack(weights.heads.weight, last, HEADS),
    };
    this.#bias = {
      encode1: space.vector(weights.encode1.bias),
      encode2: space.vector(weights.encode2.bias),
      join: space.vector(weights.join.bias),
      decode: space.vector(weights.decode.bias),
      heads: space.vector(weights.heads.bias),
    };
    this.#context = space.rows(SERIES_AT_ONCE, deep[0]);
    this.#encoded1 = space.rows(SERIES_AT_ONCE, wide);
    this.#encoded2 = space.rows(SERIES_AT_ONCE, wide);
    this.#joined = space.rows(SERIES_AT_ONCE, joined);
    this.#horizon = space.rows(HORIZONS_AT_ONCE, deep[1]);
    this.#decoded1 = space.rows(HORIZONS_AT_ONCE, joined);
    this.#decoded2 = space.rows(HORIZONS_AT_ONCE, narrow);
    this.#heads = space.rows(HORIZONS_AT_ONCE, heads);
  }

  /**
   * Answers for `count` series at `horizons` horizons each.
   *
   * @param contexts `count x CONTEXT_WIDTH`, as `FeatureWriter` writes them
   * @param features `count x horizons x HORIZON_WIDTH`
   * @param out `count x horizons x ANSWERS`, in z: four quantiles of the value, three of the largest up to it
   */
  answer(
    contexts: Float32Array,
    features: Float32Array,
    count: number,
    horizons: number,
    out: Float32Array,
  ): void {
    for (let from = 0; from < count; from += SERIES_AT_ONCE) {
      const series = Math.min(SERIES_AT_ONCE, count - from);
      this.#encode(contexts, from, series);
      const rows = series * horizons;
      for (let row = 0; row < rows; row += HORIZONS_AT_ONCE) {
        const part = Math.min(HORIZONS_AT_ONCE, rows - row);
        this.#decode(features, from * horizons + row, row, part, horizons);
        for (let i = 0; i < part; i++) this.#write(features, from * horizons + row + i, i, out);
      }
    }
  }

  /** Leaves in `#joined`, for each series, the part of the decoder's first layer that all its horizons share. */
  #encode(contexts: Float32Array, from: number, series: number): void {
    const { values } = this.#space;
    const input = this.#context;
    for (let row = 0; row < series; row++) {
      const at = (from + row) * CONTEXT_WIDTH;
      values.set(contexts.subarray(at, at + CONTEXT_FEATURES), input.at + row * input.width);
    }
    const first = this.#encoded1;
    const second = this.#encoded2;
    fill(values, first, series, this.#bias.encode1);
    this.#space.multiply(input, this.#matrices.encode1, first, series, true);
    fill(values, second, series, this.#bias.encode2);
    this.#space.multiply(first, this.#matrices.encode2, second, series, true);
    const size = series * this.#hidden;
    for (let i = 0; i < size; i++) values[second.at + i]! += values[first.at + i]!;
    fill(values, this.#joined, series, this.#bias.join);
    this.#space.multiply(second, this.#matrices.join, this.#joined, series, false);
  }

  #decode(features: Float32Array, firstRow: number, ownRow: number, rows: number, horizons: number): void {
    const { values } = this.#space;
    const input = this.#horizon;
    const joined = this.#joined;
    const first = this.#decoded1;
    for (let row = 0; row < rows; row++) {
      const at = (firstRow + row) * HORIZON_WIDTH;
      const to = input.at + row * input.width;
      for (let i = 0; i < HORIZON_FEATURES; i++) values[to + i] = features[at + i]!;
      const series = joined.at + Math.floor((ownRow + row) / horizons) * joined.width;
      values.copyWithin(first.at + row * first.width, series, series + joined.width);
    }
    this.#space.multiply(input, this.#matrices.horizon, first, rows, true);
    fill(values, this.#decoded2, rows, this.#bias.decode);
    this.#space.multiply(first, this.#matrices.decode, this.#decoded2, rows, true);
    fill(values, this.#heads, rows, this.#bias.heads);
    this.#space.multiply(this.#decoded2, this.#matrices.heads, this.#heads, rows, false);
  }

  #write(features: Float32Array, row: number, own: number, out: Float32Array): void {
    const at = this.#heads.at + own * this.#heads.width;
    writeAnswers(
      this.#space.values,
      at,
      features,
      row * HORIZON_WIDTH + HORIZON_FEATURES,
      out,
      row * ANSWERS,
    );
  }
}

/** From heads at `values[at]` and candidates (z) at `features[candidates]` to {@link ANSWERS} at `out[to]`. */
export function writeAnswers(
  values: Float32Array,
  at: number,
  features: Float32Array,
  candidates: number,
  out: Float32Array,
  to: number,
): void {
  let most = values[at]!;
  for (let i = 1; i < CANDIDATES; i++) if (values[at + i]! > most) most = values[at + i]!;
  let shares = 0;
  let middle = 0;
  for (let i = 0; i < CANDIDATES; i++) {
    const off = values[at + i]! - most;
    const share = off < -EXPONENT_MAX ? 0 : exp(off);
    shares += share;
    middle += share * features[candidates + i]!;
  }
  middle = middle / shares + sinh(within(values[at + CANDIDATES]!, -CORRECTION_MAX, CORRECTION_MAX));
  const off = distances;
  for (let i = 0; i < off.length; i++)
    off[i] = exp(within(values[at + CANDIDATES + 1 + i]!, DISTANCE_LOG_MIN, DISTANCE_LOG_MAX));
  const high = middle + off[1]!;
  const higher = high + off[2]!;
  const peak = middle + off[3]!;
  const peakHigh = Math.max(peak, high + off[4]!);
  const zero = features[candidates + CANDIDATES - 1]!;
  out[to] = Math.max(zero, middle - off[0]!);
  out[to + 1] = Math.max(zero, middle);
  out[to + 2] = Math.max(zero, high);
  out[to + 3] = Math.max(zero, higher);
  out[to + 4] = Math.max(zero, peak);
  out[to + 5] = Math.max(zero, peakHigh);
  out[to + 6] = Math.max(zero, peakHigh, higher + off[5]!);
}

/** Of p10, p90, p99, and of the maximum's p50, p90, p99. Scratch of one thread. */
const distances = new Float64Array(HEADS - CANDIDATES - 1);

function fill(values: Float32Array, buffer: RowBuffer, rows: number, bias: Float32Array): void {
  for (let row = 0; row < rows; row++) values.set(bias, buffer.at + row * buffer.width);
}
