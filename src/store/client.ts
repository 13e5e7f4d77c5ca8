/**
 * The stores of other processes, behind the interfaces of `store.ts`. Nothing is retried here except a watch, which
 * comes back by itself; a call whose outcome is unknown says so.
 */
import { crc32 } from 'node:zlib';
import { type Io, randomId } from '../io/io.ts';
import type { Epoch, Seq, ShardId } from '../model/ids.ts';
import { StoreConnection, type StoreConnectionOptions } from './connection.ts';
import { checkAppends, SNAPSHOT_BYTES_MAX } from './limits.ts';
import {
  APPEND_CALL_BYTES_MAX,
  APPEND_CALL_COUNT_MAX,
  collectPages,
  SNAPSHOT_CHUNK_BYTES,
  type StoreCalls,
} from './protocol.ts';
import { RemoteWatch } from './remote-watch.ts';
import type { SnapshotPart } from './sqlite/cell-engine.ts';
import { checkCrc32 } from './staging.ts';
import {
  type Append,
  type AppendResult,
  type CellStore,
  type ControlStore,
  type FencedResult,
  type KeyValue,
  type LogEntry,
  type Opening,
  type OpenOptions,
  type StoredSnapshot,
  StoreError,
  type Subscription,
  type Transaction,
  type TransactionResult,
  type WatchEvent,
} from './store.ts';

/** Pieces of a large snapshot on their way at once: hides the round trip without filling the channel. */
const CHUNKS_IN_FLIGHT_MAX = 4;
/** Openings begun again because another snapshot took the place of the one being read. */
const OPEN_ATTEMPTS_MAX = 4;

export class RemoteControlStore implements ControlStore {
  readonly #io: Io;
  readonly #connection: StoreConnection;
  readonly #watches = new Set<RemoteWatch>();

  constructor(io: Io, address: string, options: StoreConnectionOptions) {
    this.#io = io;
    this.#connection = new StoreConnection(io, address, options);
  }

  get(key: string): Promise<KeyValue | undefined> {
    return this.#connection.call('control.get', { key }).then((entry) => entry ?? undefined);
  }

  list(
    prefix: string,
    options?: { limit?: number; after?: string },
  ): Promise<{ entries: KeyValue[]; revision: number; more: boolean }> {
    return collectPages((page) => this.#connection.call('control.list', { prefix, ...page }), options);
  }

  async transact(transaction: Transaction): Promise<TransactionResult> {
    const result = await this.#connection.call('control.transact', transaction);
    // The wire has no undefined inside arrays that msgpack would keep apart from null.
    for (let i = 0; i < result.read.length; i++) result.read[i] = result.read[i] ?? undefined;
    return result;
  }

  async grantLease(leaseId: string, ttlMs: number): Promise<void> {
    await this.#connection.call('control.grantLease', { leaseId, ttlMs });
  }

  async keepAlive(leaseId: string): Promise<void> {
    await this.#connection.call('control.keepAlive', { leaseId });
  }

  async revokeLease(leaseId: string): Promise<void> {
    await this.#connection.call('control.revokeLease', { leaseId });
  }

  watch(
    prefixes: string[],
    fromRevision: number,
    onEvent: (event: WatchEvent) => void,
    onProgress: (revision: number) => void = () => {},
  ): Subscription {
    const watch = new RemoteWatch({
      connection: this.#connection,
      clock: this.#io.clock,
      random: this.#io.random.split('store-watch'),
      log: this.#io.log,
      prefixes,
      fromRevision,
      onEvent,
      onProgress,
    });
    this.#watches.add(watch);
    return {
      close: () => {
        this.#watches.delete(watch);
        watch.close();
      },
    };
  }

  close(): void {
    for (const watch of this.#watches) watch.close();
    this.#watches.clear();
    this.#connection.close();
  }
}

export class RemoteCellStore implements CellStore {
  readonly #connection: StoreConnection;
  readonly #uploadPrefix: string;
  #uploads = 0;

  constructor(io: Io, address: string, options: StoreConnectionOptions) {
    this.#connection = new StoreConnection(io, address, options);
    this.#uploadPrefix = `${options.identity}.${randomId(io.random.split(`uploads/${address}`))}`;
  }

  raiseFence(shard: ShardId, epoch: Epoch): Promise<Epoch> {
    return this.#connection.call('cell.raiseFence', { shard, epoch });
  }

  async open(shard: ShardId, epoch: Epoch, { knownSeq }: OpenOptions = {}): Promise<Opening> {
    for (let attempt = 1; attempt <= OPEN_ATTEMPTS_MAX; attempt++) {
      const { snapshot: part, ...rest } = await this.#connection.call(
        'cell.open',
        knownSeq === undefined ? { shard, epoch } : { shard, epoch, knownSeq },
      );
      if (!part) return rest;
      const bytes = await this.#readOn(shard, part);
      // Replaced while it was read: its entries may be gone as well, so the whole opening begins again.
      if (!bytes) continue;
      checkCrc32(bytes, part.crc32);
      return { ...rest, snapshot: { seq: part.seq, bytes } };
    }
    throw new StoreError('unavailable', `the snapshot of ${shard} changes faster than it can be read`);
  }

  async append(batch: Append[]): Promise<AppendResult[]> {
    let bytes = 0;
    for (const item of batch) bytes += item.delta.byteLength;
    if (bytes <= APPEND_CALL_BYTES_MAX && batch.length <= APPEND_CALL_COUNT_MAX)
      return this.#appendPart(batch);
    // The limits hold for the whole: a part of a batch that is refused must not have been written.
    checkAppends(batch);
    // All parts are sent before the first answer; the channel keeps their order, and seq keeps each shard's.
    const parts = await Promise.all([...splitBatch(batch)].map((part) => this.#appendPart(part)));
    return parts.flat();
  }

  async #appendPart(batch: Append[]): Promise<AppendResult[]> {
    const results = await this.#connection.call('cell.append', { batch });
    return results ?? batch.map(() => ACCEPTED);
  }

  tail(
    shard: ShardId,
    afterSeq: Seq,
    limitBytes: number,
  ): Promise<{ entries: LogEntry[]; end: Seq; firstSeq: Seq }> {
    return this.#connection.call('cell.tail', { shard, afterSeq, limitBytes });
  }

  async putSnapshot(shard: ShardId, epoch: Epoch, { seq, bytes }: StoredSnapshot): Promise<FencedResult> {
    if (bytes.byteLength > SNAPSHOT_BYTES_MAX) {
      throw new StoreError(
        'too-large',
        `the snapshot of ${shard} takes ${bytes.byteLength} bytes, over the limit of ${SNAPSHOT_BYTES_MAX}`,
      );
    }
    const order = { shard, epoch, seq, crc32: crc32(bytes) };
    if (bytes.byteLength <= SNAPSHOT_CHUNK_BYTES)
      return this.#connection.call('cell.putSnapshot', { ...order, bytes });
    const upload = `${this.#uploadPrefix}.${++this.#uploads}`;
    const inFlight: Promise<unknown>[] = [];
    for (let offset = 0; offset < bytes.byteLength; offset += SNAPSHOT_CHUNK_BYTES) {
      if (inFlight.length >= CHUNKS_IN_FLIGHT_MAX) await inFlight.shift();
      const piece: StoreCalls['cell.stage'][0] = {
        upload,
        totalBytes: bytes.byteLength,
        offset,
        bytes: bytes.subarray(offset, offset + SNAPSHOT_CHUNK_BYTES),
      };
      const sent = this.#connection.call('cell.stage', piece);
      // Whoever awaits it first hears of a failure; the others of this upload have failed for the same reason.
      sent.catch(() => {});
      inFlight.push(sent);
    }
    await Promise.all(inFlight);
    return this.#connection.call('cell.putSnapshot', { ...order, upload });
  }

  trim(shard: ShardId, epoch: Epoch, throughSeq: Seq): Promise<FencedResult> {
    return this.#connection.call('cell.trim', { shard, epoch, throughSeq });
  }

  deleteLog(shard: ShardId, epoch: Epoch): Promise<FencedResult> {
    return this.#connection.call('cell.deleteLog', { shard, epoch });
  }

  listShards(options: { limit?: number; after?: ShardId } = {}): Promise<ShardId[]> {
    return this.#connection.call('cell.listShards', options);
  }

  close(): void {
    this.#connection.close();
  }

  async #readOn(shard: ShardId, part: SnapshotPart): Promise<Uint8Array | undefined> {
    if (part.bytes.byteLength === part.totalBytes) return part.bytes;
    const whole = Buffer.allocUnsafe(part.totalBytes);
    whole.set(part.bytes, 0);
    let filled = part.bytes.byteLength;
    while (filled < part.totalBytes) {
      const next = await this.#connection.call('cell.readSnapshot', {
        shard,
        seq: part.seq,
        offset: filled,
        bytesMax: SNAPSHOT_CHUNK_BYTES,
      });
      if (!next || next.crc32 !== part.crc32 || next.totalBytes !== part.totalBytes) return undefined;
      whole.set(next.bytes, filled);
      filled += next.bytes.byteLength;
    }
    return whole;
  }
}

const ACCEPTED: AppendResult = Object.freeze({ ok: true });

function* splitBatch(batch: Append[]): Generator<Append[]> {
  let part: Append[] = [];
  let bytes = 0;
  for (const item of batch) {
    if (
      part.length > 0 &&
      (bytes + item.delta.byteLength > APPEND_CALL_BYTES_MAX || part.length >= APPEND_CALL_COUNT_MAX)
    ) {
      yield part;
      part = [];
      bytes = 0;
    }
    part.push(item);
    bytes += item.delta.byteLength;
  }
  if (part.length > 0) yield part;
}
