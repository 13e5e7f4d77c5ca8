/**
 * A cell in etcd: the parts behind one interface. `keys.ts` says where what stands; the rules of ownership are enforced
 * by comparisons inside etcd's transactions, never by what this process remembers.
 */
import type { Io } from '../../io/io.ts';
import type { CellId, Epoch, Seq, ShardId } from '../../model/ids.ts';
import {
  checkAppends,
  checkShardId,
  checkWholeNumber,
  SHARDS_PER_LIST_MAX,
  SNAPSHOT_BYTES_MAX,
} from '../limits.ts';
import {
  type Append,
  type AppendResult,
  type CellPressure,
  type CellStore,
  type FencedResult,
  type LogEntry,
  type Opening,
  type OpenOptions,
  type StoredSnapshot,
  StoreError,
} from '../store.ts';
import { AppendLines, type FlushLimits } from './append-lines.ts';
import { Chunks } from './chunks.ts';
import type { EtcdClient } from './client.ts';
import { CellKeys, checkEtcdShardId } from './keys.ts';
import { LogKeeper } from './log-keeper.ts';
import { LogReader } from './log-reader.ts';
import { RaiseOrder } from './raise-order.ts';
import { Upkeep, type UpkeepOptions } from './upkeep.ts';

export interface EtcdCellStoreOptions {
  io: Pick<Io, 'clock' | 'log' | 'random'>;
  /** Closed together with the store. */
  client: EtcdClient;
  cell: CellId;
  flush?: Partial<FlushLimits>;
  /** False: this process neither compacts nor looks at the size. */
  upkeep?: Partial<UpkeepOptions> | false;
}

/**
 * @example
 * const client = new EtcdClient({ io, address: parseEtcdAddress('etcd://127.0.0.1:2379') });
 * const cell = new EtcdCellStore({ io, client, cell: 'cell-us-east-1' });
 * const { end } = await cell.open('cart/1', 1);
 * await cell.append([{ shard: 'cart/1', epoch: 1, seq: end + 1, id: 'p.1', delta }]);
 */
export class EtcdCellStore implements CellStore {
  readonly oneAppendPerShard = true;
  readonly #client: EtcdClient;
  readonly #keys: CellKeys;
  readonly #lines: AppendLines;
  readonly #reader: LogReader;
  readonly #keeper: LogKeeper;
  readonly #raises = new RaiseOrder();
  readonly #upkeep: Upkeep | undefined;

  constructor(options: EtcdCellStoreOptions) {
    const { io, client, cell } = options;
    this.#client = client;
    this.#keys = new CellKeys(client.address.root, cell);
    const chunks = new Chunks(client, this.#keys, io.random.split(`etcd-${cell}`));
    this.#lines = new AppendLines({ io, client, keys: this.#keys, chunks, limits: options.flush });
    this.#reader = new LogReader(client, this.#keys, chunks);
    this.#keeper = new LogKeeper(client, this.#keys, chunks, this.#reader);
    if (options.upkeep !== false)
      this.#upkeep = new Upkeep({ io, client, key: this.#keys.upkeep(), name: cell, ...options.upkeep });
  }

  pressure(): CellPressure | undefined {
    return this.#upkeep?.pressure;
  }

  async raiseFence(shard: ShardId, epoch: Epoch): Promise<Epoch> {
    check(shard, 'epoch', epoch);
    return this.#raises.raising(shard, () => this.#reader.raiseFence(shard, epoch));
  }

  async open(shard: ShardId, epoch: Epoch, options: OpenOptions = {}): Promise<Opening> {
    check(shard, 'epoch', epoch);
    return this.#raises.raising(shard, () => this.#reader.open(shard, epoch, options));
  }

  async append(batch: Append[]): Promise<AppendResult[]> {
    checkAppends(batch);
    for (const { shard } of batch) checkEtcdShardId(shard);
    this.#upkeep?.admit();
    if (!batch.some(({ shard }) => this.#raises.after(shard))) return this.#lines.append(batch);
    const results: AppendResult[] = new Array(batch.length);
    const groups = Map.groupBy(batch.keys(), (index) => this.#raises.after(batch[index]!.shard));
    await Promise.all(
      [...groups].map(async ([raised, indices]) => {
        await raised;
        const part = await this.#lines.append(indices.map((index) => batch[index]!));
        for (const [i, index] of indices.entries()) results[index] = part[i]!;
      }),
    );
    return results;
  }

  async tail(
    shard: ShardId,
    afterSeq: Seq,
    limitBytes: number,
  ): Promise<{ entries: LogEntry[]; end: Seq; firstSeq: Seq }> {
    check(shard, 'afterSeq', afterSeq);
    return this.#reader.tail(shard, afterSeq, limitBytes);
  }

  async putSnapshot(shard: ShardId, epoch: Epoch, snapshot: StoredSnapshot): Promise<FencedResult> {
    check(shard, 'epoch', epoch);
    checkWholeNumber('snapshot seq', snapshot.seq);
    if (snapshot.bytes.byteLength > SNAPSHOT_BYTES_MAX) {
      throw new StoreError(
        'too-large',
        `the snapshot of ${shard} takes ${snapshot.bytes.byteLength} bytes, over the limit of ${SNAPSHOT_BYTES_MAX}`,
      );
    }
    await this.#raises.after(shard);
    return this.#keeper.putSnapshot(shard, epoch, snapshot);
  }

  async trim(shard: ShardId, epoch: Epoch, throughSeq: Seq): Promise<FencedResult> {
    check(shard, 'epoch', epoch);
    checkWholeNumber('throughSeq', throughSeq);
    await this.#raises.after(shard);
    return this.#keeper.trim(shard, epoch, throughSeq);
  }

  async deleteLog(shard: ShardId, epoch: Epoch): Promise<FencedResult> {
    check(shard, 'epoch', epoch);
    await this.#raises.after(shard);
    return this.#keeper.deleteLog(shard, epoch);
  }

  async listShards(options: { limit?: number; after?: ShardId } = {}): Promise<ShardId[]> {
    const limit = Math.min(options.limit ?? SHARDS_PER_LIST_MAX, SHARDS_PER_LIST_MAX);
    const { responses } = await this.#client.txn({
      success: (['e', 's'] as const).map((tag) => ({
        request_range: { ...this.#keys.shardsAfter(tag, options.after ?? ''), limit, keys_only: true },
      })),
    });
    const found = responses.flatMap((response) => response.response_range.kvs.map(({ key }) => key));
    const names = found
      .map((key) => this.#keys.shardOf(key))
      .map((name) => [name, Buffer.from(name)] as const);
    names.sort((a, b) => Buffer.compare(a[1], b[1]));
    return [...new Set(names.map(([name]) => name))].slice(0, limit);
  }

  close(): void {
    this.#upkeep?.close();
    this.#lines.close();
    this.#client.close();
  }
}

function check(shard: ShardId, name: string, value: number): void {
  checkShardId(shard);
  checkEtcdShardId(shard);
  checkWholeNumber(name, value);
}
