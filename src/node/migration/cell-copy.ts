/**
 * Copies a shard's log from the cell of its primary to another cell, while the shard runs (OWNERSHIP rule 9).
 *
 * Order: raise the new cell's fence to the next epoch, then write snapshot and deltas under that epoch. Invariants:
 * nothing is copied before the fence stands; only durable deltas are copied, with the ids they were first appended
 * under, so that a copy done twice is a copy done once; {@link copiedSeq} never passes what the new cell confirmed,
 * so a confirmed `copiedSeq = N` is the proof that the new log is contiguous to N.
 */
import type { Epoch, Seq, ShardId } from '../../model/ids.ts';
import type { Mutations } from '../../model/mutations.ts';
import type { AppendResult, CellStore, LogEntry } from '../../store/store.ts';
import type { LocalReplica } from '../participant.ts';
import { codeOf, Refusal } from './refusal.ts';

const BATCH_BYTES_MAX = 512 * 1024;
const BATCH_ENTRIES_MAX = 1_000;
/** Deltas waiting here beyond this are read from the old log instead. */
const QUEUE_BYTES_MAX = 8 * 1024 * 1024;
/** A lag so small that it goes along with the word to the target. */
const SMALL_LAG_BYTES = 64 * 1024;
const SMALL_LAG_ENTRIES = 100;
/** Rounds of copying what was written during the round before; then the shard outruns the copy. */
const ROUNDS_MAX = 50;
const ATTEMPTS_MAX = 5;

export class CellCopy {
  readonly #shard: ShardId;
  readonly #epoch: Epoch;
  readonly #replica: LocalReplica;
  readonly #from: CellStore;
  readonly #to: CellStore;
  readonly #mutations: Mutations | undefined;
  readonly #unsubscribe: () => void;
  #queue: LogEntry[] = [];
  #queueBytes = 0;
  #bytes = 0;
  #copiedSeq: Seq = 0;
  #verifiedSeq: Seq = -1;

  constructor(options: {
    shard: ShardId;
    /** The epoch of the new primary. */
    epoch: Epoch;
    replica: LocalReplica;
    from: CellStore;
    to: CellStore;
    mutations?: Mutations | undefined;
  }) {
    this.#shard = options.shard;
    this.#epoch = options.epoch;
    this.#replica = options.replica;
    this.#from = options.from;
    this.#to = options.to;
    this.#mutations = options.mutations;
    // Before the snapshot is taken: no delta can fall between the two.
    this.#unsubscribe = this.#replica.onDurable((entries) => {
      for (const entry of entries) this.#queueBytes += entry.delta.byteLength;
      this.#queue.push(...entries);
      if (this.#queueBytes > QUEUE_BYTES_MAX) this.#clearQueue();
    });
  }

  get copiedSeq(): Seq {
    return this.#copiedSeq;
  }

  get bytesCopied(): number {
    return this.#bytes;
  }

  /** Fence, snapshot and most of the tail. @throws Refusal when the new cell is fenced higher or is outrun. */
  async precopy(): Promise<void> {
    const raise = () =>
      this.#mutations?.has('copy-before-fence')
        ? Promise.resolve(this.#epoch)
        : this.#to.raiseFence(this.#shard, this.#epoch);
    const raised = raise();
    // Heard of below; a snapshot that cannot be taken must not leave it unheard.
    raised.catch(() => {});
    const snapshot = await this.#replica.state.snapshot();
    const put = () => this.#to.putSnapshot(this.#shard, this.#epoch, snapshot);
    // The snapshot goes out behind the fence on the same channel, which keeps order, without waiting for the answer: a
    // round trip less. Where either stays without one, both are done again, one after the other (OWNERSHIP rule 9).
    const [fence, stored] = await Promise.all([raised, put()]).catch(async (error: unknown) => {
      if (codeOf(error) !== 'unavailable') throw error;
      const again = await retried(raise);
      if (again !== this.#epoch) throw this.#fenced(again);
      return [again, await retried(put)] as const;
    });
    if (fence !== this.#epoch) throw this.#fenced(fence);
    if (!stored.ok && stored.reason === 'fenced') throw this.#fenced(stored.fence);
    this.#copiedSeq = snapshot.seq;
    this.#bytes += snapshot.bytes.byteLength;
    // What an earlier stay left there is a prefix of the same history: `stale` means that it reaches further.
    if (!stored.ok) this.#copiedSeq = Math.max(snapshot.seq, await this.#endThere());
    await this.catchUp();
  }

  /** Copies until what is left fits one message. */
  async catchUp(): Promise<void> {
    for (let round = 0; this.#lagIsLarge(); round++) {
      if (round > ROUNDS_MAX)
        throw new Refusal('refused', `${this.#shard} is written faster than the new cell takes it`);
      await this.copyThrough(this.#replica.state.durableSeq);
    }
  }

  /** The durable deltas up to `seq` that were not copied; undefined where they are not at hand, or are too many. */
  lacking(seq: Seq): LogEntry[] | undefined {
    if (this.#mutations?.has('tail-not-copied')) return undefined;
    const entries = this.#queue.filter((entry) => entry.seq > this.#copiedSeq && entry.seq <= seq);
    const isWhole = entries.every((entry, index) => entry.seq === this.#copiedSeq + 1 + index);
    if (!isWhole || entries.length !== Math.max(0, seq - this.#copiedSeq)) return undefined;
    let bytes = 0;
    for (const { delta } of entries) bytes += delta.byteLength;
    return entries.length > BATCH_ENTRIES_MAX || bytes > BATCH_BYTES_MAX ? undefined : entries;
  }

  /** Copies durable deltas up to `seq`; when it resolves, the new log is contiguous to `seq`. */
  async copyThrough(seq: Seq): Promise<void> {
    if (this.#mutations?.has('tail-not-copied')) return;
    let stuck = 0;
    while (this.#copiedSeq < seq) {
      const batch = await this.#next(seq);
      const results = await retried(() =>
        this.#to.append(
          batch.map(({ seq: entrySeq, id, delta }) => ({
            shard: this.#shard,
            epoch: this.#epoch,
            seq: entrySeq,
            id,
            delta,
          })),
        ),
      );
      const before = this.#copiedSeq;
      this.#judge(batch, results);
      stuck = this.#copiedSeq > before ? 0 : stuck + 1;
      if (stuck > ATTEMPTS_MAX)
        throw new Refusal('refused', `the new cell does not take ${this.#shard} beyond ${this.#copiedSeq}`);
    }
  }

  /** The new log is known to end exactly at `seq`. */
  isVerified(seq: Seq): boolean {
    if (this.#mutations?.has('tail-not-copied')) return true;
    return this.#verifiedSeq === seq && this.#copiedSeq === seq;
  }

  /** Reads back that the new log ends exactly at `seq`; free where the last append proved it. */
  async verify(seq: Seq): Promise<void> {
    if (this.isVerified(seq)) return;
    const { end, firstSeq } = await retried(() => this.#to.tail(this.#shard, seq, 1));
    if (end !== seq || firstSeq > seq + 1)
      throw new Refusal('refused', `the copied log of ${this.#shard} ends at ${end}, not at ${seq}`);
    this.#verifiedSeq = seq;
  }

  close(): void {
    this.#unsubscribe();
    this.#clearQueue();
  }

  #judge(batch: LogEntry[], results: AppendResult[]): void {
    for (const [index, result] of results.entries()) {
      const entry = batch[index]!;
      if (result.ok) {
        this.#copiedSeq = entry.seq;
        this.#bytes += entry.delta.byteLength;
        // Accepted as end + 1, or already there under the same id; nobody else writes under this fence.
        this.#verifiedSeq = entry.seq;
      } else if (result.reason === 'fenced') throw this.#fenced(result.fence);
      else {
        // An earlier stay's deltas, trimmed since: they are part of the same history.
        if (result.end > this.#copiedSeq) this.#copiedSeq = result.end;
        this.#verifiedSeq = -1;
        return;
      }
    }
  }

  async #next(throughSeq: Seq): Promise<LogEntry[]> {
    const wanted = this.#copiedSeq + 1;
    let skip = 0;
    while (skip < this.#queue.length && this.#queue[skip]!.seq < wanted) skip++;
    if (skip > 0) for (const entry of this.#queue.splice(0, skip)) this.#queueBytes -= entry.delta.byteLength;
    if (this.#queue[0]?.seq !== wanted) {
      const { entries } = await retried(() => this.#from.tail(this.#shard, this.#copiedSeq, BATCH_BYTES_MAX));
      if (entries[0]?.seq !== wanted)
        throw new Refusal('gap', `the log of ${this.#shard} no longer holds ${wanted}`);
      return entries.filter((entry) => entry.seq <= throughSeq).slice(0, BATCH_ENTRIES_MAX);
    }
    const batch: LogEntry[] = [];
    let bytes = 0;
    for (const entry of this.#queue) {
      if (entry.seq > throughSeq || batch.length >= BATCH_ENTRIES_MAX || bytes > BATCH_BYTES_MAX) break;
      if (entry.seq !== wanted + batch.length) break;
      batch.push(entry);
      bytes += entry.delta.byteLength;
    }
    return batch;
  }

  #lagIsLarge(): boolean {
    const lag = this.#replica.state.durableSeq - this.#copiedSeq;
    return lag > SMALL_LAG_ENTRIES || (lag > 0 && this.#queueBytes > SMALL_LAG_BYTES);
  }

  async #endThere(): Promise<Seq> {
    const { end } = await retried(() => this.#to.tail(this.#shard, this.#copiedSeq, 1));
    return end;
  }

  #clearQueue(): void {
    this.#queue = [];
    this.#queueBytes = 0;
  }

  #fenced(fence: Epoch): Refusal {
    return new Refusal(
      'refused',
      `the new cell is fenced at epoch ${fence}, not ${this.#epoch}: ${this.#shard} has moved on`,
    );
  }
}

/** Every call of a copy is idempotent, so an unknown outcome is tried again, a few times, at once. */
async function retried<T>(call: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await call();
    } catch (error) {
      if (codeOf(error) !== 'unavailable' || attempt >= ATTEMPTS_MAX) throw error;
    }
  }
}
