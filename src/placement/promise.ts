/**
 * What a move promises the users of each origin, from round trips and the foreseen mix of commands and queries. Pure.
 *
 * The same figures that the objective weighs (`flowsIn`), split by origin: the way to the primary and back, for commands
 * also the primary's to its cell. Time in queues and handlers is not in it.
 */
import type { Region } from '../model/ids.ts';
import type { LatencyPromise, PlacementShard } from '../model/loop.ts';
import { rttMs, type Topology } from '../model/topology.ts';

export interface Home {
  region: Region;
  cellRegion: Region;
}

/** An origin with a smaller share of the requests is promised nothing: it decided nothing. */
const SHARE_MIN = 0.01;

export function promiseOf(
  shard: Pick<PlacementShard, 'forecast'>,
  from: Home,
  to: Home,
  topology: Topology,
): LatencyPromise {
  const totals: [origin: Region, commands: number, all: number][] = [];
  let total = 0;
  for (const [origin, { commands, queries }] of Object.entries(shard.forecast.byOrigin)) {
    const writes = commands.reduce((sum, rate) => sum + rate, 0);
    const all = queries.reduce((sum, rate) => sum + rate, writes);
    total += all;
    totals.push([origin, writes, all]);
  }
  const promise: LatencyPromise = {};
  for (const [origin, writes, all] of totals) {
    if (all <= 0 || all < SHARE_MIN * total) continue;
    const waitMs = (home: Home) =>
      rttMs(topology, origin, home.region) + (writes / all) * rttMs(topology, home.region, home.cellRegion);
    promise[origin] = { share: all / total, nowMs: waitMs(from), thenMs: waitMs(to) };
  }
  return promise;
}
