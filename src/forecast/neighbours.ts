/**
 * What came after the moments most like this one (method of analogues: Lorenz 1969; nearest neighbours in time series:
 * Yakowitz 1987). It sees what no level, season or regression does: a batch job that starts as it did the other days, a
 * burst that lasts as long as bursts last.
 *
 * The newest steps are compared with every earlier stretch of the series, at three lengths, on a log scale, by shape
 * first, by level and by phase of the known periods less. What followed the nearest, moved to today's level, gives the
 * quantiles, of single steps and of maxima alike. For a series on its own: a look costs some hundred thousand operations.
 *
 * Invariants: only what came before the origin is read; without enough neighbours there is no answer (NaN); no answer
 * leaves the range seen by more than its width.
 */
import type { BatchExpert, BatchWindowInput } from './batch-expert.ts';
import { answerLogWindows, LOG_FEATURES, LOG_STEPS, writeLogWindow } from './log-window.ts';

/** What was tuned on public series, on other series and origins than those of `bench/forecast/plan.json`. */
const NEIGHBOURS_TUNED = {
  /** Say before it was held against anything: p99 of some thirty neighbours is their highest. */
  say: [0.8, 1, 0.3] as [number, number, number],
  /** Steps compared. */
  windows: [12, 24, 60],
  /** The newest of them count most: half as much so far back, as a share of the window. */
  halfLife: 0.25,
  /** Neighbours of each window length; 30 were 1 % worse than 10. */
  count: 10,
  /** Neighbours whose distance is the mean one weigh exp(-sharpness). */
  sharpness: 2,
  /** Weight of a difference of level, in deviations, against one of shape. */
  level: 0.3,
  /** Weight of a difference of phase, in half periods: of the first period, of the second. */
  phase: [4, 2],
  /** No difference of phase of the second counts for more than this: its days resemble each other. */
  phaseMax: [0.5, 0.15],
  /** Share of today's difference of level that stays, and steps in which the rest fades. */
  levelKept: 0.7,
  levelFadeSteps: 12,
  /** The logarithm starts at this share of the mean. */
  offset: 0.3,
  /** A period counts that was seen more often than this. */
  cyclesMin: 1.5,
} as const;
const LENGTH_MIN = 32;
/** Neighbours of one length are at least this share of it apart. */
const APART = 1 / 8;
/** Horizons up to these share their neighbours: they must have come in full. */
const GROUPS = [12, 60, 240, 1000] as const;
/** Fewer neighbours in all say nothing. */
const NEIGHBOURS_MIN = 6;
const QUANTILES = [0.5, 0.9, 0.99] as const;

/** Neighbours found for a group of horizons. */
interface Found {
  ends: number[];
  weights: number[];
  /** How much higher each was than today, in z. */
  above: number[];
}

/**
 * @example
 * const expert = new NeighboursExpert([1, 15, 60]);
 */
export class NeighboursExpert implements BatchExpert {
  readonly name = 'neighbours';
  readonly contextSteps = LOG_STEPS;
  readonly featureWidth = LOG_FEATURES;
  readonly quantiles = QUANTILES;
  readonly horizonSteps: readonly number[];
  readonly firstSay = NEIGHBOURS_TUNED.say;

  constructor(horizonSteps: readonly number[] = GROUPS) {
    this.horizonSteps = horizonSteps;
  }

  withHorizons(horizonSteps: readonly number[]): NeighboursExpert {
    return new NeighboursExpert(horizonSteps);
  }

  write(input: BatchWindowInput, row: number, contexts: Float32Array, features: Float32Array): number {
    return writeLogWindow(input, NEIGHBOURS_TUNED, row, contexts, features);
  }

  forecast(contexts: Float32Array, features: Float32Array, count: number, out: Float32Array): void {
    this.#answer(contexts, features, count, out, false);
  }

  forecastMax(contexts: Float32Array, features: Float32Array, count: number, out: Float32Array): void {
    this.#answer(contexts, features, count, out, true);
  }

  #answer(contexts: Float32Array, features: Float32Array, count: number, out: Float32Array, maxima: boolean) {
    answerLogWindows(contexts, features, count, out, LENGTH_MIN, (z, told, answers) => {
      this.#answerOne(z, told, answers, maxima);
    });
  }

  /** @param z values of the series, the newest last */
  #answerOne(z: Float32Array, features: Float32Array, out: Float32Array, maxima: boolean): void {
    const distances = NEIGHBOURS_TUNED.windows.map((steps) =>
      distancesTo(z, Math.min(steps, z.length >> 2), features[3]!, features[4]!),
    );
    const groups = new Map<number, Found>();
    const values: number[] = [];
    const lowest = features[1]!;
    this.horizonSteps.forEach((horizon, h) => {
      const ahead = Math.round(horizon);
      const group = GROUPS.find((steps) => steps >= ahead) ?? ahead;
      const room = Math.max(ahead, Math.min(group, Math.floor(z.length / 3)));
      let found = groups.get(room);
      if (found === undefined) {
        found = nearest(distances, z.length, room);
        groups.set(room, found);
      }
      const { ends, weights, above } = found;
      if (ends.length < NEIGHBOURS_MIN) {
        out.fill(Number.NaN, 3 * h, 3 * h + 3);
        return;
      }
      values.length = 0;
      for (let i = 0; i < ends.length; i++) {
        let value = Number.NEGATIVE_INFINITY;
        for (let step = maxima ? 1 : ahead; step <= ahead; step++) {
          const moved = z[ends[i]! + step]! - levelKept(step) * above[i]!;
          if (moved > value) value = moved;
        }
        values.push(value);
      }
      for (let q = 0; q < 3; q++) {
        const found = Math.min(features[2]!, Math.max(0, weightedQuantile(values, weights, QUANTILES[q]!)));
        out[3 * h + q] = Math.asinh(Math.expm1(found) + lowest);
      }
    });
  }
}

function levelKept(ahead: number): number {
  const { levelKept: kept, levelFadeSteps } = NEIGHBOURS_TUNED;
  return kept + (1 - kept) * Math.exp(-ahead / levelFadeSteps);
}

interface Distances {
  /** Steps compared. */
  steps: number;
  /** By the newest step of the stretch compared. */
  distance: Float32Array;
  above: Float32Array;
}

/** Distance of every earlier stretch from the newest one, and how much higher it was. */
function distancesTo(z: Float32Array, steps: number, first: number, second: number): Distances {
  const { halfLife, level, phase, phaseMax } = NEIGHBOURS_TUNED;
  const count = z.length;
  const weights = Float64Array.from({ length: steps }, (_, age) => 2 ** (-age / (steps * halfLife)));
  const sum = weights.reduce((a, b) => a + b, 0);
  for (let age = 0; age < steps; age++) weights[age]! /= sum;
  let mean = 0;
  for (let i = 0; i < count; i++) mean += z[i]! / count;
  let variance = 1e-12;
  for (let i = 0; i < count; i++) variance += (z[i]! - mean) ** 2 / count;
  const distance = new Float32Array(count).fill(Number.POSITIVE_INFINITY);
  const above = new Float32Array(count);
  for (let end = steps - 1; end < count - 1; end++) {
    let off = 0;
    let squares = 0;
    for (let age = 0; age < steps; age++) {
      const difference = z[end - age]! - z[count - 1 - age]!;
      const weighted = weights[age]! * difference;
      off += weighted;
      squares += weighted * difference;
    }
    const age = count - 1 - end;
    distance[end] =
      (Math.max(0, squares - off * off) + level * off * off) / variance +
      phase[0]! * phaseOff(age, first, phaseMax[0]!) +
      phase[1]! * phaseOff(age, second, phaseMax[1]!);
    above[end] = off;
  }
  return { steps, distance, above };
}

/** Square of the distance from whole periods, in half periods. */
function phaseOff(age: number, period: number, most: number): number {
  if (period === 0) return 0;
  const cycles = age / period;
  const off = 2 * Math.min(most, Math.abs(cycles - Math.round(cycles)));
  return off * off;
}

/** The nearest of each length that are `room` steps or more ago; weights of each length sum to 1. */
function nearest(distances: readonly Distances[], length: number, room: number): Found {
  const found: Found = { ends: [], weights: [], above: [] };
  for (const { steps, distance, above } of distances) {
    const left = distance.slice(0, Math.max(0, length - room));
    const apart = Math.max(1, Math.floor(steps * APART));
    const chosen: number[] = [];
    let total = 0;
    while (chosen.length < NEIGHBOURS_TUNED.count) {
      let best = -1;
      let least = Number.POSITIVE_INFINITY;
      for (let end = steps - 1; end < left.length; end++)
        if (left[end]! < least) {
          least = left[end]!;
          best = end;
        }
      if (best < 0) break;
      chosen.push(best);
      total += least;
      left.fill(Number.POSITIVE_INFINITY, Math.max(0, best - apart + 1), best + apart);
    }
    const usual = total / chosen.length + 1e-12;
    const weights = chosen.map((end) => Math.exp((-NEIGHBOURS_TUNED.sharpness * distance[end]!) / usual));
    const sum = weights.reduce((a, b) => a + b, 0);
    chosen.forEach((end, i) => {
      found.ends.push(end);
      found.weights.push(weights[i]! / sum);
      found.above.push(above[end]!);
    });
  }
  return found;
}

/** Straight between the middles of the weights; the outermost value beyond them. */
function weightedQuantile(values: readonly number[], weights: readonly number[], level: number): number {
  const order = values.map((_, i) => i).sort((a, b) => values[a]! - values[b]!);
  let total = 0;
  for (const weight of weights) total += weight;
  let below = 0;
  let before = Number.NaN;
  let beforeAt = 0;
  for (const i of order) {
    const at = (below + weights[i]! / 2) / total;
    if (at >= level) {
      if (Number.isNaN(before)) return values[i]!;
      return before + ((level - beforeAt) / (at - beforeAt)) * (values[i]! - before);
    }
    below += weights[i]!;
    before = values[i]!;
    beforeAt = at;
  }
  return before;
}
