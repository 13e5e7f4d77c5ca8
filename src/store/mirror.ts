/**
 * A copy of some prefixes of the control store, kept current by list and watch, through resets and outages.
 *
 * With values (the default) a reset lists again and reports the differences, deletes included, so a holder needs no
 * reset logic of its own. Without (`values: 'forget'`, for `own/` and `shift/`, whose holders keep bounded caches) it
 * lists nothing; a reset is passed on as `onReset`, and the holder forgets what it cached.
 *
 *   listing --listed--> live --reset--> listing (events wait) --listed--> live
 */
import type { Clock } from '../io/io.ts';
import { type ControlStore, type KeyValue, StoreError, type Subscription, type WatchEvent } from './store.ts';

const RETRY_MS_MIN = 20;
const RETRY_MS_MAX = 1_000;

export interface MirrorOptions {
  clock: Clock;
  onPut: (entry: KeyValue) => void;
  onDelete: (key: string) => void;
  /** After the first listing, and after each one that followed a reset. */
  onSynced?: (revision: number) => void;
  /** Only without values: anything cached may be wrong now. */
  onReset?: (revision: number) => void;
  values?: 'keep' | 'forget';
}

export interface Mirror {
  /** Every change up to here has been reported; 0 before the first sync. */
  readonly revision: number;
  readonly synced: boolean;
  /** What is mirrored, by key; empty without values. */
  readonly entries: ReadonlyMap<string, KeyValue>;
  /** Resolves once every change up to a revision has been reported; rejects where the mirror is closed before. */
  waitFor(revision: number): Promise<void>;
  close(): void;
}

/**
 * @example
 * const mirror = mirrorPrefixes(control, ['node/'], { clock: io.clock, onPut: add, onDelete: remove });
 * await mirror.waitFor((await control.transact(registration)).revision);
 */
export function mirrorPrefixes(control: ControlStore, prefixes: string[], options: MirrorOptions): Mirror {
  return new PrefixMirror(control, prefixes, options);
}

class PrefixMirror implements Mirror {
  readonly #control: ControlStore;
  readonly #prefixes: string[];
  readonly #options: MirrorOptions;
  #entries = new Map<string, KeyValue>();
  readonly #waiting = new Set<{
    revision: number;
    resolve: () => void;
    reject: (error: StoreError) => void;
  }>();
  #subscription: Subscription | undefined;
  /** Events that came while a listing was under way; undefined when live. */
  #held: WatchEvent[] | undefined = [];
  /** Of the latest listing: an older one's answer no longer counts. */
  #listing = 0;
  #retryMs = RETRY_MS_MIN;
  #cancelRetry: () => void = () => {};
  #progress = 0;
  #revision = 0;
  #synced = false;
  #closed = false;

  constructor(control: ControlStore, prefixes: string[], options: MirrorOptions) {
    this.#control = control;
    this.#prefixes = prefixes;
    this.#options = options;
    this.#startListing();
  }

  get revision(): number {
    return this.#revision;
  }

  get synced(): boolean {
    return this.#synced;
  }

  get entries(): ReadonlyMap<string, KeyValue> {
    return this.#entries;
  }

  waitFor(revision: number): Promise<void> {
    if (this.#synced && this.#revision >= revision) return Promise.resolve();
    if (this.#closed) return Promise.reject(closedError());
    return new Promise((resolve, reject) => {
      this.#waiting.add({ revision, resolve, reject });
    });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#cancelRetry();
    this.#subscription?.close();
    for (const waiter of this.#waiting) waiter.reject(closedError());
    this.#waiting.clear();
  }

  #startListing(): void {
    this.#held = [];
    const listing = ++this.#listing;
    this.#list().then(
      (listed) => {
        if (this.#closed || listing !== this.#listing) return;
        this.#retryMs = RETRY_MS_MIN;
        this.#onListed(listed);
      },
      () => {
        if (this.#closed || listing !== this.#listing) return;
        const delayMs = this.#retryMs;
        this.#retryMs = Math.min(RETRY_MS_MAX, delayMs * 2);
        this.#cancelRetry = this.#options.clock.setTimer(delayMs, () => this.#startListingAgain(listing));
      },
    );
  }

  /** Keeps what was held: it is still after the reset that asked for the listing. */
  #startListingAgain(listing: number): void {
    if (this.#closed || listing !== this.#listing) return;
    const held = this.#held ?? [];
    this.#startListing();
    this.#held = held;
  }

  async #list(): Promise<{ entries: Map<string, KeyValue>; revision: number }> {
    const entries = new Map<string, KeyValue>();
    if (this.#options.values === 'forget') {
      const { revision } = await this.#control.list(this.#prefixes[0] ?? '', { limit: 1 });
      return { entries, revision };
    }
    const lists = await Promise.all(this.#prefixes.map((prefix) => this.#control.list(prefix)));
    // The oldest of their revisions: what later ones saw beyond it, the watch brings again, and versions sort it out.
    let revision = Number.POSITIVE_INFINITY;
    for (const list of lists) {
      revision = Math.min(revision, list.revision);
      for (const entry of list.entries) entries.set(entry.key, entry);
    }
    return { entries, revision: Number.isFinite(revision) ? revision : 0 };
  }

  #onListed({ entries, revision }: { entries: Map<string, KeyValue>; revision: number }): void {
    const before = this.#entries;
    this.#entries = entries;
    for (const key of before.keys()) if (!entries.has(key)) this.#options.onDelete(key);
    for (const [key, entry] of entries)
      if (before.get(key)?.version !== entry.version) this.#options.onPut(entry);
    const held = this.#held ?? [];
    this.#held = undefined;
    this.#revision = Math.max(revision, this.#subscription ? this.#progress : 0);
    for (const event of held) if (event.revision > revision) this.#onEvent(event);
    if (this.#closed || this.#held) return;
    this.#synced = true;
    this.#options.onSynced?.(this.#revision);
    if (!this.#subscription && !this.#closed) {
      this.#subscription = this.#control.watch(
        this.#prefixes,
        revision,
        (event) => this.#onEvent(event),
        (progress) => this.#onProgress(progress),
      );
    }
    this.#wake();
  }

  #onEvent(event: WatchEvent): void {
    if (this.#closed) return;
    if (event.type === 'reset') {
      this.#progress = event.revision;
      if (this.#options.values === 'forget') {
        this.#revision = event.revision;
        this.#options.onReset?.(event.revision);
        this.#wake();
      } else {
        this.#synced = false;
        this.#startListing();
      }
      return;
    }
    if (this.#held) {
      this.#held.push(event);
      return;
    }
    if (this.#options.values === 'forget') {
      if (event.type === 'put') this.#options.onPut(event.entry);
      else this.#options.onDelete(event.key);
    } else this.#apply(event);
  }

  #apply(event: Exclude<WatchEvent, { type: 'reset' }>): void {
    const key = event.type === 'put' ? event.entry.key : event.key;
    const present = this.#entries.get(key);
    // A listing of several pages may be ahead of the watch that follows it.
    if (present && present.version >= event.revision) return;
    if (event.type === 'put') {
      this.#entries.set(key, event.entry);
      this.#options.onPut(event.entry);
    } else if (this.#entries.delete(key)) this.#options.onDelete(key);
  }

  #onProgress(revision: number): void {
    this.#progress = revision;
    if (this.#closed || this.#held) return;
    this.#revision = Math.max(this.#revision, revision);
    this.#wake();
  }

  #wake(): void {
    if (!this.#synced) return;
    for (const waiter of this.#waiting) {
      if (waiter.revision > this.#revision) continue;
      this.#waiting.delete(waiter);
      waiter.resolve();
    }
  }
}

function closedError(): StoreError {
  return new StoreError('unavailable', 'the mirror is closed');
}
