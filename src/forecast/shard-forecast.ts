/**
 * From expected requests to quantiles of every metric: of one shard, and of many as one.
 *
 * Boundary: pure. Invariant: quantiles ascend, and those of many are below the sums of theirs: what shards share (their
 * groups' errors) adds up, what each has of its own (counting noise, its share) does not.
 */
import type { ShardId } from '../model/ids.ts';
import type { MetricForecast, ShardForecast } from '../model/loop.ts';
import type { ClassBands } from './bands.ts';
import type { MixFactors } from './mix.ts';
import type { SeriesQuantiles } from './row-series.ts';
import { NORMAL_QUANTILES } from './tracker.ts';

/** Error of a shard's share, as a share of it. */
const SHARE_ERROR = 0.1;
/** What p90 and p99 of memory have above its median. */
const MEMORY_ABOVE = [1, 1.1, 1.25] as const;
/** Bounds on how much more or less the groups err together than apart. */
const TOGETHER_MIN = 0.5;
const TOGETHER_MAX = 3;

/** A group's forecast: at each horizon, and of its largest value up to the last. In requests a step. */
export interface GroupForecast {
  points: SeriesQuantiles[];
  max: SeriesQuantiles;
}

/** What is expected of one shard, in requests a step. */
export interface Expected {
  shard: ShardId;
  rate: number[];
  byOrigin: ShardForecast['byOrigin'];
  /** Of each group's traffic. */
  shares: Float64Array;
  /** Expected largest. */
  peak: number;
  /** Of a shard with models of its own: what these say at each horizon. */
  own?: SeriesQuantiles[];
  /** Whom it surges with. */
  together?: ShardForecast['together'];
  /** Of a shard with models of its own: how far a step came above its forecast; see `RowSeries.surge`. */
  surge?: number | undefined;
  cpuSeconds: number;
  bytesIn: number;
  bytesOut: number;
  /** What the mix to come makes of these, at each horizon. */
  mix?: MixFactors | undefined;
  stateBytes: number;
  /** Bytes a request. */
  stateGrowth: number;
}

/** Counting noise, the groups' uncertainty, and a tenth of the rate for the share itself. In requests a step. */
export function spreadOf(expected: number, groupVariance: number): number {
  return Math.sqrt(expected + 0.01 + groupVariance + (SHARE_ERROR * expected) ** 2);
}

export function shardForecast(
  one: Expected,
  groups: readonly GroupForecast[],
  horizonsS: readonly number[],
  stepS: number,
  bands: ClassBands,
): ShardForecast {
  const variances = one.rate.map((_, h) => {
    let sum = 0;
    groups.forEach(({ points }, g) => {
      sum += (one.shares[g]! * (points[h]!.p90 - points[h]!.p50)) ** 2;
    });
    return sum;
  });
  const quantilesAt = (expected: number, variance: number): [number, number, number] => {
    const band = bands.of(expected);
    const spread = spreadOf(expected, variance);
    return [expected, expected + band.p90 * spread, expected + band.p99 * spread];
  };
  const path = one.rate.map((expected, h): [number, number, number] => {
    const own = one.own?.[h];
    return own === undefined ? quantilesAt(expected, variances[h]!) : [own.p50, own.p90, own.p99];
  });
  const highest = Math.max(one.peak, ...one.rate);
  const max = quantilesAt(highest, Math.max(0, ...variances));
  for (const [q, value] of max.entries()) max[q] = Math.max(value, ...path.map((at) => at[q]!));
  return {
    shard: one.shard,
    horizonsS: [...horizonsS],
    metrics: metricsOf([one], path, max, stepS),
    byOrigin: one.byOrigin,
    ...(one.together && { together: one.together }),
    ...(one.surge && { surge: surgeOf(one, one.surge / stepS) }),
  };
}

function surgeOf({ cpuSeconds, bytesIn, bytesOut }: Expected, requests: number): ShardForecast['surge'] {
  return { requests, cpu: requests * cpuSeconds, network: requests * (bytesIn + bytesOut) };
}

/**
 * Many shards as one.
 *
 * @param total everything's forecast, whose band tells how the groups err together
 */
export function aggregateForecast(
  many: readonly Expected[],
  groups: readonly GroupForecast[],
  total: readonly SeriesQuantiles[],
  horizonsS: readonly number[],
  stepS: number,
): ShardForecast {
  const shares = new Float64Array(groups.length);
  for (const one of many) for (let g = 0; g < shares.length; g++) shares[g]! += one.shares[g]!;
  const path = horizonsS.map((_, h): [number, number, number] => {
    let expected = 0;
    let ownVariance = 0.01;
    for (const { rate } of many) {
      expected += rate[h]!;
      ownVariance += rate[h]! + (SHARE_ERROR * rate[h]!) ** 2;
    }
    const above = (q: 'p90' | 'p99', z: number) => {
      let common = 0;
      let apart = 0;
      groups.forEach(({ points }, g) => {
        const error = points[h]![q] - points[h]!.p50;
        common += (shares[g]! * error) ** 2;
        apart += error ** 2;
      });
      const together = apart > 0 ? (total[h]![q] - total[h]!.p50) / Math.sqrt(apart) : 1;
      const bounded = Math.max(TOGETHER_MIN, Math.min(TOGETHER_MAX, together)) ** 2;
      return Math.sqrt(bounded * common + z * z * ownVariance);
    };
    const p90 = expected + above('p90', NORMAL_QUANTILES[1]);
    return [expected, p90, Math.max(p90, expected + above('p99', NORMAL_QUANTILES[2]))];
  });
  let excess = 0;
  groups.forEach(({ points, max }, g) => {
    const highest = Math.max(0, ...points.map(({ p50 }) => p50));
    excess += (shares[g]! * Math.max(0, max.p50 - highest)) ** 2;
  });
  const top = path.reduce((a, b) => (b[0] > a[0] ? b : a), [0, 0, 0] as [number, number, number]);
  const lifted = Math.sqrt(excess);
  return {
    shard: '',
    horizonsS: [...horizonsS],
    metrics: metricsOf(
      many,
      path,
      [
        top[0] + lifted,
        Math.max(top[1] + lifted, ...path.map((p) => p[1])),
        Math.max(top[2] + lifted, ...path.map((p) => p[2])),
      ],
      stepS,
    ),
    byOrigin: originsOf(many, horizonsS.length),
  };
}

function metricsOf(
  many: readonly Expected[],
  path: readonly [number, number, number][],
  max: readonly [number, number, number],
  stepS: number,
): ShardForecast['metrics'] {
  const isMixed = many.some(({ mix }) => mix !== undefined);
  /** Metric a request at each horizon: a mean over shards by what each is asked. */
  const per = (of: (one: Expected, h: number) => number): MetricForecast => {
    const factors = path.map((_, h) => {
      let sum = 0;
      let requests = 0;
      let plain = 0;
      for (const one of many) {
        sum += one.rate[h]! * of(one, h);
        requests += one.rate[h]!;
        plain += of(one, h);
      }
      return (requests > 0 ? sum / requests : plain / Math.max(1, many.length)) / stepS;
    });
    const at = (q: number) => path.map((quantiles, h) => quantiles[q]! * factors[h]!);
    const quantiles: MetricForecast['quantiles'] = [at(0), at(1), at(2)];
    const highest = Math.max(0, ...factors);
    if (!isMixed) return { quantiles, max: [max[0] * highest, max[1] * highest, max[2] * highest] };
    // What is dear in quiet hours is not dear at the peak: the factor is that of the horizon that takes most.
    const top = Math.max(...path.map(([p50]) => p50));
    const dearest = top > 0 ? Math.max(...quantiles[0]) / top : highest;
    const most = (q: 0 | 1 | 2) => Math.max(max[q] * dearest, ...quantiles[q]);
    return { quantiles, max: [most(0), most(1), most(2)] };
  };
  const bytes = path.map((_, h) => {
    let sum = 0;
    for (const one of many) sum += one.stateBytes + one.stateGrowth * one.rate[h]! * (h + 1);
    return sum;
  });
  const last = bytes[bytes.length - 1] ?? many.reduce((sum, one) => sum + one.stateBytes, 0);
  return {
    requests: per(() => 1),
    cpu: per((one, h) => one.cpuSeconds * (one.mix?.cpu[h] ?? 1)),
    memory: {
      quantiles: MEMORY_ABOVE.map((above) => bytes.map((b) => b * above)) as MetricForecast['quantiles'],
      max: MEMORY_ABOVE.map((above) => last * above) as MetricForecast['max'],
    },
    networkIn: per((one, h) => one.bytesIn * (one.mix?.bytesIn[h] ?? 1)),
    networkOut: per((one, h) => one.bytesOut * (one.mix?.bytesOut[h] ?? 1)),
  };
}

function originsOf(many: readonly Expected[], horizons: number): ShardForecast['byOrigin'] {
  const sums: ShardForecast['byOrigin'] = {};
  for (const { byOrigin } of many)
    for (const [origin, { commands, queries }] of Object.entries(byOrigin)) {
      sums[origin] ??= { commands: new Array(horizons).fill(0), queries: new Array(horizons).fill(0) };
      for (let h = 0; h < horizons; h++) {
        sums[origin].commands[h]! += commands[h]!;
        sums[origin].queries[h]! += queries[h]!;
      }
    }
  return sums;
}
