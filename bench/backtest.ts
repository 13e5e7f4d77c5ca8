/**
 * The published scenarios of `skein backtest`, and what came of each beside what was expected; real traces where they are.
 *
 *   node --conditions=skein-source bench/backtest.ts [--scenarios a,b] [--seeds 3] [--traces ../shared/traces] [--json FILE]
 *     [--set '{"days":4,"learnShare":0.75}']   other parameters: what comes of it is no figure of the published scenario
 *
 * A real trace is a file `<name>.jsonl.gz` of series; of those of the scenario's metric, the ones that cover 90 % of the
 * scenario's days. Figures are of virtual time and depend on the seeds alone; `cpu s` is this machine's.
 */
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { gunzipSync } from 'node:zlib';
import {
  clusterOf,
  experiment,
  parseJsonLines,
  parseScenario,
  SCENARIOS,
  type Series,
} from '../src/backtest/index.ts';
import { intervalText } from '../src/cli/backtest-output.ts';
import { formatMachine, machineFacts } from './lib/machine.ts';

const { values } = parseArgs({
  options: {
    scenarios: { type: 'string' },
    seeds: { type: 'string', default: '3' },
    traces: { type: 'string', default: join(import.meta.dirname, '..', '..', 'shared', 'traces') },
    json: { type: 'string' },
    set: { type: 'string', default: '{}' },
  },
});

function readTrace(trace: string, days: number): Series[] | undefined {
  const slash = trace.indexOf('/');
  const file = join(values.traces, `${trace.slice(0, slash)}.jsonl.gz`);
  if (!existsSync(file)) return undefined;
  const metric = trace.slice(slash + 1);
  const series = parseJsonLines(gunzipSync(readFileSync(file)).toString()).filter(
    (one) => one.metric === metric,
  );
  return series.filter((one) => one.values.length * one.stepS >= 0.9 * days * 86_400);
}

const wanted = values.scenarios?.split(',');
const chosen = SCENARIOS.filter(({ name }) => wanted === undefined || wanted.includes(name));
console.log(formatMachine(machineFacts()));
console.log(
  '| scenario | lead | best without foresight | yesterday | predictive | oracle | to be gained | fewer minutes | of the oracle`s gain | expected | cpu s |'.replace(
    '`',
    "'",
  ),
);
console.log('|---|---|---|---|---|---|---|---|---|---|---|');
for (const published of chosen) {
  const scenario = parseScenario({ ...JSON.parse(values.set), seeds: Number(values.seeds) }, published);
  const series = scenario.trace === undefined ? undefined : readTrace(scenario.trace, published.days);
  if (scenario.trace !== undefined && series === undefined) {
    console.log(`| ${scenario.name} | its trace ${scenario.trace} is not in ${values.traces} |`);
    continue;
  }
  const before = process.cpuUsage();
  const steps = experiment(scenario, clusterOf(scenario), series);
  let next = steps.next();
  while (!next.done) next = steps.next();
  const report = next.value;
  const { reduction, captured, available } = report.verdict;
  const mean = (pick: (seed: (typeof report.seeds)[number]) => number | undefined) => {
    const found = report.seeds.map(pick).filter((value) => value !== undefined);
    return found.length === 0 ? '-' : (found.reduce((a, b) => a + b, 0) / found.length).toFixed(1);
  };
  const names = [...new Set(report.seeds.map((seed) => seed.bestNonPredictivePolicy))].join(', ');
  const [from, to] = scenario.expectedReduction!;
  const cpuS = process.cpuUsage(before).user / 1e6;
  console.log(
    `| ${scenario.name} | ${Math.round(report.leadS)} s | ${mean((seed) => seed.bestNonPredictive)} min (${names}) | ${mean((seed) => seed.minutes.seasonalNaive)} | ${mean((seed) => seed.minutes.predictive)} | ${mean((seed) => seed.minutes.oracle)} | ${intervalText(available)} | ${intervalText(reduction)} | ${intervalText(captured)} | ${100 * from} to ${100 * to} % | ${cpuS.toFixed(0)} |`,
  );
  if (values.json) appendFileSync(values.json, `${JSON.stringify(report)}\n`);
}
