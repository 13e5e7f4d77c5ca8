/**
 * A request as it travels between gateways and nodes, and its reply.
 *
 * Bodies stay the bytes the client sent: only the node that executes parses them.
 */
import type { CellId, Epoch, ProcessId, Region, Seq, ShardId } from './ids.ts';

export interface ShardRequest {
  shard: ShardId;
  handler: string;
  /** JSON text in UTF-8; empty where the client sent no body. */
  input: Uint8Array;
  /** `get` may only reach queries. */
  method: 'get' | 'post';
  /** Region of the user. */
  origin: Region;
  /** Stable per user, 32 bits: which side of a shift the user is on. */
  userHash: number;
  idempotency?: IdempotencyKey;
  /** Made for a command without a key at its first effect; travels with it, so that a repeat repeats its keys. */
  effectId?: string;
  /** Milliseconds since the client first sent this key, where it says so. */
  idempotencyAgeMs?: number;
  /** A query may ask for a state at least as new as this. */
  minSeq?: Seq;
  /** A query may be answered from a state that was the newest so many milliseconds before it was sent. */
  staleMsMax?: number;
  /** Connections that broke, or nodes that died, with this command on them. */
  deaths?: number;
  /** How often it was passed on; at {@link HOPS_MAX} it is refused. */
  hops: number;
  /** Only where the service's manifest says `authorize`. Lower-case names. */
  headers?: Record<string, string>;
  /** The sender goes at once where a 421 points, also {@link Moved.ahead} of the move. */
  redirects?: boolean;
  /** The receiver is about to own the shard in this epoch, by the word of its sealed primary. */
  awaits?: Epoch;
  /**
   * Set by a primary's follower that passes a command on, and by a router that follows a hint: the receiver may act
   * on what the sender knows (the dead process it saw), never trust it for ownership.
   */
  sawDead?: ProcessId;
  /** With `sawDead`: the assignment that named it, as the sender read it; saves the receiver a look-up. */
  believed?: {
    epoch: Epoch;
    primary: ProcessId;
    cell: CellId;
    version: number;
    standbys?: readonly ProcessId[];
  };
}

/**
 * Client keys are kept in the shard's window (10,000 or 1 MB, with their age). Gateway keys are (gateway, number,
 * low-water mark): the shard forgets those below the mark.
 */
export type IdempotencyKey =
  | { kind: 'client'; key: string }
  | { kind: 'gateway'; gateway: string; number: number; lowWater: number };

export const HOPS_MAX = 4;

/** Who owns the shard now, as far as the sender knows. */
export interface Moved {
  primary: ProcessId;
  epoch: Epoch;
  version: number;
  /** It is not yet so, and may come to nothing: go and wait there, and learn nothing from it. */
  ahead?: boolean;
}

export interface ShardReply {
  /** HTTP status. */
  status: number;
  /** JSON text in UTF-8; a problem document (RFC 9457) from 400 on. */
  body: Uint8Array;
  epoch?: Epoch;
  seq?: Seq;
  /** Whole seconds, with 503. */
  retryAfterS?: number;
  /** The executing process, so that routers learn. */
  servedBy?: ProcessId;
  /** With status 421. */
  moved?: Moved;
  /** The answer comes from the idempotency window. */
  replayed?: boolean;
  /** A standby answered, from a state that was the newest at most so many milliseconds before. */
  stalenessMs?: number;
}
