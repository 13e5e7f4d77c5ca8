/**
 * The optimiser against its certified bound and against nearest-feasible greedy: the table of docs/placement.md.
 *
 * Each case: a fresh instance; the same again with its placement (moves must be 0); 5 % jitter on every rate and load; a
 * swing of 25 % (half the regions up, half down, drawn); a lost node. One thread; seconds of wall clock and of CPU, since
 * machines are shared. Memory is what is kept after the solve (heap and array buffers, collected; needs --expose-gc), less before
 * the instance, a shard; and the greatest resident size so far, less the one before, which is right for a process' first case.
 *
 * Run: node bench/placement.ts [--sizes 10000x100,100000x1000] [--seeds 10 | 2,5,] [--utilisations .5,.6,.7] [--json FILE]
 */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import {
  costOf,
  type Generated,
  generateInstance,
  type InstanceShard,
  nearestFeasible,
  type Problem,
  ProblemBuilder,
  repair,
  type SolveResult,
  solve,
} from '../src/placement/index.ts';
import { SeededDraws } from '../src/placement/instance/random.ts';

export interface Row {
  shards: number;
  nodes: number;
  utilisation: number;
  seed: number;
  gap: number;
  gapOverGreedy: number;
  freshS: number;
  freshCpuS: number;
  warmS: number;
  warmCpuS: number;
  twiceMoves: number;
  jitterMovedShare: number;
  swingGap: number;
  swingMovedShare: number;
  swingS: number;
  swingCpuS: number;
  repairMs: number;
  bytesPerShard: number;
  peakBytesPerShard: number;
}

function build({ header, shards }: Generated, change?: (shard: InstanceShard) => void): Problem {
  const builder = new ProblemBuilder(header);
  for (const shard of shards()) {
    change?.(shard);
    builder.add(shard);
  }
  return builder.build().problem;
}

/** Scales an origin's rates, and the loads that follow from them. */
function scaled(shard: InstanceShard, factor: (origin: string) => number): void {
  let before = 0;
  let after = 0;
  for (const rates of [shard.commandsPerSecond, shard.queriesPerSecond])
    for (const origin in rates) {
      const by = factor(origin);
      rates[origin] = rates[origin]!.map((rate) => {
        before += rate;
        after += rate * by;
        return rate * by;
      });
    }
  const by = before > 0 ? after / before : 1;
  for (const load of shard.load)
    for (const name of ['cpu', 'network'] as const)
      load[name] = [load[name][0] * by, load[name][1] * by * by];
}

function timed<Value>(work: () => Value): { value: Value; s: number; cpuS: number } {
  const cpu = process.cpuUsage();
  const at = performance.now();
  const value = work();
  const s = (performance.now() - at) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  return { value, s, cpuS: (user + system) / 1e6 };
}

function kept(): number {
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

const gapOf = ({ cost, lowerBound }: SolveResult) => (cost.total - lowerBound) / lowerBound;

export function run(shards: number, nodes: number, utilisation: number, seed: number): Row {
  globalThis.gc?.();
  const resident = process.memoryUsage.rss();
  const before = kept();
  const generated = generateInstance({ shards, nodes, seed, utilisation });
  const problem = build(generated);
  const fresh = timed(() => solve(problem, { seed }));
  globalThis.gc?.();
  const bytesPerShard = (kept() - before) / shards;
  const peakBytesPerShard = (1024 * process.resourceUsage().maxRSS - resident) / shards;
  const { place, cost, lowerBound } = fresh.value;
  const greedy = costOf(problem, nearestFeasible(problem)).total;
  const replicas = 2 * shards;
  problem.start = place;
  const twice = timed(() => solve(problem, { seed }));
  const repaired = timed(() => {
    const start = place.map((n) => (n === 1 ? -1 : n));
    const open = problem.open.map((is, n) => (n === 1 ? 0 : is));
    return repair({ ...problem, start, open }, seed);
  });
  const jitter = new SeededDraws(`jitter/${seed}`);
  const noise = () => 1 + 0.05 * (2 * jitter.next() - 1);
  const jittered = build(generated, (shard) => scaled(shard, noise));
  jittered.start = place;
  const jitterResult = solve(jittered, { seed });
  const swings = new SeededDraws(`swing/${seed}`);
  const factors = new Map(generated.header.regions.map((name) => [name, swings.next() < 0.5 ? 0.75 : 1.25]));
  const swung = build(generated, (shard) => scaled(shard, (origin) => factors.get(origin)!));
  swung.start = place;
  const swing = timed(() => solve(swung, { seed }));
  return {
    shards,
    nodes,
    utilisation,
    seed,
    gap: gapOf(fresh.value),
    gapOverGreedy: (cost.total - lowerBound) / (greedy - lowerBound),
    freshS: fresh.s,
    freshCpuS: fresh.cpuS,
    warmS: twice.s,
    warmCpuS: twice.cpuS,
    twiceMoves: twice.value.moved + twice.value.promoted,
    jitterMovedShare: jitterResult.moved / replicas,
    swingGap: gapOf(swing.value),
    swingMovedShare: swing.value.moved / replicas,
    swingS: swing.s,
    swingCpuS: swing.cpuS,
    repairMs: 1000 * repaired.s,
    bytesPerShard,
    peakBytesPerShard,
  };
}

/** `10`: the first ten; `2,5,`: those. */
function seedsOf(given: string): number[] {
  if (!given.includes(',')) return Array.from({ length: Number(given) }, (_, i) => i + 1);
  return given
    .split(',')
    .filter((seed) => seed !== '')
    .map(Number);
}

function main(): void {
  const { values } = parseArgs({
    options: {
      sizes: { type: 'string', default: '10000x100' },
      seeds: { type: 'string', default: '10' },
      utilisations: { type: 'string', default: '.5,.6,.7' },
      json: { type: 'string' },
    },
  });
  const rows: Row[] = [];
  for (const size of values.sizes.split(','))
    for (const utilisation of values.utilisations.split(',').map(Number))
      for (const seed of seedsOf(values.seeds)) {
        const [shards, nodes] = size.split('x').map(Number);
        const row = run(shards!, nodes!, utilisation, seed);
        rows.push(row);
        const percent = (share: number) => `${(100 * share).toFixed(2)} %`;
        console.log(
          `${size} at ${utilisation} seed ${seed}: gap ${percent(row.gap)} (over greedy ${percent(row.gapOverGreedy)}), fresh ${row.freshS.toFixed(1)} s (CPU ${row.freshCpuS.toFixed(1)}), warm ${row.warmS.toFixed(2)} s (CPU ${row.warmCpuS.toFixed(2)}), twice ${row.twiceMoves} moves, jitter ${percent(row.jitterMovedShare)}, swing gap ${percent(row.swingGap)} moved ${percent(row.swingMovedShare)} in ${row.swingS.toFixed(2)} s (CPU ${row.swingCpuS.toFixed(2)}), node lost ${row.repairMs.toFixed(0)} ms, ${row.bytesPerShard.toFixed(0)} B a shard kept, ${row.peakBytesPerShard.toFixed(0)} B at most`,
        );
      }
  if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(rows, undefined, 1)}\n`);
}

if (process.argv[1]?.endsWith('placement.ts')) main();
