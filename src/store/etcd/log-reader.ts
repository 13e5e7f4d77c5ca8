/**
 * Reading logs: openings and tails.
 *
 * OWNERSHIP rule 2: an opening raises the fence and reads fence, end, snapshot and log in one transaction. What does
 * not fit that transaction's answer is read after it *at its revision*, which is the same reading; where that revision
 * was compacted away meanwhile, the opening begins again.
 */
import type { IKeyValue, IRequestOp, IResponseOp } from 'etcd3';
import type { Epoch, Seq, ShardId } from '../../model/ids.ts';
import { ENTRIES_BYTES_MAX, ENTRIES_MAX } from '../limits.ts';
import { type LogEntry, type Opening, type OpenOptions, type StoredSnapshot, StoreError } from '../store.ts';
import { type ChunkReference, decodeBlock } from './blocks.ts';
import type { Chunks } from './chunks.ts';
import type { EtcdClient } from './client.ts';
import { CompactedError } from './errors.ts';
import { type CellKeys, digits, get, isAbsent, nested, numberOf, put, valueBelow } from './keys.ts';

/** A block holds up to a megabyte in theory, a few hundred bytes as a rule. */
const BLOCKS_PER_OPENING = 256;
const BLOCKS_PER_READ_MIN = 32;
const BLOCKS_PER_READ_MAX = 2_048;
/** Chunks of a snapshot that come along with an opening: 1 MB. */
const CHUNKS_PER_OPENING = 2;
const ATTEMPTS_MAX = 4;
const ENTRY_OVERHEAD_BYTES = 48;

export interface SnapshotHead extends ChunkReference {
  seq: Seq;
}

export function encodeHead({ seq, ...reference }: SnapshotHead): string {
  return `${digits(seq)}${JSON.stringify(reference)}`;
}

export function decodeHead(value: Buffer): SnapshotHead {
  const text = value.toString('utf8');
  return { seq: numberOf(text), ...(JSON.parse(text.slice(digits(0).length)) as ChunkReference) };
}

/** What is small of a log: everything but its entries and chunks. */
export interface LogState {
  /** Undefined: nobody raised it yet. */
  fence: Epoch | undefined;
  end: Seq;
  trimmedThrough: Seq;
  trimmedRevision: number;
  endRevision: number;
  headRevision: number;
  head: SnapshotHead | undefined;
  /** Of the reading. */
  revision: number;
}

/** Puts the fence to max(fence, epoch). */
export function raise(keys: CellKeys, shard: ShardId, epoch: Epoch): IRequestOp {
  const fence = keys.fence(shard);
  const write = [put(fence, digits(epoch))];
  return nested([isAbsent(fence)], write, [nested([valueBelow(fence, digits(epoch))], write)]);
}

export class LogReader {
  readonly #client: EtcdClient;
  readonly #keys: CellKeys;
  readonly #chunks: Chunks;

  constructor(client: EtcdClient, keys: CellKeys, chunks: Chunks) {
    this.#client = client;
    this.#keys = keys;
    this.#chunks = chunks;
  }

  async raiseFence(shard: ShardId, epoch: Epoch): Promise<Epoch> {
    const { responses } = await this.#client.txn({
      success: [raise(this.#keys, shard, epoch), get(this.#keys.fence(shard))],
    });
    return numberOf(responses[1]!.response_range.kvs[0]!.value);
  }

  async state(shard: ShardId): Promise<LogState> {
    const { responses, header } = await this.#client.txn({ success: this.#stateParts(shard) });
    return stateOf(responses, Number(header.revision));
  }

  open(shard: ShardId, epoch: Epoch, options: OpenOptions): Promise<Opening> {
    return againWhereCompacted(() => this.#openOnce(shard, epoch, options.knownSeq));
  }

  async #openOnce(shard: ShardId, epoch: Epoch, knownSeq: Seq | undefined): Promise<Opening> {
    const parts: IRequestOp[] = [
      ...this.#stateParts(shard),
      get({ ...this.#keys.blocks(shard, (knownSeq ?? 0) + 1), limit: BLOCKS_PER_OPENING }),
    ];
    if (knownSeq === undefined)
      parts.push(
        get({
          ...this.#keys.chunks('snapshot', shard, 0, Number.MAX_SAFE_INTEGER),
          limit: CHUNKS_PER_OPENING,
        }),
      );
    const { responses, header } = await this.#client.txn({
      success: [raise(this.#keys, shard, epoch), ...parts],
    });
    const revision = Number(header.revision);
    const state = stateOf(responses.slice(1), revision);
    const { head, end } = state;
    const opening: Opening = { fence: state.fence ?? 0, entries: [], end };
    const snapshotSeq = head?.seq ?? 0;
    const knows = knownSeq !== undefined && knownSeq >= (head?.seq ?? -1) && knownSeq <= end;
    if (head && knows) opening.snapshotLeftOut = { seq: head.seq, bytes: head.bytes };
    if (head && !knows) {
      const chunks = responses[6]?.response_range.kvs ?? [];
      opening.snapshot = await this.#snapshot(shard, head, revision, chunks);
    }
    const read = responses[5]!.response_range;
    // Blocks read along from before what is wanted may have taken the place of those that are.
    const usable = knows || knownSeq === undefined;
    opening.entries = await this.#entries(
      shard,
      Math.max(knows ? knownSeq : snapshotSeq, state.trimmedThrough),
      ENTRIES_BYTES_MAX,
      revision,
      usable ? { kvs: read.kvs, more: read.more } : undefined,
    );
    return opening;
  }

  tail(
    shard: ShardId,
    afterSeq: Seq,
    limitBytes: number,
  ): Promise<{ entries: LogEntry[]; end: Seq; firstSeq: Seq }> {
    return againWhereCompacted(async () => {
      const { responses, header } = await this.#client.txn({
        success: [
          ...this.#stateParts(shard),
          get({ ...this.#keys.blocks(shard, afterSeq + 1), limit: BLOCKS_PER_READ_MIN }),
        ],
      });
      const revision = Number(header.revision);
      const state = stateOf(responses, revision);
      const { kvs, more } = responses[4]!.response_range;
      const after = Math.max(afterSeq, state.trimmedThrough);
      const limit = Math.min(limitBytes, ENTRIES_BYTES_MAX);
      const entries = await this.#entries(shard, after, limit, revision, { kvs, more });
      return { entries, end: state.end, firstSeq: state.trimmedThrough + 1 };
    });
  }

  /** Entries after a seq up to a limit, from the blocks already read and those that follow at the same revision. */
  async #entries(
    shard: ShardId,
    afterSeq: Seq,
    limitBytes: number,
    revision: number,
    read: { kvs: IKeyValue[]; more: boolean } | undefined,
  ): Promise<LogEntry[]> {
    const entries: LogEntry[] = [];
    let bytes = 0;
    let page = read;
    let pageBlocks = BLOCKS_PER_READ_MIN;
    let lastSeq = afterSeq;
    for (;;) {
      if (page) {
        for (const { key, value } of page.kvs) {
          const blockLastSeq = numberOf(key.subarray(key.lastIndexOf(0) + 1));
          if (blockLastSeq <= afterSeq) continue;
          for (const { seq, id, content } of decodeBlock(value, blockLastSeq)) {
            if (seq <= afterSeq) continue;
            if (seq !== lastSeq + 1)
              throw new StoreError(
                'unavailable',
                `the log of ${shard} has no ${lastSeq + 1}, but ${seq}: it is damaged`,
              );
            bytes +=
              (content instanceof Uint8Array ? content.byteLength : content.bytes) + ENTRY_OVERHEAD_BYTES;
            if (entries.length > 0 && (bytes > limitBytes || entries.length >= ENTRIES_MAX)) return entries;
            const delta =
              content instanceof Uint8Array
                ? content
                : await this.#chunks.read('delta', shard, seq, content, revision);
            entries.push({ seq, id, delta });
            lastSeq = seq;
          }
        }
        if (!page.more) return entries;
      }
      const answer = await this.#client.range({
        ...this.#keys.blocks(shard, lastSeq + 1),
        limit: pageBlocks,
        revision,
      });
      page = answer;
      pageBlocks = Math.min(pageBlocks * 2, BLOCKS_PER_READ_MAX);
    }
  }

  async #snapshot(
    shard: ShardId,
    head: SnapshotHead,
    revision: number,
    found: readonly IKeyValue[],
  ): Promise<StoredSnapshot> {
    const byKey = new Map(found.map(({ key, value }) => [key.toString('latin1'), value]));
    return {
      seq: head.seq,
      bytes: await this.#chunks.read('snapshot', shard, head.seq, head, revision, byKey),
    };
  }

  #stateParts(shard: ShardId): IRequestOp[] {
    const keys = this.#keys;
    return [keys.fence(shard), keys.end(shard), keys.trimmed(shard), keys.head(shard)].map((key) => get(key));
  }
}

function stateOf(responses: readonly IResponseOp[], revision: number): LogState {
  const [fence, end, trimmed, head] = responses.slice(0, 4).map((response) => response.response_range.kvs[0]);
  return {
    fence: fence && numberOf(fence.value),
    end: end ? numberOf(end.value) : 0,
    endRevision: Number(end?.mod_revision ?? 0),
    trimmedThrough: trimmed ? numberOf(trimmed.value) : 0,
    trimmedRevision: Number(trimmed?.mod_revision ?? 0),
    head: head && decodeHead(head.value),
    headRevision: Number(head?.mod_revision ?? 0),
    revision,
  };
}

async function againWhereCompacted<Result>(run: () => Promise<Result>): Promise<Result> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await run();
    } catch (error) {
      if (!(error instanceof CompactedError) || attempt >= ATTEMPTS_MAX) throw error;
    }
  }
}
