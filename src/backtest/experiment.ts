/**
 * A whole comparison: for every seed the load, tuning on the earlier days, every policy at every headroom on the later
 * ones, and the comparison at equal dollars.
 *
 * The smoothing of `reactive` comes from the tuning days alone; `predictive` is not tuned. A generator, so that the driver
 * can show progress; deterministic for a scenario and its series.
 */
import { type Verdict, verdict } from './compare.ts';
import type { ClusterModel } from './model.ts';
import { recurringShare } from './recurring.ts';
import { leadSeconds } from './run.ts';
import type { Scenario } from './scenario.ts';
import {
  type Part,
  type PartResult,
  partText,
  type SeedReport,
  SeedRun,
  type Span,
  spanOf,
  workloadOf,
} from './seed-run.ts';
import type { Series } from './series.ts';
import type { Workload } from './workload.ts';

const DAY_S = 86_400;

export interface Report {
  scenario: Scenario;
  shards: number;
  steps: number;
  stepS: number;
  scoredDays: number;
  leadS: number;
  seeds: SeedReport[];
  verdict: Verdict;
  /**
   * Total requests a second by step of the first seed, from the first step that counts, and how much of its changes within a lead comes back at the
   * same time of day (`recurring.ts`), from 0 to 1; absent where there are too few days to tell.
   */
  load: { stepS: number; requestsPerSecond: number[]; recurringShare?: number | undefined };
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

/** One seed's parts, one after the other. */
function* seedReport(
  scenario: Scenario,
  model: ClusterModel,
  seed: string,
  series?: readonly Series[],
): Generator<Progress, SeedReport> {
  const run = new SeedRun(scenario, model, seed, series);
  let done = 0;
  const all = function* (parts: readonly Part[]): Generator<Progress, PartResult[]> {
    const results: PartResult[] = [];
    for (const part of parts) {
      const steps = run.run(part);
      let next = steps.next();
      for (; !next.done; next = steps.next())
        yield { share: (done + run.workOf(part) * next.value) / run.work, text: partText(part) };
      done += run.workOf(part);
      results.push({ part, runs: next.value });
    }
    return results;
  };
  const tuned = yield* all(run.tuning());
  const scored = yield* all(run.scored(run.tunedHalfLifeS(tuned)));
  return run.report(tuned, scored);
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
  const leadS = leadSeconds(model, workload, scenario.peakNodes * model.nodeCpu);
  const load = loadOf(workload, span, leadS);
  const said = verdict(reports, scenario.expectedReduction);
  return {
    scenario,
    shards: workload.shards.length,
    steps: workload.steps,
    stepS: workload.stepS,
    scoredDays: ((span.to - span.score) * workload.stepS) / 86_400,
    leadS,
    seeds: reports,
    verdict: { ...said, text: [...said.text, ...recurringText(load, leadS)] },
    load,
  };
}

/** How much of the load its own past tells, as a sentence; none where that is not known. */
function recurringText({ stepS, recurringShare: share }: Report['load'], leadS: number): string[] {
  if (share === undefined) return [];
  const steps = leadSteps(leadS, stepS);
  const percent = (100 * share).toFixed(0);
  return [
    `Of the load's changes within ${steps === 1 ? 'a step' : `${steps} steps`}, ${percent} % (of their variance) come back at the same time of day.`,
  ];
}

/** Steps that a change is over: what is decided now acts so late. */
function leadSteps(leadS: number, stepS: number): number {
  return Math.max(1, Math.ceil(leadS / stepS));
}

function loadOf(workload: Workload, span: Span, leadS: number): Report['load'] {
  const rates = new Float64Array(workload.shards.length * workload.regions.length);
  const requestsPerSecond: number[] = [];
  for (let step = 0; step < span.to; step++) {
    workload.fill(step, rates);
    let sum = 0;
    for (const rate of rates) sum += rate;
    requestsPerSecond.push(sum);
  }
  const { stepS } = workload;
  return {
    stepS,
    requestsPerSecond: requestsPerSecond.slice(span.score),
    recurringShare: recurringShare(requestsPerSecond, span.score, DAY_S / stepS, leadSteps(leadS, stepS)),
  };
}
