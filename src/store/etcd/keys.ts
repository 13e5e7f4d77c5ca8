/**
 * Where things stand in etcd.
 *
 * Control store, below `<root>/`: `k/<key>` a key of ours; `k` itself a mark that is put when a watcher must learn how
 * far it is; `u/control` who compacts. A cell, below `<root>/<cell>/`, where `<seq>` is 14 hexadecimal digits, so that
 * order of bytes is order of numbers:
 *
 *   f<shard>              fence, as 14 digits (kept for ever)
 *   e<shard>              end of the log, as 14 digits (absent: 0)
 *   t<shard>              trimmed through (absent: 0)
 *   s<shard>              head of the snapshot: seq, bytes, checksum, where its chunks are
 *   l<shard>\0<seq>       a block of log entries, named by its last seq
 *   c<shard>\0<seq>/...   a chunk of a snapshot
 *   x<shard>\0<seq>/...   a chunk of a delta too large for a block
 *   u/upkeep              who compacts
 */
import type { ICompare, IRangeRequest, IRequestOp } from 'etcd3';
import type { Seq, ShardId } from '../../model/ids.ts';
import { StoreError } from '../store.ts';

/** 14 hexadecimal digits hold every safe integer. */
const DIGITS = 14;

export function digits(value: number): string {
  return value.toString(16).padStart(DIGITS, '0');
}

export function numberOf(value: Buffer | string): number {
  return Number.parseInt(value.toString('latin1' as BufferEncoding).slice(0, DIGITS), 16);
}

/** The first key after all keys with a prefix. */
export function endOfPrefix(prefix: Buffer): Buffer {
  const end = Buffer.from(prefix);
  for (let i = end.length - 1; i >= 0; i--) {
    if (end[i]! === 0xff) continue;
    end[i]!++;
    return end.subarray(0, i + 1);
  }
  // All bytes 0xff, or none: to the very end, which etcd writes as a zero byte.
  return Buffer.from([0]);
}

/** The first key after this one. */
export function keyAfter(key: Buffer): Buffer {
  return Buffer.concat([key, ZERO]);
}
const ZERO = Buffer.from([0]);

export class CellKeys {
  readonly #prefix: string;

  constructor(root: string, cell: string) {
    this.#prefix = `${root}/${cell}/`;
  }

  fence(shard: ShardId): Buffer {
    return Buffer.from(`${this.#prefix}f${shard}`);
  }
  end(shard: ShardId): Buffer {
    return Buffer.from(`${this.#prefix}e${shard}`);
  }
  trimmed(shard: ShardId): Buffer {
    return Buffer.from(`${this.#prefix}t${shard}`);
  }
  head(shard: ShardId): Buffer {
    return Buffer.from(`${this.#prefix}s${shard}`);
  }
  block(shard: ShardId, lastSeq: Seq): Buffer {
    return Buffer.from(`${this.#prefix}l${shard}\0${digits(lastSeq)}`);
  }
  /** `name` tells this upload from every other. */
  chunk(kind: 'snapshot' | 'delta', shard: ShardId, seq: Seq, name: string, index: number): Buffer {
    return Buffer.from(`${this.#chunks(kind, shard, seq)}/${name}/${digits(index).slice(-4)}`);
  }
  /** All chunks of seqs from one, before another. */
  chunks(kind: 'snapshot' | 'delta', shard: ShardId, fromSeq: Seq, beforeSeq: Seq): KeyRange {
    return {
      key: Buffer.from(this.#chunks(kind, shard, fromSeq)),
      range_end: Buffer.from(this.#chunks(kind, shard, beforeSeq)),
    };
  }
  /** Blocks whose last seq is from one, before another; without it, all that follow. */
  blocks(shard: ShardId, fromSeq: Seq, beforeSeq?: Seq): KeyRange {
    return {
      key: this.block(shard, fromSeq),
      range_end:
        beforeSeq === undefined
          ? Buffer.from(`${this.#prefix}l${shard}\u0001`)
          : this.block(shard, beforeSeq),
    };
  }
  upkeep(): Buffer {
    return Buffer.from(`${this.#prefix}u/upkeep`);
  }
  /** Shards with one of the two keys that only a shard with a log has. */
  shardsAfter(tag: 'e' | 's', after: ShardId): KeyRange {
    const prefix = Buffer.from(`${this.#prefix}${tag}`);
    return {
      key: after === '' ? prefix : keyAfter(Buffer.from(`${this.#prefix}${tag}${after}`)),
      range_end: endOfPrefix(prefix),
    };
  }
  shardOf(key: Buffer): ShardId {
    return key.toString('utf8').slice(this.#prefix.length + 1);
  }

  #chunks(kind: 'snapshot' | 'delta', shard: ShardId, seq: Seq): string {
    return `${this.#prefix}${kind === 'snapshot' ? 'c' : 'x'}${shard}\0${digits(seq)}`;
  }
}

export interface KeyRange {
  key: Buffer;
  range_end: Buffer;
}

/** Zero bytes end a shard's id in keys, so none may hold one. */
export function checkEtcdShardId(shard: ShardId): void {
  if (shard.includes('\0'))
    throw new StoreError('invalid', `${JSON.stringify(shard)} is not a shard id: it holds a zero byte`);
}

// ---- parts of transactions, short

export const put = (key: Buffer, value: Buffer | string): IRequestOp => ({
  request_put: { key, value: typeof value === 'string' ? Buffer.from(value) : value },
});
export const get = (range: IRangeRequest | Buffer): IRequestOp => ({
  request_range: Buffer.isBuffer(range) ? { key: range } : range,
});
export const remove = (range: KeyRange | Buffer): IRequestOp => ({
  request_delete_range: Buffer.isBuffer(range) ? { key: range } : range,
});
export const nested = (
  compare: ICompare[],
  success: IRequestOp[],
  failure: IRequestOp[] = [],
): IRequestOp => ({ request_txn: { compare, success, failure } });

export const isAbsent = (key: Buffer): ICompare => ({ result: 'Equal', target: 'Version', key, version: 0 });
export const isPresent = (key: Buffer): ICompare => ({
  result: 'Greater',
  target: 'Version',
  key,
  version: 0,
});
/** False where the key is absent, as all comparisons of values. */
export const valueIs = (key: Buffer, value: string): ICompare => ({
  result: 'Equal',
  target: 'Value',
  key,
  value: Buffer.from(value),
});
export const valueBelow = (key: Buffer, value: string): ICompare => ({
  result: 'Less',
  target: 'Value',
  key,
  value: Buffer.from(value),
});
export const valueAbove = (key: Buffer, value: string): ICompare => ({
  result: 'Greater',
  target: 'Value',
  key,
  value: Buffer.from(value),
});
/** 0 means absent. */
export const revisionIs = (key: Buffer, revision: number): ICompare => ({
  result: 'Equal',
  target: 'Mod',
  key,
  mod_revision: revision,
});
