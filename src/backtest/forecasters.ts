/**
 * The adapter to `skein/forecast`: which forecaster each policy has, and the measured step as the product sees it.
 *
 * `lastValue`, `reactive` and `predictive` are the product's own forecasters, unchanged. `seasonalNaive` and `oracle` exist here
 * because both read the replayed load: yesterday's and tomorrow's.
 */
import {
  engineForecaster,
  type Forecaster,
  flatForecast,
  type LoadStep,
  lastValueForecaster,
  networkExpert,
  type OriginRates,
} from '../forecast/index.ts';
import type { LoadSample } from '../model/load.ts';
import { HORIZON_PERIOD_SHARES } from '../placement/index.ts';
import type { ClusterModel, PolicyId } from './model.ts';
import type { Workload } from './workload.ts';

const DAY_S = 86_400;

/** After so much of a step what was before it weighs half: a 32nd is left of it. */
export const LAST_VALUE_STEPS = 0.2;

/** Policies that are our planner with one forecaster or another. */
export function isPlanned(policy: PolicyId): boolean {
  return ['lastValue', 'reactive', 'seasonalNaive', 'predictive', 'oracle'].includes(policy);
}

export interface ForecasterOptions {
  /** Smoothing of `reactive`. */
  halfLifeS: number;
  /** Steps ahead that are going to be asked for, ascending. */
  horizons: readonly number[];
  /** How many of them are of the lead (`horizonSteps`): the rest are of regions. */
  near: number;
  /** `predictive` asks the trained network beside its own experts, as a controller does. */
  network: boolean;
}

export function makeForecaster(
  policy: PolicyId,
  model: ClusterModel,
  workload: Workload,
  { halfLifeS, horizons, near, network }: ForecasterOptions,
): Forecaster {
  if (policy === 'predictive') return engineForecaster({ experts: network ? [networkExpert()] : [] });
  if (policy === 'lastValue') return lastValueForecaster({ halfLifeS: LAST_VALUE_STEPS * workload.stepS });
  if (policy === 'reactive') return lastValueForecaster({ halfLifeS });
  const dayS = Math.round(DAY_S / workload.stepS);
  const read = (step: number, into: Float64Array): number => {
    workload.fill(Math.max(0, Math.min(workload.steps - 1, step)), into);
    return into.reduce((a, b) => a + b, 0);
  };
  const one = new Float64Array(workload.shards.length * workload.regions.length);
  const look: LookUp = (step, h, into) => {
    if (policy === 'seasonalNaive') {
      const source = step + horizons[h]! - dayS;
      return read(source > step || source < 0 ? step : source, into);
    }
    if (h >= near) return read(step + horizons[h]!, into);
    // What the future holds until this horizon: a peak between two of them is known to an oracle. Shards have theirs in steps of
    // their own, so the most of all together is less than the sum of them.
    into.fill(0);
    let most = 0;
    for (let ahead = h === 0 ? 1 : horizons[h - 1]! + 1; ahead <= horizons[h]!; ahead++) {
      most = Math.max(most, read(step + ahead, one));
      for (let i = 0; i < into.length; i++) into[i] = Math.max(into[i]!, one[i]!);
    }
    return most;
  };
  return lookUpForecaster(model, workload, look);
}

/** Fills in what is expected at a horizon, by its index, and returns what is expected of all together. */
type LookUp = (step: number, horizon: number, into: Float64Array) => number;

/** A forecaster that reads the workload itself. */
function lookUpForecaster(model: ClusterModel, workload: Workload, look: LookUp): Forecaster {
  const count = workload.regions.length;
  const rowOf = new Map(workload.shards.map((shard, s) => [shard, s]));
  let step = 0;
  /** By horizon, of this step: shards and the total ask for the same. */
  const loads: { rates: Float64Array; total: number }[] = [];
  const load = (h: number) => {
    const known = loads[h];
    if (known !== undefined) return known;
    const rates = new Float64Array(workload.shards.length * count);
    loads[h] = { rates, total: look(step, h, rates) };
    return loads[h];
  };
  const cost = (s: number) => ({
    cpuSeconds: model.cpuSecondsPerRequest,
    bytesIn: model.bytesPerRequest / 3,
    bytesOut: (2 * model.bytesPerRequest) / 3,
    stateBytes: workload.stateBytes[s]!,
    windowS: workload.stepS,
  });
  return {
    observe(observed) {
      step = Math.round((observed.atMs - workload.t0Ms) / (workload.stepS * 1000)) - 1;
      loads.length = 0;
    },
    forecast(shards, horizonsS) {
      const ahead = horizonsS.map((_, h) => load(h).rates);
      return shards.map((shard) => {
        const s = rowOf.get(shard)!;
        const rates: OriginRates = {};
        workload.regions.forEach((origin, o) => {
          const all = ahead.map((matrix) => matrix[s * count + o]!);
          rates[origin] = {
            commands: all.map((rate) => rate * model.commandShare),
            queries: all.map((rate) => rate * (1 - model.commandShare)),
          };
        });
        return flatForecast(shard, horizonsS, rates, cost(s));
      });
    },
    total(horizonsS) {
      const p50 = horizonsS.map((_, h) => load(h).total);
      const band = (z: number) => p50.map((rate) => rate + z * Math.sqrt(rate / workload.stepS));
      return { p50, p90: band(1.2816), p99: band(2.3263) };
    },
    explain: () => ({ periodsS: [DAY_S], weights: { 'look-up': 1 }, coverageP90: Number.NaN }),
    save: () => step,
    load(state) {
      step = state as number;
      loads.length = 0;
    },
  };
}

/** One step's load as nodes report it; what forecasters learn from. */
export function measuredStep(
  model: ClusterModel,
  workload: Workload,
  step: number,
  rates: Float64Array,
): LoadStep {
  const { stepS, regions, shards } = workload;
  const count = regions.length;
  const atMs = workload.t0Ms + (step + 1) * stepS * 1000;
  const samples: LoadSample[] = [];
  for (let s = 0; s < shards.length; s++) {
    const byOrigin: LoadSample['byOrigin'] = {};
    let requests = 0;
    for (let o = 0; o < count; o++) {
      const served = rates[s * count + o]! * stepS;
      if (served <= 0) continue;
      requests += served;
      byOrigin[regions[o]!] = {
        commands: served * model.commandShare,
        queries: served * (1 - model.commandShare),
      };
    }
    if (requests <= 0) continue;
    samples.push({
      shard: shards[s]!,
      atMs,
      stepMs: stepS * 1000,
      commands: requests * model.commandShare,
      queries: requests * (1 - model.commandShare),
      rejected: 0,
      byOrigin,
      cpuSeconds: requests * model.cpuSecondsPerRequest,
      stateBytes: workload.stateBytes[s]!,
      bytesIn: (requests * model.bytesPerRequest) / 3,
      bytesOut: (2 * requests * model.bytesPerRequest) / 3,
      writeBytes: 0,
      censored: false,
    });
  }
  return { number: Math.round(atMs / (stepS * 1000)), atMs, stepS, shards: samples, missingShare: 0 };
}

/**
 * Steps ahead to forecast for: the next ones one by one, then until what is decided now has been started, filled and
 * served a while. Eight at most, as each is asked of every shard.
 *
 * @param leadS from a decision until a new node has its shards
 */
export function horizonSteps(stepS: number, leadS: number): number[] {
  const lead = Math.max(1, Math.ceil(leadS / stepS));
  const wanted = [1, lead / 2, lead, lead + 1, 1.5 * lead + 1, 2 * lead + 2, 3 * lead + 3];
  return [...new Set(wanted.map((steps) => Math.ceil(steps)))].sort((a, b) => a - b);
}

/**
 * Further steps ahead where there are several regions: a move between regions pays over hours, and judged by its lead alone a
 * shard goes where most users are for the moment and is not called back. The product's own shares of a day.
 */
export function regionHorizonSteps(stepS: number, near: readonly number[]): number[] {
  const steps: number[] = [];
  let last = near.at(-1)!;
  for (const share of HORIZON_PERIOD_SHARES) {
    const ahead = Math.round((share * DAY_S) / stepS);
    if (ahead <= 1.3 * last) continue;
    steps.push(ahead);
    last = ahead;
  }
  return steps;
}

/** A step's value stands for its middle. */
export function horizonSeconds(stepS: number, steps: readonly number[]): number[] {
  return steps.map((ahead) => (ahead - 0.5) * stepS);
}
