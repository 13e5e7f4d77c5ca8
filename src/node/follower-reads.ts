/**
 * Queries answered by a follower: by a read index of its primary, or, where they allow it, from a state that is proven
 * to have been the newest not long ago (`standby/freshness.ts`).
 *
 * Undefined means: not from here, ask the primary.
 */
import type { Clock } from '../io/io.ts';
import type { ShardId } from '../model/ids.ts';
import type { ShardReply, ShardRequest } from '../model/request.ts';
import { Demoted, type ShardRuntime } from '../shard/contract.ts';
import { RpcError } from '../wire/rpc.ts';
import type { Assignments } from './assignments.ts';
import type { Peers } from './peers.ts';
import type { HostedReplica } from './replica.ts';

/** A follower waits so long for its primary's durable seq before it lets the primary answer. */
const FOLLOWER_WAIT_MS = 250;
const READ_INDEX_TIMEOUT_MS = 1_000;

export interface FollowerReadsOptions {
  clock: Clock;
  services: ReturnType<ShardRuntime['manifest']>;
  assignments: Assignments;
  peers: Peers;
  onActive: (replica: HostedReplica) => void;
}

export class FollowerReads {
  readonly #o: FollowerReadsOptions;
  /** Read indexes under way at sources: those who ask meanwhile share the next one. */
  readonly #readIndexes = new Map<ShardId, { under: Promise<number>; next?: Promise<number> }>();

  constructor(options: FollowerReadsOptions) {
    this.#o = options;
  }

  /** The primary's durable seq is learnt after the question came: the answer is as fresh as the primary's own. */
  async fresh(
    replica: HostedReplica,
    request: ShardRequest,
    address: string,
  ): Promise<ShardReply | undefined> {
    try {
      const seq = await this.#readIndex(replica, address);
      if (!replica.active) this.#o.onActive(replica);
      const reply = await replica.state.queryAt(request, seq, FOLLOWER_WAIT_MS);
      if (reply === undefined) return undefined;
      if (request.staleMsMax !== undefined) reply.stalenessMs = 0;
      reply.epoch = replica.assignment.epoch;
      return reply;
    } catch (error) {
      if (error instanceof RpcError || error instanceof Demoted) return undefined;
      throw error;
    }
  }

  /** A query that allows it, from what is here, unless that is too old or has not come as far as the query asks. */
  async stale(replica: HostedReplica, request: ShardRequest): Promise<ShardReply | undefined> {
    const allowed = this.#o.services[request.shard.slice(0, request.shard.indexOf('/'))]?.staleReads;
    if (request.staleMsMax === undefined || allowed === undefined || !replica.fed) return undefined;
    const staleMsMax = Math.min(request.staleMsMax, allowed.atMostMs);
    const { clock } = this.#o;
    const asOfMs = replica.freshness.asOfMs(replica.state.appliedSeq);
    const leftMs = asOfMs + staleMsMax - clock.monotonicMs();
    const primary = this.#o.assignments.node(replica.assignment.primary);
    // Ahead of time, so that a shard which is asked often keeps nobody waiting.
    if (leftMs < staleMsMax / 2 && leftMs >= 0 && primary !== undefined) {
      this.#readIndex(replica, primary.address).catch(() => {});
    }
    if (leftMs < 0) return undefined;
    if (!replica.active) this.#o.onActive(replica);
    try {
      const waitMs = Math.min(FOLLOWER_WAIT_MS, leftMs);
      const reply = await replica.state.queryAt(request, 0, waitMs);
      if (reply === undefined) return undefined;
      reply.epoch = replica.assignment.epoch;
      reply.stalenessMs = Math.max(0, Math.ceil(Math.min(staleMsMax, clock.monotonicMs() - asOfMs)));
      return reply;
    } catch (error) {
      if (error instanceof Demoted) return undefined;
      throw error;
    }
  }

  #readIndex(replica: HostedReplica, address: string): Promise<number> {
    const known = this.#readIndexes.get(replica.shard);
    if (known === undefined) return this.#startReadIndex(replica, address);
    const start = () => this.#startReadIndex(replica, address);
    known.next ??= known.under.then(start, start);
    return known.next;
  }

  #startReadIndex(replica: HostedReplica, address: string): Promise<number> {
    const { shard } = replica;
    const askedMs = this.#o.clock.monotonicMs();
    const under = this.#o.peers
      .peer(address)
      .call('follow.readIndex', { shard }, { timeoutMs: READ_INDEX_TIMEOUT_MS })
      .then(({ seq }) => {
        replica.freshness.heard(askedMs, seq);
        return seq;
      });
    const entry = { under };
    this.#readIndexes.set(shard, entry);
    const done = () => {
      if (this.#readIndexes.get(shard) === entry) this.#readIndexes.delete(shard);
    };
    under.then(done, done);
    return under;
  }
}
