/** A hard constraint answers yes or no, and says in plain words what it keeps. */
import type { PlacementNode, PlacementShard } from '../../model/loop.ts';

/** What constraints may look at beyond the shard and the node. */
export interface ConstraintContext {
  /** CPU, memory and network of a node at p90, as placed so far, without `shard` itself. */
  usedAtP90(
    node: PlacementNode,
    shard: PlacementShard,
  ): { cpu: number; memoryBytes: number; networkBytesPerSecond: number };
  /** The shard's own demand at p90 over the window. */
  demandAtP90(shard: PlacementShard): { cpu: number; memoryBytes: number; networkBytesPerSecond: number };
  /** The shard is what saturates the node it is on, now or before a move could be done. */
  saturates(shard: PlacementShard): boolean;
}

export interface Constraint {
  readonly name: string;
  /** Completes "A shard ...". */
  readonly description: string;
  /** May `shard` be placed on `node`? Asked for moves; where a shard is now is asked only by repair. */
  allows(shard: PlacementShard, node: PlacementNode, context: ConstraintContext): boolean;
  /** Whether a refusal of where the shard is now means that it must leave. */
  readonly mustLeave: boolean;
}
