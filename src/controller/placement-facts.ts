/** What placement is told beside forecasts, from samples, aggregates and measured transfers. Pure. */
import type { Region } from '../model/ids.ts';
import type { NodeSample } from '../model/load.ts';
import type { PlacementShard } from '../model/loop.ts';
import { rttMs } from '../model/topology.ts';
import type { PlacementInput } from '../placement/index.ts';
import { intervalsS } from '../placement/shard-value.ts';
import { type TransferRate, UNMEASURED_BYTES_PER_SECOND } from './transfer-rate.ts';

/** Standard deviations from the median to p90. */
const P90_Z = 1.2816;
/** Loads that vary more than this together are seen by headroom, not by the band. */
const COMMON_VARIATION_MAX = 0.5;

/** Bytes a second of a move between two regions: measured, or what transfers are limited to. */
export function bandwidthOf(rates: readonly TransferRate[] = []): (from: Region, to: Region) => number {
  const measured = new Map(rates.map(({ from, to, bytesPerSecond }) => [`${from} ${to}`, bytesPerSecond]));
  return (from, to) => measured.get(`${from} ${to}`) ?? UNMEASURED_BYTES_PER_SECOND;
}

/** Seconds that so many bytes take on the slowest way measured. */
export function longestTransferS(bytes: number, rates: readonly TransferRate[] = []): number {
  let slowest = UNMEASURED_BYTES_PER_SECOND;
  for (const { bytesPerSecond } of rates) slowest = Math.min(slowest, bytesPerSecond);
  return bytes / Math.max(1, slowest);
}

/**
 * What all loads have in common: the band of all requests, which is forecast as one series, beyond the bands of shards as if
 * they varied apart. A standard deviation as a share of the mean.
 */
export function commonVariation(
  shards: readonly PlacementShard[],
  total: { p50: number[]; p90: number[] },
): number {
  let own = 0;
  for (const { forecast } of shards) own += bandOf(forecast.metrics.requests.quantiles) ** 2;
  const mean = total.p50[0] ?? 0;
  if (mean <= 0) return 0;
  const shared = bandOf([total.p50, total.p90]) ** 2 - own;
  return Math.min(COMMON_VARIATION_MAX, Math.sqrt(Math.max(0, shared)) / P90_Z / mean);
}

/** From p50 to p90, at the first horizon. */
function bandOf([p50, p90]: readonly (readonly number[])[]): number {
  return Math.max(0, (p90![0] ?? 0) - (p50![0] ?? 0));
}

/** Core-seconds a second of a node's event loop. */
export function cpuOf(sample: NodeSample): number {
  return sample.loopCpuSeconds / (sample.stepMs / 1000);
}

/** Seconds that placement looks over: what its dollars an hour are made from. */
export function windowS(input: PlacementInput): number {
  let sum = 0;
  for (const seconds of intervalsS(input.shards[0]?.forecast.horizonsS ?? [1])) sum += seconds;
  return sum;
}

/** Mean milliseconds that a shard's users wait for the way where it is, at the first horizon. */
export function latencyNowMs(input: PlacementInput, shard: PlacementShard): number {
  const region = input.nodes.find((node) => node.processId === shard.primary)?.region ?? '';
  const cellRegion = Object.keys(input.cells).find((name) => input.cells[name] === shard.cell) ?? region;
  const toCellMs = rttMs(input.topology, region, cellRegion);
  let sum = 0;
  let rate = 0;
  for (const [origin, { commands, queries }] of Object.entries(shard.forecast.byOrigin)) {
    const writes = commands[0] ?? 0;
    const requests = writes + (queries[0] ?? 0);
    rate += requests;
    sum += requests * rttMs(input.topology, origin, region) + writes * toCellMs;
  }
  return rate > 0 ? sum / rate : 0;
}
