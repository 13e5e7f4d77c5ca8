/**
 * The solver against a mixed-integer solver (HiGHS) on 200 shards and 12 nodes in 4 regions.
 *
 * The model is the stated objective with variances of 0 (then a node's quantile is linear in its load: mean times 1 + z g) and
 * overload as the maximum of its tangents, so HiGHS's own bound is one of the objective. Its incumbent is priced by the
 * product's objective, as ours is. Regions are chosen where egress is the same to every other region.
 *
 * Sixty seconds of WebAssembly do not always bring HiGHS to its own gap. With --models DIR the models are only written there, for a
 * native HiGHS; with --incumbents DIR placements are read from there ({ status, place }: node by shard, primary then standby) and
 * those that are missing are found and kept.
 *
 * Run: node bench/placement/highs.ts [--seeds 3] [--utilisations .5,.6,.7] [--seconds 60] [--incumbents DIR] [--models DIR]
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import {
  costOf,
  generateInstance,
  type InstanceShard,
  type Problem,
  ProblemBuilder,
  solve,
} from '../../src/placement/index.ts';
import { regionAllowed } from '../../src/placement/solver/problem.ts';

/** What is used of the package, whose types fit another module system. */
type LoadHighs = () => Promise<{
  solve(model: string, options: object): { Status: string; Columns: Record<string, { Primal?: number }> };
}>;
const loadHighs = createRequire(import.meta.url)('highs') as LoadHighs;

const SHARDS = 200;
const NODES = 12;
const REGIONS = 4;
const TANGENTS = 12;
/** HiGHS stops at this gap of its own. */
const OWN_GAP = 0.001;

function problemOf(seed: number, utilisation: number): Problem {
  const { header, shards } = generateInstance({
    shards: SHARDS,
    nodes: NODES,
    regions: REGIONS,
    seed,
    utilisation,
  });
  const builder = new ProblemBuilder(header);
  for (const shard of shards()) builder.add(steady(shard));
  return builder.build().problem;
}

function steady(shard: InstanceShard): InstanceShard {
  for (const load of shard.load) for (const name of ['cpu', 'memory', 'network'] as const) load[name][1] = 0;
  return shard;
}

/** The model in CPLEX's LP format. */
export function modelOf(p: Problem): string {
  const objective: string[] = [];
  const rows: string[] = [];
  const binaries: string[] = [];
  const term = (value: number, name: string) =>
    `${value < 0 ? '-' : '+'} ${Math.abs(value).toPrecision(12)} ${name}`;
  const nodes = Array.from({ length: p.nodeCount }, (_, n) => n);
  const zones = new Map<number, number[]>();
  for (const n of nodes) zones.set(p.nodeZone[n]!, [...(zones.get(p.nodeZone[n]!) ?? []), n]);
  for (let s = 0; s < p.shardCount; s++) {
    for (const n of nodes) {
      binaries.push(`x${s}_${n}`, `z${s}_${n}`);
      objective.push(term(p.value[s * p.regionCount + p.nodeRegion[n]!]!, `x${s}_${n}`));
    }
    rows.push(`${nodes.map((n) => `+ x${s}_${n}`).join(' ')} = 1`);
    rows.push(`${nodes.map((n) => `+ z${s}_${n}`).join(' ')} = ${p.standbys[s]}`);
    for (const n of nodes)
      if (!regionAllowed(p, s, p.nodeRegion[n]!)) rows.push(`+ x${s}_${n} + z${s}_${n} = 0`);
    for (const within of zones.values())
      rows.push(`${within.map((n) => `+ x${s}_${n} + z${s}_${n}`).join(' ')} <= 1`);
    for (let r = 0; r < p.regionCount; r++) {
      const other = (r + 1) % p.regionCount;
      objective.push(term(p.writeGbPerHour[s]! * p.egressUsdPerGb[r * p.regionCount + other]!, `u${s}_${r}`));
      const here = nodes.filter((n) => p.nodeRegion[n] === r);
      rows.push(`u${s}_${r} ${here.map((n) => `- x${s}_${n} + z${s}_${n}`).join(' ')} >= 0`);
    }
  }
  for (const n of nodes)
    for (let d = 0; d < p.dims; d++) {
      const perShare = (1 + p.quantileZ * Math.sqrt(p.commonSquared[d % 3]!)) / p.capacity[n * 3 + (d % 3)]!;
      const load: string[] = [];
      for (let s = 0; s < p.shardCount; s++) {
        const share = p.loadMean[s * p.dims + d]! * perShare;
        load.push(term(share, `x${s}_${n}`), term(share * p.standbyShare[d % 3]!, `z${s}_${n}`));
      }
      rows.push(`${load.join(' ')} - l${n}_${d} = 0`, `l${n}_${d} <= 1`);
      objective.push(`+ o${n}_${d}`);
      const full = p.stepWeight[(d / 3) | 0]! * p.overloadUsdPerHour[n]!;
      for (let i = 1; i <= TANGENTS; i++) {
        // full * over^2 lies above its tangent at `at`: full * (2 at over - at^2), over = (l - h) / (1 - h).
        const at = i / TANGENTS - 0.5 / TANGENTS;
        const slope = (2 * at * full) / (1 - p.headroom);
        const constant = -slope * p.headroom - full * at * at;
        rows.push(`o${n}_${d} ${term(-slope, `l${n}_${d}`)} >= ${constant.toPrecision(12)}`);
      }
    }
  return `Minimize\n obj: ${objective.join('\n ')}\nSubject To\n${rows.map((row, i) => ` c${i}: ${row}`).join('\n')}\nBinary\n ${binaries.join('\n ')}\nEnd\n`;
}

interface Incumbent {
  /** HiGHS's own word on it; Optimal: within its gap. */
  status: string;
  place: number[];
}

async function incumbentOf(p: Problem, seconds: number): Promise<Incumbent> {
  const highs = await loadHighs();
  const found = highs.solve(modelOf(p), {
    time_limit: seconds,
    mip_rel_gap: OWN_GAP,
    output_flag: false,
  });
  const place = new Array<number>(p.shardCount * p.width).fill(-1);
  for (const [name, column] of Object.entries(found.Columns)) {
    const match = /^([xz])(\d+)_(\d+)$/.exec(name);
    const value = column.Primal;
    if (match && value !== undefined && value > 0.5)
      place[Number(match[2]) * p.width + (match[1] === 'x' ? 0 : 1)] = Number(match[3]);
  }
  return { status: found.Status, place };
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      seeds: { type: 'string', default: '3' },
      utilisations: { type: 'string', default: '.5,.6,.7' },
      seconds: { type: 'string', default: '60' },
      incumbents: { type: 'string' },
      models: { type: 'string' },
    },
  });
  for (const utilisation of values.utilisations.split(',').map(Number))
    for (let seed = 1; seed <= Number(values.seeds); seed++) {
      const p = problemOf(seed, utilisation);
      const name = `${utilisation}-${seed}`;
      if (values.models !== undefined) {
        writeFileSync(join(values.models, `${name}.lp`), modelOf(p));
        continue;
      }
      const before = process.cpuUsage();
      const ours = solve(p, { seed });
      const { user, system } = process.cpuUsage(before);
      const file = values.incumbents === undefined ? undefined : join(values.incumbents, `${name}.json`);
      const kept = file !== undefined && existsSync(file);
      const theirs: Incumbent = kept
        ? JSON.parse(readFileSync(file, 'utf8'))
        : await incumbentOf(p, Number(values.seconds));
      if (file !== undefined && !kept) writeFileSync(file, JSON.stringify(theirs));
      const usd = costOf(p, Int32Array.from(theirs.place)).total;
      console.log(
        `200x12 at ${utilisation} seed ${seed}: ours $${ours.cost.total.toFixed(5)} in ${((user + system) / 1000).toFixed(0)} ms of CPU, HiGHS (${theirs.status}) $${usd.toFixed(5)}: ours is ${(100 * (ours.cost.total / usd - 1)).toFixed(3)} % above; our bound $${ours.lowerBound.toFixed(5)}`,
      );
    }
}

if (process.argv[1]?.endsWith('highs.ts')) await main();
