/**
 * What handlers do to the outside: `ctx.fetch` and `ctx.afterCommit`, per handler call and per process.
 *
 * Job: hold the effects of one call from its first effect to its end, and run what it left for after the commit, bounded
 * in number and time. Boundary: `outlet.ts` sends; the lanes say when a call ended, was kept or is committed.
 *
 * Invariants: callbacks run only after {@link HandlerEffects.keep} and then {@link HandlerEffects.committed}, each at most
 * once; they hold no shard, and neither their errors nor their time reaches an answer.
 */
import { ProblemError } from '../model/errors.ts';
import type { ShardRequest } from '../model/request.ts';
import type { AfterCommit, AfterCommitContext, AllowFetch, Fetch } from '../sdk/service.ts';
import type { ReplicaCore } from './core.ts';
import { isThenable, keyText, type LoadedHandler } from './handlers.ts';
import {
  AFTER_COMMIT_MAX,
  AFTER_COMMIT_MS_MAX,
  AFTER_COMMITS_AT_ONCE_MAX,
  AFTER_COMMITS_WAITING_MAX,
} from './limits.ts';
import { Outlet } from './outlet.ts';

/** Of one process, since it began. */
export interface EffectCounts {
  fetchesSent: number;
  /** Without a whole answer, sent or not. */
  fetchesFailed: number;
  callbacksRun: number;
  /** Threw, rejected or ran out of time. */
  callbacksFailed: number;
  /** Never ran, as too many waited. */
  callbacksDropped: number;
  /** Callbacks that run or wait now. */
  callbacksUnderWay: number;
}

interface Task {
  core: ReplicaCore;
  request: ShardRequest;
  handler: LoadedHandler;
  seq: number;
  index: number;
  callback: AfterCommit;
}

/** Effects of all shards of one app in this process. */
export class AppEffects {
  readonly allow: AllowFetch | undefined;
  readonly counts: EffectCounts = {
    fetchesSent: 0,
    fetchesFailed: 0,
    callbacksRun: 0,
    callbacksFailed: 0,
    callbacksDropped: 0,
    callbacksUnderWay: 0,
  };
  fetchesUnderWay = 0;
  #running = 0;
  #waiting: Task[] = [];

  constructor(allow: AllowFetch | undefined) {
    this.allow = allow;
  }

  enqueue(task: Task): void {
    if (this.#running < AFTER_COMMITS_AT_ONCE_MAX) this.#start(task);
    else if (this.#waiting.length < AFTER_COMMITS_WAITING_MAX) {
      this.counts.callbacksUnderWay++;
      this.#waiting.push(task);
    } else {
      this.counts.callbacksDropped++;
      const why = new Error(`${AFTER_COMMITS_WAITING_MAX} callbacks wait already`);
      task.core.host.effectFailed?.(task.core.shard, task.handler.name, 'dropped', why);
    }
  }

  #start(task: Task): void {
    this.#running++;
    this.counts.callbacksUnderWay++;
    // In a turn of its own: the reply goes first, and no lane is on the stack.
    task.core.host.defer(() => this.#run(task));
  }

  #run(task: Task): void {
    const { core, request, handler, seq, index, callback } = task;
    const { host, shard, key } = core;
    const channel = `after ${index}`;
    const outlet = new Outlet({ core, request, isCommand: true, channel, gated: false });
    const controller = new AbortController();
    let isOver = false;
    const end = (error: unknown, isFailed: boolean) => {
      if (isOver) return;
      isOver = true;
      cancelTimer();
      outlet.end();
      controller.abort();
      this.counts.callbacksRun++;
      if (isFailed) {
        this.counts.callbacksFailed++;
        host.effectFailed?.(shard, handler.name, 'failed', error);
      }
      this.#ended();
    };
    const cancelTimer = host.setTimer(AFTER_COMMIT_MS_MAX, () =>
      end(new Error(`not finished within ${AFTER_COMMIT_MS_MAX} ms`), true),
    );
    const context: AfterCommitContext = {
      key,
      seq,
      fetch: (url, init) => outlet.fetch(url, init),
      signal: controller.signal,
    };
    core.meter.begin(host, handler);
    host.enterHandler(shard, handler.name, keyText(request.idempotency));
    let result: unknown;
    try {
      result = core.meter.follow(host, handler, callback, context);
    } catch (error) {
      end(error, true);
      return;
    } finally {
      host.leaveHandler();
      core.meter.end(host, handler);
    }
    if (!isThenable(result)) end(undefined, false);
    else
      result.then(
        () => end(undefined, false),
        (error) => end(error, true),
      );
  }

  #ended(): void {
    this.#running--;
    this.counts.callbacksUnderWay--;
    const next = this.#waiting.shift();
    if (next === undefined) return;
    this.counts.callbacksUnderWay--;
    this.#start(next);
  }
}

/** The effects of one handler call. */
export class HandlerEffects {
  readonly #core: ReplicaCore;
  readonly #request: ShardRequest;
  readonly #isCommand: boolean;
  readonly #outlet: Outlet;
  #isEnded = false;
  #callbacks: AfterCommit[] | undefined;
  #kept: { handler: LoadedHandler; seq: number } | undefined;

  constructor(core: ReplicaCore, request: ShardRequest) {
    this.#core = core;
    this.#request = request;
    this.#isCommand = core.loaded.handlers.get(request.handler)?.isCommand === true;
    const channel = 'handler';
    this.#outlet = new Outlet({ core, request, isCommand: this.#isCommand, channel, gated: true });
  }

  /** See {@link Outlet.waitedMs}. */
  get waitedMs(): number {
    return this.#outlet.waitedMs;
  }

  fetch(...call: Parameters<Fetch>): Promise<Response> {
    return this.#outlet.fetch(...call);
  }

  afterCommit(callback: AfterCommit): void {
    if (typeof callback !== 'function') throw new TypeError('afterCommit takes a function');
    if (!this.#isCommand)
      throw new ProblemError('handler-failed', 'a query commits nothing: afterCommit is for commands');
    if (this.#isEnded)
      throw new ProblemError('handler-failed', 'afterCommit was called after the handler ended');
    this.#callbacks ??= [];
    if (this.#callbacks.length >= AFTER_COMMIT_MAX)
      throw new RangeError(`a command leaves at most ${AFTER_COMMIT_MAX} callbacks behind`);
    this.#callbacks.push(callback);
  }

  /** The handler returned, threw, was given up or lost its shard: nothing more leaves by it. */
  end(): void {
    this.#isEnded = true;
    this.#outlet.end();
  }

  /** The command succeeded: its callbacks run once `seq` is durable and the reply leaves. */
  keep(handler: LoadedHandler, seq: number): void {
    if (this.#callbacks !== undefined) this.#kept = { handler, seq };
  }

  /** The reply leaves. */
  committed(): void {
    const kept = this.#kept;
    if (kept === undefined) return;
    this.#kept = undefined;
    const { handler, seq } = kept;
    for (const [index, callback] of (this.#callbacks ?? []).entries()) {
      const task = { core: this.#core, request: this.#request, handler, seq, index, callback };
      this.#core.loaded.effects.enqueue(task);
    }
  }
}
