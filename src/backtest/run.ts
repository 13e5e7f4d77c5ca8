/**
 * Replays one policy over a workload, at several headrooms in one pass: what a forecaster sees and says does not depend
 * on the headroom, so it is asked once a step.
 *
 * The forecaster observes from the first step; nodes and moves begin at `fromStep`, counting at `scoreFromStep`: the run-in
 * forgets where shards began. A generator, so that whoever drives it can show progress and stop.
 */
import type { Controller, Learnt, StepView } from './controller.ts';
import {
  horizonSeconds,
  horizonSteps,
  isPlanned,
  makeForecaster,
  measuredStep,
  regionHorizonSteps,
} from './forecasters.ts';
import type { ClusterModel, PolicyId, RunResult } from './model.ts';
import { makeController } from './policies.ts';
import type { Workload } from './workload.ts';
import { World } from './world.ts';

export interface RunOptions {
  policy: PolicyId;
  model: ClusterModel;
  workload: Workload;
  headrooms: readonly number[];
  /** Nodes and moves from this step on. */
  fromStep: number;
  scoreFromStep: number;
  /** First step that is not replayed any more. */
  toStep: number;
  /** Smoothing of `reactive`, seconds. */
  halfLifeS: number;
  /** `predictive` asks the trained network as well. */
  network: boolean;
  learnt: Learnt;
}

/** Work of a step that is only learnt from, as a share of one that is decided in: for the progress alone. */
const LEARNING_SHARE = 0.5;

/** Seconds from a decision until a new node has half a node's state: what "ahead" must cover. */
export function leadSeconds(model: ClusterModel, workload: Workload, peakCpu: number): number {
  let bytes = 0;
  for (const one of workload.stateBytes) bytes += one;
  const nodes = Math.max(1, peakCpu / (0.7 * model.nodeCpu));
  return model.nodeStartS + model.moveFixedS + bytes / nodes / 2 / model.moveBytesPerSecond;
}

/** Means and peaks of the steps before the scored ones. */
export function learn(model: ClusterModel, workload: Workload, fromStep: number, toStep: number): Learnt {
  const count = workload.regions.length;
  const rates = new Float64Array(workload.shards.length * count);
  const meanRates = new Float64Array(rates.length);
  const peakCpu = new Float64Array(count);
  for (let step = fromStep; step < toStep; step++) {
    workload.fill(step, rates);
    const cpu = new Float64Array(count);
    for (let i = 0; i < rates.length; i++) {
      meanRates[i]! += rates[i]! / (toStep - fromStep);
      cpu[workload.home[Math.floor(i / count)]!]! += rates[i]! * model.cpuSecondsPerRequest;
    }
    for (let r = 0; r < count; r++) peakCpu[r] = Math.max(peakCpu[r]!, cpu[r]!);
  }
  return { meanRates, peakCpu };
}

/** Yields after every step, from 0 to 1; returns one result a headroom. */
export function* replay(options: RunOptions): Generator<number, RunResult[]> {
  const { policy, model, workload, headrooms, fromStep, scoreFromStep, toStep } = options;
  const { halfLifeS, network, learnt } = options;
  const planned = isPlanned(policy);
  const peak = learnt.peakCpu.reduce((a, b) => a + b, 0);
  const near = horizonSteps(workload.stepS, leadSeconds(model, workload, peak));
  const far = workload.regions.length > 1 ? regionHorizonSteps(workload.stepS, near) : [];
  const horizons = [...near, ...far];
  const horizonsS = horizonSeconds(workload.stepS, horizons);
  const forecaster = planned
    ? makeForecaster(policy, model, workload, { halfLifeS, network, horizons, near: near.length })
    : undefined;
  const startS = fromStep * workload.stepS;
  const arms = headrooms.map((headroom) => {
    const world = new World(model, workload, startS);
    return { headroom, world, controller: makeController(policy, world, headroom, learnt) as Controller };
  });
  const buffers = [0, 1].map(() => new Float64Array(workload.shards.length * workload.regions.length));
  const firstStep = policy === 'predictive' ? 0 : fromStep - 1;
  // Steps that are only learnt from are sooner done than those that are decided in.
  const learning = LEARNING_SHARE * (fromStep - 1 - firstStep);
  const all = learning + toStep - fromStep + 1;
  const done = (step: number) =>
    (step < fromStep - 1 ? LEARNING_SHARE * (step - firstStep) : learning + step - fromStep + 2) / all;
  for (let step = firstStep; step < toStep; step++) {
    const rates = buffers[step & 1]!;
    workload.fill(step, rates);
    if (step >= fromStep)
      for (const { world, controller } of arms) {
        world.setRates(rates);
        if (step === scoreFromStep) world.score.active = true;
        const endS = (step + 1) * workload.stepS;
        while (world.advance(endS) === 'ready') controller.nodeReady();
      }
    forecaster?.observe(measuredStep(model, workload, step, rates));
    if (step < fromStep - 1 || step === toStep - 1) {
      if (step % 16 === 0) yield done(step);
      continue;
    }
    const view: StepView = { rates };
    if (forecaster) {
      view.forecasts = forecaster.forecast(workload.shards, horizonsS);
      view.total = forecaster.total(horizonsS.slice(0, near.length));
    }
    for (const { world, controller } of arms) {
      if (step === fromStep - 1) {
        world.setRates(rates);
        controller.begin(view);
        world.putStandbys();
      } else controller.decide(view);
    }
    yield done(step);
  }
  return arms.map(({ world, headroom }) => world.score.result(policy, headroom));
}
