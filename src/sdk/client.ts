/**
 * The typed client: one HTTP call a handler call, retried where that is safe, errors thrown by documented code.
 *
 * Every command carries an `Idempotency-Key`, the same on each retry, so that it takes effect once however often it
 * had to be sent. Only broken connections and 503 are retried. Works in browsers and in Node; takes the world as
 * {@link WebIo}.
 */
import { type WebIo, webIo } from '../io/web.ts';
import { ProblemError, parseProblem } from '../model/errors.ts';
import { encodeKey } from '../model/ids.ts';
import type { AnyService, App, CommandHandler, Handler, QueryHandler } from './service.ts';
import type { OverJson } from './types.ts';

export const RETRIES_DEFAULT = 4;
export const RETRY_DELAY_MS_FIRST = 50;
export const RETRY_DELAY_MS_MAX = 5_000;

export interface ClientOptions {
  /** How often a call is sent again after a broken connection or a 503; 4 by default, 0 for never. */
  retries?: number;
  /** Sent with every call, such as `authorization`. */
  headers?: Readonly<Record<string, string>>;
  /** Stable name of the user: all calls of one user go to the same side while a shard moves. */
  user?: string;
  /** Replaces `fetch`, clocks and randomness: for tests. */
  io?: Partial<WebIo>;
}

export interface CallOptions {
  /** The command's own key; a fresh one a call by default. Give it to make a retry of your own safe. */
  idempotencyKey?: string;
  /** A query answers from a state at least this new: `seq` of an earlier reply of the same shard. */
  minSeq?: number;
  /**
   * A standby may answer the query, from a state that was the newest at most so many milliseconds before it was sent:
   * nearer, and also while the primary's node is being replaced. Counts up to what the service's `staleReads` allows.
   */
  atMostStaleMs?: number;
  signal?: AbortSignal;
}

/** A reply with what it says of the shard. */
export interface Reply<Value> {
  value: Value;
  /** Fencing token of the shard's primary. */
  epoch: number | undefined;
  /** The state that the reply saw: pass it as `minSeq` to read your own write. */
  seq: number | undefined;
  /** The state may have been out of date by so many milliseconds; 0 where the primary, or one as fresh, answered. */
  stalenessMs: number;
  /** An earlier attempt had done the work already. */
  replayed: boolean;
}

type Arguments<Input> = undefined extends Input
  ? [input?: Input, options?: CallOptions]
  : [input: Input, options?: CallOptions];

export interface HandlerCall<Input, Output> {
  /** Resolves with what the handler returned; rejects with a {@link ProblemError}, or the cause of a broken connection. */
  (...args: Arguments<Input>): Promise<Output>;
  /** The same with epoch and seq. */
  detailed(...args: Arguments<Input>): Promise<Reply<Output>>;
}

type CallOf<Of> = Of extends
  | CommandHandler<infer _State, infer Input, infer Output>
  | QueryHandler<infer _State, infer Input, infer Output>
  ? HandlerCall<Input, OverJson<Awaited<Output>>>
  : never;

type ShardClient<Handlers extends Record<string, Handler<never>>> = {
  readonly [Name in keyof Handlers]: CallOf<Handlers[Name]>;
};

type ServiceOf<Services extends readonly AnyService[], Name> = Extract<Services[number], { name: Name }>;

/** `client.counter('k1').add(1)`, typed from the app. */
export type Client<Of extends App> =
  Of extends App<infer Services>
    ? {
        readonly [Name in Services[number]['name']]: (
          key: string,
        ) => ShardClient<ServiceOf<Services, Name>['handlers']>;
      }
    : never;

/**
 * A client for an app behind a gateway or a node.
 *
 * @throws RangeError from `client.service(key)` for a key that is not allowed.
 * @example
 * const client = createClient<typeof app>('http://127.0.0.1:8080');
 * await client.counter('k1').add(1);
 */
export function createClient<Of extends App>(url: string, options: ClientOptions = {}): Client<Of> {
  const caller = new Caller(url.replace(/\/+$/, ''), options);
  const services = new Map<string, (key: string) => unknown>();
  return new Proxy(Object.create(null), {
    get(_target, name) {
      // Awaiting the client, or printing it, must not look like a service.
      if (typeof name !== 'string' || name === 'then' || name === 'toJSON') return undefined;
      let shardOf = services.get(name);
      if (shardOf === undefined) {
        shardOf = (key) => shardClient(caller, `/${name}/${encodeKey(key)}/`);
        services.set(name, shardOf);
      }
      return shardOf;
    },
  }) as Client<Of>;
}

function shardClient(caller: Caller, prefix: string): unknown {
  return new Proxy(Object.create(null), {
    get(target: Record<string, unknown>, name) {
      if (typeof name !== 'string' || name === 'then' || name === 'toJSON') return undefined;
      let call = target[name];
      if (call === undefined) {
        const detailed = (input?: unknown, options?: CallOptions) =>
          caller.call(prefix + name, input, options);
        call = Object.assign(async (input?: unknown, o?: CallOptions) => (await detailed(input, o)).value, {
          detailed,
        });
        target[name] = call;
      }
      return call;
    },
  });
}

class Caller {
  readonly #url: string;
  readonly #retries: number;
  readonly #headers: Record<string, string>;
  readonly #io: WebIo;

  constructor(url: string, options: ClientOptions) {
    this.#url = url;
    this.#retries = options.retries ?? RETRIES_DEFAULT;
    this.#headers = { ...options.headers, 'content-type': 'application/json' };
    if (options.user !== undefined) this.#headers['skein-user'] = options.user;
    this.#io = { ...webIo, ...options.io };
  }

  async call(path: string, input: unknown, options: CallOptions = {}): Promise<Reply<unknown>> {
    const io = this.#io;
    const headers: Record<string, string> = { ...this.#headers };
    headers['idempotency-key'] = `"${options.idempotencyKey ?? io.uniqueKey()}"`;
    if (options.minSeq !== undefined) headers['skein-min-seq'] = String(options.minSeq);
    if (options.atMostStaleMs !== undefined)
      headers['skein-max-staleness'] = String(Math.floor(options.atMostStaleMs));
    const body = input === undefined ? undefined : JSON.stringify(input);
    const startedMs = io.monotonicMs();
    for (let attempt = 0; ; attempt++) {
      // A key older than the shard's window is then refused instead of executed a second time.
      if (attempt > 0) headers['idempotency-key-age'] = String(Math.ceil(io.monotonicMs() - startedMs));
      let retryAfterMs = 0;
      try {
        const request = { method: 'POST', headers, body, signal: options.signal ?? null };
        const response = await io.fetch(this.#url + path, request);
        const text = await response.text();
        if (response.ok) return replyOf(response, text);
        const error = errorOf(response, text);
        if (response.status !== 503 || attempt >= this.#retries) throw error;
        retryAfterMs = Number(response.headers.get('retry-after') ?? 0) * 1000 || 0;
      } catch (error) {
        // `fetch` rejects with a TypeError where the connection broke; anything else is an answer, or an abort.
        if (!(error instanceof TypeError) || options.signal?.aborted || attempt >= this.#retries) throw error;
      }
      await this.#pause(attempt, retryAfterMs, options.signal);
    }
  }

  /** Exponential with full jitter, never sooner than the server asked for, never longer than the limit. */
  #pause(attempt: number, retryAfterMs: number, signal: AbortSignal | undefined): Promise<void> {
    const spreadMs = RETRY_DELAY_MS_FIRST * 2 ** attempt * (0.5 + this.#io.random());
    const delayMs = Math.min(RETRY_DELAY_MS_MAX, Math.max(retryAfterMs, spreadMs));
    // A signal that is aborted already fires no event any more.
    if (signal?.aborted) return Promise.reject(signal.reason);
    return new Promise((resolve, reject) => {
      const cancel = this.#io.setTimer(delayMs, () => {
        signal?.removeEventListener('abort', onAbort);
        resolve();
      });
      function onAbort() {
        cancel();
        reject(signal?.reason);
      }
      signal?.addEventListener('abort', onAbort, { once: true });
    });
  }
}

function replyOf(response: Response, text: string): Reply<unknown> {
  return {
    value: text === '' ? undefined : JSON.parse(text),
    epoch: numberHeader(response, 'skein-epoch'),
    seq: numberHeader(response, 'skein-seq'),
    stalenessMs: numberHeader(response, 'skein-staleness') ?? 0,
    replayed: response.headers.get('skein-replayed') === 'true',
  };
}

function numberHeader(response: Response, name: string): number | undefined {
  const text = response.headers.get(name);
  return text === null ? undefined : Number(text);
}

function errorOf(response: Response, text: string): ProblemError {
  const document = parseProblem(text);
  if (document === undefined) {
    // Not ours: a proxy in between answered.
    const code = response.status === 503 ? 'unavailable' : 'internal';
    return new ProblemError(
      code,
      `HTTP ${response.status} without a problem document`,
      {},
      { status: response.status },
    );
  }
  const { type: _type, title: _title, status, detail, code, ...extensions } = document;
  return new ProblemError(code, detail, extensions, { status });
}
