/**
 * One objective, in dollars: user latency, egress, node price, queueing and overload at p90, and the one-time cost of moves.
 *
 * What a shard costs in a region is worked out once per shard (it does not depend on other shards): over the forecast steps,
 * by dynamic programming, with the choice to move again later at the price of a move. So "go now", "wait until the users
 * are there" and "stay" are compared at what each is worth, and hysteresis is the price of a move and nothing else.
 * What a node costs depends on all shards on it and is kept incrementally (see snapshot.ts).
 */
import type { Region } from '../model/ids.ts';
import type { PlacementShard } from '../model/loop.ts';
import { rttMs, type Topology } from '../model/topology.ts';
import type { Prices } from './defaults.ts';

const BYTES_PER_GB = 1e9;
/** Queueing is priced by ρ²/(1-ρ) up to here and goes on as a line: costs stay finite and comparable. */
const QUEUE_KNEE = 0.9;

/** Lengths in seconds of the intervals that begin at each horizon; the last is as long as the one before it. */
export function intervalsS(horizonsS: readonly number[]): number[] {
  const intervals: number[] = [];
  for (let h = 0; h + 1 < horizonsS.length; h++) intervals.push(horizonsS[h + 1]! - horizonsS[h]!);
  intervals.push(intervals[intervals.length - 1] ?? horizonsS[0] ?? 1);
  return intervals;
}

export interface RegionFlows {
  /** Dollars a second for latency and for egress, and milliseconds of mean latency, per horizon. */
  latencyUsd: Float64Array;
  egressUsd: Float64Array;
  latencyMs: Float64Array;
}

/** What a shard's requests cost when its primary is in `region`. */
export function flowsIn(
  shard: PlacementShard,
  region: Region,
  cellRegion: Region,
  topology: Topology,
  prices: Prices,
  into: RegionFlows,
): void {
  into.latencyUsd.fill(0);
  into.egressUsd.fill(0);
  into.latencyMs.fill(0);
  const usdPerMs = prices.latencyUsdPerMsPerMillion / 1e6;
  const toCellMs = rttMs(topology, region, cellRegion);
  const toCellUsd = (topology.egressUsdPerGb[region]?.[cellRegion] ?? 0) / BYTES_PER_GB;
  const count = into.latencyMs.length;
  for (const origin in shard.forecast.byOrigin) {
    const { commands, queries } = shard.forecast.byOrigin[origin]!;
    const wayMs = rttMs(topology, origin, region);
    const perByte = (topology.egressUsdPerGb[region]?.[origin] ?? 0) / BYTES_PER_GB;
    for (let h = 0; h < count; h++) {
      const writes = commands[h] ?? 0;
      const all = writes + (queries[h] ?? 0);
      const msPerSecond = all * wayMs + writes * toCellMs;
      into.latencyMs[h]! += msPerSecond;
      into.latencyUsd[h]! += msPerSecond * usdPerMs;
      into.egressUsd[h]! += all * shard.bytesPerRequest * perByte;
    }
  }
  const written = shard.writeBytesPerSecond * toCellUsd;
  for (let h = 0; h < count; h++) into.egressUsd[h]! += written;
}

/** One-time dollars of moving a shard between two places. */
export function moveCostUsd(
  shard: PlacementShard,
  from: Region,
  to: Region,
  requestsPerSecond: number,
  topology: Topology,
  prices: Prices,
): number {
  const bytesUsd =
    from === to ? 0 : (shard.stateBytes * (topology.egressUsdPerGb[from]?.[to] ?? 0)) / BYTES_PER_GB;
  // Within a region the swap needs no long way: a quarter of the pause.
  const pauseMs = from === to ? prices.handOffPauseMs / 4 : prices.handOffPauseMs;
  const waitingMs = requestsPerSecond * ((2 * pauseMs) / 1000) * pauseMs;
  return (
    prices.moveFixedUsd +
    prices.moveCpuSeconds * prices.cpuUsdPerSecond +
    bytesUsd +
    (waitingMs * prices.latencyUsdPerMsPerMillion) / 1e6
  );
}

/**
 * Dollars over the whole window when told now to be in each region: `into[region]`, the move there not included, later
 * moves (at `againUsd` each) where they pay.
 *
 * @param rates dollars a second, `rates[region * horizons + h]`
 */
export function valueByRegion(
  rates: Float64Array,
  regions: number,
  intervals: readonly number[],
  againUsd: number,
  into: Float64Array,
): void {
  const horizons = intervals.length;
  const later = into;
  later.fill(0, 0, regions);
  for (let h = horizons - 1; h >= 0; h--) {
    // In the first interval the choice is the caller's; in every later one it is free at the price of a move.
    let best = Number.POSITIVE_INFINITY;
    for (let region = 0; region < regions; region++) {
      const value = rates[region * horizons + h]! * intervals[h]! + later[region]!;
      later[region] = value;
      best = Math.min(best, value);
    }
    if (h === 0) return;
    for (let region = 0; region < regions; region++)
      later[region] = Math.min(later[region]!, best + againUsd);
  }
}

/**
 * Dollars a second for a node at p90 load `cpu` (core-seconds a second) of `capacity`: waiting in its queue (an M/M/1's
 * rate times wait is ρ²/(1-ρ), in seconds a second), and the risk of overload above the headroom.
 */
export function nodeCostUsd(cpu: number, capacity: number, prices: Prices): number {
  const share = capacity > 0 ? cpu / capacity : cpu > 0 ? 10 : 0;
  const usdPerMs = prices.latencyUsdPerMsPerMillion / 1e6;
  const knee = Math.min(share, QUEUE_KNEE);
  let queue = (knee * knee) / (1 - knee);
  if (share > QUEUE_KNEE)
    queue += (share - QUEUE_KNEE) * ((2 * QUEUE_KNEE - QUEUE_KNEE ** 2) / (1 - QUEUE_KNEE) ** 2);
  const over = Math.max(0, share - prices.headroomShare) / (1 - prices.headroomShare);
  return 1000 * queue * usdPerMs + (prices.overloadUsdPerHour / 3600) * over * over;
}
