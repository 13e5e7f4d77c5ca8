/**
 * A primary node's way to the nodes that stand by for its shards: what all shards have new for one of them leaves
 * together, as one batch, a few milliseconds later.
 *
 * Nobody waits for a standby, so the delay costs no request anything: what a promoted standby has not got it reads from
 * the log. Each shard keeps its own stream (`migration/delta-stream.ts`) for beginning, catching up and ending; only what
 * is live takes this way, and only while the other node has its carrier open.
 *
 * Invariants: deltas of one shard leave in order and without a hole; a batch that is lost with its connection shows at
 * the follower as a gap (it opens its stream anew at what it has); what waits is bounded by {@link BATCH_BYTES}.
 */
import type { Clock } from '../../io/io.ts';
import type { ProcessId } from '../../model/ids.ts';
import type { StreamContext } from '../../wire/rpc.ts';
import { type DeltaSection, encodeBatch } from './delta-batch.ts';

/** How long deltas wait for others: long enough for a batch that compresses, far below any bound on staleness. */
export const LINGER_MS = 20;
/** A batch that has so many bytes of deltas leaves at once. */
export const BATCH_BYTES = 256 * 1024;

/** What left for standbys, all together. */
export interface StandbyTraffic {
  deltas: number;
  /** Of deltas as the log holds them. */
  deltaBytes: number;
  /** Of batches as they left. */
  wireBytes: number;
  batches: number;
}

export class Outboxes {
  readonly traffic: StandbyTraffic = { deltas: 0, deltaBytes: 0, wireBytes: 0, batches: 0 };
  readonly #clock: Clock;
  readonly #outboxes = new Map<ProcessId, Outbox>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The process opened its carrier: stays pending while that is open. */
  carry(context: StreamContext): Promise<never> {
    const process = context.identity;
    this.#outboxes.get(process)?.close();
    const outbox = new Outbox(this.#clock, context, this.traffic);
    this.#outboxes.set(process, outbox);
    context.onCancel = () => {
      outbox.close();
      if (this.#outboxes.get(process) === outbox) this.#outboxes.delete(process);
    };
    return new Promise(() => {});
  }

  /** Undefined where the process has no carrier open: its deltas take the shard's own stream. */
  of(process: ProcessId): Outbox | undefined {
    return this.#outboxes.get(process);
  }
}

export class Outbox {
  readonly #clock: Clock;
  readonly #context: StreamContext;
  readonly #traffic: StandbyTraffic;
  #sections = new Map<string, DeltaSection>();
  #bytes = 0;
  #cancelTimer: (() => void) | undefined;

  constructor(clock: Clock, context: StreamContext, traffic: StandbyTraffic) {
    this.#clock = clock;
    this.#context = context;
    this.#traffic = traffic;
  }

  put(section: DeltaSection): void {
    const waiting = this.#sections.get(section.shard);
    if (waiting === undefined) {
      this.#sections.set(section.shard, { ...section, entries: [...section.entries] });
    } else {
      const expected = (waiting.entries.at(-1)?.seq ?? -1) + 1;
      const [first] = section.entries;
      if (first !== undefined && waiting.entries.length > 0 && first.seq !== expected) {
        this.flush();
        this.put(section);
        return;
      }
      waiting.entries.push(...section.entries);
      waiting.durableSeq = Math.max(waiting.durableSeq, section.durableSeq);
      waiting.epoch = section.epoch;
    }
    for (const { delta } of section.entries) {
      this.#bytes += delta.byteLength;
      this.#traffic.deltas++;
      this.#traffic.deltaBytes += delta.byteLength;
    }
    if (this.#bytes >= BATCH_BYTES) this.flush();
    else this.#cancelTimer ??= this.#clock.setTimer(LINGER_MS, () => this.flush());
  }

  /** What waits leaves now, before whatever is sent next on the same connection. */
  flush(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    if (this.#sections.size === 0) return;
    const batch = encodeBatch([...this.#sections.values()]);
    this.#sections.clear();
    this.#bytes = 0;
    this.#traffic.batches++;
    this.#traffic.wireBytes += batch.byteLength;
    this.#context.emit({ batch });
  }

  close(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    this.#sections.clear();
  }
}
