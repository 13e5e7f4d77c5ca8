/**
 * Group commit: appends of many shards in one request of nested transactions, one a shard, several requests under way.
 *
 *   append -> line of its shard -> (line not busy) run of consecutive seqs -> flush -> accepted | judged | unknown
 *
 * Invariants:
 *  - OWNERSHIP rule 3, by etcd itself: a run is written only if fence <= its epoch and end = its first seq - 1, both
 *    compared in the transaction that writes it. So it matters not what this process believes, nor which of its
 *    requests arrives first or twice.
 *  - a shard is in one request at a time, since requests under way together have no order: its line waits, in order;
 *  - a refusal is judged from a reading made after the refusal; the same id already at that seq is success;
 *  - an unknown outcome is told as such (`unavailable`), never guessed.
 */
import type { IKeyValue, IRequestOp, ITxnRequest, ITxnResponse } from 'etcd3';
import type { Io } from '../../io/io.ts';
import type { Epoch, Seq, ShardId } from '../../model/ids.ts';
import { type Append, type AppendResult, StoreError } from '../store.ts';
import { type ChunkReference, decodeBlock, ENTRY_BYTES, encodeBlock } from './blocks.ts';
import type { Chunks } from './chunks.ts';
import type { EtcdClient } from './client.ts';
import { storeErrorOfEtcd } from './errors.ts';
import { type CellKeys, digits, get, isAbsent, nested, numberOf, put, valueBelow, valueIs } from './keys.ts';

export interface FlushLimits {
  /** Requests under way at once. */
  flushesInFlightMax: number;
  /** Shards in one request: more do not fit two levels of nesting within etcd's default --max-txn-ops of 128. */
  shardsPerFlushMax: number;
  /** Deltas of one shard in one request. */
  entriesPerRunMax: number;
}

export const FLUSH_LIMITS_DEFAULT: FlushLimits = {
  flushesInFlightMax: 4,
  shardsPerFlushMax: 1_600,
  entriesPerRunMax: 1_000,
};

/** Beyond this a delta goes in chunks of its own. */
export const INLINE_DELTA_BYTES_MAX = 256 * 1024;
const FLUSH_BYTES_MAX = 1024 * 1024;
/** What a nested transaction costs beside keys and block. */
const PART_OVERHEAD_BYTES = 64;
const QUEUE_ITEMS_MAX = 40_000;
const QUEUE_BYTES_MAX = 192 * 1024 * 1024;
const GROUP_MAX = 40;
/** Refused, judged acceptable, and refused again: someone else keeps changing the log. */
const JUDGEMENTS_MAX = 8;
/** One member died, another gave the call up for the election: the third try finds the new leader. */
const ATTEMPTS_MAX = 3;
/** Each brings a whole block back. */
const ID_READS_PER_REQUEST = 100;

interface Item {
  append: Append;
  /** Where the delta's chunks are, once they are written. */
  reference?: ChunkReference;
  answer: (result: AppendResult) => void;
  fail: (error: StoreError) => void;
}

interface Line {
  shard: ShardId;
  items: Item[];
  /** In a request, being judged, or writing chunks. */
  busy: boolean;
  /** No opener ever raised the fence: it has no value that could be compared. */
  fenceAbsent: boolean;
  judgements: number;
}

interface Run {
  line: Line;
  items: Item[];
}

const ACCEPTED: AppendResult = Object.freeze({ ok: true });

export class AppendLines {
  readonly #io: Pick<Io, 'clock'>;
  readonly #client: EtcdClient;
  readonly #keys: CellKeys;
  readonly #chunks: Chunks;
  readonly #limits: FlushLimits;
  readonly #lines = new Map<ShardId, Line>();
  /** Lines with something to send and not busy, first come first served. */
  readonly #ready = new Set<Line>();
  #inFlight = 0;
  #deferred = false;
  #queuedItems = 0;
  #queuedBytes = 0;
  #closed = false;

  constructor(options: {
    io: Pick<Io, 'clock'>;
    client: EtcdClient;
    keys: CellKeys;
    chunks: Chunks;
    limits?: Partial<FlushLimits>;
  }) {
    this.#io = options.io;
    this.#client = options.client;
    this.#keys = options.keys;
    this.#chunks = options.chunks;
    this.#limits = { ...FLUSH_LIMITS_DEFAULT, ...options.limits };
  }

  /** The batch must have been checked. Rejects with `unavailable` where any outcome is unknown. */
  append(batch: readonly Append[]): Promise<AppendResult[]> {
    if (batch.length === 0) return Promise.resolve([]);
    let bytes = 0;
    for (const { delta } of batch) bytes += delta.byteLength;
    if (this.#closed) return Promise.reject(new StoreError('unavailable', 'the store is closed'));
    if (
      this.#queuedItems > 0 &&
      (this.#queuedItems + batch.length > QUEUE_ITEMS_MAX || this.#queuedBytes + bytes > QUEUE_BYTES_MAX)
    )
      return Promise.reject(
        new StoreError('unavailable', 'the cell has too much to write; nothing was done, try again later'),
      );
    return new Promise((resolve, reject) => {
      const results: AppendResult[] = new Array(batch.length);
      let left = batch.length;
      let failure: StoreError | undefined;
      this.#queuedItems += batch.length;
      this.#queuedBytes += bytes;
      const settle = (index: number) => {
        this.#queuedItems--;
        this.#queuedBytes -= batch[index]!.delta.byteLength;
        if (--left > 0) return;
        if (failure) reject(failure);
        else resolve(results);
      };
      for (let i = 0; i < batch.length; i++) {
        this.#add({
          append: batch[i]!,
          answer: (result) => {
            results[i] = result;
            settle(i);
          },
          fail: (error) => {
            // Unknown beats refused: whoever hears `too-large` believes that nothing was written.
            if (!failure || error.code === 'unavailable') failure = error;
            settle(i);
          },
        });
      }
    });
  }

  close(): void {
    this.#closed = true;
    const error = new StoreError('unavailable', 'the store is closing');
    for (const line of [...this.#lines.values()]) for (const item of line.items.splice(0)) item.fail(error);
    this.#lines.clear();
    this.#ready.clear();
  }

  #add(item: Item): void {
    const { shard } = item.append;
    let line = this.#lines.get(shard);
    if (!line) {
      line = { shard, items: [], busy: false, fenceAbsent: false, judgements: 0 };
      this.#lines.set(shard, line);
    }
    line.items.push(item);
    if (line.busy) return;
    this.#ready.add(line);
    if (this.#deferred) return;
    this.#deferred = true;
    this.#io.clock.defer(this.#pumpDeferred);
  }

  readonly #pumpDeferred = () => {
    this.#deferred = false;
    this.#pump();
  };

  #pump(): void {
    while (!this.#closed && this.#ready.size > 0 && this.#inFlight < this.#limits.flushesInFlightMax) {
      const runs = this.#takeRuns();
      if (runs.length > 0) void this.#flush(runs);
    }
  }

  #takeRuns(): Run[] {
    const runs: Run[] = [];
    let bytes = 0;
    for (const line of this.#ready) {
      if (runs.length >= this.#limits.shardsPerFlushMax || bytes >= FLUSH_BYTES_MAX) break;
      this.#ready.delete(line);
      line.busy = true;
      const first = line.items[0]!;
      if (isLarge(first)) {
        void this.#writeChunks(line, first);
        continue;
      }
      const run: Run = { line, items: [] };
      bytes += PART_OVERHEAD_BYTES + 5 * line.shard.length;
      for (const item of line.items) {
        const itemBytes = bytesOf(item);
        if (run.items.length > 0) {
          const previous = run.items.at(-1)!.append;
          if (
            item.append.seq !== previous.seq + 1 ||
            item.append.epoch !== previous.epoch ||
            isLarge(item) ||
            run.items.length >= this.#limits.entriesPerRunMax ||
            bytes + itemBytes > FLUSH_BYTES_MAX
          )
            break;
        } else if (runs.length > 0 && bytes + itemBytes > FLUSH_BYTES_MAX) break;
        bytes += itemBytes;
        run.items.push(item);
      }
      if (run.items.length === 0) {
        // Too much for the rest of this request: the first of the next one.
        line.busy = false;
        this.#ready.add(line);
        break;
      }
      line.items.splice(0, run.items.length);
      runs.push(run);
    }
    return runs;
  }

  async #flush(runs: Run[]): Promise<void> {
    this.#inFlight++;
    const outcomes = await this.#send(runs);
    const refused: Run[] = [];
    for (let i = 0; i < runs.length; i++) {
      const run = runs[i]!;
      if (outcomes instanceof StoreError) this.#finish(run, outcomes);
      else if (outcomes[i]) this.#finish(run, ACCEPTED);
      else refused.push(run);
    }
    // Judging takes the place of a flush: after an outage there may be thousands of runs to judge.
    if (refused.length > 0) await this.#judge(refused);
    this.#inFlight--;
    this.#pump();
  }

  async #send(runs: Run[]): Promise<boolean[] | StoreError> {
    try {
      const answers = await this.#nestedTransactions(this.#parts(runs));
      return answers.map(({ succeeded }) => succeeded);
    } catch (error) {
      return storeErrorOfEtcd(error);
    }
  }

  /** One request, in one level or two. */
  async #nestedTransactions(parts: IRequestOp[]): Promise<ITxnResponse[]> {
    const answersOf = (answer: ITxnResponse) => answer.responses.map((response) => response.response_txn);
    if (parts.length <= GROUP_MAX) return answersOf(await this.#txn({ success: parts }));
    const size = Math.ceil(parts.length / Math.ceil(parts.length / GROUP_MAX));
    const groups: IRequestOp[] = [];
    for (let i = 0; i < parts.length; i += size) groups.push(nested([], parts.slice(i, i + size)));
    return answersOf(await this.#txn({ success: groups })).flatMap(answersOf);
  }

  /**
   * OWNERSHIP rule 3: appends may be repeated unchanged, and readings anyway. After an election, or the death of a member,
   * that is done here at once: the way back to whoever appends, and its pause, would lengthen the gap.
   */
  async #txn(request: ITxnRequest): Promise<ITxnResponse> {
    const untilMs = this.#io.clock.monotonicMs() + this.#client.timeoutMs;
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#client.txn(request);
      } catch (error) {
        const { code, message } = storeErrorOfEtcd(error);
        // A cluster that has too much to do gains nothing from being asked again at once.
        const passing = code === 'unavailable' && !/too many requests/.test(message);
        const isLate = this.#io.clock.monotonicMs() >= untilMs;
        if (!passing || isLate || attempt >= ATTEMPTS_MAX || this.#closed) throw error;
      }
    }
  }

  #parts(runs: readonly Run[]): IRequestOp[] {
    return runs.map(({ line, items }) => {
      const { shard } = line;
      const { epoch, seq: firstSeq } = items[0]!.append;
      const lastSeq = items.at(-1)!.append.seq;
      const fence = this.#keys.fence(shard);
      const end = this.#keys.end(shard);
      const block = encodeBlock(
        items.map(({ append, reference }) => ({ id: append.id, content: reference ?? append.delta })),
      );
      // OWNERSHIP rule 3.
      return nested(
        [
          line.fenceAbsent ? isAbsent(fence) : valueBelow(fence, digits(epoch + 1)),
          firstSeq === 1 ? isAbsent(end) : valueIs(end, digits(firstSeq - 1)),
        ],
        [put(end, digits(lastSeq)), put(this.#keys.block(shard, lastSeq), block)],
      );
    });
  }

  /** Why runs were refused, from a new reading of all of them; what turns out acceptable is sent again. */
  async #judge(runs: Run[]): Promise<void> {
    let failure: StoreError | undefined;
    try {
      const states = await this.#nestedTransactions(
        runs.map(({ line: { shard } }) =>
          nested([], [get(this.#keys.fence(shard)), get(this.#keys.end(shard))]),
        ),
      );
      const judged = runs.map((run, i) => {
        const [fence, end] = states[i]!.responses.map((response) => response.response_range.kvs[0]);
        run.line.fenceAbsent = fence === undefined;
        return { run, fence: fence ? numberOf(fence.value) : 0, end: end ? numberOf(end.value) : 0 };
      });
      await this.#answerRefused(judged);
    } catch (error) {
      failure = storeErrorOfEtcd(error);
    }
    for (const run of runs) {
      const { line } = run;
      if (run.items.length > 0 && ++line.judgements > JUDGEMENTS_MAX)
        failure ??= new StoreError('unavailable', `the log of ${line.shard} kept changing; try again`);
      if (failure) for (const item of run.items) item.fail(failure);
      else line.items.unshift(...run.items);
      this.#release(line);
    }
  }

  async #answerRefused(judged: readonly { run: Run; fence: Epoch; end: Seq }[]): Promise<void> {
    const stored = await this.#storedIds(judged);
    for (let i = 0; i < judged.length; i++) {
      const { run, fence, end } = judged[i]!;
      const known = stored[i]!;
      while (run.items.length > 0) {
        const { seq, epoch, id } = run.items[0]!.append;
        // Acceptable now: the fence had no value yet, or another change came between.
        if (seq === end + 1 && fence <= epoch) break;
        if (seq <= end && !known.has(seq)) await this.#readIds(run.line.shard, seq, known);
        const result: AppendResult =
          seq <= end && known.get(seq) === id
            ? ACCEPTED
            : fence > epoch
              ? { ok: false, reason: 'fenced', fence }
              : { ok: false, reason: 'seq', end };
        run.items.shift()!.answer(result);
      }
    }
  }

  /** Ids of the deltas that stand where runs would begin: for all runs in one reading, as after an outage. */
  async #storedIds(judged: readonly { run: Run; end: Seq }[]): Promise<Map<Seq, string>[]> {
    const found = judged.map(() => new Map<Seq, string>());
    const taken = judged.flatMap(({ run, end }, i) => (run.items[0]!.append.seq <= end ? [i] : []));
    for (let first = 0; first < taken.length; first += ID_READS_PER_REQUEST) {
      const some = taken.slice(first, first + ID_READS_PER_REQUEST);
      const answers = await this.#nestedTransactions(
        some.map((i) => {
          const { shard, seq } = judged[i]!.run.items[0]!.append;
          return nested([], [get({ ...this.#keys.blocks(shard, seq), limit: 1 })]);
        }),
      );
      some.forEach((i, at) => {
        addIds(answers[at]!.responses[0]!.response_range.kvs, found[i]!);
      });
    }
    return found;
  }

  /** Nothing is found where the seq was trimmed away. */
  async #readIds(shard: ShardId, seq: Seq, known: Map<Seq, string>): Promise<void> {
    addIds((await this.#client.range({ ...this.#keys.blocks(shard, seq), limit: 1 })).kvs, known);
  }

  async #writeChunks(line: Line, item: Item): Promise<void> {
    const { shard, epoch, seq, delta } = item.append;
    try {
      const reference = this.#chunks.plan(delta);
      await this.#chunks.write('delta', shard, epoch, seq, reference, delta);
      item.reference = reference;
    } catch (error) {
      line.items.shift();
      // Nobody refers to the chunks: surely nothing was appended, but the way to the cell is broken all the same.
      this.#finish({ line, items: [item] }, storeErrorOfEtcd(error));
      this.#pump();
      return;
    }
    this.#release(line);
    this.#pump();
  }

  #finish(run: Run, outcome: AppendResult | StoreError): void {
    if (outcome instanceof StoreError) for (const item of run.items) item.fail(outcome);
    else {
      run.line.judgements = 0;
      for (const item of run.items) item.answer(outcome);
    }
    this.#release(run.line);
  }

  #release(line: Line): void {
    line.busy = false;
    if (line.items.length > 0) this.#ready.add(line);
    else this.#lines.delete(line.shard);
  }
}

function isLarge({ append, reference }: Item): boolean {
  return reference === undefined && append.delta.byteLength > INLINE_DELTA_BYTES_MAX;
}

function bytesOf({ append, reference }: Item): number {
  return ENTRY_BYTES + append.id.length + (reference ? 128 : append.delta.byteLength);
}

function addIds(blocks: readonly IKeyValue[], known: Map<Seq, string>): void {
  for (const { key, value } of blocks) {
    const lastSeq = numberOf(key.subarray(key.lastIndexOf(0) + 1));
    for (const entry of decodeBlock(value, lastSeq)) known.set(entry.seq, entry.id);
  }
}
