/**
 * Every limit a caller can meet, whichever engine is behind, and the checks of them that both ends make.
 */
import { type Append, StoreError } from './store.ts';

// ---- cells
export const SNAPSHOT_BYTES_MAX = 64 * 1024 * 1024;
export const DELTA_BYTES_MAX = 16 * 1024 * 1024;
export const APPENDS_PER_BATCH_MAX = 20_000;
/** Log entries that an opening or a tail carries at most; the reader goes on with `tail`. */
export const ENTRIES_BYTES_MAX = 4 * 1024 * 1024;
export const ENTRIES_MAX = 20_000;
export const SHARDS_PER_LIST_MAX = 10_000;
export const APPEND_ID_CHARS_MAX = 256;
export const SHARD_ID_CHARS_MAX = 1024;

// ---- control store
export const CONTROL_KEY_CHARS_MAX = 1024;
export const CONTROL_VALUE_BYTES_MAX = 1024 * 1024;
export const TRANSACTION_PARTS_MAX = 1000;
/** etcd's default for one request, so that what works here works there. */
export const TRANSACTION_BYTES_MAX = 1536 * 1024;
export const LEASE_TTL_MS_MIN = 100;
export const LEASE_TTL_MS_MAX = 24 * 60 * 60 * 1000;
export const LEASES_MAX = 100_000;
/** One answer to a list gives so much at most, and says that there is more. */
export const LIST_ENTRIES_MAX = 50_000;
export const LIST_BYTES_MAX = 8 * 1024 * 1024;

/** @throws StoreError `invalid` or `too-large` where any part of a batch is, so that none of it is written. */
export function checkAppends(batch: readonly Append[]): void {
  if (batch.length > APPENDS_PER_BATCH_MAX) {
    throw new StoreError(
      'too-large',
      `${batch.length} appends in one batch, over the limit of ${APPENDS_PER_BATCH_MAX}`,
    );
  }
  for (const { shard, epoch, seq, id, delta } of batch) {
    checkWholeNumber('epoch', epoch);
    checkWholeNumber('seq', seq);
    checkShardId(shard);
    if (delta.byteLength > DELTA_BYTES_MAX) {
      throw new StoreError(
        'too-large',
        `delta ${seq} of ${shard} takes ${delta.byteLength} bytes, over the limit of ${DELTA_BYTES_MAX}`,
      );
    }
    if (id.length > APPEND_ID_CHARS_MAX)
      throw new StoreError('invalid', `the append id has over ${APPEND_ID_CHARS_MAX} characters`);
  }
}

export function checkWholeNumber(name: string, value: number): void {
  if (!Number.isSafeInteger(value) || value < 0)
    throw new StoreError('invalid', `${name} is ${value}, not a whole number of at least 0`);
}

export function checkShardId(shard: string): void {
  if (shard.length === 0 || shard.length > SHARD_ID_CHARS_MAX)
    throw new StoreError('invalid', `${JSON.stringify(shard)} is not a shard id`);
}
