/**
 * The public face of Skein: declare services, put them into an app, call them.
 *
 * @example
 * import { command, defineApp, query, service } from 'skein';
 */

export type { ErrorCode, ProblemDocument } from '../model/errors.ts';
export { ProblemError, Refusal } from '../model/errors.ts';
export type { CallOptions, Client, ClientOptions, HandlerCall, Reply } from './client.ts';
export { createClient } from './client.ts';
export type { InMemoryOptions } from './in-memory.ts';
export { InMemory } from './in-memory.ts';
export type {
  AfterCommit,
  AfterCommitContext,
  AllowFetch,
  App,
  AppOptions,
  AuthorizeRequest,
  AuthorizeShard,
  CommandContext,
  Fetch,
  FetchInit,
  QueryContext,
  Service,
  ServiceOptions,
  WarmUpContext,
} from './service.ts';
export { command, defineApp, HANDLER_MS_MAX, query, STANDBYS_MAX, service } from './service.ts';
