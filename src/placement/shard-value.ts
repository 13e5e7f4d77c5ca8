/**
 * What a shard costs in a region, in dollars: user latency and egress over the forecast steps, and the one-time cost of moves.
 *
 * It does not depend on other shards, so it is worked out once per shard: by dynamic programming, with the choice to move
 * again later at the price of a move. So "go now", "wait until the users are there" and "stay" are compared at what each is
 * worth, and hysteresis is the price of a move and nothing else. What a node costs depends on all shards on it: that is the
 * solver's (`solver/objective.ts`).
 */
import type { Region } from '../model/ids.ts';
import type { PlacementShard } from '../model/loop.ts';
import { rttMs, type Topology } from '../model/topology.ts';
import type { Prices } from './defaults.ts';

const BYTES_PER_GB = 1e9;

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

/** One-time dollars of moving a shard of so many bytes between two places. */
export function moveCostUsd(
  stateBytes: number,
  from: Region,
  to: Region,
  requestsPerSecond: number,
  topology: Topology,
  prices: Prices,
): number {
  const bytesUsd = from === to ? 0 : (stateBytes * (topology.egressUsdPerGb[from]?.[to] ?? 0)) / BYTES_PER_GB;
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
 * moves (at `againUsd` each) where they pay, to regions that are `open` to it.
 *
 * @param rates dollars a second, `rates[region * horizons + h]`
 * @param options.first the interval in which a move that starts now is done: later moves are done after it
 * @param options.open 1 for each region that later moves may go to
 */
export function valueByRegion(
  rates: Float64Array,
  regions: number,
  intervals: readonly number[],
  againUsd: number,
  into: Float64Array,
  { first = 0, open }: { first?: number; open?: Uint8Array } = {},
): void {
  const horizons = intervals.length;
  const later = into;
  later.fill(0, 0, regions);
  for (let h = horizons - 1; h >= 0; h--) {
    // Up to the first interval the choice is the caller's; in every later one it is free at the price of a move.
    let best = Number.POSITIVE_INFINITY;
    for (let region = 0; region < regions; region++) {
      const value = rates[region * horizons + h]! * intervals[h]! + later[region]!;
      later[region] = value;
      if (open === undefined || open[region] === 1) best = Math.min(best, value);
    }
    if (h <= first) continue;
    for (let region = 0; region < regions; region++)
      later[region] = Math.min(later[region]!, best + againUsd);
  }
}

/** The move that {@link valueByRegion} counts on for a shard that stays in `home` for the moment. */
export interface LaterMove {
  region: number;
  /** The interval with which it should be done. */
  step: number;
  /** Dollars over the window that it saves against staying throughout, net of the move. */
  gainUsd: number;
  /** Dollars that being there from {@link valueByRegion}'s first interval on would cost more than waiting. */
  earlyUsd: number;
}

/** Undefined where staying is as good. Arguments as those of {@link valueByRegion}; `values` is what that found. */
export function laterMove(
  rates: Float64Array,
  regions: number,
  intervals: readonly number[],
  againUsd: number,
  home: number,
  values: Float64Array,
  { first = 0, open }: { first?: number; open?: Uint8Array } = {},
): LaterMove | undefined {
  const horizons = intervals.length;
  let stays = 0;
  for (let h = 0; h < horizons; h++) stays += rates[home * horizons + h]! * intervals[h]!;
  const gainUsd = stays - values[home]!;
  if (gainUsd <= 1e-9 * Math.abs(stays)) return undefined;
  const worth = new Float64Array(regions);
  let found: LaterMove | undefined;
  for (let h = horizons - 1; h > first; h--) {
    let best = -1;
    for (let region = 0; region < regions; region++) {
      worth[region]! += rates[region * horizons + h]! * intervals[h]!;
      if ((open === undefined || open[region] === 1) && (best < 0 || worth[region]! < worth[best]!))
        best = region;
    }
    if (best < 0) return undefined;
    const limit = worth[best]! + againUsd;
    // The earliest interval counts: what was found for later ones is part of its worth.
    if (limit < worth[home]!)
      found = { region: best, step: h, gainUsd, earlyUsd: values[best]! + againUsd - values[home]! };
    for (let region = 0; region < regions; region++) worth[region] = Math.min(worth[region]!, limit);
  }
  return found;
}
