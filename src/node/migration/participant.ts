/**
 * A node's part in moves and as standby: the calls and streams of `node/protocol.ts` that begin with `replica.`,
 * `standby.`, `transfer.` and `follow.`, on top of the node's core ({@link ParticipantHost}).
 *
 * Boundary: it decides nothing about who should own what; it follows orders that are still true. Every call may come
 * twice, late or for a migration long over.
 */
import type { Seq, ShardId } from '../../model/ids.ts';
import type { RpcHandlers, StreamContext } from '../../wire/rpc.ts';
import type { LocalReplica, ParticipantHost } from '../participant.ts';
import {
  type NodeCalls,
  type NodeStreams,
  type PrepareOrder,
  type ReplicaStatus,
  STANDBY,
  type StandbyOrder,
  type TakenOver,
  type TakeOver,
} from '../protocol.ts';
import { Carriers } from '../standby/carriers.ts';
import { Outboxes } from '../standby/outbox.ts';
import { serveDeltas } from './delta-stream.ts';
import { Follower } from './follower.ts';
import { type HandedOver, HandOffs } from './hand-off.ts';
import { messageOf, Refusal } from './refusal.ts';
import { takeOver } from './take-over.ts';
import { TransferSource } from './transfer.ts';
import { UserLatencies } from './user-latency.ts';
import { warmUp } from './warm-up.ts';

/** Followers a node takes at once; the executor's own limits are far below. */
export const FOLLOWERS_MAX = 1_000;
/** Standbys a node keeps. */
export const STANDBYS_MAX = 100_000;
/** Rate of one copy for a standby, bytes a second; how many are made at once is its primary's to say. */
const STANDBY_BYTES_PER_SECOND = 32 * 1024 * 1024;
/** How long an order to stand by waits for the copy to follow. */
const STANDBY_WAIT_MS = 20_000;
/** Of one gateway's call. */
const REPORTS_MAX = 1_000;
/** Longest a status call is held back. */
const WAIT_MS_MAX = 30_000;

type Calls = {
  [Method in Extract<keyof NodeCalls, `${'replica' | 'standby' | 'transfer' | 'follow'}.${string}`>]: (
    payload: NodeCalls[Method][0],
  ) => NodeCalls[Method][1] | Promise<NodeCalls[Method][1]>;
};

/**
 * The handlers to merge into a node's RPC server.
 *
 * @example
 * const { calls, streams } = migrationParticipant(host);
 * await serveRpc({ network, address, token, handlers: { calls: { ...own, ...calls }, streams } });
 */
export function migrationParticipant(host: ParticipantHost): RpcHandlers {
  const participant = new MigrationParticipant(host);
  const calls: Calls = {
    'replica.prepare': (order) => participant.prepare(order),
    'replica.status': ({ shard, waitMs, untilSeq }) => participant.status(shard, waitMs, untilSeq),
    'replica.warmUp': ({ migration, shard }) => participant.warmUp(migration, shard),
    'replica.latency': ({ gateway, reports }) => {
      for (const report of reports.slice(0, REPORTS_MAX)) participant.latencies.heard(gateway, report);
      return {};
    },
    'replica.handOff': (order) => participant.handOffs.handOff(order),
    'replica.drop': ({ migration, shard }) => participant.drop(migration, shard),
    'standby.follow': (order) => participant.standBy(order),
    'transfer.begin': ({ shard, migration, giveWay }) => participant.begin(shard, migration, giveWay),
    'transfer.chunk': ({ transfer, offset, bytes }) => participant.transfers.chunk(transfer, offset, bytes),
    'transfer.end': ({ transfer }) => {
      participant.transfers.end(transfer);
      return {};
    },
    'follow.readIndex': ({ shard }) => participant.readIndex(shard),
    'follow.recentQueries': ({ shard, limit }) => participant.recentQueries(shard, limit),
    'follow.takeOver': (order) => participant.takeOver(order),
    'follow.promoted': (promotion) => participant.promoted(promotion),
  };
  return {
    calls,
    streams: {
      'follow.deltas': (payload: NodeStreams['follow.deltas'][0], context: StreamContext) => {
        participant.countFor(payload.shard, payload.migration);
        return serveDeltas(host, payload, context, participant.outboxes);
      },
      'standby.deltas': (_payload: NodeStreams['standby.deltas'][0], context: StreamContext) =>
        participant.outboxes.carry(context),
    },
  };
}

class MigrationParticipant {
  readonly #host: ParticipantHost;
  readonly transfers: TransferSource;
  readonly handOffs: HandOffs;
  readonly latencies = new UserLatencies();
  readonly outboxes: Outboxes;
  readonly #carriers: Carriers;
  readonly #followers = new Map<ShardId, Follower>();
  /** Migration that a primary's counts of executed work belong to. */
  readonly #countedFor = new Map<ShardId, string>();
  readonly #promotions = new Map<ShardId, { epoch: number; promise: Promise<{ opened: boolean }> }>();

  constructor(host: ParticipantHost) {
    this.#host = host;
    this.transfers = new TransferSource(host);
    this.outboxes = new Outboxes(host.io.clock);
    host.onStandbyTraffic?.(this.outboxes.traffic);
    this.#carriers = new Carriers({
      clock: host.io.clock,
      log: host.io.log,
      peer: (address) => host.peer(address),
      needs: (process) => this.#standsByFor(process),
      deliver: ({ shard, entries, durableSeq }, from) => {
        const follower = this.#followers.get(shard);
        if (follower?.isStandby && follower.source.processId === from) follower.deliver(entries, durableSeq);
      },
    });
    this.handOffs = new HandOffs(host, (handed) => this.#followSuccessor(handed));
  }

  prepare(order: PrepareOrder): ReplicaStatus | Promise<ReplicaStatus> {
    const replica = this.#host.replica(order.shard);
    const follower = this.#followers.get(order.shard);
    const follows = follower?.source.processId === order.source && follower.phase !== 'failed';
    // A standby of the source has the copy already: it is the target from now on.
    if (follows && follower.isStandby && replica?.role === 'follower') {
      follower.serveAs(order.migration);
      replica.state.resetExecuted();
      this.#host.repurposeFollower?.(order.shard, order.migration, follower.source);
    }
    const going = follows && follower.migration === order.migration;
    // Already primary or opening: the move has happened, or the order is late. The status says so.
    if (!going && (!replica || replica.role === 'follower')) this.#follow(order, replica);
    return this.status(order.shard, order.waitMs);
  }

  #follow(order: PrepareOrder, replica: LocalReplica | undefined): void {
    const { shard } = order;
    if (order.source === this.#host.self.processId) throw new Refusal('refused', 'the source is the target');
    const earlier = this.#followers.get(shard);
    if (!earlier && this.#moving >= FOLLOWERS_MAX)
      throw new Refusal('refused', `this node follows ${FOLLOWERS_MAX} shards already; try later`);
    earlier?.stop();
    if (replica) this.#host.dropFollower(shard);
    const follower = this.#newFollower(
      shard,
      order.migration,
      { processId: order.source, address: order.sourceAddress },
      order.bytesPerSecond,
      order.giveWay,
    );
    follower.start(earlier);
  }

  /** Late, double and stale orders are harmless: whoever is named follows whoever is primary, and asks it for proof. */
  async standBy(order: StandbyOrder): Promise<{ following: boolean; reason?: string }> {
    const { shard } = order;
    const source = { processId: order.primary, address: order.primaryAddress };
    const replica = this.#host.replica(shard);
    const earlier = this.#followers.get(shard);
    if (order.primary === this.#host.self.processId) return { following: false, reason: 'it is the primary' };
    if (replica && (replica.role !== 'follower' || replica.assignment.epoch > order.epoch))
      return { following: false, reason: `${replica.role} here, epoch ${replica.assignment.epoch}` };
    if (earlier && !earlier.isStandby && earlier.phase !== 'failed')
      return { following: false, reason: `it follows for ${earlier.migration}` };
    let follower = earlier;
    if (!earlier || earlier.phase === 'failed' || earlier.source.processId !== order.primary) {
      const refusal =
        this.#host.refusesStandby?.() ??
        (this.#followers.size >= STANDBYS_MAX ? `it keeps ${STANDBYS_MAX} standbys already` : undefined);
      if (refusal !== undefined && !replica) return { following: false, reason: refusal };
      follower = this.#newFollower(shard, STANDBY, source, STANDBY_BYTES_PER_SECOND);
      // A copy that followed an earlier primary holds a part of the one log: it goes on from there.
      if (replica) {
        this.#host.repurposeFollower?.(shard, STANDBY, source);
        follower.startFromHere();
      } else follower.start(earlier);
    }
    await follower!.settled(0, STANDBY_WAIT_MS);
    return follower!.phase === 'following'
      ? { following: true }
      : { following: false, reason: follower!.error ?? follower!.phase };
  }

  #standsByFor(process: string): boolean {
    for (const follower of this.#followers.values())
      if (follower.isStandby && follower.source.processId === process) return true;
    return false;
  }

  /** Followers for moves; standbys have a limit of their own. */
  get #moving(): number {
    let count = 0;
    for (const follower of this.#followers.values()) if (!follower.isStandby) count++;
    return count;
  }

  #newFollower(
    shard: ShardId,
    migration: string,
    source: { processId: string; address: string },
    bytesPerSecond: number,
    giveWay = true,
  ): Follower {
    const follower = new Follower({
      host: this.#host,
      shard,
      migration,
      source,
      bytesPerSecond,
      giveWay,
      onOrphan: () => this.#let(follower),
      // A move's failure is for whoever ordered it to see; a standby's primary just orders another.
      onFailed: () => {
        if (follower.isStandby) this.#end(follower);
      },
    });
    this.#followers.get(shard)?.stop();
    this.#followers.set(shard, follower);
    // First of all, so that what the copy's own stream leaves out comes this way.
    if (follower.isStandby) this.#carriers.ensure(source);
    return follower;
  }

  async status(shard: ShardId, waitMs = 0, untilSeq: Seq = 0): Promise<ReplicaStatus> {
    const follower = this.#followers.get(shard);
    follower?.touch();
    if (follower && waitMs > 0) await follower.settled(untilSeq, Math.min(waitMs, WAIT_MS_MAX));
    return this.#statusNow(shard);
  }

  #statusNow(shard: ShardId): ReplicaStatus {
    const follower = this.#followers.get(shard);
    const replica = this.#host.replica(shard);
    const status: ReplicaStatus = {
      shard,
      role: replica?.role ?? 'none',
      epoch: replica?.assignment.epoch ?? 0,
      appliedSeq: replica?.state.appliedSeq ?? 0,
      durableSeq: replica?.state.durableSeq ?? 0,
      bytesTransferred: follower?.bytesTransferred ?? 0,
      bytesTotal: follower?.bytesTotal ?? 0,
      stateBytes: replica?.state.stateBytes ?? 0,
      executed: replica?.state.executed() ?? { commands: nothing(), queries: nothing() },
      users: replica?.state.users() ?? 0,
    };
    const latency = this.latencies.of(shard);
    if (latency !== undefined) status.latency = latency;
    if (follower) {
      status.phase = follower.phase;
      status.sourceSeq = follower.sourceSeq;
      if (follower.error !== undefined) status.error = follower.error;
    }
    return status;
  }

  warmUp(migration: string, shard: ShardId) {
    const follower = this.#followers.get(shard);
    const replica = this.#host.replica(shard);
    if (follower?.migration !== migration || replica?.role !== 'follower')
      throw new Refusal('no-replica', `no follower of ${shard} for ${migration} is here to warm up`);
    follower.touch();
    return warmUp(this.#host, follower, replica);
  }

  /** Never drops a primary: a late order of a migration that succeeded finds one. */
  drop(migration: string, shard: ShardId): Record<string, never> {
    this.transfers.endAll(shard, migration);
    this.latencies.forget(shard, migration);
    this.handOffs.callOff(shard, migration);
    if (this.#countedFor.get(shard) === migration) this.#countedFor.delete(shard);
    const follower = this.#followers.get(shard);
    if (follower?.migration !== migration) return {};
    this.#let(follower);
    return {};
  }

  /** The move is over for this follower: it stays as standby where the assignment names this process, or goes. */
  #let(follower: Follower): void {
    const { shard } = follower;
    const replica = this.#host.replica(shard);
    const named = replica?.assignment.standbys.includes(this.#host.self.processId) === true;
    if (!named || replica.role !== 'follower' || follower.phase !== 'following') {
      this.#end(follower);
      return;
    }
    this.#carriers.ensure(follower.source);
    follower.serveAs(STANDBY);
    this.#host.repurposeFollower?.(shard, STANDBY, follower.source);
  }

  #end(follower: Follower): void {
    const { shard } = follower;
    follower.stop();
    if (this.#followers.get(shard) !== follower) return;
    this.#followers.delete(shard);
    this.#carriers.release(follower.source.processId);
    if (this.#host.replica(shard)?.role === 'follower') this.#host.dropFollower(shard);
  }

  begin(shard: ShardId, migration: string, giveWay?: boolean) {
    this.countFor(shard, migration);
    return this.transfers.begin(shard, migration, giveWay);
  }

  /** Both sides of a move then count from the same moment: what the gates compare. */
  countFor(shard: ShardId, migration: string): void {
    if (migration === STANDBY || this.#countedFor.get(shard) === migration) return;
    const replica = this.#host.replica(shard);
    if (!replica) return;
    this.#countedFor.set(shard, migration);
    replica.state.resetExecuted();
  }

  /** OWNERSHIP rule 4: the seq is read first, then it is proven that this is still the primary; sealed says nothing. */
  async readIndex(shard: ShardId): Promise<{ epoch: number; seq: Seq }> {
    const replica = this.#host.replica(shard);
    if (!replica) throw new Refusal('no-replica', `${shard} is not on ${this.#host.self.processId}`);
    if (replica.role !== 'primary') throw new Refusal('not-primary', `${shard} is ${replica.role} here`);
    const { epoch, cell } = replica.assignment;
    const seq = replica.state.durableSeq;
    const proof =
      this.#host.mayAnswer?.(shard) ??
      this.#host
        .cell(cell)
        .raiseFence(shard, epoch)
        .then((fence) => fence === epoch);
    const valid = proof === true || (await proof);
    if (!valid || this.#host.replica(shard) !== replica || replica.assignment.epoch !== epoch)
      throw new Refusal('not-primary', `${shard} has another primary by now`);
    return { epoch, seq };
  }

  recentQueries(shard: ShardId, limit: number) {
    const replica = this.#host.replica(shard);
    if (!replica) throw new Refusal('no-replica', `${shard} is not on ${this.#host.self.processId}`);
    return { queries: replica.state.recentQueries(Math.max(0, Math.min(limit, 1_000))) };
  }

  takeOver(order: TakeOver): Promise<TakenOver> {
    const { shard, seq } = order;
    const promote = ({ epoch, cell, standbys }: TakeOver['next'], version: number) => {
      this.promoted({ shard, epoch, seq, version, cell, standbys }).catch((error) => {
        this.#host.io.log.info({ shard, reason: messageOf(error) }, 'taken over, and not opened here');
      });
    };
    return takeOver(order, { host: this.#host, follower: this.#followers.get(shard), promote });
  }

  promoted(order: NodeCalls['follow.promoted'][0]): Promise<{ opened: boolean }> {
    const running = this.#promotions.get(order.shard);
    if (running?.epoch === order.epoch) return running.promise;
    const promise = this.#promote(order).finally(() => this.#promotions.delete(order.shard));
    this.#promotions.set(order.shard, { epoch: order.epoch, promise });
    return promise;
  }

  async #promote({
    shard,
    epoch,
    seq,
    version,
    cell,
    standbys = [],
  }: NodeCalls['follow.promoted'][0]): Promise<{ opened: boolean }> {
    const replica = this.#host.replica(shard);
    if (replica && replica.role !== 'follower' && replica.assignment.epoch >= epoch)
      return { opened: replica.role !== 'opening' };
    // Without a follower the node opens from the log, by its watch or with the next request. Opening: by its watch.
    if (replica?.role !== 'follower' && replica?.role !== 'opening') return { opened: false };
    // Late word of a move that is over: what is followed here by now is a later primary.
    if (replica.assignment.epoch >= epoch) return { opened: true };
    const follower = this.#followers.get(shard);
    follower?.stop();
    this.#followers.delete(shard);
    const primary = this.#host.self.processId;
    await this.#host.promote(shard, { shard, epoch, version, cell, primary, standbys }, seq);
    return { opened: true };
  }

  /** The old primary follows the new one, so that handing back is the same protocol the other way round. */
  #followSuccessor({ order, next }: HandedOver): void {
    if (this.#host.replica(order.shard)?.role !== 'follower') return;
    this.#newFollower(
      order.shard,
      order.migration,
      { processId: next.primary, address: order.targetAddress },
      Number.MAX_SAFE_INTEGER,
    ).startFromHere();
  }
}

function nothing() {
  return { count: 0, errors: 0, handlerMsSum: 0, handlerMsP99: 0 };
}
