/**
 * How far the mixture usually errs: the mean error at each bucket, following the noise of now and the forecast's level by
 * powers that each row learns.
 *
 * Many at a time where many are asked for: what they share is worked out once, and no number is handed from call to call.
 */
import { exp, log } from '../powers.ts';
import { within } from '../within.ts';
import { BUCKET_STEPS, C, F, type Row } from './layout.ts';
import { SPREAD_PRIOR } from './priors.ts';
import { TUNED } from './tuned.ts';

/** How much of the noise of now is still there at a bucket. */
const FOLLOWED = BUCKET_STEPS.map((steps) => 1 / (1 + 0.1 * steps));
/** Scores that the guess of what is usual is worth. */
const GUESS_SCORES = 4;
/** Noise of now and level count as so many times the usual at least and at most. */
const RATIO_MIN = 0.2;
const RATIO_MAX = 5;
/** An error counts as at most so many spreads where powers are learnt, and its mean is learnt at this rate. */
const ERROR_MAX = 4;
const ERROR_MEAN_RATE = 0.003;
/** Range of either power, what it starts from included. */
const LEVEL_POWER_MIN = -0.3;
const NOISE_POWER_MIN = 0;
const POWER_MAX = 1;

/** Mean absolute errors of the mixture at buckets from `first` to `last`, as the noise of now has them. */
export function usualSpreads(row: Row, first: number, last: number, into: Float64Array): void {
  const { floats: x, f, codes, c } = row;
  const slow = slowNoise(row);
  const noise = log(noiseNow(row));
  const followed = TUNED.noisePower + x[f + F.noisePower]!;
  for (let b = first; b <= last; b++) {
    const count = codes[c + C.scores + b]!;
    const guess = slow * SPREAD_PRIOR[b]!;
    const usual = (count * x[f + F.spread + b]! + GUESS_SCORES * guess) / (count + GUESS_SCORES);
    into[b] = usual * exp(followed * FOLLOWED[b]! * noise);
  }
}

/** From usual spreads to those around forecasts, from the place `first` to `last`: what is foreseen high may err more. */
export function spreadsFor(
  row: Row,
  first: number,
  last: number,
  bases: Float64Array,
  spreads: Float64Array,
): void {
  const { floats: x, f } = row;
  const exponent = TUNED.levelPower + x[f + F.levelPower]!;
  const slow = slowNoise(row);
  const perMean = 1 / (Math.abs(x[f + F.mean]!) + slow);
  const least = 1e-5 + TUNED.spreadFloor * x[f + F.deviation]!;
  for (let i = first; i <= last; i++) {
    const level = ratioWithin((Math.abs(bases[i]!) + slow) * perMean);
    spreads[i] = spreads[i]! * exp(exponent * log(level)) + least;
  }
}

/**
 * Learns how the spread follows level and noise, by steps down the gradient of a double exponential's likelihood.
 *
 * @param error in spreads
 * @param base what the mixture had said
 */
export function learnPowers(row: Row, bucket: number, error: number, base: number): void {
  const { floats: x, f } = row;
  const size = Math.abs(error);
  const off = (size > ERROR_MAX ? ERROR_MAX : size) - 1 - x[f + F.errorMean]!;
  x[f + F.errorMean]! += ERROR_MEAN_RATE * off;
  const slow = slowNoise(row);
  const level = log(ratioWithin((Math.abs(base) + slow) / (Math.abs(x[f + F.mean]!) + slow)));
  const toLevel = (TUNED.levelPowerRate / (1 + level * level)) * off * level;
  x[f + F.levelPower] = within(
    x[f + F.levelPower]! + toLevel,
    LEVEL_POWER_MIN - TUNED.levelPower,
    POWER_MAX - TUNED.levelPower,
  );
  // Only one step on is the noise of now still that of then.
  if (bucket > 0) return;
  const noise = log(noiseNow(row));
  const toNoise = (TUNED.noisePowerRate / (1 + noise * noise)) * off * noise;
  x[f + F.noisePower] = within(
    x[f + F.noisePower]! + toNoise,
    NOISE_POWER_MIN - TUNED.noisePower,
    POWER_MAX - TUNED.noisePower,
  );
}

function slowNoise(row: Row): number {
  return row.floats[row.f + F.noiseSlow]! + 1e-6;
}

/** Noise of now against the usual. */
function noiseNow(row: Row): number {
  const slow = slowNoise(row);
  return ratioWithin((row.floats[row.f + F.noiseFast]! + 0.1 * slow) / (1.1 * slow));
}

function ratioWithin(ratio: number): number {
  return within(ratio, RATIO_MIN, RATIO_MAX);
}
