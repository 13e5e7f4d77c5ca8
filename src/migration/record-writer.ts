/**
 * Writes a migration's record and its shift, always both in one transaction, comparing both versions.
 *
 * So the shift says what the record says, a shard has at most one migration (its shift key is the lock), and of two
 * executors that both believe they lead, the later one to write itself in wins and the other learns it (SPEC.md, M3).
 */
import type { Clock } from '../io/io.ts';
import { CONTROL_KEYS, decodeRecord, encodeRecord, type ShiftRecord } from '../model/records.ts';
import type { ControlStore, KeyValue, Transaction } from '../store/store.ts';
import type { MigrationRecord } from './record.ts';

const RETRY_DELAY_MS = 50;
const RETRY_DELAY_MS_MAX = 2_000;

/** Another executor drives this migration now, or another migration has the shard: stop, touch nothing. */
export class Superseded extends Error {
  override readonly name = 'Superseded';
}

export class RecordWriter {
  readonly #control: ControlStore;
  readonly #clock: Clock;
  readonly #executor: string;
  readonly #key: string;
  readonly #shiftKey: string;
  readonly #id: string;
  #version: number;
  #shiftVersion: number;
  #chain: Promise<void> = Promise.resolve();
  #stopped = false;

  constructor(options: {
    control: ControlStore;
    clock: Clock;
    executor: string;
    record: MigrationRecord;
    /** Of what another executor left; 0 for a new migration. */
    version: number;
    shiftVersion: number;
  }) {
    this.#control = options.control;
    this.#clock = options.clock;
    this.#executor = options.executor;
    this.#id = options.record.id;
    this.#key = CONTROL_KEYS.migration(options.record.id);
    this.#shiftKey = CONTROL_KEYS.shift(options.record.shard);
    this.#version = options.version;
    this.#shiftVersion = options.shiftVersion;
  }

  /** Resolves when it is durable. While the store is away it keeps trying. @throws Superseded */
  write(record: MigrationRecord): Promise<void> {
    const shift: ShiftRecord = {
      migration: record.id,
      from: record.source,
      to: record.target,
      percent: record.percent,
    };
    return this.#enqueue([
      { put: this.#key, value: encodeRecord({ ...record, executor: this.#executor }) },
      { put: this.#shiftKey, value: encodeRecord(shift) },
    ]);
  }

  /** Deletes both. A migration that was never recorded has nothing to delete. */
  finish(): Promise<void> {
    return this.#enqueue([{ delete: this.#key }, { delete: this.#shiftKey }]);
  }

  /** Whatever waits for the store is given up. */
  stop(): void {
    this.#stopped = true;
  }

  #enqueue(operations: Transaction['operations']): Promise<void> {
    const done = this.#chain.then(() => this.#apply(operations));
    this.#chain = done.catch(() => {});
    return done;
  }

  async #apply(operations: Transaction['operations']): Promise<void> {
    const deleting = 'delete' in operations[0]!;
    let delayMs = RETRY_DELAY_MS;
    while (!this.#stopped) {
      if (deleting && this.#version === 0) return;
      try {
        const result = await this.#control.transact({
          compare: [
            { key: this.#key, version: this.#version },
            { key: this.#shiftKey, version: this.#shiftVersion },
          ],
          operations,
          read: [this.#key, this.#shiftKey],
        });
        if (result.succeeded) {
          this.#version = deleting ? 0 : result.revision;
          this.#shiftVersion = this.#version;
          return;
        }
        // Deleting twice is deleted: an earlier attempt's answer was lost.
        if (deleting && !result.read[0]) return;
        this.#adopt(result.read[0], result.read[1]);
      } catch (error) {
        if (error instanceof Superseded) throw error;
        // Unknown outcome: trying again finds out, since both versions are compared.
        await new Promise<void>((resolve) => {
          this.#clock.setTimer(delayMs, resolve);
        });
        delayMs = Math.min(RETRY_DELAY_MS_MAX, delayMs * 2);
      }
    }
    throw new Superseded('stopped');
  }

  /** After a lost compare: was it an attempt of our own whose answer was lost? Then go on from there. */
  #adopt(own: KeyValue | undefined, shift: KeyValue | undefined): void {
    const ours = own === undefined || decodeRecord<MigrationRecord>(own.value).executor === this.#executor;
    const ourShift = shift === undefined || decodeRecord<ShiftRecord>(shift.value).migration === this.#id;
    const changed = (own?.version ?? 0) !== this.#version || (shift?.version ?? 0) !== this.#shiftVersion;
    if (!ours) throw new Superseded('another executor drives this migration');
    if (!ourShift) throw new Superseded('another migration moves this shard');
    if (own === undefined && this.#version > 0)
      throw new Superseded('the migration has been ended elsewhere');
    if (!changed) throw new Superseded('the record could not be written');
    this.#version = own?.version ?? 0;
    this.#shiftVersion = shift?.version ?? 0;
  }
}
