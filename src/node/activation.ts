/**
 * Brings a shard to life on this node, or finds out whose it is: performs what `ownership.ts` decides.
 *
 * Every change of an assignment is a transaction that compares its version (OWNERSHIP rule 1); an opening raises the
 * fence and reads in one transaction, and serves only if the fence is its own epoch (OWNERSHIP rule 2).
 */
import type { Io } from '../io/io.ts';
import { ProblemError, problemOf } from '../model/errors.ts';
import {
  type CellId,
  type ProcessId,
  type Region,
  rendezvous,
  type Seq,
  type ShardId,
} from '../model/ids.ts';
import {
  type Assignment,
  type AssignmentRecord,
  CONTROL_KEYS,
  encodeRecord,
  type NodeRecord,
} from '../model/records.ts';
import type { ShardReply } from '../model/request.ts';
import type { ShardRuntime } from '../shard/contract.ts';
import type { CellStore, Compare, ControlStore, LogEntry, Opening } from '../store/store.ts';
import { StoreError } from '../store/store.ts';
import type { AppendBatcher } from './append-batcher.ts';
import { type Assignments, assignmentOf } from './assignments.ts';
import { decideOwnership, type OpenedEpochs, staysPrimary } from './ownership.ts';
import { refuse } from './problems.ts';
import { HostedReplica, type ReplicaEnvironment } from './replica.ts';

/** Lost races before a request is told to come back. */
const ATTEMPTS_MAX = 8;
/** How long a store may stay silent in one opening or swap. */
const STORE_PATIENCE_MS = 4_000;
const STORE_RETRY_MS = 60;
const TAIL_BYTES = 4 * 1024 * 1024;

export type Activation =
  | { kind: 'serving'; replica: HostedReplica }
  | { kind: 'elsewhere'; primary: ProcessId }
  /** Nobody's, and not for this node to claim. */
  | { kind: 'pass-on' }
  | { kind: 'refused'; reply: ShardReply };

export interface ActivatorOptions {
  io: Io;
  self: ProcessId;
  region: Region;
  /** Where logs of shards claimed here begin; absent: see {@link NodeConfig.homeCell}. */
  homeCell: CellId | undefined;
  control: ControlStore;
  runtime: ShardRuntime;
  environment: ReplicaEnvironment;
  assignments: Assignments;
  opened: OpenedEpochs;
  cell: (id: CellId) => CellStore;
  batcher: (id: CellId) => AppendBatcher;
  /** Ready for new shards. */
  accepting: () => boolean;
  /** Who should stand by for the shard with that primary; `present` are named now. */
  standbysFor: (shard: ShardId, primary: ProcessId, present: readonly ProcessId[]) => ProcessId[];
  /** The follower here becomes primary; undefined where none is here. */
  promoteFollower: (assignment: Assignment) => Promise<HostedReplica> | undefined;
}

export class Activator {
  readonly #o: ActivatorOptions;
  readonly #services: ReturnType<ShardRuntime['manifest']>;

  constructor(options: ActivatorOptions) {
    this.#o = options;
    this.#services = options.runtime.manifest();
  }

  /** Whether the shard's service allows a region. */
  allowed(shard: ShardId, region: Region): boolean {
    const regions = this.#services[shard.slice(0, shard.indexOf('/'))]?.allowedRegions;
    return regions === undefined || regions.includes(region);
  }

  /** Rejects with a StoreError where the control store or the cell gives no answer. */
  async activate(shard: ShardId): Promise<Activation> {
    const settled = this.#o.assignments.expect(shard);
    try {
      return await this.#activate(shard);
    } finally {
      settled();
    }
  }

  async #activate(shard: ShardId): Promise<Activation> {
    const { self, assignments, opened, environment } = this.#o;
    let assignment = assignments.assignment(shard);
    // Where this node may claim, the claim itself is the look-up: refused, it reads what is there.
    if (assignment === undefined && !this.#mayClaim(shard)) assignment = await assignments.lookUp(shard);
    /** The lease generation in which our own swap made this assignment. */
    let swappedIn = -1;
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      const primary = assignment?.primary;
      let primaryPresent = primary === self;
      if (primary !== undefined && !primaryPresent) {
        const presence = assignments.presence(primary);
        // Gone, as it seems: where this node may take over, the takeover itself is the look-up.
        primaryPresent =
          presence === 'present' ||
          ((presence === 'unknown' || !this.#mayClaim(shard)) &&
            (await assignments.lookUpNode(primary)) !== undefined);
      }
      const decision = decideOwnership({
        self,
        assignment,
        primaryPresent,
        opened: environment.mutations?.has('epoch-reopened') ? undefined : opened.get(shard),
        accepting: this.#mayClaim(shard),
        homeCell: this.#homeCell(shard),
      });
      switch (decision.action) {
        case 'forward':
          return { kind: 'elsewhere', primary: decision.to };
        case 'pass-on':
          return { kind: 'pass-on' };
        case 'open': {
          const result =
            (await this.#promoteFollower(assignment!)) ??
            (await this.#open(assignment!, decision.expectSeq, swappedIn));
          if (result !== 'deposed') return result;
          swappedIn = -1;
          assignments.forget(shard);
          assignment = await assignments.lookUp(shard);
          continue;
        }
      }
      const generation = this.#o.environment.leaseGeneration();
      const next: AssignmentRecord = {
        epoch: decision.epoch,
        primary: self,
        cell: decision.action === 'claim' ? decision.cell : assignment!.cell,
        standbys: this.#o.standbysFor(shard, self, assignment?.standbys ?? []),
      };
      const compare: Compare[] = [];
      if (decision.action === 'take-over') {
        // OWNERSHIP rule 1: the claimant first reaches the cell, so that nobody holds what nobody can serve.
        await this.#o.cell(assignment!.cell).raiseFence(shard, assignment!.epoch);
        if (!environment.mutations?.has('takeover-from-the-living'))
          compare.push({ key: CONTROL_KEYS.node(decision.from), version: 0 });
      }
      const swapped = await this.swap(shard, assignment?.version ?? 0, next, compare);
      if (swapped.won) swappedIn = generation;
      else if (decision.action === 'take-over') await assignments.lookUpNode(decision.from);
      assignment = swapped.assignment;
    }
    return {
      kind: 'refused',
      reply: refuse('unavailable', `the ownership of ${shard} is changing; try again`),
    };
  }

  /** Where the log of a shard that nobody has begins: each in one of the region's cells, as long as that has room. */
  #homeCell(shard: ShardId): CellId {
    const { homeCell, region, assignments } = this.#o;
    if (homeCell !== undefined) return homeCell;
    const cells = assignments.cellsIn(region);
    if (cells.length < 2) return cells[0] ?? `cell-${region}`;
    const withRoom = cells.filter((id) => !this.#o.cell(id).pressure?.()?.high);
    return rendezvous(shard, withRoom.length > 0 ? withRoom : cells, (id) => id)!;
  }

  #mayClaim(shard: ShardId): boolean {
    return this.#o.accepting() && this.allowed(shard, this.#o.region);
  }

  /**
   * Changes an assignment if its version is still `version`. With an unknown outcome it is tried again: either it then
   * succeeds, or the record read shows what became of the first try.
   */
  async swap(
    shard: ShardId,
    version: number,
    next: AssignmentRecord,
    compare: Compare[] = [],
  ): Promise<{ won: boolean; assignment: Assignment | undefined }> {
    const key = CONTROL_KEYS.own(shard);
    const untilMs = this.#o.io.clock.monotonicMs() + STORE_PATIENCE_MS;
    for (;;) {
      try {
        const { succeeded, revision, read } = await this.#o.control.transact({
          compare: [{ key, version }, ...compare],
          operations: [{ put: key, value: encodeRecord(next) }],
          read: [key],
        });
        if (succeeded) {
          const assignment = this.#o.assignments.learn({ ...next, shard, version: revision });
          return { won: true, assignment };
        }
        const entry = read[0];
        if (entry === undefined) return { won: false, assignment: undefined };
        const found = this.#o.assignments.learn(assignmentOf(entry));
        // Epochs are never used twice, so this is the first try's doing (or a gift, as good).
        const ours = found.epoch === next.epoch && found.primary === next.primary && found.version > version;
        return { won: ours, assignment: found };
      } catch (error) {
        if (!isUnavailable(error) || this.#o.io.clock.monotonicMs() > untilMs) throw error;
        await this.#pause();
      }
    }
  }

  /** OWNERSHIP rule 1: an owner that cannot reach its cell names another live node. Best effort, once. */
  async swapOut(assignment: Assignment): Promise<void> {
    const heir = this.heir(assignment.shard, this.#o.region);
    if (heir === undefined || this.#o.environment.mutations?.has('cut-off-owner-stays')) return;
    const { shard, version, epoch, cell } = assignment;
    const primary = heir.processId;
    const standbys = this.#o.standbysFor(shard, primary, assignment.standbys);
    try {
      await this.swap(shard, version, { epoch: epoch + 1, primary, cell, standbys });
    } catch (error) {
      this.#o.io.log.warn(
        { shard, error: String(error) },
        'a shard without its cell could not be given away',
      );
    }
  }

  /** See {@link ActivatorOptions.standbysFor}. */
  standbysFor(shard: ShardId, primary: ProcessId, present: readonly ProcessId[]): ProcessId[] {
    return this.#o.standbysFor(shard, primary, present);
  }

  /** Whether any other node takes new shards. */
  anyOther(): boolean {
    return this.#o.assignments
      .nodes()
      .some((node) => node.processId !== this.#o.self && node.state === 'ready');
  }

  /** Another node that takes new shards, near `region` if there is one; each shard prefers its own. */
  heir(shard: ShardId, region: Region, except?: ProcessId): NodeRecord | undefined {
    const others = this.#o.assignments
      .nodes()
      .filter(
        (node) =>
          node.processId !== this.#o.self &&
          node.processId !== except &&
          node.state === 'ready' &&
          this.allowed(shard, node.region),
      );
    const near = others.filter((node) => node.region === region);
    return rendezvous(shard, near.length > 0 ? near : others, (node) => node.processId);
  }

  /** The copy here needs only what it lacks of the log. Undefined: there is none, or it was no good; open from the log. */
  async #promoteFollower(assignment: Assignment): Promise<Activation | undefined> {
    try {
      const replica = await this.#o.promoteFollower(assignment);
      return replica && { kind: 'serving', replica };
    } catch (error) {
      const { shard } = assignment;
      this.#o.io.log.info({ shard, error: String(error) }, 'a copy could not go on; opening from the log');
      return undefined;
    }
  }

  async #open(
    assignment: Assignment,
    expectSeq: Seq | undefined,
    swappedIn: number,
  ): Promise<Activation | 'deposed'> {
    const { shard, epoch } = assignment;
    const { opened, environment, runtime } = this.#o;
    const cell = this.#o.cell(assignment.cell);
    let opening: Opening;
    try {
      opening = await this.readWhole(cell, shard, epoch);
    } catch (error) {
      if (isUnavailable(error)) await this.swapOut(assignment);
      throw error;
    }
    if (opening.fence !== epoch || (expectSeq !== undefined && opening.end !== expectSeq)) {
      // Someone else was here, or this process in a life it does not remember: only a fresh epoch will do.
      opened.set(shard, { epoch });
      return 'deposed';
    }
    const replica = new HostedReplica({
      environment,
      assignment,
      role: 'opening',
      cell,
      batcher: this.#o.batcher(assignment.cell),
    });
    replica.confirmedGeneration = swappedIn;
    replica.measureLog(opening);
    opened.set(shard, { epoch });
    try {
      replica.opened(await runtime.open({ shard, epoch, role: 'primary', opening, host: replica }));
    } catch (error) {
      if (replica.appendCount === 0) opened.set(shard, { epoch, cleanSeq: opening.end });
      replica.end('could not be opened');
      if (error instanceof ProblemError) {
        const reply: ShardReply = problemOf(error);
        if (reply.status === 503) reply.retryAfterS = 1;
        return { kind: 'refused', reply };
      }
      throw error;
    }
    const news = this.#o.assignments.assignment(shard);
    if (replica.ended || !staysPrimary({ epoch, version: assignment.version }, this.#o.self, news)) {
      replica.end('deposed while opening');
      for (const held of replica.state.demote()) held.reject(new Error('not yet serving'));
      replica.state.close();
      return 'deposed';
    }
    replica.role = 'primary';
    return { kind: 'serving', replica };
  }

  /** One opening transaction, then the rest of a long log; contiguous to `end`, or `fence` tells why not. */
  async readWhole(cell: CellStore, shard: ShardId, epoch: number, knownSeq?: number): Promise<Opening> {
    const untilMs = this.#o.io.clock.monotonicMs() + STORE_PATIENCE_MS;
    for (;;) {
      try {
        // OWNERSHIP rule 2: raises, then reads snapshot, end and fence in one transaction.
        const opening = await this.#openLog(cell, shard, epoch, knownSeq);
        if (opening.fence !== epoch) return opening;
        const entries: LogEntry[] = opening.entries;
        let at = entries.at(-1)?.seq ?? opening.snapshot?.seq ?? Math.min(knownSeq ?? 0, opening.end);
        while (at < opening.end) {
          const page = await cell.tail(shard, at, TAIL_BYTES);
          for (const entry of page.entries) {
            if (entry.seq > opening.end) break;
            // Only a higher epoch trims below us.
            if (entry.seq !== at + 1) return { ...opening, fence: epoch + 1 };
            entries.push(entry);
            at = entry.seq;
          }
          if (page.entries.length === 0) return { ...opening, fence: epoch + 1 };
        }
        return opening;
      } catch (error) {
        if (!isUnavailable(error) || this.#o.io.clock.monotonicMs() > untilMs) throw error;
        await this.#pause();
      }
    }
  }

  async #openLog(cell: CellStore, shard: ShardId, epoch: number, knownSeq?: number): Promise<Opening> {
    const { mutations } = this.#o.environment;
    const options = knownSeq === undefined ? undefined : { knownSeq };
    if (mutations?.has('log-read-apart-from-fence')) {
      const fence = await cell.raiseFence(shard, epoch);
      return { ...(await cell.open(shard, epoch, options)), fence };
    }
    if (mutations?.has('read-before-raise')) {
      const opening = await cell.open(shard, 0, options);
      return { ...opening, fence: await cell.raiseFence(shard, epoch) };
    }
    return cell.open(shard, epoch, options);
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => {
      this.#o.io.clock.setTimer(STORE_RETRY_MS, resolve);
    });
  }
}

export function isUnavailable(error: unknown): boolean {
  return error instanceof StoreError ? error.code === 'unavailable' : false;
}
