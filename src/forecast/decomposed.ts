/**
 * The seasons by local regression, and an autoregression on what is left of the series: the strongest of the classics on
 * recorded loads (`stlf`: Hyndman and Athanasopoulos, Forecasting: Principles and Practice), as an expert beside the others.
 *
 * On a log scale, so that a day twice as high has a season twice as high. With two periods known, one answer takes out the
 * first and one both. What is left is foreseen as a level that returns to its mean and as one that stays. All are averaged.
 *
 * Invariants: only what came before the origin is read; no answer leaves the range seen by more than its width.
 */
import { fitAutoregression, fitIntegrated, foresee } from './autoregression.ts';
import type { BatchExpert, BatchWindowInput } from './batch-expert.ts';
import { seasonOf } from './decomposition.ts';
import { answerLogWindows, LOG_FEATURES, LOG_STEPS, periodsOf, writeLogWindow } from './log-window.ts';
import { Z90, Z99 } from './normal.ts';

/** What was tuned on public series, on other series and origins than those of `bench/forecast/plan.json`. */
const DECOMPOSED_TUNED = {
  /** Say before it was held against anything. */
  say: [0.5, 1, 1] as [number, number, number],
  lagsMax: 24,
  /** Share of the level that stays, against the one that returns. */
  stays: 0.3,
  /** The logarithm starts at this share of the mean. */
  offset: 0.3,
  /** A season is taken out that was seen more often than this. */
  cyclesMin: 2,
} as const;
const LENGTH_MIN = 24;
const QUANTILES = [0.5, 0.9, 0.99] as const;
const DEVIATIONS = [0, Z90, Z99] as const;
/** Steps ahead where nobody says which. */
const STEPS = [1, 12, 60, 240] as const;

/**
 * @example
 * const expert = new DecomposedExpert([1, 15, 60]);
 */
export class DecomposedExpert implements BatchExpert {
  readonly name = 'decomposed';
  readonly contextSteps = LOG_STEPS;
  readonly featureWidth = LOG_FEATURES;
  readonly quantiles = QUANTILES;
  readonly horizonSteps: readonly number[];
  readonly firstSay = DECOMPOSED_TUNED.say;

  constructor(horizonSteps: readonly number[] = STEPS) {
    this.horizonSteps = horizonSteps;
  }

  withHorizons(horizonSteps: readonly number[]): DecomposedExpert {
    return new DecomposedExpert(horizonSteps);
  }

  write(input: BatchWindowInput, row: number, contexts: Float32Array, features: Float32Array): number {
    return writeLogWindow(input, DECOMPOSED_TUNED, row, contexts, features);
  }

  forecast(contexts: Float32Array, features: Float32Array, count: number, out: Float32Array): void {
    answerLogWindows(contexts, features, count, out, LENGTH_MIN, (z, told, answers) => {
      this.#answerOne(z, told, answers);
    });
  }

  /** @param z values of the series, the newest last */
  #answerOne(z: Float32Array, features: Float32Array, out: Float32Array): void {
    const steps = Math.max(1, Math.round(this.horizonSteps[this.horizonSteps.length - 1]!));
    const { middle, deviation } = answersOf(Float64Array.from(z), periodsOf(features), steps);
    const [, lowest, highest] = features as unknown as [number, number, number];
    this.horizonSteps.forEach((horizon, h) => {
      const step = Math.max(1, Math.round(horizon)) - 1;
      for (let q = 0; q < 3; q++) {
        const found = middle[step]! + DEVIATIONS[q]! * deviation[step]!;
        out[3 * h + q] = Math.asinh(Math.expm1(Math.min(highest, Math.max(0, found))) + lowest);
      }
    });
  }
}

interface Path {
  middle: Float64Array;
  deviation: Float64Array;
}

/** The mean of what each choice of seasons foresees. @param rest the series; seasons are taken off it */
function answersOf(rest: Float64Array, periods: readonly number[], steps: number): Path {
  const season = new Float64Array(steps);
  const all: Path = { middle: new Float64Array(steps), deviation: new Float64Array(steps) };
  if (periods.length === 0) addPath(all, rest, season, 1);
  for (const period of periods) {
    const of = seasonOf(rest, period);
    for (let i = 0; i < rest.length; i++) rest[i]! -= of[i]!;
    for (let step = 0; step < steps; step++) season[step]! += of[rest.length + (step % period)]!;
    addPath(all, rest, season, 1 / periods.length);
  }
  return all;
}

function addPath(all: Path, rest: Float64Array, season: Float64Array, share: number): void {
  const { lagsMax, stays } = DECOMPOSED_TUNED;
  const path: Path = { middle: new Float64Array(season.length), deviation: new Float64Array(season.length) };
  for (const [fit, part] of [
    [fitAutoregression(rest, lagsMax), 1 - stays],
    [fitIntegrated(rest, lagsMax), stays],
  ] as const) {
    foresee(fit, rest, path.middle, path.deviation);
    for (let step = 0; step < season.length; step++) {
      all.middle[step]! += share * part * (path.middle[step]! + season[step]!);
      all.deviation[step]! += share * part * path.deviation[step]!;
    }
  }
}
