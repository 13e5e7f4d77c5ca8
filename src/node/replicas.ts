/**
 * All replicas of this node: activation on demand, demotion, passivation, followers.
 *
 * The one place where a replica begins or ends. Requests that a demoted replica still held are routed again, never
 * dropped. It is the {@link ParticipantHost} that migrations are built on; of that, following is in `followers.ts`, becoming
 * primary in `promotions.ts` and ceasing to be it in `hand-over.ts`, on replicas that stay in this table.
 */
import type { Io } from '../io/io.ts';
import type { CellId, ProcessId, Seq, ShardId } from '../model/ids.ts';
import type { Mutations } from '../model/mutations.ts';
import { type Assignment, CONTROL_KEYS, type NodeRecord } from '../model/records.ts';
import type { ShardReply, ShardRequest } from '../model/request.ts';
import type { HeldRequest, ShardRuntime } from '../shard/contract.ts';
import type { CellDirectory, CellStore, ControlStore, LogEntry } from '../store/store.ts';
import { type Activation, Activator } from './activation.ts';
import { AppendBatcher, UndurableBytes } from './append-batcher.ts';
import { type Assignments, assignmentOf } from './assignments.ts';
import type { NodeLimits } from './config.ts';
import type { Copying } from './copying.ts';
import { Followers } from './followers.ts';
import { HandOver } from './hand-over.ts';
import type { NodeLease } from './lease.ts';
import { OpenedEpochs, staysPrimary } from './ownership.ts';
import type { LocalReplica, NodePeer, ParticipantHost } from './participant.ts';
import { Passivation } from './passivation.ts';
import type { Peers } from './peers.ts';
import { Promotions } from './promotions.ts';
import type { Peer } from './protocol.ts';
import type { HostedReplica, ReplicaEnvironment } from './replica.ts';
import { SnapshotKeeper } from './snapshots.ts';
import type { StandbyTraffic } from './standby/outbox.ts';
import { StandbyTakeOver } from './standby/take-over.ts';
import { StandbyUpkeep } from './standby/upkeep.ts';
import type { HandlerWatch } from './watchdog.ts';

/** Assignments read in one transaction when many must be read again. */
const CONFIRM_PAGE = 256;

export interface ReplicasOptions {
  io: Io;
  self: Peer;
  homeCell: CellId | undefined;
  limits: NodeLimits;
  control: ControlStore;
  cells: CellDirectory;
  runtime: ShardRuntime;
  lease: NodeLease;
  assignments: Assignments;
  peers: Peers;
  watch: HandlerWatch;
  accepting: () => boolean;
  /** Runs a request anew, wherever its shard is now. */
  route: (request: ShardRequest) => Promise<ShardReply>;
  /** A replica is about to end: its load must not be lost. */
  onLeave: (replica: HostedReplica) => void;
  copying: Copying;
  mutations?: Mutations | undefined;
}

export class Replicas implements ParticipantHost, ReplicaEnvironment {
  readonly io: Io;
  readonly self: Peer;
  readonly control: ControlStore;
  readonly copying: Copying;
  readonly undurable: UndurableBytes;
  readonly watch: HandlerWatch;
  readonly mutations: Mutations | undefined;
  readonly snapshotLogBytesMin: number;
  readonly activator: Activator;
  readonly opened = new OpenedEpochs();
  readonly #o: ReplicasOptions;
  readonly #replicas = new Map<ShardId, HostedReplica>();
  readonly #activations = new Map<ShardId, Promise<Activation>>();
  readonly #batchers = new Map<CellId, AppendBatcher>();
  readonly #snapshots: SnapshotKeeper;
  readonly #followers: Followers;
  readonly #promotions: Promotions;
  readonly #handOver: HandOver;
  readonly #passivation: Passivation;
  /** Of primaries here. */
  readonly standbys: StandbyUpkeep;
  standbyTraffic: StandbyTraffic | undefined;
  /** By copies here. */
  readonly #takeOver: StandbyTakeOver;
  readonly #appendPrefix: string;
  readonly #handlerRandom: { next(): number };
  #appendNumber = 0;
  #closed = false;

  constructor(options: ReplicasOptions) {
    this.#o = options;
    this.io = options.io;
    this.self = options.self;
    this.control = options.control;
    this.copying = options.copying;
    this.watch = options.watch;
    this.mutations = options.mutations;
    this.snapshotLogBytesMin = options.limits.snapshotLogBytesMin;
    this.undurable = new UndurableBytes(options.limits.undurableBytesMax);
    this.#appendPrefix = `${options.self.processId}:`;
    this.#handlerRandom = options.io.random.split('handlers');
    this.#snapshots = new SnapshotKeeper({
      log: options.io.log,
      deposed: (replica, reason) => this.deposed(replica, reason),
    });
    this.activator = new Activator({
      io: options.io,
      self: options.self.processId,
      region: options.self.region,
      homeCell: options.homeCell,
      control: options.control,
      runtime: options.runtime,
      environment: this,
      assignments: options.assignments,
      opened: this.opened,
      cell: (id) => this.cell(id),
      batcher: (id) => this.#batcher(id),
      accepting: options.accepting,
      standbysFor: (shard, primary, present) => this.standbysFor(shard, primary, present),
      promoteFollower: (assignment) => this.#promoteFollower(assignment),
    });
    const table = this.#replicas;
    this.#followers = new Followers({
      environment: this,
      runtime: options.runtime,
      replicas: table,
      cell: (id) => this.cell(id),
      batcher: (id) => this.#batcher(id),
      onLeave: options.onLeave,
    });
    this.#passivation = new Passivation({
      io: options.io,
      limits: options.limits,
      opened: this.opened,
      get size() {
        return table.size;
      },
      all: () => table.values(),
      end: (replica, reason) => this.#end(replica, reason),
    });
    this.standbys = new StandbyUpkeep({
      io: options.io,
      self: options.self.processId,
      services: options.runtime.manifest(),
      standbyAwayMs: options.limits.standbyAwayMs,
      nodes: () => options.assignments.nodes(),
      node: (process) => options.assignments.node(process),
      peer: (address) => this.peer(address),
      swap: (shard, version, next) => this.activator.swap(shard, version, next),
    });
    this.#takeOver = new StandbyTakeOver({
      io: options.io,
      self: options.self.processId,
      all: () => this.#replicas.values(),
      replica: (shard) => this.#replicas.get(shard),
      lease: options.lease,
      present: (process) => options.assignments.node(process) !== undefined,
      activate: (shard) => this.activate(shard),
    });
    const shared = {
      io: options.io,
      assignments: options.assignments,
      activator: this.activator,
      opened: this.opened,
      replica: (shard: ShardId) => this.#replicas.get(shard),
      deposed: this.deposed.bind(this),
    };
    this.#promotions = new Promotions({
      ...shared,
      cell: (id) => this.cell(id),
      batcher: (id) => this.#batcher(id),
      confirm: (replica) => this.confirm(replica),
      endFollower: (replica, reason) => this.#followers.end(replica, reason),
      began: (replica) => this.standbys.began(replica),
    });
    this.#handOver = new HandOver({
      ...shared,
      leaseGeneration: () => this.leaseGeneration(),
      dropFollower: (shard) => this.dropFollower(shard),
      routeAgain: (held) => this.#routeAgain(held),
      closed: () => this.#closed,
    });
  }

  // ---- the table

  get size(): number {
    return this.#replicas.size;
  }

  get(shard: ShardId): HostedReplica | undefined {
    return this.#replicas.get(shard);
  }

  all(): IterableIterator<HostedReplica> {
    return this.#replicas.values();
  }

  /** Resident, or brought to life; concurrent requests share one activation. */
  activate(shard: ShardId): Promise<Activation> {
    let under = this.#activations.get(shard);
    if (under === undefined) {
      under = this.activator.activate(shard).then((result) => {
        if (result.kind === 'serving') this.#install(result.replica);
        return result;
      });
      this.#activations.set(shard, under);
      const done = () => this.#activations.delete(shard);
      under.then(done, done);
    }
    return under;
  }

  /** A copy here, on its way to primary where it is not yet: it needs only what it lacks of the log. */
  #promoteFollower(assignment: Assignment): Promise<HostedReplica> | undefined {
    const replica = this.#replicas.get(assignment.shard);
    if (replica?.role !== 'follower' && replica?.role !== 'opening') return undefined;
    return this.promote(assignment.shard, assignment).then(() => replica);
  }

  #install(replica: HostedReplica): void {
    if (this.#replicas.get(replica.shard) === replica) return;
    // A follower that was here is superseded by what was opened from the log.
    const before = this.#replicas.get(replica.shard);
    if (before !== undefined) this.#followers.end(before, 'opened from the log');
    this.#replicas.set(replica.shard, replica);
    if (this.#closed) this.deposed(replica, 'the node stops');
    else this.standbys.began(replica);
  }

  /** A process is gone: who stood by here for its shards goes on with them. */
  nodeGone(node: NodeRecord): void {
    this.standbys.nodeGone(node);
    if (!this.#closed) this.#takeOver.nodeGone(node.processId);
  }

  // ---- ReplicaEnvironment

  nextAppendId(): string {
    return this.#appendPrefix + (this.#appendNumber++).toString(36);
  }

  leaseValid(): boolean {
    return this.#o.lease.valid();
  }

  leaseGeneration(): number {
    return this.#o.lease.generation;
  }

  random(): number {
    return this.#handlerRandom.next();
  }

  confirm(replica: HostedReplica): void {
    replica.confirming = true;
    const generation = this.leaseGeneration();
    this.control.get(CONTROL_KEYS.own(replica.shard)).then(
      (entry) => {
        replica.confirming = false;
        this.#confirmed(replica, entry && assignmentOf(entry), generation);
      },
      () => {
        replica.confirming = false;
      },
    );
  }

  #confirmed(replica: HostedReplica, found: Assignment | undefined, generation: number): void {
    if (replica.ended || replica.role === 'follower') return;
    // The answer is older than what this node has written or learnt since: it proves nothing.
    if (found !== undefined && found.version < replica.assignment.version) return;
    if (found?.primary === this.self.processId && found.epoch === replica.epoch) {
      replica.confirmedGeneration = generation;
      if (found.version > replica.assignment.version) replica.assignment = found;
    } else if (replica.role === 'primary') this.deposed(replica, 'the assignment names another');
  }

  /** OWNERSHIP rule 1: after registering again, whatever no longer names this process demotes. */
  async catchUp(): Promise<void> {
    const primaries = [...this.#replicas.values()].filter((replica) => replica.role === 'primary');
    for (let i = 0; i < primaries.length; i += CONFIRM_PAGE) {
      const page = primaries.slice(i, i + CONFIRM_PAGE);
      const generation = this.leaseGeneration();
      const { read } = await this.control.transact({
        compare: [],
        operations: [],
        read: page.map((replica) => CONTROL_KEYS.own(replica.shard)),
      });
      page.forEach((replica, index) => {
        const entry = read[index];
        this.#confirmed(replica, entry && assignmentOf(entry), generation);
      });
    }
  }

  /** News from the watch or a look-up. */
  onAssignment(news: Assignment): void {
    const replica = this.#replicas.get(news.shard);
    if (replica === undefined || news.version <= replica.assignment.version) return;
    // Sealed or opening: whoever swaps is waiting for that swap's own answer.
    if (replica.role === 'sealed' || replica.role === 'opening') return;
    if (replica.role === 'follower') {
      if (news.primary === this.self.processId) {
        this.promote(news.shard, news).catch((error) => {
          this.io.log.info({ shard: news.shard, error: String(error) }, 'a follower could not be promoted');
        });
      } else replica.assignment = news;
      return;
    }
    const known = { epoch: replica.epoch, version: replica.assignment.version };
    if (staysPrimary(known, this.self.processId, news)) replica.assignment = news;
    else this.deposed(replica, `epoch ${news.epoch} belongs to ${news.primary}`);
  }

  /** Ends a primary that was refused, superseded or cut off; what it held is routed again. */
  deposed(replica: HostedReplica, reason: string, cutOff = false): void {
    if (replica.ended || replica.role === 'follower') return;
    const { shard, assignment } = replica;
    if (replica.state === undefined) {
      replica.end(reason);
      return;
    }
    this.io.log.info({ shard, epoch: replica.epoch, reason }, 'a primary demotes');
    this.opened.set(shard, { epoch: replica.epoch });
    this.#o.assignments.forget(shard);
    this.#end(replica, reason);
    // OWNERSHIP rule 1: an owner that cannot reach its cell drops the replica, then swaps the primary out.
    if (cutOff) void this.activator.swapOut(assignment);
  }

  snapshotWanted(replica: HostedReplica): void {
    this.#snapshots.want(replica);
  }

  #end(replica: HostedReplica, reason: string): void {
    this.#o.onLeave(replica);
    replica.end(reason);
    if (this.#replicas.get(replica.shard) === replica) this.#replicas.delete(replica.shard);
    const held = replica.state.demote();
    replica.state.close();
    this.#routeAgain(held);
  }

  #routeAgain(held: HeldRequest[]): void {
    for (const { request, resolve, reject } of held) this.#o.route(request).then(resolve, reject);
  }

  /** See {@link Passivation.sweep}. */
  sweep(): void {
    this.#passivation.sweep();
  }

  // ---- ParticipantHost

  cell(id: CellId): CellStore {
    return this.#o.cells.cell(id);
  }

  #batcher(id: CellId): AppendBatcher {
    let batcher = this.#batchers.get(id);
    if (batcher === undefined) {
      batcher = new AppendBatcher({
        io: this.io,
        store: this.cell(id),
        undurable: this.undurable,
        silenceMs: this.#o.limits.cellSilenceMs,
      });
      this.#batchers.set(id, batcher);
    }
    return batcher;
  }

  peer(address: string): NodePeer {
    return this.#o.peers.peer(address);
  }

  replica(shard: ShardId): LocalReplica | undefined {
    return this.#replicas.get(shard);
  }

  mayAnswer(shard: ShardId): true | Promise<boolean> {
    return this.#replicas.get(shard)?.mayAnswer() ?? Promise.resolve(false);
  }

  addFollower(options: Parameters<Followers['add']>[0]): Promise<LocalReplica> {
    return this.#followers.add(options);
  }

  applyToFollower(shard: ShardId, entries: LogEntry[], sourceDurableSeq: Seq): void {
    this.#followers.apply(shard, entries, sourceDurableSeq);
  }

  dropFollower(shard: ShardId): void {
    this.#followers.drop(shard);
  }

  repurposeFollower(...args: Parameters<Followers['repurpose']>): void {
    this.#followers.repurpose(...args);
  }

  standbysFor(shard: ShardId, primary: ProcessId, present: readonly ProcessId[]): ProcessId[] {
    return this.standbys.wanted(shard, primary, present);
  }

  onStandbyTraffic(traffic: StandbyTraffic): void {
    this.standbyTraffic = traffic;
  }

  draining(): boolean {
    return this.#o.lease.state === 'draining';
  }

  refusesStandby(): string | undefined {
    if (!this.#o.accepting()) return 'this node takes nothing new';
    const { residentReplicasMax } = this.#o.limits;
    return this.#replicas.size >= residentReplicasMax
      ? `${residentReplicasMax} replicas are here`
      : undefined;
  }

  seal(shard: ShardId): Promise<{ seq: Seq; epoch: number; version: number }> {
    return this.#handOver.seal(shard);
  }

  sendAhead(shard: ShardId, target: HostedReplica['movingTo']): void {
    this.#handOver.sendAhead(shard, target);
  }

  takingOver(shard: ShardId, settled: Promise<unknown>): void {
    this.#promotions.takingOver(shard, settled);
  }

  unseal(shard: ShardId): Promise<'serving' | 'demoted'> {
    return this.#handOver.unseal(shard);
  }

  handOver(shard: ShardId, next: Assignment, address: string): void {
    this.#handOver.handOver(shard, next, address);
  }

  promote(shard: ShardId, assignment: Assignment, endSeq?: Seq): Promise<void> {
    return this.#promotions.promote(shard, assignment, endSeq);
  }

  // ---- for the router and the drain

  /** See {@link Promotions.underWay}. */
  promotion(shard: ShardId): Promise<unknown> | undefined {
    return this.#promotions.underWay(shard);
  }

  /** See {@link Promotions.takeOver}. */
  takeOver(shard: ShardId): Promise<unknown> | undefined {
    return this.#promotions.takeOver(shard);
  }

  /** See {@link Promotions.begins}. */
  promotionBegins(shard: ShardId, waitMs: number): Promise<boolean> {
    return this.#promotions.begins(shard, waitMs);
  }

  /** See {@link HandOver.release}. */
  release(shard: ShardId, heir: { processId: ProcessId; address: string }): Promise<boolean> {
    return this.#handOver.release(shard, heir);
  }

  close(): void {
    this.#closed = true;
    this.standbys.close();
    for (const replica of [...this.#replicas.values()]) {
      if (replica.role === 'follower') this.#followers.end(replica, 'the node stops');
      else if (replica.role === 'opening') replica.end('the node stops');
      else {
        replica.end('the node stops');
        this.#replicas.delete(replica.shard);
        for (const held of replica.state.demote()) held.reject(new Error('the node stops'));
        replica.state.close();
      }
    }
    for (const batcher of this.#batchers.values()) batcher.close();
  }
}
