/**
 * Autoregression by Burg's method (Burg 1967), its order by the corrected information criterion (Hurvich and Tsai 1989),
 * and what it foresees, with the deviation of its errors at each step.
 *
 * Boundary: pure. Invariant: a fit is stationary, so that no forecast explodes.
 */

export interface Autoregression {
  mean: number;
  /** Of the newest value less the mean, the one before it, ...; empty where nothing tells more than the mean. */
  coefficients: Float64Array;
  /** Variance of the error one step ahead. */
  variance: number;
}

/** @param lagsMax no more than a quarter of the values are used */
export function fitAutoregression(values: Float64Array, lagsMax: number): Autoregression {
  const count = values.length;
  let sum = 0;
  for (let i = 0; i < count; i++) sum += values[i]!;
  const mean = sum / count;
  const forward = new Float64Array(count);
  let variance = 0;
  for (let i = 0; i < count; i++) {
    forward[i] = values[i]! - mean;
    variance += (forward[i]! * forward[i]!) / count;
  }
  const backward = forward.slice();
  const most = Math.min(lagsMax, count >> 2);
  const coefficients = new Float64Array(most);
  const before = new Float64Array(most);
  let best: Autoregression = { mean, coefficients: new Float64Array(0), variance };
  let least = criterion(count, variance, 0);
  for (let order = 1; order <= most; order++) {
    let products = 0;
    let squares = 0;
    for (let i = order; i < count; i++) {
      products += forward[i]! * backward[i - 1]!;
      squares += forward[i]! * forward[i]! + backward[i - 1]! * backward[i - 1]!;
    }
    // Nothing is left to explain.
    if (!(squares > 0)) break;
    const reflection = (2 * products) / squares;
    before.set(coefficients);
    for (let j = 0; j < order - 1; j++) coefficients[j] = before[j]! - reflection * before[order - 2 - j]!;
    coefficients[order - 1] = reflection;
    for (let i = count - 1; i >= order; i--) {
      const ahead = forward[i]!;
      forward[i] = ahead - reflection * backward[i - 1]!;
      backward[i] = backward[i - 1]! - reflection * ahead;
    }
    variance *= 1 - reflection * reflection;
    const found = criterion(count, variance, order);
    if (found >= least) continue;
    least = found;
    best = { mean, coefficients: coefficients.slice(0, order), variance };
  }
  return best;
}

function criterion(count: number, variance: number, order: number): number {
  const free = count - order - 2;
  if (free < 1) return Number.POSITIVE_INFINITY;
  return count * Math.log(variance + Number.MIN_VALUE) + (2 * count * (order + 1)) / free;
}

/** Expected values of the steps after the last one into `expected`, deviations of their errors into `deviation`. */
export function foresee(
  { mean, coefficients, variance }: Autoregression,
  values: Float64Array,
  expected: Float64Array,
  deviation: Float64Array,
): void {
  const order = coefficients.length;
  const count = values.length;
  // Weights of the errors of each step since (the moving average that the autoregression is).
  const weights = new Float64Array(expected.length);
  let squares = 0;
  for (let step = 0; step < expected.length; step++) {
    let sum = 0;
    let weight = step === 0 ? 1 : 0;
    for (let j = 0; j < order; j++) {
      const from = step - 1 - j;
      sum += coefficients[j]! * (from >= 0 ? expected[from]! : (values[count + from] ?? mean) - mean);
      if (from >= 0) weight += coefficients[j]! * weights[from]!;
    }
    expected[step] = sum;
    weights[step] = weight;
    squares += weight * weight;
    deviation[step] = Math.sqrt(variance * squares);
  }
  for (let step = 0; step < expected.length; step++) expected[step]! += mean;
}

/** An autoregression of the differences, as one of the values: what it foresees goes on from the newest. */
export function fitIntegrated(values: Float64Array, lagsMax: number): Autoregression {
  const count = values.length - 1;
  const differences = new Float64Array(count);
  for (let i = 0; i < count; i++) differences[i] = values[i + 1]! - values[i]!;
  const { coefficients: of, variance } = fitAutoregression(differences, lagsMax);
  const coefficients = new Float64Array(of.length + 1);
  coefficients[0] = 1;
  for (let j = 0; j < of.length; j++) {
    coefficients[j]! += of[j]!;
    coefficients[j + 1]! -= of[j]!;
  }
  return { mean: values[count]!, coefficients, variance };
}
