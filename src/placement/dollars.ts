/** Below this nobody reads the zeros. */
const PLAIN_MIN = 1e-6;

/** Dollars with enough digits to compare tiny ones: `$1.50`, `$0.0087`, `-$0.20`. */
export function usd(value: number, decimals = 2): string {
  if (value === 0) return '$0';
  const size = Math.abs(value);
  const sign = value < 0 ? '-' : '';
  if (size >= 0.01) return `${sign}$${size.toFixed(decimals)}`;
  return `${sign}$${size >= PLAIN_MIN ? size.toFixed(1 - Math.floor(Math.log10(size))) : size.toExponential(1)}`;
}

/** A gap beyond this says more of the bound than of the placement. */
const GAP_TELLING_MAX = 0.25;

/** How near the best a target is, in words: completes "the target is". */
export function nearness(gap: number): string {
  if (gap <= GAP_TELLING_MAX) return `at most ${(100 * gap).toFixed(1)} % above the best there can be`;
  return 'not bounded tightly: a few shards fill a node, which the bound would cut in pieces';
}
