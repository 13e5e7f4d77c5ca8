/**
 * The benchmark's instances, seeded: published round trips and prices of 21 AWS regions, shards with skewed sizes whose
 * users follow the sun. docs/placement.md writes down every distribution.
 *
 * Guarantees: the same options give the same lines; loads are scaled so that the busiest step's mean CPU is `utilisation` of
 * all capacity, standbys included.
 */
import { AWS_REGIONS, awsEgressUsdPerGb, awsRttMs } from '../../model/aws.ts';
import { SeededDraws } from './random.ts';
import {
  DEFAULT_WEIGHTS,
  type InstanceHeader,
  type InstanceNode,
  type InstanceShard,
  type Moments,
  type PerResource,
  type Weights,
} from './types.ts';

export interface GenerateOptions {
  shards: number;
  nodes: number;
  /** Of the 21, the first so many in alphabetical order of an even spread. */
  regions?: number;
  seed: string | number;
  /** Mean CPU of the busiest step over all capacity. */
  utilisation?: number;
  steps?: number;
  standbys?: number;
  /** Share of nodes that the scaler can give back. */
  releasableShare?: number;
  weights?: Partial<Weights>;
}

/** m5.large: two cores, 8 GB, a baseline of 0.75 Gbit/s. */
const NODE_CAPACITY: PerResource<number> = { cpu: 2, memory: 8e9, network: 93.75e6 };
/** Memory and network are this much of the CPU's utilisation. */
const RELATIVE_USE: PerResource<number> = { cpu: 1, memory: 0.8, network: 0.6 };
const ZONES = 3;
/** Spread of the logarithm of a shard's rate, and of a region's users. */
const RATE_SIGMA = 1.2;
const REGION_SIGMA = 0.6;
/** No shard has more than this share of a node in its busiest step. */
const NODE_SHARE_MAX = 0.2;
const MEAN_REQUESTS_PER_SECOND = 10;
/** Share of shards that law keeps in Europe or in North America. */
const JURISDICTION_SHARE = 0.1;
/** Hours of the day of the forecast's steps, from the drawn hour on: now, the lead time, the peak. */
const STEP_HOURS = [0, 0.5, 3, 6, 9, 12];
const EUROPE = /^eu-/;
const NORTH_AMERICA = /^(us|ca)-/;

export interface Generated {
  header: InstanceHeader;
  /** Makes the shard lines, one by one; can be run again. */
  shards: () => Generator<InstanceShard>;
}

export function generateInstance(options: GenerateOptions): Generated {
  const { nodes: nodeCount, shards: shardCount, seed } = options;
  const steps = options.steps ?? 3;
  const regions = pickRegions(options.regions ?? AWS_REGIONS.length);
  const draws = new SeededDraws(`${seed}/regions`);
  const demand = regions.map(() => Math.exp(REGION_SIGMA * draws.normal()));
  const hour = 24 * draws.next();
  // Users elsewhere come from near rather than from far.
  const near = regions.map((home) =>
    regions.map((other, r) =>
      other === home ? 0 : demand[r]! * Math.exp(-awsRttMs(home.name, other.name) / 100),
    ),
  );
  const nodes: InstanceNode[] = Array.from({ length: nodeCount }, (_, n) => {
    const region = regions[n % regions.length]!;
    const round = Math.floor(n / regions.length);
    return {
      id: `${region.name}-${round}`,
      region: region.name,
      zone: 'abc'[round % ZONES]!,
      capacity: NODE_CAPACITY,
      usdPerHour: region.nodeUsdPerHour,
      ...(draws.next() < (options.releasableShare ?? 0) ? { releasable: true } : {}),
    };
  });
  const header: InstanceHeader = {
    regions: regions.map(({ name }) => name),
    rttMs: regions.map((from) => regions.map((to) => awsRttMs(from.name, to.name))),
    egressUsdPerGb: regions.map((from) => regions.map((to) => awsEgressUsdPerGb(from.name, to.name))),
    bandwidthBps: 50e6,
    cells: regions.map(({ name }) => ({ id: `cell-${name}`, region: name })),
    nodes,
    steps,
    weights: {
      ...DEFAULT_WEIGHTS,
      commonVariation: { cpu: 0.1, memory: 0.02, network: 0.1 },
      ...options.weights,
    },
    shards: shardCount,
  };
  const scale = scaleOf(header, options, regions, demand, near, hour);
  return {
    header,
    *shards() {
      const random = new SeededDraws(`${seed}/shards`);
      for (let i = 0; i < shardCount; i++) {
        const raw = rawShard(random, regions, demand, near, hour, steps);
        yield finish(raw, `bench/${i}`, header, options.standbys ?? 1, scale);
      }
    },
  };
}

type Region = (typeof AWS_REGIONS)[number];

interface RawShard {
  rates: Float64Array[];
  origins: number[];
  commandShare: number;
  cpuPerRequest: number;
  bytesPerRequest: number;
  stateWeight: number;
  variation: number;
  allowed: 'everywhere' | 'europe' | 'northAmerica';
  writeBytesPerCommand: number;
}

function pickRegions(count: number): Region[] {
  return Array.from({ length: count }, (_, i) => AWS_REGIONS[Math.floor((i * AWS_REGIONS.length) / count)]!);
}

function rawShard(
  random: SeededDraws,
  regions: Region[],
  demand: number[],
  near: number[][],
  hour: number,
  steps: number,
): RawShard {
  const mean = Math.min(20, Math.exp(RATE_SIGMA * random.normal() - RATE_SIGMA ** 2 / 2));
  const home = draw(random, demand);
  const origins = [home];
  const shares = [0.5 + 0.5 * random.next()];
  const others = random.below(4);
  for (let i = 0; i < others && regions.length > 1; i++) {
    const other = draw(random, near[home]!);
    if (!origins.includes(other)) {
      origins.push(other);
      shares.push((1 - shares[0]!) / others);
    }
  }
  const total = shares.reduce((a, b) => a + b, 0);
  const swing = 0.3 + 0.5 * random.next();
  const rates = origins.map((origin, i) =>
    Float64Array.from({ length: steps }, (_, t) => {
      const local = hour + (STEP_HOURS[t] ?? t) + regions[origin]!.utcOffsetHours;
      // Busiest at three in the afternoon.
      const activity = 1 + swing * Math.cos((2 * Math.PI * (local - 15)) / 24);
      return (MEAN_REQUESTS_PER_SECOND * mean * activity * shares[i]!) / total;
    }),
  );
  return {
    rates,
    origins,
    commandShare: 0.1 + 0.4 * random.next(),
    cpuPerRequest: Math.exp(0.4 * random.normal()),
    bytesPerRequest: Math.round(1000 * Math.exp(0.7 * random.normal())),
    stateWeight: Math.min(20, Math.exp(random.normal())) * (0.3 + 0.7 * Math.sqrt(mean)),
    variation: 0.1 + 0.3 * random.next(),
    writeBytesPerCommand: Math.round(200 * Math.exp(0.7 * random.normal())),
    ...jurisdiction(random, regions[home]!),
  };
}

function jurisdiction(random: SeededDraws, home: Region): Pick<RawShard, 'allowed'> {
  const kept = random.next() < JURISDICTION_SHARE;
  if (kept && EUROPE.test(home.name)) return { allowed: 'europe' };
  if (kept && NORTH_AMERICA.test(home.name)) return { allowed: 'northAmerica' };
  return { allowed: 'everywhere' };
}

function draw(random: SeededDraws, weights: number[]): number {
  let left = random.next() * weights.reduce((a, b) => a + b, 0);
  for (let i = 0; i < weights.length; i++) {
    left -= weights[i]!;
    if (left < 0) return i;
  }
  return weights.length - 1;
}

/** Per request (CPU, network) and per state weight (memory): what makes the totals come out at the utilisation. */
function scaleOf(
  header: InstanceHeader,
  options: GenerateOptions,
  regions: Region[],
  demand: number[],
  near: number[][],
  hour: number,
): PerResource<number> {
  const { steps } = header;
  const weights = header.weights as Weights;
  const standbys = options.standbys ?? 1;
  const totals: PerResource<number[]> = {
    cpu: new Array<number>(steps).fill(0),
    memory: new Array<number>(steps).fill(0),
    network: new Array<number>(steps).fill(0),
  };
  const random = new SeededDraws(`${options.seed}/shards`);
  for (let i = 0; i < options.shards; i++) {
    const raw = rawShard(random, regions, demand, near, hour, steps);
    for (let t = 0; t < steps; t++) {
      let rate = 0;
      for (const rates of raw.rates) rate += rates[t]!;
      totals.cpu[t]! += rate * raw.cpuPerRequest;
      totals.memory[t]! += raw.stateWeight;
      totals.network[t]! += rate * raw.bytesPerRequest;
    }
  }
  const scale = { cpu: 0, memory: 0, network: 0 };
  for (const name of ['cpu', 'memory', 'network'] as const) {
    const busiest = Math.max(...totals[name]) * (1 + standbys * weights.standbyShare[name]);
    scale[name] =
      ((options.utilisation ?? 0.6) * RELATIVE_USE[name] * NODE_CAPACITY[name] * options.nodes) / busiest;
  }
  return scale;
}

function finish(
  raw: RawShard,
  id: string,
  header: InstanceHeader,
  standbys: number,
  scale: PerResource<number>,
): InstanceShard {
  const commandsPerSecond: Record<string, number[]> = {};
  const queriesPerSecond: Record<string, number[]> = {};
  const rate = new Float64Array(header.steps);
  raw.origins.forEach((origin, i) => {
    const name = header.regions[origin]!;
    commandsPerSecond[name] = [];
    queriesPerSecond[name] = [];
    for (let t = 0; t < header.steps; t++) {
      const all = raw.rates[i]![t]!;
      rate[t]! += all;
      commandsPerSecond[name].push(round(all * raw.commandShare));
      queriesPerSecond[name].push(round(all * (1 - raw.commandShare)));
    }
  });
  const clip = (value: number, name: keyof PerResource<number>): Moments => {
    const mean = Math.min(value, NODE_SHARE_MAX * NODE_CAPACITY[name]);
    return [round(mean), round((raw.variation * mean) ** 2)];
  };
  const memory = raw.stateWeight * scale.memory;
  const load = Array.from({ length: header.steps }, (_, t) => ({
    cpu: clip(rate[t]! * raw.cpuPerRequest * scale.cpu, 'cpu'),
    memory: [clip(memory, 'memory')[0], round((0.05 * clip(memory, 'memory')[0]) ** 2)] as Moments,
    network: clip(rate[t]! * raw.bytesPerRequest * scale.network, 'network'),
  }));
  const allowedRegions =
    raw.allowed === 'everywhere'
      ? undefined
      : header.regions.filter((name) => (raw.allowed === 'europe' ? EUROPE : NORTH_AMERICA).test(name));
  return {
    id,
    load,
    commandsPerSecond,
    queriesPerSecond,
    bytesPerRequest: raw.bytesPerRequest,
    stateBytes: Math.round(0.5 * load[0]!.memory[0]),
    writeBytesPerSecond: round(rate[0]! * raw.commandShare * raw.writeBytesPerCommand),
    standbys,
    ...(allowedRegions !== undefined ? { allowedRegions } : {}),
  };
}

/** Six digits: what a file needs, and the same in memory as through a file. */
function round(value: number): number {
  return Number(value.toPrecision(6));
}
