/** All hard constraints, in the order in which they are asked: cheap and final ones first. */
import type { PlacementNode, PlacementShard } from '../../model/loop.ts';
import { capacity } from './capacity.ts';
import type { Constraint, ConstraintContext } from './constraint.ts';
import { draining } from './draining.ts';
import { inFlight } from './in-flight.ts';
import { jurisdiction } from './jurisdiction.ts';
import { open } from './open.ts';
import { pinned } from './pinned.ts';
import { quarantined } from './quarantined.ts';
import { saturated } from './saturated.ts';
import { version } from './version.ts';

export type { Constraint, ConstraintContext } from './constraint.ts';

export const CONSTRAINTS: readonly Constraint[] = [
  inFlight,
  quarantined,
  pinned,
  jurisdiction,
  open,
  draining,
  version,
  saturated,
  capacity,
];
const MUST_LEAVE = CONSTRAINTS.filter((constraint) => constraint.mustLeave);

/** The first constraint that refuses `node`, or undefined. */
export function refusal(
  shard: PlacementShard,
  node: PlacementNode,
  context: ConstraintContext,
): Constraint | undefined {
  for (const constraint of CONSTRAINTS) if (!constraint.allows(shard, node, context)) return constraint;
  return undefined;
}

/** The constraint that where the shard is now breaks, if any. */
export function mustLeave(
  shard: PlacementShard,
  node: PlacementNode,
  context: ConstraintContext,
): Constraint | undefined {
  if (shard.inFlightTo !== undefined || shard.quarantined === true) return undefined;
  for (const constraint of MUST_LEAVE) if (!constraint.allows(shard, node, context)) return constraint;
  return undefined;
}
