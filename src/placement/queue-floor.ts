/**
 * Dollars an hour that waiting in nodes' queues costs at least, wherever shards are: added to the certified bound, which does
 * not see queues (solver/dual.ts bounds everything else, so the two minima add up to a bound of the whole).
 *
 * In each step the means of all shards' CPU have to be on some node, beside what is there. A queue's price q is convex in the
 * node's share and never falls, and a node's load at the quantile is at least its mean. So for every slope `l >= 0` the sum over
 * nodes of min over x >= base of (q(x / capacity) - l (x - base)), plus l times all CPU, is a bound; halving finds the slope
 * at which nodes would carry exactly that, where it is tightest.
 */
import { QUEUE_KNEE, queueing } from './solver/objective.ts';
import type { Problem } from './solver/problem.ts';

const HALVINGS = 40;
/** dq/dshare = 1 / (1 - share)^2 - 1 up to the knee; from there on q is a line. */
const SLOPE_MAX = 1 / (1 - QUEUE_KNEE) ** 2 - 1;

export function queueFloorUsd(problem: Problem): number {
  const { nodeCount, dims, steps, shardCount, loadMean, capacity, stepWeight, queueUsdPerHour } = problem;
  if (queueUsdPerHour === 0 || nodeCount === 0) return 0;
  let largest = 0;
  for (let n = 0; n < nodeCount; n++) largest = Math.max(largest, capacity[n * 3]!);
  let floor = 0;
  for (let t = 0; t < steps; t++) {
    let cpu = 0;
    for (let s = 0; s < shardCount; s++) cpu += loadMean[s * dims + t * 3]!;
    let low = 0;
    let high = SLOPE_MAX / largest;
    for (let i = 0; i < HALVINGS; i++) {
      const slope = (low + high) / 2;
      if (carried(problem, t, slope).cpu < cpu) low = slope;
      else high = slope;
    }
    floor += stepWeight[t]! * (low * cpu + carried(problem, t, low).least);
  }
  return queueUsdPerHour * floor;
}

/** What nodes carry beside their base at a slope, and the sum over nodes of the least of queue minus slope times that. */
function carried(problem: Problem, t: number, slope: number): { cpu: number; least: number } {
  const { nodeCount, dims, capacity, baseLoad } = problem;
  let cpu = 0;
  let least = 0;
  for (let n = 0; n < nodeCount; n++) {
    const whole = capacity[n * 3]!;
    const base = baseLoad[n * dims + t * 3]!;
    const load = Math.max(base, whole * (1 - 1 / Math.sqrt(1 + slope * whole)));
    cpu += load - base;
    least += queueing(load / whole) - slope * (load - base);
  }
  return { cpu, least };
}
