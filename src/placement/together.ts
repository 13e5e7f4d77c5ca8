/**
 * Which shards surge together, from forecasts to the solver's arrays. A node that holds a tenant's rooms fills when they all do: what they have in common
 * adds up there, where what each has of its own evens out.
 *
 * Pure. Invariant: bounded memory; where groups are too many for it, those with the most in common are kept.
 */
import type { PlacementShard } from '../model/loop.ts';
import { NOWHERE, type Problem, RESOURCE_COUNT } from './solver/problem.ts';

/** Pairs of a node and a group: a state holds four bytes for each, and sums for those that occur. */
const PAIRS_MAX = 4e6;
const MEMORY = 1;

/** Undefined where no two shards are known to surge together. */
export function togetherOf(
  shards: readonly PlacementShard[],
  { nodeCount, dims, loadVariance }: Pick<Problem, 'nodeCount' | 'dims' | 'loadVariance'>,
): Problem['together'] {
  const members = new Map<string, number[]>();
  shards.forEach(({ forecast: { together } }, s) => {
    if (together === undefined || !(together.correlation > 0)) return;
    const group = members.get(together.group);
    if (group === undefined) members.set(together.group, [s]);
    else group.push(s);
  });
  const deviation = new Float64Array(loadVariance.length);
  const weighed: { group: number[]; weight: number }[] = [];
  for (const group of members.values()) {
    if (group.length < 2) continue;
    let weight = 0;
    for (const s of group) {
      const share = Math.sqrt(Math.min(1, shards[s]!.forecast.together!.correlation));
      // State grows by what was written, not by the moment.
      for (let i = s * dims; i < (s + 1) * dims; i++)
        if (i % RESOURCE_COUNT !== MEMORY) deviation[i] = share * Math.sqrt(loadVariance[i]!);
      weight += deviation[s * dims]!;
    }
    weighed.push({ group, weight });
  }
  weighed.sort((a, b) => b.weight - a.weight || a.group[0]! - b.group[0]!);
  const groups = Math.min(weighed.length, Math.floor(PAIRS_MAX / Math.max(1, nodeCount)));
  if (groups === 0) return undefined;
  const of = new Int32Array(shards.length).fill(NOWHERE);
  weighed.slice(0, groups).forEach(({ group }, g) => {
    for (const s of group) of[s] = g;
  });
  return { groups, of, deviation };
}
