/**
 * The seam between the controller's main thread and the thinking part of the loop: metrics, forecast, placement, plan.
 *
 * The engine keeps the state (windows, models, hysteresis); the main thread sends what changed and gets a decision.
 * Everything that crosses is plain data, because in production the engine lives in a worker thread
 * (`worker-engine.ts`), and in the simulated world in the same process (`local-engine.ts`).
 */
import type { CellId, NodeName, ProcessId, Region, ShardId } from '../model/ids.ts';
import type { NodeSample } from '../model/load.ts';
import type {
  ControllerMode,
  Decision,
  ForecastExplanation,
  ForecastMetric,
  HandlerShare,
  PlacementNode,
  PolicyName,
  ShardForecast,
} from '../model/loop.ts';
import type { NodeRecord } from '../model/records.ts';
import type { Topology } from '../model/topology.ts';
import type { AssignmentChanges } from './cluster-view.ts';
import type { ForecastQuery } from './forecast-view.ts';
import type { NodeReport } from './sampler.ts';
import type { DeclaredSignal } from './signals.ts';
import type { TransferRate } from './transfer-rate.ts';

export interface EngineConfig {
  policy: PolicyName;
  topology: Topology;
  stepMs: number;
  /** Seeds the engine's own random stream: the same inputs and seed give the same plans. */
  seed: string;
  /** How far ahead a move is decided for, seconds. */
  leadS: number;
  /** Moves a plan may hold at most. */
  movesPerPlan: number;
  /** For `bestFixed`: seconds of load to learn from before the one placement. */
  learnS: number;
  /** For `reactive`: seconds after which a request weighs half; absent: the tuned value. */
  halfLifeS?: number;
  /** For `oracle`: a module that exports `oracle`, an `OracleSource`; what follows a `?` reaches it in its URL. */
  oracleFile?: string;
  /** The predictive policy asks the trained network about groups, hot shards and the total: by default. */
  network?: boolean;
  /** An ONNX model of one's own that it asks as well, described by `<file>.json`. */
  modelFile?: string;
  /** False: copies of moves go at full speed. */
  copiesGiveWay?: boolean;
}

/** A node as the engine sees it in one tick. */
export interface EngineNode {
  record: NodeRecord;
  cordoned: boolean;
  /** Absent: it did not answer in time this tick; its shards' load is unknown, not zero. */
  sample?: NodeSample;
}

export interface TickInput {
  tick: number;
  atMs: number;
  stepMs: number;
  mode: ControllerMode;
  nodes: EngineNode[];
  /** Where each cell is. */
  cells: Record<CellId, Region>;
  assignments: AssignmentChanges;
  /** One report a node that answered; an empty one says: there, and idle. */
  reports: NodeReport[];
  /** Migrations under way: placement counts the shard at its target and leaves it alone. */
  inFlight: { shard: ShardId; source: ProcessId; target: ProcessId; startedAtMs?: number }[];
  /** Bytes a second that moves were measured to get across; a pair that is not here was not measured. */
  transferRates?: TransferRate[];
  /** Core-seconds that each end of a move spends on a gigabyte, as configured or measured; absent: no price. */
  moveCpuSecondsPerGb?: number;
  /** Shards whose migration was rolled back since the last tick. */
  rolledBack: ShardId[];
  /** Moved by hand: placement leaves them there until the pin ends. */
  pinned: { shard: ShardId; target: ProcessId }[];
  quarantined: ShardId[];
  signals: DeclaredSignal[];
}

/** Everything of a decision that the engine knows; the controller adds what became of it. */
export type EngineDecision = Omit<Decision, 'tick' | 'atMs' | 'mode'>;

/** A candidate home for a shard, in dollars an hour and milliseconds. */
export interface Alternative {
  node: ProcessId;
  region: Region;
  gainUsdPerHour: number;
  costUsdPerHour: number;
  latencyMsNow: number;
  latencyMsThen: number;
  /** Names of hard constraints that forbid it. */
  refusedBy: string[];
}

export interface ShardInsight {
  /** Requests a second measured over the last minute of steps, by origin. */
  ratesByOrigin: Record<Region, number>;
  /** Placement's own sentence. */
  summary: string;
  /** The solver's: what its region costs, what its load is worth to others there, the next best region. */
  why?: string;
  /** Dollars an hour that its load is worth to others in each region; 0 where there is room for all. */
  priceUsdPerHour?: Record<Region, number>;
  alternatives: Alternative[];
  forecast?: ShardForecast;
  explanation?: ForecastExplanation;
}

/** One metric of one shard, node, region or of everything: history and what is foreseen, for showing. */
export interface ForecastView {
  shard?: ShardId;
  node?: NodeName;
  region?: Region;
  /** Requests and bytes a second, core-seconds a second, bytes of memory. */
  metric: ForecastMetric;
  stepS: number;
  /** Oldest first; the last value is of the step that ended at `atMs`. Of requests only. */
  atMs: number;
  history: number[];
  /** Earlier forecasts for the steps of `history`, where one was made. */
  foreseen: (number | null)[];
  horizonsS: number[];
  p50: number[];
  p90: number[];
  p99: number[];
  /** Of a shard: by which handlers its service is asked, largest share first. Absent where nodes do not tell. */
  mix?: HandlerShare[];
  explanation?: ForecastExplanation;
}

export interface RepairTargets {
  targets: Record<ShardId, ProcessId>;
  /** Shards that no node may take, and why. */
  stranded: Record<ShardId, string>;
}

export interface LoopEngine {
  /** The engine began anew: the next tick must tell every assignment. */
  readonly needsEverything?: boolean;
  tick(input: TickInput): Promise<EngineDecision>;
  insight(shard: ShardId): Promise<ShardInsight | undefined>;
  /** Without a shard, node or region: the whole cluster. Undefined: never seen, or nothing is there. */
  forecast(shard: ShardId | undefined, query?: ForecastQuery): Promise<ForecastView | undefined>;
  /**
   * Where the shards of a node that was lost should be opened, hard constraints kept, from what the last tick knew. Undefined:
   * nothing is known yet.
   */
  repair?(dead: ProcessId): Promise<RepairTargets | undefined>;
  /** Everything a successor needs to go on. */
  save(): Promise<Uint8Array>;
  /** False: the bytes are of another format and were ignored. */
  load(bytes: Uint8Array): Promise<boolean>;
  close(): Promise<void>;
}

/** What the planner calls a node, from its record. */
export function placementNode(node: EngineNode): PlacementNode {
  const { record } = node;
  const draining = record.state === 'draining';
  return {
    processId: record.processId,
    name: record.name,
    region: record.region,
    zone: record.zone,
    capacity: record.capacity,
    usdPerHour: record.usdPerHour,
    open: !draining && !node.cordoned,
    draining,
    versions: Object.fromEntries(
      Object.entries(record.services).map(([service, manifest]) => [service, manifest.version]),
    ),
  };
}
