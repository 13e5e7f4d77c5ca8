/** Quantiles of the standard normal, and shares below them. */

export const Z90 = 1.2815515655446004;
export const Z99 = 2.3263478740408408;

/** Quantile of the standard normal (Acklam's rational approximation, relative error below 1.2e-9). */
export function normalQuantile(level: number): number {
  if (level === 0.9) return Z90;
  if (level === 0.99) return Z99;
  if (!(level > 0 && level < 1)) throw new RangeError(`a quantile level lies between 0 and 1, not ${level}`);
  if (level < 0.02425) return tail(Math.sqrt(-2 * Math.log(level)));
  if (level > 1 - 0.02425) return -tail(Math.sqrt(-2 * Math.log(1 - level)));
  const q = level - 0.5;
  const r = q * q;
  return (
    ((((((-39.69683028665376 * r + 220.9460984245205) * r - 275.9285104469687) * r + 138.357751867269) * r -
      30.66479806614716) *
      r +
      2.506628277459239) *
      q) /
    (((((-54.47609879822406 * r + 161.5858368580409) * r - 155.6989798598866) * r + 66.80131188771972) * r -
      13.28068155288572) *
      r +
      1)
  );
}

/** Share of the standard normal below z (Abramowitz and Stegun 7.1.26, error below 1e-7). */
export function normalShare(z: number): number {
  const x = Math.abs(z) * Math.SQRT1_2;
  const t = 1 / (1 + 0.3275911 * x);
  const above =
    0.5 *
    t *
    Math.exp(-x * x) *
    (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  return z > 0 ? 1 - above : above;
}

function tail(q: number): number {
  return (
    (((((-0.007784894002430293 * q - 0.3223964580411365) * q - 2.400758277161838) * q - 2.549732539343734) *
      q +
      4.374664141464968) *
      q +
      2.938163982698783) /
    ((((0.007784695709041462 * q + 0.3224671290700398) * q + 2.445134137142996) * q + 3.754408661907416) * q +
      1)
  );
}
