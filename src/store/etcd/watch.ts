/**
 * One watch over etcd: each change after a revision once, in order, over any number of streams.
 *
 * It always watches the whole of the control store and picks what is wanted, so that every revision a caller has seen
 * comes by, and with it the word of how far everything is delivered. Progress notes of etcd are not used for that:
 * before 3.4.25 and 3.5.8 they could overtake the events they speak of. Where another user of the same etcd raises
 * revisions that never come by, a mark is put that does.
 *
 *   opening --created--> live --stream ends--> (pause) opening
 *      \--compacted--> reset told, and on from the present revision
 */
import type { IWatchResponse } from 'etcd3';
import type { Clock } from '../../io/io.ts';
import type { WatchEvent } from '../store.ts';
import type { EtcdClient, EtcdStream } from './client.ts';
import type { KeyRange } from './keys.ts';

const RETRY_MS_MIN = 20;
const RETRY_MS_MAX = 1_000;
/** A stream that is silent for so long is looked after. */
const SILENCE_MS = 5_000;
const ANSWER_MS_MAX = 2_500;

export interface EtcdWatchOptions {
  client: EtcdClient;
  clock: Clock;
  range: KeyRange;
  fromRevision: number;
  /** Undefined where an event is not for this watcher. */
  decode: (event: IWatchResponse['events'][number]) => WatchEvent | undefined;
  onEvent: (event: WatchEvent) => void;
  onProgress: (revision: number) => void;
}

export class EtcdWatch {
  readonly #o: EtcdWatchOptions;
  #stream: EtcdStream<object> | undefined;
  /** Everything up to here has been delivered. */
  #revision: number;
  /** `fromRevision` was compared with the store's own: it lies not in the future. */
  #checked = false;
  #retryMs = RETRY_MS_MIN;
  #cancelTimer: () => void = () => {};
  #heardMs = 0;
  #cancelWatchdog: () => void = () => {};
  #closed = false;

  constructor(options: EtcdWatchOptions) {
    this.#o = options;
    this.#revision = options.fromRevision;
    this.#open();
    this.#armWatchdog();
  }

  get revision(): number {
    return this.#revision;
  }

  close(): void {
    this.#closed = true;
    this.#cancelTimer();
    this.#cancelWatchdog();
    this.#stream?.close();
  }

  #open(): void {
    if (this.#closed) return;
    this.#heardMs = this.#o.clock.monotonicMs();
    const stream: EtcdStream<object> = this.#o.client.watch(
      (item) => {
        if (stream === this.#stream && !this.#closed) this.#onItem(item);
      },
      () => {
        if (stream === this.#stream) this.#again();
      },
    );
    this.#stream = stream;
    stream.send({
      create_request: {
        ...this.#o.range,
        start_revision: this.#revision + 1,
        progress_notify: true,
      },
    });
  }

  #again(): void {
    this.#stream?.close();
    this.#stream = undefined;
    if (this.#closed) return;
    this.#cancelTimer();
    this.#cancelTimer = this.#o.clock.setTimer(this.#retryMs, () => this.#open());
    this.#retryMs = Math.min(RETRY_MS_MAX, this.#retryMs * 2);
  }

  #onItem(item: IWatchResponse): void {
    this.#heardMs = this.#o.clock.monotonicMs();
    if (item.canceled) {
      // Compacted: what lies between is gone. The answer may come from a member that lags, so the head is asked for.
      if (Number(item.compact_revision) > 0) void this.#reset();
      else this.#again();
      return;
    }
    if (item.created) {
      this.#retryMs = RETRY_MS_MIN;
      if (this.#checked || Number(item.header.revision) >= this.#revision) {
        this.#checked = true;
        this.#o.onProgress(this.#revision);
      } else void this.#checkFuture();
      return;
    }
    let last = this.#revision;
    for (const event of item.events) {
      const revision = Number(event.kv.mod_revision);
      // A stream begun anew starts after what was delivered; this is for the member that does not keep to it.
      if (revision <= this.#revision) continue;
      last = revision;
      const decoded = this.#o.decode(event);
      if (decoded) this.#o.onEvent(decoded);
      if (this.#closed) return;
    }
    if (last > this.#revision) {
      // A revision is never split over answers, unless fragments are asked for.
      this.#revision = last;
      this.#o.onProgress(last);
    }
  }

  /** A caller may know a revision that the store never had: it was restored from a backup, or is another one. */
  async #checkFuture(): Promise<void> {
    try {
      const head = await this.#head();
      if (this.#closed) return;
      this.#checked = true;
      if (head < this.#revision) this.#resetTo(head);
      else this.#o.onProgress(this.#revision);
    } catch {
      this.#again();
    }
  }

  async #reset(): Promise<void> {
    this.#stream?.close();
    this.#stream = undefined;
    try {
      const head = await this.#head();
      if (!this.#closed) this.#resetTo(head);
    } catch {
      this.#again();
    }
  }

  #resetTo(revision: number): void {
    this.#checked = true;
    this.#revision = revision;
    this.#stream?.close();
    this.#stream = undefined;
    this.#o.onEvent({ type: 'reset', revision });
    if (this.#closed) return;
    this.#o.onProgress(revision);
    this.#open();
  }

  async #head(): Promise<number> {
    const { header } = await this.#o.client.range({ key: this.#o.range.key, count_only: true });
    return Number(header.revision);
  }

  /** A way that broke without a word: ask for a sign of life, and begin anew where none comes. */
  #armWatchdog(): void {
    this.#cancelWatchdog = this.#o.clock.setTimer(SILENCE_MS / 2, () => {
      if (this.#closed) return;
      const silentMs = this.#o.clock.monotonicMs() - this.#heardMs;
      if (this.#stream && silentMs > SILENCE_MS + ANSWER_MS_MAX) {
        this.#o.client.preferNext();
        this.#again();
      } else if (this.#stream && silentMs > SILENCE_MS) this.#stream.send({ progress_request: {} });
      this.#armWatchdog();
    });
  }
}
