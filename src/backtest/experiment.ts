/**
 * A whole comparison: for every seed the load, tuning on the earlier days, every policy at every headroom on the later
 * ones, and the comparison at equal dollars.
 *
 * The smoothing of `reactive` comes from the tuning days alone; `predictive` is not tuned. A generator, so that the driver
 * can show progress; deterministic for a scenario and its series.
 */
import { type Verdict, verdict } from './compare.ts';
import type { ClusterModel } from './model.ts';
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
