/**
 * A node: a process that hosts replicas. Puts the parts together and answers the calls of `protocol.ts`.
 *
 * Knows the world only through `io`, so that a simulated one can run it unchanged. What only real processes have (HTTP,
 * signals, the watchdog's thread) is `process.ts`.
 */
import type { Io } from '../io/io.ts';
import type { ShardId } from '../model/ids.ts';
import type { CopiesWork } from '../model/load.ts';
import type { Mutations } from '../model/mutations.ts';
import type { NodeRecord } from '../model/records.ts';
import type { ShardReply, ShardRequest } from '../model/request.ts';
import type { ShardRuntime } from '../shard/contract.ts';
import type { CellDirectory, ControlStore } from '../store/store.ts';
import type { RpcHandlers } from '../wire/rpc.ts';
import { Assignments } from './assignments.ts';
import { LEASE_TTL_MS_DEFAULT, NODE_LIMITS_DEFAULT, type NodeConfig, type NodeLimits } from './config.ts';
import { Copying } from './copying.ts';
import { Drain } from './drain.ts';
import { NodeLease } from './lease.ts';
import { Metering } from './metering.ts';
import type { ParticipantHost } from './participant.ts';
import { Peers } from './peers.ts';
import type { NodeCalls, ReplicaStatus } from './protocol.ts';
import type { HostedReplica } from './replica.ts';
import { Replicas } from './replicas.ts';
import { Router } from './router.ts';
import type { StandbyTraffic } from './standby/outbox.ts';
import { type HandlerWatch, NO_WATCH } from './watchdog.ts';

const SWEEP_MS = 2_000;
/** Activations under way for one `shard.activate`. */
const ACTIVATIONS_AT_ONCE = 64;
const REPLICAS_PAGE_MAX = 1_000;

export interface SkeinNodeOptions {
  io: Io;
  config: NodeConfig;
  runtime: ShardRuntime;
  control: ControlStore;
  cells: CellDirectory;
  /** This node's part in migrations: `migrationParticipant` of `node/migration/`. */
  participant?: (host: ParticipantHost) => RpcHandlers;
  watch?: HandlerWatch;
  /** Resident memory of the process, bytes. */
  rssBytes?: () => number;
  /** Rules that the simulated world takes out to prove that it notices; see `model/mutations.ts`. */
  mutations?: Mutations;
}

export class SkeinNode {
  readonly config: NodeConfig;
  readonly #o: SkeinNodeOptions;
  readonly #lease: NodeLease;
  readonly #assignments: Assignments;
  readonly #peers: Peers;
  readonly #replicas: Replicas;
  readonly #router: Router;
  readonly #metering: Metering;
  readonly #copying: Copying;
  readonly #drain: Drain;
  readonly #handlers: RpcHandlers;
  #started = false;
  #stopped = false;
  #cancelSweep: () => void = () => {};

  constructor(options: SkeinNodeOptions) {
    this.#o = options;
    const { io, config, runtime, control, cells } = options;
    this.config = config;
    const limits: NodeLimits = { ...NODE_LIMITS_DEFAULT, ...config.limits };
    this.#peers = new Peers({ io, token: config.token, identity: config.processId });
    this.#assignments = new Assignments({
      io,
      control,
      holds: (shard) => this.#replicas.get(shard) !== undefined,
      onAssignment: (assignment) => this.#replicas.onAssignment(assignment),
      onNodeGone: (node) => {
        if (node.processId === config.processId) return;
        this.#peers.drop(node.address);
        this.#replicas.nodeGone(node);
      },
      onReset: () => {
        void this.#replicas.catchUp().catch((error) => {
          io.log.warn({ error: String(error) }, 'assignments could not be read again; the lease will');
        });
      },
    });
    this.#lease = new NodeLease({
      io,
      control,
      ttlMs: config.leaseTtlMs ?? LEASE_TTL_MS_DEFAULT,
      record: {
        processId: config.processId,
        name: config.name,
        region: config.region,
        zone: config.zone,
        address: config.address,
        httpAddress: config.httpAddress,
        capacity: config.capacity,
        usdPerHour: config.usdPerHour,
        services: runtime.manifest(),
        startedAtMs: io.clock.realtimeMs(),
      },
      catchUp: () => this.#replicas.catchUp(),
      mutations: options.mutations,
    });
    this.#copying = new Copying(io);
    this.#metering = new Metering({
      io,
      onProbe: () => this.#copying.look(),
      speed: config.speed ?? 1,
      rssBytes: options.rssBytes ?? (() => 0),
      takeWork: runtime.takeWork && (() => runtime.takeWork!()),
    });
    this.#replicas = new Replicas({
      io,
      self: { processId: config.processId, address: config.address, region: config.region },
      homeCell: config.homeCell,
      limits,
      control,
      cells,
      runtime,
      lease: this.#lease,
      assignments: this.#assignments,
      peers: this.#peers,
      watch: options.watch ?? NO_WATCH,
      accepting: () => this.#started && !this.#stopped && this.#lease.state === 'ready',
      route: (request) => this.#router.route(request),
      onLeave: (replica) => this.#metering.leave(replica),
      copying: this.#copying,
      mutations: options.mutations,
    });
    this.#router = new Router({
      io,
      self: config.processId,
      region: config.region,
      limits,
      runtime,
      assignments: this.#assignments,
      replicas: this.#replicas,
      peers: this.#peers,
      onActive: (replica) => this.#metering.activate(replica),
    });
    this.#drain = new Drain({
      io,
      control,
      lease: this.#lease,
      replicas: this.#replicas,
      peers: this.#peers,
      graceMs: limits.drainGraceMs,
      drainMsMax: limits.drainMsMax,
    });
    this.#handlers = this.#makeHandlers(options.participant?.(this.#replicas));
  }

  /** Reads the control store, registers, and serves. */
  async start(): Promise<void> {
    await this.#assignments.start();
    await this.#lease.start();
    this.#started = true;
    this.#metering.start();
    this.#armSweep();
  }

  /** Runs, forwards or refuses; never rejects. For plain HTTP: what has moved is followed here, as a gateway would. */
  execute(request: ShardRequest): Promise<ShardReply> {
    const follow = (reply: ShardReply): ShardReply | Promise<ShardReply> =>
      reply.moved === undefined ? reply : this.#router.route(request).then(follow);
    return this.#router.execute(request).then(follow);
  }

  handlers(): RpcHandlers {
    return this.#handlers;
  }

  /** What migrations are built on. */
  get host(): ParticipantHost {
    return this.#replicas;
  }

  get ready(): boolean {
    return this.#started && !this.#stopped && this.#lease.state === 'ready';
  }

  get replicaCount(): number {
    return this.#replicas.size;
  }

  /** Requests under way to other nodes. */
  get passingRequests(): number {
    return this.#router.passing;
  }

  get undurableBytes(): number {
    return this.#replicas.undurable.bytes;
  }

  /** Of primaries here: how many should have standbys, and how many lack one. */
  get standbys(): { primaries: number; lacking: number } {
    return this.#replicas.standbys.count();
  }

  /** What left here for standbys. */
  get standbyTraffic(): StandbyTraffic | undefined {
    return this.#replicas.standbyTraffic;
  }

  /** Bulk copies under way, and the shares of the event loop that requests take and that those may take. */
  get copies(): { count: number; requestShare: number; copyShare: number } {
    const { room } = this.#copying;
    return {
      count: room.copies,
      requestShare: room.requestShare,
      copyShare: room.share(this.#o.io.clock.monotonicMs()),
    };
  }

  /** Large states carried whole, in and out, since the process began, and the CPU it took. */
  get copiesWork(): CopiesWork {
    return this.#copying.work(this.config.speed ?? 1);
  }

  leaseValid(): boolean {
    return this.#lease.valid();
  }

  nodes(): NodeRecord[] {
    return this.#assignments.nodes();
  }

  /**
   * Takes nothing new and empties the node: the controller moves what is here; without one, or where it makes no
   * progress for a grace time, the node gives its shards away itself. Resolves when it holds no primary any more.
   * Every request is answered meanwhile.
   */
  drain(): Promise<void> {
    return this.#drain.run({ ends: true });
  }

  /** Gives the lease back and with it the node's key; requests are still passed on. For after a drain. */
  leave(): Promise<void> {
    return this.#lease.stop();
  }

  /** Ends at once and in order: what is durable is in the cells, leases are given back. */
  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#end();
    await this.#lease.stop();
  }

  /** Ends without a word to the stores: the simulation's crash. */
  abandon(): void {
    this.#stopped = true;
    this.#lease.abandon();
    this.#end();
  }

  #end(): void {
    this.#cancelSweep();
    this.#drain.stop();
    this.#metering.stop();
    this.#replicas.close();
    this.#assignments.close();
    this.#peers.close();
  }

  #armSweep(): void {
    this.#cancelSweep = this.#o.io.clock.setTimer(SWEEP_MS, () => {
      this.#replicas.sweep();
      this.#armSweep();
    });
  }

  #makeHandlers(participant: RpcHandlers | undefined): RpcHandlers {
    const calls: RpcHandlers['calls'] = {
      ...participant?.calls,
      'shard.execute': (request: ShardRequest) => this.#router.execute(request),
      'shard.activate': (order: NodeCalls['shard.activate'][0]) => this.#activate(order),
      'node.samples': () => ({
        ...this.#metering.take(this.#replicas.size),
        copies: this.copiesWork,
      }),
      'node.drain': () => {
        void this.#drain.run();
        return { replicas: this.#replicas.size };
      },
      'node.replicas': (query: NodeCalls['node.replicas'][0]) => this.#list(query.after, query.limit),
    };
    return { calls, streams: { ...participant?.streams } };
  }

  async #activate({
    shards,
    sawDead,
    believed = [],
  }: NodeCalls['shard.activate'][0]): Promise<NodeCalls['shard.activate'][1]> {
    if (sawDead !== undefined) this.#assignments.hearGone(sawDead);
    for (const assignment of believed)
      if (assignment.primary === sawDead) this.#assignments.learn(assignment);
    const refused: Record<ShardId, string> = {};
    let activated = 0;
    let next = 0;
    const work = async () => {
      while (next < shards.length) {
        const shard = shards[next++]!;
        try {
          if (this.#replicas.get(shard)?.takesRequests) {
            activated++;
            continue;
          }
          const result = await this.#replicas.activate(shard);
          if (result.kind === 'serving') activated++;
          else if (result.kind === 'elsewhere') refused[shard] = `served by ${result.primary}`;
          else if (result.kind === 'pass-on') refused[shard] = 'this node takes no new shards';
          else refused[shard] = new TextDecoder().decode(result.reply.body);
        } catch (error) {
          refused[shard] = String(error);
        }
      }
    };
    await Promise.all(Array.from({ length: Math.min(ACTIVATIONS_AT_ONCE, shards.length) }, work));
    return { activated, refused };
  }

  #list(after: ShardId | undefined, limit: number): NodeCalls['node.replicas'][1] {
    const replicas = [...this.#replicas.all()]
      .filter((replica) => after === undefined || replica.shard > after)
      .sort((a, b) => (a.shard < b.shard ? -1 : 1))
      .slice(0, Math.min(limit, REPLICAS_PAGE_MAX));
    return { replicas: replicas.map(statusOf) };
  }
}

/** A replica as the controller and the tools see it. */
export function statusOf(replica: HostedReplica): ReplicaStatus {
  const { state } = replica;
  return {
    shard: replica.shard,
    role: replica.role,
    epoch: replica.epoch,
    appliedSeq: state.appliedSeq,
    durableSeq: state.durableSeq,
    ...(replica.sourceSeq === undefined ? {} : { sourceSeq: replica.sourceSeq }),
    bytesTransferred: 0,
    bytesTotal: 0,
    stateBytes: state.stateBytes,
    executed: state.executed(),
    users: state.users(),
  };
}
