/** `skein placement solve|generate`: the optimiser on files, without a cluster. Formats: docs/placement.md. */
import { type Command, Option } from 'commander';
import {
  type Built,
  check,
  costOf,
  generateInstance,
  InstanceError,
  type InstanceHeader,
  InstanceReader,
  type InstanceShard,
  nearestFeasible,
  ProblemBuilder,
  type SolveResult,
  solve,
  whyPlaced,
} from '../placement/index.ts';
import { jsonOption, optionsOf, output } from './context.ts';
import { CliError, EXIT } from './errors.ts';
import { checkOutput } from './files.ts';
import { number, wholeNumber } from './numbers.ts';
import { lineWriter, readFailure, readLines } from './series-lines.ts';

/** Lines between two words of progress while reading and writing. */
const PROGRESS_LINES = 50_000;
/** A difference below this share of the cost is one of sums of floats. */
const ROUNDING_SHARE = 1e-12;
/** Lines joined into one write. */
const WRITE_LINES = 1_000;

interface SolveFlags {
  input: string;
  output: string;
  seed: string;
  why: 'moved' | 'all' | 'none';
  quiet?: boolean;
}

interface GenerateFlags {
  output: string;
  shards: number;
  nodes: number;
  regions: number;
  steps: number;
  standbys: number;
  seed: string;
  utilisation: number;
  releasable: number;
}

export function addPlacementCommand(program: Command): void {
  const placement = program
    .command('placement')
    .description('where shards should be: solve an instance from a file, or make one');
  jsonOption(placement.command('solve'))
    .requiredOption(
      '--input <file>',
      'instance as JSON Lines, plain or gzip: a header, then a line a shard; - is standard input',
    )
    .requiredOption(
      '--output <file>',
      'placement as JSON Lines: a header, then a line a shard; - is standard output',
    )
    .option('--seed <seed>', 'the same input and seed give the same placement', '0')
    .addOption(
      new Option('--why <which>', 'which shards are explained')
        .choices(['moved', 'all', 'none'])
        .default('moved'),
    )
    .option('--quiet', 'no progress')
    .description('place the shards of a file, with a certified lower bound')
    .action(async (_options, command: Command) => {
      await runSolve(command);
    });
  placement
    .command('generate')
    .requiredOption('--output <file>', 'where the instance goes; - is standard output')
    .option('--shards <count>', 'how many', wholeNumber(1, 5_000_000), 10_000)
    .option('--nodes <count>', 'how many', wholeNumber(1, 50_000), 100)
    .option('--regions <count>', 'of 21 AWS regions', wholeNumber(1, 21), 21)
    .option('--steps <count>', 'steps of the forecast', wholeNumber(1, 6), 3)
    .option('--standbys <count>', 'of each shard', wholeNumber(0, 6), 1)
    .option(
      '--utilisation <share>',
      "mean CPU of the busiest step over all nodes' capacity",
      number(0, 2),
      0.6,
    )
    .option('--releasable <share>', 'share of nodes that the scaler can give back', number(0, 1), 0)
    .option('--seed <seed>', 'the same options and seed give the same file', '1')
    .description('make an instance of the benchmarks')
    .action(async (_options, command: Command) => {
      await runGenerate(optionsOf<GenerateFlags>(command));
    });
}

async function runSolve(command: Command): Promise<void> {
  const flags = optionsOf<SolveFlags>(command);
  const say = (text: string) => {
    if (flags.quiet !== true) process.stderr.write(text);
  };
  await checkOutput(flags.output, [flags.input]);
  const startedMs = performance.now();
  const built = await readInstance(flags.input, say);
  const readMs = performance.now() - startedMs;
  let phase = '';
  const solveFromMs = performance.now();
  const result = solve(built.problem, {
    seed: flags.seed,
    progress(name, share) {
      const now = `${name} ${Math.round(100 * share)} %`;
      if (now !== phase) say(`${now}\n`);
      phase = now;
    },
  });
  const solveMs = performance.now() - solveFromMs;
  const greedy = costOf(built.problem, nearestFeasible(built.problem)).total;
  const checked = check(built.problem, built.names, result.place);
  const { total } = result.cost;
  // Where nothing is left to gain, sums in another order may differ in their last digit.
  const isRounding = Math.abs(total - result.lowerBound) < ROUNDING_SHARE * total;
  const lowerBound = isRounding ? total : result.lowerBound;
  const header = {
    cost: result.cost,
    lowerBound,
    ...gapsOf(total, lowerBound, greedy, checked.feasible),
    moves: result.moved + result.promoted,
  };
  await writeLines(flags.output, placedLines(header, flags, built, result));
  const summary = {
    ...header,
    promotions: result.promoted,
    shards: built.problem.shardCount,
    nodes: built.problem.nodeCount,
    greedyCost: greedy,
    ...checked,
    tookMs: { read: Math.round(readMs), solve: Math.round(solveMs) },
  };
  // Standard output is the placement's where that was asked for.
  if (flags.output === '-') process.stderr.write(textOf(summary));
  else output(command, summary, () => textOf(summary));
  if (!checked.feasible) process.exitCode = EXIT.failed;
}

/**
 * The bound is of feasible placements: what leaves shards out or nodes beyond full may cost less, and no distance from it
 * says anything.
 */
function gapsOf(
  total: number,
  lowerBound: number,
  greedy: number,
  feasible: boolean,
): { gap: number | null; gapOverGreedy: number | null } {
  if (!feasible) return { gap: null, gapOverGreedy: null };
  const above = total - lowerBound;
  return {
    gap: lowerBound > 0 ? above / lowerBound : above > 0 ? null : 0,
    // Greedy may be as good as can be, or leave out what has no room: then there is no distance to compare with.
    gapOverGreedy: greedy > lowerBound ? above / (greedy - lowerBound) : null,
  };
}

async function readInstance(file: string, say: (text: string) => void): Promise<Built> {
  const reader = new InstanceReader();
  let builder: ProblemBuilder | undefined;
  const source = await readLines(file);
  try {
    for await (const { text } of source.lines) {
      if (text.trim() === '') {
        reader.skip();
        continue;
      }
      if (builder === undefined) {
        builder = new ProblemBuilder(reader.header(text));
        continue;
      }
      builder.add(reader.shard(text));
      if (reader.line % PROGRESS_LINES === 0) say(`read ${reader.line} lines\n`);
    }
    // An empty file has no header: say so as of its first line.
    builder ??= new ProblemBuilder(reader.header(''));
    reader.end();
    return builder.build();
  } catch (error) {
    if (error instanceof InstanceError)
      throw new CliError(`${file === '-' ? 'standard input' : file}: ${error.message}`, {
        next: 'docs/placement.md describes every field of an instance',
        exitCode: EXIT.usage,
        cause: error,
      });
    throw readFailure(file, error as Error);
  }
}

function* placedLines(
  header: object,
  flags: SolveFlags,
  { problem, names }: Built,
  result: SolveResult,
): Generator<string> {
  yield JSON.stringify(header);
  for (let s = 0; s < problem.shardCount; s++) {
    const base = s * problem.width;
    const slots = result.place.subarray(base, base + problem.width);
    const why = flags.why === 'none' ? undefined : whyPlaced(result.dual, names, result.place, s);
    yield JSON.stringify({
      id: names.shards[s],
      primary: slots[0]! < 0 ? null : names.nodes[slots[0]!],
      standbyNodes: [...slots.subarray(1)].filter((n) => n >= 0).map((n) => names.nodes[n]),
      why: why !== undefined && (why.moved || flags.why === 'all') ? why.text : undefined,
    });
  }
}

async function writeLines(file: string, lines: Iterable<string>): Promise<void> {
  const writer = lineWriter(file);
  let waiting: string[] = [];
  for (const line of lines) {
    waiting.push(line);
    if (waiting.length < WRITE_LINES) continue;
    await writer.write(waiting.join('\n'));
    waiting = [];
  }
  if (waiting.length > 0) await writer.write(waiting.join('\n'));
  await writer.end();
}

async function runGenerate(flags: GenerateFlags): Promise<void> {
  const { header, shards } = generateInstance({
    shards: flags.shards,
    nodes: flags.nodes,
    regions: flags.regions,
    steps: flags.steps,
    standbys: flags.standbys,
    seed: flags.seed,
    utilisation: flags.utilisation,
    releasableShare: flags.releasable,
  });
  await checkOutput(flags.output);
  await writeLines(flags.output, instanceLines(header, shards()));
}

function* instanceLines(header: InstanceHeader, shards: Iterable<InstanceShard>): Generator<string> {
  yield JSON.stringify(header);
  for (const shard of shards) yield JSON.stringify(shard);
}

function textOf(summary: {
  cost: SolveResult['cost'];
  lowerBound: number;
  gap: number | null;
  gapOverGreedy: number | null;
  moves: number;
  promotions: number;
  shards: number;
  nodes: number;
  feasible: boolean;
  violations: { constraint: string; count: number; examples: string[]; remedy: string }[];
  nodeSized: { shard: string; share: number; neighbours: number }[];
  tookMs: { read: number; solve: number };
}): string {
  const { cost, gap, gapOverGreedy } = summary;
  const usd = (value: number) => `$${value.toFixed(4)}`;
  const found = `${summary.shards} shards on ${summary.nodes} nodes: `;
  const overGreedy =
    gapOverGreedy === null
      ? ''
      : ` (${(100 * gapOverGreedy).toFixed(2)} % of nearest-feasible greedy's distance)`;
  const near = gap === null ? 'above' : `${(100 * gap).toFixed(3)} % above`;
  const lines = [
    summary.feasible
      ? `${found}${usd(cost.total)} an hour, ${near} the certified bound ${usd(summary.lowerBound)}${overGreedy}`
      : `${found}no feasible placement was found; what is placed costs ${usd(cost.total)} an hour`,
    `  ${(['latency', 'egress', 'replication', 'nodes', 'overload', 'moves'] as const).map((name) => `${name} ${usd(cost[name])}`).join(', ')}`,
    `  ${summary.moves} replicas move, ${summary.promotions} of them by promotion; solved in ${(summary.tookMs.solve / 1000).toFixed(2)} s`,
  ];
  for (const { shard, share, neighbours } of summary.nodeSized)
    lines.push(
      `  ${shard} needs ${Math.round(100 * share)} % of the largest node; ${neighbours} other replicas are beside it`,
    );
  for (const violation of summary.violations)
    lines.push(
      `  cannot be kept: ${violation.constraint}, ${violation.count} (${violation.examples.slice(0, 5).join(', ')}${violation.count > 5 ? ', ...' : ''}): ${violation.remedy}`,
    );
  return `${lines.join('\n')}\n`;
}
