/**
 * What a set of runs says: each policy's frontier of dollars against minutes over the objective, compared at equal dollars.
 *
 * A policy's runs at several headrooms are points. Its frontier is the lower envelope: going from cheap to dear, the least
 * minutes so far, between points a straight line of ln(1 + minutes): from one headroom to the next minutes fall by a factor, and a line of
 * minutes would lie far above what is there, the more the further two points are apart. Beyond its dearest point it keeps its minutes (the rest of the money is left);
 * below its cheapest it cannot go. Pure.
 */
import { NON_PREDICTIVE, type PolicyId, type RunResult } from './model.ts';

export interface FrontierPoint {
  usd: number;
  minutesOver: number;
}

/** Points that no cheaper one is better than, cheapest first. */
export function frontier(runs: readonly RunResult[]): FrontierPoint[] {
  const points = runs
    .map((run) => ({ usd: run.usd.total, minutesOver: run.minutesOver }))
    .sort((a, b) => a.usd - b.usd || a.minutesOver - b.minutesOver);
  const kept: FrontierPoint[] = [];
  for (const point of points)
    if (kept.length === 0 || point.minutesOver < kept.at(-1)!.minutesOver) kept.push(point);
  return kept;
}

/** Minutes over the objective that a frontier reaches for so many dollars; undefined below its cheapest point. */
export function minutesAt(points: readonly FrontierPoint[], usd: number): number | undefined {
  const after = points.findIndex((point) => point.usd >= usd);
  if (after < 0) return points.at(-1)?.minutesOver;
  if (after === 0) return points[0]!.usd === usd ? points[0]!.minutesOver : undefined;
  const [left, right] = [points[after - 1]!, points[after]!];
  const share = (usd - left.usd) / (right.usd - left.usd);
  const from = Math.log1p(left.minutesOver);
  return Math.expm1(from + share * (Math.log1p(right.minutesOver) - from));
}

/** Dollars for which a frontier reaches so few minutes; undefined where it never does. */
export function usdFor(points: readonly FrontierPoint[], minutesOver: number): number | undefined {
  const after = points.findIndex((point) => point.minutesOver <= minutesOver);
  if (after < 0) return undefined;
  if (after === 0) return points[0]!.usd;
  const [left, right] = [points[after - 1]!, points[after]!];
  const from = Math.log1p(left.minutesOver);
  const share = (from - Math.log1p(minutesOver)) / (from - Math.log1p(right.minutesOver));
  return left.usd + share * (right.usd - left.usd);
}

/** One seed at equal dollars. */
export interface SeedComparison {
  seed: string;
  /** The range of dollars that is compared over. */
  usd: [from: number, to: number];
  /** Mean minutes over the objective over that range; absent: cannot be had so cheaply. */
  minutes: Partial<Record<PolicyId, number>>;
  /** The same for whichever policy without foresight is best at each amount of dollars. */
  bestNonPredictive?: number;
  /** The one that is best for most of the range. */
  bestNonPredictivePolicy?: PolicyId;
  /** 1 - predictive / best non-predictive. */
  reduction?: number;
  /** 1 - oracle / best non-predictive: what there is to gain. */
  available?: number;
  /** Share of the oracle's gain that predictive has. */
  captured?: number;
  /** Dollars saved at equal minutes: those of the middle of the range, as a share. */
  usdSaved?: number;
}

/** Below this share there is nothing to gain worth speaking of. */
export const GAIN_SHARE_MIN = 0.02;
/** Below so many minutes a day there is nothing to gain either: nobody waits. */
export const MINUTES_PER_DAY_MIN = 0.1;
/** Amounts of dollars that are compared. */
const POINTS = 33;

/**
 * Compares over all dollars from the least that every policy which scales, and does not waste, can run for, to those for which some policy
 * without foresight keeps within the accepted minutes (or the most that makes one better). One amount alone would decide who
 * wins: cheap, everything overloads; dear, a fleet bought for the peak is as good as any forecast.
 *
 * @param acceptedMinutes over the whole scored time
 */
export function compareSeed(
  seed: string,
  runs: readonly RunResult[],
  acceptedMinutes: number,
): SeedComparison {
  const frontiers = new Map<PolicyId, FrontierPoint[]>();
  for (const [policy, group] of Map.groupBy(runs, (run) => run.policy))
    frontiers.set(policy, frontier(group));
  const blind = [...frontiers].filter(([policy]) => NON_PREDICTIVE.has(policy));
  const low = leastUsd(frontiers);
  const enough = blind
    .map(([, points]) => usdFor(points, acceptedMinutes))
    .filter((usd) => usd !== undefined);
  // Beyond what makes any of them better everybody only keeps what he has.
  const better = blind
    .flatMap(([, points]) => points)
    .sort((a, b) => a.minutesOver - b.minutesOver || a.usd - b.usd);
  const most = Math.max(low, better[0]?.usd ?? low);
  const high = Math.max(low, enough.length > 0 ? Math.min(...enough) : most);
  const comparison: SeedComparison = { seed, usd: [low, high], minutes: {} };
  const sums = new Map<PolicyId, number>();
  const wins = new Map<PolicyId, number>();
  let best = 0;
  for (let k = 0; k < POINTS; k++) {
    const usd = low + ((high - low) * k) / (POINTS - 1);
    let least = Number.POSITIVE_INFINITY;
    let leastPolicy: PolicyId | undefined;
    for (const [policy, points] of frontiers) {
      const minutes = minutesAt(points, usd);
      sums.set(policy, (sums.get(policy) ?? 0) + (minutes ?? Number.NaN));
      if (minutes === undefined || !NON_PREDICTIVE.has(policy) || minutes >= least) continue;
      least = minutes;
      leastPolicy = policy;
    }
    best += least / POINTS;
    if (leastPolicy !== undefined) wins.set(leastPolicy, (wins.get(leastPolicy) ?? 0) + 1);
  }
  for (const [policy, sum] of sums) if (!Number.isNaN(sum)) comparison.minutes[policy] = sum / POINTS;
  if (!Number.isFinite(best)) return comparison;
  comparison.bestNonPredictive = best;
  comparison.bestNonPredictivePolicy = [...wins].sort((a, b) => b[1] - a[1])[0]?.[0];
  const { predictive, oracle } = comparison.minutes;
  const calm = best < (MINUTES_PER_DAY_MIN * (runs[0]?.scoredS ?? 0)) / 86_400;
  if (oracle !== undefined) comparison.available = calm ? 0 : 1 - oracle / best;
  if (predictive !== undefined) comparison.reduction = best === 0 ? 0 : 1 - predictive / best;
  if (predictive !== undefined && oracle !== undefined && (comparison.available ?? 0) >= GAIN_SHARE_MIN)
    comparison.captured = (best - predictive) / (best - oracle);
  const middle = (low + high) / 2;
  const there = Math.min(...blind.map(([, points]) => minutesAt(points, middle) ?? Number.POSITIVE_INFINITY));
  const cheaper = usdFor(frontiers.get('predictive') ?? [], there);
  if (cheaper !== undefined && Number.isFinite(there)) comparison.usdSaved = 1 - cheaper / middle;
  return comparison;
}

/**
 * From here on every policy that scales can be had, but for those that waste: one without foresight that, for the least it costs, is no
 * better than another is for as much, must not decide what is compared.
 */
function leastUsd(frontiers: ReadonlyMap<PolicyId, readonly FrontierPoint[]>): number {
  const blind = [...frontiers].filter(([policy]) => NON_PREDICTIVE.has(policy));
  const isWasteful = (policy: PolicyId, { usd, minutesOver }: FrontierPoint) =>
    NON_PREDICTIVE.has(policy) &&
    blind.some(
      ([other, points]) =>
        other !== policy && (minutesAt(points, usd) ?? Number.POSITIVE_INFINITY) <= minutesOver,
    );
  const scaling = [...frontiers].filter(([policy]) => !FIXED.has(policy));
  const deciding = scaling.filter(([policy, points]) => !isWasteful(policy, points[0]!));
  const counted = deciding.length > 0 ? deciding : scaling.length > 0 ? scaling : [...frontiers];
  return Math.max(...counted.map(([, points]) => points[0]!.usd));
}

/** Fleets that do not scale: bought once. */
export const FIXED: ReadonlySet<PolicyId> = new Set<PolicyId>(['hash', 'static', 'bestFixed']);

export interface Interval {
  mean: number;
  /** Half of the 95 % interval over seeds; NaN for a single one. */
  half: number;
  count: number;
}

/** 97.5 % points of Student's t for 1 to 30 degrees of freedom. */
const T_975 = [
  12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.16, 2.145, 2.131,
  2.12, 2.11, 2.101, 2.093, 2.086, 2.08, 2.074, 2.069, 2.064, 2.06, 2.056, 2.052, 2.048, 2.045, 2.042,
];

export function interval(values: readonly number[]): Interval | undefined {
  const count = values.length;
  if (count === 0) return undefined;
  const mean = values.reduce((a, b) => a + b, 0) / count;
  if (count === 1) return { mean, half: Number.NaN, count };
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (count - 1);
  return { mean, half: (T_975[count - 2] ?? 1.96) * Math.sqrt(variance / count), count };
}

export interface Verdict {
  reduction?: Interval;
  available?: Interval;
  captured?: Interval;
  usdSaved?: Interval;
  /** Plain sentences, most important first. */
  text: string[];
}

/** @param expected reduction that was expected beforehand: from, to */
export function verdict(seeds: readonly SeedComparison[], expected?: readonly [number, number]): Verdict {
  const over = (pick: (seed: SeedComparison) => number | undefined) =>
    interval(seeds.map(pick).filter((value): value is number => value !== undefined));
  const reduction = over((seed) => seed.reduction);
  const available = over((seed) => seed.available);
  const captured = over((seed) => seed.captured);
  const usdSaved = over((seed) => seed.usdSaved);
  const text: string[] = [];
  const names = [...new Set(seeds.flatMap((seed) => seed.bestNonPredictivePolicy ?? []))];
  const blind = over((seed) => seed.bestNonPredictive)?.mean;
  const lacks = (policy: PolicyId) => {
    if (seeds.every((seed) => seed.minutes[policy] === undefined))
      return `${policy} was not run, or not for the same dollars`;
    return 'no policy without foresight was run, or not for the same dollars';
  };
  if (available === undefined) text.push(`What there is to gain is not known: ${lacks('oracle')}.`);
  else if (available.mean < GAIN_SHARE_MIN)
    text.push(
      `No gain: even a perfect forecast would save ${percent(Math.max(0, available.mean))} of the minutes over the objective at equal dollars (${minutes(blind)} without foresight).`,
    );
  else
    text.push(
      `There is something to gain: a perfect forecast would have ${percent(available.mean)}${plusMinus(available)} fewer minutes over the objective at equal dollars.`,
    );
  if (reduction === undefined)
    text.push(`What moving ahead of load saves is not known: ${lacks('predictive')}; see the table.`);
  else {
    const sure = Number.isNaN(reduction.half) || Math.abs(reduction.mean) > reduction.half;
    text.push(
      `Moving ahead of load has ${percent(Math.abs(reduction.mean))}${plusMinus(reduction)} ${reduction.mean >= 0 ? 'fewer' : 'more'} of them than the best policy that foresees nothing (mostly ${names.join(' or ')})${sure ? '' : ', which is within the noise'}: ${minutes(over((seed) => seed.minutes.predictive)?.mean)} against ${minutes(blind)}.`,
    );
  }
  if (captured !== undefined)
    text.push(
      `That is ${percent(captured.mean)}${plusMinus(captured)} of what a perfect forecast gains (${minutes(over((seed) => seed.minutes.oracle)?.mean)} left).`,
    );
  if (usdSaved !== undefined && (available?.mean ?? 1) >= GAIN_SHARE_MIN)
    text.push(
      `For the same minutes it spends ${percent(Math.abs(usdSaved.mean))}${plusMinus(usdSaved)} ${usdSaved.mean >= 0 ? 'less' : 'more'}.`,
    );
  if (expected !== undefined && reduction !== undefined) {
    const met = reduction.mean >= expected[0] && reduction.mean <= expected[1];
    text.push(
      `Expected beforehand: ${percent(expected[0])} to ${percent(expected[1])} fewer; ${met ? 'it came so' : 'it came otherwise'}.`,
    );
  }
  return { reduction, available, captured, usdSaved, text };
}

function percent(share: number): string {
  return `${(100 * share).toFixed(Math.abs(share) < 0.1 ? 1 : 0)} %`;
}

function plusMinus({ half }: Interval): string {
  return Number.isNaN(half) ? '' : ` (± ${(100 * half).toFixed(0)})`;
}

function minutes(value: number | undefined): string {
  return value === undefined ? 'not to be had' : `${value.toFixed(value < 10 ? 1 : 0)} min`;
}
