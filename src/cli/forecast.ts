/**
 * `skein forecast run` and `skein forecast backtest`: the engine over recorded series, without a cluster. A bad line is
 * named with its number and its reason, the others go on, and the exit status says that there was one.
 */
import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { type Command, InvalidArgumentError } from 'commander';
import {
  addOrigins,
  type BacktestRow,
  type BacktestSums,
  emptyBacktest,
  finishBacktest,
} from '../forecast/backtest-series.ts';
import type { BatchExpert } from '../forecast/batch-expert.ts';
import { type SeriesAnswer, SeriesRun } from '../forecast/run-series.ts';
import { parseSeries, type SeriesRecord } from '../forecast/series-record.ts';
import { WATCHED_STEPS } from '../forecast/watch.ts';
import { jsonOption, optionsOf } from './context.ts';
import { CliError, EXIT } from './errors.ts';
import { checkOutput } from './files.ts';
import { wholeNumber } from './numbers.ts';
import { type LineSource, lineWriter, readFailure, readLines } from './series-lines.ts';
import { table } from './table.ts';

const HORIZON_MAX = 10_000;
const PROGRESS_EVERY_MS = 1_000;
/** Digits of a forecast: more say nothing, and make the output twice as large. */
const DIGITS = 6;
const QUANTILES_USUAL = [0.5, 0.9, 0.99];
const LEVELS_MAX = 99;
/** Levels nearer to 0 and 1: nobody has seen enough to speak of them. */
const LEVEL_MIN = 1e-6;

interface RunOptions {
  input: string;
  output: string;
  horizon: number;
  quantiles?: number[];
  maxOver?: number[];
  expertsOnly?: boolean;
  model?: string;
}

interface BacktestOptions {
  input: string;
  horizon: number;
  origins: number;
  expertsOnly?: boolean;
  model?: string;
}

export function addForecastCommands(program: Command): void {
  const forecast = program.commands.find((command) => command.name() === 'forecast')!;
  forecast
    .command('run')
    .description(
      'forecast recorded series: JSON Lines in, quantiles out, by the engine that the controller runs',
    )
    .requiredOption('--input <file>', 'one series a line, plain or gzip; - is standard input')
    .requiredOption('--horizon <steps>', 'steps ahead, 10000 at most', wholeNumber(1, HORIZON_MAX))
    .option('--quantiles <levels>', 'comma-separated, between 0 and 1 (default: 0.5,0.9,0.99)', levels)
    .option(
      '--max-over <steps>',
      'windows whose maximum is forecast, comma-separated, such as 15,60',
      windows,
    )
    .option('--output <file>', 'where forecasts go; - is standard output', '-')
    .option('--experts-only', 'without the trained network: faster, somewhat less exact')
    .option('--model <file>', 'an ONNX model of your own beside it, described by <file>.json')
    .action(async (options: RunOptions) => {
      await checkOutput(options.output, [options.input]);
      const { horizon, quantiles = QUANTILES_USUAL, maxOver = [] } = options;
      const asked = { horizon, quantiles, maxOver };
      const experts = await batchExperts(options);
      const writer = lineWriter(options.output);
      const bad = await eachSeries(options.input, async (record) => {
        const { line, notes } = forecastLine(record, asked, experts);
        for (const note of notes) process.stderr.write(`${note}\n`);
        await writer.write(line);
      });
      await writer.end();
      for (const expert of experts) await expert.close?.();
      if (bad > 0) process.exitCode = EXIT.failed;
    });
  jsonOption(forecast.command('backtest'))
    .description('score the engine on recorded series from rolling origins, against seasonal naive')
    .requiredOption('--input <file>', 'one series a line, plain or gzip; - is standard input')
    .requiredOption('--horizon <steps>', 'steps ahead, 10000 at most', wholeNumber(1, HORIZON_MAX))
    .option('--origins <count>', 'points of each series to forecast from', wholeNumber(1, 1_000), 4)
    .option('--experts-only', 'without the trained network: faster, somewhat less exact')
    .option('--model <file>', 'an ONNX model of your own beside it, described by <file>.json')
    .action(async (options: BacktestOptions, command: Command) => {
      const experts = await batchExperts(options);
      const sums = emptyBacktest(options.horizon);
      let skipped = 0;
      const bad = await eachSeries(options.input, (record) => {
        if (!addOrigins(sums, record, options.horizon, options.origins, experts)) skipped++;
      });
      for (const expert of experts) await expert.close?.();
      const rows = finishBacktest(sums);
      const found = {
        horizon: options.horizon,
        origins: options.origins,
        series: sums.series,
        skipped,
        bad,
        fellBack: sums.fellBack,
        scores: rows,
      };
      if (optionsOf(command).json) process.stdout.write(`${JSON.stringify(found)}\n`);
      else process.stdout.write(backtestText(rows, sums, skipped));
      if (bad > 0) process.exitCode = EXIT.failed;
    });
}

/** The trained network, and the user's own model; both loaded only where they are wanted. */
async function batchExperts(options: {
  expertsOnly?: boolean;
  model?: string;
}): Promise<(BatchExpert & { close?: () => Promise<void> | void })[]> {
  const found: (BatchExpert & { close?: () => Promise<void> | void })[] = [];
  if (!options.expertsOnly) found.push((await import('../forecast/network/expert.ts')).networkExpert());
  if (options.model === undefined) return found;
  const { onnxExpert } = await import('../forecast/network/onnx.ts');
  try {
    const described = JSON.parse(await readFile(`${options.model}.json`, 'utf8')) as {
      contextSteps: number;
      horizonSteps: number[];
      quantiles: number[];
    };
    found.push(await onnxExpert({ ...described, model: options.model, name: basename(options.model) }));
  } catch (error) {
    throw new CliError(`the model ${options.model} cannot be used: ${(error as Error).message}`, {
      next: `${options.model}.json holds {"contextSteps", "horizonSteps", "quantiles"}; onnxruntime-node must be installed`,
    });
  }
  return found;
}

/** @returns how many lines were bad */
async function eachSeries(
  path: string,
  use: (record: SeriesRecord) => Promise<void> | void,
): Promise<number> {
  const source = await readLines(path);
  const progress = progressOf(source);
  let bad = 0;
  try {
    for await (const { number, text } of source.lines) {
      if (text.trim() === '') continue;
      try {
        await use(parseSeries(text));
      } catch (error) {
        if (!(error instanceof RangeError)) throw error;
        bad++;
        process.stderr.write(`line ${number}: ${error.message}\n`);
      }
      progress.line();
    }
  } catch (error) {
    if (error instanceof CliError) throw error;
    throw readFailure(path, error as Error);
  } finally {
    progress.end();
  }
  if (bad > 0) process.stderr.write(`${bad} ${bad === 1 ? 'line was' : 'lines were'} left out\n`);
  return bad;
}

function progressOf(source: LineSource): { line: () => void; end: () => void } {
  const shown = process.stderr.isTTY;
  let count = 0;
  let lastMs = performance.now();
  return {
    line() {
      count++;
      if (!shown || performance.now() - lastMs < PROGRESS_EVERY_MS) return;
      lastMs = performance.now();
      const share = source.bytes ? ` (${Math.round((100 * source.bytesRead()) / source.bytes)} %)` : '';
      process.stderr.write(`\r${count} series${share}`);
    },
    end() {
      if (shown) process.stderr.write(`\r${' '.repeat(40)}\r`);
    },
  };
}

/** One series' line of the output, and what is said of it on standard error. */
export function forecastLine(
  record: SeriesRecord,
  options: { horizon: number; quantiles: readonly number[]; maxOver: readonly number[] },
  experts: readonly BatchExpert[],
): { line: string; notes: string[] } {
  const run = new SeriesRun(record, { windows: options.maxOver, batchExperts: experts });
  run.advance(record.v.length);
  const answer = run.forecast(options.horizon, options.quantiles);
  const byLevel = (values: (q: number) => unknown) =>
    Object.fromEntries(options.quantiles.map((level, q) => [String(level), values(q)]));
  const fallsBack = answer.fallsBack.map(({ ahead, lossAgainstNaive }) => ({
    ahead,
    lossAgainstNaive: rounded(lossAgainstNaive),
  }));
  const line = JSON.stringify({
    id: record.id,
    t0: answer.t0,
    step_s: record.step_s,
    quantiles: byLevel((q) => Array.from(answer.quantiles[q]!, rounded)),
    ...(options.maxOver.length > 0 && {
      max: Object.fromEntries(
        options.maxOver.map((steps, w) => [String(steps), byLevel((q) => rounded(answer.maxima[w]![q]!))]),
      ),
    }),
    ...(fallsBack.length > 0 && { fallsBack }),
  });
  return { line, notes: fallsBack.length > 0 ? [fallbackNote(record.id, answer, options.horizon)] : [] };
}

function fallbackNote(id: string, { fallsBack }: SeriesAnswer, horizon: number): string {
  const where = fallsBack.map(({ ahead, lossAgainstNaive }) => {
    const last = Math.min(horizon, (WATCHED_STEPS.find((steps) => steps > ahead) ?? Infinity) - 1);
    const steps = last > ahead ? `${ahead} to ${last} steps` : ahead === 1 ? '1 step' : `${ahead} steps`;
    return `${steps} ahead (${lossAgainstNaive.toFixed(2)} times its loss)`;
  });
  return `series ${id}: falls back to seasonal naive, which was clearly better: ${where.join(', ')}`;
}

function rounded(value: number): number {
  return Number(value.toPrecision(DIGITS));
}

function backtestText(
  rows: BacktestRow[],
  { series, horizon, fellBack }: BacktestSums,
  skipped: number,
): string {
  const lines = rows.map((row) => [
    row.metric,
    String(row.engine.forecasts),
    row.engine.sql.toFixed(3),
    row.naive.sql.toFixed(3),
    // Of zeros both are right.
    row.naive.sql > 0 ? (row.engine.sql / row.naive.sql).toFixed(2) : '-',
    row.engine.sqlFirst.toFixed(3),
    row.engine.mase.toFixed(2),
    row.naive.mase.toFixed(2),
    ...row.engine.coverage.slice(1).map((share) => `${(100 * share).toFixed(1)} %`),
  ]);
  let note = skipped > 0 ? `; ${skipped} were too short` : '';
  if (fellBack > 0) note += `; ${fellBack} forecasts fell back to seasonal naive at some horizons`;
  return `${table(
    ['METRIC', 'FORECASTS', 'SQL', 'NAIVE', 'RATIO', 'FIRST 15', 'MASE', 'NAIVE', 'BELOW P90', 'BELOW P99'],
    lines,
    'no series was long enough',
  )}${series} series, ${horizon} steps ahead${note}; below 1 the engine is better than seasonal naive\n`;
}

function levels(text: string): number[] {
  const found = text.split(',').map(Number);
  if (found.length > LEVELS_MAX || found.some((level) => !(level >= LEVEL_MIN && level <= 1 - LEVEL_MIN)))
    throw new InvalidArgumentError(
      `Write up to ${LEVELS_MAX} levels between 0 and 1, such as 0.5,0.9,0.99 (from ${LEVEL_MIN} to ${1 - LEVEL_MIN}).`,
    );
  return found;
}

function windows(text: string): number[] {
  const found = text.split(',').map(Number);
  if (found.length > 8 || found.some((steps) => !Number.isInteger(steps) || steps < 1 || steps > HORIZON_MAX))
    throw new InvalidArgumentError(
      `Write up to 8 whole numbers of steps from 1 to ${HORIZON_MAX}, such as 15,60.`,
    );
  return found;
}
