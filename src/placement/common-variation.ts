/** What all loads have in common, from forecasts: what placement is told beside the shards' own bands. Pure. */
import type { PlacementShard } from '../model/loop.ts';

/** Standard deviations from the median to p90. */
const P90_Z = 1.2816;
/** Loads that vary more than this together are seen by headroom, not by the band. */
const COMMON_VARIATION_MAX = 0.5;

/**
 * What all loads have in common: the band of all requests, which is forecast as one series, beyond the bands of shards as if
 * they varied apart. A standard deviation as a share of the mean.
 */
export function commonVariation(
  shards: readonly PlacementShard[],
  total: { p50: readonly number[]; p90: readonly number[] },
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
