/**
 * The yardstick of `gapOverGreedy`: each shard, in the order of the input, goes to the region where its own dollars (latency,
 * egress, the way to the cell) are least among those with a node that has room, and there to the least pressed such node;
 * standbys likewise, by replication. What any scheduler does that asks where users are and whether it fits.
 */
import { SeededDraws } from '../instance/random.ts';
import { Candidates } from './candidates.ts';
import { apart, eligible } from './eligible.ts';
import { NOWHERE, type Problem, regionAllowed } from './problem.ts';
import { State } from './state.ts';

export function nearestFeasible(problem: Problem): Int32Array {
  const { shardCount, regionCount, width, value, nodeRegion, egressUsdPerGb, start } = problem;
  const state = new State(problem);
  const candidates = new Candidates(state, new SeededDraws('greedy'));
  const taken = new Int32Array(width);
  const order = new Int32Array(regionCount);
  for (let s = 0; s < shardCount; s++) {
    if (problem.frozen[s] === 1) {
      for (let k = 0; k < width; k++) if (start[s * width + k]! >= 0) state.put(s, k, start[s * width + k]!);
      continue;
    }
    for (let k = 0; k <= problem.standbys[s]!; k++) {
      for (let r = 0; r < regionCount; r++) order[r] = r;
      const primaryRegion = k === 0 ? 0 : nodeRegion[Math.max(0, taken[0]!)]!;
      const usd = (r: number) =>
        k === 0 ? value[s * regionCount + r]! : egressUsdPerGb[primaryRegion * regionCount + r]!;
      order.sort((a, b) => usd(a) - usd(b) || a - b);
      let at = NOWHERE;
      for (let i = 0; i < regionCount && at < 0; i++) {
        if (!regionAllowed(problem, s, order[i]!)) continue;
        let least = Number.POSITIVE_INFINITY;
        for (const n of candidates.of(order[i]!)) {
          let fine = eligible(problem, s, n, k > 0);
          for (let j = 0; j < k; j++) if (!apart(problem, s, taken[j]!, n)) fine = false;
          if (!fine) continue;
          state.addUsd(s, n, k > 0);
          if (!state.fits || state.spreadScore >= least) continue;
          least = state.spreadScore;
          at = n;
        }
      }
      taken[k] = at;
      if (at < 0) continue;
      state.put(s, k, at);
      candidates.changed(at);
    }
  }
  return state.place;
}
