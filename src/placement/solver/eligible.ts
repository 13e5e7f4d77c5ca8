/**
 * Which nodes may hold which replicas: every hard constraint but capacity and spread, asked per shard and node.
 *
 * Each constraint is a file in `../constraints/`; this one only asks them in order, cheap and final ones first.
 */
import { PLACE_CONSTRAINTS } from '../constraints/place-constraints.ts';
import type { Problem } from './problem.ts';

export { isHere as startedOn } from '../constraints/constraint.ts';
export { allAllow as eligible } from '../constraints/place-constraints.ts';
export { apart } from '../constraints/spread.ts';

const OF_THOSE_THERE = PLACE_CONSTRAINTS.filter(({ newcomersOnly }) => newcomersOnly !== true);

/** As {@link eligible}, for a replica where it was when the round began. */
export function mayStay(problem: Problem, s: number, n: number, standby: boolean): boolean {
  for (const constraint of OF_THOSE_THERE) if (!constraint.allows(problem, s, n, standby)) return false;
  return true;
}
