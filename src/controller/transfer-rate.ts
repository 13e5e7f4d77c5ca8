/**
 * How many bytes a second moves get across, by pair of regions: measured while they transfer, so that what a move of
 * gigabytes takes is known before it is ordered. Pure: fed with what migrations show once a tick.
 *
 * Invariants: only bytes that moved between two looks count, and only a megabyte or more (less measures round trips); pairs and
 * migrations looked at are bounded.
 */
import type { ProcessId, Region } from '../model/ids.ts';
import type { MigrationView } from './executor.ts';

/** Until a pair is measured: what a node's transfers are limited to. */
export const UNMEASURED_BYTES_PER_SECOND = 64 * 1024 * 1024;
const BYTES_MIN = 1_000_000;
/** Weight of the newest look. */
const SMOOTHING = 0.3;
const MIGRATIONS_MAX = 10_000;

export interface TransferRate {
  from: Region;
  to: Region;
  bytesPerSecond: number;
}

type Seen = Pick<MigrationView, 'id' | 'source' | 'target' | 'bytesTransferred'>;

export class TransferRates {
  readonly #rates = new Map<string, TransferRate>();
  #before = new Map<string, { bytes: number; atMs: number }>();

  /** @param underWay migrations that run; @param nowMs of a monotonic clock */
  observe(
    underWay: readonly Seen[],
    regionOf: (process: ProcessId) => Region | undefined,
    nowMs: number,
  ): void {
    const now = new Map<string, { bytes: number; atMs: number }>();
    for (const { id, source, target, bytesTransferred } of underWay.slice(0, MIGRATIONS_MAX)) {
      now.set(id, { bytes: bytesTransferred, atMs: nowMs });
      const before = this.#before.get(id);
      const from = regionOf(source);
      const to = regionOf(target);
      if (before === undefined || from === undefined || to === undefined) continue;
      const bytes = bytesTransferred - before.bytes;
      const seconds = (nowMs - before.atMs) / 1000;
      if (bytes >= BYTES_MIN && seconds > 0) this.#add(from, to, bytes / seconds);
    }
    this.#before = now;
  }

  list(): TransferRate[] {
    return [...this.#rates.values()];
  }

  #add(from: Region, to: Region, bytesPerSecond: number): void {
    const key = `${from} ${to}`;
    const known = this.#rates.get(key);
    this.#rates.set(key, {
      from,
      to,
      bytesPerSecond:
        known === undefined
          ? bytesPerSecond
          : known.bytesPerSecond + SMOOTHING * (bytesPerSecond - known.bytesPerSecond),
    });
  }
}
