/** The engine on one task of the plan, and what its answer is held against. */
import type { BatchExpert } from '../../src/forecast/batch-expert.ts';
import { SeriesRun } from '../../src/forecast/run-series.ts';
import { addScore, type ContextScale, contextScale, type ScoreSums } from '../../src/forecast/scores.ts';
import type { Plan, Task } from './tasks.ts';

export interface EngineAnswer {
  truth: Float64Array;
  scale: ContextScale;
  /** `quantiles[q][h]`, as the plan's quantiles are. */
  quantiles: Float64Array[];
  /** p90 of the maximum over each of the plan's windows. */
  maxima: { window: number; p90: number }[];
}

export function engineAnswer(plan: Plan, task: Task, experts: readonly BatchExpert[]): EngineAnswer {
  const context = numbersOf(task.context);
  const run = new SeriesRun(
    {
      id: task.task,
      t0: task.t0,
      step_s: task.step_s,
      v: context,
      covariates: new Map(),
      events: [],
      censored: new Set(),
    },
    { windows: plan.maxOver, batchExperts: experts },
  );
  run.advance(context.length);
  const { quantiles, maxima } = run.forecast(plan.horizon, plan.quantiles);
  const p90 = plan.quantiles.indexOf(0.9);
  return {
    truth: numbersOf(task.truth),
    scale: contextScale(context, task.season),
    quantiles,
    maxima: plan.maxOver.map((window, w) => ({ window, p90: maxima[w]![p90]! })),
  };
}

export function addEngine(sums: ScoreSums, plan: Plan, answer: EngineAnswer): void {
  addScore(sums, answer.truth, answer.quantiles, plan.quantiles, answer.scale, answer.maxima);
}

function numbersOf(from: (number | null)[]): Float64Array {
  return Float64Array.from(from, (value) => value ?? Number.NaN);
}
