/**
 * What true covariates (temperature, humidity, wind, weather, holidays, working days) add on the public series `bikeshare`:
 * the same engine on the same tasks with and without them. Those of the horizon are known, as a calendar is and as a
 * weather forecast nearly is.
 *
 *   node --conditions=skein-source bench/forecast-covariates.ts --traces FOLDER [--origins 8] [--experts-only] [--json]
 *
 * Context, horizon, and with 8 origins the origins too, are those of forecast/plan.json.
 */
import { parseArgs } from 'node:util';
import { networkExpert } from '../src/forecast/network/expert.ts';
import { SeriesRun } from '../src/forecast/run-series.ts';
import { addScore, contextScale, emptyScore, meansOf } from '../src/forecast/scores.ts';
import { readPlan, readTraces, type Trace } from './forecast/tasks.ts';
import { formatMachine, machineFacts } from './lib/machine.ts';

const { values } = parseArgs({
  options: {
    traces: { type: 'string' },
    origins: { type: 'string', default: '8' },
    'experts-only': { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
  },
});
if (!values.traces) throw new Error('give --traces FOLDER');
const plan = readPlan();
const set = plan.sets.find(({ name }) => name === 'bikeshare')!;
const context = set.context as number;
const traces = readTraces(values.traces, 'bikeshare');
const covariates = traces.filter(({ metric }) => metric === 'covariate');
const loads = traces.filter(({ metric }) => metric === set.metric);
const experts = values['experts-only'] ? [] : [networkExpert()];
const origins = Number(values.origins);

const rows = [...loads.map(({ id }) => id), 'all'].map((id) => ({
  id,
  without: emptyScore(plan.quantiles.length),
  with: emptyScore(plan.quantiles.length),
}));
for (const load of loads)
  for (let k = 0; k < origins; k++) {
    const from = Math.floor(((load.v.length - context - plan.horizon) * k) / Math.max(1, origins - 1));
    const v = numbersOf(load, from, context);
    const truth = numbersOf(load, from + context, plan.horizon);
    const scale = contextScale(v, set.season);
    for (const which of ['without', 'with'] as const) {
      const known = new Map(
        which === 'with'
          ? covariates.map((one) => [one.id, numbersOf(one, from, context + plan.horizon)])
          : [],
      );
      const run = new SeriesRun(
        {
          id: load.id,
          t0: load.t0 + from * load.step_s,
          step_s: load.step_s,
          v,
          covariates: known,
          events: [],
          censored: new Set(),
        },
        { windows: [], batchExperts: experts },
      );
      run.advance(context);
      const { quantiles } = run.forecast(plan.horizon, plan.quantiles);
      for (const row of rows)
        if (row.id === load.id || row.id === 'all')
          addScore(row[which], truth, quantiles, plan.quantiles, scale);
    }
  }

const report = rows.map((row) => {
  const [without, with_] = [meansOf(row.without), meansOf(row.with)];
  return {
    id: row.id,
    tasks: without.forecasts,
    without: without.sql,
    with: with_.sql,
    ratio: with_.sql / without.sql,
    p90: with_.coverage[1]!,
    p99: with_.coverage[2]!,
  };
});
const machine = machineFacts();
if (values.json) process.stdout.write(`${JSON.stringify({ machine, report })}\n`);
else {
  process.stdout.write(`${formatMachine(machine)}\n\n`);
  process.stdout.write(
    '| series | tasks | sQL without | with | ratio | below p90 | below p99 |\n|---|---|---|---|---|---|---|\n',
  );
  for (const row of report)
    process.stdout.write(
      `| ${row.id} | ${row.tasks} | ${row.without.toFixed(4)} | ${row.with.toFixed(4)} | ${row.ratio.toFixed(2)} | ${(100 * row.p90).toFixed(1)} % | ${(100 * row.p99).toFixed(1)} % |\n`,
    );
}

function numbersOf(trace: Trace, from: number, count: number): Float64Array {
  return Float64Array.from(trace.v.slice(from, from + count), (value) => value ?? Number.NaN);
}
