/**
 * Declaring services: names, state, handlers, and the app that holds them. Plain frozen data; `shard/` runs it.
 *
 * The types carry each handler's input and output to `createClient<typeof app>` without code generation.
 */
import type { StandardSchemaV1 } from '@standard-schema/spec';
import { isHandlerName, isServiceName } from '../model/ids.ts';
import { checkAllowFetch } from '../shard/fetch-rules.ts';
import type { DeepReadonly, RequireJson } from './types.ts';

/** What `ctx.fetch` takes beside the address: the part of the platform's `fetch` that can be repeated and bounded. */
export interface FetchInit {
  /** `GET` by default. Queries send `GET`, `HEAD` and `OPTIONS` only. */
  method?: string;
  headers?: Readonly<Record<string, string>> | Headers;
  /** At most 1 MB. */
  body?: string | Uint8Array;
  /** From the call to the whole answer, milliseconds; 5,000 by default, at most 30,000. A gateway waits 10,000 for the command. */
  timeoutMs?: number;
  /** The longest answer taken, bytes; 4 MB by default and at most. */
  responseBytesMax?: number;
}

/**
 * HTTP to another system. Waits until everything the handler has seen is durable, sends once, and resolves with the
 * whole answer; redirects are not followed.
 *
 * @throws ProblemError `fetch-refused` (nothing was sent), `fetch-failed` (it may have arrived; `extensions.reason` is
 *   `timeout`, `network`, `too-large`, `overloaded`, `not-primary` or `ended`).
 */
export type Fetch = (url: string | URL, init?: FetchInit) => Promise<Response>;

/** What a callback of `ctx.afterCommit` gets. */
export interface AfterCommitContext {
  readonly key: string;
  /** Of the command's delta: the state it left is this one or newer. */
  readonly seq: number;
  /** As `ctx.fetch`, with keys of its own. */
  readonly fetch: Fetch;
  /** Aborted when the callback's time is up. */
  readonly signal: AbortSignal;
}

export type AfterCommit = (context: AfterCommitContext) => unknown;

/**
 * Where `ctx.fetch` may go: origins (`https://api.example.com`, `https://*.example.com` for its subdomains), or a
 * function that says so.
 */
export type AllowFetch = readonly string[] | ((url: URL) => boolean);

interface BaseContext {
  /** The shard's key, as the client wrote it. */
  readonly key: string;
  /** Unix milliseconds, the same throughout one handler, never less than in an earlier command of the shard. */
  readonly now: number;
  /** A number in [0, 1). */
  readonly random: () => number;
  /** Region the request came from. */
  readonly origin: string;
  /** 32-bit hash that is stable per user; not an identity. */
  readonly user: number;
  /**
   * HTTP to another system, from a command or (reading only) a query.
   *
   * From a command it carries an `Idempotency-Key` that is the same whenever the command is repeated: after a crash, a
   * move, or a retry by the client.
   *
   * @example
   * const answer = await ctx.fetch('https://pay.example.com/charges', { method: 'POST', body: JSON.stringify(charge) });
   */
  readonly fetch: Fetch;
}

export interface CommandContext<State> extends BaseContext {
  /** A draft: change it in place. A throw undoes every change. */
  readonly state: State;
  /** The client's own key for this command, where it sent one. */
  readonly idempotencyKey: string | undefined;
  /**
   * Runs `callback` once the command's changes are durable; never if it threw or lost its shard. At most once, and not
   * at all if the process ends in between. It holds no shard and changes no answer.
   *
   * @throws RangeError for more than 16 in one command.
   * @example
   * ctx.afterCommit(({ fetch }) => fetch('https://hooks.example.com/order', { method: 'POST', body: ctx.key }));
   */
  readonly afterCommit: (callback: AfterCommit) => void;
}

export interface QueryContext<State> extends BaseContext {
  readonly state: DeepReadonly<State>;
}

export interface WarmUpContext<State> {
  readonly key: string;
  readonly state: DeepReadonly<State>;
}

/** What a service accepts as a handler. Made by {@link command} and {@link query} only. */
export interface Handler<State> {
  readonly kind: 'command' | 'query';
  readonly schema: StandardSchemaV1 | undefined;
  /** Types only, never present: lets the state type flow into the handler's context. */
  readonly '~state'?: (state: State) => void;
}

export interface CommandHandler<State, Input, Output> extends Handler<State> {
  readonly kind: 'command';
  readonly run: (context: CommandContext<State>, input: never) => Output;
  readonly '~input'?: Input;
}

export interface QueryHandler<State, Input, Output> extends Handler<State> {
  readonly kind: 'query';
  readonly run: (context: QueryContext<State>, input: never) => Output;
  readonly '~input'?: Input;
}

/**
 * A handler that may change the state. Runs one at a time per shard; its changes are durable before the reply.
 *
 * Without a schema the input's type is the annotation's, and only JSON syntax is checked. With a schema (zod, valibot,
 * arktype, any Standard Schema) the input is validated and typed by it.
 *
 * @example
 * command((ctx, amount: number) => (ctx.state.value += amount))
 */
export function command<State, Schema extends StandardSchemaV1, Output>(
  schema: Schema,
  run: (context: CommandContext<State>, input: StandardSchemaV1.InferOutput<Schema>) => Output,
): CommandHandler<State, StandardSchemaV1.InferInput<Schema>, Output>;
export function command<State, Input = undefined, Output = unknown>(
  run: (context: CommandContext<State>, input: Input) => Output,
): CommandHandler<State, Input, Output>;
export function command(first: unknown, second?: unknown): CommandHandler<unknown, unknown, unknown> {
  return makeHandler('command', first, second) as CommandHandler<unknown, unknown, unknown>;
}

/**
 * A read-only handler; answers POST and GET. Sees everything durable and nothing that may yet be lost.
 *
 * @example
 * query((ctx) => ctx.state.value)
 */
export function query<State, Schema extends StandardSchemaV1, Output>(
  schema: Schema,
  run: (context: QueryContext<State>, input: StandardSchemaV1.InferOutput<Schema>) => Output,
): QueryHandler<State, StandardSchemaV1.InferInput<Schema>, Output>;
export function query<State, Input = undefined, Output = unknown>(
  run: (context: QueryContext<State>, input: Input) => Output,
): QueryHandler<State, Input, Output>;
export function query(first: unknown, second?: unknown): QueryHandler<unknown, unknown, unknown> {
  return makeHandler('query', first, second) as QueryHandler<unknown, unknown, unknown>;
}

function makeHandler(kind: 'command' | 'query', first: unknown, second: unknown): object {
  // Some schema libraries make schemas that are functions: with two arguments the first is always the schema.
  const schema = second === undefined ? undefined : first;
  const run = second === undefined ? first : second;
  if (typeof run !== 'function')
    throw new TypeError(`${kind}() takes a function, or a schema and a function`);
  if (schema !== undefined && (schema as Partial<StandardSchemaV1>)['~standard']?.version !== 1) {
    throw new TypeError(`the schema given to ${kind}() is not a Standard Schema of version 1`);
  }
  return Object.freeze({ kind, schema, run });
}

/** Default of `handlerMsMax`: a handler that has not finished by then is given up. */
export const HANDLER_MS_MAX = 30_000;

export interface ServiceOptions<State> {
  /** Version of the state's shape, 1 by default. Raise it with every change that old state does not fit. */
  version?: number;
  /** The state of a shard nobody has written to. JSON by type and checked at run time. */
  state: () => State;
  /** From a version to the next: `{ 1: (old: StateV1) => newer }`. Run once, when a newer build opens older state. */
  upgrade?: Record<number, (old: never) => unknown>;
  /** Called where a shard is about to arrive, before it takes traffic: fill caches, compile, connect. */
  warmUp?: (context: WarmUpContext<State>) => void | Promise<void>;
  /** Regions the shards may live in; anywhere without it. */
  allowedRegions?: readonly string[];
  /** How long one handler may take, milliseconds, awaiting included; {@link HANDLER_MS_MAX} by default. */
  handlerMsMax?: number;
  /**
   * Copies of each shard in use, kept up to date on other nodes: when the primary's node dies, one of them goes on
   * without loading anything. Each costs as much memory as the shard itself. None by default, {@link STANDBYS_MAX} at
   * most; where fewer nodes can hold one, there are fewer.
   */
  standbys?: number;
  /**
   * Where standbys are: in other zones of the primary's region (`zones`, the default), or in other regions (`regions`),
   * which costs egress for every delta.
   */
  standbySpread?: 'zones' | 'regions';
  /**
   * Lets standbys answer queries that ask for it (`Skein-Max-Staleness`, the client's `atMostStaleMs`), from a state
   * that was the newest at most so many milliseconds before. Without it every query is answered as by the primary.
   */
  staleReads?: { atMostMs: number };
}

/** Most standbys of one shard: each gets every delta. */
export const STANDBYS_MAX = 4;

export interface Service<Name extends string, State, Handlers extends Record<string, Handler<State>>> {
  readonly name: Name;
  readonly version: number;
  readonly options: ServiceOptions<State>;
  readonly handlers: Handlers;
}

// biome-ignore lint/suspicious/noExplicitAny: a service of any state; its context type is contravariant
export type AnyService = Service<string, any, Record<string, Handler<any>>>;

/**
 * Declares a service: a named kind of shard.
 *
 * The handlers are an argument of their own, after the options, because TypeScript infers argument by argument: so
 * `ctx.state` has the type that `state` returns without being written down again. (They may also stand in the options
 * as `handlers`; then annotate `ctx`.)
 *
 * @throws RangeError for a name that is not allowed, or a version without the upgrades that lead to it.
 * @example
 * const counter = service('counter', { state: () => ({ value: 0 }) }, {
 *   add: command((ctx, amount: number) => (ctx.state.value += amount)),
 *   get: query((ctx) => ctx.state.value),
 * });
 */
export function service<
  const Name extends string,
  State extends object,
  Handlers extends Record<string, Handler<State>>,
>(
  name: Name,
  options: ServiceOptions<State> & { state: RequireJson<State> },
  handlers: Handlers,
): Service<Name, State, Handlers>;
export function service<
  const Name extends string,
  State extends object,
  Handlers extends Record<string, Handler<State>>,
>(
  name: Name,
  options: ServiceOptions<State> & { state: RequireJson<State>; handlers: Handlers },
): Service<Name, State, Handlers>;
export function service(
  name: string,
  options: ServiceOptions<unknown> & { handlers?: Record<string, Handler<unknown>> },
  handlers: Record<string, Handler<unknown>> | undefined = options.handlers,
): AnyService {
  if (!isServiceName(name)) {
    throw new RangeError(
      `${JSON.stringify(name)} is not a service name: use lower-case letters, digits and dashes`,
    );
  }
  const version = options.version ?? 1;
  if (!Number.isSafeInteger(version) || version < 1) {
    throw new RangeError(`version of ${name} is ${version}: use whole numbers from 1`);
  }
  if (typeof options.state !== 'function') throw new TypeError(`${name} needs state: () => ({ ... })`);
  if (handlers === undefined) throw new TypeError(`${name} has no handlers`);
  for (const [handlerName, handler] of Object.entries(handlers)) {
    if (!isHandlerName(handlerName)) {
      throw new RangeError(`${JSON.stringify(handlerName)} of ${name} is not a handler name`);
    }
    if (handler?.kind !== 'command' && handler?.kind !== 'query') {
      throw new TypeError(`${name}.${handlerName} is not made by command() or query()`);
    }
  }
  for (const from of Object.keys(options.upgrade ?? {})) {
    if (!(Number(from) >= 1 && Number(from) < version)) {
      throw new RangeError(`${name} upgrades from version ${from}, but its version is ${version}`);
    }
  }
  const { handlerMsMax } = options;
  if (handlerMsMax !== undefined && !(handlerMsMax > 0)) {
    throw new RangeError(`handlerMsMax of ${name} is ${handlerMsMax}: use milliseconds over 0`);
  }
  checkStandbys(name, options);
  return Object.freeze({ name, version, options, handlers: Object.freeze({ ...handlers }) });
}

function checkStandbys(name: string, options: ServiceOptions<unknown>): void {
  const { standbys, standbySpread, staleReads } = options;
  if (standbys !== undefined && !(Number.isInteger(standbys) && standbys >= 0 && standbys <= STANDBYS_MAX)) {
    throw new RangeError(`standbys of ${name} is ${standbys}: use whole numbers from 0 to ${STANDBYS_MAX}`);
  }
  if (standbySpread !== undefined && standbySpread !== 'zones' && standbySpread !== 'regions') {
    throw new RangeError(`standbySpread of ${name} is ${standbySpread}: use 'zones' or 'regions'`);
  }
  if (staleReads !== undefined && !(Number.isFinite(staleReads.atMostMs) && staleReads.atMostMs > 0)) {
    throw new RangeError(`staleReads.atMostMs of ${name} is ${staleReads.atMostMs}: use milliseconds over 0`);
  }
}

/** What `authorize` decides on, before the shard is looked up. */
export interface AuthorizeRequest {
  readonly handler: string;
  readonly kind: 'command' | 'query';
  readonly method: 'get' | 'post';
  readonly origin: string;
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string>>;
}

export interface AuthorizeShard {
  readonly service: string;
  readonly key: string;
}

export interface AppOptions {
  /**
   * May this caller do this? Runs before dispatch. False is 403; throw a `Refusal` for another answer, such as 401.
   * An error of any other kind is answered 500 and nothing is executed.
   */
  authorize?: (request: AuthorizeRequest, shard: AuthorizeShard) => boolean | Promise<boolean>;
  /**
   * Where handlers may send HTTP by `ctx.fetch`. Without it: anywhere, addresses inside your own network included, so
   * give it wherever an address depends on what a user sent.
   */
  allowFetch?: AllowFetch;
}

export interface App<Services extends readonly AnyService[] = readonly AnyService[]> {
  /** How a loader tells an app from anything else a module exports. */
  readonly kind: 'skein-app';
  readonly services: Services;
  readonly options: AppOptions;
}

/**
 * The app a node runs: `export const app = defineApp([...])`, or the default export of the module.
 *
 * @throws RangeError for two services of one name, or an `allowFetch` that does not list origins.
 * @example
 * export const app = defineApp([counter, room]);
 */
export function defineApp<const Services extends readonly AnyService[]>(
  services: Services,
  options: AppOptions = {},
): App<Services> {
  checkAllowFetch(options.allowFetch);
  const names = new Set<string>();
  for (const { name } of services) {
    if (names.has(name)) throw new RangeError(`two services are called ${name}`);
    names.add(name);
  }
  return Object.freeze({ kind: 'skein-app', services, options });
}

/** The app of a loaded module: its `app` or default export. Throws TypeError where there is none. */
export function appOf(module: { app?: unknown; default?: unknown }): App {
  for (const candidate of [module.app, module.default]) {
    if ((candidate as Partial<App> | undefined)?.kind === 'skein-app') return candidate as App;
  }
  throw new TypeError('the module exports no app: write `export const app = defineApp([...])`');
}
