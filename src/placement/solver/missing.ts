/**
 * Where every step begins: replicas that must leave are nowhere, and what is nowhere gets a place, everything else as it is.
 *
 * Guarantees: hard constraints are kept, but that what fits nowhere goes where it is least bad, which `check.ts` reports.
 */

import { SeededDraws } from '../instance/random.ts';
import { Candidates } from './candidates.ts';
import { Company } from './company.ts';
import { Dual } from './dual.ts';
import { mayStay } from './eligible.ts';
import { Inserter } from './insert.ts';
import { NOWHERE, type Problem } from './problem.ts';
import { State } from './state.ts';

/** A repair cannot wait: of so many shards one tells how steady loads are. */
const REPAIR_STRIDE = 16;

/**
 * Emergency: what is nowhere (its node is gone or must be left) gets a place at once, everything else stays. Hard constraints
 * are kept; prices come from what nodes carry now.
 */
export function repair(
  problem: Problem,
  seed: string | number = 0,
): { place: Int32Array; repaired: Int32Array } {
  const state = new State(problem, startOf(problem));
  const lost: number[] = [];
  const { width } = problem;
  for (let s = 0; s < problem.shardCount; s++)
    for (let k = 0; k <= problem.standbys[s]!; k++)
      if (state.place[s * width + k]! < 0) {
        lost.push(s);
        break;
      }
  const repaired = Int32Array.from(lost).sort(
    (a, b) => problem.requestsPerSecond[b]! - problem.requestsPerSecond[a]! || a - b,
  );
  const dual = new Dual(problem, undefined, REPAIR_STRIDE);
  priceFromLoads(dual, state);
  const inserter = new Inserter(
    state,
    dual,
    new Candidates(state, new SeededDraws(seed)),
    new Company(problem),
  );
  insertNowhere(inserter, repaired, () => {});
  return { place: state.place, repaired };
}

/** Where shards are, without the replicas that must leave. */
export function startOf(problem: Problem): Int32Array {
  const { start, width, shardCount } = problem;
  const place = Int32Array.from(start);
  for (let s = 0; s < shardCount; s++) {
    if (problem.frozen[s] === 1) continue;
    for (let k = 0; k < width; k++) {
      const n = place[s * width + k]!;
      if (k > problem.standbys[s]! || (n >= 0 && !mayStay(problem, s, n, k > 0)))
        place[s * width + k] = NOWHERE;
    }
  }
  return place;
}

export function insertNowhere(
  inserter: Inserter,
  order: Int32Array,
  progress: (phase: string, share: number) => void,
): void {
  const { problem, state, dual } = inserter;
  const { width } = problem;
  const old = new Int32Array(width);
  for (let i = 0; i < order.length; i++) {
    const s = order[i]!;
    if ((i & 8191) === 0) progress('insertion', i / order.length);
    let missing = false;
    for (let k = 0; k <= problem.standbys[s]!; k++) if (state.place[s * width + k]! < 0) missing = true;
    if (!missing || problem.frozen[s] === 1) continue;
    old.set(state.place.subarray(s * width, (s + 1) * width));
    for (let k = 0; k < width; k++) if (old[k]! >= 0) state.remove(s, k);
    if (
      old.every((n) => n < 0) &&
      dual.choose(s) < Number.POSITIVE_INFINITY &&
      inserter.placePrimary(s, dual.chosen[0]!)
    )
      continue;
    if (inserter.find(s, old, 0) < Number.POSITIVE_INFINITY) {
      for (let k = 0; k <= problem.standbys[s]!; k++) inserter.put(s, k, inserter.found[k]!);
      continue;
    }
    placeLeastBad(inserter, s);
  }
  for (const s of order) {
    if (problem.frozen[s] === 1 || problem.standbys[s] === 0 || state.place[s * width + 1]! >= 0) continue;
    if (state.place[s * width]! < 0 || inserter.placeStandbys(s)) continue;
    old.set(state.place.subarray(s * width, (s + 1) * width));
    state.remove(s, 0);
    if (inserter.find(s, old, 0) < Number.POSITIVE_INFINITY)
      for (let k = 0; k <= problem.standbys[s]!; k++) inserter.put(s, k, inserter.found[k]!);
    else placeLeastBad(inserter, s);
  }
}

function placeLeastBad(inserter: Inserter, s: number): void {
  const { problem } = inserter;
  const taken = new Int32Array(problem.width).fill(NOWHERE);
  for (let k = 0; k <= problem.standbys[s]!; k++) {
    const n = inserter.leastBad(s, k, taken);
    taken[k] = n;
    if (n >= 0) inserter.put(s, k, n);
  }
}

/** Prices at which regions would carry what they carry: where a warm round begins. */
export function priceFromLoads(dual: Dual, state: State): void {
  const { problem, supply } = dual;
  const { dims, nodeCount, nodeRegion, regionCount, headroom, quantileZ } = problem;
  const nodes = new Int32Array(regionCount);
  const over = new Float64Array(regionCount * dims);
  for (let n = 0; n < nodeCount; n++) {
    nodes[nodeRegion[n]!]!++;
    for (let d = 0; d < dims; d++) {
      const m = state.mean[n * dims + d]!;
      const load =
        m +
        quantileZ *
          Math.sqrt(Math.max(0, state.variance[n * dims + d]!) + problem.commonSquared[d % 3]! * m * m);
      const share = load / problem.capacity[n * 3 + (d % 3)]!;
      over[nodeRegion[n]! * dims + d]! += Math.max(0, share - headroom) / (1 - headroom);
    }
  }
  for (let i = 0; i < over.length; i++) {
    const count = nodes[(i / dims) | 0]!;
    dual.prices[i] = count > 0 ? (over[i]! / count) * supply.unitPrice[i]! : 0;
  }
  dual.refresh();
}
