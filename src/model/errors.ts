/**
 * Every documented error of the product: code, HTTP status, title and remedy, in one table.
 *
 * `docs/errors.md` has one entry a code and a test keeps the two equal. An error leaves the product only as an RFC 9457
 * problem document made by {@link problem}; callers branch on `code`, never on a message.
 */

/** Where the `type` of a problem document points. */
export const PROBLEM_TYPE_BASE = 'https://skein.dev/errors#';
export const PROBLEM_CONTENT_TYPE = 'application/problem+json';

export interface ErrorDefinition {
  /** HTTP status. */
  status: number;
  title: string;
  /** What to do next. */
  remedy: string;
}

const definitions = {
  'input-invalid': {
    status: 400,
    title: 'The input is not what the handler takes',
    remedy: 'Correct the fields named in `issues`; send the input as JSON. Nothing was executed.',
  },
  'body-too-large': {
    status: 413,
    title: 'The request body is over 1 MB',
    remedy: 'Send less at once, or split the work over several commands. Nothing was executed.',
  },
  'key-invalid': {
    status: 400,
    title: 'The shard key is not allowed',
    remedy:
      'Use a key that is not empty, `.` or `..`, is well-formed Unicode and takes at most 512 bytes percent-encoded.',
  },
  'service-unknown': {
    status: 404,
    title: 'There is no such service',
    remedy: 'Check the first path segment against the services passed to `defineApp`.',
  },
  'handler-unknown': {
    status: 404,
    title: 'The service has no such handler',
    remedy: 'Check the last path segment against the handlers of the service.',
  },
  'method-not-allowed': {
    status: 405,
    title: 'The handler cannot be reached by this method',
    remedy: 'Send commands with POST; queries take GET or POST.',
  },
  unauthorized: {
    status: 401,
    title: 'The caller is not known',
    remedy: 'Send the credentials that the app or the API asks for.',
  },
  forbidden: {
    status: 403,
    title: 'The caller may not do this',
    remedy: 'Ask for access, or check what `authorize` of the app decides on. Nothing was executed.',
  },
  'state-not-json': {
    status: 500,
    title: 'The handler put something into the state, or returned something, that is not JSON',
    remedy:
      'Store plain objects, arrays, strings, finite numbers, booleans and null; turn dates into numbers or ISO strings. The command was rolled back.',
  },
  'state-too-large': {
    status: 413,
    title: 'The state would be over 16 MB',
    remedy: 'Drop old data in the handler, or spread it over more keys. The command was rolled back.',
  },
  'delta-too-large': {
    status: 413,
    title: 'The changes of one command are over 1 MB',
    remedy: 'Change less in one command. The command was rolled back.',
  },
  'handler-failed': {
    status: 500,
    title: 'The handler threw',
    remedy:
      'Read the message; correct the handler, or throw a `Refusal` where the caller is at fault. The command was rolled back.',
  },
  'handler-timeout': {
    status: 504,
    title: 'The handler did not finish in time',
    remedy:
      'Make the handler faster, or raise `handlerMsMax` of its service. The command was rolled back and its late writes are refused.',
  },
  'fetch-refused': {
    status: 500,
    title: 'A `ctx.fetch` of the handler is not allowed',
    remedy:
      'Correct what `detail` names, or add the origin to `allowFetch` of the app. Nothing was sent; the command was rolled back.',
  },
  'fetch-failed': {
    status: 502,
    title: 'A `ctx.fetch` of the handler got no whole answer',
    remedy:
      'Look at `reason`; catch the error in the handler where it can go on without. It may have arrived: a repeated command sends the same `Idempotency-Key`. The command was rolled back.',
  },
  'command-poisoned': {
    status: 500,
    title: 'The command was running when two nodes died and is not tried again',
    remedy:
      'Correct the handler, then release the shard with `skein shard release`. A command that blocks its node leaves no effect; one that was merely under way at two unrelated deaths may have happened.',
  },
  'shard-quarantined': {
    status: 503,
    title: 'The shard takes no commands because one of them killed two nodes',
    remedy: 'Correct the handler named in `handler`, then release the shard with `skein shard release`.',
  },
  'idempotency-key-reused': {
    status: 422,
    title: 'The idempotency key was used with another handler or input',
    remedy:
      'Send a key of its own with each command, and the same body with each retry. Nothing was executed.',
  },
  'idempotency-key-expired': {
    status: 409,
    title: 'The idempotency key is older than what the shard remembers',
    remedy:
      'Read the state to learn whether the command happened, then send it again with a new key if it did not. Nothing was executed now.',
  },
  overloaded: {
    status: 503,
    title: 'Too much work is waiting; nothing was executed',
    remedy: 'Try again after the seconds in `Retry-After`.',
  },
  unavailable: {
    status: 503,
    title: 'The shard cannot be reached just now',
    remedy:
      'Try again after the seconds in `Retry-After`, with the same idempotency key: the command may have happened.',
  },
  moved: {
    status: 421,
    title: 'The shard is served elsewhere',
    remedy: 'Only gateways see this: follow `moved`. A client that sees it should go through a gateway.',
  },
  'too-many-hops': {
    status: 503,
    title: 'The request was passed on too often',
    remedy: 'Try again after the seconds in `Retry-After`; the routes of the nodes were settling.',
  },
  'state-version-newer': {
    status: 503,
    title: 'The state was written by a newer version of the service',
    remedy: 'Deploy the newer build to this node, or move the shard to a node that has it.',
  },
  'state-unreadable': {
    status: 500,
    title: 'The stored state cannot be replayed',
    remedy:
      'Look at the log of the node: a delta, a snapshot or an `upgrade` function failed. The stored data is untouched.',
  },
  'seq-not-reached': {
    status: 503,
    title: 'The shard has not reached the state the query asked for',
    remedy: 'Check `minSeq`: it must be a seq this shard has answered with. Try again shortly.',
  },
  'not-found': {
    status: 404,
    title: 'There is nothing here',
    remedy: 'Check the address: `POST /{service}/{key}/{handler}`, or `/v1/...` for the admin API.',
  },
  conflict: {
    status: 409,
    title: 'The request does not fit what is going on',
    remedy: 'Read `detail`, look at the present state, and try again.',
  },
  'header-invalid': {
    status: 400,
    title: 'A request header is not what it must be',
    remedy: 'Correct the header named in `detail`. Nothing was executed.',
  },
  'content-type-unsupported': {
    status: 415,
    title: 'The request body is not plain JSON',
    remedy: 'Send `Content-Type: application/json`, uncompressed, in UTF-8. Nothing was executed.',
  },
  'http-malformed': {
    status: 400,
    title: 'This is not an HTTP/1.1 request',
    remedy: 'Check the client, or what stands between it and Skein. Nothing was executed.',
  },
  'headers-too-large': {
    status: 431,
    title: 'Request line and headers are over 16 KB',
    remedy: 'Send fewer or shorter headers; send a long input in the body with POST. Nothing was executed.',
  },
  'request-too-slow': {
    status: 408,
    title: 'The request did not arrive in time',
    remedy: 'Send headers within 15 s and the whole request within 60 s. Nothing was executed.',
  },
  'not-leading': {
    status: 409,
    title: 'This controller stands by; another one leads',
    remedy: 'Ask the controller named in `leader`; `skein` does so by itself. Nothing was changed.',
  },
  internal: {
    status: 500,
    title: 'A fault inside Skein',
    remedy: 'Look at the log of the node and report it. The outcome of a command is unknown.',
  },
} as const satisfies Record<string, ErrorDefinition>;

/** A documented error code. Codes are stable; messages are not. */
export type ErrorCode = keyof typeof definitions;

/** All documented errors by code. */
export const ERRORS: Readonly<Record<ErrorCode, ErrorDefinition>> = definitions;

export function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(definitions, code);
}

/** An RFC 9457 problem document, as sent. */
export interface ProblemDocument {
  /** URL of the code's entry in the documentation. */
  type: string;
  title: string;
  /** HTTP status. */
  status: number;
  /** What happened this time. */
  detail: string;
  /** Stable: a documented {@link ErrorCode}, or a service's own code. */
  code: string;
  [extension: string]: unknown;
}

/** A documented error, to be thrown and to be caught by code. */
export class ProblemError extends Error {
  override readonly name = 'ProblemError';
  /** A documented code, or the own code of a service's {@link Refusal}. */
  readonly code: ErrorCode | (string & {});
  /** HTTP status. */
  readonly status: number;
  readonly detail: string;
  /** Further members of the problem document, such as `issues`. */
  readonly extensions: Readonly<Record<string, unknown>>;
  constructor(
    code: ErrorCode | (string & {}),
    detail: string,
    extensions: Readonly<Record<string, unknown>> = {},
    options: { status?: number; cause?: unknown } = {},
  ) {
    super(`${code}: ${detail}`, 'cause' in options ? { cause: options.cause } : undefined);
    this.code = code;
    this.detail = detail;
    this.extensions = extensions;
    this.status = options.status ?? (isErrorCode(code) ? definitions[code].status : 500);
  }
}

/** Codes of refusals follow the same grammar as documented ones: `room-full`. */
const REFUSAL_CODE = /^[a-z][a-z0-9-]{0,62}$/;

/**
 * A handler's own "no": the command is rolled back and the caller gets this status, code and message.
 *
 * @example
 * throw new Refusal('room-full', 'the room takes 50 people', { status: 409 });
 */
export class Refusal extends Error {
  override readonly name = 'Refusal';
  readonly code: string;
  /** 400 to 499. */
  readonly status: number;
  readonly extensions: Readonly<Record<string, unknown>>;
  /** @throws RangeError when the code is not lower-case words with dashes, or the status not 400 to 499. */
  constructor(
    code: string,
    detail: string,
    options: { status?: number; extensions?: Readonly<Record<string, unknown>> } = {},
  ) {
    super(detail);
    const status = options.status ?? 409;
    if (!REFUSAL_CODE.test(code)) throw new RangeError(`${JSON.stringify(code)} is not a refusal code`);
    if (!Number.isInteger(status) || status < 400 || status > 499)
      throw new RangeError(`a refusal has a status from 400 to 499, not ${status}`);
    this.code = code;
    this.status = status;
    this.extensions = options.extensions ?? {};
  }
}

const encoder = new TextEncoder();

/** Status and body of a reply for a documented error. */
export function problem(
  code: ErrorCode,
  detail: string,
  extensions?: Readonly<Record<string, unknown>>,
): { status: number; body: Uint8Array } {
  const { status, title } = definitions[code];
  return problemDocument(code, status, title, detail, extensions);
}

/** The same for an error someone threw: a {@link ProblemError} or a {@link Refusal}. */
export function problemOf(error: ProblemError | Refusal): { status: number; body: Uint8Array } {
  const title = isErrorCode(error.code) ? definitions[error.code].title : 'The service refused';
  const detail = error instanceof ProblemError ? error.detail : error.message;
  return problemDocument(error.code, error.status, title, detail, error.extensions);
}

function problemDocument(
  code: string,
  status: number,
  title: string,
  detail: string,
  extensions?: Readonly<Record<string, unknown>>,
): { status: number; body: Uint8Array } {
  const type = isErrorCode(code) ? PROBLEM_TYPE_BASE + code : 'about:blank';
  const document = { ...extensions, type, title, status, detail, code } satisfies ProblemDocument;
  return { status, body: encoder.encode(JSON.stringify(document)) };
}

/** Reads a reply body as a problem document; undefined where it is none. */
export function parseProblem(body: string): ProblemDocument | undefined {
  try {
    const value: unknown = JSON.parse(body);
    if (typeof value !== 'object' || value === null) return undefined;
    const { code, status } = value as Record<string, unknown>;
    return typeof code === 'string' && typeof status === 'number' ? (value as ProblemDocument) : undefined;
  } catch {
    return undefined;
  }
}
