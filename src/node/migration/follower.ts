/**
 * A copy of a shard kept up to date: pull a snapshot, apply it, follow the source's durable deltas. The target of a move
 * is one until it is primary; a standby is one for good, and each becomes the other without a copy being made anew.
 *
 *   transferring -> applying -> following -> (stopped: promoted or dropped)
 *        ^______________________|  gap: reload (OWNERSHIP rule 7)
 *   any -> failed
 *
 * Boundary: it feeds the follower that the node's core keeps and never makes it primary. Invariants: entries are
 * applied in order of seq and each once (the core refuses a gap); after `stop` nothing is applied any more; a move's
 * follower nobody asks about for {@link ORPHAN_MS} is an orphan, so a dead controller leaves no copies behind.
 */
import { sleep } from '../../io/io.ts';
import type { Seq, ShardId } from '../../model/ids.ts';
import type { LogEntry } from '../../store/store.ts';
import type { ClientStream } from '../../wire/rpc.ts';
import type { Copy } from '../copying.ts';
import type { LocalReplica, ParticipantHost } from '../participant.ts';
import { type RecentQuery, type ReplicaStatus, STANDBY } from '../protocol.ts';
import { pullSnapshot } from './pull.ts';
import { codeOf, messageOf, Refusal } from './refusal.ts';

/** Snapshots pulled before giving up: each reload means that the log was trimmed or bytes came damaged. */
const RELOADS_MAX = 5;
/** How long the source may be out of reach before the follower calls itself failed. */
const SOURCE_SILENT_MS_MAX = 15_000;
const RECONNECT_DELAY_MS = 50;
const RECONNECT_DELAY_MS_MAX = 1_000;
export const ORPHAN_MS = 10 * 60_000;
const BEGIN_TIMEOUT_MS = 30_000;

export interface FollowSource {
  processId: string;
  address: string;
}

export class Follower {
  readonly shard: ShardId;
  readonly source: FollowSource;
  #migration: string;
  phase: NonNullable<ReplicaStatus['phase']> = 'transferring';
  error: string | undefined;
  bytesTransferred = 0;
  bytesTotal = 0;
  sourceSeq: Seq = 0;
  /** Came with the offer; kept for the warm-up right after it. */
  recentQueries: RecentQuery[] | undefined;
  readonly #host: ParticipantHost;
  readonly #bytesPerSecond: number;
  readonly #giveWay: boolean;
  readonly #onOrphan: () => void;
  readonly #onFailed: () => void;
  readonly #waiters = new Set<{ untilSeq: Seq; wake: () => void }>();
  /** The copy that is being opened, which a stop cannot interrupt. */
  #applying: Promise<void> | undefined;
  #stopped = false;
  #stream: ClientStream | undefined;
  /** Opens the stream anew, where one is open. */
  #reopen: () => void = () => {};
  /** Applies what came, where it is asked for. */
  #take: (entries: LogEntry[], durableSeq: Seq) => void = () => {};
  #forgetOrphan: () => void = () => {};

  constructor(options: {
    host: ParticipantHost;
    shard: ShardId;
    migration: string;
    source: FollowSource;
    bytesPerSecond: number;
    giveWay: boolean;
    /** Nobody asked about it for long. */
    onOrphan: () => void;
    /** There is nothing to follow any more, or it cannot be followed. */
    onFailed: () => void;
  }) {
    this.#host = options.host;
    this.shard = options.shard;
    this.#migration = options.migration;
    this.source = options.source;
    this.#bytesPerSecond = Math.max(1, options.bytesPerSecond);
    this.#giveWay = options.giveWay;
    this.#onOrphan = options.onOrphan;
    this.#onFailed = options.onFailed;
    this.touch();
  }

  /** What it follows for: a migration, or {@link STANDBY}. */
  get migration(): string {
    return this.#migration;
  }

  get isStandby(): boolean {
    return this.#migration === STANDBY;
  }

  /** Goes on for another purpose, from the copy that is here: the source hears of it by a new stream. */
  serveAs(migration: string): void {
    if (this.#stopped || this.#migration === migration) return;
    this.#migration = migration;
    this.touch();
    this.#reopen();
  }

  /**
   * Pulls, applies and follows until stopped; failures end in `phase`, never in a rejection.
   *
   * @param earlier a stopped follower of the same shard, which may still be in the middle of opening its copy: two at
   * once would take each other's replica away.
   */
  start(earlier?: Follower): void {
    (earlier ? (earlier.#applying ?? Promise.resolve()) : Promise.resolve())
      .then(() => this.#run(true))
      .catch((error) => this.#fail(messageOf(error)));
  }

  /** Follows with the state that is already here: the old primary after a hand-off. */
  startFromHere(): void {
    this.#run(false).catch((error) => this.#fail(messageOf(error)));
  }

  /** Nothing is applied after this; the replica itself is the caller's. */
  stop(): void {
    this.#stopped = true;
    this.#stream?.cancel();
    this.#stream = undefined;
    this.#forgetOrphan();
    this.#wake();
  }

  /** Somebody still cares. A standby needs nobody to: its primary ends it. */
  touch(): void {
    this.#forgetOrphan();
    if (this.#stopped || this.isStandby) return;
    this.#forgetOrphan = this.#host.io.clock.setTimer(ORPHAN_MS, () => this.#onOrphan());
  }

  get appliedSeq(): Seq {
    return this.#replica()?.state.appliedSeq ?? 0;
  }

  /** Resolves when it follows and has applied `untilSeq`, when it failed or stopped, or after `waitMs`. */
  settled(untilSeq: Seq, waitMs: number): Promise<void> {
    if (this.#isSettled(untilSeq) || waitMs <= 0) return Promise.resolve();
    return new Promise((resolve) => {
      const waiter = {
        untilSeq,
        wake: () => {
          cancel();
          this.#waiters.delete(waiter);
          resolve();
        },
      };
      const cancel = this.#host.io.clock.setTimer(waitMs, waiter.wake);
      this.#waiters.add(waiter);
    });
  }

  #isSettled(untilSeq: Seq): boolean {
    if (this.#stopped || this.phase === 'failed') return true;
    return this.phase === 'following' && this.appliedSeq >= untilSeq;
  }

  #wake(): void {
    for (const waiter of [...this.#waiters]) if (this.#isSettled(waiter.untilSeq)) waiter.wake();
  }

  #replica(): LocalReplica | undefined {
    const replica = this.#host.replica(this.shard);
    return replica?.role === 'follower' ? replica : undefined;
  }

  #fail(reason: string): void {
    if (this.#stopped || this.phase === 'failed') return;
    this.phase = 'failed';
    this.error = reason;
    this.#stream?.cancel();
    this.#wake();
    this.#onFailed();
  }

  async #run(load: boolean): Promise<void> {
    let loads = 0;
    let mustLoad = load;
    while (!this.#stopped) {
      if (mustLoad) {
        if (loads++ > RELOADS_MAX) {
          this.#fail(
            `${RELOADS_MAX} snapshots were outrun by the log; is the shard written faster than sent?`,
          );
          return;
        }
        // Once outrun by the log, it hurries.
        if (!(await this.#load(this.#giveWay && loads === 1))) continue;
        if (this.#stopped) return;
      }
      this.phase = 'following';
      const end = await this.#follow();
      if (this.#stopped) return;
      if (end !== 'gap') {
        this.#fail(end);
        return;
      }
      mustLoad = true;
    }
  }

  /** False: begin again. */
  async #load(giveWay: boolean): Promise<boolean> {
    const host = this.#host;
    this.phase = 'transferring';
    this.bytesTransferred = 0;
    let copy: Copy | undefined;
    try {
      const offer = await this.#patiently(() =>
        host
          .peer(this.source.address)
          .call(
            'transfer.begin',
            { shard: this.shard, migration: this.migration, ...(giveWay ? {} : { giveWay }) },
            { timeoutMs: BEGIN_TIMEOUT_MS },
          ),
      );
      this.bytesTotal = offer.bytes;
      this.recentQueries = offer.recentQueries;
      copy = host.copying.begin({ way: 'in', urgent: !giveWay || offer.urgent === true });
      const bytes = await pullSnapshot(host, this.source.address, offer, copy, {
        bytesPerSecond: this.#bytesPerSecond,
        onProgress: (sum) => {
          this.bytesTransferred = sum;
        },
        stopped: () => this.#stopped,
      });
      if (this.#stopped) return true;
      this.phase = 'applying';
      if (this.#replica()) host.dropFollower(this.shard);
      const snapshot = { seq: offer.seq, bytes };
      const slicer = copy.slicer();
      const applied = host
        .addFollower({
          shard: this.shard,
          migration: this.migration,
          source: { processId: this.source.processId, address: this.source.address },
          assignment: offer.assignment,
          opening: { snapshot, entries: [] },
          slicer,
        })
        .then(() => {
          if (this.#stopped) host.dropFollower(this.shard);
        });
      this.#applying = applied.catch(() => {});
      await applied;
      slicer.end();
      copy.end(offer.bytes);
      this.sourceSeq = Math.max(this.sourceSeq, offer.seq);
      return true;
    } catch (error) {
      const code = codeOf(error);
      if (code === 'gap' || code === 'bad-checksum') return false;
      throw error;
    } finally {
      copy?.end();
    }
  }

  /** Resolves with `gap`, or with the reason why there is nothing to follow. */
  #follow(): Promise<string> {
    const { clock } = this.#host.io;
    /** Since when the source has been out of reach. */
    let brokenSinceMs: number | undefined;
    let delayMs = RECONNECT_DELAY_MS;
    return new Promise((settle) => {
      // Once it is settled, an old stream's last words must not open another beside its successor's.
      let over = false;
      const resolve = (reason: string) => {
        over = true;
        settle(reason);
      };
      this.#stream = undefined;
      const open = () => {
        if (over || this.#stream !== undefined) return;
        if (this.#stopped) {
          resolve('stopped');
          return;
        }
        if (!this.#replica()) {
          resolve('the copy is no follower any more');
          return;
        }
        const stream = this.#host.peer(this.source.address).open(
          'follow.deltas',
          { shard: this.shard, migration: this.migration, afterSeq: this.appliedSeq },
          (item) => {
            if (over || this.#stopped || this.#stream !== stream) return;
            brokenSinceMs = undefined;
            delayMs = RECONNECT_DELAY_MS;
            this.#take(item.entries, item.durableSeq);
          },
          (error) => {
            if (over || this.#stream !== stream) return;
            brokenSinceMs ??= clock.monotonicMs();
            const silentMs = clock.monotonicMs() - brokenSinceMs;
            if (this.#stopped) resolve('stopped');
            else if (error?.code === 'gap') resolve('gap');
            else if (error && !isPassing(error.code)) resolve(`the source said: ${error.message}`);
            else if (silentMs > SOURCE_SILENT_MS_MAX)
              resolve(
                `nothing from the source for ${SOURCE_SILENT_MS_MAX} ms: ${error?.message ?? 'it ended'}`,
              );
            else {
              this.#stream = undefined;
              clock.setTimer(delayMs, open);
              // Thousands of standbys may wait for one primary.
              if (this.isStandby) delayMs = Math.min(RECONNECT_DELAY_MS_MAX, delayMs * 2);
            }
          },
        );
        this.#stream = stream;
      };
      const cancel = () => {
        const stream = this.#stream;
        this.#stream = undefined;
        stream?.cancel();
      };
      this.#reopen = () => {
        cancel();
        open();
      };
      this.#take = (entries, durableSeq) => {
        // Nothing is asked for just now: what comes is of an earlier stream.
        if (over || this.#stream === undefined) return;
        try {
          this.#apply(entries, durableSeq);
        } catch (error) {
          cancel();
          // Something was lost on the way: from what is here on, the log has the rest; if not, it says so.
          if (error instanceof RangeError) clock.setTimer(RECONNECT_DELAY_MS, open);
          else resolve(messageOf(error));
        }
      };
      open();
    });
  }

  /** What a batch of many shards has for this one. */
  deliver(entries: LogEntry[], durableSeq: Seq): void {
    if (!this.#stopped && this.phase === 'following') this.#take(entries, durableSeq);
  }

  #apply(entries: LogEntry[], durableSeq: Seq): void {
    if (durableSeq > this.sourceSeq) this.sourceSeq = durableSeq;
    const appliedSeq = this.appliedSeq;
    // A stream opened again may repeat what was applied.
    const fresh =
      entries[0] && entries[0].seq <= appliedSeq
        ? entries.filter((entry) => entry.seq > appliedSeq)
        : entries;
    this.#host.applyToFollower(this.shard, fresh, durableSeq);
    this.#wake();
  }

  async #patiently<T>(call: () => Promise<T>): Promise<T> {
    const { clock } = this.#host.io;
    const giveUpMs = clock.monotonicMs() + SOURCE_SILENT_MS_MAX;
    for (;;) {
      try {
        return await call();
      } catch (error) {
        // Without a replica: the source was asked to load it, and has not yet.
        if (!isPassing(codeOf(error) ?? '')) throw error;
        if (this.#stopped || clock.monotonicMs() > giveUpMs)
          throw new Refusal(
            'refused',
            `the source gave no snapshot for ${SOURCE_SILENT_MS_MAX} ms: ${messageOf(error)}`,
            {
              cause: error,
            },
          );
        await sleep(clock, RECONNECT_DELAY_MS);
      }
    }
  }
}

/** A new primary may not have opened yet when its predecessor begins to follow it; a connection may come back. */
function isPassing(code: string): boolean {
  return code === 'unavailable' || code === 'not-primary' || code === 'no-replica';
}
