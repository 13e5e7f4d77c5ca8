/**
 * The swap of a hand-off: made by the target in the name of the sealed source, or by the source itself.
 *
 * Whoever makes it, it compares the version that the source read while sealed (OWNERSHIP rule 5) and the target's
 * registration, and writes the same record. So however many attempts are under way, from either side, at most one
 * succeeds; and the source's touching swap (OWNERSHIP rule 6) takes their version from all of them.
 */
import { sleep } from '../../io/io.ts';
import type { ShardId } from '../../model/ids.ts';
import { type AssignmentRecord, CONTROL_KEYS, decodeRecord, encodeRecord } from '../../model/records.ts';
import type { KeyValue } from '../../store/store.ts';
import type { ParticipantHost } from '../participant.ts';
import { codeOf } from './refusal.ts';

/** First pause between two attempts of a swap whose outcome is unknown; it doubles. */
const UNKNOWN_DELAY_MS = 10;
const UNKNOWN_DELAY_MS_MAX = 500;

/** The target's node key, as the source read it before it sealed. */
export type Registration = Pick<KeyValue, 'key' | 'version'>;

/**
 * Resolves with the new version, or with undefined when the swap surely did not and will not happen. While the outcome
 * is unknown it tries the same swap again: the first definite answer means that the version is spent, or that it won.
 * Rejects where the store refuses it, with any code but `unavailable`: it did not happen.
 */
export async function swapAssignment(
  host: Pick<ParticipantHost, 'io' | 'control' | 'mutations'>,
  shard: ShardId,
  next: AssignmentRecord,
  version: number,
  target: Registration,
): Promise<number | undefined> {
  const key = CONTROL_KEYS.own(shard);
  let registration = target;
  let delayMs = UNKNOWN_DELAY_MS;
  for (;;) {
    try {
      const result = await host.control.transact({
        compare: [
          ...(host.mutations?.has('swap-without-version') ? [] : [{ key, version }]),
          { key: registration.key, version: registration.version },
        ],
        operations: [{ put: key, value: encodeRecord(next) }],
        read: [key, registration.key],
      });
      if (result.succeeded) return result.revision;
      const [own, node] = result.read;
      if (own?.version === version) {
        // Not ours to lose: the target's registration changed. Gone: no swap; drained or renewed: try with that.
        if (!node || node.version === registration.version) return undefined;
        registration = node;
        continue;
      }
      // An earlier attempt whose answer was lost did it, or someone else changed the assignment.
      return own && isRecord(own, next) ? own.version : undefined;
    } catch (error) {
      if (codeOf(error) !== 'unavailable') throw error;
      if (host.mutations?.has('unseal-without-touch')) return undefined;
      host.io.log.warn({ shard }, 'the outcome of a hand-off swap is unknown; trying again');
      await sleep(host.io.clock, delayMs);
      delayMs = Math.min(delayMs * 2, UNKNOWN_DELAY_MS_MAX);
    }
  }
}

function isRecord(entry: KeyValue, wanted: AssignmentRecord): boolean {
  const record = decodeRecord<AssignmentRecord>(entry.value);
  return record.epoch === wanted.epoch && record.primary === wanted.primary && record.cell === wanted.cell;
}
