/**
 * One replica of a shard, as its node sees it: commands in order on drafts, deltas, the output gate, roles.
 *
 * The face of its parts, which are functions over one {@link ReplicaCore}: `requests.ts` (the way in), `command-lane.ts`,
 * `query-lane.ts`, `reply-gate.ts` (the way out), `roles.ts` (seal, demote, follow, apply, promote).
 */
import type { ShardId } from '../model/ids.ts';
import type { ShardReply, ShardRequest } from '../model/request.ts';
import type { RecentQuery, ReplicaStatus } from '../node/protocol.ts';
import type { LogEntry, StoredSnapshot } from '../store/store.ts';
import { Demoted, type HeldRequest, type ReplicaLoad, type ShardReplica } from './contract.ts';
import { type CoreOptions, ReplicaCore } from './core.ts';
import type { WindowSnapshot } from './idempotency.ts';
import { queryAt, rehearse } from './query-lane.ts';
import { openGate } from './reply-gate.ts';
import { offer } from './requests.ts';
import { apply, demote, follow, promote, release, seal, unseal } from './roles.ts';
import { encodeSnapshot, type Slicer, unhurried } from './snapshot.ts';

const EMPTY_WINDOW: WindowSnapshot = { rows: [], marks: [], forgottenMs: Number.NEGATIVE_INFINITY };

export class Replica implements ShardReplica {
  readonly #core: ReplicaCore;

  constructor(options: CoreOptions) {
    this.#core = new ReplicaCore(options);
  }

  get shard(): ShardId {
    return this.#core.shard;
  }

  get epoch(): number {
    return this.#core.epoch;
  }

  get lastUsedMs(): number {
    return this.#core.lastUsedMs;
  }

  get appliedSeq(): number {
    return this.#core.applied.seq;
  }

  get durableSeq(): number {
    return this.#core.durable.seq;
  }

  get stateBytes(): number {
    return this.#core.applied.stateBytes;
  }

  get pendingCommands(): number {
    return this.#core.pendingCommands;
  }

  execute(request: ShardRequest): Promise<ShardReply> {
    return new Promise((resolve, reject) => {
      offer(this.#core, { request, resolve, reject });
    });
  }

  queryAt(request: ShardRequest, atLeastSeq: number, waitMs: number): Promise<ShardReply | undefined> {
    return queryAt(this.#core, request, atLeastSeq, waitMs);
  }

  durable(seq: number): void {
    openGate(this.#core, seq);
  }

  seal(): Promise<void> {
    return seal(this.#core);
  }

  unseal(): void {
    unseal(this.#core);
  }

  release(which: (request: ShardRequest) => boolean): HeldRequest[] {
    return release(this.#core, which);
  }

  demote(): HeldRequest[] {
    return demote(this.#core);
  }

  follow(): void {
    follow(this.#core);
  }

  apply(entries: readonly LogEntry[]): void {
    apply(this.#core, entries);
  }

  promote(epoch: number): void {
    promote(this.#core, epoch);
  }

  async snapshot(slicer?: Slicer): Promise<StoredSnapshot> {
    const core = this.#core;
    // All taken in this turn, from immutable parts: later commands do not show.
    const { seq, state, stateBytes, version, timeMs } = core.durable;
    const isWindowLost = core.host.mutations?.has('window-not-in-snapshot');
    const window = (!isWindowLost && core.window?.toSnapshot(seq)) || EMPTY_WINDOW;
    const bytes = await encodeSnapshot(
      { version, timeMs, state: seq === 0 ? undefined : state, stateBytes, window },
      slicer ?? unhurried(core.host),
    );
    return { seq, bytes };
  }

  recentQueries(limit: number): RecentQuery[] {
    return this.#core.meter.recentQueries(limit);
  }

  async warmUp(): Promise<void> {
    const { loaded, key, applied } = this.#core;
    await loaded.service.options.warmUp?.({ key, state: applied.state });
  }

  rehearse(query: RecentQuery): { status: number; body: Uint8Array; handlerMs: number } {
    return rehearse(this.#core, query);
  }

  takeLoad(): ReplicaLoad {
    const core = this.#core;
    if (core.gate?.size === 0) core.gate = undefined;
    return core.meter.takeLoad(core.host.monotonicMs());
  }

  executed(): ReplicaStatus['executed'] {
    return this.#core.meter.executions();
  }

  resetExecuted(): void {
    this.#core.meter.resetExecutions();
  }

  users(): number {
    return this.#core.meter.users(this.#core.host.monotonicMs());
  }

  close(): void {
    for (const held of demote(this.#core)) held.reject(new Demoted(false));
    this.#core.role = 'ended';
    this.#core.seqWaiters?.giveUp();
  }
}
