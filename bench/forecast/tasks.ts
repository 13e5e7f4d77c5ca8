/**
 * Cuts the tasks of the plan out of the public series: a context, and the truth after it.
 *
 * Same plan, same series: same tasks. Boundary: reads the traces folder in place; copies nothing into the repository.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';

export interface SetPlan {
  name: string;
  files: string[];
  /** Steps seen; several: one after the other, a series each. */
  context: number | number[];
  /** What the classics are told of the season, in steps; 1: none. */
  season: number;
  series: number;
  origins: number;
  metric?: string;
}

export interface Plan {
  horizon: number;
  firstSteps: number;
  maxOver: number[];
  quantiles: number[];
  sets: SetPlan[];
}

export interface Task {
  task: string;
  set: string;
  /** Which of the set's origins, from 0. */
  origin: number;
  /** Unix seconds of the first value of the context. */
  t0: number;
  step_s: number;
  season: number;
  context: (number | null)[];
  truth: (number | null)[];
}

export interface Trace {
  id: string;
  metric: string;
  t0: number;
  step_s: number;
  v: (number | null)[];
}

export function readPlan(): Plan {
  return JSON.parse(readFileSync(join(import.meta.dirname, 'plan.json'), 'utf8')) as Plan;
}

export function readTraces(folder: string, file: string): Trace[] {
  return gunzipSync(readFileSync(join(folder, `${file}.jsonl.gz`)))
    .toString('utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Trace);
}

/** @param more takes so many times as many series: for tuning on more than the classics were run on */
export function tasksOf(plan: Plan, folder: string, more = 1): Task[] {
  return plan.sets.flatMap((set) => tasksOfSet(set, plan.horizon, folder, more));
}

function tasksOfSet(set: SetPlan, horizon: number, folder: string, more: number): Task[] {
  const contexts = Array.isArray(set.context) ? set.context : [set.context];
  const longest = Math.max(...contexts);
  const traces = set.files
    .flatMap((file) => readTraces(folder, file).map((trace) => ({ ...trace, id: `${file}/${trace.id}` })))
    .filter((trace) => set.metric === undefined || trace.metric === set.metric)
    .filter((trace) => trace.v.length >= longest + horizon)
    .map((trace) => ({ trace, order: createHash('sha256').update(trace.id).digest('hex') }))
    .sort((a, b) => (a.order < b.order ? -1 : 1))
    .slice(0, set.series * more);
  return traces.flatMap(({ trace }, s) => {
    const context = contexts[s % contexts.length]!;
    const room = trace.v.length - context - horizon;
    const found: Task[] = [];
    for (let k = 0; k < set.origins; k++) {
      const from = set.origins === 1 ? room : Math.floor((room * k) / (set.origins - 1));
      const task: Task = {
        task: `${set.name}|${trace.id}|${from}`,
        set: set.name,
        origin: k,
        t0: trace.t0 + from * trace.step_s,
        step_s: trace.step_s,
        season: set.season,
        context: trace.v.slice(from, from + context),
        truth: trace.v.slice(from + context, from + context + horizon),
      };
      const known = task.context.filter((value) => value !== null).length;
      // Neither a forecast of nothing nor one that cannot be held against anything.
      if (known >= context / 2 && task.truth.some((value) => value !== null)) found.push(task);
    }
    return found;
  });
}
