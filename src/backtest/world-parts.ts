/** What a replayed cluster is made of, and the two draws that are no policy's choice. Pure. */

const MONTH_S = 30 * 86_400;

export type NodeState = 'starting' | 'ready' | 'draining' | 'gone';

export interface WorldNode {
  /** Unique over the run; the place in {@link World.nodes}. */
  index: number;
  name: string;
  region: number;
  state: NodeState;
  readyAtS: number;
  shards: number;
  stateBytes: number;
  /** Standbys here: their bytes, and requests a second of the shards that they follow. */
  standbyBytes: number;
  standbyRate: number;
  /** When it fails; infinite for one that does not. */
  failsAtS: number;
  /** Backlog, seconds of work. */
  waitS: number;
  flightsOut: number;
  flightsIn: number;
  /** Requests a second by origin. */
  rates: Float64Array;
}

/**
 * `move`: its bytes go and requests follow; `promotion`: requests go to the standby, which has the bytes; `copy`: bytes for a new standby;
 * `reopen`: from the log or by the standby, since its node failed.
 */
export type FlightKind = 'move' | 'promotion' | 'copy' | 'reopen';

export interface Flight {
  kind: FlightKind;
  shard: number;
  /** -1: reopened, since its node failed. */
  from: number;
  to: number;
  bytesLeft: number;
  fixedLeftS: number;
}

export interface Wish {
  shard: number;
  /** Index of the target node. */
  to: number;
  /** Told when the move begins; a wish may be forgotten before. */
  started?: () => void;
}

/** Exponential, the same for the same place in the order of asking: policies with like fleets have like luck. */
export function lifeS(failuresPerMonth: number, index: number): number {
  if (failuresPerMonth <= 0) return Number.POSITIVE_INFINITY;
  let h = Math.imul(index + 1, 0x9e3779b1);
  h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d);
  h = Math.imul(h ^ (h >>> 12), 0x297a2d39);
  return (-Math.log(1 - ((h ^ (h >>> 15)) >>> 0) / 2 ** 32) * MONTH_S) / failuresPerMonth;
}

/** Highest random weight (Thaler and Ravishankar, 1998): a node more or less moves only its own share. */
export function rendezvous(shard: number, nodes: readonly WorldNode[]): WorldNode {
  let best = nodes[0]!;
  let most = -1;
  for (const node of nodes) {
    let h = Math.imul(shard + 1, 0x9e3779b1) ^ Math.imul(node.index + 1, 0x85ebca6b);
    h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d);
    h = Math.imul(h ^ (h >>> 12), 0x297a2d39);
    h = (h ^ (h >>> 15)) >>> 0;
    if (h > most) {
      most = h;
      best = node;
    }
  }
  return best;
}
