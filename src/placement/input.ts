/** What placement is given and what it gives back. Plain data. */
import type { CellId, ProcessId, Region, ShardId } from '../model/ids.ts';
import type { Infeasibility, MoveReason, PlacementNode, PlacementShard } from '../model/loop.ts';
import type { Topology } from '../model/topology.ts';
import type { Prices } from './defaults.ts';
import type { SolveBudget } from './solver/solve.ts';

export interface PlacementInput {
  nodes: readonly PlacementNode[];
  shards: readonly PlacementShard[];
  topology: Topology;
  /** The cell of each region: a shard's log lives where its primary does. Absent regions keep the cell they have. */
  cells: Readonly<Record<Region, CellId>>;
  prices?: Partial<Prices>;
  budget?: Partial<SolveBudget>;
  /** Nodes that may be given back when empty; only their price counts. */
  releasable?: ReadonlySet<ProcessId>;
  /**
   * CPU that each node uses beside its shards' handlers (core-seconds a second): measured overhead. Counted against
   * its capacity.
   */
  overheadCpu?: Readonly<Record<ProcessId, number>>;
  /** CPU of each node right now, core-seconds a second: tells which nodes are saturated already. */
  cpuNow?: Readonly<Record<ProcessId, number>>;
  /** Coefficient of variation of what all loads have in common: 0.1 is ten percent up or down together. */
  commonVariation?: number;
  /** Measured bytes a second of one move; absent: a move takes as long whatever its bytes. */
  bandwidthBps?: (from: Region, to: Region) => number;
  /** Copies take what requests leave of their ends, as live ones do; absent: all that the bandwidth allows. */
  copiesGiveWay?: boolean;
  /** Seconds of a move beside its bytes; absent: the first horizon of the forecasts. */
  moveFixedS?: number;
  /** Cost still owed by a shard's last move, dollars (see the plan's ledger): added to the cost of its next one. */
  owedUsd?: (shard: ShardId) => number;
}

/** Dollars an hour, by cause, over the window of the forecasts. */
export interface Cost {
  latency: number;
  egress: number;
  nodes: number;
  overload: number;
  total: number;
}

/** One shard that should be elsewhere. */
export interface Relocation {
  shard: ShardId;
  source: ProcessId;
  target: ProcessId;
  cell: CellId;
  reason: MoveReason;
  /** Dollars over the horizon: gain and one-time cost. Their difference is what orders a plan. */
  gainUsd: number;
  costUsd: number;
  bytes: number;
  /** `must`: where it is breaks a hard constraint. */
  kind: 'improve' | 'must';
  /** Seconds ahead at which it should be done, and the earliest at which it can be. */
  neededAtS: number;
  doneS: number;
  /** Of a move that is worth it only from {@link neededAtS} on: the earliest start, in seconds, that does not cost more than it saves. */
  earliestAtS?: number;
  /** Shards whose moves make room for this one: it must not go without them. */
  after?: ShardId[];
}

/** How far a target is from the best that can be, as certified by region prices. */
export interface Certificate {
  /** Dollars an hour that no placement can be below, moves included. */
  lowerBoundUsdPerHour: number;
  /** (cost - bound) / bound. */
  gap: number;
}

export interface PlacementResult {
  /** Where every shard should be, those that stay included. */
  target: Map<ShardId, ProcessId>;
  /** Only those that should move, best first: every prefix keeps the hard constraints. */
  relocations: Relocation[];
  /** Moves that will be worth it later, those needed first in front: some must start early where budgets are short. */
  upcoming?: Relocation[];
  cost: { now: Cost; target: Cost };
  /** Absent where nothing was solved. */
  certificate?: Certificate;
  /** What no placement can keep: which constraint, which shards, what would make it feasible. */
  infeasible: Infeasibility[];
  /** Shards near the size of a node: nothing stands beside them well. */
  nodeSized: { shard: ShardId; share: number; neighbours: number }[];
  /** One plain sentence for the tick, and what stood in the way of moves, with counts. */
  reason: string;
  blocked: Record<string, number>;
}

export interface ShardPlacementExplanation {
  shard: ShardId;
  text: string;
  current: ProcessId;
  /** The solver's own sentence: what its region costs, what its load there is worth to others, the next best region. */
  why?: string;
  /** Dollars an hour that its load is worth to others in each region: 0 where there is room for all. */
  priceUsdPerHour?: Record<Region, number>;
  /** Alternatives, best first. */
  alternatives: {
    target: ProcessId;
    region: Region;
    allowed: boolean;
    /** Why not, in plain words. */
    refusedBy?: string;
    latencyMs: number;
    gainUsdPerHour: number;
    moveCostUsd: number;
  }[];
}

export interface Placer {
  place(input: PlacementInput): PlacementResult;
  explain(input: PlacementInput, shard: ShardId): ShardPlacementExplanation;
}
