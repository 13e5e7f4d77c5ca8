/**
 * How far above p50 the quantiles of several forecasters together reach, beyond what each says of itself.
 *
 * Two things none of them knows. How far they are apart: where they agree they are surer than one of them, where they do
 * not, less sure. And how little was seen: whoever foresees days from weeks has seen but a few such stretches, and a
 * quantile of few lies further out (as Student's does beside the normal's).
 *
 * Boundary: pure. Invariants: p50 does not move; factors are above zero and bounded; without a period seen twice a step's
 * reach has no part of the second kind.
 */
import { exp } from '../powers.ts';

/** Powers of e, fitted on public series with one kind at a time left out; see docs/lab/forecast.md. */
const REACH_TUNED = {
  /** Of p90 where all say the same p50, and for each time its band that they are apart, up to so many. */
  agreed: -0.14,
  apart: 0.55,
  apartMost: 0.6,
  /** Of p90 and p99 for the share of what was seen that a horizon spans. */
  spannedP90: 1.9,
  spannedP99: 1.1,
  /** Of maxima: for windows of {@link MAXIMUM_STEPS} steps or more, less for shorter ones, and for the share they span. */
  maximum: -0.03,
  maximumApart: 0.38,
  maximumApartMost: 2,
  maximumSpanned: 1.3,
} as const;
/** No horizon counts as more than this share of what was seen. */
const SPANNED_MOST = 1 / 3;
/** Steps of a window from which on what forecasters are apart counts in full: the next steps they all see alike. */
const MAXIMUM_STEPS = 60;

/**
 * The share of what was seen that a horizon spans; less than a period ahead only as much of it as that is of the period,
 * since within one the season repeats. None where the period was not seen twice.
 */
export function spannedBy(ahead: number, seen: number, period: number): number {
  if (!(period > 0) || seen < 2 * period) return 0;
  return shareOf(ahead, seen) * Math.min(1, ahead / period);
}

/**
 * Factor of the distance from p50 to p90.
 *
 * @param deviation of the forecasters' p50 around their mean
 * @param band from p50 to p90, in the same unit
 */
export function reachP90(deviation: number, band: number, spanned: number): number {
  const { agreed, apart, apartMost, spannedP90 } = REACH_TUNED;
  return exp(agreed + apart * bandsApart(deviation, band, apartMost) + spannedP90 * spanned);
}

/** Factor of the distance from p50 to p99. */
export function reachP99(spanned: number): number {
  return exp(REACH_TUNED.spannedP99 * spanned);
}

/** Moves p90 and p99 of the maximum over a window of so many steps. @param quantiles p50, p90 and p99 */
export function reachMaximum(quantiles: Float64Array, deviation: number, steps: number, seen: number): void {
  const { maximum, maximumApart, maximumApartMost, maximumSpanned } = REACH_TUNED;
  const p50 = quantiles[0]!;
  const off =
    bandsApart(deviation, quantiles[1]! - p50, maximumApartMost) * Math.min(1, steps / MAXIMUM_STEPS);
  const factor = exp(maximum + maximumApart * off + maximumSpanned * shareOf(steps, seen));
  for (let q = 1; q < 3; q++) quantiles[q] = p50 + factor * (quantiles[q]! - p50);
}

function shareOf(steps: number, seen: number): number {
  return Math.min(SPANNED_MOST, steps / seen);
}

function bandsApart(deviation: number, band: number, most: number): number {
  return deviation < most * band ? deviation / band : band > 0 ? most : 0;
}
