/**
 * The control store in etcd. Versions and revisions are etcd's own; a key's lease stands in front of its value, since
 * etcd knows leases by number only.
 */
import type { ICompare, IKeyValue, IRequestOp, ITxnRequest } from 'etcd3';
import type { Io } from '../../io/io.ts';
import { checkControlKey, checkLeaseTtl, checkTransaction, LIST_ENTRIES_MAX } from '../limits.ts';
import {
  type CellPressure,
  type ControlStore,
  type KeyValue,
  StoreError,
  type Subscription,
  type Transaction,
  type TransactionResult,
  type WatchEvent,
} from '../store.ts';
import type { EtcdClient } from './client.ts';
import { CompactedError } from './errors.ts';
import { endOfPrefix, get, type KeyRange, keyAfter, nested, put, remove, revisionIs } from './keys.ts';
import { EtcdLeases } from './leases.ts';
import { Upkeep } from './upkeep.ts';
import { EtcdWatch } from './watch.ts';

/** Watchers resume over so much history at least. */
const COMPACT_EVERY_MS = 5 * 60_000;
const DATABASE_BYTES_MAX = 1_536 * 1024 * 1024;
const PAGE_ENTRIES = 2_000;
/** Writes or reads in one group of a transaction. */
const PARTS_PER_LEVEL = 40;
/** A watcher that is behind a revision this process has told someone of gets a mark to see. */
const MARK_AFTER_MS = 20;
const MARK_EVERY_MS = 100;
/** In front of a value that has a lease, or begins with this itself. */
const LEASE_MARK = '\u0001';

export interface EtcdControlStoreOptions {
  io: Pick<Io, 'clock' | 'log' | 'random'>;
  /** Closed together with the store. */
  client: EtcdClient;
  /** False: this process does not compact. */
  upkeep?: boolean;
}

/**
 * @example
 * const client = new EtcdClient({ io, address: parseEtcdAddress('etcd://127.0.0.1:2379') });
 * const control = new EtcdControlStore({ io, client });
 * const { revision } = await control.transact({ compare: [], operations: [{ put: 'greeting', value: 'hello' }] });
 */
export class EtcdControlStore implements ControlStore {
  readonly #io: Pick<Io, 'clock' | 'log' | 'random'>;
  readonly #client: EtcdClient;
  readonly #leases: EtcdLeases;
  readonly #upkeep: Upkeep | undefined;
  readonly #prefix: Buffer;
  readonly #mark: Buffer;
  /** The mark and all keys. */
  readonly #range: KeyRange;
  readonly #watches = new Set<EtcdWatch>();
  /** The highest revision that anyone heard of from here. */
  #toldRevision = 0;
  #markTimer: (() => void) | undefined;
  #lastMarkMs = Number.NEGATIVE_INFINITY;
  #closed = false;

  constructor(options: EtcdControlStoreOptions) {
    const { io, client } = options;
    this.#io = io;
    this.#client = client;
    this.#leases = new EtcdLeases(client, io.clock);
    this.#mark = Buffer.from(`${client.address.root}/k`);
    this.#prefix = Buffer.from(`${client.address.root}/k/`);
    this.#range = { key: this.#mark, range_end: endOfPrefix(this.#prefix) };
    if (options.upkeep !== false)
      this.#upkeep = new Upkeep({
        io,
        client,
        key: Buffer.from(`${client.address.root}/u/control`),
        name: 'the control store',
        databaseBytesMax: DATABASE_BYTES_MAX,
        compactEveryMs: COMPACT_EVERY_MS,
        lookEveryMs: 10_000,
      });
  }

  pressure(): CellPressure | undefined {
    return this.#upkeep?.pressure;
  }

  async get(key: string): Promise<KeyValue | undefined> {
    checkControlKey(key);
    const { kvs, header } = await this.#client.range({ key: this.#keyOf(key) });
    this.#told(Number(header.revision));
    return kvs[0] && this.#entryOf(kvs[0]);
  }

  async list(
    prefix: string,
    options: { limit?: number; after?: string } = {},
  ): Promise<{ entries: KeyValue[]; revision: number; more: boolean }> {
    const limit = options.limit ?? Number.POSITIVE_INFINITY;
    if (!(limit >= 1) || (Number.isFinite(limit) && !Number.isSafeInteger(limit)))
      throw new StoreError('invalid', `a list of at most ${limit} entries makes no sense`);
    const first = this.#keyOf(prefix);
    let key = first;
    if (options.after !== undefined) {
      const after = keyAfter(this.#keyOf(options.after));
      if (Buffer.compare(after, key) > 0) key = after;
    }
    const range_end = endOfPrefix(first);
    const entries: KeyValue[] = [];
    /** Of the first answer; all others are read at it, as long as it is not compacted away. */
    let revision = 0;
    let at: number | undefined;
    for (;;) {
      const page = Math.min(limit - entries.length, PAGE_ENTRIES, LIST_ENTRIES_MAX);
      let answer: Awaited<ReturnType<EtcdClient['range']>>;
      try {
        answer = await this.#client.range({ key, range_end, limit: page, ...(at ? { revision: at } : {}) });
      } catch (error) {
        if (!(error instanceof CompactedError) || at === undefined) throw error;
        at = undefined;
        continue;
      }
      if (revision === 0) {
        revision = Number(answer.header.revision);
        at = revision;
      }
      for (const kv of answer.kvs) entries.push(this.#entryOf(kv));
      if (!answer.more || entries.length >= limit) {
        this.#told(revision);
        return { entries, revision, more: answer.more };
      }
      key = keyAfter(answer.kvs.at(-1)!.key);
    }
  }

  async transact(transaction: Transaction): Promise<TransactionResult> {
    checkTransaction(transaction);
    const leases = new Map<string, string>();
    for (const operation of transaction.operations) {
      if ('put' in operation && operation.lease !== undefined) leases.set(operation.lease, '');
    }
    for (const name of leases.keys()) leases.set(name, await this.#leases.number(name));
    try {
      return await this.#transact(transaction, leases);
    } catch (error) {
      if ((error as StoreError).code !== 'lease-gone') throw error;
      // The lease may have been granted anew, at its other number. Nothing was written, so once more is safe.
      this.#leases.forget(leases.keys());
      for (const name of leases.keys()) leases.set(name, await this.#leases.number(name));
      return this.#transact(transaction, leases);
    }
  }

  async #transact(transaction: Transaction, leases: ReadonlyMap<string, string>): Promise<TransactionResult> {
    const read = transaction.read ?? [];
    const answer = await this.#client.txn(this.#requestOf(transaction, leases));
    const revision = Number(answer.header.revision);
    this.#told(revision);
    const { succeeded } = answer.responses[0]!.response_txn;
    const found = answer.responses
      .slice(1)
      .flatMap((response) => response.response_txn.responses.map((one) => one.response_range.kvs[0]));
    return { succeeded, revision, read: read.map((_, i) => found[i] && this.#entryOf(found[i])) };
  }

  /**
   * One nested transaction that compares and writes, then the reads; both in groups, so that hundreds fit etcd's default
   * --max-txn-ops of 128, which counts the longest list of each level. Compares stand in one list: more than about 60
   * need a higher one.
   */
  #requestOf(
    { compare, operations, read = [] }: Transaction,
    leases: ReadonlyMap<string, string>,
  ): ITxnRequest {
    const compares: ICompare[] = compare.map(({ key, version }) => revisionIs(this.#keyOf(key), version));
    const writes: IRequestOp[] = operations.map((operation) => {
      if ('delete' in operation) return remove(this.#keyOf(operation.delete));
      const { put: key, value, lease } = operation;
      const stored = Buffer.from(encodeValue(value, lease));
      if (lease === undefined) return put(this.#keyOf(key), stored);
      return { request_put: { key: this.#keyOf(key), value: stored, lease: leases.get(lease) } };
    });
    const reads = inParts(read.map((key) => get(this.#keyOf(key)))).map((part) => nested([], part));
    const body = writes.length <= PARTS_PER_LEVEL ? writes : inParts(writes).map((part) => nested([], part));
    return { success: [nested(compares, body), ...reads] };
  }

  watch(
    prefixes: string[],
    fromRevision: number,
    onEvent: (event: WatchEvent) => void,
    onProgress: (revision: number) => void = () => {},
  ): Subscription {
    const wanted = (key: string) => prefixes.some((prefix) => key.startsWith(prefix));
    const watch = new EtcdWatch({
      client: this.#client,
      clock: this.#io.clock,
      range: this.#range,
      fromRevision,
      decode: ({ type, kv }) => {
        if (kv.key.length < this.#prefix.length) return undefined;
        const key = kv.key.toString('utf8', this.#prefix.length);
        if (!wanted(key)) return undefined;
        const revision = Number(kv.mod_revision);
        return String(type).toUpperCase() === 'DELETE'
          ? { type: 'delete', key, revision }
          : { type: 'put', entry: this.#entryOf(kv), revision };
      },
      onEvent,
      onProgress,
    });
    this.#watches.add(watch);
    this.#armMark();
    return {
      close: () => {
        this.#watches.delete(watch);
        watch.close();
      },
    };
  }

  async grantLease(leaseId: string, ttlMs: number): Promise<void> {
    checkControlKey(leaseId);
    checkLeaseTtl(ttlMs);
    if (leaseId.includes(LEASE_MARK))
      throw new StoreError(
        'invalid',
        `${JSON.stringify(leaseId)} is no name of a lease: it holds a control character`,
      );
    await this.#leases.grant(leaseId, ttlMs);
  }

  async keepAlive(leaseId: string): Promise<void> {
    await this.#leases.keepAlive(leaseId);
  }

  async revokeLease(leaseId: string): Promise<void> {
    await this.#leases.revoke(leaseId);
  }

  close(): void {
    this.#closed = true;
    this.#markTimer?.();
    this.#upkeep?.close();
    for (const watch of this.#watches) watch.close();
    this.#watches.clear();
    this.#leases.close();
    this.#client.close();
  }

  #told(revision: number): void {
    if (revision <= this.#toldRevision) return;
    this.#toldRevision = revision;
    this.#armMark();
  }

  /** Whoever waits for a revision told here must see it go by, though it may belong to another user of this etcd. */
  #armMark(): void {
    if (this.#markTimer || this.#closed || this.#watches.size === 0) return;
    const sinceMs = this.#io.clock.monotonicMs() - this.#lastMarkMs;
    this.#markTimer = this.#io.clock.setTimer(Math.max(MARK_AFTER_MS, MARK_EVERY_MS - sinceMs), () => {
      this.#markTimer = undefined;
      if ([...this.#watches].every((watch) => watch.revision >= this.#toldRevision)) return;
      this.#lastMarkMs = this.#io.clock.monotonicMs();
      this.#client.txn({ success: [nested([], [put(this.#mark, '')])] }).then(
        () => {},
        () => this.#armMark(),
      );
    });
  }

  #keyOf(key: string): Buffer {
    return Buffer.concat([this.#prefix, Buffer.from(key)]);
  }

  #entryOf(kv: IKeyValue): KeyValue {
    const { value, lease } = decodeValue(kv.value.toString('utf8'));
    const entry: KeyValue = {
      key: kv.key.toString('utf8', this.#prefix.length),
      value,
      version: Number(kv.mod_revision),
    };
    if (lease !== undefined) entry.lease = lease;
    return entry;
  }
}

function inParts<Part>(all: Part[]): Part[][] {
  const parts: Part[][] = [];
  for (let first = 0; first < all.length; first += PARTS_PER_LEVEL)
    parts.push(all.slice(first, first + PARTS_PER_LEVEL));
  return parts;
}

/** Text of most keys stands in etcd as it is; a lease comes first, between marks. */
export function encodeValue(value: string, lease?: string): string {
  if (lease === undefined && !value.startsWith(LEASE_MARK)) return value;
  return `${LEASE_MARK}${lease ?? ''}${LEASE_MARK}${value}`;
}

export function decodeValue(stored: string): { value: string; lease?: string } {
  if (!stored.startsWith(LEASE_MARK)) return { value: stored };
  const end = stored.indexOf(LEASE_MARK, 1);
  const lease = stored.slice(1, end);
  return lease === '' ? { value: stored.slice(end + 1) } : { value: stored.slice(end + 1), lease };
}
