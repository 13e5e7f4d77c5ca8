/**
 * Waiting at a node, in closed form: a single server (one event loop) with Poisson arrivals and exponential service, plus
 * a fluid backlog while more is offered than it can do.
 *
 *   sojourn of a request  P(T > x) = exp(-(1 - rho) x / s)      M/M/1, first come first served (Kleinrock, vol. 1, 3.2)
 *   99th percentile       s ln(100) / (1 - rho)
 *   backlog               dw/dt = rho - 1 while rho > 1 or w > 0; requests wait w seconds on top
 *
 * s is the service time (CPU of a request over the node's capacity) and rho offered CPU over capacity, work of moves
 * included. rho is held below {@link RHO_MAX} in the stationary part: beyond it the backlog says how long one waits.
 */

/** At 0.995 the stationary queue takes 200 service times: whatever is above shows as backlog within seconds. */
export const RHO_MAX = 0.995;
const LN_100 = Math.log(100);

/** Mean time in the stationary queue and server, seconds. */
export function sojournMeanS(serviceS: number, rho: number): number {
  return serviceS / (1 - Math.min(rho, RHO_MAX));
}

/** 99th percentile of it, seconds. */
export function sojournP99S(serviceS: number, rho: number): number {
  return LN_100 * sojournMeanS(serviceS, rho);
}

/** Backlog in seconds of work after `seconds`, not below zero and not above `maxS`. */
export function backlogAfter(waitS: number, rho: number, seconds: number, maxS: number): number {
  return Math.min(maxS, Math.max(0, waitS + (rho - 1) * seconds));
}

/**
 * Share of an interval of `seconds` in which the backlog is above `limitS`: it goes from `waitS` in a straight line of
 * slope `rho - 1`, stops at zero and at `maxS`.
 */
export function shareAbove(
  waitS: number,
  rho: number,
  seconds: number,
  maxS: number,
  limitS: number,
): number {
  if (limitS < 0) return 1;
  const slope = rho - 1;
  const above = waitS > limitS;
  if (slope === 0 || seconds <= 0) return above ? 1 : 0;
  if (limitS >= maxS && !above) return 0;
  const crossS = (limitS - waitS) / slope;
  if (crossS < 0 || (crossS === 0 && !above && slope < 0)) return above ? 1 : 0;
  const share = Math.min(1, crossS / seconds);
  return above ? (slope < 0 ? share : 1) : slope > 0 ? 1 - share : 0;
}

/** Mean of the backlog over an interval, by the same line. */
export function backlogMean(waitS: number, rho: number, seconds: number, maxS: number): number {
  const endS = backlogAfter(waitS, rho, seconds, maxS);
  if (seconds <= 0) return waitS;
  const slope = rho - 1;
  if (slope === 0) return waitS;
  const movingS = Math.min(seconds, Math.abs((endS - waitS) / slope));
  return ((waitS + endS) / 2) * (movingS / seconds) + endS * (1 - movingS / seconds);
}
