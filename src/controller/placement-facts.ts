/** What placement is told beside forecasts, from samples and measured transfers. Pure. */
import type { Region } from '../model/ids.ts';
import type { NodeSample } from '../model/load.ts';
import type { PlacementShard } from '../model/loop.ts';
import { rttMs } from '../model/topology.ts';
import type { PlacementInput } from '../placement/index.ts';
import { intervalsS } from '../placement/shard-value.ts';
import { type TransferRate, UNMEASURED_BYTES_PER_SECOND } from './transfer-rate.ts';

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
