/** Dollars with enough digits to compare tiny ones. */
export function usd(value: number): string {
  if (value === 0) return '$0';
  return Math.abs(value) >= 0.01 ? `$${value.toFixed(2)}` : `$${value.toExponential(1)}`;
}
