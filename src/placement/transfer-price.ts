/**
 * What a gigabyte through a node costs while it goes: encoding, checksums and copying take CPU at both ends, so a move makes the
 * node that it is to relieve worse first, and next to nothing where there is room.
 *
 * It is the rise of the node's own price (queue and overload at the quantile, as the objective has them), with the work of
 * one move beside what the node carries, for as long as a gigabyte takes. So what is foreseen to be needed goes while its ends
 * are quiet, to the quietest of nodes that are as good. Where copies give way, a move takes no more than they do, for longer.
 */
import { copyShareOf } from '../model/copy-pace.ts';
import { quantileLoad, queueing } from './solver/objective.ts';
import type { Problem } from './solver/problem.ts';

const SECONDS_PER_HOUR = 3600;

export interface TransferWork {
  /** Core-seconds that each end spends on a gigabyte. */
  cpuSecondsPerGb: number;
  /** Seconds that a gigabyte takes from each node; not finite: nothing is known. */
  secondsPerGb: (n: number) => number;
  /** Copies take what requests leave them (`model/copy-pace.ts`). */
  givesWay?: boolean;
}

/** Dollars a gigabyte at each node, by what it carries in a step where everything is now. */
export function transferUsdPerGb(problem: Problem, step: number, work: TransferWork): Float64Array {
  const { nodeCount, shardCount, dims, width, start, loadMean, loadVariance } = problem;
  const prices = new Float64Array(nodeCount);
  if (work.cpuSecondsPerGb <= 0) return prices;
  const d = step * 3;
  const mean = Float64Array.from({ length: nodeCount }, (_, n) => problem.baseLoad[n * dims + d]!);
  const variance = new Float64Array(nodeCount);
  for (let s = 0; s < shardCount; s++) {
    const n = start[s * width]!;
    if (n < 0) continue;
    mean[n]! += loadMean[s * dims + d]!;
    variance[n]! += loadVariance[s * dims + d]!;
  }
  for (let n = 0; n < nodeCount; n++) {
    const seconds = work.secondsPerGb(n);
    if (!(seconds > 0) || !Number.isFinite(seconds)) continue;
    const capacity = problem.capacity[n * 3]!;
    const load = quantileLoad(mean[n]!, variance[n]!, problem.quantileZ, problem.commonSquared[0]!);
    const before = load / capacity;
    const wanted = work.cpuSecondsPerGb / seconds / capacity;
    const share = work.givesWay ? Math.min(wanted, copyShareOf(before)) : wanted;
    const tookS = seconds * (wanted / share);
    prices[n] =
      ((nodeUsd(problem, n, before + share) - nodeUsd(problem, n, before)) * tookS) / SECONDS_PER_HOUR;
  }
  return prices;
}

/** Dollars an hour of a node whose CPU is used to a share. */
function nodeUsd(
  { headroom, overloadUsdPerHour, queueUsdPerHour }: Problem,
  n: number,
  share: number,
): number {
  const over = Math.max(0, share - headroom) / (1 - headroom);
  return overloadUsdPerHour[n]! * over * over + queueUsdPerHour * queueing(share);
}
