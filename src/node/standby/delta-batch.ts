/**
 * Deltas of many shards as one piece of bytes, compressed where that pays. Pure.
 *
 * A delta alone is too short to compress; what a node sends to another within a few milliseconds repeats itself: names
 * of fields, gateways and users, times. `bench/standby.ts` shows what that is worth. Up to {@link ZSTD_BYTES_MIN} raw
 * deflate is as small as zstd and takes less time, above it zstd is smaller and faster.
 *
 *   byte 0: how the rest is packed; then msgpack [[shard, epoch, firstSeq, durableSeq, [delta, ...]], ...]
 *
 * Ids of appends stay behind: they tell a retried append from another one, and followers append nothing.
 */
import { constants, deflateRawSync, inflateRawSync, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { Packr } from 'msgpackr';
import type { Epoch, Seq, ShardId } from '../../model/ids.ts';
import type { LogEntry } from '../../store/store.ts';

/** Below this a batch is not compressed: it would save less than its own headers. */
export const COMPRESS_BYTES_MIN = 400;
export const ZSTD_BYTES_MIN = 16 * 1024;
/** Of a batch, unpacked: one delta may have 16 MB. */
export const BATCH_BYTES_MAX = 64 * 1024 * 1024;

const PLAIN = 0;
const DEFLATE = 1;
const ZSTD = 2;

/** What one shard has new. */
export interface DeltaSection {
  shard: ShardId;
  epoch: Epoch;
  /** The primary's durable seq: at least the last entry's. */
  durableSeq: Seq;
  /** Contiguous; may be empty. */
  entries: LogEntry[];
}

type Row = [shard: ShardId, epoch: Epoch, firstSeq: Seq, durableSeq: Seq, deltas: Uint8Array[]];

const codec = new Packr({ useRecords: false, moreTypes: false, variableMapSize: true });

export function encodeBatch(sections: readonly DeltaSection[]): Uint8Array {
  const rows = sections.map(
    ({ shard, epoch, durableSeq, entries }): Row => [
      shard,
      epoch,
      entries[0]?.seq ?? 0,
      durableSeq,
      entries.map(({ delta }) => delta),
    ],
  );
  const plain = codec.pack(rows);
  if (plain.byteLength < COMPRESS_BYTES_MIN) return withKind(PLAIN, plain);
  const isLarge = plain.byteLength >= ZSTD_BYTES_MIN;
  const packed = isLarge
    ? zstdCompressSync(plain, { params: { [constants.ZSTD_c_compressionLevel]: 1 } })
    : deflateRawSync(plain, { level: 1 });
  if (packed.byteLength >= plain.byteLength) return withKind(PLAIN, plain);
  return withKind(isLarge ? ZSTD : DEFLATE, packed);
}

/** @throws TypeError for bytes that are no such batch, or one larger than {@link BATCH_BYTES_MAX}. */
export function decodeBatch(bytes: Uint8Array): DeltaSection[] {
  let rows: unknown;
  try {
    rows = codec.unpack(unpacked(bytes));
  } catch (cause) {
    throw new TypeError('a batch of deltas cannot be read', { cause });
  }
  if (!Array.isArray(rows)) throw new TypeError('a batch of deltas is no list');
  return rows.map((row): DeltaSection => {
    if (!isRow(row)) throw new TypeError('a batch of deltas holds something else');
    const [shard, epoch, firstSeq, durableSeq, deltas] = row;
    return {
      shard,
      epoch,
      durableSeq,
      entries: deltas.map((delta, index) => ({ seq: firstSeq + index, id: '', delta })),
    };
  });
}

function withKind(kind: number, bytes: Uint8Array): Uint8Array {
  const whole = new Uint8Array(bytes.byteLength + 1);
  whole[0] = kind;
  whole.set(bytes, 1);
  return whole;
}

function unpacked(bytes: Uint8Array): Uint8Array {
  const rest = bytes.subarray(1);
  if (bytes[0] === DEFLATE) return inflateRawSync(rest, { maxOutputLength: BATCH_BYTES_MAX });
  if (bytes[0] === ZSTD) return zstdDecompressSync(rest, { maxOutputLength: BATCH_BYTES_MAX });
  if (bytes[0] === PLAIN) return rest;
  throw new TypeError(`packed in a way this build does not know: ${bytes[0]}`);
}

function isRow(row: unknown): row is Row {
  if (!Array.isArray(row) || row.length !== 5) return false;
  const [shard, epoch, firstSeq, durableSeq, deltas] = row;
  return (
    typeof shard === 'string' &&
    [epoch, firstSeq, durableSeq].every((number) => Number.isSafeInteger(number) && number >= 0) &&
    Array.isArray(deltas) &&
    deltas.every((delta) => delta instanceof Uint8Array)
  );
}
