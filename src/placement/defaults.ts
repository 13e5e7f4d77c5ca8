/** Every number of placement and planning that is a choice, with the reason for its value. */

/** Prices and physical costs that turn milliseconds, bytes and risk into dollars an hour. */
export interface Prices {
  /** Dollars for one millisecond of user latency on a million requests. */
  latencyUsdPerMsPerMillion: number;
  /** Share of a node's capacity that p90 demand may use before overload is priced. */
  headroomShare: number;
  /** Dollars an hour for a node at its full capacity at p90; grows with the square of what is over the headroom. */
  overloadUsdPerHour: number;
  /** Requests that wait during a hand-off wait this long on average, milliseconds. */
  handOffPauseMs: number;
  /** CPU that one move costs both nodes and the stores together, core-seconds. */
  moveCpuSeconds: number;
  /** CPU that each end of a move spends on a gigabyte of state, core-seconds: priced by what it does to the requests there. */
  moveCpuSecondsPerGb: number;
  /** Dollars for a core-second of a node: the price of {@link moveCpuSeconds}. */
  cpuUsdPerSecond: number;
  /** Fixed disruption of a move in dollars: caches go cold, connections are looked up again. */
  moveFixedUsd: number;
}

export const DEFAULT_PRICES: Prices = {
  // A hundredth of a cent of revenue lost per request-second: 100 ms on a million requests is then worth $10. Only its ratio to
  // node and egress prices matters, and users are worth far more than machines.
  latencyUsdPerMsPerMillion: 0.1,
  // Queueing delay doubles from 50 % to 75 % of use; a quarter is left for what p90 does not cover.
  headroomShare: 0.75,
  // A full node makes each of a thousand requests a second wait some 55 ms, at the price above. Files count in the node's price instead.
  overloadUsdPerHour: 20,
  // Measured client pause of hand-offs inside a region is below 15 ms, across regions a round trip: half of it on average.
  handOffPauseMs: 40,
  // Snapshot, transfer, apply, two swaps and a watch notice on each gateway: about 15 ms of CPU over all processes.
  moveCpuSeconds: 0.015,
  // Not priced unless it is known: what a gigabyte takes depends on the services' state. A controller puts in what nodes measured.
  moveCpuSecondsPerGb: 0,
  // An m5.large is two cores for about $0.1 an hour.
  cpuUsdPerSecond: 0.05 / 3600,
  // A move disturbs what is cached and looked up about as much as one request across an ocean: 100 ms at the price above.
  // bench/loop.ts: against almost nothing, a quarter fewer moves at the same mean latency; ten times more costs 5 % of it.
  moveFixedUsd: 1e-5,
};

/** Budgets of moving. */
export interface MoveBudgets {
  /** Started in one tick. */
  startedPerTick: number;
  /** Under way at once, this tick's included. */
  inFlightMax: number;
  /** State bytes under way at once. */
  bytesInFlightMax: number;
  /** From or to one node at once. */
  perNodeInFlightMax: number;
}

export const DEFAULT_BUDGETS: MoveBudgets = {
  // A migration takes 1-2 s and some 15 ms of CPU: 24 a second are a third of one core over the whole cluster.
  startedPerTick: 24,
  inFlightMax: 64,
  bytesInFlightMax: 256 * 1024 * 1024,
  perNodeInFlightMax: 32,
};

/** Seconds from the decision until requests go to the target: what every decision is early by. */
export const MOVE_DURATION_S = 2;
/**
 * Seconds ahead at which placement wants forecasts, as multiples of the move's duration: from when a move started now is
 * done, to when one decided some moves later would be. Near ones are denser, since later decisions can still correct far ones.
 */
export const HORIZON_MULTIPLES = [1, 1.5, 2, 3, 4, 6] as const;

/**
 * Further horizons where a period is known, as shares of it: a move that pays off over hours of a real day must not be
 * judged by its first seconds. A sixth of a day is about how long a place stays right when the users follow the sun.
 */
export const HORIZON_PERIOD_SHARES = [1 / 24, 1 / 12, 1 / 6] as const;

/** A move longer than this is decided as if it took so long, seconds: no forecast of load reaches further. */
const LONGEST_MOVE_S_MAX = 6 * 3600;

/**
 * Horizons in seconds to forecast and place for.
 *
 * @param moveDurationS from the decision until requests go to the target
 * @param periodS the strongest detected period; 0 or absent where none is known
 * @param longestMoveS of the shard whose bytes take longest; it is decided by what comes after that
 * @example
 * horizonsFor(2) // [2, 3, 4, 6, 8, 12]
 */
export function horizonsFor(
  moveDurationS: number = MOVE_DURATION_S,
  periodS = 0,
  longestMoveS = 0,
): number[] {
  const horizons: number[] = HORIZON_MULTIPLES.map((multiple) => multiple * moveDurationS);
  for (const share of HORIZON_PERIOD_SHARES)
    if (share * periodS > 1.3 * horizons[horizons.length - 1]!) horizons.push(share * periodS);
  // Powers of two of the lead, so that bytes that come and go do not change the horizons every time.
  const doublings = Math.ceil(Math.log2(Math.min(LONGEST_MOVE_S_MAX, longestMoveS) / moveDurationS));
  for (const times of [doublings, doublings + 1])
    if (moveDurationS * 2 ** times > 1.3 * horizons[horizons.length - 1]!)
      horizons.push(moveDurationS * 2 ** times);
  return horizons;
}
