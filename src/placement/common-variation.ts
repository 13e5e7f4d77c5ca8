/** What all loads have in common, from forecasts: what placement is told beside the shards' own bands. Pure. */
import type { PlacementShard } from '../model/loop.ts';
import { deviationOf, Z90 } from './deviation.ts';

/** Loads that vary more than this together are seen by headroom, not by the band. */
const COMMON_VARIATION_MAX = 0.5;

/**
 * What all loads have in common: how far all requests vary, which are forecast as one series, beyond what shards do as if
 * groups of them varied apart. A standard deviation as a share of the mean.
 */
export function commonVariation(
  shards: readonly PlacementShard[],
  total: { p50: readonly number[]; p90: readonly number[] },
): number {
  const own = varianceOf(shards);
  const mean = total.p50[0] ?? 0;
  if (mean <= 0) return 0;
  // Of so many together the tail evens out: their p90 tells their deviation.
  const all = Math.max(0, (total.p90[0] ?? 0) - mean) / Z90;
  return Math.min(COMMON_VARIATION_MAX, Math.sqrt(Math.max(0, all ** 2 - own)) / mean);
}

/** Variance of all shards at the first horizon, those that surge together counted as such. */
function varianceOf(shards: readonly PlacementShard[]): number {
  let own = 0;
  const groups = new Map<string, number>();
  for (const { forecast } of shards) {
    const { together, metrics } = forecast;
    const [p50, p90, p99] = metrics.requests.quantiles;
    const deviation = deviationOf(p50[0] ?? 0, p90[0] ?? 0, p99[0] ?? 0);
    const shared = together === undefined ? 0 : together.correlation;
    own += (1 - shared) * deviation ** 2;
    if (together === undefined) continue;
    groups.set(together.group, (groups.get(together.group) ?? 0) + Math.sqrt(shared) * deviation);
  }
  for (const sum of groups.values()) own += sum ** 2;
  return own;
}
