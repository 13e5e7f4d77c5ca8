/**
 * A primary's way out: sealed, then unsealed again, handed over to a follower elsewhere, or released to an heir.
 *
 * It keeps nothing: the role and the assignment are in the replica, the replica in the table of `replicas.ts`.
 * Invariants: sealed, a replica answers nothing and stays so while the outcome of a swap is unknown (OWNERSHIP rule
 * 5); it serves again only after a swap of its own that touched the assignment (OWNERSHIP rule 6); requests that it
 * held are sent on, never dropped.
 */
import type { Io } from '../io/io.ts';
import { problem } from '../model/errors.ts';
import type { ProcessId, Seq, ShardId } from '../model/ids.ts';
import type { Assignment, AssignmentRecord } from '../model/records.ts';
import type { HeldRequest } from '../shard/contract.ts';
import { RpcError } from '../wire/rpc.ts';
import { type Activator, isUnavailable } from './activation.ts';
import type { Assignments } from './assignments.ts';
import type { OpenedEpochs } from './ownership.ts';
import type { ParticipantHost } from './participant.ts';
import type { HostedReplica } from './replica.ts';

/** Between two attempts at a swap whose outcome is unknown. */
const UNKNOWN_RETRY_MS = 100;

/** What giving a shard away needs of the table of replicas. */
export interface HandOverHost {
  readonly io: Io;
  readonly assignments: Assignments;
  readonly activator: Activator;
  readonly opened: OpenedEpochs;
  replica(shard: ShardId): HostedReplica | undefined;
  leaseGeneration(): number;
  deposed(replica: HostedReplica, reason: string): void;
  dropFollower(shard: ShardId): void;
  /** Routes anew what a replica held, wherever its shard is now. */
  routeAgain(held: HeldRequest[]): void;
  /** The node stops: no further attempts. */
  closed(): boolean;
}

export class HandOver implements Pick<ParticipantHost, 'seal' | 'unseal' | 'sendAhead' | 'handOver'> {
  readonly #host: HandOverHost;

  constructor(host: HandOverHost) {
    this.#host = host;
  }

  /** See {@link ParticipantHost.seal}. */
  async seal(shard: ShardId): Promise<{ seq: Seq; epoch: number; version: number }> {
    const replica = this.#host.replica(shard);
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

  /** See {@link ParticipantHost.sendAhead}. Nothing is answered: who goes there waits there (OWNERSHIP rule 5). */
  sendAhead(shard: ShardId, target: HostedReplica['movingTo']): void {
    const replica = this.#host.replica(shard);
    if (replica?.role !== 'sealed') return;
    replica.movingTo = target;
    for (const held of replica.state.release((request) => replica.sendsAhead(request)))
      held.resolve(replica.ahead());
  }

  /** See {@link ParticipantHost.unseal}. */
  async unseal(shard: ShardId): Promise<'serving' | 'demoted'> {
    const replica = this.#host.replica(shard);
    if (replica === undefined || replica.ended || !replica.takesRequests) return 'demoted';
    replica.movingTo = undefined;
    if (replica.mutations?.has('unseal-without-touch')) {
      replica.role = 'primary';
      replica.state.unseal();
      return 'serving';
    }
    const { epoch, primary, cell, standbys } = replica.assignment;
    const same: AssignmentRecord = { epoch, primary, cell, standbys };
    for (;;) {
      const generation = this.#host.leaseGeneration();
      try {
        // OWNERSHIP rule 6: the touch kills a swap of ours that is still on its way.
        const { won, assignment } = await this.#host.activator.swap(shard, replica.assignment.version, same);
        if (replica.ended) return 'demoted';
        if (!won || assignment === undefined) {
          if (replica.role === 'sealed') replica.role = 'primary';
          this.#host.deposed(replica, 'the assignment changed while sealed');
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
        if (replica.ended || this.#host.closed()) return 'demoted';
      }
    }
  }

  /** See {@link ParticipantHost.handOver}. */
  handOver(shard: ShardId, next: Assignment, address: string): void {
    const replica = this.#host.replica(shard);
    if (replica === undefined || replica.ended || !replica.takesRequests) return;
    this.#host.opened.set(shard, { epoch: replica.epoch });
    replica.becomeFollower(next, { processId: next.primary, address });
    replica.fed = false;
    this.#host.assignments.learn(next);
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
    this.#host.routeAgain(others);
  }

  /**
   * Seals, swaps the primary to `heir` at epoch+1 in the same cell, and passes everything held on: the heir opens from
   * the log. With an unknown outcome it stays sealed until it knows (OWNERSHIP rule 5).
   */
  async release(shard: ShardId, heir: { processId: ProcessId; address: string }): Promise<boolean> {
    const { epoch, version } = await this.seal(shard);
    const replica = this.#host.replica(shard);
    if (replica === undefined) return false;
    const { cell } = replica.assignment;
    const primary = heir.processId;
    const standbys = this.#host.activator.standbysFor(shard, primary, replica.assignment.standbys);
    const next: AssignmentRecord = { epoch: epoch + 1, primary, cell, standbys };
    for (;;) {
      try {
        const { won, assignment } = await this.#host.activator.swap(shard, version, next);
        if (won && assignment !== undefined) {
          this.handOver(shard, assignment, heir.address);
          this.#host.dropFollower(shard);
          return true;
        }
        return (await this.unseal(shard)) === 'demoted';
      } catch (error) {
        if (!isUnavailable(error)) throw error;
        await this.#pause(UNKNOWN_RETRY_MS);
        if (replica.ended || this.#host.closed()) return false;
      }
    }
  }

  #pause(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      this.#host.io.clock.setTimer(delayMs, resolve);
    });
  }
}
