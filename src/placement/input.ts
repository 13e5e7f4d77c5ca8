/** What placement is given and what it gives back. Plain data. */
import type { CellId, ProcessId, Region, ShardId } from '../model/ids.ts';
import type { MoveReason, PlacementNode, PlacementShard } from '../model/loop.ts';
import type { Topology } from '../model/topology.ts';
import type { Prices, SearchBudget } from './defaults.ts';

export interface PlacementInput {
  nodes: readonly PlacementNode[];
  shards: readonly PlacementShard[];
  topology: Topology;
  /** The cell of each region: a shard's log lives where its primary does. Absent regions keep the cell they have. */
  cells: Readonly<Record<Region, CellId>>;
  prices?: Partial<Prices>;
  search?: Partial<SearchBudget>;
  /** Nodes that may be given back when empty; only their price counts. */
  releasable?: ReadonlySet<ProcessId>;
  /**
   * CPU that each node uses beside its shards' handlers (core-seconds a second): measured overhead. Counted against
   * its capacity.
   */
  overheadCpu?: Readonly<Record<ProcessId, number>>;
  /** CPU of each node right now, core-seconds a second: tells which nodes are saturated already. */
  cpuNow?: Readonly<Record<ProcessId, number>>;
  /** Cost still owed by a shard's last move, dollars (see the plan's ledger): added to the cost of its next one. */
  owedUsd?: (shard: ShardId) => number;
}

/** Dollars an hour, by cause. */
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
}

export interface PlacementResult {
  /** Where every shard should be, those that stay included. */
  target: Map<ShardId, ProcessId>;
  /** Only those that should move, best first. */
  relocations: Relocation[];
  cost: { now: Cost; target: Cost };
  /** One plain sentence for the tick, and what stood in the way of moves, with counts. */
  reason: string;
  blocked: Record<string, number>;
}

export interface ShardPlacementExplanation {
  shard: ShardId;
  text: string;
  current: ProcessId;
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
