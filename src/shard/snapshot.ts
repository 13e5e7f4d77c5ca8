/**
 * A whole shard as bytes, encoded and decoded in slices so that the event loop never waits long.
 *
 * The bytes are frames, each a 32-bit length and one msgpack value. The first frame is the header; the others are
 * tokens that build the state: a value, a list or an object to open, a run of elements or members for the open one,
 * and the end. States are immutable, so slicing needs no lock: what is encoded is the state handed in, whatever happens
 * to the shard meanwhile.
 *
 * Invariant: decode(encode(x)) equals x, whatever the slicing.
 */
import { ProblemError } from '../model/errors.ts';
import { codec } from './delta.ts';
import type { WindowSnapshot } from './idempotency.ts';
import { SLICE_MS_MAX } from './limits.ts';
import { freezeDeep, type Json, sizeOf } from './patch.ts';

const SNAPSHOT_FORMAT = 1;
/** A token is about this large: well below a millisecond of work. */
const TOKEN_BYTES = 32 * 1024;

const VALUE = 0;
const LIST = 1;
const OBJECT = 2;
const ELEMENTS = 3;
const MEMBERS = 4;
const NAMED = 5;
const END = 6;
const WINDOW_ROWS = 7;

/** What makes up a shard; `state` is undefined before its first delta. */
export interface SnapshotContent {
  version: number;
  /** `ctx.now` of the last command. */
  timeMs: number;
  state: Json | undefined;
  stateBytes: number;
  window: WindowSnapshot;
}

/** Where long work yields: a clock and a way to come back later. */
export interface Slicer {
  monotonicMs(): number;
  defer(run: () => void): void;
}

/**
 * A slicer for work that nobody waits for: it rests between two slices as long as a slice takes, so that a copy of 16 MB
 * leaves half of the event loop, and of a small machine, to users.
 */
export function unhurried(clock: {
  monotonicMs(): number;
  setTimer(delayMs: number, fire: () => void): unknown;
}): Slicer {
  return {
    monotonicMs: () => clock.monotonicMs(),
    defer: (run) => {
      clock.setTimer(SLICE_MS_MAX, run);
    },
  };
}

type Token = [kind: number, value?: unknown];

export async function encodeSnapshot(content: SnapshotContent, slicer: Slicer): Promise<Uint8Array> {
  const frames: Uint8Array[] = [];
  let totalBytes = 0;
  let sliceStartMs = slicer.monotonicMs();
  const isSliceOver = () => slicer.monotonicMs() - sliceStartMs >= SLICE_MS_MAX;
  const nextSlice = async () => {
    await new Promise<void>((resolve) => slicer.defer(resolve));
    sliceStartMs = slicer.monotonicMs();
  };
  for (const token of tokens(content)) {
    const packed = codec.pack(token);
    frames.push(packed);
    totalBytes += 4 + packed.length;
    if (isSliceOver()) await nextSlice();
  }
  // Joining is work too: the first touch of 16 MB of new memory takes 5 to 20 ms.
  const bytes = new Uint8Array(totalBytes);
  const view = new DataView(bytes.buffer);
  let offset = 0;
  for (const frame of frames) {
    if (isSliceOver()) await nextSlice();
    view.setUint32(offset, frame.length);
    bytes.set(frame, offset + 4);
    offset += 4 + frame.length;
  }
  return bytes;
}

function* tokens({ version, timeMs, state, stateBytes, window }: SnapshotContent): Generator<unknown> {
  const { rows, marks, forgottenMs } = window;
  const forgotten = Number.isFinite(forgottenMs) ? forgottenMs : null;
  yield [SNAPSHOT_FORMAT, version, timeMs, state !== undefined, stateBytes, marks, forgotten];
  for (let i = 0; i < rows.length; i += 200) yield [WINDOW_ROWS, rows.slice(i, i + 200)];
  if (state !== undefined) yield* valueTokens(state);
}

function* valueTokens(value: Json): Generator<Token> {
  if (typeof value !== 'object' || value === null || sizeOf(value, TOKEN_BYTES) <= TOKEN_BYTES) {
    yield [VALUE, value];
  } else if (Array.isArray(value)) {
    yield [LIST];
    let run: Json[] = [];
    let runBytes = 0;
    for (const element of value) {
      const bytes = sizeOf(element, TOKEN_BYTES);
      if (runBytes + bytes > TOKEN_BYTES && run.length > 0) {
        yield [ELEMENTS, run];
        run = [];
        runBytes = 0;
      }
      if (bytes > TOKEN_BYTES) yield* valueTokens(element);
      else {
        run.push(element);
        runBytes += bytes;
      }
    }
    if (run.length > 0) yield [ELEMENTS, run];
    yield [END];
  } else {
    yield [OBJECT];
    let run: { [key: string]: Json } = {};
    let runBytes = 0;
    for (const key of Object.keys(value)) {
      const child = value[key]!;
      const bytes = key.length + sizeOf(child, TOKEN_BYTES);
      if (runBytes > 0 && runBytes + bytes > TOKEN_BYTES) {
        yield [MEMBERS, run];
        run = {};
        runBytes = 0;
      }
      if (bytes > TOKEN_BYTES) {
        yield [NAMED, key];
        yield* valueTokens(child);
      } else {
        run[key] = child;
        runBytes += bytes;
      }
    }
    if (runBytes > 0) yield [MEMBERS, run];
    yield [END];
  }
}

/** The content comes frozen. @throws ProblemError `state-unreadable` for bytes that are no snapshot of this format. */
export function decodeSnapshot(
  bytes: Uint8Array,
  slicer: Slicer,
): SnapshotContent | Promise<SnapshotContent> {
  const decoder = new Decoder(bytes, slicer);
  // Small snapshots, nearly all of them, decode at once: opening a shard then costs no turn of the event loop.
  return decoder.run() ? decoder.content() : decoder.finish();
}

class Decoder {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #slicer: Slicer;
  #offset = 0;
  #content: SnapshotContent | undefined;
  readonly #open: (Json[] | { [key: string]: Json })[] = [];
  readonly #names: (string | undefined)[] = [];
  #name: string | undefined;

  constructor(bytes: Uint8Array, slicer: Slicer) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#slicer = slicer;
  }

  /** Decodes for one slice; true when done. */
  run(): boolean {
    const startMs = this.#slicer.monotonicMs();
    try {
      while (this.#offset < this.#bytes.length) {
        const length = this.#view.getUint32(this.#offset);
        const start = this.#offset + 4;
        if (start + length > this.#bytes.length) throw new RangeError('the snapshot is cut off');
        this.#offset = start + length;
        const frame = codec.unpack(this.#bytes.subarray(start, this.#offset));
        if (this.#content === undefined) this.#header(frame);
        else this.#token(frame);
        if (this.#slicer.monotonicMs() - startMs >= SLICE_MS_MAX) return this.#offset >= this.#bytes.length;
      }
    } catch (cause) {
      if (cause instanceof ProblemError) throw cause;
      throw new ProblemError(
        'state-unreadable',
        `a snapshot is damaged: ${(cause as Error).message}`,
        {},
        { cause },
      );
    }
    return true;
  }

  async finish(): Promise<SnapshotContent> {
    do await new Promise<void>((resolve) => this.#slicer.defer(resolve));
    while (!this.run());
    return this.content();
  }

  content(): SnapshotContent {
    if (this.#content === undefined || this.#open.length > 0) {
      throw new ProblemError('state-unreadable', 'a snapshot is incomplete');
    }
    return this.#content;
  }

  #header(frame: unknown): void {
    if (!Array.isArray(frame) || frame[0] !== SNAPSHOT_FORMAT) {
      throw new ProblemError('state-unreadable', 'a snapshot has a format this build does not know');
    }
    const [, version, timeMs, , stateBytes, marks, forgotten] = frame;
    const window = { rows: [], marks, forgottenMs: forgotten ?? Number.NEGATIVE_INFINITY };
    this.#content = { version, timeMs, state: undefined, stateBytes, window };
  }

  #token([kind, value]: Token): void {
    switch (kind) {
      case VALUE:
        freezeDeep(value);
        this.#put(value as Json);
        break;
      case LIST:
      case OBJECT:
        this.#open.push(kind === LIST ? [] : {});
        this.#names.push(this.#name);
        break;
      case ELEMENTS:
        for (const element of value as Json[]) {
          freezeDeep(element);
          (this.#open.at(-1) as Json[]).push(element);
        }
        break;
      case MEMBERS:
        freezeDeep(value);
        Object.assign(this.#open.at(-1)!, value);
        break;
      case NAMED:
        this.#name = value as string;
        break;
      case END: {
        const closed = this.#open.pop()!;
        this.#name = this.#names.pop();
        Object.freeze(closed);
        this.#put(closed);
        break;
      }
      case WINDOW_ROWS:
        for (const row of value as WindowSnapshot['rows']) this.#content!.window.rows.push(row);
        break;
      default:
        throw new RangeError(`unknown token ${kind}`);
    }
  }

  #put(value: Json): void {
    const container = this.#open.at(-1);
    if (container === undefined) this.#content!.state = value;
    else if (Array.isArray(container)) container.push(value);
    else container[this.#name!] = value;
  }
}
