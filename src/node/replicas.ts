/**
 * All replicas of this node: activation on demand, demotion, passivation, seals, followers.
 *
 * The one place where a replica begins or ends. Requests that a demoted replica still held are routed again, never
 * dropped. It is the {@link ParticipantHost} that migrations are built on.
 */
import type { Io } from '../io/io.ts';
import { problem } from '../model/errors.ts';
import type { CellId, ProcessId, Seq, ShardId } from '../model/ids.ts';
import { type Assignment, type AssignmentRecord, CONTROL_KEYS } from '../model/records.ts';
import type { ShardReply, ShardRequest } from '../model/request.ts';
import type { HeldRequest, ShardRuntime } from '../shard/contract.ts';
import type { CellDirectory, CellStore, ControlStore, LogEntry, Opening } from '../store/store.ts';
import { RpcError } from '../wire/rpc.ts';
import { type Activation, Activator, isUnavailable } from './activation.ts';
import { AppendBatcher, UndurableBytes } from './append-batcher.ts';
import { type Assignments, assignmentOf } from './assignments.ts';
import type { NodeLimits } from './config.ts';
import type { NodeLease } from './lease.ts';
import { OpenedEpochs, staysPrimary } from './ownership.ts';
import type { LocalReplica, NodePeer, ParticipantHost } from './participant.ts';
import type { Peers } from './peers.ts';
import type { Peer } from './protocol.ts';
import { HostedReplica, type ReplicaEnvironment } from './replica.ts';
import { SnapshotKeeper } from './snapshots.ts';
import type { HandlerWatch } from './watchdog.ts';

/** Assignments read in one transaction when many must be read again. */
const CONFIRM_PAGE = 256;
const UNKNOWN_RETRY_MS = 100;
/** So that a sweep never holds the event loop for long. */
const PASSIVATIONS_A_SWEEP_MAX = 2_000;

export interface ReplicasOptions {
  io: Io;
  self: Peer;
  homeCell: CellId;
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
}

export class Replicas implements ParticipantHost, ReplicaEnvironment {
  readonly io: Io;
  readonly self: Peer;
  readonly control: ControlStore;
  readonly undurable: UndurableBytes;
  readonly watch: HandlerWatch;
  readonly activator: Activator;
  readonly opened = new OpenedEpochs();
  readonly #o: ReplicasOptions;
  readonly #replicas = new Map<ShardId, HostedReplica>();
  readonly #activations = new Map<ShardId, Promise<Activation>>();
  readonly #promotions = new Map<ShardId, Promotion>();
  /** Requests that came for a primary before the word that this is to be it. */
  readonly #expecting = new Map<ShardId, Set<() => void>>();
  readonly #batchers = new Map<CellId, AppendBatcher>();
  readonly #snapshots: SnapshotKeeper;
  readonly #appendPrefix: string;
  readonly #handlerRandom: { next(): number };
  #appendNumber = 0;
  #closed = false;

  constructor(options: ReplicasOptions) {
    this.#o = options;
    this.io = options.io;
    this.self = options.self;
    this.control = options.control;
    this.watch = options.watch;
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

  #install(replica: HostedReplica): void {
    // A follower that was here is superseded by what was opened from the log.
    const before = this.#replicas.get(replica.shard);
    if (before !== undefined) this.#endFollower(before, 'opened from the log');
    this.#replicas.set(replica.shard, replica);
    if (this.#closed) this.deposed(replica, 'the node stops');
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

  // ---- passivation

  /** Idle primaries leave memory; where there are too many, the longest idle first. */
  sweep(): void {
    const { idleMs, residentReplicasMax } = this.#o.limits;
    const usedBeforeMs = this.io.clock.monotonicMs() - idleMs;
    let count = 0;
    for (const replica of this.#replicas.values()) {
      if (!mayLeave(replica) || replica.state.lastUsedMs > usedBeforeMs) continue;
      void this.passivate(replica);
      if (++count >= PASSIVATIONS_A_SWEEP_MAX) return;
    }
    const excess = this.#replicas.size - count - residentReplicasMax;
    if (excess <= 0) return;
    const rest = [...this.#replicas.values()].filter(mayLeave);
    rest.sort((x, y) => x.state.lastUsedMs - y.state.lastUsedMs);
    for (const replica of rest.slice(0, Math.min(excess, PASSIVATIONS_A_SWEEP_MAX))) {
      void this.passivate(replica);
    }
  }

  /** The state leaves memory with nothing in flight: the same epoch may be opened again where it ended. */
  async passivate(replica: HostedReplica): Promise<void> {
    if (!mayLeave(replica)) return;
    replica.passivating = true;
    try {
      await replica.state.seal();
    } catch {
      // Demoted meanwhile: it has left already.
    }
    replica.passivating = false;
    if (replica.ended || replica.role !== 'primary') return;
    const { durableSeq, appliedSeq } = replica.state;
    this.opened.set(replica.shard, {
      epoch: replica.epoch,
      ...(durableSeq === appliedSeq ? { cleanSeq: durableSeq } : {}),
    });
    this.#end(replica, 'idle');
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

  async addFollower(options: {
    shard: ShardId;
    migration: string;
    source: { processId: ProcessId; address: string };
    assignment: Assignment;
    opening: Pick<Opening, 'snapshot' | 'entries'>;
  }): Promise<LocalReplica> {
    const { shard, assignment, opening } = options;
    const present = this.#replicas.get(shard);
    if (present !== undefined && present.role !== 'follower') {
      throw new RpcError('refused', `${shard} is ${present.role} here, not to be followed`);
    }
    const replica = new HostedReplica({
      environment: this,
      assignment,
      role: 'follower',
      cell: this.cell(assignment.cell),
      batcher: this.#batcher(assignment.cell),
    });
    replica.source = options.source;
    replica.migration = options.migration;
    replica.fed = true;
    replica.prepared = true;
    const state = await this.#o.runtime.open({
      shard,
      epoch: assignment.epoch,
      role: 'follower',
      opening,
      host: replica,
    });
    replica.opened(state);
    const before = this.#replicas.get(shard);
    if (before !== undefined) {
      if (before.role !== 'follower') {
        replica.end('superseded');
        state.close();
        throw new RpcError('refused', `${shard} became ${before.role} here`);
      }
      this.#endFollower(before, 'replaced');
    }
    this.#replicas.set(shard, replica);
    return replica;
  }

  applyToFollower(shard: ShardId, entries: LogEntry[], sourceDurableSeq: Seq): void {
    const replica = this.#replicas.get(shard);
    if (replica === undefined || replica.role !== 'follower') {
      throw new RpcError('no-replica', `${shard} has no follower here`);
    }
    replica.fed = true;
    replica.sourceSeq = Math.max(replica.sourceSeq ?? 0, sourceDurableSeq);
    replica.state.apply(entries);
  }

  dropFollower(shard: ShardId): void {
    const replica = this.#replicas.get(shard);
    if (replica?.role === 'follower') this.#endFollower(replica, 'dropped');
  }

  #endFollower(replica: HostedReplica, reason: string): void {
    if (replica.ended || replica.role !== 'follower') return;
    this.#o.onLeave(replica);
    replica.end(reason);
    if (this.#replicas.get(replica.shard) === replica) this.#replicas.delete(replica.shard);
    replica.state.close();
  }

  async seal(shard: ShardId): Promise<{ seq: Seq; epoch: number; version: number }> {
    const replica = this.#replicas.get(shard);
    if (replica === undefined || !replica.takesRequests) {
      throw new RpcError('not-primary', `${shard} is not primary here`);
    }
    // OWNERSHIP rules 5 and 9: resolves every append in flight, then answers nothing.
    await replica.state.seal();
    if (replica.ended || !replica.takesRequests) throw new RpcError('not-primary', `${shard} was deposed`);
    replica.role = 'sealed';
    return {
      seq: replica.state.durableSeq,
      epoch: replica.epoch,
      // Last written or read by this node under its own epoch: if anyone changed it since, the swap is refused.
      version: replica.assignment.version,
    };
  }

  async unseal(shard: ShardId): Promise<'serving' | 'demoted'> {
    const replica = this.#replicas.get(shard);
    if (replica === undefined || replica.ended || !replica.takesRequests) return 'demoted';
    const { epoch, primary, cell, standbys } = replica.assignment;
    const same: AssignmentRecord = { epoch, primary, cell, standbys };
    for (;;) {
      const generation = this.leaseGeneration();
      try {
        // OWNERSHIP rule 6: the touch kills a swap of ours that is still on its way.
        const { won, assignment } = await this.activator.swap(shard, replica.assignment.version, same);
        if (replica.ended) return 'demoted';
        if (!won || assignment === undefined) {
          if (replica.role === 'sealed') replica.role = 'primary';
          this.deposed(replica, 'the assignment changed while sealed');
          return 'demoted';
        }
        replica.assignment = assignment;
        replica.confirmedGeneration = generation;
        replica.role = 'primary';
        replica.state.unseal();
        return 'serving';
      } catch (error) {
        if (!isUnavailable(error)) throw error;
        // Unknown: stays sealed until it knows (OWNERSHIP rule 5).
        await this.#pause(UNKNOWN_RETRY_MS);
        if (replica.ended || this.#closed) return 'demoted';
      }
    }
  }

  handOver(shard: ShardId, next: Assignment, address: string): void {
    const replica = this.#replicas.get(shard);
    if (replica === undefined || replica.ended || !replica.takesRequests) return;
    this.opened.set(shard, { epoch: replica.epoch });
    replica.becomeFollower(next, { processId: next.primary, address });
    replica.fed = false;
    this.#o.assignments.learn(next);
    const held = replica.state.demote();
    replica.state.follow();
    this.#passOver(held, next);
  }

  /**
   * What was held goes to the new primary: by way of the gateway that sent it, which is told where (421), since from
   * there the way may be half as long; what came another way is passed on from here.
   */
  #passOver(held: HeldRequest[], { primary, epoch, version }: Assignment): void {
    const others: HeldRequest[] = [];
    for (const each of held) {
      if (each.request.hops > 0) others.push(each);
      else each.resolve({ ...problem('moved', `${primary} runs it`), moved: { primary, epoch, version } });
    }
    this.#routeAgain(others);
  }

  promote(shard: ShardId, assignment: Assignment, endSeq?: Seq): Promise<void> {
    let under = this.#promotions.get(shard);
    if (under === undefined) {
      under = this.#beginPromotion(shard, assignment);
      this.#promotions.set(shard, under);
      for (const wake of this.#expecting.get(shard) ?? []) wake();
      const done = () => {
        if (this.#promotions.get(shard) === under) this.#promotions.delete(shard);
      };
      under.opened.then(done, done);
    }
    // Also where news of the watch had begun it: the word of the old primary is the proof that nothing is missing.
    if (endSeq !== undefined && under.epoch === assignment.epoch) under.serve(endSeq);
    return under.opened;
  }

  /** A promotion under way, for requests that come meanwhile: resolves as soon as they may run. */
  promotion(shard: ShardId): Promise<unknown> | undefined {
    return this.#promotions.get(shard)?.serving;
  }

  /** Resolves when a promotion of the shard begins here, with false where none has within `waitMs`. */
  promotionBegins(shard: ShardId, waitMs: number): Promise<boolean> {
    return new Promise((resolve) => {
      const waiters = this.#expecting.get(shard) ?? new Set();
      this.#expecting.set(shard, waiters);
      const end = (begun: boolean) => {
        cancel();
        waiters.delete(wake);
        if (waiters.size === 0) this.#expecting.delete(shard);
        resolve(begun);
      };
      const wake = () => end(true);
      const cancel = this.io.clock.setTimer(waitMs, () => end(false));
      waiters.add(wake);
    });
  }

  #beginPromotion(shard: ShardId, assignment: Assignment): Promotion {
    let proven: (endSeq: Seq) => void = () => {};
    let served: () => void = () => {};
    const early = new Promise<void>((resolve) => {
      served = resolve;
    });
    const opened = this.#promote(shard, assignment, (replica, cell) => {
      proven = (endSeq) => {
        if (replica.ended || replica.role !== 'opening' || replica.state.appliedSeq !== endSeq) return;
        replica.serveUnconfirmed();
        replica.logBytes = 0;
        try {
          this.#becomePrimary(replica, assignment, cell);
        } catch (error) {
          // Such as state that this build cannot upgrade: opening it anew says so to whoever asks.
          this.io.log.warn({ shard, error: String(error) }, 'a follower could not be promoted');
          replica.role = 'follower';
          this.#endFollower(replica, 'could not be promoted');
        }
        served();
      };
    });
    const serving = Promise.race([opened, early]);
    serving.catch(() => {});
    return {
      epoch: assignment.epoch,
      opened,
      serving,
      serve: (endSeq) => proven(endSeq),
    };
  }

  #becomePrimary(replica: HostedReplica, assignment: Assignment, cell: CellStore): void {
    this.opened.set(replica.shard, { epoch: assignment.epoch });
    replica.assignment = assignment;
    replica.cell = cell;
    replica.batcher = this.#batcher(assignment.cell);
    replica.source = undefined;
    // The news may be late: until the control store confirms it, queries go through fence checks.
    replica.confirmedGeneration = -1;
    replica.state.promote(assignment.epoch);
    replica.role = 'primary';
    this.confirm(replica);
  }

  async #promote(
    shard: ShardId,
    assignment: Assignment,
    onOpening: (replica: HostedReplica, cell: CellStore) => void,
  ): Promise<void> {
    const replica = this.#replicas.get(shard);
    if (replica?.role === 'primary' && replica.epoch >= assignment.epoch) return;
    if (replica === undefined || replica.role !== 'follower') {
      throw new RpcError('no-replica', `${shard} has no follower here to promote`);
    }
    const { epoch } = assignment;
    // Late word of a move long over: what is followed here now is another primary's.
    if (replica.assignment.epoch >= epoch) {
      throw new RpcError('moved', `${shard} is at epoch ${replica.assignment.epoch} already`);
    }
    const opened = this.opened.get(shard);
    // OWNERSHIP rule 1: an epoch is opened once. What was opened before is opened anew, by the next request.
    if (opened !== undefined && opened !== 'forgotten' && opened.epoch >= epoch) {
      this.#endFollower(replica, 'the epoch was opened before');
      throw new RpcError('refused', `epoch ${epoch} of ${shard} was opened here before`);
    }
    // First: what is learnt next is news, and must not begin a second promotion.
    replica.role = 'opening';
    this.#o.assignments.learn(assignment);
    const cell = this.cell(assignment.cell);
    const applied = replica.state.appliedSeq;
    onOpening(replica, cell);
    try {
      // A follower has the state: only the fence, the end and what it lacks are read, whatever the state's size.
      const opening = await this.activator.readWhole(cell, shard, epoch, applied);
      if (replica.role !== 'opening') {
        this.#confirmOpening(replica, epoch, opening, applied);
        return;
      }
      if (opening.fence !== epoch) throw new RpcError('moved', `fenced by epoch ${opening.fence}`);
      if (applied > opening.end)
        throw new RpcError('gap', `applied ${applied}, the log ends at ${opening.end}`);
      const missing = opening.entries.filter((entry) => entry.seq > applied);
      if (missing.length !== opening.end - applied) throw new RpcError('gap', 'the log was trimmed');
      if (missing.length > 0) replica.state.apply(missing);
      if (replica.ended || this.#replicas.get(shard) !== replica) throw new RpcError('refused', 'superseded');
      replica.measureLog(opening, applied);
      this.#becomePrimary(replica, assignment, cell);
    } catch (error) {
      // Its commands ran, their fate is open: rule 3, the replica demotes.
      if (replica.unconfirmed && replica.epoch === epoch)
        this.deposed(replica, 'could not be opened', isUnavailable(error));
      // The log has everything: the next request opens from it.
      if (!replica.ended && replica.role === 'opening') {
        replica.role = 'follower';
        this.#endFollower(replica, 'could not be promoted');
      }
      throw error;
    }
  }

  /** Served already: the opening must show exactly what was taken for granted. */
  #confirmOpening(replica: HostedReplica, epoch: number, opening: Opening, applied: Seq): void {
    if (replica.ended || !replica.unconfirmed) throw new RpcError('refused', 'superseded');
    if (opening.fence !== epoch) throw new RpcError('moved', `fenced by epoch ${opening.fence}`);
    if (opening.end !== applied)
      throw new RpcError('gap', `the log ends at ${opening.end}, not at ${applied}`);
    const sinceBytes = replica.logBytes;
    replica.measureLog(opening, applied);
    replica.logBytes += sinceBytes;
    replica.openingConfirmed();
  }

  // ---- giving a shard away without a migration

  /**
   * Seals, swaps the primary to `heir` at epoch+1 in the same cell, and passes everything held on: the heir opens from
   * the log. With an unknown outcome it stays sealed until it knows (OWNERSHIP rule 5).
   */
  async release(shard: ShardId, heir: { processId: ProcessId; address: string }): Promise<boolean> {
    const { epoch, version } = await this.seal(shard);
    const replica = this.#replicas.get(shard);
    if (replica === undefined) return false;
    const { cell } = replica.assignment;
    const next: AssignmentRecord = { epoch: epoch + 1, primary: heir.processId, cell, standbys: [] };
    for (;;) {
      try {
        const { won, assignment } = await this.activator.swap(shard, version, next);
        if (won && assignment !== undefined) {
          this.handOver(shard, assignment, heir.address);
          this.dropFollower(shard);
          return true;
        }
        return (await this.unseal(shard)) === 'demoted';
      } catch (error) {
        if (!isUnavailable(error)) throw error;
        await this.#pause(UNKNOWN_RETRY_MS);
        if (replica.ended || this.#closed) return false;
      }
    }
  }

  close(): void {
    this.#closed = true;
    for (const replica of [...this.#replicas.values()]) {
      if (replica.role === 'follower') this.#endFollower(replica, 'the node stops');
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

  #pause(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      this.io.clock.setTimer(delayMs, resolve);
    });
  }
}

/** A follower on its way to primary. */
interface Promotion {
  epoch: number;
  /** The log was opened and the replica is primary. */
  opened: Promise<void>;
  /** Requests may run: opened, or known to have the whole log. */
  serving: Promise<void>;
  /** The log surely ends at `endSeq`, and all below the new epoch are gone: serve, where that is applied. */
  serve(endSeq: Seq): void;
}

function mayLeave(replica: HostedReplica): boolean {
  return (
    replica.role === 'primary' &&
    !replica.ended &&
    !replica.passivating &&
    !replica.followed &&
    !replica.snapshotQueued &&
    !replica.unconfirmed &&
    replica.state.pendingCommands === 0
  );
}
