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

export interface Feed {
  values: Float32Array;
  shape: readonly number[];
}

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

  constructor(memory: ChannelMemory) {
    this.control = new Int32Array(memory.control);
    this.#numbers = new Float32Array(memory.numbers);
    this.#error = new Uint8Array(memory.error);
  }

  get capacity(): number {
    return this.#numbers.length;
  }

  writeFeeds(feeds: readonly Feed[]): void {
    const { control } = this;
    control[INPUT_COUNT] = feeds.length;
    let at = 0;
    feeds.forEach(({ values, shape }, i) => {
      const place = SHAPES + i * (1 + DIMENSIONS_MAX);
      control[place] = shape.length;
      shape.forEach((size, d) => {
        control[place + 1 + d] = size;
      });
      this.#numbers.set(values, at);
      at += values.length;
    });
  }

  /** Copies: a native session takes no shared memory. */
  readFeeds(): Feed[] {
    const { control } = this;
    let at = 0;
    return Array.from({ length: control[INPUT_COUNT]! }, (_, i) => {
      const place = SHAPES + i * (1 + DIMENSIONS_MAX);
      const shape = Array.from(control.subarray(place + 1, place + 1 + control[place]!));
      const length = shape.reduce((product, size) => product * size, 1);
      const values = this.#numbers.slice(at, at + length);
      at += length;
      return { values, shape };
    });
  }

  writeOutput(values: Float32Array): void {
    if (values.length > this.#numbers.length)
      throw new Error(`the model answered ${values.length} numbers, ${this.#numbers.length} can be carried`);
    this.#numbers.set(values);
    this.control[OUTPUT_LENGTH] = values.length;
  }

  /** Fails where the model did not answer as many numbers as `out` takes. */
  readOutput(out: Float32Array): void {
    const length = this.control[OUTPUT_LENGTH]!;
    if (length !== out.length)
      throw new Error(
        `the model answered ${length} numbers where ${out.length} were expected; check its output shape`,
      );
    out.set(this.#numbers.subarray(0, length));
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
