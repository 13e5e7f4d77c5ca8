/**
 * What a store process answers on the wire; only its server and its client read this.
 *
 * Snapshots above {@link SNAPSHOT_CHUNK_BYTES} travel in pieces: `cell.stage` fills a buffer at the server that
 * `cell.putSnapshot` then stores whole, after its checksum was found right; `cell.readSnapshot` reads one on.
 */
import type { Epoch, Seq, ShardId } from '../model/ids.ts';
import type { WatchBatch } from './local.ts';
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

/** Method name -> [payload, result]. */
export interface StoreCalls {
  'control.get': [{ key: string }, KeyValue | undefined];
  'control.list': [{ prefix: string; limit?: number; after?: string }, ControlList];
  'control.transact': [Transaction, TransactionResult];
  'control.grantLease': [{ leaseId: string; ttlMs: number }, null];
  'control.keepAlive': [{ leaseId: string }, null];
  'control.revokeLease': [{ leaseId: string }, null];

  'cell.raiseFence': [{ shard: ShardId; epoch: Epoch }, Epoch];
  'cell.open': [{ shard: ShardId; epoch: Epoch }, CellOpening];
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
