/**
 * A follower's way to primary: opened where the log ends, or served early where the old primary vouched for that end.
 *
 * It keeps the promotions under way and the requests that wait for one to begin. Boundary: the replica stays in the
 * table of `replicas.ts`, which alone ends it. Invariants: one promotion of a shard at a time; an epoch is opened once
 * (OWNERSHIP rule 1); nothing of an opening that is not confirmed can be seen from outside (OWNERSHIP rule 2).
 */
import type { Io } from '../io/io.ts';
import type { CellId, Seq, ShardId } from '../model/ids.ts';
import type { Assignment } from '../model/records.ts';
import type { CellStore, Opening } from '../store/store.ts';
import { RpcError } from '../wire/rpc.ts';
import { type Activator, isUnavailable } from './activation.ts';
import type { AppendBatcher } from './append-batcher.ts';
import type { Assignments } from './assignments.ts';
import type { OpenedEpochs } from './ownership.ts';
import type { ParticipantHost } from './participant.ts';
import type { HostedReplica } from './replica.ts';

/** What a promotion needs of the table of replicas. */
export interface PromotionsHost {
  readonly io: Io;
  readonly assignments: Assignments;
  readonly activator: Activator;
  readonly opened: OpenedEpochs;
  replica(shard: ShardId): HostedReplica | undefined;
  cell(id: CellId): CellStore;
  batcher(id: CellId): AppendBatcher;
  confirm(replica: HostedReplica): void;
  deposed(replica: HostedReplica, reason: string, cutOff?: boolean): void;
  endFollower(replica: HostedReplica, reason: string): void;
  /** The replica serves as primary. */
  began(replica: HostedReplica): void;
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

export class Promotions implements Pick<ParticipantHost, 'promote' | 'takingOver'> {
  readonly #host: PromotionsHost;
  readonly #underWay = new Map<ShardId, Promotion>();
  /** Followers whose sealed primary has asked them to take over: it is not settled yet whether they do. */
  readonly #takeOvers = new Map<ShardId, Promise<unknown>>();
  /** Requests that came for a primary before the word that this is to be it. */
  readonly #expecting = new Map<ShardId, Set<() => void>>();

  constructor(host: PromotionsHost) {
    this.#host = host;
  }

  /**
   * The follower of the shard becomes primary under `assignment`; calls that come meanwhile share one promotion.
   * `endSeq` is what {@link ParticipantHost.promote} says it is. Rejects with an RpcError where there is no follower
   * to promote or it follows a later epoch already; and where the epoch was opened here before or the opening does
   * not show what it should, which ends the replica: the next request opens the shard from its log.
   */
  promote(shard: ShardId, assignment: Assignment, endSeq?: Seq): Promise<void> {
    let under = this.#underWay.get(shard);
    if (under === undefined) {
      under = this.#begin(shard, assignment);
      this.#underWay.set(shard, under);
      this.#wake(shard);
      const done = () => {
        if (this.#underWay.get(shard) === under) this.#underWay.delete(shard);
      };
      under.opened.then(done, done);
    }
    // Also where news of the watch had begun it: the word of the old primary is the proof that nothing is missing.
    if (endSeq !== undefined && under.epoch === assignment.epoch) under.serve(endSeq);
    return under.opened;
  }

  /** A promotion under way, for requests that come meanwhile: resolves as soon as they may run. */
  underWay(shard: ShardId): Promise<unknown> | undefined {
    return this.#underWay.get(shard)?.serving;
  }

  /** See {@link ParticipantHost.takingOver}. */
  takingOver(shard: ShardId, settled: Promise<unknown>): void {
    this.#takeOvers.set(shard, settled);
    const done = () => {
      if (this.#takeOvers.get(shard) === settled) this.#takeOvers.delete(shard);
    };
    settled.then(done, done);
    this.#wake(shard);
  }

  /** The follower of the shard was asked to take over: resolves when it has begun to, or will not. */
  takeOver(shard: ShardId): Promise<unknown> | undefined {
    return this.#takeOvers.get(shard);
  }

  #wake(shard: ShardId): void {
    for (const wake of this.#expecting.get(shard) ?? []) wake();
  }

  /** Resolves when a take-over or promotion of the shard begins here, with false where none has within `waitMs`. */
  begins(shard: ShardId, waitMs: number): Promise<boolean> {
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
      const cancel = this.#host.io.clock.setTimer(waitMs, () => end(false));
      waiters.add(wake);
    });
  }

  #begin(shard: ShardId, assignment: Assignment): Promotion {
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
          this.#host.io.log.warn({ shard, error: String(error) }, 'a follower could not be promoted');
          replica.role = 'follower';
          this.#host.endFollower(replica, 'could not be promoted');
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
    this.#host.opened.set(replica.shard, { epoch: assignment.epoch });
    replica.assignment = assignment;
    replica.cell = cell;
    replica.batcher = this.#host.batcher(assignment.cell);
    replica.source = undefined;
    // The news may be late: until the control store confirms it, queries go through fence checks.
    replica.confirmedGeneration = -1;
    replica.state.promote(assignment.epoch);
    replica.role = 'primary';
    this.#host.confirm(replica);
    this.#host.began(replica);
  }

  async #promote(
    shard: ShardId,
    assignment: Assignment,
    onOpening: (replica: HostedReplica, cell: CellStore) => void,
  ): Promise<void> {
    const replica = this.#host.replica(shard);
    if (replica?.role === 'primary' && replica.epoch >= assignment.epoch) return;
    if (replica === undefined || replica.role !== 'follower') {
      throw new RpcError('no-replica', `${shard} has no follower here to promote`);
    }
    const { epoch } = assignment;
    // Late word of a move long over: what is followed here now is another primary's.
    if (replica.assignment.epoch >= epoch) {
      throw new RpcError('moved', `${shard} is at epoch ${replica.assignment.epoch} already`);
    }
    const isForgetful = replica.mutations?.has('epoch-reopened');
    const opened = isForgetful ? undefined : this.#host.opened.get(shard);
    // OWNERSHIP rule 1: an epoch is opened once. What was opened before is opened anew, by the next request.
    if (opened !== undefined && opened !== 'forgotten' && opened.epoch >= epoch) {
      this.#host.endFollower(replica, 'the epoch was opened before');
      throw new RpcError('refused', `epoch ${epoch} of ${shard} was opened here before`);
    }
    // First: what is learnt next is news, and must not begin a second promotion.
    replica.role = 'opening';
    this.#host.assignments.learn(assignment);
    const cell = this.#host.cell(assignment.cell);
    const applied = replica.state.appliedSeq;
    onOpening(replica, cell);
    try {
      // A follower has the state: only the fence, the end and what it lacks are read, whatever the state's size.
      const opening = await this.#host.activator.readWhole(cell, shard, epoch, applied);
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
      if (replica.ended || this.#host.replica(shard) !== replica) throw new RpcError('refused', 'superseded');
      replica.measureLog(opening, applied);
      this.#becomePrimary(replica, assignment, cell);
    } catch (error) {
      // Its commands ran, their fate is open: rule 3, the replica demotes.
      if (replica.unconfirmed && replica.epoch === epoch)
        this.#host.deposed(replica, 'could not be opened', isUnavailable(error));
      // The log has everything: the next request opens from it.
      if (!replica.ended && replica.role === 'opening') {
        replica.role = 'follower';
        this.#host.endFollower(replica, 'could not be promoted');
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
}
