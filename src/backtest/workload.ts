/**
 * The load that is replayed: requests a second of every shard from every origin in every step.
 *
 * A shard is a sum of flows; a flow is a series read at the origin's local time, times a weight. Series are split over
 * shards where there are more shards than series. Weights are scaled so that the busiest step fills a given number of
 * nodes: traces come in units of their own (percent, megahertz, requests), dollars need nodes.
 *
 * Boundary: deterministic for a seed; nothing here knows of policies. Missing values hold the last one known.
 */
import { SeededRandom } from '../io/random.ts';
import type { Region, ShardId } from '../model/ids.ts';
import { TIME_ZONE_HOURS } from './model.ts';
import { align, type Series } from './series.ts';

/** Scaling to the wanted peak and cutting single shards disturb each other; after three rounds they agree within percents. */
const SCALING_ROUNDS = 3;

export interface WorkloadOptions {
  seed: string;
  regions: readonly Region[];
  /** Shards in all; at least one a series. Default: one a series. */
  shards?: number;
  /** Share of a shard's users in its home region; the rest is spread evenly over the others. */
  homeShare: number;
  /** Read each origin's flow at its local time of day. */
  followTheSun: boolean;
  /** Zipf exponent of the sizes of shards that share a series. */
  zipf: number;
  /** Standard deviation of a shard's own noise where a series is split, relative, independent from step to step. */
  noise: number;
  /** Series of CPU or percent differ by orders of magnitude: the power that their means are compressed by, 1 = as they are. */
  sizePower: number;
  /** Core-seconds a second of all shards in the busiest step. */
  peakCpu: number;
  /**
   * Core-seconds a second of one shard at most: what exceeds it is cut off. A shard is one writer in one event loop, so
   * a tenant above this would have to be split by whoever runs it; no placement can help.
   */
  shardCpuMax: number;
  cpuSecondsPerRequest: number;
  /** Mean bytes of a shard's state, and the standard deviation of its logarithm. */
  stateBytes: number;
  stateBytesSpread: number;
  /** Steps of this length; finer series are averaged. */
  stepS?: number;
}

export interface Workload {
  stepS: number;
  steps: number;
  t0Ms: number;
  shards: ShardId[];
  regions: readonly Region[];
  stateBytes: Float64Array;
  /** Region with most of a shard's users on average, as an index. */
  home: Uint8Array;
  /** Fills `into[shard * regions + origin]` with requests a second in a step. */
  fill(step: number, into: Float64Array): void;
}

/** Names of series as parts of shards' ids: `a b` and `a_b` are two, and so are two in a script without Latin letters. */
function namesOf(series: readonly Series[]): string[] {
  const taken = new Set<string>();
  return series.map(({ id }, k) => {
    const plain = id.replaceAll(/[^\w.-]/g, '_');
    const name = taken.has(plain) ? `${plain}~${k}` : plain;
    taken.add(name);
    return name;
  });
}

/** @throws RangeError where there is nothing to replay */
export function makeWorkload(input: readonly Series[], options: WorkloadOptions): Workload {
  if (input.length === 0) throw new RangeError('there is no series to replay');
  const { regions } = options;
  const random = new SeededRandom(`backtest/${options.seed}`);
  const series = align(input, options.stepS);
  const stepS = series[0]!.stepS;
  const shiftOf = regions.map((region) =>
    options.followTheSun ? Math.round((TIME_ZONE_HOURS[region] ?? 0) * (3600 / stepS)) : 0,
  );
  const shiftMin = Math.min(...shiftOf);
  const shiftMax = Math.max(...shiftOf);
  // Series start together at the latest of their starts where they overlap; unrelated ones each at their own beginning.
  const latest = series.reduce((most, one) => Math.max(most, one.t0S), Number.NEGATIVE_INFINITY);
  const offsets = series.map((one) => Math.round((latest - one.t0S) / stepS));
  const together = series.every((one, i) => one.values.length - offsets[i]! >= one.values.length / 2);
  const starts = together ? offsets : offsets.map(() => 0);
  const length = series.reduce((least, one, i) => Math.min(least, one.values.length - starts[i]!), Infinity);
  const steps = length - (shiftMax - shiftMin);
  if (steps < 2)
    throw new RangeError(`the series have ${Math.max(0, steps)} steps in common; at least 2 are needed`);
  const filled = series.map((one, i) => holdLast(one.values.subarray(starts[i]!, starts[i]! + length)));
  const shardCount = Math.max(options.shards ?? series.length, series.length);
  const count = regions.length;
  const seriesOf = new Int32Array(shardCount);
  const weight = new Float64Array(shardCount);
  const home = new Uint8Array(shardCount);
  const stateBytes = new Float64Array(shardCount);
  const shards: ShardId[] = [];
  const ranks = new Int32Array(series.length);
  const names = namesOf(series);
  const sizes = random.split('sizes');
  const homes = random.split('homes');
  for (let s = 0; s < shardCount; s++) {
    const k = s % series.length;
    seriesOf[s] = k;
    ranks[k]!++;
    weight[s] = ranks[k]! ** -options.zipf;
    const known = series[k]!.origin === undefined ? -1 : regions.indexOf(series[k]!.origin!);
    home[s] = known >= 0 ? known : Math.floor(homes.next() * count);
    stateBytes[s] =
      options.stateBytes *
      Math.exp(options.stateBytesSpread * gaussian(sizes) - options.stateBytesSpread ** 2 / 2);
    shards.push(`load/${names[k]}:${ranks[k]}`);
  }
  const perSeries = new Float64Array(series.length);
  for (let s = 0; s < shardCount; s++) perSeries[seriesOf[s]!]! += weight[s]!;
  const split = shardCount > series.length;
  for (let s = 0; s < shardCount; s++) {
    const mean = meanOf(filled[seriesOf[s]!]!);
    const compressed = mean > 0 ? mean ** (options.sizePower - 1) : 0;
    weight[s] = (weight[s]! / perSeries[seriesOf[s]!]!) * compressed;
  }
  const away = count > 1 ? (1 - options.homeShare) / (count - 1) : 0;
  const homeShare = count > 1 ? options.homeShare : 1;
  let rateMax = Number.POSITIVE_INFINITY;
  const noiseSeed = Math.floor(random.split('noise').next() * 2 ** 32);
  const fill = (step: number, into: Float64Array): void => {
    for (let s = 0; s < shardCount; s++) {
      const values = filled[seriesOf[s]!]!;
      let w = weight[s]!;
      if (split && options.noise > 0) w *= Math.max(0, 1 + options.noise * noiseAt(noiseSeed, s, step));
      let sum = 0;
      for (let o = 0; o < count; o++) {
        const rate = w * (o === home[s] ? homeShare : away) * values[step + shiftOf[o]! - shiftMin]!;
        into[s * count + o] = rate;
        sum += rate;
      }
      if (sum > rateMax) for (let o = 0; o < count; o++) into[s * count + o]! *= rateMax / sum;
    }
  };
  const wanted = options.peakCpu / options.cpuSecondsPerRequest;
  for (let round = 0; round < SCALING_ROUNDS; round++) {
    const scale = wanted / busiest(fill, steps, shardCount * count);
    if (!Number.isFinite(scale))
      throw new RangeError('the series hold no load: every value is zero or missing');
    for (let s = 0; s < shardCount; s++) weight[s]! *= scale;
    // Cutting what one shard may ask takes from the sum: the rest is scaled up once more.
    rateMax = options.shardCpuMax / options.cpuSecondsPerRequest;
  }
  const t0S = together ? latest - shiftMin * stepS : 0;
  return {
    stepS,
    steps,
    t0Ms: Math.round(t0S / stepS) * stepS * 1000,
    shards,
    regions,
    stateBytes,
    home,
    fill,
  };
}

/** The sum of all flows in the 99.9th percentile of steps: a single broken value must not set the scale. */
function busiest(fill: Workload['fill'], steps: number, flows: number): number {
  const into = new Float64Array(flows);
  const stride = Math.max(1, Math.floor(steps / 2000));
  const sums: number[] = [];
  for (let step = 0; step < steps; step += stride) {
    fill(step, into);
    let sum = 0;
    for (let i = 0; i < flows; i++) sum += into[i]!;
    sums.push(sum);
  }
  sums.sort((a, b) => a - b);
  return sums[Math.min(sums.length - 1, Math.floor(0.999 * sums.length))]!;
}

function holdLast(values: Float32Array): Float32Array {
  const held = Float32Array.from(values);
  let last = 0;
  for (let i = 0; i < held.length; i++)
    if (!Number.isNaN(held[i]!)) {
      last = held[i]!;
      break;
    }
  for (let i = 0; i < held.length; i++) {
    if (Number.isNaN(held[i]!)) held[i] = last;
    else last = held[i]!;
  }
  return held;
}

function meanOf(values: Float32Array): number {
  let sum = 0;
  for (const value of values) sum += value;
  return sum / values.length;
}

function gaussian(random: { next(): number }): number {
  return Math.sqrt(-2 * Math.log(1 - random.next())) * Math.cos(2 * Math.PI * random.next());
}

/** A fixed number of mean 0 and variance 1 for a shard and a step: the future can be asked in any order. */
function noiseAt(seed: number, shard: number, step: number): number {
  let h = Math.imul(seed ^ Math.imul(shard + 1, 0x9e3779b1), 0x85ebca6b) ^ Math.imul(step + 1, 0xc2b2ae35);
  h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d);
  h = Math.imul(h ^ (h >>> 12), 0x297a2d39);
  const a = (h ^ (h >>> 15)) >>> 0;
  // Sum of two uniforms is close enough to a bell, and bounded.
  const b = Math.imul(a ^ (a >>> 16), 0x45d9f3b) >>> 0;
  return ((a + b) / 2 ** 32 - 1) * Math.sqrt(6);
}
