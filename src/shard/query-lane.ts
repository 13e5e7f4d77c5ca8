/**
 * A replica's queries: on the primary as soon as they come, on a follower from a seq on, in a rehearsal uncounted.
 *
 * Invariant: a query sees the state as one command left it, frozen; its reply waits in the gate for what it saw.
 */
import { ProblemError, problem } from '../model/errors.ts';
import type { ShardReply, ShardRequest } from '../model/request.ts';
import type { RecentQuery } from '../node/protocol.ts';
import { beginAsync, endAsync, handlerMsOf, invoke, timedOut } from './async-run.ts';
import type { HeldRequest } from './contract.ts';
import type { AsyncRun, ReplicaCore } from './core.ts';
import {
  type ContextSource,
  failure,
  HandlerContext,
  inputText,
  isThenable,
  type LoadedHandler,
  resultText,
  unknownHandler,
  validInput,
} from './handlers.ts';
import { RETRY_AFTER_S } from './limits.ts';
import { answer, answerFailed, settleSeal } from './reply-gate.ts';
import { SeqWaiters } from './seq-waiters.ts';

export function startQuery(core: ReplicaCore, held: HeldRequest, handler: LoadedHandler): void {
  const { request } = held;
  if (request.minSeq !== undefined && request.minSeq > core.applied.seq) {
    const detail = `the shard is at ${core.applied.seq}, the query asks for ${request.minSeq}`;
    answer(
      core,
      held,
      { ...problem('seq-not-reached', detail), retryAfterS: RETRY_AFTER_S },
      core.applied.seq,
    );
    return;
  }
  const seq = core.applied.seq;
  let text: string;
  core.meter.begin(core.host, handler);
  try {
    text = inputText(request.input);
    const input = validInput(handler, text);
    const isInputPending = isThenable(input) && handler.schema !== undefined;
    const result = isInputPending
      ? input.then((value) => runAfterValidation(core, handler, held, value))
      : runQuery(core, handler, held, input);
    if (isThenable(result)) {
      core.meter.end(core.host, handler);
      if (!isInputPending) handler.isAsync = true;
      awaitQuery(core, held, handler, result, seq);
      return;
    }
    held.effects?.end();
    finishQuery(core, held, handler, result, seq, text, undefined);
  } catch (error) {
    held.effects?.end();
    core.meter.end(core.host, handler);
    answerFailed(core, held, handler, error, core.meter.handlerMs);
  }
}

function runAfterValidation(
  core: ReplicaCore,
  handler: LoadedHandler,
  held: HeldRequest,
  input: unknown,
): unknown {
  core.meter.begin(core.host, handler);
  try {
    return runQuery(core, handler, held, input);
  } finally {
    core.meter.end(core.host, handler);
  }
}

function runQuery(core: ReplicaCore, handler: LoadedHandler, held: HeldRequest, input: unknown): unknown {
  const context = new HandlerContext(core.applied.state, held, core.key, core.nextTimeMs(), core);
  return invoke(core, handler, context, input, held.request);
}

function awaitQuery(
  core: ReplicaCore,
  held: HeldRequest,
  handler: LoadedHandler,
  result: PromiseLike<unknown>,
  seq: number,
): void {
  const run = beginAsync(core, held, handler, undefined, giveUp);
  core.asyncQueries ??= new Set();
  core.asyncQueries.add(run);
  const finish = (value: unknown, error: unknown, failed: boolean) => {
    if (!endAsync(core, run)) return;
    core.meter.begin(core.host, handler);
    try {
      if (failed) throw error;
      // What an asynchronous validation let wait read a later state: the gate waits for whichever is newer.
      finishQuery(core, held, handler, value, Math.max(seq, core.applied.seq), undefined, run);
    } catch (thrown) {
      core.meter.end(core.host, handler);
      answerFailed(core, held, handler, thrown, handlerMsOf(core, run));
    }
    settleSeal(core);
  };
  result.then(
    (value) => finish(value, undefined, false),
    (error) => finish(undefined, error, true),
  );
}

/** `input` is given for synchronous handlers only: they can be rehearsed elsewhere. */
function finishQuery(
  core: ReplicaCore,
  held: HeldRequest,
  handler: LoadedHandler,
  result: unknown,
  seq: number,
  input: string | undefined,
  run: AsyncRun | undefined,
): void {
  const text = resultText(result);
  core.meter.end(core.host, handler);
  core.meter.executed(handler.isCommand, false, handlerMsOf(core, run));
  if (input !== undefined) {
    core.meter.remember(handler.name, input, text, seq);
  }
  answer(core, held, { status: 200, body: Buffer.from(text) }, seq);
}

export async function queryAt(
  core: ReplicaCore,
  request: ShardRequest,
  atLeastSeq: number,
  waitMs: number,
): Promise<ShardReply | undefined> {
  const wanted = Math.max(atLeastSeq, request.minSeq ?? 0);
  if (core.applied.seq < wanted && !(await reached(core, wanted, waitMs))) return undefined;
  // Handlers of this build know only their own version's state; the primary answers until it has upgraded.
  if (core.role !== 'follower' || core.applied.version !== core.loaded.version) return undefined;
  const handler = core.loaded.handlers.get(request.handler);
  if (handler === undefined) return core.stamp(unknownHandler(core.loaded, request));
  if (handler.isCommand) return undefined;
  return new Promise((resolve, reject) => {
    const held = { request, resolve, reject };
    core.lastUsedMs = core.host.monotonicMs();
    core.meter.offered(request, handler, core.lastUsedMs);
    startQuery(core, held, handler);
  });
}

function reached(core: ReplicaCore, seq: number, waitMs: number): Promise<boolean> {
  core.seqWaiters ??= new SeqWaiters();
  return core.seqWaiters.wait(seq, waitMs, core.host);
}

function giveUp(core: ReplicaCore, run: AsyncRun): void {
  timedOut(core, run);
  settleSeal(core);
}

/** A rehearsal repeats a query that was answered long ago: nothing of it may be seen outside. */
function rehearsal(core: ReplicaCore): ContextSource {
  return {
    random: () => core.host.random(),
    effectsOf() {
      throw new ProblemError('fetch-refused', 'this is a rehearsal of an earlier query');
    },
  };
}

export function rehearse(
  core: ReplicaCore,
  query: RecentQuery,
): { status: number; body: Uint8Array; handlerMs: number } {
  const handler = core.loaded.handlers.get(query.handler);
  const request: ShardRequest = {
    shard: core.shard,
    handler: query.handler,
    input: query.input,
    method: 'get',
    origin: '',
    userHash: 0,
    hops: 0,
  };
  if (handler === undefined || handler.isCommand)
    return { ...unknownHandler(core.loaded, request), handlerMs: 0 };
  const host = core.host;
  const startMs = host.monotonicMs();
  const context = new HandlerContext(
    core.applied.state,
    { request },
    core.key,
    core.applied.timeMs,
    rehearsal(core),
  );
  host.enterHandler(core.shard, handler.name, undefined);
  try {
    const result = handler.run(context, validInput(handler, inputText(query.input)));
    // A handler that awaits is not kept for rehearsals, save one that did not need to await then.
    if (isThenable(result)) result.then(undefined, () => {});
    // To the written result, as the time of a real query is taken.
    const text = resultText(result);
    const handlerMs = host.monotonicMs() - startMs;
    return { status: 200, body: Buffer.from(text), handlerMs };
  } catch (error) {
    return { ...failure(error), handlerMs: host.monotonicMs() - startMs };
  } finally {
    host.leaveHandler();
  }
}
