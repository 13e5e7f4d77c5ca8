/**
 * What a placement breaks, and what would mend it: infeasible inputs are named, not hidden.
 *
 * Guarantees: every replica that is nowhere, where it may not be, or on a node that is beyond full, is listed with its
 * constraint; counts are whole, examples are bounded.
 */
import { HOLD_CONSTRAINTS, PLACE_CONSTRAINTS } from '../constraints/place-constraints.ts';
import { apart } from './eligible.ts';
import { type Names, type Problem, SPREAD } from './problem.ts';
import { type Remedy, refusals } from './refusals.ts';
import { State } from './state.ts';

/** Shards named for each violation; the count is whole. */
export const EXAMPLES_MAX = 20;
/** Shards named of a node that is beyond full. */
const LARGEST_NAMED = 3;
/** A shard that needs this share of the largest node is named: nothing stands beside it well. */
const NODE_SIZED_SHARE = 0.5;

export interface Violation extends Remedy {
  count: number;
  /** Ids of shards or nodes. */
  examples: string[];
}

export interface Check {
  feasible: boolean;
  violations: Violation[];
  /** Shards near the size of a node, with the share of the largest node that they need at the quantile. */
  nodeSized: { shard: string; share: number; neighbours: number }[];
}

/** Of a replica that is nowhere, and is given no place while its shard is held. */
export const HELD: Remedy = {
  constraint: HOLD_CONSTRAINTS.map(({ name }) => name).join(' or '),
  remedy: 'it is left as it is until its migration ends or it is released, and so lacks a replica',
};

export const RESOURCE_NAMES = ['cpu', 'memory', 'network'];

export function check(problem: Problem, names: Names, place: Int32Array): Check {
  const { shardCount, width, nodeCount } = problem;
  const found = new Map<string, Violation>();
  const add = (constraint: string, example: string, remedy: string) => {
    const known = found.get(constraint) ?? { constraint, count: 0, examples: [], remedy };
    known.count++;
    if (known.examples.length < EXAMPLES_MAX && !known.examples.includes(example))
      known.examples.push(example);
    found.set(constraint, known);
  };
  for (let s = 0; s < shardCount; s++) {
    for (let k = 0; k <= problem.standbys[s]!; k++) {
      const n = place[s * width + k]!;
      if (n < 0) {
        const { constraint, remedy } = whyNowhere(problem, s, k);
        add(constraint, names.shards[s]!, remedy);
        continue;
      }
      if (problem.frozen[s] === 1) continue;
      for (const constraint of PLACE_CONSTRAINTS)
        if (!constraint.allows(problem, s, n, k > 0))
          add(constraint.name, names.shards[s]!, `a shard ${constraint.description}`);
      for (let j = 0; j < k; j++)
        if (!apart(problem, s, place[s * width + j]!, n))
          add('spread', names.shards[s]!, `its replicas share a ${spreadName(problem, s)}: add one more`);
    }
  }
  const state = new State(problem, place);
  for (let n = 0; n < nodeCount; n++) {
    if (!state.isFull(n)) continue;
    const d = fullest(problem, state, n);
    const region = names.regions[problem.nodeRegion[n]!]!;
    // Only the first one's remedy is told.
    const largest = found.has('capacity') ? '' : largestOn(problem, names, place, n, d).join(', ');
    add(
      'capacity',
      names.nodes[n]!,
      `more ${RESOURCE_NAMES[d % 3]} where its shards may go (such as a node in ${region}), or fewer shards bound there: its largest are ${largest}`,
    );
  }
  const large = nodeSized(problem, names, place);
  const full = found.get('capacity');
  // More nodes of the same size would not help.
  if (full !== undefined && large[0] !== undefined && large[0].share > 1)
    full.remedy = `a larger node: ${large[0].shard} alone needs ${Math.round(100 * large[0].share)} % of the largest`;
  return { feasible: found.size === 0, violations: [...found.values()], nodeSized: large };
}

function whyNowhere(problem: Problem, s: number, k: number): Remedy {
  if (problem.frozen[s] === 1) return HELD;
  const { takers, why } = refusals(problem, s, k > 0);
  if (takers.length === 0) return why;
  return {
    constraint: 'spread',
    remedy: `the nodes that may hold it are all in a ${spreadName(problem, s)} that another of its replicas is in: add one elsewhere, or ask for fewer standbys`,
  };
}

function spreadName(problem: Problem, s: number): string {
  return Object.entries(SPREAD).find(([, code]) => code === problem.spread[s])?.[0] ?? 'node';
}

/** The dimension in which a node is furthest beyond full. */
function fullest(problem: Problem, state: State, n: number): number {
  let most = Number.NEGATIVE_INFINITY;
  let at = 0;
  for (let d = 0; d < problem.dims; d++) {
    const beyond = state.shareOf(n, d) - problem.fullShare[d]!;
    if (beyond > most) {
      most = beyond;
      at = d;
    }
  }
  return at;
}

/** Ids of the shards that load a node most in one dimension. */
function largestOn(problem: Problem, names: Names, place: Int32Array, n: number, d: number): string[] {
  const { width, dims, loadMean, quantileZ, loadVariance, standbyShare } = problem;
  const found: { shard: string; load: number }[] = [];
  for (let i = 0; i < place.length; i++) {
    if (place[i] !== n) continue;
    const s = Math.floor(i / width);
    const own = loadMean[s * dims + d]! + quantileZ * Math.sqrt(loadVariance[s * dims + d]!);
    found.push({ shard: names.shards[s]!, load: own * (i % width > 0 ? standbyShare[d % 3]! : 1) });
  }
  found.sort((a, b) => b.load - a.load);
  return found.slice(0, LARGEST_NAMED).map(({ shard }) => shard);
}

function nodeSized(problem: Problem, names: Names, place: Int32Array): Check['nodeSized'] {
  const { shardCount, nodeCount, dims, width, quantileZ, loadMean, loadVariance, capacity } = problem;
  const largest = [0, 0, 0];
  for (let n = 0; n < nodeCount; n++)
    for (let i = 0; i < 3; i++) largest[i] = Math.max(largest[i]!, capacity[n * 3 + i]!);
  const found: Check['nodeSized'] = [];
  const shards = new Int32Array(nodeCount);
  for (let i = 0; i < place.length; i++) if (place[i]! >= 0) shards[place[i]!]!++;
  for (let s = 0; s < shardCount; s++) {
    let share = 0;
    for (let d = 0; d < dims; d++) {
      const i = s * dims + d;
      share = Math.max(share, (loadMean[i]! + quantileZ * Math.sqrt(loadVariance[i]!)) / largest[d % 3]!);
    }
    if (share < NODE_SIZED_SHARE) continue;
    const n = place[s * width]!;
    found.push({ shard: names.shards[s]!, share, neighbours: n < 0 ? 0 : shards[n]! - 1 });
  }
  return found.sort((a, b) => b.share - a.share).slice(0, EXAMPLES_MAX);
}
