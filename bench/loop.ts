/**
 * The pure loop in virtual time: metrics, forecast, placement and plan over the demonstration's load, under every policy.
 *
 * Model: two nodes in each of three regions; a user's request takes the published round trip to its shard's primary, a
 * command the way to the cell (in the primary's region) as well; a move takes `--move` seconds from the decision. No
 * queueing, no CPU cost of moves: it compares policies, it does not predict milliseconds of a machine.
 *
 * Run: node bench/loop.ts [--day 30] [--alpha 1] [--seconds 360] [--move 1.5] [--seeds a,b] [--budget 24] [--tune] [--json FILE]
 */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { flatForecast, LoadWindows, type OracleSource } from '../src/forecast/index.ts';
import type { PlacementNode, PlacementShard, PolicyName, ShardForecast } from '../src/model/loop.ts';
import { AWS_THREE_REGIONS, rttMs, type Topology } from '../src/model/topology.ts';
import {
  bestFixedPlacement,
  createPolicy,
  horizonsFor,
  type PlacementInput,
} from '../src/placement/index.ts';
import { type InFlight, MoveLedger, makePlan } from '../src/plan/index.ts';
import { DemoLoad } from '../test/scenarios/demo-load.ts';

const REGIONS = ['us-east-1', 'eu-west-1', 'ap-northeast-1'];
const TOPOLOGY: Topology = AWS_THREE_REGIONS;
const CELLS = Object.fromEntries(REGIONS.map((region) => [region, `cell-${region}`]));

export interface RunOptions {
  policy: PolicyName;
  seed: string;
  alpha: number;
  dayS: number;
  seconds: number;
  moveS: number;
  startedPerTick: number;
  requestsPerSecond: number;
  halfLifeS?: number;
  /** What the planner believes a move takes. */
  plannedMoveS?: number;
  prices?: PlacementInput['prices'];
}

export interface RunResult {
  meanMs: number;
  over100Share: number;
  movesPerSecond: number;
  tickMsMean: number;
  tickMsMax: number;
  /** CPU of placement and plan a tick, milliseconds; and of everything. */
  placeCpuMs: number;
  tickCpuMs: number;
  gapMean: number;
}

function nodes(): PlacementNode[] {
  return REGIONS.flatMap((region) =>
    [1, 2].map((n) => ({
      processId: `${region}-n${n}`,
      name: `${region}-n${n}`,
      region,
      zone: `${region}${n === 1 ? 'a' : 'b'}`,
      capacity: { cpu: 0.9, memoryBytes: 2e9, networkBytesPerSecond: 1e8 },
      usdPerHour: TOPOLOGY.nodeUsdPerHour[region]!,
      open: true,
      draining: false,
      versions: { room: 1 },
    })),
  );
}

export function run(options: RunOptions): RunResult {
  const load = new DemoLoad({
    seed: options.seed,
    alpha: options.alpha,
    dayS: options.dayS,
    requestsPerSecond: options.requestsPerSecond,
    crowdsPerDay: 1,
  });
  const truth = new DemoLoad({
    seed: options.seed,
    alpha: options.alpha,
    dayS: options.dayS,
    requestsPerSecond: options.requestsPerSecond,
    crowdsPerDay: 1,
  });
  const keyOf = new Map(load.ids.map((id, key) => [id, key]));
  const oracle: OracleSource = {
    rates: (shard, atMs) =>
      Object.fromEntries(
        REGIONS.map((region, origin) => {
          const rate = truth.rate(keyOf.get(shard)!, origin, atMs / 1000);
          return [region, { commands: 0.3 * rate, queries: 0.7 * rate }];
        }),
      ),
    cost: () => ({ cpuSeconds: 0.0003, bytesIn: 200, bytesOut: 400, stateBytes: 2000 }),
    totalRate: (atMs) => REGIONS.reduce((sum, _, origin) => sum + truth.originRate(origin, atMs / 1000), 0),
  };
  const policy = createPolicy(options.policy, { oracle, halfLifeS: options.halfLifeS });
  const place = new Map<string, string>();
  const all = nodes();
  const regionOf = new Map(all.map((node) => [node.processId, node.region]));
  const ledger = new MoveLedger();
  const windows = new LoadWindows({ stepMs: 1000 });
  const flying: (InFlight & { doneS: number })[] = [];
  const plannedMoveS = options.plannedMoveS ?? options.moveS;
  const scoreFromS = 3 * options.dayS;
  let generation = 0;
  let requests = 0;
  let ms = 0;
  let over = 0;
  let moves = 0;
  let tickMs = 0;
  let tickMsMax = 0;
  let ticks = 0;
  let cpuUs = 0;
  let placeUs = 0;
  let gaps = 0;
  if (options.policy === 'bestFixed')
    for (const [shard, node] of bestFixedPlacement(averageInput(load, all))) place.set(shard, node);
  const steps = Math.round(options.seconds);
  for (let number = 1; number <= steps; number++) {
    const step = load.step(number);
    const fromS = number - 1;
    const moved = new Map<string, { region: string; share: number }>();
    for (let i = flying.length - 1; i >= 0; i--) {
      const flight = flying[i]!;
      if (flight.doneS > number) continue;
      // Requests of the step that came after the move was done go to the target.
      moved.set(flight.shard, {
        region: regionOf.get(place.get(flight.shard)!)!,
        share: Math.max(0, flight.doneS - fromS),
      });
      place.set(flight.shard, flight.target);
      flying.splice(i, 1);
    }
    for (const sample of step.shards) {
      if (!place.has(sample.shard)) place.set(sample.shard, firstTouch(sample.shard, sample.byOrigin));
      const region = regionOf.get(place.get(sample.shard)!)!;
      const before = moved.get(sample.shard);
      if (number <= scoreFromS) continue;
      for (const [origin, { commands, queries }] of Object.entries(sample.byOrigin)) {
        for (const [where, share] of before === undefined
          ? ([[region, 1]] as const)
          : ([
              [before.region, before.share],
              [region, 1 - before.share],
            ] as const)) {
          const way = rttMs(TOPOLOGY, origin, where);
          const local = rttMs(TOPOLOGY, where, where);
          const count = (commands + queries) * share;
          requests += count;
          ms += count * way + commands * share * local;
          if (way > 100) over += count;
        }
      }
    }
    if (options.policy === 'static' || options.policy === 'bestFixed') continue;
    const started = performance.now();
    const startedUs = cpuNowUs();
    windows.ingest(step.shards, 'all');
    for (const measured of windows.close(number * 1000)) policy.forecaster.observe(measured);
    const nowMs = number * 1000;
    const ids = [...place.keys()];
    const forecasts = policy.forecaster.forecast(ids, horizonsFor(plannedMoveS));
    const inFlight = new Map(flying.map((flight) => [flight.shard, flight.target]));
    const placeFromUs = cpuNowUs();
    const placement = policy.placer.place({
      nodes: all,
      shards: forecasts.map((forecast) => toShard(forecast, place, inFlight, regionOf)),
      topology: TOPOLOGY,
      cells: CELLS,
      prices: options.prices,
      owedUsd: (shard) => ledger.owedUsd(shard, nowMs),
    });
    const { plan } = makePlan({
      placement,
      inFlight: flying,
      epochOf: () => 1,
      parent: generation,
      atMs: nowMs,
      budgets: { startedPerTick: options.startedPerTick, inFlightMax: 2 * options.startedPerTick },
    });
    const took = performance.now() - started;
    cpuUs += cpuNowUs() - startedUs;
    placeUs += cpuNowUs() - placeFromUs;
    gaps += placement.certificate?.gap ?? 0;
    tickMs += took;
    if (number > 50) tickMsMax = Math.max(tickMsMax, took);
    ticks++;
    if (plan === undefined) continue;
    generation = plan.generation;
    const wanted = [...placement.relocations, ...(placement.upcoming ?? [])];
    const costs = new Map(wanted.map((relocation) => [relocation.shard, relocation]));
    for (const move of plan.moves) {
      const relocation = costs.get(move.shard)!;
      ledger.moved(move.shard, nowMs, relocation.costUsd, move.reason);
      flying.push({
        shard: move.shard,
        source: move.source,
        target: move.target,
        bytes: move.bytes,
        doneS: number + options.moveS,
      });
      if (number > scoreFromS) moves++;
    }
  }
  return {
    meanMs: ms / requests,
    over100Share: over / requests,
    movesPerSecond: moves / (steps - scoreFromS),
    tickMsMean: ticks > 0 ? tickMs / ticks : 0,
    tickMsMax,
    placeCpuMs: ticks > 0 ? placeUs / ticks / 1000 : 0,
    tickCpuMs: ticks > 0 ? cpuUs / ticks / 1000 : 0,
    gapMean: ticks > 0 ? gaps / ticks : 0,
  };
}

function cpuNowUs(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

/** As a gateway does it: a node of the first user's region. */
function firstTouch(shard: string, byOrigin: Record<string, unknown>): string {
  const origin = Object.keys(byOrigin)[0]!;
  let hash = 0;
  for (let i = 0; i < shard.length; i++) hash = (hash * 31 + shard.charCodeAt(i)) | 0;
  return `${origin}-n${1 + (Math.abs(hash) % 2)}`;
}

function toShard(
  forecast: ShardForecast,
  place: Map<string, string>,
  inFlight: Map<string, string>,
  regionOf: Map<string, string>,
): PlacementShard {
  const primary = place.get(forecast.shard)!;
  return {
    shard: forecast.shard,
    primary,
    cell: CELLS[regionOf.get(primary)!]!,
    epoch: 1,
    forecast,
    stateBytes: 2000,
    writeBytesPerSecond: 0,
    bytesPerRequest: 600,
    version: 1,
    inFlightTo: inFlight.get(forecast.shard),
  };
}

function averageInput(load: DemoLoad, all: PlacementNode[]): PlacementInput {
  const shards: PlacementShard[] = load.ids.map((id, key) => {
    const byOrigin = Object.fromEntries(
      REGIONS.map((region, origin) => {
        let mean = 0;
        for (let i = 0; i < 48; i++)
          mean += (load.weights[key * 3 + origin]! * load.activity(origin, (i / 48) * load.dayS)) / 48;
        return [region, { commands: [0.3 * mean], queries: [0.7 * mean] }];
      }),
    );
    const forecast = flatForecast(id, [3600], byOrigin, {
      cpuSeconds: 0.0003,
      bytesIn: 200,
      bytesOut: 400,
      stateBytes: 2000,
      windowS: 60,
    });
    return {
      shard: id,
      primary: all[0]!.processId,
      cell: CELLS[all[0]!.region]!,
      epoch: 1,
      forecast,
      stateBytes: 2000,
      writeBytesPerSecond: 0,
      bytesPerRequest: 600,
      version: 1,
    };
  });
  return { nodes: all, shards, topology: TOPOLOGY, cells: CELLS };
}

function main(): void {
  const { values } = parseArgs({
    options: {
      day: { type: 'string', default: '30' },
      alpha: { type: 'string', default: '0.1,1,10' },
      seconds: { type: 'string', default: '360' },
      move: { type: 'string', default: '1.5' },
      budget: { type: 'string', default: '24' },
      rate: { type: 'string', default: '400' },
      seeds: { type: 'string', default: 'score-1' },
      policies: { type: 'string', default: 'static,bestFixed,reactive,predictive,oracle' },
      'half-life': { type: 'string' },
      fixed: { type: 'string' },
      tune: { type: 'boolean', default: false },
      json: { type: 'string' },
    },
  });
  const base = {
    dayS: Number(values.day),
    seconds: Number(values.seconds),
    moveS: Number(values.move),
    startedPerTick: Number(values.budget),
    requestsPerSecond: Number(values.rate),
    halfLifeS: values['half-life'] === undefined ? undefined : Number(values['half-life']),
    prices: values.fixed === undefined ? undefined : { moveFixedUsd: Number(values.fixed) },
  };
  if (values.tune) {
    for (const halfLifeS of [0.5, 1, 2, 4, 8, 16, 32, 64, 128]) {
      const r = run({ ...base, policy: 'reactive', seed: 'tune-1', alpha: 1, halfLifeS });
      console.log(
        `half-life ${halfLifeS} s: mean ${r.meanMs.toFixed(2)} ms, ${r.movesPerSecond.toFixed(1)} moves/s`,
      );
    }
    return;
  }
  const report: object[] = [];
  for (const alpha of values.alpha.split(',').map(Number))
    for (const seed of values.seeds.split(',')) {
      const results = new Map<string, RunResult>();
      for (const policy of values.policies.split(',') as PolicyName[]) {
        const result = run({ ...base, policy, seed, alpha });
        results.set(policy, result);
        report.push({ policy, seed, alpha, ...base, ...result });
        console.log(
          `alpha ${alpha} seed ${seed} ${policy.padEnd(10)} mean ${result.meanMs.toFixed(2).padStart(7)} ms  over 100 ms ${(100 * result.over100Share).toFixed(1).padStart(5)} %  ${result.movesPerSecond.toFixed(1).padStart(5)} moves/s  CPU a tick ${result.tickCpuMs.toFixed(1)} ms, of it placement ${result.placeCpuMs.toFixed(1)}  gap ${(100 * result.gapMean).toFixed(1)} %`,
        );
      }
      const [still, reactive, predictive, oracle] = ['static', 'reactive', 'predictive', 'oracle'].map(
        (name) => results.get(name),
      );
      if (still && predictive)
        console.log(
          `  predictive against static: mean ${(100 * (1 - predictive.meanMs / still.meanMs)).toFixed(1)} % lower, over 100 ms ${(100 * (1 - predictive.over100Share / still.over100Share)).toFixed(1)} % fewer`,
        );
      if (reactive && predictive && oracle)
        console.log(
          `  reactive-to-oracle gap closed: ${((100 * (reactive.meanMs - predictive.meanMs)) / (reactive.meanMs - oracle.meanMs)).toFixed(0)} %`,
        );
    }
  if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(report, undefined, 2)}\n`);
}

if (process.argv[1]?.endsWith('loop.ts')) main();
