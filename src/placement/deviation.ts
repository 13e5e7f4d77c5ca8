/**
 * The standard deviation of a load from its quantiles, tail included. What nodes carry adds up from many shards, so what counts of each is its variance; of one
 * that sleeps and seldom surges p90 tells nothing, p99 does.
 *
 * Between p10 and p90 the load is taken as normal; above p90 as exponential through p90 and p99, with mass 0.1; below p10 as normal. So a normal's
 * quantiles give its deviation back, and what is narrower than a normal above p90 is taken as one.
 */
import { DEFAULT_WEIGHTS } from './instance/types.ts';

/** Standard deviations from the median to p90, as in the default weights of an instance. */
export const Z90 = DEFAULT_WEIGHTS.quantileZ;
const Z99 = 2.3263;
/** Of a standard normal: how far p99 is beyond p90. */
const TAIL_NORMAL = Z99 - Z90;
const TAIL_MASS = 0.1;
/** Of the second moment of a standard normal, what is below p90: `0.9 - z phi(z)` at z = 1.2816. */
const BELOW_P90 = 0.9 - Z90 * 0.17549;
/** {@link secondMoment} of a standard normal: its own tail is a little lighter than an exponential. */
const NORMAL_MOMENT = secondMoment(Z90, Z99);

/**
 * @param p90 at least p50
 * @returns 0 where all three are one
 * @example
 * deviationOf(0, 1.2816, 2.3263) // 1, a standard normal
 * deviationOf(0, 0, 1)           // 0.19: a surge in a hundred steps is all that is known of it
 */
export function deviationOf(p50: number, p90: number, p99: number): number {
  const toP90 = Math.max(0, p90 - p50);
  if (toP90 === 0 && p99 <= p50) return 0;
  return Math.sqrt(secondMoment(toP90, Math.max(toP90, p99 - p50)) / NORMAL_MOMENT);
}

/** About the median, by how far p90 and p99 are from it. */
function secondMoment(toP90: number, toP99: number): number {
  const sigma = toP90 / Z90;
  // Scale of an exponential whose mass beyond p99 is a tenth of that beyond p90.
  const scale = Math.max(TAIL_NORMAL * sigma, toP99 - toP90) / Math.LN10;
  return BELOW_P90 * sigma ** 2 + TAIL_MASS * (toP90 ** 2 + 2 * toP90 * scale + 2 * scale ** 2);
}
