/**
 * One handler call: its synchronous part under the watchdog, and the life of a call that did not end there.
 *
 * Invariant: a run ends once, by settling, by running out of time or by being abandoned; what comes later is ignored.
 */
import { problem } from '../model/errors.ts';
import type { ShardRequest } from '../model/request.ts';
import type { HeldRequest } from './contract.ts';
import type { AsyncRun, ReplicaCore } from './core.ts';
import type { Draft } from './draft.ts';
import { type HandlerContext, keyText, type LoadedHandler } from './handlers.ts';
import { answer } from './reply-gate.ts';

/** The synchronous part of a handler, under the watchdog. */
export function invoke(
  core: ReplicaCore,
  handler: LoadedHandler,
  context: HandlerContext,
  input: unknown,
  request: ShardRequest,
): unknown {
  const host = core.host;
  host.enterHandler(core.shard, handler.name, keyText(request.idempotency));
  try {
    return handler.isAsync
      ? core.meter.follow(host, handler, handler.run, context, input)
      : handler.run(context, input);
  } finally {
    host.leaveHandler();
  }
}

/** Wall time of the call measured last; an asynchronous one's includes what it awaited, save its own fetches. */
export function handlerMsOf(core: ReplicaCore, run: AsyncRun | undefined): number {
  if (run === undefined) return core.meter.handlerMs;
  return core.host.monotonicMs() - run.startedMs - (run.held.effects?.waitedMs ?? 0);
}

export function beginAsync(
  core: ReplicaCore,
  held: HeldRequest,
  handler: LoadedHandler,
  draft: Draft | undefined,
  giveUp: (core: ReplicaCore, run: AsyncRun) => void,
): AsyncRun {
  const run: AsyncRun = {
    held,
    handler,
    draft,
    startedMs: core.host.monotonicMs(),
    over: false,
    cancelTimer: () => {},
  };
  run.cancelTimer = core.host.setTimer(core.loaded.handlerMsMax, () => giveUp(core, run));
  return run;
}

/** False if the run was given up before: whatever it brings is too late. */
export function endAsync(core: ReplicaCore, run: AsyncRun): boolean {
  if (run.over) return false;
  run.over = true;
  run.held.effects?.end();
  run.cancelTimer();
  if (core.running === run) core.running = undefined;
  else core.asyncQueries?.delete(run);
  return true;
}

/** Answers a run that took too long, unless it settled in time. */
export function timedOut(core: ReplicaCore, run: AsyncRun): void {
  if (!endAsync(core, run)) return;
  run.draft?.discard();
  const detail = `${run.handler.name} did not finish within ${core.loaded.handlerMsMax} ms`;
  core.meter.executed(run.handler.isCommand, true, handlerMsOf(core, run));
  answer(core, run.held, problem('handler-timeout', detail), core.applied.seq);
}
