/**
 * One handler call: its context, its input from bytes, its result to JSON text, its error to a problem document.
 *
 * Boundary: knows services and requests; knows no seqs, logs or gates.
 */
import type { StandardSchemaV1 } from '@standard-schema/spec';
import { ProblemError, problem, problemOf, Refusal } from '../model/errors.ts';
import type { IdempotencyKey, ShardReply, ShardRequest } from '../model/request.ts';
import { type AfterCommit, type AnyService, type Fetch, HANDLER_MS_MAX } from '../sdk/service.ts';
import type { AppEffects, HandlerEffects } from './effects.ts';
import { BODY_BYTES_MAX } from './limits.ts';
import type { Json } from './patch.ts';

export interface LoadedHandler {
  readonly name: string;
  readonly isCommand: boolean;
  readonly schema: StandardSchemaV1 | undefined;
  readonly run: (context: object, input: unknown) => unknown;
  /** It returned a promise, or is known to: its later stretches must be followed. */
  isAsync: boolean;
  /** CPU that one stretch of it took lately, microseconds, over all shards of this process. */
  expectedMicros: number;
  /** Since the last reading, over all shards of this process. */
  readonly work: WorkCounts;
}

export interface WorkCounts {
  requests: number;
  cpuMicros: number;
  bytesIn: number;
  bytesOut: number;
  writeBytes: number;
  cpuMicrosEver: number;
}

export interface LoadedService {
  readonly service: AnyService;
  readonly version: number;
  readonly handlers: ReadonlyMap<string, LoadedHandler>;
  readonly handlerMsMax: number;
  /** Shared by all services of the app. */
  readonly effects: AppEffects;
}

const AsyncFunction = (async () => {}).constructor as FunctionConstructor;

export function loadService(service: AnyService, effects: AppEffects): LoadedService {
  const handlers = new Map<string, LoadedHandler>();
  for (const [name, handler] of Object.entries(service.handlers)) {
    const { run } = handler as unknown as { run: LoadedHandler['run'] };
    handlers.set(name, {
      name,
      isCommand: handler.kind === 'command',
      schema: handler.schema,
      run,
      isAsync: run instanceof AsyncFunction,
      expectedMicros: 0,
      work: { requests: 0, cpuMicros: 0, bytesIn: 0, bytesOut: 0, writeBytes: 0, cpuMicrosEver: 0 },
    });
  }
  const handlerMsMax = service.options.handlerMsMax ?? HANDLER_MS_MAX;
  return { service, version: service.version, handlers, handlerMsMax, effects };
}

/** What a context asks its replica for. */
export interface ContextSource {
  random(): number;
  /** What the call may do to the outside. @throws ProblemError `fetch-refused` where it may do nothing. */
  effectsOf(call: HandlerCall): HandlerEffects;
}

export interface HandlerCall {
  readonly request: ShardRequest;
  readonly effects?: HandlerEffects | undefined;
}

/** What handlers see as `ctx`. Members are read-only: `ctx.state = x` throws, as it would change nothing. */
export class HandlerContext {
  readonly #state: Json | object;
  readonly #call: HandlerCall;
  readonly #nowMs: number;
  readonly #source: ContextSource;
  readonly key: string;

  constructor(state: Json | object, call: HandlerCall, key: string, nowMs: number, source: ContextSource) {
    this.#state = state;
    this.#call = call;
    this.#nowMs = nowMs;
    this.key = key;
    this.#source = source;
  }

  get state(): Json | object {
    return this.#state;
  }
  get now(): number {
    return this.#nowMs;
  }
  get random(): () => number {
    return () => this.#source.random();
  }
  get origin(): string {
    return this.#call.request.origin;
  }
  get user(): number {
    return this.#call.request.userHash;
  }
  get idempotencyKey(): string | undefined {
    return clientKeyOf(this.#call.request.idempotency);
  }
  get fetch(): Fetch {
    return async (url, init) => this.#source.effectsOf(this.#call).fetch(url, init);
  }
  get afterCommit(): (callback: AfterCommit) => void {
    return (callback) => this.#source.effectsOf(this.#call).afterCommit(callback);
  }
}

export function clientKeyOf(key: IdempotencyKey | undefined): string | undefined {
  return key?.kind === 'client' ? key.key : undefined;
}

/** The key as the watchdog and people see it. */
export function keyText(key: IdempotencyKey | undefined): string | undefined {
  if (key === undefined) return undefined;
  return key.kind === 'client' ? key.key : `${key.gateway}#${key.number}`;
}

const decoder = new TextDecoder('utf-8', { fatal: true });

/** The input's JSON text. @throws ProblemError `body-too-large`, `input-invalid`. */
export function inputText(input: Uint8Array): string {
  if (input.length === 0) return '';
  if (input.length > BODY_BYTES_MAX) {
    throw new ProblemError('body-too-large', `the body has ${input.length} bytes, over ${BODY_BYTES_MAX}`);
  }
  // Latin-1 decodes several times faster and is the same for ASCII, which short inputs nearly always are.
  if (input.length <= 64) {
    let text = '';
    for (let i = 0; i < input.length; i++) {
      const byte = input[i]!;
      if (byte >= 0x80) return decodeUtf8(input);
      text += String.fromCharCode(byte);
    }
    return text;
  }
  return decodeUtf8(input);
}

function decodeUtf8(input: Uint8Array): string {
  try {
    return decoder.decode(input);
  } catch {
    throw new ProblemError('input-invalid', 'the input is not UTF-8');
  }
}

/** The input as the handler takes it, or a promise of it where the schema validates asynchronously. */
export function validInput(handler: LoadedHandler, text: string): unknown {
  let value: unknown;
  if (text !== '') {
    try {
      value = JSON.parse(text);
    } catch (error) {
      throw new ProblemError('input-invalid', `the input is not JSON: ${(error as Error).message}`);
    }
  }
  if (handler.schema === undefined) return value;
  const result = handler.schema['~standard'].validate(value);
  return result instanceof Promise ? result.then(outputOf) : outputOf(result);
}

const ISSUES_MAX = 20;

function outputOf(result: StandardSchemaV1.Result<unknown>): unknown {
  if (result.issues === undefined) return result.value;
  const issues = result.issues.slice(0, ISSUES_MAX).map(({ message, path }) => ({
    message,
    path: (path ?? []).map((part) => String(typeof part === 'object' ? part.key : part)),
  }));
  const first = issues[0];
  const where = first?.path.length ? ` at ${first.path.join('.')}` : '';
  throw new ProblemError('input-invalid', `the input is refused${where}: ${first?.message}`, { issues });
}

/** What a handler returned as JSON text; nothing is the empty text. @throws ProblemError `state-not-json`. */
export function resultText(result: unknown): string {
  if (result === undefined) return '';
  let text: string | undefined;
  try {
    text = JSON.stringify(result);
  } catch (cause) {
    throw new ProblemError(
      'state-not-json',
      `the result is not JSON: ${(cause as Error).message}`,
      {},
      { cause },
    );
  }
  if (text === undefined)
    throw new ProblemError('state-not-json', `the result is a ${typeof result}, not JSON`);
  return text;
}

const MESSAGE_CHARS_MAX = 500;

/** Status and body for whatever a handler threw. Of an unexpected error only its message leaves, never its stack. */
export function failure(error: unknown): { status: number; body: Uint8Array } {
  if (error instanceof ProblemError || error instanceof Refusal) return problemOf(error);
  const message = error instanceof Error ? error.message : 'it threw something that is not an Error';
  return problem('handler-failed', message.slice(0, MESSAGE_CHARS_MAX).toWellFormed());
}

export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return (
    typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function'
  );
}

export function unknownHandler(loaded: LoadedService, request: ShardRequest): ShardReply {
  const known = [...loaded.handlers.keys()].join(', ');
  return problem(
    'handler-unknown',
    `${loaded.service.name} has no handler ${request.handler}; it has ${known}`,
  );
}
