/**
 * The objective, in dollars an hour, in one place: docs/placement.md says the same in formulas.
 *
 *   cost = latency + egress + replication + nodes + overload + moves
 *
 * Boundary: prices what it is given, decides nothing. `objective.test.ts` holds a slow twin that works from the plain
 * instance. The search keeps node loads incrementally (state.ts) and calls the same functions.
 */
import type { CostParts } from '../instance/types.ts';
import { GroupSums } from './group-sums.ts';
import { NOWHERE, type Problem, sourceRegion } from './problem.ts';

/** Queueing is priced by ρ²/(1-ρ) up to here and goes on as a line: costs stay finite and comparable. */
export const QUEUE_KNEE = 0.9;

/** ρ²/(1-ρ): an M/M/1's rate times wait, in seconds a second. */
export function queueing(share: number): number {
  const knee = Math.min(share, QUEUE_KNEE);
  const queue = (knee * knee) / (1 - knee);
  if (share <= QUEUE_KNEE) return queue;
  return queue + (share - QUEUE_KNEE) * ((2 * QUEUE_KNEE - QUEUE_KNEE ** 2) / (1 - QUEUE_KNEE) ** 2);
}

/**
 * The load a node is sized for: mean plus z standard deviations, where the variance is the sum of the replicas' own ones, of what groups of
 * them share, and the square of what all have in common. Quantiles of replicas are never summed.
 */
export function quantileLoad(mean: number, variance: number, z: number, commonSquared: number): number {
  return mean + z * Math.sqrt(Math.max(0, variance) + commonSquared * mean * mean);
}

/**
 * Dollars an hour of one node's overload; `mean` and `variance` by dimension, its base load included in `mean`.
 *
 * @param only one step's part; all where it is left out
 */
export function overloadUsd(
  problem: Problem,
  n: number,
  mean: Float64Array,
  variance: Float64Array,
  at: number,
  only?: number,
): number {
  const { dims, headroom, quantileZ, commonSquared, capacity, stepWeight } = problem;
  const full = problem.overloadUsdPerHour[n]!;
  let usd = 0;
  const end = only === undefined ? dims : 3 * (only + 1);
  for (let d = only === undefined ? 0 : 3 * only; d < end; d++) {
    const resource = d % 3;
    const weight = stepWeight[(d / 3) | 0]!;
    const load = quantileLoad(mean[at + d]!, variance[at + d]!, quantileZ, commonSquared[resource]!);
    const share = load / capacity[n * 3 + resource]!;
    const over = (share - headroom) / (1 - headroom);
    if (over > 0) usd += weight * full * over * over;
    if (resource === 0 && problem.queueUsdPerHour > 0)
      usd += weight * problem.queueUsdPerHour * queueing(share);
  }
  return usd;
}

/** One-time dollars of bringing shard `s` from where it is to primary `p`, without its standbys. */
export function primaryMoveUsd(problem: Problem, s: number, p: number): number {
  const { start, width, nodeRegion, regionCount, transferUsdPerGb } = problem;
  const base = s * width;
  const from = start[base]!;
  if (from === p) return 0;
  for (let k = 1; k < width; k++) if (start[base + k] === p) return problem.promotionUsd[s]!;
  const source = sourceRegion(problem, s);
  if (source === NOWHERE) return 0;
  const to = nodeRegion[p]!;
  return (
    (source === to ? problem.moveNearUsd[s]! : problem.moveFarUsd[s]!) +
    problem.stateGb[s]! *
      (problem.egressUsdPerGb[source * regionCount + to]! +
        transferUsdPerGb[p]! +
        (from < 0 ? 0 : transferUsdPerGb[from]!))
  );
}

/** One-time dollars of a standby on `b`: none where a replica is already. */
export function standbyMoveUsd(problem: Problem, s: number, b: number): number {
  const { start, width, nodeRegion, regionCount } = problem;
  const base = s * width;
  for (let k = 0; k < width; k++) if (start[base + k] === b) return 0;
  const source = sourceRegion(problem, s);
  if (source === NOWHERE) return 0;
  return (
    problem.moveUsd + problem.stateGb[s]! * problem.egressUsdPerGb[source * regionCount + nodeRegion[b]!]!
  );
}

/** Dollars an hour of one replica's part that no other shard changes: value, replication and moves. */
export function primaryUsd(problem: Problem, s: number, p: number): number {
  return (
    problem.value[s * problem.regionCount + problem.nodeRegion[p]!]! +
    primaryMoveUsd(problem, s, p) / problem.moveHours
  );
}

export function standbyUsd(problem: Problem, s: number, primaryRegion: number, b: number): number {
  return (
    problem.writeGbPerHour[s]! *
      problem.egressUsdPerGb[primaryRegion * problem.regionCount + problem.nodeRegion[b]!]! +
    standbyMoveUsd(problem, s, b) / problem.moveHours
  );
}

/** Adds (or takes away) one replica's load. */
export function addLoad(
  problem: Problem,
  s: number,
  standby: boolean,
  sign: 1 | -1,
  mean: Float64Array,
  variance: Float64Array,
  at: number,
): void {
  const { dims, standbyShare, loadMean, loadVariance } = problem;
  const from = s * dims;
  for (let d = 0; d < dims; d++) {
    const share = standby ? standbyShare[d % 3]! : 1;
    mean[at + d]! += sign * share * loadMean[from + d]!;
    variance[at + d]! += sign * share * share * loadVariance[from + d]!;
  }
}

/** Adds to nodes' variances what groups have in common there: the square of their sum less the squares that are in already. */
function addTogether(problem: Problem, place: Int32Array, variance: Float64Array): void {
  const { together, shardCount, width, dims, standbyShare } = problem;
  if (together === undefined) return;
  const shared = new GroupSums(problem);
  for (let s = 0; s < shardCount; s++) {
    if (together.of[s]! < 0) continue;
    for (let k = 0; k < width; k++) {
      const n = place[s * width + k]!;
      if (n < 0) continue;
      const at = shared.open(n, s);
      for (let d = 0; d < dims; d++) {
        const own = (k === 0 ? 1 : standbyShare[d % 3]!) * together.deviation[s * dims + d]!;
        variance[n * dims + d]! += 2 * own * shared.sums[at + d]!;
        shared.sums[at + d]! += own;
      }
    }
  }
}

/** The whole objective of a placement, computed anew. Replicas that are nowhere cost nothing: callers refuse them. */
export function costOf(problem: Problem, place: Int32Array): CostParts {
  const { shardCount, nodeCount, width, dims, regionCount, nodeRegion, egressUsdPerGb } = problem;
  const parts = { total: 0, latency: 0, egress: 0, replication: 0, nodes: 0, overload: 0, moves: 0 };
  const mean = Float64Array.from(problem.baseLoad);
  const variance = new Float64Array(nodeCount * dims);
  const replicas = new Int32Array(nodeCount);
  for (let s = 0; s < shardCount; s++) {
    const p = place[s * width]!;
    if (p < 0) continue;
    const region = nodeRegion[p]!;
    const toCell = egressUsdPerGb[region * regionCount + problem.cellRegion[region]!]!;
    const write = problem.writeGbPerHour[s]!;
    const userEgress = problem.userEgress[s * regionCount + region]!;
    parts.egress += userEgress;
    parts.replication += write * toCell;
    parts.latency += problem.value[s * regionCount + region]! - userEgress - write * toCell;
    let moveUsd = primaryMoveUsd(problem, s, p);
    addLoad(problem, s, false, 1, mean, variance, p * dims);
    replicas[p]!++;
    for (let k = 1; k < width; k++) {
      const b = place[s * width + k]!;
      if (b < 0) continue;
      parts.replication += write * egressUsdPerGb[region * regionCount + nodeRegion[b]!]!;
      moveUsd += standbyMoveUsd(problem, s, b);
      addLoad(problem, s, true, 1, mean, variance, b * dims);
      replicas[b]!++;
    }
    parts.moves += moveUsd / problem.moveHours;
  }
  addTogether(problem, place, variance);
  for (let n = 0; n < nodeCount; n++) {
    if (replicas[n]! > 0 || problem.releasable[n] === 0) parts.nodes += problem.nodeUsdPerHour[n]!;
    parts.overload += overloadUsd(problem, n, mean, variance, n * dims);
  }
  parts.total = parts.latency + parts.egress + parts.replication + parts.nodes + parts.overload + parts.moves;
  return parts;
}

/**
 * Replicas that are on a node where the shard had none: what a plan would move or promote. A shard that was nowhere is
 * placed, not moved.
 */
export function movesOf(problem: Problem, place: Int32Array): { moved: number; promoted: number } {
  const { shardCount, width, start } = problem;
  let moved = 0;
  let promoted = 0;
  for (let s = 0; s < shardCount; s++) {
    const base = s * width;
    if (sourceRegion(problem, s) === NOWHERE) continue;
    for (let k = 0; k < width; k++) {
      const n = place[base + k]!;
      if (n < 0 || start[base + k] === n) continue;
      let had = false;
      for (let j = 0; j < width; j++) if (start[base + j] === n) had = true;
      if (!had) moved++;
      else if (k === 0) promoted++;
    }
  }
  return { moved, promoted };
}
