/**
 * An app without any cluster: shards in this process's memory, gone with it. For unit tests of services and for trying
 * things out; the same handlers, limits, errors and idempotency as on a node, and no durability at all.
 */
import { exchange } from '../io/http-exchange.ts';
import { type WebIo, webIo } from '../io/web.ts';
import { problem } from '../model/errors.ts';
import { shardId } from '../model/ids.ts';
import type { IdempotencyKey, ShardReply, ShardRequest } from '../model/request.ts';
import type { ShardHost, ShardReplica, ShardRuntime } from '../shard/contract.ts';
import { loadApp } from '../shard/runtime.ts';
import { type Client, type ClientOptions, createClient } from './client.ts';
import type { App } from './service.ts';

export interface InMemoryOptions {
  /**
   * Replaces clocks, randomness and the outside, so that a test can say what `ctx.now` is and what `ctx.fetch` gets:
   * `io: { fetch: async () => Response.json({ paid: true }) }`.
   */
  io?: Partial<WebIo>;
  /** Hears of callbacks of `ctx.afterCommit` that failed; to the console without it. */
  onEffectFailed?: (error: unknown) => void;
}

/**
 * @example
 * const memory = new InMemory(app);
 * await memory.client().counter('k1').add(1);
 * memory.close();
 */
export class InMemory<Of extends App> {
  readonly #runtime: ShardRuntime;
  readonly #io: WebIo;
  readonly #onEffectFailed: (error: unknown) => void;
  readonly #replicas = new Map<string, Promise<ShardReplica>>();

  constructor(app: Of, options: InMemoryOptions = {}) {
    this.#runtime = loadApp(app);
    this.#io = { ...webIo, ...options.io };
    this.#onEffectFailed =
      options.onEffectFailed ?? ((error) => console.error('a callback after the commit failed:', error));
  }

  /** A typed client whose calls stay in this process. */
  client(options: Omit<ClientOptions, 'io'> = {}): Client<Of> {
    const fetch: typeof globalThis.fetch = (input, init) => this.fetch(String(input), init);
    return createClient<Of>('http://in-memory', { ...options, io: { ...this.#io, fetch } });
  }

  /** Answers like a node: `POST` or `GET /{service}/{key}/{handler}`. */
  async fetch(url: string, init: RequestInit = {}): Promise<Response> {
    const { pathname, searchParams } = new URL(url);
    const parts = pathname.split('/').slice(1);
    const [service = '', key = '', handler = ''] = parts;
    if (parts.length !== 3) return toResponse(problem('not-found', 'use /{service}/{key}/{handler}'));
    let request: ShardRequest;
    try {
      request = requestOf(
        shardId(service, decodeURIComponent(key)),
        handler,
        init,
        searchParams.get('input'),
      );
    } catch (error) {
      return toResponse(problem('key-invalid', (error as Error).message));
    }
    const refused = await this.#runtime.admission(request);
    if (refused !== undefined) return toResponse(refused);
    const replica = await this.#replica(request.shard);
    return toResponse(await replica.execute(request));
  }

  /** Forgets every shard. */
  close(): void {
    for (const replica of this.#replicas.values()) replica.then((open) => open.close());
    this.#replicas.clear();
  }

  #replica(shard: string): Promise<ShardReplica> {
    let replica = this.#replicas.get(shard);
    if (replica === undefined) {
      replica = this.#open(shard);
      this.#replicas.set(shard, replica);
    }
    return replica;
  }

  async #open(shard: string): Promise<ShardReplica> {
    const io = this.#io;
    let opened: ShardReplica | undefined;
    const host: ShardHost = {
      monotonicMs: () => io.monotonicMs(),
      realtimeMs: () => io.realtimeMs(),
      setTimer: (delayMs, fire) => io.setTimer(delayMs, fire),
      defer: (run) => void io.setTimer(0, run),
      threadCpuMicros: () => 0,
      random: () => io.random(),
      append: (seq) => opened?.durable(seq),
      mayAnswer: () => true,
      admit: () => true,
      enterHandler() {},
      leaveHandler() {},
      // Nothing outlives this process, so keys need no more than to differ.
      http: { send: (request) => exchange(io.fetch, request), digest: (text) => encodeURIComponent(text) },
      effectFailed: (_shard, _handler, _what, error) => this.#onEffectFailed(error),
      snapshotWanted() {},
    };
    opened = await this.#runtime.open({ shard, epoch: 1, role: 'primary', opening: { entries: [] }, host });
    return opened;
  }
}

function requestOf(
  shard: string,
  handler: string,
  init: RequestInit,
  queryInput: string | null,
): ShardRequest {
  const headers: Record<string, string> = {};
  new Headers(init.headers).forEach((value, name) => {
    headers[name] = value;
  });
  const key = headers['idempotency-key']?.replace(/^"(.*)"$/, '$1');
  const idempotency: IdempotencyKey | undefined = key === undefined ? undefined : { kind: 'client', key };
  const age = headers['idempotency-key-age'];
  const minSeq = headers['skein-min-seq'];
  const text = typeof init.body === 'string' ? init.body : (queryInput ?? '');
  return {
    shard,
    handler,
    input: new TextEncoder().encode(text),
    method: (init.method ?? 'GET').toUpperCase() === 'GET' ? 'get' : 'post',
    origin: headers['skein-origin'] ?? '',
    userHash: 0,
    hops: 0,
    headers,
    ...(idempotency === undefined ? {} : { idempotency }),
    ...(age === undefined ? {} : { idempotencyAgeMs: Number(age) }),
    ...(minSeq === undefined ? {} : { minSeq: Number(minSeq) }),
  };
}

function toResponse(reply: ShardReply): Response {
  const type = reply.status >= 400 ? 'application/problem+json' : 'application/json';
  const headers = new Headers({ 'content-type': type });
  if (reply.epoch !== undefined) headers.set('skein-epoch', String(reply.epoch));
  if (reply.seq !== undefined) headers.set('skein-seq', String(reply.seq));
  if (reply.replayed) headers.set('skein-replayed', 'true');
  if (reply.retryAfterS !== undefined) headers.set('retry-after', String(reply.retryAfterS));
  return new Response(new TextDecoder().decode(reply.body), { status: reply.status, headers });
}
