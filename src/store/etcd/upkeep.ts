/**
 * What keeps an etcd from growing: old revisions are compacted away, and its size is watched.
 *
 * Every process that uses the cluster does this; the key `u/...` makes one of them act an interval: who sees it
 * unchanged for so long puts it anew, by compare-and-swap, and compacts up to the revision at which it had been put
 * before. So history of at least an interval stays, whatever clocks say; and the revision compacted at changed nothing
 * that anyone watches.
 *
 * Size: etcd's own quota does not count nested transactions and stops the whole cluster until somebody clears an alarm
 * by hand. So ours come first: beyond {@link PRESSURE_SHARE} of the limit new work is turned away by the node, beyond
 * the limit appends are refused; snapshots, trims and compaction go on, so that it heals by itself.
 */
import type { Io } from '../../io/io.ts';
import { type CellPressure, StoreError } from '../store.ts';
import type { EtcdClient } from './client.ts';
import { nested, put, revisionIs } from './keys.ts';

/** Three quarters of etcd's default quota of 2 GB. */
export const ETCD_DATABASE_BYTES_MAX = 1_536 * 1024 * 1024;
/** Share of the limit from which on nodes take no new work. */
export const PRESSURE_SHARE = 0.8;
export const CELL_COMPACT_EVERY_MS = 5_000;
const LOOK_EVERY_MS = 1_000;

export interface UpkeepOptions {
  /** Bytes in use, as etcd counts them, beyond which appends are refused. */
  databaseBytesMax: number;
  compactEveryMs: number;
  lookEveryMs: number;
}

export class Upkeep {
  readonly #io: Pick<Io, 'clock' | 'log' | 'random'>;
  readonly #client: EtcdClient;
  readonly #key: Buffer;
  readonly #name: string;
  readonly #options: UpkeepOptions;
  #pressure: CellPressure | undefined;
  #seen: { revision: number; sinceMs: number } | undefined;
  #cancel: () => void = () => {};
  #closed = false;

  constructor(
    options: {
      io: Pick<Io, 'clock' | 'log' | 'random'>;
      client: EtcdClient;
      key: Buffer;
      name: string;
    } & Partial<UpkeepOptions>,
  ) {
    this.#io = options.io;
    this.#client = options.client;
    this.#key = options.key;
    this.#name = options.name;
    this.#options = {
      databaseBytesMax: options.databaseBytesMax ?? ETCD_DATABASE_BYTES_MAX,
      compactEveryMs: options.compactEveryMs ?? CELL_COMPACT_EVERY_MS,
      lookEveryMs: options.lookEveryMs ?? LOOK_EVERY_MS,
    };
    this.#arm();
  }

  /** Undefined until the first look. */
  get pressure(): CellPressure | undefined {
    return this.#pressure;
  }

  /** @throws StoreError `too-large` where the database is full; nothing was written. */
  admit(): void {
    const pressure = this.#pressure;
    if (!pressure?.full) return;
    throw new StoreError(
      'too-large',
      `${this.#name} is full: ${pressure.databaseBytes} of ${pressure.databaseBytesMax} bytes; ` +
        'it takes appends again once snapshots and trims have made room, or give it more by another cell',
    );
  }

  close(): void {
    this.#closed = true;
    this.#cancel();
  }

  #arm(): void {
    if (this.#closed) return;
    // Spread out, so that the processes of a cluster do not all come at once.
    const delayMs = this.#options.lookEveryMs * (0.75 + 0.5 * this.#io.random.next());
    this.#cancel = this.#io.clock.setTimer(delayMs, () => {
      this.#look().then(
        () => this.#arm(),
        // An outage is everyone's news already; the next look is soon.
        () => this.#arm(),
      );
    });
  }

  async #look(): Promise<void> {
    const { dbSize, dbSizeInUse } = (await this.#client.status()) as { dbSize: string; dbSizeInUse?: string };
    const before = this.#pressure;
    const { databaseBytesMax } = this.#options;
    const databaseBytes = Number(dbSizeInUse ?? dbSize);
    const high = databaseBytes > PRESSURE_SHARE * databaseBytesMax;
    const full = databaseBytes > databaseBytesMax;
    this.#pressure = { databaseBytes, fileBytes: Number(dbSize), databaseBytesMax, high, full };
    if (high !== (before?.high ?? false) || full !== (before?.full ?? false)) {
      const fields = { cell: this.#name, databaseBytes, databaseBytesMax };
      if (full) this.#io.log.error(fields, 'alarm: the cell is full; appends are refused');
      else if (high)
        this.#io.log.warn(fields, 'alarm: the cell is nearly full; nodes take no new work for it');
      else this.#io.log.info(fields, 'the cell has room again');
    }
    await this.#compact();
  }

  async #compact(): Promise<void> {
    const { kvs } = await this.#client.range({ key: this.#key });
    if (this.#closed) return;
    const nowMs = this.#io.clock.monotonicMs();
    const revision = Number(kvs[0]?.mod_revision ?? 0);
    if (!this.#seen || this.#seen.revision !== revision) this.#seen = { revision, sinceMs: nowMs };
    if (revision !== 0 && nowMs - this.#seen.sinceMs < this.#options.compactEveryMs) return;
    const { succeeded } = await this.#client.txn({
      compare: [revisionIs(this.#key, revision)],
      success: [nested([], [put(this.#key, '')])],
    });
    if (succeeded && revision > 0) await this.#client.compact(revision);
  }
}
