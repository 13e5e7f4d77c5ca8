/**
 * Maintenance of logs: snapshots, trims, deletes.
 *
 * OWNERSHIP rule 8: each of them is one transaction that compares the fence with the caller's epoch and the log with
 * what was read of it, so a late one changes nothing; a snapshot never goes back; a trim reaches only below a stored
 * snapshot; a delete keeps the fence. Large ranges go in small steps: etcd serves nobody else during one.
 */
import type { ICompare, IRequestOp } from 'etcd3';
import type { Epoch, Seq, ShardId } from '../../model/ids.ts';
import { type FencedResult, type StoredSnapshot, StoreError } from '../store.ts';
import { CHUNK_BYTES, type Chunks } from './chunks.ts';
import type { EtcdClient } from './client.ts';
import {
  type CellKeys,
  digits,
  isAbsent,
  isPresent,
  nested,
  put,
  remove,
  revisionIs,
  valueAbove,
  valueBelow,
} from './keys.ts';
import { encodeHead, type LogReader, type LogState } from './log-reader.ts';

/** Seqs that one step of a trim removes. */
export const TRIM_STEP_SEQS = 2_000;
const ATTEMPTS_MAX = 8;

const DONE: FencedResult = Object.freeze({ ok: true });

export class LogKeeper {
  readonly #client: EtcdClient;
  readonly #keys: CellKeys;
  readonly #chunks: Chunks;
  readonly #reader: LogReader;

  constructor(client: EtcdClient, keys: CellKeys, chunks: Chunks, reader: LogReader) {
    this.#client = client;
    this.#keys = keys;
    this.#chunks = chunks;
    this.#reader = reader;
  }

  /** The snapshot must have been checked. */
  async putSnapshot(shard: ShardId, epoch: Epoch, snapshot: StoredSnapshot): Promise<FencedResult> {
    const { seq, bytes } = snapshot;
    const reference = this.#chunks.plan(bytes);
    const chunkKeys = this.#chunks.keysOf('snapshot', shard, seq, reference);
    const apart = bytes.byteLength > CHUNK_BYTES;
    let written = false;
    return this.#attempt(shard, epoch, async (state, fenceHolds) => {
      const stored = state.head?.seq ?? -1;
      if (seq < stored) return { ok: false, reason: 'stale' };
      if (seq === stored) return DONE;
      const beyond = seq > state.end;
      // What an earlier stay of the shard left: in steps first, the rest with the commit.
      if (beyond && state.head)
        await this.#trimTo(shard, fenceHolds, state, Math.min(state.head.seq, state.end));
      if (apart && !written) {
        await this.#chunks.write('snapshot', shard, epoch, seq, reference, bytes);
        written = true;
        // The upload took its time: judge by what stands now.
        return undefined;
      }
      const compare: ICompare[] = [fenceHolds, revisionIs(this.#keys.head(shard), state.headRevision)];
      // A delete in between took the chunks along, all in one transaction.
      if (apart) compare.push(isPresent(chunkKeys.at(-1)!));
      const writes: IRequestOp[] = [
        put(this.#keys.head(shard), encodeHead({ seq, ...reference })),
        remove(this.#keys.chunks('snapshot', shard, 0, seq)),
      ];
      if (!apart && bytes.byteLength > 0) writes.push(put(chunkKeys[0]!, Buffer.from(bytes)));
      if (beyond) {
        // OWNERSHIP rule 9: a copy begins with a snapshot beyond the end, which replaces the log up to itself.
        compare.push(revisionIs(this.#keys.end(shard), state.endRevision));
        writes.push(
          put(this.#keys.end(shard), digits(seq)),
          put(this.#keys.trimmed(shard), digits(seq)),
          remove(this.#keys.blocks(shard, 0)),
          remove(this.#keys.chunks('delta', shard, 0, seq + 1)),
        );
      }
      return (await this.#commit(compare, writes)) ? DONE : undefined;
    });
  }

  trim(shard: ShardId, epoch: Epoch, throughSeq: Seq): Promise<FencedResult> {
    return this.#attempt(shard, epoch, async (state, fenceHolds) => {
      const upTo = Math.min(throughSeq, state.head?.seq ?? 0, state.end);
      return (await this.#trimTo(shard, fenceHolds, state, upTo)) ? DONE : undefined;
    });
  }

  deleteLog(shard: ShardId, epoch: Epoch): Promise<FencedResult> {
    return this.#attempt(shard, epoch, async (state, fenceHolds) => {
      if (state.head && !(await this.#trimTo(shard, fenceHolds, state, Math.min(state.head.seq, state.end))))
        return undefined;
      const keys = this.#keys;
      const committed = await this.#commit(
        [fenceHolds, revisionIs(keys.end(shard), state.endRevision)],
        [
          remove(keys.end(shard)),
          remove(keys.trimmed(shard)),
          remove(keys.head(shard)),
          remove(keys.blocks(shard, 0)),
          remove(keys.chunks('snapshot', shard, 0, Number.MAX_SAFE_INTEGER)),
          remove(keys.chunks('delta', shard, 0, Number.MAX_SAFE_INTEGER)),
        ],
      );
      return committed ? DONE : undefined;
    });
  }

  /** Removes what is stored up to a seq, in steps. False where something changed meanwhile. */
  async #trimTo(shard: ShardId, fenceHolds: ICompare, state: LogState, upTo: Seq): Promise<boolean> {
    const trimmed = this.#keys.trimmed(shard);
    let revision = state.trimmedRevision;
    for (let through = state.trimmedThrough; through < upTo; ) {
      through = Math.min(upTo, through + TRIM_STEP_SEQS);
      const { succeeded, header } = await this.#client.txn({
        compare: [
          fenceHolds,
          revisionIs(trimmed, revision),
          // A head begins with its seq and goes on, so one of this very seq counts as above it.
          valueAbove(this.#keys.head(shard), digits(through)),
        ],
        success: [
          nested(
            [],
            [
              put(trimmed, digits(through)),
              remove(this.#keys.blocks(shard, 0, through + 1)),
              remove(this.#keys.chunks('delta', shard, 0, through + 1)),
            ],
          ),
        ],
      });
      if (!succeeded) return false;
      revision = Number(header.revision);
    }
    return true;
  }

  /** Nested, so that etcd's own quota does not stop the cluster: upkeep.ts keeps the size below it. */
  async #commit(compare: ICompare[], writes: IRequestOp[]): Promise<boolean> {
    const { succeeded } = await this.#client.txn({ compare, success: [nested([], writes)] });
    return succeeded;
  }

  /** Reads, refuses by the fence, and runs; `undefined` means that the log changed, so all of it again. */
  async #attempt(
    shard: ShardId,
    epoch: Epoch,
    run: (state: LogState, fenceHolds: ICompare) => Promise<FencedResult | undefined>,
  ): Promise<FencedResult> {
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      const state = await this.#reader.state(shard);
      if (state.fence !== undefined && state.fence > epoch)
        return { ok: false, reason: 'fenced', fence: state.fence };
      const fence = this.#keys.fence(shard);
      const fenceHolds = state.fence === undefined ? isAbsent(fence) : valueBelow(fence, digits(epoch + 1));
      const result = await run(state, fenceHolds);
      if (result) return result;
    }
    throw new StoreError('unavailable', `the log of ${shard} kept changing; try again`);
  }
}
