/**
 * The published scenarios of `skein backtest`, and what came of each beside what was expected; real traces where they are.
 *
 *   node --conditions=skein-source bench/backtest.ts [--scenarios a,b] [--seeds 3] [--traces ../shared/traces] [--json FILE]
 *     [--results DIR]   keeps every finished seed as DIR/<scenario>.<seed>.json, and runs only those that are not there
 *     [--threads 1]     a seed's policies beside each other; changes no figure but the wall clock
 *     [--only-kept]     runs nothing: the table of the seeds that are there
 *     [--set '{"days":4,"learnShare":0.75}']   other parameters: what comes of it is no figure of the published scenario
 *
 * `--seeds` is how many, from seed 1; `--seed 2` is that one alone. A real trace is a file `<name>.jsonl.gz` of series; of those of the
 * scenario's metric, the ones that cover 90 % of the scenario's days. Figures are of virtual time and depend on the seeds alone;
 * `cpu s` is this machine's.
 */
import { appendFileSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { gunzipSync } from 'node:zlib';
import {
  clusterOf,
  compareSeed,
  parseJsonLines,
  parseScenario,
  reportOf,
  SCENARIOS,
  type Scenario,
  type SeedReport,
  SeedRun,
  type Series,
} from '../src/backtest/index.ts';
import { intervalText } from '../src/cli/backtest-output.ts';
import { PartPool } from '../src/cli/backtest-threads.ts';
import { formatMachine, machineFacts } from './lib/machine.ts';

const { values } = parseArgs({
  options: {
    scenarios: { type: 'string' },
    seeds: { type: 'string', default: '3' },
    seed: { type: 'string' },
    traces: { type: 'string', default: join(import.meta.dirname, '..', '..', 'shared', 'traces') },
    json: { type: 'string' },
    results: { type: 'string' },
    threads: { type: 'string', default: '1' },
    'only-kept': { type: 'boolean', default: false },
    set: { type: 'string', default: '{}' },
  },
});

/** A finished seed as it is kept. */
interface Kept {
  /** Less `seeds`, how many of them were asked for: seeds know nothing of each other. */
  scenario: Omit<Scenario, 'seeds'>;
  cpuS: number;
  report: SeedReport;
}

const seeds = values.seed
  ? [values.seed]
  : Array.from({ length: Number(values.seeds) }, (_, i) => String(i + 1));

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

async function runSeed(scenario: Scenario, seed: string, series: Series[] | undefined): Promise<Kept> {
  const before = process.cpuUsage();
  const model = clusterOf(scenario);
  const run = new SeedRun(scenario, model, seed, series);
  const pool = new PartPool({ scenario, model, series }, Number(values.threads), run.work);
  const report = await pool.seed(run);
  await pool.close();
  const { seeds: _seeds, ...rest } = scenario;
  return { scenario: rest, cpuS: process.cpuUsage(before).user / 1e6, report };
}

/** The kept seed, or a run of it that is kept; undefined where nothing is to be run. */
async function seedOf(
  scenario: Scenario,
  seed: string,
  series: Series[] | undefined,
): Promise<Kept | undefined> {
  const file = values.results && join(values.results, `${scenario.name}.${seed}.json`);
  if (file && existsSync(file)) {
    const kept = JSON.parse(readFileSync(file, 'utf8')) as Kept;
    const { seeds: _seeds, ...rest } = scenario;
    if (JSON.stringify(kept.scenario) !== JSON.stringify(rest))
      throw new Error(`${file} is of the scenario with other parameters: name another folder`);
    // Runs are kept, and what they are compared by may have changed since.
    const { runs } = kept.report;
    const accepted = (scenario.accepted * runs[0]!.scoredS) / 60;
    return { ...kept, report: { ...kept.report, ...compareSeed(seed, runs, accepted) } };
  }
  if (values['only-kept']) return undefined;
  const kept = await runSeed(scenario, seed, series);
  if (file) {
    mkdirSync(values.results!, { recursive: true });
    writeFileSync(`${file}.part`, JSON.stringify(kept));
    renameSync(`${file}.part`, file);
  }
  return kept;
}

const wanted = values.scenarios?.split(',');
const chosen = SCENARIOS.filter(({ name }) => wanted === undefined || wanted.includes(name));
console.log(formatMachine(machineFacts()));
console.log(
  "| scenario | seeds | lead | best without foresight | yesterday | predictive | oracle | to be gained | fewer minutes | of the oracle's gain | expected | comes back | cpu s a seed |",
);
console.log('|---|---|---|---|---|---|---|---|---|---|---|---|---|');
for (const published of chosen) {
  const scenario = parseScenario({ ...JSON.parse(values.set), seeds: seeds.length }, published);
  const series = scenario.trace === undefined ? undefined : readTrace(scenario.trace, published.days);
  if (scenario.trace !== undefined && series === undefined) {
    console.log(`| ${scenario.name} | its trace ${scenario.trace} is not in ${values.traces} |`);
    continue;
  }
  const kept: Kept[] = [];
  for (const seed of seeds) {
    const one = await seedOf(scenario, seed, series);
    if (one !== undefined) kept.push(one);
  }
  if (kept.length === 0) continue;
  const report = reportOf(
    scenario,
    clusterOf(scenario),
    kept.map((one) => one.report),
    series,
  );
  const { reduction, captured, available } = report.verdict;
  const mean = (pick: (seed: SeedReport) => number | undefined) => {
    const found = report.seeds.map(pick).filter((value) => value !== undefined);
    return found.length === 0 ? '-' : (found.reduce((a, b) => a + b, 0) / found.length).toFixed(1);
  };
  const names = [...new Set(report.seeds.map((seed) => seed.bestNonPredictivePolicy))].join(', ');
  const [from, to] = scenario.expectedReduction!;
  const cpuS = kept.reduce((sum, one) => sum + one.cpuS, 0) / kept.length;
  console.log(
    `| ${scenario.name} | ${kept.length} | ${Math.round(report.leadS)} s | ${mean((seed) => seed.bestNonPredictive)} min (${names}) | ${mean((seed) => seed.minutes.seasonalNaive)} | ${mean((seed) => seed.minutes.predictive)} | ${mean((seed) => seed.minutes.oracle)} | ${intervalText(available)} | ${intervalText(reduction)} | ${intervalText(captured)} | ${100 * from} to ${100 * to} % | ${report.load.recurringShare === undefined ? '-' : `${(100 * report.load.recurringShare).toFixed(0)} %`} | ${cpuS.toFixed(0)} |`,
  );
  if (values.json) appendFileSync(values.json, `${JSON.stringify(report)}\n`);
}
