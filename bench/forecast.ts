/**
 * The engine against the classics on public series, by the plan that was fixed beforehand (forecast/plan.json).
 *
 *   node --conditions=skein-source bench/forecast.ts --traces FOLDER --answers FILE [--experts-only] [--cached] [--json]
 *
 * The classics are R's forecast package (Debian: r-cran-forecast, r-cran-jsonlite): seasonal naive, theta, ETS, stlf with
 * ETS and with ARIMA, MSTL, auto.arima; and, from npm, augurs' ETS and MSTL. They take half an hour to hours, so their
 * answers go to FILE and are not computed again; --cached computes no more. Where one failed or took longer than its
 * limit on more than a tenth of a set, it is left out there. Ratios are to the best classic of a set, by the score in
 * question.
 */
import { spawnSync } from 'node:child_process';
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { networkExpert } from '../src/forecast/network/expert.ts';
import {
  addScore,
  type ContextScale,
  emptyScore,
  meansOf,
  type ScoreMeans,
  type ScoreSums,
} from '../src/forecast/scores.ts';
import { augursMethods } from './forecast/augurs.ts';
import { addEngine, engineAnswer } from './forecast/engine.ts';
import { readPlan, type Task, tasksOf } from './forecast/tasks.ts';
import { formatMachine, machineFacts } from './lib/machine.ts';

const { values } = parseArgs({
  options: {
    traces: { type: 'string' },
    answers: { type: 'string' },
    'experts-only': { type: 'boolean', default: false },
    cached: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
  },
});
if (!values.traces || !values.answers) throw new Error('give --traces FOLDER and --answers FILE');
/** A classic that answered less of a set, because it failed or took too long, is not compared with there. */
const ANSWERED_SHARE_MIN = 0.9;
const AUGURS = 'augurs_';
const machine = machineFacts();
const plan = readPlan();
const tasks = tasksOf(plan, values.traces);
if (!values.cached) runClassics();
const classics = readClassics();
const experts = values['experts-only'] ? [] : [networkExpert()];

const sets = new Map<
  string,
  { engine: ScoreSums; classics: Map<string, ScoreSums>; tasks: number; blown: number }
>();
for (const task of tasks) {
  const set = sets.get(task.set) ?? { engine: emptyScore(3), classics: new Map(), tasks: 0, blown: 0 };
  sets.set(task.set, set);
  set.tasks++;
  const answer = engineAnswer(plan, task, experts);
  const { truth, scale } = answer;
  addEngine(set.engine, plan, answer);
  const own = alone(truth, answer.quantiles, scale);
  for (const [method, quantiles] of classics.get(task.task) ?? []) {
    const sums = set.classics.get(method) ?? emptyScore(3);
    set.classics.set(method, sums);
    // What a classic offers for the maximum: the highest of its p90's path.
    const paths = plan.maxOver.map((window) => ({
      window,
      p90: Math.max(...quantiles[1]!.slice(0, window)),
    }));
    addScore(sums, truth, quantiles, plan.quantiles, scale, paths);
    if (method === 'snaive' && own > 10 * alone(truth, quantiles, scale)) set.blown++;
  }
}

const rows = [...sets].map(([name, { engine, classics: others, tasks: count, blown }]) => {
  const mine = meansOf(engine);
  const found = [...others]
    .map(([method, sums]) => ({ method, means: meansOf(sums) }))
    .filter(({ means }) => means.forecasts >= ANSWERED_SHARE_MIN * count);
  // The aim is held against R's; augurs is another column, so that the aim stays what it was.
  const ofR = found.filter(({ method }) => !method.startsWith(AUGURS));
  const ofAugurs = found.filter(({ method }) => method.startsWith(AUGURS));
  const best = (of: (means: ScoreMeans) => number) => Math.min(...ofR.map(({ means }) => of(means)));
  const strongest = ofR.reduce((a, b) => (b.means.sql < a.means.sql ? b : a));
  return {
    set: name,
    tasks: count,
    best: strongest.method,
    answered: strongest.means.forecasts,
    sql: mine.sql / best((means) => means.sql),
    first: mine.sqlFirst / best((means) => means.sqlFirst),
    mase: mine.mase / best((means) => means.mase),
    p90: mine.coverage[1]!,
    p99: mine.coverage[2]!,
    maximum: mine.maximumLoss / best((means) => means.maximumLoss),
    maximumCovered: mine.maximumCoverage,
    /** Against the better of augurs' models; NaN where both answered too little. */
    augurs: ofAugurs.length > 0 ? mine.sql / Math.min(...ofAugurs.map(({ means }) => means.sql)) : Number.NaN,
    blown,
  };
});
const main = rows.filter((row) => row.set !== 'young');
const mean = (of: (row: (typeof rows)[number]) => number) =>
  Math.exp(main.reduce((sum, row) => sum + Math.log(of(row)), 0) / main.length);
const summary = {
  sql: mean((row) => row.sql),
  worst: Math.max(...main.map((row) => row.sql)),
  first: mean((row) => row.first),
  mase: mean((row) => row.mase),
  maximum: mean((row) => row.maximum),
  augurs: mean((row) => row.augurs),
  blown: rows.reduce((sum, row) => sum + row.blown, 0),
};
if (values.json) process.stdout.write(`${JSON.stringify({ machine, rows, summary })}\n`);
else {
  const percent = (share: number) => `${(100 * share).toFixed(1)} %`;
  process.stdout.write(`${formatMachine(machine)}\n\n`);
  process.stdout.write(
    '| set | tasks | best classic | sQL | first 15 | MASE | below p90 | below p99 | maximum | covered | sQL to augurs |\n|---|---|---|---|---|---|---|---|---|---|---|\n',
  );
  for (const row of rows)
    process.stdout.write(
      `| ${row.set} | ${row.tasks} | ${row.best} (${row.answered}) | ${row.sql.toFixed(2)} | ${row.first.toFixed(2)} | ${row.mase.toFixed(2)} | ${percent(row.p90)} | ${percent(row.p99)} | ${row.maximum.toFixed(2)} | ${percent(row.maximumCovered)} | ${row.augurs.toFixed(2)} |\n`,
    );
  process.stdout.write(
    `\ngeometric means without young: sQL ${summary.sql.toFixed(3)}, worst set ${summary.worst.toFixed(2)}, first 15 ${summary.first.toFixed(3)}, MASE ${summary.mase.toFixed(3)}, maximum ${summary.maximum.toFixed(2)}, to augurs ${summary.augurs.toFixed(3)}; ${summary.blown} tasks above 10 x seasonal naive\n`,
  );
}

function alone(truth: Float64Array, quantiles: ArrayLike<number>[], scale: ContextScale): number {
  const sums = emptyScore(3);
  addScore(sums, truth, quantiles, plan.quantiles, scale);
  return meansOf(sums).sql;
}

function runClassics(): void {
  const folder = mkdtempSync(join(tmpdir(), 'skein-forecast-bench-'));
  try {
    const file = join(folder, 'tasks.jsonl');
    writeFileSync(file, tasks.map((task) => JSON.stringify(task)).join('\n'));
    const script = join(import.meta.dirname, 'forecast', 'classics.R');
    const { status, error } = spawnSync('Rscript', [script, file, values.answers!], { stdio: 'inherit' });
    if (status !== 0)
      throw new Error(`Rscript ended with ${status ?? error?.message}: is r-cran-forecast installed?`);
    runAugurs();
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function runAugurs(): void {
  const answered = readClassics();
  const methods = Object.entries(augursMethods());
  for (const task of tasks)
    for (const [name, answer] of methods)
      if (!answered.get(task.task)?.has(name))
        appendFileSync(values.answers!, `${JSON.stringify(answer(task))}\n`);
}

function readClassics(): Map<Task['task'], Map<string, number[][]>> {
  const found = new Map<string, Map<string, number[][]>>();
  if (!existsSync(values.answers!)) return found;
  for (const line of readFileSync(values.answers!, 'utf8').split('\n')) {
    if (line === '') continue;
    const answer = JSON.parse(line) as {
      task: string;
      method: string;
      q?: Record<string, (number | null)[]>;
    };
    if (answer.q === undefined) continue;
    const quantiles = plan.quantiles.map((level) => answer.q![String(level)]!);
    if (quantiles.some((path) => path.some((value) => value === null))) continue;
    const methods = found.get(answer.task) ?? new Map<string, number[][]>();
    methods.set(answer.method, quantiles as number[][]);
    found.set(answer.task, methods);
  }
  return found;
}
