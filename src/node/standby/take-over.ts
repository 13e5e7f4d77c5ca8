/**
 * When a primary's node key is gone: the standbys here take over, each from the copy it has.
 *
 * Nobody has to tell them, and no request has to come. The first named goes at once, the others each a moment later in
 * case it does not; who is asked by a request goes at once as well. All of it is a hint: the takeover is a
 * compare-and-swap that also compares the absence of the node key (OWNERSHIP rule 1), so many may try.
 *
 * Where this node lost its own lease a moment ago, the others may have as well, by an outage of the control store: they
 * get a TTL to register again. So an outage makes no storm of takeovers from the living.
 *
 * Invariant: at most {@link AT_ONCE} takeovers of this queue are under way; requests for other shards pass it by.
 */
import type { Io } from '../../io/io.ts';
import type { ProcessId, ShardId } from '../../model/ids.ts';
import type { HostedReplica } from '../replica.ts';

/** Takeovers under way from the queue: many enough for a distant control store, few enough to leave room for requests. */
export const AT_ONCE = 64;
/** How long the next in rank waits for the one before it. */
const RANK_DELAY_MS = 150;

export interface TakeOverHost {
  readonly io: Pick<Io, 'clock' | 'log'>;
  readonly self: ProcessId;
  all(): Iterable<HostedReplica>;
  replica(shard: ShardId): HostedReplica | undefined;
  /** Only what is unsettled must wait. */
  readonly lease: { readonly unsettled: boolean; readonly ttlMs: number };
  present(process: ProcessId): boolean;
  /** Brings the shard to life here, or finds out whose it is. */
  activate(shard: ShardId): Promise<unknown>;
}

export class StandbyTakeOver {
  readonly #host: TakeOverHost;
  readonly #queue: { shard: ShardId; from: ProcessId }[] = [];
  readonly #postponed = new Set<ProcessId>();
  #working = 0;

  constructor(host: TakeOverHost) {
    this.#host = host;
  }

  nodeGone(process: ProcessId): void {
    const { lease, io } = this.#host;
    if (lease.unsettled) {
      if (this.#postponed.has(process)) return;
      this.#postponed.add(process);
      io.clock.setTimer(lease.ttlMs, () => {
        this.#postponed.delete(process);
        if (!this.#host.present(process)) this.nodeGone(process);
      });
      return;
    }
    const later = new Map<number, ShardId[]>();
    for (const replica of this.#host.all()) {
      const { assignment, shard } = replica;
      if (replica.role !== 'follower' || assignment.primary !== process) continue;
      const rank = assignment.standbys.indexOf(this.#host.self);
      if (rank === 0) this.#queue.push({ shard, from: process });
      else if (rank > 0) later.set(rank, [...(later.get(rank) ?? []), shard]);
    }
    for (const [rank, shards] of later) {
      this.#host.io.clock.setTimer(rank * RANK_DELAY_MS, () => {
        for (const shard of shards) this.#queue.push({ shard, from: process });
        this.#next();
      });
    }
    this.#next();
  }

  #next(): void {
    while (this.#working < AT_ONCE) {
      const next = this.#queue.shift();
      if (next === undefined) return;
      const { shard, from } = next;
      const replica = this.#host.replica(shard);
      // A request was faster, here or elsewhere.
      if (replica?.role !== 'follower' || replica.assignment.primary !== from) continue;
      this.#working++;
      this.#host
        .activate(shard)
        .catch((error) => {
          this.#host.io.log.info({ shard, error: String(error) }, 'a standby could not take over yet');
        })
        .finally(() => {
          this.#working--;
          this.#next();
        });
    }
  }
}
