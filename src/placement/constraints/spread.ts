/** Replicas of one shard do not share a node, a zone or a region, as its service asks: one failure leaves one of them. */
import { NOWHERE, type Problem, SPREAD } from '../solver/problem.ts';

/** Whether two replicas of `s` may be on `a` and `b`. */
export function apart(problem: Problem, s: number, a: number, b: number): boolean {
  if (a === NOWHERE || b === NOWHERE) return true;
  if (a === b) return false;
  const spread = problem.spread[s]!;
  if (spread === SPREAD.node) return true;
  if (spread === SPREAD.zone) return problem.nodeZone[a] !== problem.nodeZone[b];
  return problem.nodeRegion[a] !== problem.nodeRegion[b];
}
