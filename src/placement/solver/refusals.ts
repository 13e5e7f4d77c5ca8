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
  const [name] = [...counts].sort((a, b) => b[1] - a[1])[0] ?? ['nodes'];
  const constraint = PLACE_CONSTRAINTS.find((candidate) => candidate.name === name);
  const other = except === undefined ? '' : ' other';
  const remedy =
    constraint === undefined
      ? `there is no${other} node at all: add one`
      : `no${other} node may hold it, since a shard ${constraint.description}: add or open a node that may`;
  return { takers, why: { constraint: name, remedy } };
}
