/**
 * Ruin and recreate (Schrimpf et al., Record Breaking Optimization Results Using the Ruin and Recreate Principle, 2000), for
 * problems so small that single steps and exchanges end early: a few shards of two nodes are taken off together and put
 * back in another order.
 *
 * Record-to-record travel (Dueck, 1993): what is a little worse than the best so far is gone on from, so that two bad steps
 * can make a good one. Guarantees: the answer costs no more than the beginning; constraints are kept as the inserter keeps
 * them; same seed, same answer; tries are a count.
 */
import type { SeededDraws } from '../instance/random.ts';
import type { Inserter } from './insert.ts';
import { costOf, primaryUsd, standbyUsd } from './objective.ts';

/** Shards taken off at once: two to so many. */
const RUINED_MAX = 10;
/** How much worse than the best so far, as a share of it, one may go on from: at the beginning; it falls to nothing. */
const WORSE_SHARE = 3e-4;

/** The cheapest placement found; the inserter's state is left where the search ended. */
export function rebuild(inserter: Inserter, draws: SeededDraws, tries: number): Int32Array {
  const { problem, state } = inserter;
  const { width, nodeCount, shardCount } = problem;
  const old = new Int32Array(RUINED_MAX * width);
  let best = Int32Array.from(state.place);
  let bestUsd = costOf(problem, best).total;
  let usd = bestUsd;
  const shardUsd = (s: number): number => {
    const base = s * width;
    const p = state.place[base]!;
    let sum = primaryUsd(problem, s, p);
    for (let k = 1; k <= problem.standbys[s]!; k++)
      sum += standbyUsd(problem, s, problem.nodeRegion[p]!, state.place[base + k]!);
    return sum;
  };
  const takeOff = (s: number): number => {
    let delta = -shardUsd(s);
    for (let k = 0; k < width; k++) if (state.place[s * width + k]! >= 0) delta += state.remove(s, k);
    return delta;
  };
  const putBack = (s: number, slots: Int32Array, at: number): number => {
    let delta = 0;
    for (let k = 0; k < width; k++) {
      const n = slots[at + k]!;
      if (n < 0) continue;
      if (state.place[s * width + k]! >= 0) delta += state.remove(s, k);
      delta += state.put(s, k, n);
    }
    return delta + shardUsd(s);
  };
  for (let t = 0; t < tries; t++) {
    const chosen = ruined(inserter, draws, nodeCount, shardCount);
    let delta = 0;
    for (let i = 0; i < chosen.length; i++) {
      old.set(state.place.subarray(chosen[i]! * width, (chosen[i]! + 1) * width), i * width);
      delta += takeOff(chosen[i]!);
    }
    const order = chosen.map((_, i) => i);
    for (let i = order.length - 1; i > 0; i--) {
      const j = draws.below(i + 1);
      [order[i], order[j]] = [order[j]!, order[i]!];
    }
    let done = 0;
    for (const i of order) {
      if (inserter.find(chosen[i]!, old, i * width) === Number.POSITIVE_INFINITY) break;
      delta += putBack(chosen[i]!, inserter.found, 0);
      done++;
    }
    const allowed = bestUsd + Math.abs(bestUsd) * WORSE_SHARE * (1 - t / tries);
    if (done === order.length && usd + delta < allowed) {
      usd += delta;
      if (usd < bestUsd) {
        bestUsd = usd;
        best = Int32Array.from(state.place);
      }
      continue;
    }
    for (let i = 0; i < done; i++) takeOff(chosen[order[i]!]!);
    for (let i = 0; i < chosen.length; i++) putBack(chosen[i]!, old, i * width);
  }
  return best;
}

/** A few shards with a replica on one of two nodes drawn, in the order of a walk from one that is drawn. */
function ruined(
  { state, problem }: Inserter,
  draws: SeededDraws,
  nodeCount: number,
  shardCount: number,
): number[] {
  const { width, frozen } = problem;
  const a = draws.below(nodeCount);
  const b = draws.below(nodeCount);
  const many = 2 + draws.below(RUINED_MAX - 1);
  const found: number[] = [];
  const first = draws.below(shardCount);
  for (let i = 0; i < shardCount && found.length < many; i++) {
    const s = (first + i) % shardCount;
    if (frozen[s] === 1) continue;
    let touches = false;
    let whole = true;
    for (let k = 0; k <= problem.standbys[s]!; k++) {
      const n = state.place[s * width + k]!;
      if (n === a || n === b) touches = true;
      if (n < 0) whole = false;
    }
    if (touches && whole) found.push(s);
  }
  return found;
}
