/**
 * What flows through the loop: forecasts, targets, plans, decisions. Plain data, serialisable, so that it can cross
 * to a worker thread, be stored, shown and replayed.
 */
import type { CellId, Epoch, NodeName, ProcessId, Region, ShardId } from './ids.ts';
import type { Resources } from './records.ts';

export const FORECAST_QUANTILES = [0.5, 0.9, 0.99] as const;
export const FORECAST_METRICS = ['requests', 'cpu', 'memory', 'networkIn', 'networkOut'] as const;
export type ForecastMetric = (typeof FORECAST_METRICS)[number];

/** One metric at the horizons asked for: `quantiles[q][h]`, q as in {@link FORECAST_QUANTILES}. */
export interface MetricForecast {
  quantiles: [p50: number[], p90: number[], p99: number[]];
  /** Quantiles of the maximum over the whole window: what a move is sized for. */
  max: [p50: number, p90: number, p99: number];
}

/** Forecast of one shard. Rates are per second; cpu in core-seconds a second; memory in bytes. */
export interface ShardForecast {
  shard: ShardId;
  /** Seconds ahead, ascending. */
  horizonsS: number[];
  metrics: Record<ForecastMetric, MetricForecast>;
  /** Expected requests a second from each origin at each horizon: `byOrigin[region][h]`. */
  byOrigin: Record<Region, { commands: number[]; queries: number[] }>;
  /** Those it surges with, and how much: the correlation of what nobody foresees of any two of the group, above 0 to 1. */
  together?: { group: string; correlation: number } | undefined;
  /**
   * How far a step comes above what was foreseen of it, fourth root of the mean fourth power over thousands of steps: what the quantiles do not tell of a shard that sleeps now.
   * Requests a second, core-seconds a second, bytes a second in and out; absent where nothing is known.
   */
  surge?: { requests: number; cpu: number; network: number } | undefined;
}

/** Why the forecaster trusts what it says: shown by `skein forecast show`. */
export interface ForecastExplanation {
  /** Detected periods in seconds, strongest first; empty where none stands out. */
  periodsS: number[];
  /** Weight of each expert at the middle horizon. */
  weights: Record<string, number>;
  /** Realised share of values at or below p90. */
  coverageP90: number;
}

/** A handler's share of its service's requests: of late, and at each horizon. */
export interface HandlerShare {
  /** `*`: those that are not told apart. */
  handler: string;
  now: number;
  ahead: number[];
}

/** A node as placement sees it. */
export interface PlacementNode {
  processId: ProcessId;
  name: NodeName;
  region: Region;
  zone: string;
  capacity: Resources;
  usdPerHour: number;
  /** Takes new shards. False for draining and cordoned nodes. */
  open: boolean;
  /** Being emptied: what is here must leave. */
  draining: boolean;
  /** Service -> newest state version its build can read. */
  versions: Record<string, number>;
}

/** A shard as placement sees it. */
export interface PlacementShard {
  shard: ShardId;
  primary: ProcessId;
  cell: CellId;
  epoch: Epoch;
  forecast: ShardForecast;
  stateBytes: number;
  writeBytesPerSecond: number;
  bytesPerRequest: number;
  /** Processes that keep a copy: a move to one of them promotes it. */
  standbys?: readonly ProcessId[];
  allowedRegions?: Region[];
  version: number;
  pinnedTo?: ProcessId;
  quarantined?: boolean;
  /** A migration is under way: placement counts it at its target and leaves it alone. */
  inFlightTo?: ProcessId;
}

export interface Move {
  shard: ShardId;
  source: ProcessId;
  target: ProcessId;
  /** Where the log goes: the target region's cell. */
  cell: CellId;
  epoch: Epoch;
  reason: MoveReason;
  priority: 'emergency' | 'drain' | 'improve' | 'manual';
  bytes: number;
}

/** Numbers behind a move (or non-move), in dollars an hour unless named otherwise, and one plain sentence. */
export interface MoveReason {
  text: string;
  gainUsdPerHour: number;
  costUsdPerHour: number;
  latencyMsNow: number;
  latencyMsThen: number;
  runnerUp?: { target: ProcessId; gainUsdPerHour: number };
  /** The same latencies by origin: what is measured after the move is compared with it. */
  promise?: LatencyPromise;
}

/**
 * Expected mean latency of the users of each origin where the shard is and where it is to go, milliseconds: the way there
 * and back, without time in queues and handlers. `share` is of all its requests.
 */
export type LatencyPromise = Record<Region, { share: number; nowMs: number; thenMs: number }>;

/** What no placement can keep, as far as it goes. */
export interface Infeasibility {
  /** Name of the hard constraint. */
  constraint: string;
  /** How many, and some of them: shards, or nodes that are beyond full. */
  count: number;
  examples: string[];
  /** What would make it feasible, in plain words. */
  remedy: string;
}

/** Immutable; ordered by benefit over cost. Nodes and the executor refuse generations older than one they saw. */
export interface Plan {
  generation: number;
  parent: number;
  madeAtMs: number;
  moves: Move[];
  /** What follows when, as far as it is laid out: every tick decides it anew. */
  later?: LaterMove[];
}

/** A move that does not start yet: its turn comes as budgets allow. */
export interface LaterMove {
  shard: ShardId;
  target: ProcessId;
  startInS: number;
  doneInS: number;
  /** It will be done after it is needed. */
  late: boolean;
}

/** What the controller decides by. `static` and `bestFixed` move nothing; the others differ in what they know of the load. */
export const POLICIES = ['static', 'bestFixed', 'reactive', 'predictive', 'oracle'] as const;
export type PolicyName = (typeof POLICIES)[number];

export type ControllerMode = 'observe' | 'recommend' | 'auto';

/** Realised accuracy of one series' forecasts at a horizon; the last two hundred or so count. */
export interface ForecastQuality {
  aheadS: number;
  /** Share of values at or below p90. */
  coverageP90: number;
  /** Mean absolute error of the engine's p50 over that of seasonal naive. */
  lossAgainstNaive: number;
  /** Seasonal naive was clearly better: it is what is given at this horizon, until the engine is good again. */
  fallsBack: boolean;
}

/** The result of a tick, also when nothing moves. */
export interface Decision {
  tick: number;
  atMs: number;
  mode: ControllerMode;
  outcome: 'planned' | 'recommended' | 'skipped' | 'still';
  /** Plain words: why this, or why nothing. */
  reason: string;
  plan?: Plan;
  forecastRequestsPerSecond?: { p50: number; p90: number; leadS: number };
  actualRequestsPerSecond?: number;
  /** How forecasts of all requests did against what came, per horizon; from the first that were held against it. */
  forecastQuality?: ForecastQuality[];
  costUsdPerHour?: { now: number; target: number };
  /**
   * How far the target is from the best placement there can be, at most: (cost - bound) / bound with the moves' cost, and the
   * bound in dollars an hour, which no placement can be below.
   */
  certified?: { gap: number; lowerBoundUsdPerHour: number };
  /** Hard constraints that no placement can keep, with the shards and what would mend it. */
  infeasible?: Infeasibility[];
  /** Shards that need at least half of the largest node, and how many others share their node. */
  nodeSized?: { shard: ShardId; share: number; neighbours: number }[];
  tookMs: { forecast: number; placement: number };
}
