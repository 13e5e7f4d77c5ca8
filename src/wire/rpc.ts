/**
 * Calls and streams between Skein's own processes, over a {@link Channel}.
 *
 * Frames are msgpack with record structures learnt in order (a channel is ordered and reliable while it lives). The
 * first frame is a hello with the cluster's token; nothing else is read before it. A call whose channel breaks or
 * whose time is up rejects with `unavailable`: it may or may not have happened. Nothing is retried here.
 *
 *   client                        server
 *   [HELLO, token, identity]  ->
 *   [CALL, id, method, payload] ->
 *                             <-  [RESULT, id, value] | [ERROR, id, code, message, data]
 *   [OPEN, id, method, payload] ->
 *                             <-  [ITEM, id, value]*  then [RESULT | ERROR]
 *   [CANCEL, id]              ->
 *   [PING]                    ->
 *                             <-  [PONG]
 *
 * A host that vanished closes nothing. So a client that waits for something and hears nothing asks for a sign of life
 * after {@link SILENCE_MS_MAX} / 3, and takes the connection for broken after {@link SILENCE_MS_MAX}.
 */
import { timingSafeEqual } from 'node:crypto';
import { Packr } from 'msgpackr';
import type { Channel, Clock, Listener, Network } from '../io/io.ts';
import { type PendingCall, PendingCalls } from './pending-calls.ts';

const HELLO = 0;
const CALL = 1;
const OPEN = 2;
const CANCEL = 3;
const RESULT = 4;
const ERROR = 5;
const ITEM = 6;
const PING = 7;
const PONG = 8;

export const CALL_TIMEOUT_MS_DEFAULT = 10_000;
const RECONNECT_DELAY_MS_MAX = 500;
/** Longer than a garbage collection or a slow disk, shorter than anyone's patience. */
export const SILENCE_MS_MAX = 6_000;

/** A call that failed. `code` is `unavailable` where the outcome is unknown, else the thrower's code. */
export class RpcError extends Error {
  override readonly name = 'RpcError';
  readonly code: string;
  readonly data: unknown;
  /** False only where the call surely never left this process. */
  readonly maybeExecuted: boolean;
  /** The other side ended the connection under the call, as the end of its process does; not we, and not silence. */
  readonly peerLeft: boolean;
  constructor(
    code: string,
    message: string,
    options: { data?: unknown; maybeExecuted?: boolean; peerLeft?: boolean; cause?: unknown } = {},
  ) {
    super(message, { cause: options.cause });
    this.code = code;
    this.data = options.data;
    this.maybeExecuted = options.maybeExecuted ?? true;
    this.peerLeft = options.peerLeft ?? false;
  }
}

export interface CallContext {
  /** What the peer called itself in its hello: a process id. */
  identity: string;
}

export interface StreamContext extends CallContext {
  emit(item: unknown): void;
  /** Bytes waiting on this channel: a producer that can wait, waits. */
  readonly bufferedBytes: number;
  /** Called once when the client cancels or the channel breaks. */
  onCancel: () => void;
}

export type CallHandler = (payload: never, context: CallContext) => unknown;
/** Resolves to end the stream; stays pending to keep it open. */
export type StreamHandler = (payload: never, context: StreamContext) => Promise<unknown>;

export interface RpcHandlers {
  calls?: Record<string, CallHandler>;
  streams?: Record<string, StreamHandler>;
}

interface Packer {
  pack(message: unknown): Uint8Array;
  unpack(frame: Uint8Array): unknown;
}

function makePacker(): Packer {
  // One packer a direction: a sequential packer learns structures in the order of its own frames.
  const out = new Packr({ sequential: true, structuredClone: false, moreTypes: false });
  const into = new Packr({ sequential: true, structuredClone: false, moreTypes: false });
  return { pack: (message) => out.pack(message), unpack: (frame) => into.unpack(frame) };
}

// ---------------------------------------------------------------- server

export async function serveRpc(options: {
  network: Network;
  address: string;
  token: string;
  handlers: RpcHandlers;
}): Promise<Listener> {
  const sessions = new Set<ServerSession>();
  const listener = await options.network.listen(options.address, (channel) => {
    const session = new ServerSession(channel, options.token, options.handlers, () =>
      sessions.delete(session),
    );
    sessions.add(session);
  });
  return {
    address: listener.address,
    close: async () => {
      for (const session of [...sessions]) session.close();
      await listener.close();
    },
  };
}

class ServerSession {
  readonly #channel: Channel;
  readonly #token: string;
  readonly #handlers: RpcHandlers;
  readonly #packer = makePacker();
  readonly #streams = new Map<number, StreamContext>();
  readonly #onEnd: () => void;
  /** The peer's hello; undefined before it. */
  #context: CallContext | undefined;
  #closed = false;

  constructor(channel: Channel, token: string, handlers: RpcHandlers, onEnd: () => void) {
    this.#channel = channel;
    this.#token = token;
    this.#handlers = handlers;
    this.#onEnd = onEnd;
    channel.onFrame = (frame) => this.#receive(frame);
    channel.onClose = () => this.#end();
  }

  close(): void {
    this.#channel.close();
    this.#end();
  }

  #end(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const stream of this.#streams.values()) stream.onCancel();
    this.#streams.clear();
    this.#onEnd();
  }

  #send(message: unknown): void {
    if (!this.#closed) this.#channel.send(this.#packer.pack(message));
  }

  #receive(frame: Uint8Array): void {
    let message: unknown[];
    try {
      message = this.#packer.unpack(frame) as unknown[];
      if (!Array.isArray(message)) throw new TypeError('not a message');
    } catch {
      this.close();
      return;
    }
    if (this.#context === undefined) {
      if (message[0] !== HELLO || !sameToken(String(message[1]), this.#token)) {
        this.#send([
          ERROR,
          0,
          'unauthorized',
          'the token is missing or wrong; both sides must use the same --token',
        ]);
        this.close();
        return;
      }
      this.#context = { identity: String(message[2]) };
      return;
    }
    const [kind, id, method, payload] = message as [number, number, string, never];
    if (kind === CALL) this.#call(id, method, payload);
    else if (kind === OPEN) this.#open(id, method, payload);
    else if (kind === CANCEL) {
      const stream = this.#streams.get(id);
      this.#streams.delete(id);
      stream?.onCancel();
    } else if (kind === PING) this.#send([PONG, 0]);
  }

  #call(id: number, method: string, payload: never): void {
    const handler = this.#handlers.calls?.[method];
    if (!handler) {
      this.#send([ERROR, id, 'no-such-method', `no method ${method}`]);
      return;
    }
    let value: unknown;
    try {
      value = handler(payload, this.#context!);
    } catch (error) {
      this.#fail(id, error);
      return;
    }
    if (isPromiseLike(value)) {
      value.then(
        (result) => this.#send([RESULT, id, result]),
        (error) => this.#fail(id, error),
      );
    } else this.#send([RESULT, id, value]);
  }

  #open(id: number, method: string, payload: never): void {
    const handler = this.#handlers.streams?.[method];
    if (!handler) {
      this.#send([ERROR, id, 'no-such-method', `no stream ${method}`]);
      return;
    }
    const channel = this.#channel;
    const context: StreamContext = {
      identity: this.#context!.identity,
      emit: (item) => {
        if (this.#streams.get(id) === context) this.#send([ITEM, id, item]);
      },
      get bufferedBytes() {
        return channel.bufferedBytes;
      },
      onCancel: () => {},
    };
    this.#streams.set(id, context);
    handler(payload, context).then(
      (result) => {
        if (this.#streams.delete(id)) this.#send([RESULT, id, result]);
      },
      (error) => {
        if (this.#streams.delete(id)) this.#fail(id, error);
      },
    );
  }

  #fail(id: number, error: unknown): void {
    const { code, message, data } = describeError(error);
    this.#send([ERROR, id, code, message, data]);
  }
}

function describeError(error: unknown): { code: string; message: string; data?: unknown } {
  if (error instanceof Error) {
    const { code, data } = error as { code?: unknown; data?: unknown };
    return { code: typeof code === 'string' ? code : 'internal', message: error.message, data };
  }
  return { code: 'internal', message: String(error) };
}

function sameToken(given: string, wanted: string): boolean {
  const a = Buffer.from(given);
  const b = Buffer.from(wanted);
  return a.length === b.length && timingSafeEqual(a, b);
}

function isPromiseLike(value: unknown): value is PromiseLike<unknown> {
  return (
    typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function'
  );
}

// ---------------------------------------------------------------- client

export interface ClientStream {
  cancel(): void;
}

interface Session {
  channel: Channel;
  packer: Packer;
  /** Anything came back: the connection stood. */
  heard: boolean;
  heardMs: number;
  watching: boolean;
}

interface PendingStream {
  onItem: (item: never) => void;
  onEnd: (error: RpcError | undefined) => void;
}

/**
 * One connection to one peer, made on first use and again after it broke. Calls made while it is down connect at once
 * after the first failure and with growing delay after further ones, and reject when the connection cannot be made.
 */
export class RpcClient {
  readonly address: string;
  readonly #network: Network;
  readonly #clock: Clock;
  readonly #token: string;
  readonly #identity: string;
  readonly #timeoutMs: number;
  readonly #calls: PendingCalls<RpcError>;
  readonly #streams = new Map<number, PendingStream>();
  #session: Session | undefined;
  #nextId = 1;
  #failures = 0;
  #notBeforeMs = 0;
  #closed = false;
  /** Called when an established or attempted connection ends. */
  onDown: (reason: string) => void = () => {};

  constructor(options: {
    network: Network;
    clock: Clock;
    address: string;
    token: string;
    identity: string;
    timeoutMs?: number;
  }) {
    this.address = options.address;
    this.#network = options.network;
    this.#clock = options.clock;
    this.#token = options.token;
    this.#identity = options.identity;
    this.#timeoutMs = options.timeoutMs ?? CALL_TIMEOUT_MS_DEFAULT;
    this.#calls = new PendingCalls(options.clock, (call) => call.reject(this.#timedOut(call)));
  }

  #timedOut({ method, timeoutMs }: PendingCall<RpcError>): RpcError {
    return new RpcError('unavailable', `${method} at ${this.address} gave no answer in ${timeoutMs} ms`);
  }

  /** Calls under way: for choosing and bounding. */
  get pendingCalls(): number {
    return this.#calls.size;
  }

  get bufferedBytes(): number {
    return this.#session?.channel.bufferedBytes ?? 0;
  }

  call<Result>(method: string, payload: unknown, options: { timeoutMs?: number } = {}): Promise<Result> {
    return new Promise<Result>((resolve, reject) => {
      const session = this.#connect();
      if (!session) {
        reject(new RpcError('unavailable', `${this.address} is not reachable`, { maybeExecuted: false }));
        return;
      }
      const id = this.#calls.freeId(this.#nextId);
      this.#nextId = id + 1;
      let frame: Uint8Array;
      try {
        frame = session.packer.pack([CALL, id, method, payload]);
      } catch (error) {
        reject(
          new RpcError('invalid', `cannot encode a call of ${method}`, {
            maybeExecuted: false,
            cause: error,
          }),
        );
        return;
      }
      const timeoutMs = options.timeoutMs ?? this.#timeoutMs;
      const deadlineMs = this.#clock.monotonicMs() + timeoutMs;
      this.#calls.add({ id, method, timeoutMs, deadlineMs, resolve, reject });
      session.channel.send(frame);
      this.#watch(session);
    });
  }

  /** Opens a stream. `onEnd` comes once: without an error when the server ended it, with one when it broke. */
  open<Item>(
    method: string,
    payload: unknown,
    onItem: (item: Item) => void,
    onEnd: (error: RpcError | undefined) => void,
  ): ClientStream {
    const session = this.#connect();
    if (!session) {
      const cancel = this.#clock.setTimer(0, () =>
        onEnd(new RpcError('unavailable', `${this.address} is not reachable`, { maybeExecuted: false })),
      );
      return { cancel };
    }
    const id = this.#nextId++;
    this.#streams.set(id, { onItem: onItem as (item: never) => void, onEnd });
    session.channel.send(session.packer.pack([OPEN, id, method, payload]));
    this.#watch(session);
    return {
      cancel: () => {
        if (!this.#streams.delete(id)) return;
        if (this.#session === session) session.channel.send(session.packer.pack([CANCEL, id]));
      },
    };
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#session?.channel.close();
    this.#drop('closed here');
  }

  #connect() {
    if (this.#session || this.#closed) return this.#session;
    if (this.#clock.monotonicMs() < this.#notBeforeMs) return undefined;
    const channel = this.#network.connect(this.address);
    const session: Session = {
      channel,
      packer: makePacker(),
      heard: false,
      heardMs: this.#clock.monotonicMs(),
      watching: false,
    };
    channel.onFrame = (frame) => this.#receive(session, frame);
    channel.onClose = (reason) => {
      if (this.#session !== session) return;
      this.#failures = session.heard ? 0 : this.#failures + 1;
      const delayMs = this.#failures <= 1 ? 0 : Math.min(RECONNECT_DELAY_MS_MAX, 10 * 2 ** this.#failures);
      this.#notBeforeMs = this.#clock.monotonicMs() + delayMs;
      this.#drop(reason, true);
    };
    this.#session = session;
    channel.send(session.packer.pack([HELLO, this.#token, this.#identity]));
    return session;
  }

  /** Looks after a connection while something is awaited on it. */
  #watch(session: Session): void {
    if (session.watching) return;
    session.watching = true;
    const startedMs = this.#clock.monotonicMs();
    const look = () => {
      if (this.#session !== session) return;
      if (this.#calls.size === 0 && this.#streams.size === 0) {
        session.watching = false;
        return;
      }
      const silentMs = this.#clock.monotonicMs() - Math.max(session.heardMs, startedMs);
      if (silentMs >= SILENCE_MS_MAX) {
        session.channel.close();
        this.#drop(`nothing heard for ${Math.round(silentMs)} ms`);
        return;
      }
      if (silentMs >= SILENCE_MS_MAX / 3) session.channel.send(session.packer.pack([PING]));
      this.#clock.setTimer(SILENCE_MS_MAX / 3, look);
    };
    this.#clock.setTimer(SILENCE_MS_MAX / 3, look);
  }

  #drop(reason: string, peerLeft = false): void {
    const maybeExecuted = this.#session?.channel.opened !== false;
    this.#session = undefined;
    const calls = this.#calls.takeAll();
    const streams = [...this.#streams.values()];
    this.#streams.clear();
    const error = () =>
      new RpcError('unavailable', `the connection to ${this.address} broke: ${reason}`, {
        maybeExecuted,
        peerLeft,
      });
    for (const call of calls) call.reject(error());
    for (const stream of streams) stream.onEnd(error());
    this.onDown(reason);
  }

  #receive(session: Session, frame: Uint8Array): void {
    session.heard = true;
    session.heardMs = this.#clock.monotonicMs();
    const [kind, id, first, second, third] = session.packer.unpack(frame) as [
      number,
      number,
      never,
      string,
      unknown,
    ];
    if (kind === ITEM) {
      this.#streams.get(id)?.onItem(first);
      return;
    }
    if (kind === ERROR && id === 0) {
      session.channel.close();
      this.#notBeforeMs = this.#clock.monotonicMs() + RECONNECT_DELAY_MS_MAX;
      this.#drop(second);
      return;
    }
    const error = kind === ERROR ? new RpcError(String(first), second, { data: third }) : undefined;
    const call = this.#calls.take(id);
    if (call) {
      if (error) call.reject(error);
      else call.resolve(first);
      return;
    }
    const stream = this.#streams.get(id);
    if (stream) {
      this.#streams.delete(id);
      stream.onEnd(error);
    }
  }
}
