/**
 * A gateway among fake nodes over the real wire: an in-memory control store with a real watch, nodes that answer by
 * script, and no timing. For tests of routing and retries alone.
 */
import { Gateway, type GatewayConfig } from '../../src/gateway/gateway.ts';
import type { Io, Listener } from '../../src/io/io.ts';
import { realIo } from '../../src/io/real.ts';
import { CONTROL_KEYS, encodeRecord, type NodeRecord } from '../../src/model/records.ts';
import type { ShardReply, ShardRequest } from '../../src/model/request.ts';
import { AWS_THREE_REGIONS } from '../../src/model/topology.ts';
import {
  type ControlStore,
  type KeyValue,
  StoreError,
  type Transaction,
  type TransactionResult,
  type WatchEvent,
} from '../../src/store/store.ts';
import { serveRpc } from '../../src/wire/rpc.ts';

export const TOKEN = 'test-token';

/** Holds keys in a Map; `away` makes every call fail and holds events back, as a dead store does. */
export class MemoryControl implements ControlStore {
  readonly keys = new Map<string, KeyValue>();
  readonly reads: string[] = [];
  away = false;
  #revision = 0;
  readonly #watchers = new Set<{ prefixes: string[]; onEvent: (event: WatchEvent) => void }>();

  put(key: string, record: object): void {
    const entry = { key, value: encodeRecord(record), version: ++this.#revision };
    this.keys.set(key, entry);
    this.#tell(key, { type: 'put', entry, revision: entry.version });
  }

  remove(key: string): void {
    if (this.keys.delete(key)) this.#tell(key, { type: 'delete', key, revision: ++this.#revision });
  }

  #tell(key: string, event: WatchEvent): void {
    for (const { prefixes, onEvent } of this.#watchers)
      if (prefixes.some((prefix) => key.startsWith(prefix))) onEvent(event);
  }

  #check(): void {
    if (this.away) throw new StoreError('unavailable', 'the store is away');
  }

  async get(key: string): Promise<KeyValue | undefined> {
    this.#check();
    this.reads.push(key);
    return this.keys.get(key);
  }

  async list(prefix: string, options: { limit?: number; after?: string } = {}) {
    this.#check();
    const { limit = Number.POSITIVE_INFINITY, after = '' } = options;
    const matching = [...this.keys.values()]
      .filter((entry) => entry.key.startsWith(prefix) && entry.key > after)
      .sort((a, b) => (a.key < b.key ? -1 : 1));
    return { entries: matching.slice(0, limit), revision: this.#revision, more: matching.length > limit };
  }

  async transact(transaction: Transaction): Promise<TransactionResult> {
    this.#check();
    for (const operation of transaction.operations) {
      if ('put' in operation) this.put(operation.put, JSON.parse(operation.value) as object);
      else this.remove(operation.delete);
    }
    return { succeeded: true, revision: this.#revision, read: [] };
  }

  watch(
    prefixes: string[],
    _fromRevision: number,
    onEvent: (event: WatchEvent) => void,
    onProgress?: (revision: number) => void,
  ) {
    const watcher = { prefixes, onEvent };
    this.#watchers.add(watcher);
    onProgress?.(this.#revision);
    return { close: () => void this.#watchers.delete(watcher) };
  }

  async grantLease(): Promise<void> {}
  async keepAlive(): Promise<void> {}
  async revokeLease(): Promise<void> {}
  close(): void {}
}

export type Script = (request: ShardRequest) => ShardReply | Promise<ShardReply>;

/** A node that keeps what it got and answers as told. */
export class FakeNode {
  readonly record: NodeRecord;
  readonly got: ShardRequest[] = [];
  script: Script = () => this.reply();
  readonly #io: Io;
  readonly #control: MemoryControl;
  #listener: Listener | undefined;
  #arrived: (() => void)[] = [];

  constructor(io: Io, control: MemoryControl, processId: string, region: string) {
    this.#io = io;
    this.#control = control;
    this.record = {
      processId,
      name: processId.split('.')[0]!,
      region,
      zone: 'a',
      address: '',
      httpAddress: '',
      leaseId: '',
      state: 'ready',
      capacity: { cpu: 1, memoryBytes: 1, networkBytesPerSecond: 1 },
      usdPerHour: 1,
      services: { room: { version: 1, handlers: { add: 'command', list: 'query' }, authorize: false } },
      startedAtMs: 1,
    };
  }

  get id(): string {
    return this.record.processId;
  }

  reply(changes: Partial<ShardReply> = {}): ShardReply {
    return { status: 200, body: Buffer.from('1'), servedBy: this.id, epoch: 1, seq: 1, ...changes };
  }

  /** Listens, at the address it had if any, and shows its key. */
  async start(): Promise<this> {
    this.#listener = await serveRpc({
      network: this.#io.network,
      address: this.record.address || '127.0.0.1:0',
      token: TOKEN,
      handlers: {
        calls: {
          'shard.execute': (request: ShardRequest) => {
            this.got.push(request);
            for (const arrived of this.#arrived.splice(0)) arrived();
            return this.script(request);
          },
        },
      },
    });
    this.record.address = this.#listener.address;
    this.#control.put(CONTROL_KEYS.node(this.id), this.record);
    return this;
  }

  /** Never answers. */
  hang(): void {
    this.script = () => new Promise(() => {});
  }

  /** Resolves when the next request comes. */
  arrival(): Promise<void> {
    return new Promise((resolve) => this.#arrived.push(resolve));
  }

  /** As `kill -9`: connections break, the key stays until someone revokes the lease. */
  async kill(): Promise<void> {
    await this.#listener?.close();
    this.#listener = undefined;
  }

  revokeLease(): void {
    this.#control.remove(CONTROL_KEYS.node(this.id));
  }
}

export class GatewayWorld {
  readonly io = realIo({ logLevel: 'silent', seed: 'gateway-world' });
  readonly control = new MemoryControl();
  readonly nodes: FakeNode[] = [];
  readonly gateways: Gateway[] = [];

  async node(processId: string, region = 'eu-west-1'): Promise<FakeNode> {
    const node = await new FakeNode(this.io, this.control, processId, region).start();
    this.nodes.push(node);
    return node;
  }

  async gateway(config: Partial<GatewayConfig> = {}, control: ControlStore = this.control): Promise<Gateway> {
    const gateway = new Gateway({
      io: this.io,
      control,
      config: {
        name: 'gw',
        identity: `gw.${this.gateways.length}`,
        region: 'eu-west-1',
        token: TOKEN,
        topology: AWS_THREE_REGIONS,
        ...config,
      },
    });
    this.gateways.push(gateway);
    await gateway.start();
    return gateway;
  }

  own(shard: string, node: FakeNode, epoch = 1): void {
    this.control.put(CONTROL_KEYS.own(shard), { epoch, primary: node.id, cell: 'c', standbys: [] });
  }

  async stop(): Promise<void> {
    for (const gateway of this.gateways) await gateway.stop();
    for (const node of this.nodes) await node.kill();
  }
}

export function request(shard: string, changes: Partial<ShardRequest> = {}): ShardRequest {
  return {
    shard,
    handler: 'add',
    input: Buffer.from('1'),
    method: 'post',
    origin: 'eu-west-1',
    userHash: 0,
    hops: 0,
    ...changes,
  };
}
