/**
 * What a store process answers on the wire; only its server and its client read this.
 *
 * Snapshots above {@link SNAPSHOT_CHUNK_BYTES} travel in pieces: `cell.stage` fills a buffer at the server that
 * `cell.putSnapshot` then stores whole, after its checksum was found right; `cell.readSnapshot` reads one on.
 */
import type { Epoch, Seq, ShardId } from '../model/ids.ts';
import type { ChangeEvent } from './history.ts';
import type { CellOpening, SnapshotPart } from './sqlite/cell-engine.ts';
import type { ControlList } from './sqlite/control-engine.ts';
import type {
  Append,
  AppendResult,
  FencedResult,
  KeyValue,
  LogEntry,
  Transaction,
  TransactionResult,
} from './store.ts';

export const SNAPSHOT_CHUNK_BYTES = 4 * 1024 * 1024;
/** Bytes of deltas in one call; a client splits larger batches. One delta may reach 16 MB, a frame 32 MB. */
export const APPEND_CALL_BYTES_MAX = 8 * 1024 * 1024;
export const APPEND_CALL_COUNT_MAX = 5_000;

/** A watcher hears something at least so often; silence beyond it means that the way is broken. */
export const WATCH_HEARTBEAT_MS = 2_000;

/** Changes for one watcher; `events` are all there is for it up to `revision`. */
export type WatchBatch = { events: ChangeEvent[]; revision: number } | { reset: true; revision: number };

/** Gathers a listing from pages until `limit` or the end. */
export async function collectPages(
  page: (options: { limit?: number; after?: string }) => Promise<ControlList>,
  options: { limit?: number; after?: string } = {},
): Promise<ControlList> {
  const first = await page(options);
  let more = first.more;
  while (more && (options.limit === undefined || first.entries.length < options.limit)) {
    const limit = options.limit === undefined ? undefined : options.limit - first.entries.length;
    const next = await page({ limit, after: first.entries.at(-1)!.key });
    for (const entry of next.entries) first.entries.push(entry);
    more = next.more;
  }
  return { entries: first.entries, revision: first.revision, more };
}

/** Method name -> [payload, result]. */
export interface StoreCalls {
  'control.get': [{ key: string }, KeyValue | undefined];
  'control.list': [{ prefix: string; limit?: number; after?: string }, ControlList];
  'control.transact': [Transaction, TransactionResult];
  'control.grantLease': [{ leaseId: string; ttlMs: number }, null];
  'control.keepAlive': [{ leaseId: string }, null];
  'control.revokeLease': [{ leaseId: string }, null];

  'cell.raiseFence': [{ shard: ShardId; epoch: Epoch }, Epoch];
  'cell.open': [{ shard: ShardId; epoch: Epoch; knownSeq?: Seq }, CellOpening];
  /** The result is null where all were accepted: by far the most frequent answer. */
  'cell.append': [{ batch: Append[] }, AppendResult[] | null];
  'cell.tail': [
    { shard: ShardId; afterSeq: Seq; limitBytes: number },
    { entries: LogEntry[]; end: Seq; firstSeq: Seq },
  ];
  'cell.stage': [{ upload: string; totalBytes: number; offset: number; bytes: Uint8Array }, null];
  'cell.putSnapshot': [
    { shard: ShardId; epoch: Epoch; seq: Seq; crc32: number; bytes?: Uint8Array; upload?: string },
    FencedResult,
  ];
  'cell.readSnapshot': [{ shard: ShardId; seq: Seq; offset: number; bytesMax: number }, SnapshotPart | null];
  'cell.trim': [{ shard: ShardId; epoch: Epoch; throughSeq: Seq }, FencedResult];
  'cell.deleteLog': [{ shard: ShardId; epoch: Epoch }, FencedResult];
  'cell.listShards': [{ limit?: number; after?: ShardId }, ShardId[]];
}

/** Stream name -> [payload, item]. */
export interface StoreStreams {
  'control.watch': [{ prefixes: string[]; fromRevision: number }, WatchBatch];
}
