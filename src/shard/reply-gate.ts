/**
 * Replies on their way out of a replica (OWNERSHIP rule 4): held until what they read is durable and the host agrees.
 *
 * Job: answer a request, open the gate as deltas become durable, hold requests back while the replica is sealed, and say
 * when a sealed one is quiet. It runs no handler.
 *
 * Invariants: a reply leaves only when every delta it read is durable; after a seal resolved nothing is answered.
 */
import { problem } from '../model/errors.ts';
import type { ShardReply } from '../model/request.ts';
import { Demoted, type HeldRequest } from './contract.ts';
import type { ReplicaCore } from './core.ts';
import { OutputGate } from './gate.ts';
import { failure, type LoadedHandler } from './handlers.ts';
import { HELD_REQUESTS_MAX, RETRY_AFTER_S } from './limits.ts';

export function hold(core: ReplicaCore, held: HeldRequest): void {
  // What it left for after the commit goes with the answer that is not given: it runs again from the beginning.
  if (held.effects !== undefined) held.effects = undefined;
  core.heldWhileSealed ??= [];
  if (core.heldWhileSealed.length >= HELD_REQUESTS_MAX) overloaded(core, held);
  else core.heldWhileSealed.push(held);
}

/** Nothing was executed and nothing read: this reply needs no gate. */
export function overloaded(core: ReplicaCore, held: HeldRequest): void {
  core.meter.rejected();
  const detail = `${core.pendingCommands} commands of ${core.shard} wait to become durable`;
  held.resolve(core.stamp({ ...problem('overloaded', detail), retryAfterS: RETRY_AFTER_S }));
}

export function answerFailed(
  core: ReplicaCore,
  held: HeldRequest,
  handler: LoadedHandler,
  error: unknown,
  handlerMs: number,
): void {
  const reply = failure(error);
  // A refusal, with a status below 500, is the service's own answer and no sign of a bad node.
  core.meter.executed(handler.isCommand, reply.status >= 500, handlerMs);
  answer(core, held, reply, core.applied.seq);
}

/** A reply that read the state up to `seq` and carries no delta: leaves when that is durable and the host agrees. */
export function answer(core: ReplicaCore, held: HeldRequest, reply: ShardReply, seq: number): void {
  reply.epoch = core.epoch;
  reply.seq = seq;
  if (core.role === 'follower') {
    // A follower holds durable deltas only (rule 7), and its caller has asked the primary for the seq to reach.
    deliver(core, held, reply);
  } else if (seq <= core.durable.seq || core.host.mutations?.has('queries-ungated')) {
    confirm(core, held, reply);
  } else {
    core.gate ??= new OutputGate();
    core.gate.push({ seq, held, reply, after: undefined, bytes: 0 });
  }
}

function confirm(core: ReplicaCore, held: HeldRequest, reply: ShardReply): void {
  if (core.role !== 'primary') {
    held.reject(new Demoted(false));
    return;
  }
  // OWNERSHIP rule 5: sealed, it answers nothing. What only read runs again when unsealed, or wherever it is sent.
  if (core.sealed) {
    hold(core, held);
    return;
  }
  const isUnproven = core.host.mutations?.has('no-delta-unproven') && isCommand(core, held);
  const may = isUnproven || core.host.mayAnswer();
  if (may === true) {
    deliver(core, held, reply);
    return;
  }
  core.confirming++;
  may.then(
    (isPrimary) => {
      core.confirming--;
      if (core.role === 'primary' && core.sealed) hold(core, held);
      else if (isPrimary && core.role === 'primary') deliver(core, held, reply);
      else held.reject(new Demoted(false));
      settleSeal(core);
    },
    (error) => {
      core.confirming--;
      held.reject(error);
      settleSeal(core);
    },
  );
}

function isCommand(core: ReplicaCore, { request }: HeldRequest): boolean {
  return core.loaded.handlers.get(request.handler)?.isCommand === true;
}

function deliver(core: ReplicaCore, held: HeldRequest, reply: ShardReply): void {
  core.meter.delivered(reply.body.length, core.loaded.handlers.get(held.request.handler));
  held.resolve(reply);
  held.effects?.committed();
}

export function openGate(core: ReplicaCore, seq: number): void {
  if (seq <= core.durable.seq) return;
  if (seq > core.applied.seq)
    throw new RangeError(`${core.shard}: ${seq} cannot be durable before it is applied`);
  const gate = core.gate;
  for (let item = gate?.next(seq); item !== undefined; item = gate?.next(seq)) {
    if (item.after === undefined) {
      confirm(core, item.held!, item.reply!);
      continue;
    }
    // A reply with a delta needs no lease: the append that was accepted is the proof.
    core.durable = item.after;
    core.undurableCommands--;
    core.undurableBytes -= item.bytes;
    if (item.held !== undefined) deliver(core, item.held, item.reply!);
  }
  for (const wake of core.effectWaiters ?? []) wake();
  settleSeal(core);
}

/** OWNERSHIP rule 5: sealed means that no handler runs, every delta is durable and every reply is out. */
export function settleSeal(core: ReplicaCore): void {
  if (core.sealWaiters === undefined || !core.sealed) return;
  const isEarly = core.host.mutations?.has('swap-before-appends-resolve');
  const isBusy =
    core.running !== undefined ||
    (core.asyncQueries?.size ?? 0) > 0 ||
    (core.gate?.size ?? 0) > 0 ||
    core.confirming > 0;
  if (!isEarly && (isBusy || core.durable.seq !== core.applied.seq)) return;
  const waiters = core.sealWaiters;
  core.sealWaiters = undefined;
  for (const { resolve } of waiters) resolve();
}

export function failSeal(core: ReplicaCore, error: unknown): void {
  const waiters = core.sealWaiters;
  core.sealWaiters = undefined;
  for (const { reject } of waiters ?? []) reject(error);
}
