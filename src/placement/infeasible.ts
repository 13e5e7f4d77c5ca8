/**
 * What a placement cannot keep, and what would mend it; and which constraints stand between shards and where they would be
 * better. For the decision of a tick: `skein plan show`, `/v1/decisions`.
 */
import type { Infeasibility } from '../model/loop.ts';
import type { ClusterProblem } from './cluster-problem.ts';
import { PLACE_CONSTRAINTS } from './constraints/place-constraints.ts';
import type { PlacementResult } from './input.ts';
import { check, EXAMPLES_MAX, HELD, RESOURCE_NAMES } from './solver/check.ts';
import { primaryMoveUsd } from './solver/objective.ts';
import type { Problem } from './solver/problem.ts';
import { type Remedy, refusals } from './solver/refusals.ts';
import type { State } from './solver/state.ts';

export function infeasibilities(
  cluster: ClusterProblem,
  state: State,
  stuck: readonly number[],
): Pick<PlacementResult, 'infeasible' | 'nodeSized'> {
  const { problem, names } = cluster;
  const found = new Map<string, Infeasibility>();
  for (const s of stuck) {
    const { constraint, remedy } = whyStuck(cluster, state, s);
    const known = found.get(constraint) ?? { constraint, count: 0, examples: [], remedy };
    known.count++;
    if (known.examples.length < EXAMPLES_MAX) known.examples.push(names.shards[s]!);
    found.set(constraint, known);
  }
  const { nodeSized, violations } = check(problem, names, state.place);
  const full = violations.find(({ constraint }) => constraint === 'capacity');
  if (full !== undefined && !found.has('capacity')) found.set('capacity', full);
  return { infeasible: [...found.values()], nodeSized };
}

/** A shard that must leave or is nowhere, and that no node can take. */
function whyStuck(cluster: ClusterProblem, state: State, s: number): Remedy {
  const { problem, names } = cluster;
  if (problem.frozen[s] === 1) return HELD;
  const { takers, why } = refusals(problem, s, false, problem.start[s * problem.width]!);
  if (takers.length === 0) return why;
  const d = scarcest(problem, state, s, takers);
  const regions = [...new Set(takers.map((n) => names.regions[problem.nodeRegion[n]!]!))].join(', ');
  return {
    constraint: 'capacity',
    remedy: `every node that may hold it is full: more ${RESOURCE_NAMES[d % 3]} in ${regions}, such as another node`,
  };
}

/** The dimension in which the shard's best node is furthest beyond full. */
function scarcest(problem: Problem, state: State, s: number, nodes: readonly number[]): number {
  let best = 0;
  let bestOver = Number.POSITIVE_INFINITY;
  for (const n of nodes) {
    let most = Number.NEGATIVE_INFINITY;
    let at = 0;
    for (let d = 0; d < problem.dims; d++) {
      const added = problem.loadMean[s * problem.dims + d]! / problem.capacity[n * 3 + (d % 3)]!;
      const over = state.shareOf(n, d) + added - problem.fullShare[d]!;
      if (over <= most) continue;
      most = over;
      at = d;
    }
    if (most >= bestOver) continue;
    bestOver = most;
    best = at;
  }
  return best;
}

/** Shards that another region would serve better, move included, and the constraint that keeps them out: how many by name. */
export function blockedBy(cluster: ClusterProblem, state: State): Record<string, number> {
  const { problem } = cluster;
  const { regionCount, width, value, nodeRegion, moveHours } = problem;
  const byRegion: number[][] = Array.from({ length: regionCount }, () => []);
  for (let n = 0; n < problem.nodeCount; n++) byRegion[nodeRegion[n]!]!.push(n);
  const counts: Record<string, number> = {};
  for (let s = 0; s < problem.shardCount; s++) {
    const here = state.place[s * width]!;
    if (here < 0 || problem.frozen[s] === 1) continue;
    const stay = value[s * regionCount + nodeRegion[here]!]! + primaryMoveUsd(problem, s, here) / moveHours;
    let best = -1;
    let bestUsd = stay * (1 - 1e-9);
    for (let r = 0; r < regionCount; r++) {
      const first = byRegion[r]![0];
      if (first === undefined || r === nodeRegion[here]) continue;
      const usd = value[s * regionCount + r]! + primaryMoveUsd(problem, s, first) / moveHours;
      if (usd >= bestUsd) continue;
      bestUsd = usd;
      best = r;
    }
    if (best < 0) continue;
    const name = refusalIn(problem, state, s, byRegion[best]!);
    if (name !== undefined) counts[name] = (counts[name] ?? 0) + 1;
  }
  return counts;
}

/** The constraint that refuses a shard on every one of these nodes; undefined where one of them may take it. */
function refusalIn(problem: Problem, state: State, s: number, nodes: readonly number[]): string | undefined {
  let name: string | undefined;
  let eligible = false;
  for (const n of nodes) {
    const refused = PLACE_CONSTRAINTS.find((constraint) => !constraint.allows(problem, s, n, false));
    if (refused !== undefined) {
      name ??= refused.name;
      continue;
    }
    eligible = true;
    state.addUsd(s, n, false);
    if (state.fits) return undefined;
  }
  return eligible ? 'capacity' : name;
}
