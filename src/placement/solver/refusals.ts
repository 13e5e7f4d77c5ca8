/** Why no node takes a replica: which constraint refuses most nodes, and what would mend it. */
import { PLACE_CONSTRAINTS } from '../constraints/place-constraints.ts';
import type { Problem } from './problem.ts';

export interface Remedy {
  constraint: string;
  /** What would make it feasible, in plain words. */
  remedy: string;
}

/** Nodes beside `except` that only capacity or spread can refuse, and, where there is none, what refuses it. */
export function refusals(
  problem: Problem,
  s: number,
  standby: boolean,
  except?: number,
): { takers: number[]; why: Remedy } {
  const counts = new Map<string, number>();
  const takers: number[] = [];
  for (let n = 0; n < problem.nodeCount; n++) {
    if (n === except) continue;
    const refused = PLACE_CONSTRAINTS.find((constraint) => !constraint.allows(problem, s, n, standby));
    if (refused === undefined) takers.push(n);
    else counts.set(refused.name, (counts.get(refused.name) ?? 0) + 1);
  }
  const reasons = [...counts].sort((a, b) => b[1] - a[1]);
  const other = except === undefined ? '' : ' other';
  if (reasons.length === 0)
    return { takers, why: { constraint: 'nodes', remedy: `there is no${other} node at all: add one` } };
  // Where a shard is pinned to a node that is cordoned, most nodes are refused by the pin, and opening that one helps.
  const since = reasons.map(([name, count]) => {
    const { description } = PLACE_CONSTRAINTS.find((constraint) => constraint.name === name)!;
    return reasons.length === 1 ? description : `${description} (${count} ${count === 1 ? 'node' : 'nodes'})`;
  });
  const remedy = `no${other} node may hold it, since a shard ${since.join(', and ')}: add or open a node that may`;
  return { takers, why: { constraint: reasons[0]![0], remedy } };
}
