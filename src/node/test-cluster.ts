/**
 * For this folder's tests: nodes, stores and a small runtime in one process, over real loopback sockets, so that cores,
 * wire and stores meet as they do in production. The runtime is a counter with the gates of a real shard and none of
 * its features.
 */
import type { Network } from '../io/io.ts';
import { realIo } from '../io/real.ts';
import { CONTROL_KEYS, decodeRecord } from '../model/records.ts';
import type { ShardReply, ShardRequest } from '../model/request.ts';
import {
  Demoted,
  type HeldRequest,
  type ReplicaLoad,
  type ShardHost,
  type ShardReplica,
  type ShardRuntime,
} from '../shard/contract.ts';
import { LocalCellStore, LocalControlStore } from '../store/local.ts';
import { SqliteCell } from '../store/sqlite/cell-engine.ts';
import { SqliteControl } from '../store/sqlite/control-engine.ts';
import type { CellStore, LogEntry, StoredSnapshot } from '../store/store.ts';
import { type RpcHandlers, serveRpc } from '../wire/rpc.ts';
import type { NodeConfig, NodeLimits } from './config.ts';
import { SkeinNode } from './node.ts';
import type { ParticipantHost } from './participant.ts';

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const NO_STATS = { count: 0, errors: 0, handlerMsSum: 0, handlerMsP99: 0 };

/** `add` counts up and is remembered by its key; `get` reads. The delta is the key. */
class CounterReplica implements ShardReplica {
  readonly shard: string;
  epoch: number;
  appliedSeq = 0;
  durableSeq = 0;
  stateBytes = 8;
  lastUsedMs = 0;
  #value = 0;
  readonly #keys = new Map<string, number>();
  readonly #host: ShardHost;
  #waiting: { seq: number; resolve: () => void; reject: (error: unknown) => void }[] = [];
  #sealed = false;
  #held: HeldRequest[] = [];
  #load = { commands: 0, queries: 0 };

  constructor(shard: string, epoch: number, host: ShardHost, snapshot?: StoredSnapshot) {
    this.shard = shard;
    this.epoch = epoch;
    this.#host = host;
    this.lastUsedMs = host.monotonicMs();
    if (snapshot) {
      const [value, keys] = JSON.parse(decoder.decode(snapshot.bytes)) as [number, [string, number][]];
      this.#value = value;
      for (const [key, result] of keys) this.#keys.set(key, result);
      this.appliedSeq = snapshot.seq;
      this.durableSeq = snapshot.seq;
    }
  }

  get pendingCommands(): number {
    return this.#waiting.length + this.#held.length;
  }

  async execute(request: ShardRequest): Promise<ShardReply> {
    if (this.#sealed) {
      return new Promise((resolve, reject) => this.#held.push({ request, resolve, reject }));
    }
    this.lastUsedMs = this.#host.monotonicMs();
    if (request.handler === 'get') {
      this.#load.queries++;
      const seq = this.appliedSeq;
      const value = this.#value;
      await this.#gate(seq, false);
      const may = this.#host.mayAnswer();
      if (may !== true && !(await may)) throw new Demoted(false);
      return this.#reply(value, seq);
    }
    this.#load.commands++;
    const key = request.idempotency?.kind === 'client' ? request.idempotency.key : '';
    const known = this.#keys.get(key);
    if (key !== '' && known !== undefined) {
      await this.#gate(this.appliedSeq, true);
      return { ...this.#reply(known, this.appliedSeq), replayed: true };
    }
    const seq = ++this.appliedSeq;
    const value = ++this.#value;
    if (key !== '') this.#keys.set(key, value);
    this.#host.append(seq, encoder.encode(key));
    if (seq % 50 === 0) this.#host.snapshotWanted();
    await this.#gate(seq, true);
    return this.#reply(value, seq);
  }

  #gate(seq: number, executed: boolean): Promise<void> | undefined {
    if (seq <= this.durableSeq) return undefined;
    return new Promise((resolve, reject) =>
      this.#waiting.push({ seq, resolve, reject: () => reject(new Demoted(executed)) }),
    );
  }

  #reply(value: number, seq: number): ShardReply {
    return { status: 200, body: encoder.encode(String(value)), epoch: this.epoch, seq };
  }

  async queryAt(_request: ShardRequest, atLeastSeq: number): Promise<ShardReply | undefined> {
    return this.appliedSeq >= atLeastSeq ? this.#reply(this.#value, this.appliedSeq) : undefined;
  }

  durable(seq: number): void {
    this.durableSeq = Math.max(this.durableSeq, seq);
    const open = this.#waiting.filter((waiting) => waiting.seq <= seq);
    this.#waiting = this.#waiting.filter((waiting) => waiting.seq > seq);
    for (const { resolve } of open) resolve();
  }

  apply(entries: readonly LogEntry[]): void {
    for (const { seq, delta } of entries) {
      if (seq !== this.appliedSeq + 1) throw new RangeError(`a gap: ${seq} after ${this.appliedSeq}`);
      this.appliedSeq = seq;
      this.durableSeq = seq;
      this.#value++;
      const key = decoder.decode(delta);
      if (key !== '') this.#keys.set(key, this.#value);
    }
  }

  async snapshot(): Promise<StoredSnapshot> {
    while (this.durableSeq < this.appliedSeq) await this.#gate(this.appliedSeq, true);
    const state = [this.#value, [...this.#keys]];
    return { seq: this.appliedSeq, bytes: encoder.encode(JSON.stringify(state)) };
  }

  promote(epoch: number): void {
    this.epoch = epoch;
    this.#sealed = false;
  }

  release(which: (request: ShardRequest) => boolean): HeldRequest[] {
    const held = this.#held.filter(({ request }) => which(request));
    this.#held = this.#held.filter((each) => !held.includes(each));
    return held;
  }

  async seal(): Promise<void> {
    this.#sealed = true;
    await this.#gate(this.appliedSeq, true);
  }

  unseal(): void {
    this.#sealed = false;
    for (const { request, resolve, reject } of this.#held.splice(0))
      this.execute(request).then(resolve, reject);
  }

  demote(): HeldRequest[] {
    for (const { reject } of this.#waiting.splice(0)) reject(undefined);
    return this.#held.splice(0);
  }

  follow(): void {
    this.#sealed = false;
  }

  recentQueries(): [] {
    return [];
  }

  async warmUp(): Promise<void> {}

  rehearse() {
    return { status: 200, body: encoder.encode(String(this.#value)), handlerMs: 0 };
  }

  takeLoad(): ReplicaLoad {
    const { commands, queries } = this.#load;
    this.#load = { commands: 0, queries: 0 };
    const byOrigin = new Map<string, [number, number]>([['here', [commands, queries]]]);
    return { commands, queries, rejected: 0, byOrigin, cpuMicros: 0, bytesIn: 0, bytesOut: 0, writeBytes: 0 };
  }

  executed() {
    return { commands: NO_STATS, queries: NO_STATS };
  }

  resetExecuted(): void {}

  users(): number {
    return 0;
  }

  close(): void {}
}

export const counterRuntime: ShardRuntime = {
  manifest: () => ({
    count: { version: 1, handlers: { add: 'command', get: 'query' }, authorize: false },
  }),
  async open({ shard, epoch, role, opening, host }) {
    const replica = new CounterReplica(shard, epoch, host, opening.snapshot);
    replica.apply(opening.entries);
    void role;
    return replica;
  },
  admission: () => undefined,
};

/** One control store and some cells, in memory; `cells.cell(id)` makes what is missing. */
export function memoryStores() {
  const io = realIo({ logLevel: 'silent' });
  const control = new LocalControlStore(new SqliteControl({ now: () => io.clock.monotonicMs() }), io);
  const made = new Map<string, CellStore>();
  return {
    control,
    cells: {
      cell(id: string): CellStore {
        let cell = made.get(id);
        if (cell === undefined) {
          cell = new LocalCellStore(new SqliteCell({}), io);
          made.set(id, cell);
        }
        return cell;
      },
    },
    async assignment(shard: string) {
      const entry = await control.get(CONTROL_KEYS.own(shard));
      return entry && decodeRecord<{ epoch: number; primary: string; cell: string }>(entry.value);
    },
    close() {
      for (const cell of made.values()) cell.close();
      control.close();
    },
  };
}

export type MemoryStores = ReturnType<typeof memoryStores>;

export interface TestNode {
  node: SkeinNode;
  processId: string;
  address: string;
  host: ParticipantHost;
  stop(): Promise<void>;
  /** Closes its listener and says nothing to the stores. */
  crash(): Promise<void>;
}

export async function startTestNode(
  stores: Pick<MemoryStores, 'control' | 'cells'>,
  name: string,
  options: Partial<NodeConfig> & {
    limits?: Partial<NodeLimits>;
    runtime?: ShardRuntime;
    participant?: (host: ParticipantHost) => RpcHandlers;
    network?: Network;
  } = {},
): Promise<TestNode> {
  const { runtime, participant, network, ...rest } = options;
  const io = realIo({ logLevel: process.env.SKEIN_LOG ?? 'silent', network });
  const handlers: RpcHandlers = {};
  const listener = await serveRpc({ network: io.network, address: '127.0.0.1:0', token: 't', handlers });
  const processId = `${name}.${Math.floor(io.random.next() * 1e9).toString(36)}`;
  const config: NodeConfig = {
    name,
    processId,
    region: 'here',
    zone: 'a',
    address: listener.address,
    httpAddress: '',
    homeCell: 'cell-here',
    capacity: { cpu: 1, memoryBytes: 1e9, networkBytesPerSecond: 1e9 },
    usdPerHour: 0.1,
    token: 't',
    ...rest,
  };
  const node = new SkeinNode({
    io,
    config,
    runtime: runtime ?? counterRuntime,
    control: stores.control,
    cells: stores.cells,
    participant,
  });
  handlers.calls = node.handlers().calls;
  handlers.streams = node.handlers().streams;
  await node.start();
  return {
    node,
    processId,
    address: listener.address,
    host: node.host,
    async stop() {
      await listener.close();
      await node.stop();
    },
    async crash() {
      await listener.close();
      node.abandon();
    },
  };
}

export function request(shard: string, handler: string, key?: string): ShardRequest {
  return {
    shard,
    handler,
    input: new Uint8Array(0),
    method: 'post',
    origin: 'here',
    userHash: 1,
    hops: 0,
    ...(key === undefined ? {} : { idempotency: { kind: 'client', key } }),
  };
}

export function textOf(reply: ShardReply): string {
  return decoder.decode(reply.body);
}
