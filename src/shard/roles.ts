/**
 * What a replica is: primary, sealed, follower, ended; and how a follower follows.
 *
 *             open()            seal()            demote()           follow()
 *   primary  --------> serving --------> sealed ------------> ended ---------> follower
 *                         ^  unseal()      |                                     |
 *                         +----------------+            promote(epoch)           |
 *                         +------------------------------------------------------+
 *
 * Invariant: a follower holds durable deltas only (OWNERSHIP rule 7), so what it applied is durable.
 */
import { ProblemError } from '../model/errors.ts';
import type { ShardId } from '../model/ids.ts';
import type { ShardRequest } from '../model/request.ts';
import type { LogEntry } from '../store/store.ts';
import { endAsync } from './async-run.ts';
import { commit, pump } from './command-lane.ts';
import { Demoted, type HeldRequest } from './contract.ts';
import type { ReplicaCore } from './core.ts';
import { decodeDelta, encodeDelta } from './delta.ts';
import { IdempotencyWindow } from './idempotency.ts';
import { Applier, Diff } from './patch.ts';
import { failSeal, settleSeal } from './reply-gate.ts';
import { start } from './requests.ts';
import { upgradedState } from './upgrade.ts';

export function seal(core: ReplicaCore): Promise<void> {
  core.sealed = true;
  return new Promise((resolve, reject) => {
    core.sealWaiters ??= [];
    core.sealWaiters.push({ resolve, reject });
    settleSeal(core);
  });
}

export function unseal(core: ReplicaCore): void {
  if (!core.sealed) return;
  core.sealed = false;
  failSeal(core, new Error(`${core.shard} was unsealed before it was quiet`));
  pump(core);
  const held = core.heldWhileSealed;
  core.heldWhileSealed = undefined;
  for (const request of held ?? []) {
    start(core, request, core.loaded.handlers.get(request.request.handler)!);
  }
}

export function release(core: ReplicaCore, which: (request: ShardRequest) => boolean): HeldRequest[] {
  if (!core.sealed || core.role !== 'primary') return [];
  const back: HeldRequest[] = [];
  const keep = (held: HeldRequest) => {
    if (!which(held.request)) return true;
    back.push(held);
    return false;
  };
  core.queue = core.queue?.filter((held) => {
    if (keep(held)) return true;
    core.queueBytes -= held.request.input.length;
    return false;
  });
  core.heldWhileSealed = core.heldWhileSealed?.filter(keep);
  return back;
}

export function demote(core: ReplicaCore): HeldRequest[] {
  if (core.role !== 'primary') return [];
  core.role = 'ended';
  const back: HeldRequest[] = [];
  for (const run of [...(core.running === undefined ? [] : [core.running]), ...(core.asyncQueries ?? [])]) {
    if (!endAsync(core, run)) continue;
    // Its draft dies with it, so it can run again elsewhere.
    run.draft?.discard();
    back.push(run.held);
  }
  const gate = core.gate;
  for (let item = gate?.next(core.applied.seq); item !== undefined; item = gate?.next(core.applied.seq)) {
    if (item.held === undefined) continue;
    if (item.after === undefined) back.push(item.held);
    else item.held.reject(new Demoted(true));
  }
  back.push(...(core.queue ?? []), ...(core.heldWhileSealed ?? []));
  core.queue = undefined;
  core.heldWhileSealed = undefined;
  failSeal(core, new Demoted(false));
  return back;
}

export function follow(core: ReplicaCore): void {
  if (core.role !== 'ended' || core.applied.seq !== core.durable.seq) {
    throw new Error(`${core.shard} can follow only after it was sealed and demoted`);
  }
  core.role = 'follower';
  core.sealed = false;
  core.queueBytes = 0;
}

export function apply(core: ReplicaCore, entries: readonly LogEntry[]): void {
  if (core.role !== 'follower') throw new Error(`${core.shard} is no follower and applies nothing`);
  const applier = new Applier();
  let { seq, state, version: lastVersion, timeMs: lastTimeMs } = core.applied;
  let isWhole = true;
  try {
    for (const entry of entries) {
      if (entry.seq <= seq) continue;
      if (entry.seq !== seq + 1) {
        throw new RangeError(`${core.shard} has applied ${seq} and cannot apply ${entry.seq}`);
      }
      const { version, timeMs, operations, identity } = decodeDelta(entry.delta);
      if (version > core.loaded.version) throw newerState(core.shard, version, core.loaded.version);
      isWhole = false;
      state = applier.apply(seq === 0 ? undefined : state, operations);
      isWhole = true;
      lastVersion = version;
      lastTimeMs = timeMs;
      if (identity !== undefined) {
        core.window ??= new IdempotencyWindow();
        const { key, hash, result } = identity;
        core.window.record(key, { hash, atMs: timeMs, seq: entry.seq, result });
      }
      seq = entry.seq;
    }
  } finally {
    // A delta that fits only in part leaves a state that never was: this replica serves nobody any more.
    if (!isWhole) core.role = 'ended';
    applier.freeze();
    const stateBytes = core.applied.stateBytes + applier.bytesDelta;
    core.applied = { seq, state, stateBytes, version: lastVersion, timeMs: lastTimeMs };
    core.durable = core.applied;
  }
  core.seqWaiters?.reached(core.applied.seq);
}

export function promote(core: ReplicaCore, epoch: number): void {
  if (core.role !== 'follower') throw new Error(`${core.shard} is no follower and cannot be promoted`);
  core.role = 'primary';
  core.epoch = epoch;
  core.sealed = false;
  upgrade(core);
  core.seqWaiters?.giveUp();
}

/** On a primary: brings older state to this build's version, as a delta of its own. Throws ProblemError. */
export function upgrade(core: ReplicaCore): void {
  if (core.applied.seq === 0 || core.applied.version >= core.loaded.version) return;
  const next = upgradedState(core.loaded, core.applied.state, core.applied.version);
  const nowMs = core.nextTimeMs();
  const diff = Diff.between(core.applied.state, next);
  const delta = encodeDelta(core.loaded.version, nowMs, diff.operations, undefined, 0, '');
  const stateBytes = core.applied.stateBytes + diff.bytesDelta;
  core.meter.wrote(delta.length);
  commit(core, core.applied.seq + 1, next, nowMs, stateBytes, delta, undefined, undefined, 0);
}

export function newerState(shard: ShardId, state: number, build: number): ProblemError {
  const detail = `${shard} was written by version ${state} of its service; this build has version ${build}`;
  return new ProblemError('state-version-newer', detail, { stateVersion: state, buildVersion: build });
}
