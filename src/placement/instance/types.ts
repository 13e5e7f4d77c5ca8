/**
 * An instance of the placement problem as plain data: what `skein placement solve` reads, line by line.
 *
 * The header names regions, nodes, prices and weights; every further line is a shard. Rates are per second, bytes are
 * bytes, money is USD. docs/placement.md says what each number costs.
 */

export const RESOURCES = ['cpu', 'memory', 'network'] as const;
export type Resource = (typeof RESOURCES)[number];
export type PerResource<Value> = Record<Resource, Value>;

/** How far replicas of one shard must be apart. A zone is a (region, zone) pair. */
export const SPREADS = ['node', 'zone', 'region'] as const;
export type Spread = (typeof SPREADS)[number];

export interface Weights {
  /** Dollars for one millisecond of user latency on a million requests. */
  usdPerMsPerMillionRequests: number;
  /** Share of a node's capacity above which overload is priced. */
  headroom: number;
  /** Standard deviations above the mean that a node is sized for. */
  quantileZ: number;
  /** Hours over which the one-time cost of a move is paid back. */
  moveHours: number;
  /** A node full at the quantile costs this many times its price, in each resource. */
  overloadFactor: number;
  /** Fixed dollars for each replica that moves. */
  moveUsd: number;
  /** A move costs each request per second this many milliseconds in all: pause, cold caches, new connections. */
  moveRequestMs: number;
  /** Share of {@link moveRequestMs} where a standby is promoted, whose caches are warm. */
  promotionShare: number;
  /** What a standby needs of its primary's load. */
  standbyShare: PerResource<number>;
  /** Coefficient of variation of the factor that all loads have in common. */
  commonVariation: PerResource<number>;
}

export interface InstanceNode {
  id: string;
  region: string;
  zone: string;
  capacity: PerResource<number>;
  usdPerHour: number;
  /** The scaler can give it back: it costs nothing while it is empty. */
  releasable?: boolean;
  /** Takes no replica that is not there already. */
  cordoned?: boolean;
  /** Being emptied: what is here must leave. */
  draining?: boolean;
  /** Service -> newest state version that its build reads; absent: reads everything. */
  versions?: Record<string, number>;
}

export interface InstanceHeader {
  regions: string[];
  /** `rttMs[from][to]`, in the order of `regions`. */
  rttMs: number[][];
  egressUsdPerGb: number[][];
  /** Measured bytes a second of one move, for all pairs or `[from][to]`. */
  bandwidthBps: number | number[][];
  cells: { id: string; region: string }[];
  nodes: InstanceNode[];
  /** Steps of the forecast. */
  steps: number;
  /** Weight of each step; made to sum to 1. Absent: all the same. */
  stepWeights?: number[];
  weights?: Partial<Weights>;
  /** How many shard lines follow, where it is known: progress and memory are planned by it. */
  shards?: number;
}

/** `[mean, variance]` of one resource in one step. */
export type Moments = [mean: number, variance: number];

export interface InstanceShard {
  id: string;
  load: PerResource<Moments>[];
  /** Origin -> rate in each step. */
  commandsPerSecond: Record<string, number[]>;
  queriesPerSecond: Record<string, number[]>;
  bytesPerRequest: number;
  stateBytes: number;
  writeBytesPerSecond: number;
  standbys: number;
  allowedRegions?: string[];
  /** Where it is now; absent: nowhere yet. */
  primary?: string;
  standbyNodes?: string[];
  /** Target of the primary's migration under way: the shard counts there and is left alone. */
  inFlight?: string;
  pinnedTo?: string;
  quarantined?: boolean;
  /** State version, for nodes with `versions`; the service is the id up to its first `/`. */
  version?: number;
  spread?: Spread;
}

export interface PlacedShard {
  id: string;
  primary: string | null;
  standbyNodes: string[];
  why?: string;
}

/** Dollars an hour by cause. */
export interface CostParts {
  total: number;
  latency: number;
  egress: number;
  replication: number;
  nodes: number;
  overload: number;
  moves: number;
}

/** Default weights; the reasons are in docs/placement.md. */
export const DEFAULT_WEIGHTS: Weights = {
  usdPerMsPerMillionRequests: 0.1,
  headroom: 0.75,
  quantileZ: 1.2816,
  moveHours: 1,
  overloadFactor: 50,
  moveUsd: 1e-3,
  moveRequestMs: 3000,
  promotionShare: 0.25,
  standbyShare: { cpu: 0.1, memory: 1, network: 0.2 },
  commonVariation: { cpu: 0, memory: 0, network: 0 },
};
