/**
 * Plain HTTP for users and load balancers: the same front for a gateway and for a node.
 *
 *   POST /{service}/{key}/{handler}             body: JSON
 *   GET  /{service}/{key}/{handler}?input=JSON  queries
 *   GET  /healthz, /readyz, /metrics
 *
 * It parses (`parse-request.ts`), hands a {@link ShardRequest} on, and writes the reply. It decides nothing of routes,
 * owners or retries. `docs/http.md` is its contract.
 */
import { addressList, type HttpRequest, type HttpResponder, serveHttpServer } from '../io/http-server.ts';
import type { Io } from '../io/io.ts';
import { PROBLEM_CONTENT_TYPE, problem } from '../model/errors.ts';
import type { Region } from '../model/ids.ts';
import type { ShardReply, ShardRequest } from '../model/request.ts';
import { Cors, type CorsConfig } from './cors.ts';
import type { GatewayKeys } from './gateway-keys.ts';
import { type ParseConfig, parseRequest } from './parse-request.ts';

/** Bytes of a request body; more is answered 413. */
export const BODY_BYTES_MAX_DEFAULT = 1024 * 1024;
/** How long `close` waits for replies under way. */
export const CLOSE_GRACE_MS = 5_000;

export interface FrontOptions {
  io: Pick<Io, 'log'>;
  /** `host:port`; port 0 picks a free one. */
  address: string;
  /** Where this process is: the origin of its users. */
  region: Region;
  /** Runs or forwards the request. A rejection is a fault and answered 500. */
  execute(request: ShardRequest): Promise<ShardReply>;
  /** Addresses and CIDR ranges whose `Skein-Origin` and `X-Forwarded-For` count. */
  trustedProxies?: readonly string[];
  cors?: CorsConfig;
  bodyBytesMax?: number;
  /** Whether a service's app decides on headers, so that they must travel with its requests. */
  needsHeaders?(service: string): boolean;
  /** False while starting and while draining: `/readyz` answers 503. */
  ready(): boolean;
  /** Prometheus text. */
  metrics(): Promise<string>;
  /** Source of keys for POSTs whose client sent none. A gateway makes its own and needs none here. */
  idempotency?: GatewayKeys;
}

export interface Front {
  /** Where it listens, with the real port. */
  readonly address: string;
  /** Asks clients to go elsewhere: every further reply closes its connection. `ready()` should be false by now. */
  drain(): void;
  /** Waits up to `graceMs` for replies under way. */
  close(graceMs?: number): Promise<void>;
}

const EMPTY = new Uint8Array(0);
const PLAIN_TEXT = ['content-type', 'text/plain; charset=utf-8', 'cache-control', 'no-store'];
/** Query of the target of this many characters is cut in log lines. */
const LOGGED_TARGET_CHARS_MAX = 200;

/**
 * Serves HTTP until closed. Rejects when the address is taken; throws RangeError for a bad configuration.
 *
 * @example
 * const front = await serveFront({ io, address: '127.0.0.1:8080', region: 'eu-west-1',
 *   execute: (request) => gateway.execute(request), ready: () => true, metrics: async () => '' });
 */
export async function serveFront(options: FrontOptions): Promise<Front> {
  const front = new HttpFront(options);
  return serveHttpServer({
    address: options.address,
    bodyBytesMax: options.bodyBytesMax ?? BODY_BYTES_MAX_DEFAULT,
    handle: (request, responder) => front.handle(request, responder),
    onFault: (error) => options.io.log.error({ err: error }, 'a request met a fault'),
  }).then((server) => ({
    address: server.address,
    drain: () => server.drain(),
    close: (graceMs = CLOSE_GRACE_MS) => server.close(graceMs),
  }));
}

class HttpFront {
  readonly #options: FrontOptions;
  readonly #parse: ParseConfig;
  readonly #cors: Cors;
  readonly #corsUsed: boolean;

  constructor(options: FrontOptions) {
    this.#options = options;
    this.#parse = {
      region: options.region,
      isTrustedProxy: addressList(options.trustedProxies ?? []),
      needsHeaders: options.needsHeaders ?? (() => false),
    };
    this.#cors = new Cors(options.cors);
    this.#corsUsed = options.cors !== undefined;
  }

  handle(request: HttpRequest, responder: HttpResponder): void {
    const parsed = parseRequest(request, this.#parse);
    if (!parsed.ok) {
      if (!this.#platform(request, responder)) this.#reply(request, responder, parsed.reply, parsed.allow);
      return;
    }
    if (request.method === 'POST' && this.#cors.refuses(request.headers)) {
      this.#reply(
        request,
        responder,
        problem('forbidden', 'pages of this origin may not send commands (cors)'),
      );
      return;
    }
    const { idempotency } = this.#options;
    const key =
      idempotency && parsed.request.method === 'post' && !parsed.request.idempotency
        ? idempotency.take()
        : undefined;
    if (key) parsed.request.idempotency = key;
    this.#options.execute(parsed.request).then(
      (reply) => {
        if (key) idempotency!.done(key.number);
        this.#reply(request, responder, reply);
      },
      (error) => {
        if (key) idempotency!.done(key.number);
        const target = request.target.slice(0, LOGGED_TARGET_CHARS_MAX);
        this.#options.io.log.error({ err: error, target }, 'a request met a fault');
        this.#reply(request, responder, problem('internal', 'the request met a fault'));
      },
    );
  }

  #reply(request: HttpRequest, responder: HttpResponder, reply: ShardReply, allow?: string): void {
    const { status, epoch, seq, retryAfterS } = reply;
    const headers = ['content-type', status < 400 ? 'application/json' : PROBLEM_CONTENT_TYPE];
    headers.push('cache-control', 'no-store');
    if (epoch !== undefined) headers.push('skein-epoch', String(epoch));
    if (seq !== undefined) headers.push('skein-seq', String(seq));
    if (reply.servedBy !== undefined) headers.push('skein-served-by', reply.servedBy);
    if (retryAfterS !== undefined) headers.push('retry-after', String(retryAfterS));
    if (reply.stalenessMs !== undefined) headers.push('skein-staleness', String(reply.stalenessMs));
    if (reply.replayed) headers.push('skein-replayed', 'true');
    if (allow !== undefined) headers.push('allow', allow);
    if (this.#corsUsed) this.#cors.addTo(headers, request.headers);
    responder.respond(status, headers, reply.body);
  }

  /** What is not a shard's: health, metrics, preflights. False: none of it. */
  #platform(request: HttpRequest, responder: HttpResponder): boolean {
    const { method, target, headers } = request;
    if (method === 'OPTIONS') {
      if (this.#corsUsed && headers['access-control-request-method'] !== undefined)
        responder.respond(204, this.#cors.preflight(headers), EMPTY);
      else responder.respond(204, ['allow', 'GET, POST, OPTIONS'], EMPTY);
      return true;
    }
    if (method !== 'GET' && method !== 'HEAD') return false;
    const question = target.indexOf('?');
    switch (question < 0 ? target : target.slice(0, question)) {
      case '/healthz':
        responder.respond(200, PLAIN_TEXT, Buffer.from('ok\n'));
        return true;
      case '/readyz':
        if (this.#options.ready()) responder.respond(200, PLAIN_TEXT, Buffer.from('ready\n'));
        else responder.respond(503, [...PLAIN_TEXT, 'retry-after', '1'], Buffer.from('not ready\n'));
        return true;
      case '/metrics':
        this.#options.metrics().then(
          (text) => responder.respond(200, METRICS_HEADERS, Buffer.from(text)),
          (error) => {
            this.#options.io.log.error({ err: error }, 'the metrics could not be read');
            this.#reply(request, responder, problem('internal', 'the metrics could not be read'));
          },
        );
        return true;
      default:
        return false;
    }
  }
}

const METRICS_HEADERS = [
  'content-type',
  'text/plain; version=0.0.4; charset=utf-8',
  'cache-control',
  'no-store',
];
