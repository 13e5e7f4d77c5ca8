/**
 * HTTP to the outside as a process of a cluster does it: what `ctx.fetch` of a handler goes through.
 */
import { AsyncResource } from 'node:async_hooks';
import { createHash } from 'node:crypto';
import { exchange } from './http-exchange.ts';
import type { HttpAnswer, HttpClient, HttpSend } from './io.ts';

const DIGEST_CHARS = 32;

export class FetchHttpClient implements HttpClient {
  // A pooled connection lives in the asynchronous context that opened it: without this, the handler that came first
  // would pay for the CPU of everybody's exchanges.
  readonly #outside = new AsyncResource('SkeinHttp');

  send(request: HttpSend): Promise<HttpAnswer> {
    return this.#outside.runInAsyncScope(exchange, undefined, globalThis.fetch, request);
  }

  digest(text: string): string {
    return createHash('sha256').update(text).digest('hex').slice(0, DIGEST_CHARS);
  }
}
