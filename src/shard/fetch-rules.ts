/**
 * Which `ctx.fetch` may leave at all: its address, method, headers and body. Pure.
 *
 * Boundary: it sends nothing and resolves no name, so it judges what the address says, not where it leads.
 */
import { ProblemError } from '../model/errors.ts';
import type { AllowFetch, FetchInit } from '../sdk/service.ts';
import { FETCH_BODY_BYTES_MAX, FETCH_MS_DEFAULT, FETCH_MS_MAX, FETCH_RESPONSE_BYTES_MAX } from './limits.ts';

export interface CheckedFetch {
  url: string;
  method: string;
  headers: Headers;
  body: Uint8Array | undefined;
  timeoutMs: number;
  responseBytesMax: number;
}

/** Methods that change nothing where they arrive (RFC 9110, 9.2.1): all that a query may use. */
const SAFE_METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS']);
const METHODS: ReadonlySet<string> = new Set([...SAFE_METHODS, 'POST', 'PUT', 'PATCH', 'DELETE']);
/** The connection's own headers, and the one that could make an allowed address another. */
const OWN_HEADERS = [
  'connection',
  'content-length',
  'expect',
  'host',
  'keep-alive',
  'proxy-authorization',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
];
const ALLOWED_ORIGIN = /^(https?:)\/\/(\*\.)?([a-z0-9.-]+|\[[0-9a-f:]+\])(?::(\d{1,5}))?$/;

/** @throws ProblemError `fetch-refused`. Copies the body: the handler may change it afterwards. */
export function checkFetch(
  input: string | URL,
  init: FetchInit,
  isCommand: boolean,
  allow: AllowFetch | undefined,
): CheckedFetch {
  const url = urlOf(input);
  const method = (init.method ?? 'GET').toUpperCase();
  if (!METHODS.has(method)) throw refused(`${method} is not a method that ctx.fetch sends`);
  if (!isCommand && !SAFE_METHODS.has(method))
    throw refused(`a query only reads, so it may not send ${method}; use a command`);
  const { body } = init;
  if (body !== undefined && typeof body !== 'string' && !(body instanceof Uint8Array))
    throw refused('the body is neither a string nor bytes; use JSON.stringify for JSON');
  if (body !== undefined && SAFE_METHODS.has(method)) throw refused(`${method} takes no body`);
  const bytes = typeof body === 'string' ? new TextEncoder().encode(body) : body?.slice();
  if (bytes !== undefined && bytes.length > FETCH_BODY_BYTES_MAX)
    throw refused(`the body has ${bytes.length} bytes, over the limit of ${FETCH_BODY_BYTES_MAX}`);
  const timeoutMs = numberOf(init.timeoutMs, FETCH_MS_DEFAULT, FETCH_MS_MAX, 'timeoutMs');
  const responseBytesMax = numberOf(
    init.responseBytesMax,
    FETCH_RESPONSE_BYTES_MAX,
    FETCH_RESPONSE_BYTES_MAX,
    'responseBytesMax',
  );
  const headers = headersOf(init.headers);
  if (typeof body === 'string' && !headers.has('content-type'))
    headers.set('content-type', 'text/plain;charset=UTF-8');
  if (allow !== undefined && !isAllowed(url, allow))
    throw refused(`${url.origin} is not on the app's list \`allowFetch\``);
  return { url: url.href, method, headers, body: bytes, timeoutMs, responseBytesMax };
}

/** @throws RangeError for a list that names something else than origins. */
export function checkAllowFetch(allow: AllowFetch | undefined): void {
  if (!Array.isArray(allow)) return;
  for (const origin of allow)
    if (typeof origin !== 'string' || !ALLOWED_ORIGIN.test(origin))
      throw new RangeError(
        `${JSON.stringify(origin)} in allowFetch is not an origin: write "https://api.example.com" or "https://*.example.com"`,
      );
}

function isAllowed(url: URL, allow: AllowFetch): boolean {
  if (typeof allow === 'function') return allow(url) === true;
  return allow.some((origin) => {
    const [, protocol, anySubdomain, host, port = ''] = ALLOWED_ORIGIN.exec(origin) ?? [];
    const ownPort = port === '443' && protocol === 'https:' ? '' : port === '80' ? '' : port;
    if (protocol !== url.protocol || ownPort !== url.port || host === undefined) return false;
    return anySubdomain === undefined ? url.hostname === host : url.hostname.endsWith(`.${host}`);
  });
}

function urlOf(input: string | URL): URL {
  let url: URL;
  try {
    url = new URL(input);
  } catch {
    throw refused(`${JSON.stringify(String(input).slice(0, 200))} is not an absolute address`);
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:')
    throw refused(`${url.protocol} is not a protocol that ctx.fetch speaks; use http: or https:`);
  if (url.username !== '' || url.password !== '')
    throw refused('the address holds a user or password; send an authorization header');
  return url;
}

function headersOf(init: FetchInit['headers']): Headers {
  let headers: Headers;
  try {
    headers = new Headers(init as Record<string, string> | Headers | undefined);
  } catch (error) {
    throw refused(`the headers are not HTTP headers: ${(error as Error).message}`);
  }
  for (const name of OWN_HEADERS)
    if (headers.has(name)) throw refused(`the header ${name} is the connection's own`);
  return headers;
}

function numberOf(value: number | undefined, byDefault: number, max: number, name: string): number {
  if (value === undefined) return byDefault;
  if (!(value > 0 && value <= max)) throw refused(`${name} is ${value}; use a number over 0, up to ${max}`);
  return value;
}

function refused(detail: string): ProblemError {
  return new ProblemError('fetch-refused', detail);
}
