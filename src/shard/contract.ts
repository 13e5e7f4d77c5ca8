/**
 * The seam between one shard and the node that hosts it.
 *
 * A {@link ShardRuntime} is a loaded app; it opens {@link ShardReplica}s. A replica owns the state, orders commands,
 * makes deltas and holds replies back until what they read is durable (the output gate). It knows nothing of networks,
 * leases or other nodes: it asks its {@link ShardHost}.
 */
import type { CpuSegments } from '../io/cpu-segments.ts';
import type { HttpClient } from '../io/io.ts';
import type { Epoch, Seq, ShardId } from '../model/ids.ts';
import type { Mutations } from '../model/mutations.ts';
import type { ServiceManifest } from '../model/records.ts';
import type { ShardReply, ShardRequest } from '../model/request.ts';
import type { LogEntry, Opening, StoredSnapshot } from '../store/store.ts';
import type { EffectCounts, HandlerEffects } from './effects.ts';
import type { Slicer } from './snapshot.ts';

/** What a replica needs of its node. */
export interface ShardHost {
  monotonicMs(): number;
  realtimeMs(): number;
  setTimer(delayMs: number, fire: () => void): () => void;
  /** Runs after the events already queued: long work is sliced with it. */
  defer(run: () => void): void;
  threadCpuMicros(): number;
  /** Times the shard's stretches of work; absent: by `threadCpuMicros` at both ends. */
  readonly cpu?: CpuSegments | undefined;
  /** A stream of its own for the shard's handlers (`ctx.random`). */
  random(): number;
  /**
   * Make a delta durable. Called in order of seq, without waiting for earlier ones. The host answers with
   * {@link ShardReplica.durable}, in order, or demotes the replica.
   */
  append(seq: Seq, delta: Uint8Array): void;
  /**
   * May this replica answer from its state right now (OWNERSHIP rule 4)? True at once under a valid lease; otherwise
   * a fence check at the cell. False: it has been deposed, and the request must go elsewhere.
   */
  mayAnswer(): true | Promise<boolean>;
  /** Undurable bytes and commands of the whole node are bounded; false means: answer 503, execute nothing. */
  admit(bytes: number): boolean;
  /** Marks what is on the CPU for the watchdog; called around every handler's synchronous part. */
  enterHandler(shard: ShardId, handler: string, idempotencyKey: string | undefined): void;
  leaveHandler(): void;
  /** What `ctx.fetch` goes through; absent: it is refused. */
  readonly http?: HttpClient | undefined;
  /** A callback of `ctx.afterCommit` failed, or (`dropped`) never ran: for the log. */
  effectFailed?(shard: ShardId, handler: string, what: 'failed' | 'dropped', error: unknown): void;
  /** The log since the last snapshot has outgrown the state: take one when convenient. */
  snapshotWanted(): void;
  readonly mutations?: Mutations | undefined;
}

/** One service's measured work since the last reading; handler time and CPU exclude waiting. */
export interface ReplicaLoad {
  commands: number;
  queries: number;
  rejected: number;
  /** Origin -> [commands, queries]. */
  byOrigin: Map<string, [commands: number, queries: number]>;
  cpuMicros: number;
  bytesIn: number;
  bytesOut: number;
  writeBytes: number;
}

/** One handler's measured work since the last reading, over all shards of this process. */
export interface HandlerWork {
  service: string;
  handler: string;
  isCommand: boolean;
  requests: number;
  cpuMicros: number;
  bytesIn: number;
  bytesOut: number;
  writeBytes: number;
  /** CPU since the process began: tells which handlers matter, whatever this step was. */
  cpuMicrosEver: number;
}

export interface ShardReplica {
  readonly shard: ShardId;
  readonly epoch: Epoch;
  /** Includes deltas not yet durable. */
  readonly appliedSeq: Seq;
  readonly durableSeq: Seq;
  /** As last encoded or estimated. */
  readonly stateBytes: number;
  /** Commands queued, running or waiting for durability. */
  readonly pendingCommands: number;
  readonly lastUsedMs: number;

  /** Ordered, gated. Resolves with a reply in every case but demotion: then it rejects with a {@link Demoted}. */
  execute(request: ShardRequest): Promise<ShardReply>;
  /**
   * On a follower: answers a query from its state once `atLeastSeq` is applied (the primary's durable seq). Resolves
   * with undefined when that takes longer than `waitMs`.
   */
  queryAt(request: ShardRequest, atLeastSeq: Seq, waitMs: number): Promise<ShardReply | undefined>;
  /** Everything up to `seq` is durable: opens the gate. */
  durable(seq: Seq): void;
  /** On a follower: applies durable deltas in order; throws RangeError on a gap. */
  apply(entries: readonly LogEntry[]): void;
  /**
   * Whole state at `durableSeq` (never beyond), idempotency window inside, encoded in slices of at most 5 ms; with
   * `slicer`, as that lets it.
   */
  snapshot(slicer?: Slicer): Promise<StoredSnapshot>;
  /** A follower that has applied everything becomes the primary of a new epoch. */
  promote(epoch: Epoch): void;
  /**
   * Stops starting commands and queries: `execute` calls from now on, and commands not yet started, are held. Resolves
   * when no handler runs and every delta is durable.
   */
  seal(): Promise<void>;
  /** Lets the held requests run again. */
  unseal(): void;
  /** Sealed: gives back those it holds that `which` says yes to; they will not run here. */
  release(which: (request: ShardRequest) => boolean): HeldRequest[];
  /**
   * Ends the replica as a primary. Held and queued requests are returned for the host to route; requests whose
   * commands already ran but whose deltas are not durable reject with {@link Demoted}.
   */
  demote(): HeldRequest[];
  /** Becomes a follower of someone else, keeping the state; only after {@link seal} and {@link demote}. */
  follow(): void;
  /** Recent queries with their results, newest first, for warm-up elsewhere. */
  recentQueries(limit: number): import('../node/protocol.ts').RecentQuery[];
  /** The service's `warmUp` hook, if it has one. */
  warmUp(): Promise<void>;
  /** Runs a query for warm-up: result and handler time, not counted as load. */
  rehearse(query: import('../node/protocol.ts').RecentQuery): {
    status: number;
    body: Uint8Array;
    handlerMs: number;
  };
  /** Load since the last call. */
  takeLoad(): ReplicaLoad;
  /** Work executed here since `resetExecuted`, for the gates of a migration. */
  executed(): import('../node/protocol.ts').ReplicaStatus['executed'];
  resetExecuted(): void;
  /** Distinct users seen in about the last ten seconds (saturating at 64). */
  users(): number;
  close(): void;
}

export interface HeldRequest {
  request: ShardRequest;
  resolve: (reply: ShardReply) => void;
  reject: (error: unknown) => void;
  /** Of the handler's last run; made when it first asks for one. */
  effects?: HandlerEffects | undefined;
}

/** The replica stopped being primary. `executed` tells whether the command ran (its delta's fate is then unknown). */
export class Demoted extends Error {
  override readonly name = 'Demoted';
  readonly executed: boolean;
  constructor(executed: boolean) {
    super('the replica is no longer primary');
    this.executed = executed;
  }
}

export interface ShardRuntime {
  manifest(): Record<string, ServiceManifest>;
  /**
   * Replays snapshot and entries, upgrades older state (the upgrade is a delta of its own, appended through the host
   * by a primary). Rejects with a ProblemError for state that is newer than the build or cannot be replayed.
   */
  open(options: {
    shard: ShardId;
    epoch: Epoch;
    role: 'primary' | 'follower';
    opening: Pick<Opening, 'snapshot' | 'entries'>;
    host: ShardHost;
    /** Where the work yields; absent: a primary's between the events that wait, others' rests as long as it works. */
    slicer?: Slicer | undefined;
  }): Promise<ShardReplica>;
  /**
   * Checks service, handler and method, and runs `app.authorize`, before anything is looked up or claimed.
   * A reply means: refused, answer this.
   */
  admission(request: ShardRequest): ShardReply | undefined | Promise<ShardReply | undefined>;
  /** What handlers sent out of this process since it began. */
  effects?(): EffectCounts;
  /** Work of every handler that had any since the last call. */
  takeWork?(): HandlerWork[];
}
