/**
 * The adapter to `skein/forecast`: which forecaster each policy has, and the measured step as the product sees it.
 *
 * `reactive` and `predictive` are the product's own forecasters, unchanged. `seasonalNaive` and `oracle` exist here
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
import type { ClusterModel, PolicyId } from './model.ts';
import type { Workload } from './workload.ts';

const DAY_S = 86_400;

/** Policies that are our planner with one forecaster or another. */
export function isPlanned(policy: PolicyId): boolean {
  return ['reactive', 'seasonalNaive', 'predictive', 'oracle'].includes(policy);
}

export interface ForecasterOptions {
  /** Smoothing of `reactive`. */
  halfLifeS: number;
  /** Steps ahead that are going to be asked for, ascending. */
  horizons: readonly number[];
  /** `predictive` asks the trained network beside its own experts, as a controller does. */
  network: boolean;
}

export function makeForecaster(
  policy: PolicyId,
  model: ClusterModel,
  workload: Workload,
  { halfLifeS, horizons, network }: ForecasterOptions,
): Forecaster {
  if (policy === 'predictive') return engineForecaster({ experts: network ? [networkExpert()] : [] });
  if (policy === 'reactive') return lastValueForecaster({ halfLifeS });
  const dayS = Math.round(DAY_S / workload.stepS);
  const asked = (step: number, h: number, into: Float64Array): boolean => {
    if (policy === 'seasonalNaive') {
      const source = step + horizons[h]! - dayS;
      if (source > step || source < 0) return false;
      workload.fill(source, into);
      return true;
    }
    // What the future holds until this horizon: a peak between two of them is known to an oracle.
    const from = step + (h === 0 ? 1 : horizons[h - 1]! + 1);
    fillMax(workload, from, step + horizons[h]!, into);
    return true;
  };
  return lookUpForecaster(model, workload, asked);
}

function fillMax(workload: Workload, from: number, to: number, into: Float64Array): void {
  into.fill(0);
  const one = new Float64Array(into.length);
  for (let step = from; step <= Math.max(from, to); step++) {
    workload.fill(Math.min(workload.steps - 1, step), one);
    for (let i = 0; i < into.length; i++) into[i] = Math.max(into[i]!, one[i]!);
  }
}

/** A forecaster that reads the workload itself; `asked` false: the last value. */
function lookUpForecaster(
  model: ClusterModel,
  workload: Workload,
  asked: (step: number, horizon: number, into: Float64Array) => boolean,
): Forecaster {
  const count = workload.regions.length;
  const rowOf = new Map(workload.shards.map((shard, s) => [shard, s]));
  let step = 0;
  /** By horizon, of this step: shards and the total ask for the same. */
  const loads: Float64Array[] = [];
  const load = (h: number): Float64Array => {
    const known = loads[h];
    if (known !== undefined) return known;
    const into = new Float64Array(workload.shards.length * count);
    if (!asked(step, h, into)) workload.fill(step, into);
    loads[h] = into;
    return into;
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
      const ahead = horizonsS.map((_, h) => load(h));
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
      const p50 = horizonsS.map((_, h) => load(h).reduce((a, b) => a + b, 0));
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

/** A step's value stands for its middle. */
export function horizonSeconds(stepS: number, steps: readonly number[]): number[] {
  return steps.map((ahead) => (ahead - 0.5) * stepS);
}
