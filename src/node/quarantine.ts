/**
 * Records that a process died with a handler on its CPU: at the second death the shard takes no more commands.
 */
import { CONTROL_KEYS, decodeRecord, encodeRecord, type QuarantineRecord } from '../model/records.ts';
import type { ControlStore } from '../store/store.ts';
import type { RunningHandler } from './watchdog.ts';

/** Deaths that quarantine a shard. */
export const QUARANTINE_DEATHS = 2;
/** A single death so long ago no longer counts. */
export const DEATH_FORGOTTEN_MS = 60 * 60 * 1000;
const ATTEMPTS_MAX = 5;

/** The record after one more death. Pure; the same process twice counts once. */
export function withDeath(
  known: QuarantineRecord | undefined,
  running: Omit<RunningHandler, 'run'>,
  process: string,
  nowMs: number,
): QuarantineRecord {
  const stale = known !== undefined && !known.quarantined && nowMs - known.sinceMs > DEATH_FORGOTTEN_MS;
  const before = known === undefined || stale ? [] : known.deaths;
  const deaths = before.includes(process) ? before : [...before, process];
  return {
    shard: running.shard,
    handler: running.handler,
    ...(running.idempotencyKey === undefined ? {} : { idempotencyKey: running.idempotencyKey }),
    deaths,
    quarantined: known?.quarantined === true || deaths.length >= QUARANTINE_DEATHS,
    sinceMs: known === undefined || stale ? nowMs : known.sinceMs,
  };
}

/** Writes the death by compare-and-swap. Rejects with a StoreError. */
export async function recordDeath(
  control: ControlStore,
  running: Omit<RunningHandler, 'run'>,
  process: string,
  nowMs: number,
): Promise<void> {
  const key = CONTROL_KEYS.quarantine(running.shard);
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
    const entry = await control.get(key);
    const known = entry && decodeRecord<QuarantineRecord>(entry.value);
    const record = withDeath(known, running, process, nowMs);
    const { succeeded } = await control.transact({
      compare: [{ key, version: entry?.version ?? 0 }],
      operations: [{ put: key, value: encodeRecord(record) }],
    });
    if (succeeded) return;
  }
}
