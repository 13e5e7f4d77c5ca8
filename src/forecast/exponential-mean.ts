/** Exponential mean of each step and all before it, by half-life in steps; a plain mean at first. No gaps. */
export function exponentialMean(values: Float64Array, halfLifeSteps: number): Float64Array {
  const rate = 1 - 2 ** (-1 / halfLifeSteps);
  const out = new Float64Array(values.length);
  let level = 0;
  for (let t = 0; t < values.length; t++) {
    level += Math.max(rate, 1 / (t + 1)) * (values[t]! - level);
    out[t] = level;
  }
  return out;
}
