/**
 * A delta as bytes: one msgpack array, standard enough that any msgpack tool can show it.
 *
 *   [format, version, timeMs, operations, identity?]
 *   identity: [client key | 0, gateway | 0, number, lowWater, hash, result]
 */
import { Packr } from 'msgpackr';
import { ProblemError } from '../model/errors.ts';
import type { IdempotencyKey } from '../model/request.ts';
import type { PatchOperation } from './patch.ts';

const DELTA_FORMAT = 1;

export interface Delta {
  /** Version of the service that made it: an older build must not apply it. */
  version: number;
  /** The command's `ctx.now`. */
  timeMs: number;
  operations: PatchOperation[];
  /** The command's key and what it returned, for retries. */
  identity?: { key: IdempotencyKey; hash: number; result: string };
}

// Plain maps, no shared structures: every delta stands alone. One packer for the process: it has no state of its own.
export const codec = new Packr({ useRecords: false, moreTypes: false, variableMapSize: true });

export function encodeDelta(
  version: number,
  timeMs: number,
  operations: PatchOperation[],
  key: IdempotencyKey | undefined,
  hash: number,
  result: string,
): Uint8Array {
  if (key === undefined) return codec.pack([DELTA_FORMAT, version, timeMs, operations]);
  const identity =
    key.kind === 'client'
      ? [key.key, 0, 0, 0, hash, result]
      : [0, key.gateway, key.number, key.lowWater, hash, result];
  return codec.pack([DELTA_FORMAT, version, timeMs, operations, identity]);
}

/** @throws ProblemError `state-unreadable` for bytes that are no delta of this format. */
export function decodeDelta(bytes: Uint8Array): Delta {
  let decoded: unknown;
  try {
    decoded = codec.unpack(bytes);
  } catch (cause) {
    throw new ProblemError('state-unreadable', 'a delta is not msgpack', {}, { cause });
  }
  if (!Array.isArray(decoded) || decoded[0] !== DELTA_FORMAT || !Array.isArray(decoded[3])) {
    throw new ProblemError('state-unreadable', 'a delta has a format this build does not know');
  }
  const [, version, timeMs, operations, identity] = decoded;
  if (identity === undefined) return { version, timeMs, operations };
  const [clientKey, gateway, number, lowWater, hash, result] = identity;
  const key: IdempotencyKey =
    gateway === 0 ? { kind: 'client', key: clientKey } : { kind: 'gateway', gateway, number, lowWater };
  return { version, timeMs, operations, identity: { key, hash, result } };
}
