/**
 * When a move inside a region goes: the step with which it pays to be there, by what it gains in each.
 *
 * A move that is wanted for what comes later can wait: by then more is known, and it may not be wanted any more. What waiting
 * loses is the gain of the steps until then; what it saves is the rent of the time not yet needed (a place stays right for about
 * as long as is foreseen, so each step bears its part of the move's cost). And a move takes CPU of both ends while it goes: one
 * that is needed when they will be busy goes before, in their last quiet step.
 *
 * Guarantees: nothing goes later than that others need its room; what must leave, or goes for its users' sake to another region
 * (shard-value.ts tells when), is not held back; nor is a state whose bytes are nothing, or anything where moves' CPU has no price.
 */
import type { ClusterProblem } from './cluster-problem.ts';
import type { Step } from './sequence.ts';

const BYTES_PER_GB = 1e9;

/** Smaller states go when they pay: what their moves take has little to do with bytes, and nodes measure larger ones only. */
export const TIMED_BYTES_MIN = 1_000_000;

/** Whether it is asked with which step a move of the shard pays. */
export function isTimed({ prices, problem }: ClusterProblem, s: number): boolean {
  return prices.moveCpuSecondsPerGb > 0 && problem.stateGb[s]! * BYTES_PER_GB >= TIMED_BYTES_MIN;
}

/** Steps that go now, in order, and those that wait with the problem's step for which they should be there. */
export function timed(
  cluster: ClusterProblem,
  steps: readonly Step[],
): { now: Step[]; wait: Map<Step, number> } {
  const wait = new Map<Step, number>();
  // Where bytes cost nothing whenever they go, nothing is saved by waiting but the rent: gains go first.
  if (cluster.prices.moveCpuSecondsPerGb === 0) return { now: [...steps], wait };
  const prices = transferPrices(cluster);
  for (const step of steps) {
    const at = stepFor(cluster, step, prices);
    if (at > 0) wait.set(step, at);
  }
  // Room is made in time: who waits for it is ordered behind its makers, so one pass from the end reaches all of them.
  const needed = new Set<number>();
  for (let i = steps.length - 1; i >= 0; i--) {
    const step = steps[i]!;
    if (needed.has(step.s)) wait.delete(step);
    if (!wait.has(step)) for (const maker of step.after) needed.add(maker);
  }
  return { now: steps.filter((step) => !wait.has(step)), wait };
}

type TransferPrices = (t: number) => Float64Array;

/** Worked out when first asked for: most steps pay at once. */
function transferPrices(cluster: ClusterProblem): TransferPrices {
  const known: Float64Array[] = [cluster.problem.transferUsdPerGb];
  return (t) => {
    known[t] ??= cluster.transferUsdPerGb(t);
    return known[t]!;
  };
}

/** 0: it goes now. */
function stepFor(cluster: ClusterProblem, step: Step, prices: TransferPrices): number {
  const { problem, intervals, windowS } = cluster;
  const { s, from, to, gainByStepUsd, costUsd } = step;
  if (gainByStepUsd === undefined) return 0;
  const gb = isStandby(problem, s, to) ? 0 : problem.stateGb[s]!;
  const transfer = (t: number) => gb * (prices(t)[from]! + prices(t)[to]!);
  const first = cluster.firstStep(s);
  for (let t = first; t + 1 < intervals.length; t++) {
    const rent = (costUsd * intervals[t]!) / windowS;
    if (gainByStepUsd[t]! - rent + transfer(t + 1 - first) - transfer(t - first) >= 0) return t - first;
  }
  return intervals.length - 1 - first;
}

function isStandby({ start, width }: ClusterProblem['problem'], s: number, n: number): boolean {
  for (let k = 1; k < width; k++) if (start[s * width + k] === n) return true;
  return false;
}
