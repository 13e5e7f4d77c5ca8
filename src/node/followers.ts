/**
 * The copies on this node that follow a primary elsewhere: targets of moves and standbys, from their opening to their end.
 *
 * Boundary: they live in the node's one table of replicas, which is shared with the rest of `replicas.ts`; who feeds them is
 * the migration participant's. Invariant: a follower never replaces a replica that serves, and one follower a shard.
 */
import type { CellId, ProcessId, Seq, ShardId } from '../model/ids.ts';
import type { Assignment } from '../model/records.ts';
import type { ShardRuntime } from '../shard/contract.ts';
import type { Slicer } from '../shard/snapshot.ts';
import type { CellStore, LogEntry, Opening } from '../store/store.ts';
import { RpcError } from '../wire/rpc.ts';
import type { AppendBatcher } from './append-batcher.ts';
import type { LocalReplica } from './participant.ts';
import { STANDBY } from './protocol.ts';
import { HostedReplica, type ReplicaEnvironment } from './replica.ts';

export interface FollowersOptions {
  environment: ReplicaEnvironment;
  runtime: ShardRuntime;
  /** All replicas of the node, whatever their role. */
  replicas: Map<ShardId, HostedReplica>;
  cell: (id: CellId) => CellStore;
  batcher: (id: CellId) => AppendBatcher;
  /** A replica is about to end: its load must not be lost. */
  onLeave: (replica: HostedReplica) => void;
}

export class Followers {
  readonly #o: FollowersOptions;

  constructor(options: FollowersOptions) {
    this.#o = options;
  }

  async add(options: {
    shard: ShardId;
    migration: string;
    source: { processId: ProcessId; address: string };
    assignment: Assignment;
    opening: Pick<Opening, 'snapshot' | 'entries'>;
    slicer?: Slicer;
  }): Promise<LocalReplica> {
    const { shard, assignment, opening } = options;
    const present = this.#o.replicas.get(shard);
    if (present !== undefined && present.role !== 'follower') {
      throw new RpcError('refused', `${shard} is ${present.role} here, not to be followed`);
    }
    const replica = new HostedReplica({
      environment: this.#o.environment,
      assignment,
      role: 'follower',
      cell: this.#o.cell(assignment.cell),
      batcher: this.#o.batcher(assignment.cell),
    });
    replica.source = options.source;
    replica.migration = options.migration;
    replica.fed = true;
    replica.prepared = options.migration !== STANDBY;
    const state = await this.#o.runtime.open({
      shard,
      epoch: assignment.epoch,
      role: 'follower',
      opening,
      host: replica,
      slicer: options.slicer,
    });
    replica.opened(state);
    const before = this.#o.replicas.get(shard);
    if (before !== undefined) {
      if (before.role !== 'follower') {
        replica.end('superseded');
        state.close();
        throw new RpcError('refused', `${shard} became ${before.role} here`);
      }
      this.end(before, 'replaced');
    }
    this.#o.replicas.set(shard, replica);
    return replica;
  }

  apply(shard: ShardId, entries: LogEntry[], sourceDurableSeq: Seq): void {
    const replica = this.#o.replicas.get(shard);
    if (replica === undefined || replica.role !== 'follower') {
      throw new RpcError('no-replica', `${shard} has no follower here`);
    }
    replica.fed = true;
    replica.sourceSeq = Math.max(replica.sourceSeq ?? 0, sourceDurableSeq);
    replica.state.apply(entries);
  }

  drop(shard: ShardId): void {
    const replica = this.#o.replicas.get(shard);
    if (replica?.role === 'follower') this.end(replica, 'dropped');
  }

  repurpose(shard: ShardId, migration: string, source: { processId: ProcessId; address: string }): void {
    const replica = this.#o.replicas.get(shard);
    if (replica?.role !== 'follower') return;
    replica.migration = migration;
    replica.source = source;
    replica.prepared = migration !== STANDBY;
  }

  end(replica: HostedReplica, reason: string): void {
    if (replica.ended || replica.role !== 'follower') return;
    this.#o.onLeave(replica);
    replica.end(reason);
    if (this.#o.replicas.get(replica.shard) === replica) this.#o.replicas.delete(replica.shard);
    replica.state.close();
  }
}
