/**
 * `ctx.fetch`: HTTP that leaves through the output gate (OWNERSHIP rule 4), for one handler call or one callback.
 *
 * Job: wait until what the caller has seen is durable and the replica may speak, send once, bound it in time, size and
 * number, and end it when its caller ends. Boundary: what may be sent at all is `fetch-rules.ts`; the wire is `Io.http`.
 *
 * Invariants: nothing is sent after {@link Outlet.end}; the same command, repeated, sends the same keys in the same order
 * of calls, also on another node and with other commands in between.
 */
import { type HttpAnswer, ResponseTooLarge } from '../io/io.ts';
import { ProblemError } from '../model/errors.ts';
import type { ShardRequest } from '../model/request.ts';
import type { FetchInit } from '../sdk/service.ts';
import type { ReplicaCore } from './core.ts';
import { type CheckedFetch, checkFetch } from './fetch-rules.ts';
import { FETCHES_AT_ONCE_MAX, FETCHES_PER_CALL_MAX } from './limits.ts';

type FetchFailure = 'timeout' | 'network' | 'too-large' | 'overloaded' | 'not-primary' | 'ended';

/** Statuses whose answers have no body by definition: `Response` insists. */
const BODILESS: ReadonlySet<number> = new Set([204, 205, 304]);

export interface OutletOptions {
  core: ReplicaCore;
  request: ShardRequest;
  isCommand: boolean;
  /** Tells a command's handler from its callbacks in the keys. */
  channel: string;
  /** A handler's waits for what it has seen; a callback's command is durable already. */
  gated: boolean;
}

export class Outlet {
  readonly #o: OutletOptions;
  readonly #underWay = new Set<AbortController>();
  #calls = 0;
  #isEnded = false;
  #waitingSinceMs = 0;
  #waitedMs = 0;

  constructor(options: OutletOptions) {
    this.#o = options;
  }

  /** Time in which at least one fetch was under way, milliseconds: no work of the handler's. */
  get waitedMs(): number {
    const sinceMs = this.#underWay.size > 0 ? this.#nowMs() - this.#waitingSinceMs : 0;
    return this.#waitedMs + sinceMs;
  }

  /** @throws ProblemError `fetch-refused`, `fetch-failed` */
  async fetch(input: string | URL, init: FetchInit = {}): Promise<Response> {
    const { core, isCommand } = this.#o;
    const { effects } = core.loaded;
    if (this.#isEnded) throw refusedAfterEnd();
    const checked = checkFetch(input, init, isCommand, effects.allow);
    if (core.host.http === undefined) throw new ProblemError('fetch-refused', 'there is no outside here');
    if (this.#calls >= FETCHES_PER_CALL_MAX) {
      const detail = `a handler sends ${FETCHES_PER_CALL_MAX} requests at most; spread them over several commands`;
      throw new ProblemError('fetch-refused', detail);
    }
    const number = ++this.#calls;
    if (effects.fetchesUnderWay >= FETCHES_AT_ONCE_MAX) {
      effects.counts.fetchesFailed++;
      throw failed(checked, 'overloaded', `${FETCHES_AT_ONCE_MAX} are under way on this node`);
    }
    if (isCommand && !checked.headers.has('idempotency-key'))
      checked.headers.set('idempotency-key', this.#key(number));
    return this.#send(checked);
  }

  /** Ends what is under way and lets nothing more out. */
  end(): void {
    this.#isEnded = true;
    for (const controller of this.#underWay) controller.abort('ended');
  }

  async #send(checked: CheckedFetch): Promise<Response> {
    const { core, gated } = this.#o;
    const { effects } = core.loaded;
    const controller = new AbortController();
    const { signal } = controller;
    const aborted = new Promise<never>((_, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason), { once: true });
    });
    const cancelTimer = core.host.setTimer(checked.timeoutMs, () => controller.abort('timeout'));
    if (this.#underWay.size === 0) this.#waitingSinceMs = this.#nowMs();
    this.#underWay.add(controller);
    effects.fetchesUnderWay++;
    try {
      if (gated) await Promise.race([throughGate(core, signal), aborted]);
      const { url, method, body, responseBytesMax } = checked;
      const headers: [string, string][] = [...checked.headers];
      effects.counts.fetchesSent++;
      const answer = core.host.http!.send({ url, method, headers, body, responseBytesMax, signal });
      return toResponse(await Promise.race([answer, aborted]));
    } catch (cause) {
      effects.counts.fetchesFailed++;
      throw toFailure(checked, cause, signal);
    } finally {
      cancelTimer();
      // Else it would reject with nobody listening when the handler ends.
      aborted.catch(() => {});
      effects.fetchesUnderWay--;
      const waitedMs = this.waitedMs;
      this.#underWay.delete(controller);
      if (this.#underWay.size === 0) this.#waitedMs = waitedMs;
    }
  }

  /**
   * Made from who the command is, not from its seq: a repeat may get another seq when other commands came in between,
   * and a command that failed leaves its seq to the next one, which must not be taken for it.
   */
  #key(number: number): string {
    const { core, request, channel } = this.#o;
    const { idempotency } = request;
    let identity: string;
    if (idempotency?.kind === 'client') identity = `client ${idempotency.key}`;
    else if (idempotency !== undefined) identity = `gateway ${idempotency.gateway} ${idempotency.number}`;
    else {
      request.effectId ??= randomText(core) + randomText(core);
      identity = `once ${request.effectId}`;
    }
    return core.host.http!.digest([core.shard, request.handler, identity, channel, number].join('\n'));
  }

  #nowMs(): number {
    return this.#o.core.host.monotonicMs();
  }
}

/** OWNERSHIP rule 4: what leaves waits for the durability of what it read, and for the right to answer. */
async function throughGate(core: ReplicaCore, signal: AbortSignal): Promise<void> {
  const { seq } = core.applied;
  // A follower holds durable deltas only (rule 7).
  if (core.role === 'follower') return;
  if (core.durable.seq < seq) {
    const { promise, resolve } = Promise.withResolvers<void>();
    const wake = () => {
      if (core.durable.seq >= seq || signal.aborted) resolve();
    };
    core.effectWaiters ??= new Set();
    core.effectWaiters.add(wake);
    signal.addEventListener('abort', wake, { once: true });
    await promise;
    core.effectWaiters.delete(wake);
  }
  const may = core.role === 'primary' && core.host.mayAnswer();
  if (may !== true && !(await may)) throw new NotPrimary();
}

class NotPrimary extends Error {}

function toResponse({ status, headers, body }: HttpAnswer): Response {
  return new Response(BODILESS.has(status) ? null : (body as Uint8Array<ArrayBuffer>), { status, headers });
}

function toFailure(checked: CheckedFetch, cause: unknown, signal: AbortSignal): ProblemError {
  if (signal.aborted && signal.reason === 'timeout')
    return failed(checked, 'timeout', `none within ${checked.timeoutMs} ms`, cause);
  if (signal.aborted) return failed(checked, 'ended', 'the handler ended before; await it', cause);
  if (cause instanceof NotPrimary)
    return failed(checked, 'not-primary', 'nothing was sent: this node is no longer the primary', cause);
  if (cause instanceof ResponseTooLarge)
    return failed(checked, 'too-large', `it has more than ${checked.responseBytesMax} bytes`, cause);
  // What exactly failed (an address, a closed port) is the handler's to know, by `cause`, not the caller's.
  return failed(checked, 'network', 'the connection failed', cause);
}

function failed(checked: CheckedFetch, reason: FetchFailure, what: string, cause?: unknown): ProblemError {
  const detail = `${checked.method} ${new URL(checked.url).origin} got no whole answer: ${what}`;
  return new ProblemError('fetch-failed', detail, { reason }, { cause });
}

function refusedAfterEnd(): ProblemError {
  const detail =
    'the handler has ended; await ctx.fetch inside it, or use the fetch that ctx.afterCommit gives';
  return new ProblemError('fetch-refused', detail);
}

function randomText(core: ReplicaCore): string {
  return core.host.random().toString(36).slice(2);
}
