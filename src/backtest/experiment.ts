/**
 * A whole comparison: for every seed the load, tuning on the earlier days, every policy at every headroom on the later
 * ones, and the comparison at equal dollars.
 *
 * The smoothing of `reactive` comes from the tuning days alone; `predictive` is not tuned. A generator, so that the driver
 * can show progress; deterministic for a scenario and its series.
 */
import {
  compareSeed,
  FIXED,
  frontier,
  minutesAt,
  type SeedComparison,
  type Verdict,
  verdict,
} from './compare.ts';
import { isPlanned } from './forecasters.ts';
import { generate } from './generate.ts';
import type { ClusterModel, PolicyId, RunResult } from './model.ts';
import { leadSeconds, learn, replay } from './run.ts';
import type { Scenario } from './scenario.ts';
import type { Series } from './series.ts';
import { makeWorkload, type Workload } from './workload.ts';

/** Smoothing tried for `reactive`, in steps: from the last value to a good part of a day of 5-minute steps. */
const HALF_LIVES_STEPS = [0.2, 3, 24] as const;
/** Headrooms of a scenario that tuning tries: every other one, which is enough to tell smoothings apart. */
const TUNING_STRIDE = 2;
/** Run-in before counting begins, seconds: where shards began must not matter. */
const RUN_IN_S = 6 * 3600;

export interface SeedReport extends SeedComparison {
  runs: RunResult[];
  reactiveHalfLifeS: number;
}

export interface Report {
  scenario: Scenario;
  shards: number;
  steps: number;
  stepS: number;
  scoredDays: number;
  leadS: number;
  seeds: SeedReport[];
  verdict: Verdict;
  /** Total requests a second by step of the first seed, from the first step that counts. */
  load: { stepS: number; requestsPerSecond: number[] };
}

export interface Progress {
  /** From 0 to 1 over all. */
  share: number;
  text: string;
}

/**
 * @param series traces; absent: the scenario's generator
 * @throws RangeError where the load cannot be replayed, with the reason
 */
export function* experiment(
  scenario: Scenario,
  model: ClusterModel,
  series?: readonly Series[],
): Generator<Progress, Report> {
  const reports: SeedReport[] = [];
  for (let k = 1; k <= scenario.seeds; k++) {
    const steps = seedReport(scenario, model, String(k), series);
    for (;;) {
      const next = steps.next();
      if (next.done) {
        reports.push(next.value);
        break;
      }
      yield {
        share: (k - 1 + next.value.share) / scenario.seeds,
        text: `seed ${k} of ${scenario.seeds}, ${next.value.text}`,
      };
    }
  }
  return reportOf(scenario, model, reports, series);
}

/**
 * One seed of an experiment by itself: seeds know nothing of each other, so they may be run at any time and in any order.
 *
 * @throws RangeError as {@link experiment}
 */
export function seedReport(
  scenario: Scenario,
  model: ClusterModel,
  seed: string,
  series?: readonly Series[],
): Generator<Progress, SeedReport> {
  const workload = workloadOf(scenario, model, seed, series);
  return runSeed(scenario, model, workload, spanOf(scenario, workload), seed);
}

/** What the seeds say together. @param reports at least one */
export function reportOf(
  scenario: Scenario,
  model: ClusterModel,
  reports: SeedReport[],
  series?: readonly Series[],
): Report {
  const workload = workloadOf(scenario, model, reports[0]!.seed, series);
  const span = spanOf(scenario, workload);
  return {
    scenario,
    shards: workload.shards.length,
    steps: workload.steps,
    stepS: workload.stepS,
    scoredDays: ((span.to - span.score) * workload.stepS) / 86_400,
    leadS: leadSeconds(model, workload, scenario.peakNodes * model.nodeCpu),
    seeds: reports,
    verdict: verdict(reports, scenario.expectedReduction),
    load: totals(workload, span),
  };
}

interface Span {
  /** Nodes and moves of tuning, its counting, those of the scored part, its counting, the end. */
  tuneFrom: number;
  tune: number;
  from: number;
  score: number;
  to: number;
}

function spanOf(scenario: Scenario, workload: Workload): Span {
  const runIn = Math.max(1, Math.round(RUN_IN_S / workload.stepS));
  const score = Math.floor(workload.steps * scenario.learnShare);
  const tune = Math.floor(score / 2);
  const span = {
    tuneFrom: Math.max(1, tune - runIn),
    tune,
    from: Math.max(1, score - runIn),
    score,
    to: workload.steps,
  };
  if (span.tune <= span.tuneFrom || span.score <= span.tune + 1 || span.to <= span.score + 1)
    throw new RangeError(
      `${workload.steps} steps are too few to learn from, tune on and score; give at least some days`,
    );
  return span;
}

export function workloadOf(
  scenario: Scenario,
  model: ClusterModel,
  seed: string,
  series?: readonly Series[],
): Workload {
  const load = series
    ? cut(series, scenario.days)
    : generate({
        generator: scenario.generator ?? 'synchronised',
        seed,
        tenants: scenario.tenants,
        days: scenario.days,
        stepS: scenario.stepS ?? 300,
        noise: scenario.noise,
      });
  return makeWorkload(load, {
    seed,
    regions: scenario.regions,
    shards: scenario.shards === undefined ? undefined : Math.max(scenario.shards, load.length),
    homeShare: scenario.homeShare,
    followTheSun: scenario.followTheSun,
    zipf: scenario.zipf,
    noise: scenario.noise,
    sizePower: scenario.sizePower,
    peakCpu: scenario.peakNodes * model.nodeCpu,
    // A quarter of a node: four of the largest fit on one, or placement is a question of bin sizes.
    shardCpuMax: model.nodeCpu / 4,
    cpuSecondsPerRequest: model.cpuSecondsPerRequest,
    stateBytes: scenario.stateGb * 1e9,
    stateBytesSpread: scenario.stateSpread,
    stepS: scenario.stepS,
  });
}

/** The first days of each series. */
function cut(series: readonly Series[], days: number): Series[] {
  return series.map((one) => ({
    ...one,
    values: one.values.subarray(0, Math.ceil((days * 86_400) / one.stepS)),
  }));
}

/** How long a policy's runs take beside others, in steps of one planned arm: what the progress is measured in. */
function workOf(policy: PolicyId, headrooms: number, steps: number, network = false): number {
  if (!isPlanned(policy)) return 0.03 * headrooms * steps;
  if (policy !== 'predictive') return (headrooms + 0.5) * steps;
  return (headrooms + (network ? 8 : 3)) * steps;
}

function* runSeed(
  scenario: Scenario,
  model: ClusterModel,
  workload: Workload,
  span: Span,
  seed: string,
): Generator<Progress, SeedReport> {
  const headroomsOf = (policy: PolicyId) =>
    FIXED.has(policy) ? scenario.fixedHeadrooms : scenario.headrooms;
  const tuningHeadrooms = scenario.headrooms.filter((_, i) => i % TUNING_STRIDE === 0);
  const tuningWork = workOf('reactive', tuningHeadrooms.length, span.score - span.tuneFrom);
  const works = scenario.policies.map((policy) =>
    workOf(policy, headroomsOf(policy).length, span.to - span.from, scenario.network),
  );
  const jobs = works.reduce((a, b) => a + b, HALF_LIVES_STEPS.length * tuningWork);
  let done = 0;
  const learnt = learn(model, workload, 0, span.score);
  const run = function* (
    policy: PolicyId,
    headrooms: readonly number[],
    from: number,
    score: number,
    to: number,
    halfLifeS: number,
    weight: number,
    text: string,
  ): Generator<Progress, RunResult[]> {
    const steps = replay({
      policy,
      model,
      workload,
      headrooms,
      fromStep: from,
      scoreFromStep: score,
      toStep: to,
      halfLifeS,
      network: scenario.network,
      learnt,
    });
    for (;;) {
      const next = steps.next();
      if (next.done) {
        done += weight;
        return next.value;
      }
      yield { share: (done + weight * next.value) / jobs, text };
    }
  };
  // Tuned on the earlier days.
  const tuned: { halfLifeS: number; runs: RunResult[] }[] = [];
  for (const halfLifeSteps of HALF_LIVES_STEPS) {
    const halfLifeS = halfLifeSteps * workload.stepS;
    const runs = yield* run(
      'reactive',
      tuningHeadrooms,
      span.tuneFrom,
      span.tune,
      span.score,
      halfLifeS,
      tuningWork,
      `tuning reactive (${halfLifeS} s)`,
    );
    tuned.push({ halfLifeS, runs });
  }
  const best = bestTuned(tuned);
  const runs: RunResult[] = [];
  for (const [i, policy] of scenario.policies.entries()) {
    const headrooms = headroomsOf(policy);
    runs.push(
      ...(yield* run(policy, headrooms, span.from, span.score, span.to, best.halfLifeS, works[i]!, policy)),
    );
  }
  const accepted = (scenario.accepted * (span.to - span.score) * workload.stepS) / 60;
  return { ...compareSeed(seed, runs, accepted), runs, reactiveHalfLifeS: best.halfLifeS };
}

/** The smoothing with the fewest minutes over nine amounts of dollars that all can spend. */
function bestTuned(tuned: readonly { halfLifeS: number; runs: RunResult[] }[]) {
  const lines = tuned.map(({ runs }) => frontier(runs));
  const low = Math.max(...lines.map((line) => line[0]!.usd));
  const high = Math.max(low, ...lines.map((line) => line.at(-1)!.usd));
  let best = tuned[0]!;
  let least = Number.POSITIVE_INFINITY;
  lines.forEach((line, i) => {
    let sum = 0;
    for (let k = 0; k < 9; k++)
      sum += minutesAt(line, low + ((high - low) * k) / 8) ?? Number.POSITIVE_INFINITY;
    if (sum < least) {
      least = sum;
      best = tuned[i]!;
    }
  });
  return best;
}

function totals(workload: Workload, span: Span): Report['load'] {
  const rates = new Float64Array(workload.shards.length * workload.regions.length);
  const requestsPerSecond: number[] = [];
  for (let step = span.score; step < span.to; step++) {
    workload.fill(step, rates);
    let sum = 0;
    for (const rate of rates) sum += rate;
    requestsPerSecond.push(sum);
  }
  return { stepS: workload.stepS, requestsPerSecond };
}
