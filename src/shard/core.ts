/**
 * What the parts of one replica share: its role, its states, what waits, what was measured.
 *
 * Job: hold the fields and the few rules about them that every part needs. The parts are functions over it
 * (`command-lane.ts`, `query-lane.ts`, `reply-gate.ts`, `roles.ts`), because a hundred thousand idle replicas would pay
 * for every object of a part's own. Boundary: nothing outside this folder sees a core; `replica.ts` is the face.
 *
 * Invariants: states are immutable, so what a query, a snapshot or a draft started from never changes under it;
 * `durable.seq` <= `applied.seq`.
 */
import { parseShardId, type ShardId } from '../model/ids.ts';
import type { ShardReply } from '../model/request.ts';
import type { HeldRequest, ShardHost } from './contract.ts';
import type { Draft } from './draft.ts';
import { HandlerEffects } from './effects.ts';
import type { Committed, OutputGate } from './gate.ts';
import type { ContextSource, LoadedHandler, LoadedService } from './handlers.ts';
import { IdempotencyWindow } from './idempotency.ts';
import { ReplicaMeter } from './metering.ts';
import type { SeqWaiters } from './seq-waiters.ts';
import type { SnapshotContent } from './snapshot.ts';
import { initialState } from './upgrade.ts';

export type Role = 'primary' | 'follower' | 'ended';

/** A command or query whose handler (or validation) is asynchronous and has not settled. */
export interface AsyncRun {
  held: HeldRequest;
  handler: LoadedHandler;
  draft: Draft | undefined;
  startedMs: number;
  /** Settled, timed out or abandoned: what comes later is ignored. */
  over: boolean;
  cancelTimer: () => void;
}

export interface CoreOptions {
  shard: ShardId;
  epoch: number;
  role: 'primary' | 'follower';
  loaded: LoadedService;
  host: ShardHost;
  /** Undefined: nothing was ever written. */
  content: SnapshotContent | undefined;
  seq: number;
}

export class ReplicaCore implements ContextSource {
  readonly shard: ShardId;
  readonly loaded: LoadedService;
  readonly host: ShardHost;
  readonly key: string;
  readonly meter = new ReplicaMeter();
  epoch: number;
  lastUsedMs: number;
  role: Role;
  sealed = false;
  /** The last command's state, durable or not; what handlers see. */
  applied: Committed;
  /** The last durable state: what snapshots hold and followers may have. */
  durable: Committed;
  window: IdempotencyWindow | undefined;
  gate: OutputGate | undefined;
  undurableCommands = 0;
  undurableBytes = 0;
  /** Commands behind an asynchronous one. */
  queue: HeldRequest[] | undefined;
  queueBytes = 0;
  running: AsyncRun | undefined;
  asyncQueries: Set<AsyncRun> | undefined;
  /** Requests that came while sealed. */
  heldWhileSealed: HeldRequest[] | undefined;
  /** Replies that wait for the host to confirm that they may leave. */
  confirming = 0;
  sealWaiters: { resolve: () => void; reject: (error: unknown) => void }[] | undefined;
  seqWaiters: SeqWaiters | undefined;
  /** Effects that wait until what their handlers have seen is durable. */
  effectWaiters: Set<() => void> | undefined;

  constructor(options: CoreOptions) {
    this.shard = options.shard;
    this.epoch = options.epoch;
    this.role = options.role;
    this.loaded = options.loaded;
    this.host = options.host;
    this.key = parseShardId(options.shard).key;
    this.lastUsedMs = options.host.monotonicMs();
    const { content } = options;
    this.applied = {
      seq: options.seq,
      state: content?.state ?? initialState(options.loaded),
      stateBytes: content?.stateBytes ?? 0,
      version: content?.version ?? options.loaded.version,
      timeMs: content?.timeMs ?? 0,
    };
    this.durable = this.applied;
    if (content !== undefined && (content.window.rows.length > 0 || content.window.marks.length > 0)) {
      this.window = IdempotencyWindow.fromSnapshot(content.window);
    }
  }

  get pendingCommands(): number {
    return this.undurableCommands + (this.queue?.length ?? 0) + (this.running === undefined ? 0 : 1);
  }

  random(): number {
    return this.host.random();
  }

  effectsOf(held: HeldRequest): HandlerEffects {
    held.effects ??= new HandlerEffects(this, held.request);
    return held.effects;
  }

  /** `ctx.now` of what runs next: never goes back within a shard. */
  nextTimeMs(): number {
    return Math.max(this.applied.timeMs, Math.floor(this.host.realtimeMs()));
  }

  /** For replies that need no gate. */
  stamp(reply: ShardReply): ShardReply {
    reply.epoch = this.epoch;
    reply.seq = this.applied.seq;
    return reply;
  }
}
