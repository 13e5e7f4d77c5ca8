/**
 * `skein backtest`: what moving ahead of load would have saved, on published scenarios or one's own metrics.
 *
 * Reads files and Prometheus, runs the experiment on worker threads so that progress shows and Ctrl-C works, writes the report.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { gunzipSync } from 'node:zlib';
import { type Command, InvalidArgumentError } from 'commander';
import {
  clusterOf,
  DEFAULT_SCENARIO,
  POLICY_IDS,
  parseCsv,
  parseJsonLines,
  parseScenario,
  type Report,
  reportPage,
  SCENARIOS,
  type Scenario,
  ScenarioError,
  type Series,
  TraceError,
} from '../backtest/index.ts';
import { listText, reportText } from './backtest-output.ts';
import { queryRange } from './backtest-prometheus.ts';
import { experimentOnThreads } from './backtest-threads.ts';
import { jsonOption, optionsOf, output } from './context.ts';
import { CliError, EXIT } from './errors.ts';
import { checkOutput } from './files.ts';
import { number, wholeNumber } from './numbers.ts';
import { readFailure } from './series-lines.ts';

/** Threads unless told otherwise, where there are as many cores. */
const THREADS_USUAL_MAX = 8;
/** Text of one file: what a string of the engine may hold. */
const TEXT_BYTES_MAX = 500e6;

interface Options {
  list?: boolean;
  scenario?: string;
  traces?: string[];
  prometheus?: string;
  query?: string;
  start?: string;
  end?: string;
  step?: number;
  metric?: string;
  shards?: number;
  stateGb?: number;
  regions?: string;
  origins?: string;
  homeShare?: number;
  followTheSun?: boolean;
  peakNodes?: number;
  nodeUsdPerHour?: number;
  nodeStart?: number;
  standbys?: number;
  objectiveMs?: number;
  days?: number;
  seeds?: number;
  policies?: string;
  headrooms?: number[];
  network?: boolean;
  threads?: number;
  report?: string;
  json?: boolean;
  quiet?: boolean;
}

export function addBacktestCommand(program: Command): void {
  jsonOption(program.command('backtest'))
    .description('replay policies over load in virtual time: what moving ahead of load would have saved')
    .option('--list', 'the published scenarios, with what was expected of each')
    .option('--scenario <name|file>', 'a published scenario by name, or a JSON file of parameters')
    .option('--traces <files...>', 'your load: CSV or JSON Lines, gzipped or not; one series is a tenant')
    .option('--prometheus <url>', 'your load: a range query of a Prometheus server; with --query')
    .option('--query <promql>', 'such as: sum by (tenant) (rate(http_requests_total[5m]))')
    .option('--start <time>', 'of the range, ISO 8601 or Unix seconds; default: 14 days before the end')
    .option('--end <time>', 'of the range; default: now')
    .option('--step <seconds>', 'length of a step', number(1, 86_400))
    .option('--metric <name>', 'only series of this metric, where the files name one')
    .option('--shards <count>', 'shards; more than series: each series is split', wholeNumber(1, 100_000))
    .option('--state-gb <gigabytes>', 'mean state of a shard', number(0, 10_000))
    .option('--regions <names>', 'regions with nodes, comma separated')
    .option('--origins <file>', 'CSV `id,origin`: the region that each series has its users in')
    .option('--home-share <share>', "share of a shard's users in its home region", number(0, 1))
    .option('--follow-the-sun', "read each origin's load at its local time of day")
    .option('--peak-nodes <count>', 'nodes that the busiest step fills', number(0.1, 10_000))
    .option('--node-usd-per-hour <usd>', 'price of a node', number(0, 10_000))
    .option('--node-start <seconds>', 'until a new node takes shards', number(0, 86_400))
    .option('--standbys <count>', 'copies of each shard on another node, 0 or 1', number(0, 1))
    .option('--objective-ms <ms>', 'what the 99th percentile should stay below', number(1, 1e6))
    .option('--days <count>', 'only the first days', number(0.1, 400))
    .option('--seeds <count>', 'how often, with other homes, sizes and noise', wholeNumber(1, 100))
    .option('--policies <names>', `comma separated, of ${POLICY_IDS.join(', ')}`)
    .option('--headrooms <shares>', 'shares of a node that may be used, comma separated', headrooms)
    .option('--no-network', 'forecast without the trained network: faster, and less than a controller knows')
    .option('--threads <count>', 'worker threads; default: one a core, 8 at most', wholeNumber(1, 256))
    .option('--report <file>', 'write a page with plots (.html)')
    .option('--quiet', 'no progress')
    .action(async (_options, command: Command) => {
      const options = optionsOf<Options>(command);
      if (options.list) {
        output(command, { scenarios: SCENARIOS }, () => listText(SCENARIOS));
        return;
      }
      refuseIdle(options);
      if (options.report !== undefined) await checkOutput(options.report, options.traces ?? []);
      const series = await readSeries(options);
      const scenario = scenarioOf(options, series);
      if (scenario.trace !== undefined && series === undefined)
        throw usage(`the scenario ${scenario.name} is about a real trace, which is not part of the product`, {
          why: `it is series ${scenario.trace} of a file in JSON Lines`,
          next: `give the file: skein backtest --scenario ${scenario.name} --traces FILE --metric ${scenario.trace.slice(scenario.trace.indexOf('/') + 1)}`,
        });
      const report = await drive(scenario, series, options);
      if (options.report !== undefined) writeReport(options.report, report);
      output(command, report, () => reportText(report, options.report));
    });
}

/** Options that would do nothing: they were meant for something. */
function refuseIdle(options: Options): void {
  const needs = (names: (keyof Options)[], what: string, next: string) => {
    for (const name of names)
      if (options[name] !== undefined) throw usage(`--${name} does nothing without ${what}`, { next });
  };
  if (options.prometheus === undefined)
    needs(['start', 'end'], '--prometheus', 'leave it out; --days N takes the first days of files');
  if (options.prometheus === undefined && options.traces === undefined)
    needs(['metric', 'origins'], '--traces or --prometheus', 'leave it out, or give your own load');
}

async function readSeries(options: Options): Promise<Series[] | undefined> {
  if (options.traces !== undefined && options.prometheus !== undefined)
    throw usage('--traces and --prometheus cannot be given together', { next: 'choose one source of load' });
  let series: Series[] | undefined;
  if (options.traces !== undefined) series = options.traces.flatMap(readTraces);
  else if (options.prometheus !== undefined) {
    if (options.query === undefined)
      throw usage('--prometheus needs --query', {
        next: "add one, such as --query 'sum by (tenant) (rate(http_requests_total[5m]))'",
      });
    series = await queryRange({
      url: options.prometheus,
      query: options.query,
      start: options.start,
      end: options.end,
      stepS: options.step ?? 300,
    });
  } else if (options.query !== undefined)
    throw usage('--query needs --prometheus', { next: 'add --prometheus http://host:9090' });
  if (series === undefined) return undefined;
  const wanted = options.metric;
  if (wanted !== undefined) {
    const metrics = [...new Set(series.map((one) => one.metric ?? '(none)'))];
    series = series.filter((one) => one.metric === wanted);
    if (series.length === 0)
      throw new CliError(`no series has the metric ${JSON.stringify(wanted)}`, {
        next: `choose one of ${metrics.slice(0, 20).join(', ')}`,
      });
  }
  refuseTwice(series);
  if (options.origins !== undefined) series = withOrigins(series, options.origins);
  return longOnes(series);
}

/** One name is one tenant, whatever file it comes from. */
function refuseTwice(series: readonly Series[]): void {
  const metrics = new Map<string, string | undefined>();
  for (const { id, metric } of series) {
    if (metrics.has(id) && metrics.get(id) !== metric)
      throw new CliError(`the series ${JSON.stringify(id)} is there with several metrics`, {
        next: `choose one: --metric ${[metrics.get(id), metric].filter((name) => name !== undefined).join(' or --metric ')}`,
      });
    if (metrics.has(id))
      throw new CliError(`the series ${JSON.stringify(id)} is in two files`, {
        next: 'give each series a name of its own, or each file once',
      });
    metrics.set(id, metric);
  }
}

/** Series that cover less than half of what the longest covers would shorten all of them. */
function longOnes(series: Series[]): Series[] {
  const longest = series.reduce((most, one) => Math.max(most, one.values.length * one.stepS), 0);
  const kept = series.filter((one) => one.values.length * one.stepS >= longest / 2);
  if (kept.length < series.length)
    process.stderr.write(
      `${series.length - kept.length} of ${series.length} series are left out: they cover less than half of the time\n`,
    );
  return kept;
}

function readTraces(file: string): Series[] {
  const content = readText(file);
  const jsonLines = /\.(jsonl|ndjson|json)(\.gz)?$/.test(file) || content.trimStart().startsWith('{');
  try {
    const series = jsonLines ? parseJsonLines(content) : parseCsv(content);
    if (series.length === 0)
      throw new CliError(`${file} holds no series`, { next: 'see docs/backtest.md for the formats' });
    return series;
  } catch (error) {
    if (!(error instanceof TraceError)) throw error;
    throw new CliError(`${file}, ${error.message}`, {
      next: 'correct the line; docs/backtest.md describes the formats',
      cause: error,
    });
  }
}

function readText(file: string): string {
  let bytes: Buffer;
  try {
    bytes = readFileSync(file);
  } catch (error) {
    throw new CliError(`${file} cannot be read`, {
      why: (error as Error).message,
      next: 'give the path of a file',
    });
  }
  try {
    // gzip is told by its first bytes, whatever the name says.
    return (isGzip(bytes) ? gunzipSync(bytes, { maxOutputLength: TEXT_BYTES_MAX }) : bytes).toString();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ERR_STRING_TOO_LONG' || code === 'ERR_BUFFER_TOO_LARGE')
      throw new CliError(`${file} holds more than ${TEXT_BYTES_MAX / 1e6} MB of text`, {
        next: 'split it into several files: --traces takes more than one',
      });
    throw readFailure(file, error as Error);
  }
}

function isGzip(bytes: Buffer): boolean {
  return bytes[0] === 0x1f && bytes[1] === 0x8b;
}

function withOrigins(series: readonly Series[], file: string): Series[] {
  const origins = new Map<string, string>();
  readText(file)
    .split(/\r?\n/)
    .forEach((line, i) => {
      if (line.trim() === '' || (i === 0 && /^id\s*,/.test(line))) return;
      const comma = line.lastIndexOf(',');
      if (comma <= 0)
        throw new CliError(`${file}, line ${i + 1}: expected \`id,origin\`, found ${JSON.stringify(line)}`);
      origins.set(line.slice(0, comma).trim(), line.slice(comma + 1).trim());
    });
  return series.map((one) => ({ ...one, origin: origins.get(one.id) ?? one.origin }));
}

/** The scenario of the command line: a published one, a file or the defaults, with what the options say. */
function scenarioOf(options: Options, series: readonly Series[] | undefined): Scenario {
  let base = DEFAULT_SCENARIO;
  const named = options.scenario;
  if (named !== undefined) {
    const published = SCENARIOS.find((one) => one.name === named);
    if (published) base = published;
    else if (/[./]/.test(named)) base = scenarioFile(named);
    else
      throw usage(`there is no scenario ${JSON.stringify(named)}`, {
        next: `choose one of ${SCENARIOS.map((one) => one.name).join(', ')}, or give a file`,
      });
  } else if (series === undefined)
    throw usage('nothing to replay', {
      next: 'give --scenario NAME (see --list), --traces FILE, or --prometheus URL --query PROMQL',
    });
  const given: Record<string, unknown> = {};
  const set = (name: keyof Scenario, value: unknown) => {
    if (value !== undefined) given[name] = value;
  };
  if (series !== undefined && named === undefined) {
    given.name = options.prometheus === undefined ? options.traces!.join(', ') : options.query!;
    given.days = 400;
  }
  set('shards', options.shards);
  set('stepS', options.step);
  set('stateGb', options.stateGb);
  set(
    'regions',
    options.regions?.split(',').map((name) => name.trim()),
  );
  set('homeShare', options.homeShare);
  set('followTheSun', options.followTheSun);
  set('peakNodes', options.peakNodes);
  set('days', options.days);
  set('seeds', options.seeds);
  set(
    'policies',
    options.policies?.split(',').map((name) => name.trim()),
  );
  // The default is the scenario's, which may go without as well.
  if (options.network === false) given.network = false;
  set('headrooms', options.headrooms);
  const cluster: Record<string, unknown> = {};
  if (options.nodeStart !== undefined) cluster.nodeStartS = options.nodeStart;
  if (options.standbys !== undefined) cluster.standbys = options.standbys;
  if (options.objectiveMs !== undefined) cluster.objectiveMs = options.objectiveMs;
  if (Object.keys(cluster).length > 0) given.cluster = cluster;
  try {
    const scenario = parseScenario(given, base);
    for (const one of series ?? [])
      if (one.origin !== undefined && !scenario.regions.includes(one.origin))
        throw new ScenarioError(
          `the series ${JSON.stringify(one.id)} has its users in ${JSON.stringify(one.origin)}, which is not one of the regions ${scenario.regions.join(', ')}`,
        );
    return scenario;
  } catch (error) {
    if (error instanceof ScenarioError)
      throw usage(error.message, { next: 'see `skein backtest --help` and docs/backtest.md' });
    throw error;
  }
}

function scenarioFile(file: string): Scenario {
  const content = readText(file);
  try {
    return parseScenario(JSON.parse(content));
  } catch (error) {
    throw new CliError(`${file}: ${(error as Error).message}`, {
      next: 'docs/backtest.md lists the parameters',
      cause: error,
    });
  }
}

async function drive(
  scenario: Scenario,
  series: readonly Series[] | undefined,
  options: Options,
): Promise<Report> {
  const showing = process.stderr.isTTY === true && !options.quiet;
  const startedMs = performance.now();
  const data = { scenario, model: clusterOf(scenario, options.nodeUsdPerHour), series };
  try {
    const report = await experimentOnThreads(data, options.threads ?? threadsUsual(), ({ share, text }) => {
      if (showing) process.stderr.write(`\r\u001b[K${bar(share, performance.now() - startedMs)} ${text}`);
    });
    if (showing) process.stderr.write('\r\u001b[K');
    return report;
  } catch (error) {
    if (showing) process.stderr.write('\n');
    if (error instanceof RangeError)
      throw new CliError(error.message, { next: 'see docs/backtest.md for what load and options must be' });
    throw error;
  }
}

/** Every core, as far as memory for the load of each thread is no question. */
function threadsUsual(): number {
  return Math.min(THREADS_USUAL_MAX, availableParallelism());
}

function bar(share: number, tookMs: number): string {
  const width = 24;
  const full = Math.round(width * share);
  const leftS = share > 0.02 ? `, ${Math.ceil((tookMs * (1 - share)) / share / 1000)} s left` : '';
  return `[${'#'.repeat(full)}${'.'.repeat(width - full)}] ${(100 * share).toFixed(0)} %${leftS}`;
}

function headrooms(text: string): number[] {
  const found = text.split(',').map((one) => (one.trim() === '' ? Number.NaN : Number(one)));
  if (found.some((share) => !(share >= 0.05 && share <= 1)))
    throw new InvalidArgumentError('Write shares from 0.05 to 1, such as 0.45,0.7.');
  return found;
}

function writeReport(file: string, report: Report): void {
  try {
    writeFileSync(file, reportPage(report));
  } catch (error) {
    throw new CliError(`the report ${file} cannot be written`, { why: (error as Error).message });
  }
}

function usage(message: string, more: { why?: string; next?: string }): CliError {
  return new CliError(message, { ...more, exitCode: EXIT.usage });
}
