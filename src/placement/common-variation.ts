/** What all loads have in common, from forecasts: what placement is told beside the shards' own bands. Pure. */
import type { PlacementShard } from '../model/loop.ts';

/** Standard deviations from the median to p90. */
const P90_Z = 1.2816;
/** Loads that vary more than this together are seen by headroom, not by the band. */
const COMMON_VARIATION_MAX = 0.5;

/**
 * What all loads have in common: the band of all requests, which is forecast as one series, beyond the bands of shards as if
 * groups of them varied apart. A standard deviation as a share of the mean.
 */
export function commonVariation(
  shards: readonly PlacementShard[],
  total: { p50: readonly number[]; p90: readonly number[] },
): number {
  const own = varianceOf(shards);
  const mean = total.p50[0] ?? 0;
  if (mean <= 0) return 0;
  const shared = bandOf([total.p50, total.p90]) ** 2 - own;
  return Math.min(COMMON_VARIATION_MAX, Math.sqrt(Math.max(0, shared)) / P90_Z / mean);
}

/** Square of the band of all shards at the first horizon, those that surge together counted as such. */
function varianceOf(shards: readonly PlacementShard[]): number {
  let own = 0;
  const groups = new Map<string, number>();
  for (const { forecast } of shards) {
    const { together, metrics } = forecast;
    const band = bandOf(metrics.requests.quantiles);
    const shared = together === undefined ? 0 : together.correlation;
    own += (1 - shared) * band ** 2;
    if (together === undefined) continue;
    groups.set(together.group, (groups.get(together.group) ?? 0) + Math.sqrt(shared) * band);
  }
  for (const sum of groups.values()) own += sum ** 2;
  return own;
}

/** From p50 to p90, at the first horizon. */
function bandOf([p50, p90]: readonly (readonly number[])[]): number {
  return Math.max(0, (p90![0] ?? 0) - (p50![0] ?? 0));
}
