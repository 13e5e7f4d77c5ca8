/**
 * The problem as the solver sees it: everything a number in a typed array, indexed by shard, node, region and dimension.
 *
 * Boundary: no decisions and no state of a search. A dimension is a (step, resource) pair, `d = step * 3 + resource`. A
 * replica slot of shard s is `s * width + k`: slot 0 holds the primary's node, the others the standbys'; -1 is nowhere.
 */

export const RESOURCE_COUNT = 3;
export const NOWHERE = -1;

/** Spread of a shard's replicas, as a code. */
export const SPREAD = { node: 0, zone: 1, region: 2 } as const;

export interface NodeCostSettings {
  /** Share of capacity above which overload is priced. */
  headroom: number;
  /** The share that is full, by dimension. */
  fullShare: Float64Array;
  quantileZ: number;
  /** Squared common variation, per resource. */
  commonSquared: Float64Array;
  /** Dollars an hour per unit of ρ²/(1-ρ) on the CPU; 0: queues are not priced. */
  queueUsdPerHour: number;
  /** Dollars an hour for each capacity beyond full: what makes a search leave such a node first. Not part of the cost. */
  excessUsdPerHour: number;
}

export interface Problem extends NodeCostSettings {
  regionCount: number;
  nodeCount: number;
  shardCount: number;
  steps: number;
  /** steps * 3. */
  dims: number;
  /** Slots per shard: one and the most standbys of any shard. */
  width: number;
  /** Sum to 1. */
  stepWeight: Float64Array;
  /** `[from * regionCount + to]`. */
  egressUsdPerGb: Float64Array;
  standbyShare: Float64Array;
  moveHours: number;
  moveUsd: number;

  nodeRegion: Int32Array;
  /** Number of the (region, zone) pair. */
  nodeZone: Int32Array;
  /** `[node * 3 + resource]`. */
  capacity: Float64Array;
  /** Load that is there beside the shards: `[node * dims + d]`. */
  baseLoad: Float64Array;
  nodeUsdPerHour: Float64Array;
  /** Dollars an hour of a node that is full in one resource throughout. */
  overloadUsdPerHour: Float64Array;
  /** One-time dollars of a gigabyte that comes to a node or leaves it, by how busy it is now; see `transfer-price.ts`. */
  transferUsdPerGb: Float64Array;
  releasable: Uint8Array;
  /** 1: takes new replicas. */
  open: Uint8Array;
  draining: Uint8Array;
  /** `[class * nodeCount + node]`: may a shard of this class of builds be opened there? Class 0: everywhere. */
  buildReads: Uint8Array;

  /** Dollars an hour of latency, egress and the way to the cell, with the primary there: `[s * regionCount + r]`. */
  value: Float64Array;
  /** The egress to users within `value`, for the breakdown. */
  userEgress: Float32Array;
  /** `[s * dims + d]`. */
  loadMean: Float64Array;
  loadVariance: Float64Array;
  /**
   * What varies together beside what all do: `of[s]` is the shard's group, NOWHERE without one, and `deviation[s * dims + d]` the part of its standard
   * deviation that it shares with its group, so that a node's variance holds the square of their sum. Absent where no group is known.
   */
  together?: { groups: number; of: Int32Array; deviation: Float64Array };
  /** GB an hour sent to each standby and to the cell. */
  writeGbPerHour: Float64Array;
  stateGb: Float64Array;
  requestsPerSecond: Float64Array;
  /** One-time dollars when the primary changes, without bytes; to a node of the same region; by promotion. */
  moveFarUsd: Float64Array;
  moveNearUsd: Float64Array;
  promotionUsd: Float64Array;
  standbys: Uint8Array;
  spread: Uint8Array;
  /** Bit r of word w: region w * 32 + r is allowed. `[s * regionWords + w]`. */
  regionWords: number;
  allowed: Uint32Array;
  /** Node it is pinned to, or NOWHERE. */
  pinnedTo: Int32Array;
  /** 1: its replicas stay where they are: quarantined, or a migration is under way. */
  frozen: Uint8Array;
  buildClass: Uint16Array;
  /** 1: while on its node, saturates it and is not moved. */
  saturating: Uint8Array;
  /** Where replicas are now. */
  start: Int32Array;
  /** Cell's region, by primary's region. */
  cellRegion: Int32Array;
}

export function regionAllowed(problem: Problem, s: number, region: number): boolean {
  return ((problem.allowed[s * problem.regionWords + (region >>> 5)]! >>> (region & 31)) & 1) === 1;
}

/**
 * Region that a shard's bytes come from: its primary's, or that of a standby that is left; NOWHERE for a shard that is
 * nowhere yet, whose placement therefore costs no move.
 */
export function sourceRegion(problem: Problem, s: number): number {
  const { start, width, nodeRegion } = problem;
  for (let k = 0; k < width; k++) {
    const n = start[s * width + k]!;
    if (n >= 0) return nodeRegion[n]!;
  }
  return NOWHERE;
}

/** Node ids, shard ids and region names: needed to read an instance and to show a result, never to solve. */
export interface Names {
  regions: string[];
  nodes: string[];
  zones: string[];
  shards: string[];
  /** Services and versions of the build classes. */
  buildClasses: string[];
}
