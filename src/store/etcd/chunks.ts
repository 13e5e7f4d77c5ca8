/**
 * What is larger than one request of etcd: written in chunks that nobody sees until a head refers to them, read back
 * at the revision of the head, checked by its checksum.
 *
 * Chunks are fenced like all maintenance (OWNERSHIP rule 8), and never changed once written: their name is unique.
 */
import { crc32 } from 'node:zlib';
import { type Io, randomId } from '../../io/io.ts';
import type { Epoch, Seq, ShardId } from '../../model/ids.ts';
import { StoreError } from '../store.ts';
import type { ChunkReference } from './blocks.ts';
import type { EtcdClient } from './client.ts';
import { type CellKeys, digits, isAbsent, nested, put, valueBelow } from './keys.ts';

/** A third of what etcd takes in one request. */
export const CHUNK_BYTES = 512 * 1024;
const CHUNKS_IN_FLIGHT_MAX = 3;
const CHUNKS_PER_READ_MAX = 16;

export type ChunkKind = 'snapshot' | 'delta';

export class Chunks {
  readonly #client: EtcdClient;
  readonly #keys: CellKeys;
  readonly #random: Io['random'];

  constructor(client: EtcdClient, keys: CellKeys, random: Io['random']) {
    this.#client = client;
    this.#keys = keys;
    this.#random = random;
  }

  /** What the chunks of some bytes will be called; nothing is written yet. */
  plan(bytes: Uint8Array): ChunkReference {
    return {
      name: randomId(this.#random),
      chunks: Math.ceil(bytes.byteLength / CHUNK_BYTES),
      bytes: bytes.byteLength,
      crc32: crc32(bytes),
    };
  }

  keysOf(kind: ChunkKind, shard: ShardId, seq: Seq, { name, chunks }: ChunkReference): Buffer[] {
    return Array.from({ length: chunks }, (_, index) => this.#keys.chunk(kind, shard, seq, name, index));
  }

  /** Writes all chunks; those of a deposed writer are passed over, and the commit that follows is refused. */
  async write(
    kind: ChunkKind,
    shard: ShardId,
    epoch: Epoch,
    seq: Seq,
    reference: ChunkReference,
    bytes: Uint8Array,
  ): Promise<void> {
    const fence = this.#keys.fence(shard);
    const keys = this.keysOf(kind, shard, seq, reference);
    const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    await inParallel(CHUNKS_IN_FLIGHT_MAX, keys, (key, index) => {
      const write = put(key, view.subarray(index * CHUNK_BYTES, (index + 1) * CHUNK_BYTES));
      // Nested: outside etcd's own quota, which would stop the whole cluster; size is policed in upkeep.ts.
      return this.#client.txn({
        success: [
          nested([valueBelow(fence, digits(epoch + 1))], [write], [nested([isAbsent(fence)], [write])]),
        ],
      });
    });
  }

  /**
   * Reads what a head refers to, at the revision the head was read at.
   *
   * @param found chunks that came along with the head.
   * @throws CompactedError, StoreError `unavailable` where a chunk is missing or damaged.
   */
  async read(
    kind: ChunkKind,
    shard: ShardId,
    seq: Seq,
    reference: ChunkReference,
    revision: number,
    found: ReadonlyMap<string, Buffer> = new Map(),
  ): Promise<Buffer> {
    const keys = this.keysOf(kind, shard, seq, reference);
    const pieces: Buffer[] = keys.map((key) => found.get(key.toString('latin1')) ?? MISSING);
    const pages: number[] = [];
    for (let first = 0; first < keys.length; first += CHUNKS_PER_READ_MAX)
      if (pieces.slice(first, first + CHUNKS_PER_READ_MAX).includes(MISSING)) pages.push(first);
    await inParallel(CHUNKS_IN_FLIGHT_MAX, pages, async (first) => {
      const last = Math.min(first + CHUNKS_PER_READ_MAX, keys.length) - 1;
      const { kvs } = await this.#client.range({
        key: keys[first],
        range_end: Buffer.concat([keys[last]!, Buffer.from([0])]),
        revision,
      });
      const byKey = new Map(kvs.map((kv) => [kv.key.toString('latin1'), kv.value]));
      for (let i = first; i <= last; i++) pieces[i] = byKey.get(keys[i]!.toString('latin1')) ?? MISSING;
    });
    const whole = pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces);
    if (pieces.includes(MISSING) || whole.byteLength !== reference.bytes || crc32(whole) !== reference.crc32)
      throw new StoreError(
        'unavailable',
        `the ${kind} of ${shard} at ${seq} is damaged: its chunks do not match it`,
      );
    return whole;
  }
}

const MISSING = Buffer.alloc(0);

/** Runs over all items, some at once; the first failure ends it. */
export async function inParallel<Item>(
  atOnce: number,
  items: readonly Item[],
  run: (item: Item, index: number) => Promise<unknown>,
): Promise<void> {
  let next = 0;
  const lane = async () => {
    while (next < items.length) {
      const index = next++;
      await run(items[index]!, index);
    }
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, items.length) }, lane));
}
