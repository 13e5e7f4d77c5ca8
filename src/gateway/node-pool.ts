/**
 * The nodes a gateway talks to: one connection each, its health, its requests under way, and the requests that wait
 * for news of it.
 *
 * Invariants:
 *   P1  a waiting request wakes at most once a parking: by news of its node or shard, or by its own timer
 *   P2  while a node is unhealthy one request at a time goes to it, as a probe
 *   P3  a connection is closed only after its node's key is gone, with a grace for last replies
 */
import type { Clock, Io } from '../io/io.ts';
import type { ProcessId, ShardId } from '../model/ids.ts';
import type { NodeRecord } from '../model/records.ts';
import type { ShardReply, ShardRequest } from '../model/request.ts';
import type { LatencyReport } from '../node/protocol.ts';
import { NodeHealth } from '../routing/health.ts';
import { RpcClient } from '../wire/rpc.ts';

/** Replies of a node that ended itself may still be on their way when its key goes. */
export const LAST_REPLIES_MS = 250;

const REPORT_TIMEOUT_MS = 2_000;

/** A way to one node. */
export interface GatewayPeer {
  /** Rejects with an `RpcError`. */
  execute(request: ShardRequest, timeoutMs: number): Promise<ShardReply>;
  /** Tells the node what users waited; nobody waits for it, and a report that is lost is made good by the next. */
  report(gateway: string, reports: LatencyReport[]): void;
  /** Called when a connection ends, or could not be made; all its calls have rejected. */
  onDown: (reason: string) => void;
  close(): void;
}

export type PeerFactory = (address: string) => GatewayPeer;

/** Peers over the wire, as in production and in the simulated world. */
export function wirePeers(options: {
  io: Pick<Io, 'network' | 'clock'>;
  token: string;
  identity: string;
}): PeerFactory {
  return (address) => {
    const { io, token, identity } = options;
    return new WirePeer(new RpcClient({ network: io.network, clock: io.clock, address, token, identity }));
  };
}

class WirePeer implements GatewayPeer {
  onDown: (reason: string) => void = () => {};
  readonly #client: RpcClient;

  constructor(client: RpcClient) {
    this.#client = client;
    client.onDown = (reason) => this.onDown(reason);
  }

  execute(request: ShardRequest, timeoutMs: number): Promise<ShardReply> {
    return this.#client.call<ShardReply>('shard.execute', request, { timeoutMs });
  }

  report(gateway: string, reports: LatencyReport[]): void {
    this.#client
      .call('replica.latency', { gateway, reports }, { timeoutMs: REPORT_TIMEOUT_MS })
      .catch(() => {});
  }

  close(): void {
    this.#client.close();
  }
}

export interface PooledNode {
  readonly processId: ProcessId;
  readonly address: string;
  readonly peer: GatewayPeer;
  readonly health: NodeHealth;
  /** Requests sent and not answered. */
  inFlight: number;
  /** Connections that ended: tells a broken call from one without an answer. */
  breaks: number;
  /** Since when it has been unhealthy. */
  downSinceMs: number;
}

/** A request that waits. `wake` is called once. */
export interface Waiter {
  readonly shard: ShardId;
  wake(): void;
}

export class NodePool {
  readonly #clock: Clock;
  readonly #connect: PeerFactory;
  readonly #nodes = new Map<ProcessId, PooledNode>();
  readonly #waitingForNode = new Map<ProcessId, Set<Waiter>>();
  readonly #waitingForShard = new Map<ShardId, Set<Waiter>>();
  readonly #probeTimers = new Map<ProcessId, () => void>();

  constructor(clock: Clock, connect: PeerFactory) {
    this.#clock = clock;
    this.#connect = connect;
  }

  /** Whether a request may be sent to the process now, be it as a probe. A node never talked to counts as healthy. */
  usable(process: ProcessId): boolean {
    const node = this.#nodes.get(process);
    return node === undefined || node.health.healthy || this.#clock.monotonicMs() >= node.health.retryAtMs;
  }

  get(record: NodeRecord): PooledNode {
    const known = this.#nodes.get(record.processId);
    if (known && known.address === record.address) return known;
    known?.peer.close();
    const node: PooledNode = {
      processId: record.processId,
      address: record.address,
      peer: this.#connect(record.address),
      health: new NodeHealth(),
      inFlight: 0,
      breaks: 0,
      downSinceMs: 0,
    };
    node.peer.onDown = () => {
      node.breaks++;
      this.failed(node);
    };
    this.#nodes.set(record.processId, node);
    return node;
  }

  peek(process: ProcessId): PooledNode | undefined {
    return this.#nodes.get(process);
  }

  /** The node answered. */
  succeeded(node: PooledNode): void {
    if (node.health.succeeded()) this.#wakeAll(this.#waitingForNode.get(node.processId));
  }

  /** A connection broke, or a call had no answer in time. */
  failed(node: PooledNode): void {
    const nowMs = this.#clock.monotonicMs();
    if (node.health.failed(nowMs)) node.downSinceMs = nowMs;
    if (!node.health.healthy) this.#armProbe(node);
  }

  /** The node's key is gone: those who wait for it look again, and its connection ends after the grace (P3). */
  gone(process: ProcessId): void {
    this.#wakeAll(this.#waitingForNode.get(process));
    const node = this.#nodes.get(process);
    if (!node) return;
    this.#clock.setTimer(LAST_REPLIES_MS, () => {
      if (this.#nodes.get(process) !== node) return;
      this.#nodes.delete(process);
      this.#probeTimers.get(process)?.();
      this.#probeTimers.delete(process);
      node.peer.close();
    });
  }

  /** The node's key is (again) there. */
  ready(process: ProcessId): void {
    this.#wakeAll(this.#waitingForNode.get(process));
  }

  /** The shard's assignment or shift changed. */
  shardChanged(shard: ShardId): void {
    if (this.#waitingForShard.size > 0) this.#wakeAll(this.#waitingForShard.get(shard));
  }

  park(waiter: Waiter, process: ProcessId): void {
    addTo(this.#waitingForNode, process, waiter);
    addTo(this.#waitingForShard, waiter.shard, waiter);
    const node = this.#nodes.get(process);
    if (node && !node.health.healthy) this.#armProbe(node);
  }

  /** Takes a waiter out without waking it. */
  unpark(waiter: Waiter, process: ProcessId): void {
    removeFrom(this.#waitingForNode, process, waiter);
    removeFrom(this.#waitingForShard, waiter.shard, waiter);
  }

  get waiting(): number {
    let count = 0;
    for (const waiters of this.#waitingForNode.values()) count += waiters.size;
    return count;
  }

  unhealthy(): number {
    let count = 0;
    for (const node of this.#nodes.values()) if (!node.health.healthy) count++;
    return count;
  }

  close(): void {
    for (const cancel of this.#probeTimers.values()) cancel();
    this.#probeTimers.clear();
    for (const node of this.#nodes.values()) node.peer.close();
    this.#nodes.clear();
    for (const waiters of [...this.#waitingForNode.values()]) this.#wakeAll(waiters);
  }

  /** When the wait is over, one waiter goes ahead as the probe (P2). */
  #armProbe(node: PooledNode): void {
    const process = node.processId;
    if (this.#probeTimers.has(process) || !this.#waitingForNode.has(process)) return;
    const delayMs = Math.max(1, node.health.retryAtMs - this.#clock.monotonicMs());
    const cancel = this.#clock.setTimer(delayMs, () => {
      this.#probeTimers.delete(process);
      if (this.#nodes.get(process) !== node || node.health.healthy) return;
      const [first] = this.#waitingForNode.get(process) ?? [];
      first?.wake();
      // The waiter may have gone elsewhere; then the next one is the probe.
      this.#armProbe(node);
    });
    this.#probeTimers.set(process, cancel);
  }

  #wakeAll(waiters: Set<Waiter> | undefined): void {
    if (waiters) for (const waiter of [...waiters]) waiter.wake();
  }
}

function addTo<Key>(map: Map<Key, Set<Waiter>>, key: Key, waiter: Waiter): void {
  const waiters = map.get(key);
  if (waiters) waiters.add(waiter);
  else map.set(key, new Set([waiter]));
}

function removeFrom<Key>(map: Map<Key, Set<Waiter>>, key: Key, waiter: Waiter): void {
  const waiters = map.get(key);
  if (waiters?.delete(waiter) && waiters.size === 0) map.delete(key);
}
