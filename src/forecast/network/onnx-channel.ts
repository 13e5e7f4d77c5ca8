/**
 * The memory that a caller and the thread of an ONNX session share, and its states.
 *
 *   IDLE --caller: ASKED--> ASKED --thread: answered or failed--> DONE or FAILED --caller takes it--> IDLE
 *
 * The caller blocks from ASKED to DONE: a forecast is a synchronous function, a session is not.
 */

export const IDLE = 0;
export const ASKED = 1;
export const DONE = 2;
export const FAILED = 3;
export const CLOSING = 4;

/** Numbers that one call can carry, in and out together: 16 MB. Callers split larger batches. */
export const CHANNEL_NUMBERS = 4_194_304;
const DIMENSIONS_MAX = 4;
const INPUTS_MAX = 4;
const ERROR_BYTES_MAX = 4096;

// Places in the control words.
export const STATE = 0;
const INPUT_COUNT = 1;
const OUTPUT_LENGTH = 2;
const ERROR_LENGTH = 3;
const SHAPES = 4;
const CONTROL_WORDS = SHAPES + INPUTS_MAX * (1 + DIMENSIONS_MAX);

export interface ChannelMemory {
  control: SharedArrayBuffer;
  numbers: SharedArrayBuffer;
  error: SharedArrayBuffer;
}

/** Sizes of an input. */
export type Shape = readonly number[];

export interface Feed {
  values: Float32Array;
  shape: Shape;
}

const sizeOf = (shape: Shape) => shape.reduce((product, size) => product * size, 1);

export function channelMemory(numbers = CHANNEL_NUMBERS): ChannelMemory {
  return {
    control: new SharedArrayBuffer(CONTROL_WORDS * 4),
    numbers: new SharedArrayBuffer(numbers * 4),
    error: new SharedArrayBuffer(ERROR_BYTES_MAX),
  };
}

/** Both ends' view of the memory. */
export class Channel {
  readonly control: Int32Array;
  readonly #numbers: Float32Array;
  readonly #error: Uint8Array;
  /** The thread's own, since a native session takes no shared memory. */
  #copies = new Float32Array(0);

  constructor(memory: ChannelMemory) {
    this.control = new Int32Array(memory.control);
    this.#numbers = new Float32Array(memory.numbers);
    this.#error = new Uint8Array(memory.error);
  }

  get capacity(): number {
    return this.#numbers.length;
  }

  /** Says what shapes the inputs of the next call have; their numbers go to the places that this returns. */
  feedPlaces(shapes: readonly Shape[]): Float32Array[] {
    const { control } = this;
    control[INPUT_COUNT] = shapes.length;
    let at = 0;
    return shapes.map((shape, i) => {
      const place = SHAPES + i * (1 + DIMENSIONS_MAX);
      control[place] = shape.length;
      control.set(shape, place + 1);
      const from = at;
      at += sizeOf(shape);
      if (at > this.#numbers.length)
        throw new Error(`a call of ${at} numbers, ${this.#numbers.length} can be carried`);
      return this.#numbers.subarray(from, at);
    });
  }

  /** What the caller put there. Valid until the next call. */
  readFeeds(): Feed[] {
    const { control } = this;
    const shapes = Array.from({ length: control[INPUT_COUNT]! }, (_, i) => {
      const place = SHAPES + i * (1 + DIMENSIONS_MAX);
      return Array.from(control.subarray(place + 1, place + 1 + control[place]!));
    });
    const length = shapes.reduce((sum, shape) => sum + sizeOf(shape), 0);
    if (this.#copies.length < length) this.#copies = new Float32Array(length);
    this.#copies.set(this.#numbers.subarray(0, length));
    let at = 0;
    return shapes.map((shape) => {
      const from = at;
      at += sizeOf(shape);
      return { values: this.#copies.subarray(from, at), shape };
    });
  }

  writeOutput(values: Float32Array): void {
    if (values.length > this.#numbers.length)
      throw new Error(`the model answered ${values.length} numbers, ${this.#numbers.length} can be carried`);
    this.#numbers.set(values);
    this.control[OUTPUT_LENGTH] = values.length;
  }

  /** The answer, until the next call. Fails where the model did not answer so many numbers. */
  readOutput(wanted: number): Float32Array {
    const length = this.control[OUTPUT_LENGTH]!;
    if (length !== wanted)
      throw new Error(
        `the model answered ${length} numbers where ${wanted} were expected; check its output shape`,
      );
    return this.#numbers.subarray(0, length);
  }

  writeError(message: string): void {
    const bytes = new TextEncoder().encode(message).subarray(0, ERROR_BYTES_MAX);
    this.#error.set(bytes);
    this.control[ERROR_LENGTH] = bytes.length;
  }

  readError(): string {
    return new TextDecoder().decode(this.#error.slice(0, this.control[ERROR_LENGTH]));
  }
}
