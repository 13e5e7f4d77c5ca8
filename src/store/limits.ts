/**
 * Every limit a caller can meet, whichever engine is behind, and the checks of them that both ends make.
 */
import { type Append, StoreError, type Transaction } from './store.ts';

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

/** @throws StoreError `invalid` */
export function checkLeaseTtl(ttlMs: number): void {
  if (ttlMs >= LEASE_TTL_MS_MIN && ttlMs <= LEASE_TTL_MS_MAX) return;
  throw new StoreError(
    'invalid',
    `a lease of ${ttlMs} ms is not between ${LEASE_TTL_MS_MIN} and ${LEASE_TTL_MS_MAX} ms`,
  );
}

/** @throws StoreError `invalid`, `too-large` */
export function checkControlKey(key: string): void {
  if (typeof key !== 'string' || key.length === 0 || !key.isWellFormed())
    throw new StoreError('invalid', `${JSON.stringify(key)} is not a key: it must be non-empty Unicode text`);
  if (key.length > CONTROL_KEY_CHARS_MAX)
    throw new StoreError('too-large', `a key of ${key.length} characters, over ${CONTROL_KEY_CHARS_MAX}`);
}

/** @throws StoreError `invalid`, `too-large` where any part of it is, so that none of it is done. */
export function checkTransaction({ compare, operations, read = [] }: Transaction): void {
  const parts = compare.length + operations.length + read.length;
  if (parts > TRANSACTION_PARTS_MAX) {
    throw new StoreError(
      'too-large',
      `a transaction of ${parts} compares, operations and reads, over the limit of ${TRANSACTION_PARTS_MAX}`,
    );
  }
  let bytes = 0;
  const written = new Set<string>();
  for (const operation of operations) {
    const key = 'put' in operation ? operation.put : operation.delete;
    checkControlKey(key);
    if (written.has(key)) throw new StoreError('invalid', `${key} is written twice in one transaction`);
    written.add(key);
    bytes += key.length;
    if (!('put' in operation)) continue;
    if (typeof operation.value !== 'string' || !operation.value.isWellFormed())
      throw new StoreError('invalid', `the value of ${key} is not Unicode text`);
    const valueBytes = Buffer.byteLength(operation.value);
    bytes += valueBytes;
    if (valueBytes > CONTROL_VALUE_BYTES_MAX) {
      throw new StoreError(
        'too-large',
        `the value of ${key} takes ${valueBytes} bytes, over the limit of ${CONTROL_VALUE_BYTES_MAX}`,
      );
    }
  }
  if (bytes > TRANSACTION_BYTES_MAX)
    throw new StoreError('too-large', `a transaction of ${bytes} bytes, over ${TRANSACTION_BYTES_MAX}`);
  const compared = new Set<string>();
  for (const { key, version } of compare) {
    checkControlKey(key);
    if (compared.has(key)) throw new StoreError('invalid', `${key} is compared twice in one transaction`);
    compared.add(key);
    if (!Number.isSafeInteger(version) || version < 0)
      throw new StoreError('invalid', `${version} is not a version to compare ${key} with`);
  }
  for (const key of read) checkControlKey(key);
}
