/**
 * Which nodes may hold which replicas: every hard constraint but capacity and spread, asked per shard and node.
 *
 * Each constraint is a file in `../constraints/`; this one only asks them in order, cheap and final ones first.
 */
import { PLACE_CONSTRAINTS } from '../constraints/place-constraints.ts';
import { NOWHERE, type Problem, SPREAD } from './problem.ts';

export function eligible(problem: Problem, s: number, n: number, standby: boolean): boolean {
  for (const constraint of PLACE_CONSTRAINTS) if (!constraint.allows(problem, s, n, standby)) return false;
  return true;
}

const OF_THOSE_THERE = PLACE_CONSTRAINTS.filter(({ newcomersOnly }) => newcomersOnly !== true);

/** As {@link eligible}, for a replica where it was when the round began. */
export function mayStay(problem: Problem, s: number, n: number, standby: boolean): boolean {
  for (const constraint of OF_THOSE_THERE) if (!constraint.allows(problem, s, n, standby)) return false;
  return true;
}

/** Whether two replicas of `s` may be on `a` and `b`. */
export function apart(problem: Problem, s: number, a: number, b: number): boolean {
  if (a === NOWHERE || b === NOWHERE) return true;
  if (a === b) return false;
  const spread = problem.spread[s]!;
  if (spread === SPREAD.node) return true;
  if (spread === SPREAD.zone) return problem.nodeZone[a] !== problem.nodeZone[b];
  return problem.nodeRegion[a] !== problem.nodeRegion[b];
}

/** Whether a replica of `s` was on `n` when the round began. */
export function startedOn(problem: Problem, s: number, n: number): boolean {
  const { start, width } = problem;
  for (let k = 0; k < width; k++) if (start[s * width + k] === n) return true;
  return false;
}
