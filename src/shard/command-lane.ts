/**
 * A replica's commands: one at a time, in order, each on a draft whose changes become one delta.
 *
 * A synchronous handler runs, commits and appends within the call that brought it; an asynchronous one holds the shard
 * until it settles or its time is up, and later commands queue. The next command already runs while earlier deltas are
 * not durable.
 *
 * Invariant: a command that throws, is refused or runs out of time changes nothing.
 */
import { ProblemError, problem } from '../model/errors.ts';
import type { IdempotencyKey, ShardReply } from '../model/request.ts';
import { beginAsync, endAsync, handlerMsOf, invoke, timedOut } from './async-run.ts';
import type { HeldRequest } from './contract.ts';
import type { AsyncRun, ReplicaCore } from './core.ts';
import { encodeDelta } from './delta.ts';
import { type Draft, openDraft } from './draft.ts';
import { OutputGate } from './gate.ts';
import {
  failure,
  HandlerContext,
  inputText,
  isThenable,
  type LoadedHandler,
  resultText,
  validInput,
} from './handlers.ts';
import { IdempotencyWindow, requestHash } from './idempotency.ts';
import {
  DELTA_BYTES_MAX,
  PENDING_BYTES_MAX,
  PENDING_COMMANDS_MAX,
  SLICE_MS_MAX,
  STATE_BYTES_MAX,
  WINDOW_AGE_MS_MAX,
} from './limits.ts';
import { Diff, type Json } from './patch.ts';
import { answer, answerFailed, overloaded, settleSeal } from './reply-gate.ts';

export function enqueue(core: ReplicaCore, held: HeldRequest): void {
  if (isFull(core, held.request.input.length)) {
    overloaded(core, held);
    return;
  }
  core.queue ??= [];
  core.queue.push(held);
  core.queueBytes += held.request.input.length;
}

function isFull(core: ReplicaCore, bytes: number): boolean {
  return (
    core.pendingCommands >= PENDING_COMMANDS_MAX ||
    core.undurableBytes + core.queueBytes + bytes > PENDING_BYTES_MAX
  );
}

/** Runs what waits, until a command holds the shard again or a slice of time is used up. */
export function pump(core: ReplicaCore): void {
  const startMs = core.host.monotonicMs();
  let at = 0;
  const queue = core.queue;
  if (queue === undefined) {
    settleSeal(core);
    return;
  }
  while (at < queue.length && core.running === undefined && !core.sealed && core.role === 'primary') {
    const held = queue[at++]!;
    core.queueBytes -= held.request.input.length;
    startCommand(core, held, core.loaded.handlers.get(held.request.handler)!);
    if (at % 16 === 0 && core.host.monotonicMs() - startMs >= SLICE_MS_MAX) break;
  }
  queue.splice(0, at);
  if (queue.length > 0 && core.running === undefined && !core.sealed) core.host.defer(() => pump(core));
  settleSeal(core);
}

export function startCommand(core: ReplicaCore, held: HeldRequest, handler: LoadedHandler): void {
  const { request } = held;
  const { idempotency } = request;
  const nowMs = core.nextTimeMs();
  let hash = 0;
  if (idempotency !== undefined) {
    hash = requestHash(handler.name, request.input);
    if (answerRepeated(core, held, idempotency, hash, nowMs)) return;
  }
  if (isFull(core, request.input.length) || !core.host.admit(request.input.length)) {
    overloaded(core, held);
    return;
  }
  let input: unknown;
  core.meter.begin(core.host, handler);
  try {
    input = validInput(handler, inputText(request.input));
  } catch (error) {
    core.meter.end(core.host, handler);
    // The state was neither read nor changed: no gate.
    held.resolve(core.stamp(failure(error)));
    return;
  }
  if (isThenable(input) && handler.schema !== undefined) {
    commandAfterValidation(core, held, handler, input, nowMs, hash);
    return;
  }
  runCommand(core, held, handler, input, nowMs, hash, undefined);
}

/** True if the window answers for the handler. */
function answerRepeated(
  core: ReplicaCore,
  held: HeldRequest,
  key: IdempotencyKey,
  hash: number,
  nowMs: number,
): boolean {
  const ageMs = held.request.idempotencyAgeMs;
  const found =
    core.window?.lookup(key, nowMs, ageMs) ??
    (ageMs !== undefined && ageMs > WINDOW_AGE_MS_MAX ? 'expired' : 'unknown');
  if (found === 'unknown') return false;
  if (found === 'expired') {
    const detail =
      'the key is older than what this shard remembers; the command may or may not have happened';
    answer(core, held, problem('idempotency-key-expired', detail), core.applied.seq);
  } else if (found.hash !== hash) {
    const detail = 'the key came before with another handler or body';
    answer(core, held, problem('idempotency-key-reused', detail), core.applied.seq);
  } else {
    // OWNERSHIP rule 4: a retry is answered from the window only when the first attempt's delta is durable.
    const reply: ShardReply = { status: 200, body: Buffer.from(found.result), replayed: true };
    answer(core, held, reply, found.seq);
  }
  return true;
}

function commandAfterValidation(
  core: ReplicaCore,
  held: HeldRequest,
  handler: LoadedHandler,
  input: PromiseLike<unknown>,
  nowMs: number,
  hash: number,
): void {
  core.meter.end(core.host, handler);
  const run = beginAsync(core, held, handler, undefined, giveUp);
  core.running = run;
  input.then(
    (value) => {
      if (run.over) return;
      core.meter.begin(core.host, handler);
      runCommand(core, held, handler, value, nowMs, hash, run);
    },
    (error) => {
      if (!endAsync(core, run)) return;
      held.resolve(core.stamp(failure(error)));
      pump(core);
    },
  );
}

/** Metering has begun. `run` is given where validation was asynchronous and the shard is held already. */
function runCommand(
  core: ReplicaCore,
  held: HeldRequest,
  handler: LoadedHandler,
  input: unknown,
  nowMs: number,
  hash: number,
  run: AsyncRun | undefined,
): void {
  const draft = openDraft(core.applied.state as object);
  const context = new HandlerContext(draft.state, held, core.key, nowMs, core);
  let result: unknown;
  try {
    result = invoke(core, handler, context, input, held.request);
    if (!isThenable(result)) {
      // First: the host may demote from within the append, and the command has run by then.
      if (run !== undefined) endAsync(core, run);
      finishCommand(core, held, handler, draft, result, nowMs, hash, undefined);
      if (run !== undefined) pump(core);
      return;
    }
  } catch (error) {
    draft.discard();
    held.effects?.end();
    core.meter.end(core.host, handler);
    if (run !== undefined) endAsync(core, run);
    answerFailed(core, held, handler, error, core.meter.handlerMs);
    if (run !== undefined) pump(core);
    return;
  }
  core.meter.end(core.host, handler);
  handler.isAsync = true;
  const pending = run ?? beginAsync(core, held, handler, draft, giveUp);
  pending.draft = draft;
  core.running = pending;
  result.then(
    (value) => {
      if (!endAsync(core, pending)) return;
      core.meter.begin(core.host, handler);
      try {
        finishCommand(core, held, handler, draft, value, nowMs, hash, pending);
      } catch (error) {
        draft.discard();
        core.meter.end(core.host, handler);
        answerFailed(core, held, handler, error, handlerMsOf(core, pending));
      }
      pump(core);
    },
    (error) => {
      if (!endAsync(core, pending)) return;
      draft.discard();
      answerFailed(core, held, handler, error, handlerMsOf(core, pending));
      pump(core);
    },
  );
}

/** Commits, makes the delta and hands it to the host. Throws, with nothing changed, where a limit or JSON forbids. */
function finishCommand(
  core: ReplicaCore,
  held: HeldRequest,
  handler: LoadedHandler,
  draft: Draft,
  result: unknown,
  nowMs: number,
  hash: number,
  run: AsyncRun | undefined,
): void {
  held.effects?.end();
  // Before the commit: a handler may return a part of its draft.
  const text = resultText(result);
  const next = draft.commit();
  const isFirst = core.applied.seq === 0;
  const changed = next !== core.applied.state;
  const diff = changed ? (isFirst ? Diff.whole(next) : Diff.between(core.applied.state, next)) : undefined;
  if (diff === undefined || diff.operations.length === 0) {
    core.meter.end(core.host, handler);
    core.meter.executed(handler.isCommand, false, handlerMsOf(core, run));
    held.effects?.keep(handler, core.applied.seq);
    // OWNERSHIP rule 4: without a delta there is no append to prove ownership, so it is answered as a query.
    answer(core, held, { status: 200, body: Buffer.from(text) }, core.applied.seq);
    return;
  }
  const stateBytes = core.applied.stateBytes + diff.bytesDelta;
  if (stateBytes > STATE_BYTES_MAX) {
    throw new ProblemError('state-too-large', `the state would take ${stateBytes} bytes`);
  }
  const { idempotency, input } = held.request;
  const delta = encodeDelta(core.loaded.version, nowMs, diff.operations, idempotency, hash, text);
  if (delta.length > DELTA_BYTES_MAX) {
    throw new ProblemError('delta-too-large', `the changes take ${delta.length} bytes`);
  }
  core.meter.end(core.host, handler);
  core.meter.executed(handler.isCommand, false, handlerMsOf(core, run));
  const seq = core.applied.seq + 1;
  if (idempotency !== undefined) {
    core.window ??= new IdempotencyWindow();
    core.window.record(idempotency, { hash, atMs: nowMs, seq, result: text });
  }
  held.effects?.keep(handler, seq);
  const reply: ShardReply = { status: 200, body: Buffer.from(text), epoch: core.epoch, seq };
  core.meter.wrote(delta.length, handler);
  commit(core, seq, next as Json, nowMs, stateBytes, delta, held, reply, input.length);
}

export function commit(
  core: ReplicaCore,
  seq: number,
  state: Json,
  nowMs: number,
  stateBytes: number,
  delta: Uint8Array,
  held: HeldRequest | undefined,
  reply: ShardReply | undefined,
  inputBytes: number,
): void {
  core.applied = { seq, state, stateBytes, version: core.loaded.version, timeMs: nowMs };
  const bytes = inputBytes + delta.length;
  core.undurableCommands++;
  core.undurableBytes += bytes;
  core.gate ??= new OutputGate();
  core.gate.push({ seq, held, reply, after: core.applied, bytes });
  if (core.host.mutations?.has('commands-ungated') && held && reply) held.resolve(reply);
  // Last: the host may answer `durable` or demote from within.
  core.host.append(seq, delta);
}

/** An asynchronous command ran out of time: its draft is dropped and the shard goes on. */
function giveUp(core: ReplicaCore, run: AsyncRun): void {
  timedOut(core, run);
  pump(core);
  settleSeal(core);
}
