/**
 * One HTTP request -> one {@link ShardRequest}, or the problem that refuses it. Pure, and total: no input throws.
 *
 * Keys have one canonical percent-encoding. Any valid encoding is accepted and made canonical here, so that two
 * spellings never become two shards. The body is not looked into: only the node that executes parses it.
 */

import { type ErrorCode, problem } from '../model/errors.ts';
import { encodeKey, hash32, isHandlerName, isServiceName, KEY_BYTES_MAX, type Region } from '../model/ids.ts';
import type { ShardReply, ShardRequest } from '../model/request.ts';

/** Characters of a client's idempotency key. */
export const IDEMPOTENCY_KEY_CHARS_MAX = 255;
/** Characters of the user's name that count for stickiness; what follows is ignored. */
export const USER_CHARS_MAX = 512;
/** The cookie that names a user where no `Skein-User` header does. */
export const USER_COOKIE = 'skein-user';

/** What parsing needs of the request. */
export interface ParseInput {
  readonly method: string;
  /** As sent, not normalised. */
  readonly target: string;
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Uint8Array;
  /** Address of the other end of the connection. */
  readonly remoteAddress: string;
}

export interface ParseConfig {
  /** Where this process is: the origin of everyone who does not come through a listed proxy. */
  readonly region: Region;
  /** Whether an address is a listed proxy: only its `Skein-Origin` and `X-Forwarded-For` count. */
  readonly isTrustedProxy: (address: string) => boolean;
  /** Whether the service's app decides on headers (`authorize`), so that they must travel with the request. */
  readonly needsHeaders: (service: string) => boolean;
}

export type ParseResult =
  | { ok: true; request: ShardRequest }
  | { ok: false; reply: ShardReply; allow?: string };

const EMPTY = new Uint8Array(0);
const encoder = new TextEncoder();
const REGION_NAME = /^[a-z0-9][a-z0-9-]{0,39}$/;
const WHOLE_NUMBER = /^[0-9]{1,15}$/;
/** A bare key is one token of visible ASCII; quotes, commas, semicolons and backslashes need the quoted form. */
const BARE_KEY = /^[!#-+\--:<-[\]-~]+$/;
const QUOTED_KEY = /^"((?:[ !#-[\]-~]|\\["\\])*)"$/;

/**
 * Parses a request for a shard.
 *
 * @example
 * parseRequest(
 *   { method: 'POST', target: '/counter/a%2fb/add', headers: {}, body, remoteAddress: '10.0.0.1' },
 *   { region: 'eu-west-1', isTrustedProxy: () => false, needsHeaders: () => false },
 * ) // { ok: true, request: { shard: 'counter/a%2Fb', handler: 'add', ... } }
 */
export function parseRequest(input: ParseInput, config: ParseConfig): ParseResult {
  const { headers, method } = input;
  const target = originForm(input.target);
  const question = target.indexOf('?');
  const pathEnd = question < 0 ? target.length : question;
  const first = target.indexOf('/', 1);
  const second = first < 0 ? -1 : target.indexOf('/', first + 1);
  if (target[0] !== '/' || second < 0 || second >= pathEnd) return refuse('not-found', NO_SUCH_PATH);
  const third = target.indexOf('/', second + 1);
  if (third >= 0 && third < pathEnd) return refuse('not-found', NO_SUCH_PATH);

  const service = decodeName(target.slice(1, first));
  if (service === undefined || !isServiceName(service))
    return refuse('service-unknown', 'the first path segment is not a service name');
  const key = canonicalKey(target.slice(first + 1, second));
  if (!key.ok) return refuse('key-invalid', key.detail);
  const handler = decodeName(target.slice(second + 1, pathEnd));
  if (handler === undefined || !isHandlerName(handler))
    return refuse('handler-unknown', 'the last path segment is not a handler name');

  let body: Uint8Array;
  if (method === 'POST') {
    if (input.body.byteLength > 0) {
      const unsupported = contentProblem(headers);
      if (unsupported) return refuse('content-type-unsupported', unsupported);
    }
    body = input.body;
  } else if (method === 'GET') {
    const query = question < 0 ? undefined : inputOfQuery(target.slice(question + 1));
    if (query === null)
      return refuse('input-invalid', 'the query parameter `input` is given twice or badly encoded');
    body = query ?? EMPTY;
  } else {
    const { status, body: document } = problem(
      'method-not-allowed',
      `${method.slice(0, 20)} is not GET or POST`,
    );
    return { ok: false, reply: { status, body: document }, allow: 'GET, POST, OPTIONS' };
  }

  const trusted = config.isTrustedProxy(input.remoteAddress);
  const request: ShardRequest = {
    shard: `${service}/${key.encoded}`,
    handler,
    input: body,
    method: method === 'POST' ? 'post' : 'get',
    origin: trusted ? originOf(headers, config.region) : config.region,
    userHash: hash32(userOf(headers, input.remoteAddress, trusted ? config.isTrustedProxy : undefined)),
    hops: 0,
  };
  const idempotencyKey = headers['idempotency-key'];
  if (idempotencyKey !== undefined) {
    const parsed = parseIdempotencyKey(String(idempotencyKey));
    if (parsed === undefined)
      return refuse(
        'header-invalid',
        `Idempotency-Key must be a quoted string or one token of visible ASCII, 1 to ${IDEMPOTENCY_KEY_CHARS_MAX} characters`,
      );
    request.idempotency = { kind: 'client', key: parsed };
    const age = headers['idempotency-key-age'];
    if (age !== undefined) {
      if (!WHOLE_NUMBER.test(String(age)))
        return refuse('header-invalid', 'Idempotency-Key-Age must be whole milliseconds');
      request.idempotencyAgeMs = Number(age);
    }
  }
  const minSeq = headers['skein-min-seq'];
  if (minSeq !== undefined) {
    if (!WHOLE_NUMBER.test(String(minSeq)))
      return refuse('header-invalid', 'Skein-Min-Seq must be a whole number');
    request.minSeq = Number(minSeq);
  }
  const staleness = headers['skein-max-staleness'];
  if (staleness !== undefined) {
    if (!WHOLE_NUMBER.test(String(staleness)))
      return refuse('header-invalid', 'Skein-Max-Staleness must be whole milliseconds');
    request.staleMsMax = Number(staleness);
  }
  if (config.needsHeaders(service)) request.headers = plainHeaders(headers);
  return { ok: true, request };
}

const NO_SUCH_PATH = 'the path is not /{service}/{key}/{handler}';

function refuse(code: ErrorCode, detail: string): ParseResult {
  const { status, body } = problem(code, detail);
  return { ok: false, reply: { status, body } };
}

/** A proxy may send `http://host/path`: RFC 9112 asks every server to take it. */
function originForm(target: string): string {
  if (target.charCodeAt(0) === 0x2f) return target;
  const authority = /^https?:\/\/[^/?#]*/i.exec(target);
  return authority ? target.slice(authority[0].length) : target;
}

/** Service and handler names are plain ASCII; an encoding of them means the same (RFC 3986, 6.2.2.2). */
function decodeName(segment: string): string | undefined {
  if (segment.length > 3 * 64) return undefined;
  if (!segment.includes('%')) return segment;
  try {
    return decodeURIComponent(segment);
  } catch {
    return undefined;
  }
}

type CanonicalKey = { ok: true; encoded: string } | { ok: false; detail: string };

/** The one spelling of a key, from any valid one. */
function canonicalKey(segment: string): CanonicalKey {
  if (isPlain(segment)) {
    if (segment.length <= KEY_BYTES_MAX && segment !== '.' && segment !== '..')
      return { ok: true, encoded: segment };
  } else if (segment.length > 0 && segment.length <= 9 * KEY_BYTES_MAX) {
    // A raw character may become three encoded bytes of three digits each, never more.
    try {
      return { ok: true, encoded: encodeKey(decodeURIComponent(segment)) };
    } catch (error) {
      if (error instanceof RangeError) return { ok: false, detail: error.message };
      return { ok: false, detail: 'the key is not percent-encoded UTF-8' };
    }
  }
  if (segment.length > KEY_BYTES_MAX)
    return { ok: false, detail: `the key takes more than ${KEY_BYTES_MAX} bytes encoded` };
  return { ok: false, detail: `the key ${JSON.stringify(segment)} is reserved` };
}

/** Whether a segment has only unreserved characters (RFC 3986) and so is its own canonical form. */
function isPlain(segment: string): boolean {
  if (segment.length === 0) return false;
  for (let i = 0; i < segment.length; i++) {
    const c = segment.charCodeAt(i);
    if (
      (c >= 0x61 && c <= 0x7a) ||
      (c >= 0x30 && c <= 0x39) ||
      (c >= 0x41 && c <= 0x5a) ||
      c === 0x2d ||
      c === 0x2e ||
      c === 0x5f ||
      c === 0x7e
    )
      continue;
    return false;
  }
  return true;
}

/** What a browser adds to a request that a page made: any of them, and the type of the body must be right. */
const BROWSER_MARKS = ['origin', 'referer', 'sec-fetch-site', 'cookie'];
/** What curl and fetch say of a body when nobody tells them. */
const BY_ITSELF: ReadonlySet<string> = new Set(['application/x-www-form-urlencoded', 'text/plain']);

/**
 * Why the body's type is refused; undefined where it is JSON. Forms of other sites cannot send this type. A request
 * that no browser sent may leave it out, or say what `curl -d` or `fetch` says by itself: the body is JSON all the same.
 */
function contentProblem(headers: ParseInput['headers']): string | undefined {
  const encoding = headers['content-encoding'];
  if (encoding !== undefined && String(encoding).toLowerCase() !== 'identity')
    return 'compressed request bodies are not taken; send the JSON as it is';
  const type = headers['content-type'];
  if (type === 'application/json') return undefined;
  const fromBrowser = BROWSER_MARKS.some((mark) => headers[mark] !== undefined);
  if (type === undefined) return fromBrowser ? 'Content-Type is missing; send application/json' : undefined;
  const [media, ...parameters] = String(type).toLowerCase().split(';');
  const name = media!.trim();
  if (name !== 'application/json' && !/^application\/[a-z0-9.+-]+\+json$/.test(name)) {
    if (!fromBrowser && BY_ITSELF.has(name)) return undefined;
    return `Content-Type is ${JSON.stringify(name.slice(0, 80))}; send application/json`;
  }
  for (const parameter of parameters) {
    const [field, value] = parameter.split('=');
    if (field!.trim() === 'charset' && value?.trim().replaceAll('"', '') !== 'utf-8')
      return 'the charset of JSON is utf-8';
  }
  return undefined;
}

/** The parameter `input` as bytes; undefined where there is none, null where it is repeated or badly encoded. */
function inputOfQuery(query: string): Uint8Array | undefined | null {
  let found: string | undefined;
  for (const pair of query.split('&')) {
    if (!pair.startsWith('input=')) continue;
    if (found !== undefined) return null;
    found = pair.slice(6);
  }
  if (found === undefined) return undefined;
  try {
    // As forms and URLSearchParams encode it: a plus is a space, a real plus is %2B.
    return encoder.encode(decodeURIComponent(found.replaceAll('+', ' ')));
  } catch {
    return null;
  }
}

function originOf(headers: ParseInput['headers'], own: Region): Region {
  const origin = headers['skein-origin'];
  return typeof origin === 'string' && REGION_NAME.test(origin) ? origin : own;
}

/** Who the user is, for stickiness alone: the header, else the cookie, else the client's address. */
function userOf(
  headers: ParseInput['headers'],
  remoteAddress: string,
  isTrustedProxy: ((address: string) => boolean) | undefined,
): string {
  const named = headers['skein-user'];
  if (named !== undefined && named.length > 0) return String(named).slice(0, USER_CHARS_MAX);
  const cookies = headers.cookie;
  if (cookies !== undefined) {
    for (const pair of String(cookies).split(';')) {
      const cookie = pair.trim();
      if (cookie.startsWith(`${USER_COOKIE}=`) && cookie.length > USER_COOKIE.length + 1)
        return cookie.slice(USER_COOKIE.length + 1, USER_COOKIE.length + 1 + USER_CHARS_MAX);
    }
  }
  if (isTrustedProxy === undefined) return remoteAddress;
  const forwarded = headers['x-forwarded-for'];
  if (forwarded === undefined) return remoteAddress;
  // From the right: the first address that is not one of our proxies is the client's; what is left of it is hearsay.
  const hops = String(forwarded).split(',');
  for (let i = hops.length - 1; i >= 0; i--) {
    const hop = hops[i]!.trim();
    if (hop !== '' && !isTrustedProxy(hop)) return hop.slice(0, 64);
  }
  return remoteAddress;
}

/**
 * The value of an `Idempotency-Key` header: a structured-field string in quotes
 * (draft-ietf-httpapi-idempotency-key-header) or the bare token that most clients send. Undefined where it is neither.
 */
export function parseIdempotencyKey(value: string): string | undefined {
  if (value.length > 2 * IDEMPOTENCY_KEY_CHARS_MAX + 2) return undefined;
  const trimmed = value.trim();
  const quoted = QUOTED_KEY.exec(trimmed);
  const key = quoted ? quoted[1]!.replace(/\\(["\\])/g, '$1') : BARE_KEY.test(trimmed) ? trimmed : '';
  return key.length > 0 && key.length <= IDEMPOTENCY_KEY_CHARS_MAX ? key : undefined;
}

/** Headers that speak of a connection, not of a request. */
const HOP_BY_HOP = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'expect',
]);

function plainHeaders(headers: ParseInput['headers']): Record<string, string> {
  const plain: Record<string, string> = Object.create(null);
  for (const name in headers) {
    const value = headers[name];
    if (value !== undefined && !HOP_BY_HOP.has(name))
      plain[name] = Array.isArray(value) ? value.join(', ') : value;
  }
  return plain;
}
