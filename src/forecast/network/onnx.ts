/**
 * ONNX models as experts, through the optional peer `onnxruntime-node`: the shipped network in a native runtime, and
 * models that users bring.
 *
 * A session lives in a thread of its own; `forecast` hands it a batch through shared memory and blocks until it is
 * answered, since the engine is synchronous (and runs in a worker of the controller, where blocking harms nobody).
 *
 * Invariants: a model whose inputs or outputs do not fit is refused when it is opened, with what was found and what is
 * needed; a call that takes longer than {@link CALL_MS_MAX} fails instead of blocking for ever.
 */
import { Worker } from 'node:worker_threads';
import { type BatchExpert, batchFeatureCount } from '../batch-expert.ts';
import { NETWORK_HORIZON_STEPS, NetworkExpert, type RowAnswerer } from './expert.ts';
import {
  ANSWERS,
  CONTEXT_FEATURES,
  CONTEXT_WIDTH,
  HEADS,
  HORIZON_FEATURES,
  HORIZON_WIDTH,
} from './layout.ts';
import { QuantileNetwork, writeAnswers } from './network.ts';
import { networkOnnxBytes } from './onnx-bytes.ts';
import {
  ASKED,
  Channel,
  CLOSING,
  channelMemory,
  DONE,
  FAILED,
  IDLE,
  type Shape,
  STATE,
} from './onnx-channel.ts';
import type { OnnxShape, OnnxThreadData, OnnxThreadReady } from './onnx-thread.ts';
import shipped from './weights.json' with { type: 'json' };
import { readWeights, type WeightsFile } from './weights.ts';

/** A batch that takes longer has a fault, not a load. */
const CALL_MS_MAX = 60_000;
/** Rows of a user's model asked at once. */
const ROWS_AT_ONCE = 512;
const INPUTS = ['contexts', 'features'] as const;
const OUTPUT = 'quantiles';

export interface OnnxOptions {
  /** Threads of one call; 1 where left out: the engine has many series, not one large one. */
  threads?: number;
}

export interface OnnxExpertOptions extends OnnxOptions {
  /** Path of the file, or its bytes. */
  model: string | Uint8Array;
  /** As shown in explanations; `onnx` where left out. */
  name?: string;
  contextSteps: number;
  horizonSteps: readonly number[];
  quantiles: readonly number[];
}

/** An expert that holds a thread. */
export interface ClosableExpert extends BatchExpert {
  close(): Promise<void>;
}

/**
 * A model of your own as an expert. Inputs `contexts` [count, contextSteps] and `features` [count, features] as
 * {@link BatchExpert} documents them, output `quantiles` [count, horizons, quantiles], all float32, `count` free.
 *
 * @example
 * const expert = await onnxExpert({
 *   model: 'model.onnx', contextSteps: 64, horizonSteps: [1, 15, 60], quantiles: [0.5, 0.9, 0.99],
 * });
 * @throws {RangeError} for a shape that no expert has, and an error for a model that is none or is of another shape
 */
export async function onnxExpert(options: OnnxExpertOptions): Promise<ClosableExpert> {
  checkShape(options);
  const { contextSteps, horizonSteps, quantiles, name = 'onnx' } = options;
  const width = batchFeatureCount({ horizonSteps });
  const session = await OnnxSession.open(options.model, INPUTS, OUTPUT, options.threads ?? 1);
  try {
    session.expect('input', 'contexts', ['count', contextSteps]);
    session.expect('input', 'features', ['count', width]);
    session.expect('output', OUTPUT, ['count', horizonSteps.length, quantiles.length]);
  } catch (error) {
    await session.close();
    throw error;
  }
  const answers = horizonSteps.length * quantiles.length;
  return {
    ...{ name, contextSteps, horizonSteps, quantiles },
    forecast(contexts, features, count, out) {
      for (let from = 0; from < count; from += ROWS_AT_ONCE) {
        const rows = Math.min(ROWS_AT_ONCE, count - from);
        const [context, feature] = session.places([
          [rows, contextSteps],
          [rows, width],
        ]) as [Float32Array, Float32Array];
        context.set(contexts.subarray(from * contextSteps, (from + rows) * contextSteps));
        feature.set(features.subarray(from * width, (from + rows) * width));
        out.set(session.run(rows * answers), from * answers);
      }
    },
    close: () => session.close(),
  };
}

/**
 * The shipped network in the native runtime: the same answers to rounding, sooner. A few series are answered in WebAssembly,
 * as the way to the session's thread and back would take longer.
 */
export async function nativeNetworkExpert(
  options: OnnxOptions & { horizonSteps?: readonly number[] } = {},
): Promise<NetworkExpert & { close(): Promise<void> }> {
  const weights = readWeights(shipped as WeightsFile);
  const bytes = networkOnnxBytes(weights);
  const session = await OnnxSession.open(bytes, ['context', 'horizon'], 'heads', options.threads ?? 1);
  const network = new NativeNetwork(session, new QuantileNetwork(weights));
  const expert = new NetworkExpert(network, options.horizonSteps ?? NETWORK_HORIZON_STEPS);
  return Object.assign(expert, { close: () => session.close() });
}

/** Numbers of one call to the native network. */
const NATIVE_NUMBERS = 1_048_576;
/** Series from which it is the native one that is asked: to its thread and back take 50 us, a series in WebAssembly 8. */
const NATIVE_SERIES_MIN = 8;

class NativeNetwork implements RowAnswerer {
  readonly #session: OnnxSession;
  readonly #few: RowAnswerer;

  constructor(session: OnnxSession, few: RowAnswerer) {
    this.#session = session;
    this.#few = few;
  }

  answer(
    contexts: Float32Array,
    features: Float32Array,
    count: number,
    horizons: number,
    out: Float32Array,
  ): void {
    if (count < NATIVE_SERIES_MIN) {
      this.#few.answer(contexts, features, count, horizons, out);
      return;
    }
    const atOnce = Math.max(1, Math.floor(NATIVE_NUMBERS / (CONTEXT_FEATURES + horizons * HORIZON_FEATURES)));
    for (let from = 0; from < count; from += atOnce) {
      const series = Math.min(atOnce, count - from);
      const rows = series * horizons;
      const first = from * horizons;
      const [context, horizon] = this.#session.places([
        [series, CONTEXT_FEATURES],
        [series, horizons, HORIZON_FEATURES],
      ]) as [Float32Array, Float32Array];
      gather(contexts, from, CONTEXT_WIDTH, context, series, CONTEXT_FEATURES);
      gather(features, first, HORIZON_WIDTH, horizon, rows, HORIZON_FEATURES);
      const heads = this.#session.run(rows * HEADS);
      for (let i = 0; i < rows; i++) {
        const candidates = (first + i) * HORIZON_WIDTH + HORIZON_FEATURES;
        writeAnswers(heads, i * HEADS, features, candidates, out, (first + i) * ANSWERS);
      }
    }
  }
}

/** The first `columns` of each of some rows that are `width` wide. */
function gather(
  from: Float32Array,
  first: number,
  width: number,
  to: Float32Array,
  rows: number,
  columns: number,
): void {
  for (let row = 0; row < rows; row++) {
    const at = (first + row) * width;
    for (let i = 0; i < columns; i++) to[row * columns + i] = from[at + i]!;
  }
}

/** A model in its thread, asked synchronously. */
class OnnxSession {
  readonly #worker: Worker;
  readonly #channel: Channel;
  readonly #inputs: readonly OnnxShape[];
  readonly #outputs: readonly OnnxShape[];
  #closed = false;

  private constructor(
    worker: Worker,
    channel: Channel,
    inputs: readonly OnnxShape[],
    outputs: readonly OnnxShape[],
  ) {
    this.#worker = worker;
    this.#channel = channel;
    this.#inputs = inputs;
    this.#outputs = outputs;
  }

  static async open(
    model: string | Uint8Array,
    inputs: readonly string[],
    output: string,
    threads: number,
  ): Promise<OnnxSession> {
    const memory = channelMemory();
    // Sources run by type stripping, the package as built JavaScript.
    const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
    const worker = new Worker(new URL(`./onnx-thread.${extension}`, import.meta.url), {
      workerData: { skeinOnnx: true, memory, model, inputs, output, threads } satisfies OnnxThreadData,
      execArgv: extension === 'ts' ? ['--conditions=skein-source'] : [],
    });
    const ready = await new Promise<OnnxThreadReady>((resolve, reject) => {
      worker.once('message', resolve);
      worker.once('error', reject);
      worker.once('exit', () => reject(new Error('the thread of the ONNX session ended before it began')));
    });
    const described = typeof model === 'string' ? model : 'the given bytes';
    if (!ready.ready) {
      await worker.terminate();
      throw new Error(
        ready.missing
          ? `an ONNX model needs the package onnxruntime-node, which is not installed (npm install onnxruntime-node): ${ready.error}`
          : `${described} is no model that onnxruntime-node opens: ${ready.error}`,
      );
    }
    worker.unref();
    return new OnnxSession(worker, new Channel(memory), ready.inputs, ready.outputs);
  }

  /** Refuses a model without this input or output, or with another shape; a size given as a name fits any. */
  expect(kind: 'input' | 'output', name: string, shape: readonly (number | string)[]): void {
    const all = kind === 'input' ? this.#inputs : this.#outputs;
    const found = all.find((one) => one.name === name);
    const list = (sizes: readonly (number | string)[]) => `[${sizes.join(', ')}]`;
    if (found === undefined)
      throw new Error(
        `the model has no ${kind} ${name} ${list(shape)}; it has ${all.map((one) => `${one.name} ${list(one.shape)}`).join(', ')}`,
      );
    const fits =
      found.shape.length === shape.length &&
      found.shape.every(
        (size, i) => typeof size === 'string' || typeof shape[i] === 'string' || size === shape[i],
      );
    if (!fits)
      throw new Error(
        `the model's ${kind} ${name} has the shape ${list(found.shape)}; ${list(shape)} is needed`,
      );
  }

  /** Where the numbers of the next call's inputs go. */
  places(shapes: readonly Shape[]): Float32Array[] {
    return this.#channel.feedPlaces(shapes);
  }

  /** Blocks until the model has answered so many numbers, which are there until the next call. */
  run(answers: number): Float32Array {
    if (this.#closed) throw new Error('the ONNX session is closed');
    const { control } = this.#channel;
    Atomics.store(control, STATE, ASKED);
    Atomics.notify(control, STATE);
    const waited = Atomics.wait(control, STATE, ASKED, CALL_MS_MAX);
    const state = Atomics.load(control, STATE);
    if (waited === 'timed-out' && state === ASKED) {
      void this.close();
      throw new Error(`the ONNX model did not answer within ${CALL_MS_MAX / 1000} s; its session is closed`);
    }
    Atomics.store(control, STATE, IDLE);
    if (state === FAILED) throw new Error(`the ONNX model failed: ${this.#channel.readError()}`);
    if (state !== DONE) throw new Error('the ONNX session is closed');
    return this.#channel.readOutput(answers);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    Atomics.store(this.#channel.control, STATE, CLOSING);
    Atomics.notify(this.#channel.control, STATE);
    await this.#worker.terminate();
  }
}

/** A shape often comes from a file beside the model. */
function checkShape({ contextSteps, horizonSteps, quantiles }: Partial<OnnxExpertOptions>): void {
  const isAscending = (values: readonly number[] | undefined, fits: (value: number) => boolean) =>
    Array.isArray(values) &&
    values.length > 0 &&
    values.every((value, i) => fits(value) && (i === 0 || value > values[i - 1]));
  if (!(Number.isInteger(contextSteps) && contextSteps! > 0))
    throw new RangeError('"contextSteps" is not a whole number above zero');
  if (!isAscending(horizonSteps, (ahead) => ahead >= 1))
    throw new RangeError('"horizonSteps" is not an ascending list of steps ahead, from 1');
  if (!isAscending(quantiles, (level) => level > 0 && level < 1) || !quantiles!.includes(0.5))
    throw new RangeError('"quantiles" is not an ascending list of levels between 0 and 1 that holds 0.5');
}
