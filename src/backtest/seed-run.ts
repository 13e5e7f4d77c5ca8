/**
 * One seed of an experiment as parts that can be run apart, in any order and on any thread: three smoothings of `reactive` on the
 * tuning days, then each policy on the scored ones.
 *
 * Boundary: says what is to be run and what came of it; who runs it is the caller's. Invariant: what a part gives depends on the
 * scenario, its series, the seed and the part alone, and a headroom's run not on the others of its part.
 */
import { compareSeed, FIXED, frontier, minutesAt, type SeedComparison } from './compare.ts';
import type { Learnt } from './controller.ts';
import { isPlanned, LAST_VALUE_STEPS } from './forecasters.ts';
import { generate } from './generate.ts';
import type { ClusterModel, PolicyId, RunResult } from './model.ts';
import { learn, replay } from './run.ts';
import type { Scenario } from './scenario.ts';
import type { Series } from './series.ts';
import { makeWorkload, type Workload } from './workload.ts';

/** Smoothing tried for `reactive`, in steps: from the last value to a good part of a day of 5-minute steps. */
const HALF_LIVES_STEPS = [LAST_VALUE_STEPS, 3, 24] as const;
/** Headrooms of a scenario that tuning tries: every other one from the second on, which is enough to tell smoothings apart. */
const TUNING_STRIDE = 2;
/** Run-in before counting begins, seconds: where shards began must not matter. */
const RUN_IN_S = 6 * 3600;

export interface SeedReport extends SeedComparison {
  runs: RunResult[];
  reactiveHalfLifeS: number;
}

/** Plain data: it may cross to a worker thread. */
export interface Part {
  policy: PolicyId;
  headrooms: readonly number[];
  over: 'tuning' | 'scored';
  /** Smoothing of `reactive`. */
  halfLifeS: number;
}

export interface PartResult {
  part: Part;
  /** One a headroom, in their order. */
  runs: RunResult[];
}

export function partText({ policy, over, halfLifeS }: Part): string {
  return over === 'tuning' ? `tuning ${policy} (${halfLifeS} s)` : policy;
}

export class SeedRun {
  readonly seed: string;
  readonly workload: Workload;
  readonly #scenario: Scenario;
  readonly #model: ClusterModel;
  readonly #span: Span;
  #learnt: Learnt | undefined;

  /** @throws RangeError where the load cannot be replayed, with the reason */
  constructor(scenario: Scenario, model: ClusterModel, seed: string, series?: readonly Series[]) {
    this.seed = seed;
    this.#scenario = scenario;
    this.#model = model;
    this.workload = workloadOf(scenario, model, seed, series);
    this.#span = spanOf(scenario, this.workload);
  }

  tuning(): Part[] {
    const all = this.#scenario.headrooms;
    const headrooms = all.length === 1 ? all : all.filter((_, i) => i % TUNING_STRIDE === 1);
    return HALF_LIVES_STEPS.map((steps) => ({
      policy: 'reactive',
      headrooms,
      over: 'tuning',
      halfLifeS: steps * this.workload.stepS,
    }));
  }

  /** The smoothing that {@link scored} is asked with. */
  tunedHalfLifeS(tuned: readonly PartResult[]): number {
    return bestTuned(tuned).part.halfLifeS;
  }

  /** One a policy. Only that of `reactive` waits for the tuning, and where it has chosen the last value there is none: {@link report} knows. */
  scored(halfLifeS: number): Part[] {
    const { policies, headrooms, fixedHeadrooms } = this.#scenario;
    const isLastValue =
      halfLifeS === LAST_VALUE_STEPS * this.workload.stepS && policies.includes('lastValue');
    const run = isLastValue ? policies.filter((policy) => policy !== 'reactive') : policies;
    return run.map((policy) => ({
      policy,
      headrooms: FIXED.has(policy) ? fixedHeadrooms : headrooms,
      over: 'scored',
      halfLifeS,
    }));
  }

  /** Yields after every step, from 0 to 1. */
  run({ policy, headrooms, over, halfLifeS }: Part): Generator<number, RunResult[]> {
    const { tuneFrom, tune, from, score, to } = this.#span;
    this.#learnt ??= learn(this.#model, this.workload, 0, score);
    return replay({
      policy,
      model: this.#model,
      workload: this.workload,
      headrooms,
      fromStep: over === 'tuning' ? tuneFrom : from,
      scoreFromStep: over === 'tuning' ? tune : score,
      toStep: over === 'tuning' ? score : to,
      halfLifeS,
      network: this.#scenario.network,
      learnt: this.#learnt,
    });
  }

  /** How long a part takes beside others, in steps of one planned arm: for progress, and for who goes first. */
  workOf({ policy, headrooms, over }: Part): number {
    const { tuneFrom, from, score, to } = this.#span;
    const steps = over === 'tuning' ? score - tuneFrom : to - from;
    if (!isPlanned(policy)) return 0.03 * headrooms.length * steps;
    if (policy !== 'predictive') return (headrooms.length + 0.5) * steps;
    return (headrooms.length + (this.#scenario.network ? 8 : 3)) * steps;
  }

  /** Of all parts. */
  get work(): number {
    return [...this.tuning(), ...this.scored(0)].reduce((sum, part) => sum + this.workOf(part), 0);
  }

  /** @param scored the results of {@link scored} with the tuned smoothing, in any order */
  report(tuned: readonly PartResult[], scored: readonly PartResult[]): SeedReport {
    const of = (policy: PolicyId) => scored.find(({ part }) => part.policy === policy)?.runs;
    const runs = this.#scenario.policies.flatMap(
      (policy) => of(policy) ?? of('lastValue')!.map((run) => ({ ...run, policy })),
    );
    const { score, to } = this.#span;
    const accepted = (this.#scenario.accepted * (to - score) * this.workload.stepS) / 60;
    return {
      ...compareSeed(this.seed, runs, accepted),
      runs,
      reactiveHalfLifeS: this.tunedHalfLifeS(tuned),
    };
  }
}

export interface Span {
  /** Nodes and moves of tuning, its counting, those of the scored part, its counting, the end. */
  tuneFrom: number;
  tune: number;
  from: number;
  score: number;
  to: number;
}

export function spanOf(scenario: Scenario, workload: Workload): Span {
  const runIn = Math.max(1, Math.round(RUN_IN_S / workload.stepS));
  const score = Math.floor(workload.steps * scenario.learnShare);
  const tune = Math.floor(score / 2);
  const span = {
    tuneFrom: Math.max(1, tune - runIn),
    tune,
    from: Math.max(1, score - runIn),
    score,
    to: workload.steps,
  };
  if (span.tune <= span.tuneFrom || span.score <= span.tune + 1 || span.to <= span.score + 1)
    throw new RangeError(
      `${workload.steps} steps are too few to learn from, tune on and score; give at least some days`,
    );
  return span;
}

export function workloadOf(
  scenario: Scenario,
  model: ClusterModel,
  seed: string,
  series?: readonly Series[],
): Workload {
  if (series === undefined && scenario.generator === undefined)
    throw new RangeError('the scenario has no load: it names no generator, and no traces are given');
  const load = series
    ? cut(series, scenario.days)
    : generate({
        generator: scenario.generator!,
        seed,
        tenants: scenario.tenants,
        days: scenario.days,
        stepS: scenario.stepS ?? 300,
        noise: scenario.noise,
      });
  return makeWorkload(load, {
    seed,
    regions: scenario.regions,
    shards: scenario.shards === undefined ? undefined : Math.max(scenario.shards, load.length),
    homeShare: scenario.homeShare,
    followTheSun: scenario.followTheSun,
    zipf: scenario.zipf,
    noise: scenario.noise,
    sizePower: scenario.sizePower,
    peakCpu: scenario.peakNodes * model.nodeCpu,
    // A quarter of a node: four of the largest fit on one, or placement is a question of bin sizes.
    shardCpuMax: model.nodeCpu / 4,
    cpuSecondsPerRequest: model.cpuSecondsPerRequest,
    stateBytes: scenario.stateGb * 1e9,
    stateBytesSpread: scenario.stateSpread,
    stepS: scenario.stepS,
  });
}

/** The first days of each series. */
function cut(series: readonly Series[], days: number): Series[] {
  return series.map((one) => ({
    ...one,
    values: one.values.subarray(0, Math.ceil((days * 86_400) / one.stepS)),
  }));
}

/** Of parts that differ in their smoothing, the one with the fewest minutes over nine amounts of dollars that all can spend. */
function bestTuned(tuned: readonly PartResult[]): PartResult {
  const lines = tuned.map(({ runs }) => frontier(runs));
  const low = Math.max(...lines.map((line) => line[0]!.usd));
  const high = Math.max(low, ...lines.map((line) => line.at(-1)!.usd));
  let best = tuned[0]!;
  let least = Number.POSITIVE_INFINITY;
  lines.forEach((line, i) => {
    let sum = 0;
    for (let k = 0; k < 9; k++)
      sum += minutesAt(line, low + ((high - low) * k) / 8) ?? Number.POSITIVE_INFINITY;
    if (sum < least) {
      least = sum;
      best = tuned[i]!;
    }
  });
  return best;
}
