/**
 * HTTP/1.1 in: a thin layer over node:http that hands on whole requests and writes whole replies.
 *
 * It bounds what a client can cost: header and body bytes, time to send them, idle connections, number of connections.
 * It is written for throughput: no promise, stream or closure a request; head and body leave in one write with their
 * length. What it refuses by itself (malformed, too large, too slow) it answers with a problem document.
 *
 * Boundary: it knows nothing of paths, services or shards.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { BlockList, isIP, Server as NetServer, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { PROBLEM_CONTENT_TYPE, problem } from '../model/errors.ts';
import { parseAddress } from './tcp-network.ts';

/** Request line and headers together; more is answered 431. */
export const HEADER_BYTES_MAX = 16 * 1024;
/** Time for the request line and headers to arrive; longer is answered 408. */
export const HEADERS_TIMEOUT_MS = 15_000;
/** Time for the whole request to arrive; longer is answered 408. */
export const REQUEST_TIMEOUT_MS = 60_000;
/** An idle connection is kept this long: above the 60 s of common load balancers, so that they close first. */
export const KEEP_ALIVE_TIMEOUT_MS = 75_000;
/** Further connections are refused by closing them. */
export const CONNECTIONS_MAX_DEFAULT = 20_000;
/** How much of a body that was already refused is read and thrown away so that the client sees the answer. */
export const DISCARD_BYTES_MAX = 4 * 1024 * 1024;
/** How long that may take. */
export const LINGER_MS = 2_000;
/** How long a drained server that listens no more still takes requests on connections made before. */
export const LAST_REQUESTS_MS = 250;
/** Bodies up to this size are joined with the head into one string: cheaper than a gathered write. */
const JOIN_BYTES_MAX = 4 * 1024;
const EMPTY = new Uint8Array(0);

/** A whole request as it came in. */
export interface HttpRequest {
  readonly method: string;
  /** The request target as sent, not normalised: a client's `/a/../b` is still there. */
  readonly target: string;
  /** Lower-case names; repeated ones joined by `, ` (`; ` for cookies). */
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Uint8Array;
  /** Address of the other end of the connection: a client, or a proxy. */
  readonly remoteAddress: string;
}

/** Writes the one reply. A second call, or one after the client has gone, is ignored. */
export interface HttpResponder {
  /** `headers` is flat: name, value, name, value. The length is added. */
  respond(status: number, headers: readonly string[], body: Uint8Array): void;
  /** The client closed its connection; the reply will reach nobody. */
  readonly aborted: boolean;
}

export interface HttpServerOptions {
  /** `host:port`; port 0 picks a free one. */
  address: string;
  /** Larger bodies are answered 413 and not handed on. */
  bodyBytesMax: number;
  connectionsMax?: number;
  /** Called once a request, when its body is complete. A throw is answered 500. */
  handle(request: HttpRequest, responder: HttpResponder): void;
  /** Told of a throw of `handle`: a bug. */
  onFault?(error: unknown): void;
}

export interface HttpServer {
  /** Where it listens, with the real port. */
  readonly address: string;
  /** Announces the close: it will then wait for requests that are on their way. */
  drain(): void;
  /** Takes no new connection, asks clients with every reply to close theirs, waits up to `graceMs` for replies under way, then cuts. */
  close(graceMs?: number): Promise<void>;
}

/** Starts a server. Rejects when the address is taken or not an address. */
export async function serveHttpServer(options: HttpServerOptions): Promise<HttpServer> {
  const { host, port } = parseAddress(options.address);
  const settings: Settings = { options, closing: false };
  let draining = false;
  const server = createServer({
    maxHeaderSize: HEADER_BYTES_MAX,
    headersTimeout: HEADERS_TIMEOUT_MS,
    requestTimeout: REQUEST_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
    connectionsCheckingInterval: 5_000,
    noDelay: true,
    // GET without a body must not pay for a readable stream that nobody reads.
    optimizeEmptyRequests: true,
  });
  server.maxConnections = options.connectionsMax ?? CONNECTIONS_MAX_DEFAULT;
  server.on('request', (message, response) => receive(settings, message, response));
  server.on('checkContinue', (message, response) => {
    if (Number(message.headers['content-length']) > options.bodyBytesMax)
      refuseTooLarge(settings, message, response);
    else {
      response.writeContinue();
      receive(settings, message, response);
    }
  });
  server.on('clientError', answerClientError);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port, exclusive: true }, () => {
      server.off('error', reject);
      resolve();
    });
  });
  const bound = server.address();
  return {
    address: `${host}:${typeof bound === 'object' && bound ? bound.port : port}`,
    drain() {
      // Nothing changes for clients yet. Replies that asked for a new connection while this still listens would bring
      // a storm of them, and those that knock just as the listener closes are reset by the kernel.
      draining = true;
    },
    close(graceMs = 0) {
      return closeServer(server, settings, graceMs, draining ? LAST_REQUESTS_MS : 0);
    },
  };
}

/**
 * Stops listening, then lets connections end. A connection that was just made, or whose request is still in the
 * kernel, looks idle: where `quietMs` is given, idle ones are closed only after it, so that such a request is answered.
 */
function closeServer(server: Server, settings: Settings, graceMs: number, quietMs: number): Promise<void> {
  return new Promise((resolve) => {
    const cut = setTimeout(() => server.closeAllConnections(), graceMs);
    // Closes idle connections as well, unlike the close of a plain server.
    const closeIdle = setTimeout(() => server.close(), Math.min(quietMs, graceMs));
    // Right after a poll has taken in what knocked: what waits in the backlog of a closed listener is reset.
    setImmediate(() => {
      NetServer.prototype.close.call(server, () => {
        clearTimeout(cut);
        clearTimeout(closeIdle);
        server.close();
        resolve();
      });
      settings.closing = true;
    });
  });
}

interface Settings {
  readonly options: HttpServerOptions;
  /** Listens no more: replies ask for the end of their connection. */
  closing: boolean;
}

/** A request being read; lives on its message, so that the listeners need no closure. */
const EXCHANGE = Symbol('exchange');
type Message = IncomingMessage & { [EXCHANGE]?: Exchange };

class Exchange implements HttpRequest, HttpResponder {
  readonly #settings: Settings;
  readonly #message: IncomingMessage;
  readonly #response: ServerResponse;
  #chunks: Buffer[] | undefined;
  #bytes = 0;
  #answered = false;
  body: Uint8Array = EMPTY;

  constructor(settings: Settings, message: IncomingMessage, response: ServerResponse) {
    this.#settings = settings;
    this.#message = message;
    this.#response = response;
  }

  get method(): string {
    return this.#message.method!;
  }
  get target(): string {
    return this.#message.url!;
  }
  get headers(): HttpRequest['headers'] {
    return this.#message.headers;
  }
  get remoteAddress(): string {
    return this.#message.socket.remoteAddress ?? '';
  }
  get aborted(): boolean {
    return this.#message.socket.destroyed;
  }

  append(chunk: Buffer): void {
    this.#bytes += chunk.length;
    if (this.#answered) {
      if (this.#bytes > this.#settings.options.bodyBytesMax + DISCARD_BYTES_MAX)
        this.#message.socket.destroy();
      return;
    }
    if (this.#bytes > this.#settings.options.bodyBytesMax) {
      this.#chunks = undefined;
      this.#answered = true;
      refuseTooLarge(this.#settings, this.#message, this.#response);
      return;
    }
    if (this.#bytes === chunk.length) this.body = chunk;
    else if (this.#chunks) this.#chunks.push(chunk);
    else this.#chunks = [this.body as Buffer, chunk];
  }

  complete(): void {
    if (this.#answered) return;
    if (this.#chunks) {
      this.body = Buffer.concat(this.#chunks, this.#bytes);
      this.#chunks = undefined;
    }
    this.run();
  }

  run(): void {
    try {
      this.#settings.options.handle(this, this);
    } catch (error) {
      this.#settings.options.onFault?.(error);
      const { status, body } = problem('internal', 'the request met a fault');
      this.respond(status, PROBLEM_HEADERS, body);
    }
  }

  respond(status: number, headers: readonly string[], body: Uint8Array): void {
    if (this.#answered) return;
    this.#answered = true;
    const response = this.#response;
    const all = headers.slice();
    if (status !== 204) all.push('content-length', String(body.byteLength));
    if (this.#settings.closing) all.push('connection', 'close');
    response.writeHead(status, all);
    if (body.byteLength === 0 || this.#message.method === 'HEAD') response.end();
    else if (body.byteLength <= JOIN_BYTES_MAX) response.end(latin1(body), 'latin1');
    else response.end(body);
  }
}

const PROBLEM_HEADERS = ['content-type', PROBLEM_CONTENT_TYPE];

/** Bytes as a string of code units 0 to 255: written as latin1 they are the same bytes again. */
function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
}

function receive(settings: Settings, message: Message, response: ServerResponse): void {
  const exchange = new Exchange(settings, message, response);
  const declared = message.headers['content-length'];
  if (declared === undefined && message.headers['transfer-encoding'] === undefined) {
    exchange.run();
    return;
  }
  if (declared !== undefined && Number(declared) > settings.options.bodyBytesMax) {
    refuseTooLarge(settings, message, response);
    return;
  }
  message[EXCHANGE] = exchange;
  message.on('data', onData);
  message.on('end', onEnd);
}

function onData(this: Message, chunk: Buffer): void {
  this[EXCHANGE]!.append(chunk);
}

function onEnd(this: Message): void {
  this[EXCHANGE]!.complete();
}

/**
 * Answers 413 past node:http, then reads on for a bounded time and amount: a connection closed with unread bytes is
 * reset, and the client would lose the answer.
 */
function refuseTooLarge(settings: Settings, message: IncomingMessage, response: ServerResponse): void {
  const { status, body } = problem(
    'body-too-large',
    `the body is over the limit of ${settings.options.bodyBytesMax} bytes`,
  );
  const { socket } = message;
  if (!response.socket) {
    // Pipelined behind a reply under way: node:http must order the two.
    response.writeHead(status, [...PROBLEM_HEADERS, 'connection', 'close']);
    response.end(body);
    return;
  }
  writeRaw(socket, status, 'Payload Too Large', body);
  let discarded = 0;
  message.on('data', (chunk: Buffer) => {
    discarded += chunk.length;
    if (discarded > DISCARD_BYTES_MAX) socket.destroy();
  });
  const cut = setTimeout(() => socket.destroy(), LINGER_MS);
  const done = () => {
    clearTimeout(cut);
    socket.destroy();
  };
  message.on('end', () => socket.end(done));
  socket.once('close', () => clearTimeout(cut));
}

function writeRaw(socket: Duplex, status: number, reason: string, body: Uint8Array): void {
  socket.write(
    `HTTP/1.1 ${status} ${reason}\r\ncontent-type: ${PROBLEM_CONTENT_TYPE}\r\n` +
      `content-length: ${body.byteLength}\r\nconnection: close\r\n\r\n${latin1(body)}`,
    'latin1',
  );
}

/** What node:http could not parse, or did not get in time. */
function answerClientError(error: Error & { code?: string }, socket: Duplex): void {
  // A response under way owns the connection: a second head inside it would be read as its body.
  const busy = (socket as Socket & { _httpMessage?: ServerResponse })._httpMessage;
  if (!socket.writable || busy?.headersSent || error.code === 'ECONNRESET') {
    socket.destroy();
    return;
  }
  const [code, reason, detail] =
    error.code === 'HPE_HEADER_OVERFLOW'
      ? ([
          'headers-too-large',
          'Request Header Fields Too Large',
          `the limit is ${HEADER_BYTES_MAX} bytes`,
        ] as const)
      : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? (['request-too-slow', 'Request Timeout', 'the request did not arrive in time'] as const)
        : (['http-malformed', 'Bad Request', 'the connection carried something else'] as const);
  const { status, body } = problem(code, detail);
  writeRaw(socket, status, reason, body);
  socket.end(() => socket.destroy());
}

/**
 * Tells whether an address is in a list of addresses and CIDR ranges.
 *
 * @throws RangeError for an entry that is neither.
 * @example
 * addressList(['10.0.0.0/8', '::1'])('10.1.2.3') // true
 */
export function addressList(entries: readonly string[]): (address: string) => boolean {
  const list = new BlockList();
  for (const entry of entries) {
    const slash = entry.indexOf('/');
    const address = slash < 0 ? entry : entry.slice(0, slash);
    const version = isIP(address);
    const bits = slash < 0 ? (version === 4 ? 32 : 128) : Number(entry.slice(slash + 1));
    if (version === 0 || !Number.isInteger(bits) || bits < 0 || bits > (version === 4 ? 32 : 128))
      throw new RangeError(`${JSON.stringify(entry)} is neither an IP address nor a CIDR range`);
    list.addSubnet(address, bits, version === 4 ? 'ipv4' : 'ipv6');
  }
  if (entries.length === 0) return () => false;
  return (address) => {
    const version = isIP(address);
    return version !== 0 && list.check(address, version === 4 ? 'ipv4' : 'ipv6');
  };
}
