/** A hard constraint answers yes or no, and says in plain words what it keeps. */
import type { PlacementShard } from '../../model/loop.ts';
import type { Problem } from '../solver/problem.ts';

interface Described {
  readonly name: string;
  /** Completes "A shard ...". */
  readonly description: string;
}

/** Of a replica and a node, as numbers: asked millions of times a second. */
export interface PlaceConstraint extends Described {
  /** It never refuses a replica where that is already. */
  readonly newcomersOnly?: true;
  allows(problem: Problem, s: number, n: number, standby: boolean): boolean;
}

/** Of a shard alone: while it holds, its replicas stay where they are. */
export interface HoldConstraint extends Described {
  holds(shard: PlacementShard): boolean;
}

/** Whether a replica of `s` was on `n` when the round began. */
export function isHere({ start, width }: Problem, s: number, n: number): boolean {
  for (let k = 0; k < width; k++) if (start[s * width + k] === n) return true;
  return false;
}
