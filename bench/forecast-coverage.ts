/**
 * Whether p90, p99 and the maxima hold what they promise over more origins than the plan's few (forecast/plan.json): its
 * series, contexts and horizon, without the classics.
 *
 *   node --conditions=skein-source bench/forecast-coverage.ts --traces FOLDER [--times 6] [--sets nab,azure] [--experts-only] [--json]
 *
 * A set's first and last origin stay as they are; between two of the plan's come `times - 1` more, up to 48 in all. What is to be
 * foreseen at neighbouring origins overlaps where series are short, and one origin's series often move together: the least and the most by
 * origin show how much of a miss is one moment's.
 */
import { parseArgs } from 'node:util';
import { networkExpert } from '../src/forecast/network/expert.ts';
import { emptyScore, meansOf, type ScoreMeans, type ScoreSums } from '../src/forecast/scores.ts';
import { addEngine, engineAnswer } from './forecast/engine.ts';
import { readPlan, tasksOf } from './forecast/tasks.ts';
import { formatMachine, machineFacts } from './lib/machine.ts';

const { values } = parseArgs({
  options: {
    traces: { type: 'string' },
    times: { type: 'string', default: '6' },
    sets: { type: 'string' },
    'experts-only': { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
  },
});
if (!values.traces) throw new Error('give --traces FOLDER');
/** A run is to take minutes; a set that has more by the plan keeps those. */
const ORIGINS_MAX = 48;
const times = Number(values.times);
const only = values.sets?.split(',');
const plan = readPlan();
const sets = plan.sets
  .filter(({ name }) => only === undefined || only.includes(name))
  .map((set) => ({
    ...set,
    origins: Math.max(set.origins, Math.min(ORIGINS_MAX, (set.origins - 1) * times + 1)),
  }));
const experts = values['experts-only'] ? [] : [networkExpert()];

const rows = sets.map((set) => {
  const all = emptyScore(plan.quantiles.length);
  const byOrigin = new Map<number, ScoreSums>();
  const tasks = tasksOf({ ...plan, sets: [set] }, values.traces!);
  for (const task of tasks) {
    const origin = byOrigin.get(task.origin) ?? emptyScore(plan.quantiles.length);
    byOrigin.set(task.origin, origin);
    const answer = engineAnswer(plan, task, experts);
    addEngine(all, plan, answer);
    addEngine(origin, plan, answer);
  }
  const means = meansOf(all);
  const origins = [...byOrigin.values()].map(meansOf);
  const range = (of: (means: ScoreMeans) => number) => {
    const found = origins.map(of).filter((share) => !Number.isNaN(share));
    return { all: of(means), least: Math.min(...found), most: Math.max(...found) };
  };
  return {
    set: set.name,
    tasks: tasks.length,
    origins: origins.length,
    p90: range(({ coverage }) => coverage[1]!),
    p99: range(({ coverage }) => coverage[2]!),
    maximum: range(({ maximumCoverage }) => maximumCoverage),
  };
});

const machine = machineFacts();
if (values.json) process.stdout.write(`${JSON.stringify({ machine, rows })}\n`);
else {
  const percent = (share: number) => `${(100 * share).toFixed(1)} %`;
  const shown = ({ all, least, most }: (typeof rows)[number]['p90']) =>
    `${percent(all)} | ${percent(least)} to ${percent(most)}`;
  process.stdout.write(`${formatMachine(machine)}\n\n`);
  process.stdout.write(
    '| set | tasks | origins | below p90 | by origin | below p99 | by origin | maxima covered | by origin |\n|---|---|---|---|---|---|---|---|---|\n',
  );
  for (const row of rows)
    process.stdout.write(
      `| ${row.set} | ${row.tasks} | ${row.origins} | ${shown(row.p90)} | ${shown(row.p99)} | ${shown(row.maximum)} |\n`,
    );
}
