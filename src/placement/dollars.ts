/** Dollars with enough digits to compare tiny ones. */
export function usd(value: number): string {
  if (value === 0) return '$0';
  return Math.abs(value) >= 0.01 ? `$${value.toFixed(2)}` : `$${value.toExponential(1)}`;
}

/** A gap beyond this says more of the bound than of the placement. */
const GAP_TELLING_MAX = 0.25;

/** How near the best a target is, in words: completes "the target is". */
export function nearness(gap: number): string {
  if (gap <= GAP_TELLING_MAX) return `at most ${(100 * gap).toFixed(1)} % above the best there can be`;
  return 'not bounded tightly: a few shards fill a node, which the bound would cut in pieces';
}
