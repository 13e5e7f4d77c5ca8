/**
 * The forecaster of the predictive policy.
 *
 * Levels: (1) each group, i.e. one service's requests from one origin, is a row of a {@link SeriesBank} whose period is
 * found from all groups together; (2) a shard is its believed share of each group
 * ({@link Shares}); (3) hot shards also have models of their own, with (2) as one more of them; (4) CPU, memory and bytes
 * are rates times means per request, corrected by the mix of handlers to come ({@link HandlerMixes}). Everything is in
 * requests a step inside, a second outside.
 *
 * Boundary: pure; no clock, no randomness. Invariants: cost of a step is in its active shards plus a bounded number of
 * series; no forecast explodes; censored steps never teach low demand; missing steps teach nothing.
 */
import type { LoadStep } from '../metrics/step.ts';
import type { ShardId } from '../model/ids.ts';
import type { ForecastExplanation, ForecastQuality, HandlerShare, ShardForecast } from '../model/loop.ts';
import { ClassBands } from './bands.ts';
import type { BatchExpert } from './batch-expert.ts';
import { Calibration } from './calibration.ts';
import { Companions } from './companions.ts';
import {
  CALIBRATION_LEAD_STEPS,
  MIX_LEARN_STEPS,
  PERIOD_LOOK_FIRST_STEPS,
  PERIOD_LOOK_STEPS_MAX,
} from './defaults.ts';
import { digestOf, loadWhole } from './digest.ts';
import { makeRows, type Rows } from './engine-rows.ts';
import type { EngineState } from './engine-state.ts';
import type { Forecaster } from './forecaster.ts';
import type { Group } from './groups.ts';
import { RequestMeansTable } from './means.ts';
import type { ForeseenCosts, MixFactors } from './mix.ts';
import { detectPeriods } from './period.ts';
import type { SeriesQuantiles } from './row-series.ts';
import { aggregateForecast, type Expected, type GroupForecast, shardForecast } from './shard-forecast.ts';
import { Shares } from './shares.ts';
import { soundStep } from './sound-step.ts';
import { StepCounts } from './step-counts.ts';
import { WATCHED_STEPS } from './watch.ts';

/** Missing steps pushed one by one; a longer silence is treated as this long. */
const GAP_STEPS_MAX = 4096;
const FORMAT = 'skein-forecast-4';

const NOTHING: SeriesQuantiles = { p50: 0, p90: 0, p99: 0 };

/** What all shards of one question share. */
interface Ahead {
  steps: number[];
  groups: GroupForecast[];
  /** Of a service: what its requests will take, at each horizon; undefined where no mix says. */
  costs: (ForeseenCosts[] | undefined)[];
}

export interface EngineOptions {
  /** The trained network, models of one's own: see {@link BatchExpert}. */
  experts?: readonly BatchExpert[];
}

export class ForecastEngine implements Forecaster {
  readonly #shares = new Shares();
  readonly #means = new RequestMeansTable();
  readonly #bands = new ClassBands();
  readonly #experts: readonly BatchExpert[];
  #rows: Rows | undefined;
  readonly #calibration = new Calibration(this.#bands);
  readonly #counts = new StepCounts();
  readonly #companions = new Companions();
  #periods: number[] = [];
  #stepS = 1;
  #lastNumber: number | undefined;
  #steps = 0;
  #nextPeriodLook = PERIOD_LOOK_FIRST_STEPS;
  #share = new Float64Array(16);

  /** @param options.experts asked about groups, hot shards and the total; none by default */
  constructor(options: EngineOptions = {}) {
    this.#experts = options.experts ?? [];
    this.#shares.onForget = (index) => {
      this.#means.clear(index);
      this.#rows?.mixes.clear(index);
    };
  }

  observe(given: LoadStep): void {
    const step = soundStep(given);
    if (step === undefined) return;
    this.#rows ??= this.#makeRows(step.stepS);
    if (this.#lastNumber !== undefined) {
      if (step.number <= this.#lastNumber) return;
      const gap = Math.min(GAP_STEPS_MAX, step.number - this.#lastNumber - 1);
      for (let i = 0; i < gap; i++) this.#missing();
    }
    this.#lastNumber = step.number;
    // A step in which most of the load is unheard of says more about the nodes than about demand.
    if (step.missingShare > 0.5) {
      this.#missing();
      return;
    }
    this.#learn(step);
    this.#afterStep();
  }

  forecast(shards: readonly ShardId[], horizonsS: readonly number[]): ShardForecast[] {
    const ahead = this.#ask(horizonsS);
    return shards.map((shard) =>
      shardForecast(this.#expected(shard, ahead), ahead.groups, horizonsS, this.#stepS, this.#bands),
    );
  }

  aggregate(shards: readonly ShardId[], horizonsS: readonly number[]): ShardForecast {
    const ahead = this.#ask(horizonsS);
    const many = shards.map((shard) => this.#expected(shard, ahead));
    const total = ahead.steps.map((steps) => this.#rows?.total.predict(steps) ?? NOTHING);
    return aggregateForecast(many, ahead.groups, total, horizonsS, this.#stepS);
  }

  service(name: string, horizonsS: readonly number[]): { p50: number[]; p90: number[]; p99: number[] } {
    const { steps, groups } = this.#ask(horizonsS);
    const at = (q: 'p50' | 'p90' | 'p99') =>
      steps.map((_, h) => {
        let sum = 0;
        let square = 0;
        groups.forEach(({ points }, g) => {
          if (this.#shares.services[this.#groups[g]!.service]!.name !== name) return;
          sum += points[h]!.p50;
          square += (points[h]![q] - points[h]!.p50) ** 2;
        });
        return (sum + Math.sqrt(square)) / this.#stepS;
      });
    return { p50: at('p50'), p90: at('p90'), p99: at('p99') };
  }

  total(horizonsS: readonly number[]): { p50: number[]; p90: number[]; p99: number[] } {
    const result = { p50: [] as number[], p90: [] as number[], p99: [] as number[] };
    for (const seconds of horizonsS) {
      const ahead = this.#stepsAhead(seconds);
      const { p50, p90, p99 } = this.#rows?.total.predict(ahead) ?? NOTHING;
      result.p50.push(p50 / this.#stepS);
      result.p90.push(p90 / this.#stepS);
      result.p99.push(p99 / this.#stepS);
    }
    return result;
  }

  mix(service: string, horizonsS: readonly number[]): HandlerShare[] {
    const steps = horizonsS.map((seconds) => this.#stepsAhead(seconds));
    return this.#rows?.mixes.shares(service, steps) ?? [];
  }

  quality(): ForecastQuality[] {
    const { total } = this.#rows ?? {};
    if (total === undefined) return [];
    return WATCHED_STEPS.map((steps) => total.watched(steps))
      .filter(({ scores }) => scores > 0)
      .map(({ ahead, coverageP90, lossAgainstNaive, fallsBack }) => ({
        aheadS: ahead * this.#stepS,
        coverageP90,
        lossAgainstNaive,
        fallsBack,
      }));
  }

  explain(shard: ShardId): ForecastExplanation {
    const index = this.#shares.indexOf(shard);
    const periodsS = this.#periods.map((steps) => steps * this.#stepS);
    const middle = 8;
    const group = this.#loudestGroup(index);
    const weights: Record<string, number> = {};
    const aggregate = group?.series.explain(middle);
    for (const [name, weight] of Object.entries(aggregate?.weights ?? {})) weights[`group:${name}`] = weight;
    if (index === undefined) return { periodsS, weights, coverageP90: aggregate?.coverageP90 ?? 0.9 };
    const names = ['slow', 'medium', 'fast', 'instant'];
    this.#shares.beliefs(index).forEach((belief, i) => {
      weights[`share:${names[i] ?? i}`] = belief;
    });
    const hot = this.#rows?.hot.get(index);
    if (hot !== undefined)
      for (const [name, weight] of Object.entries(hot.explain(middle).weights))
        weights[`shard:${name}`] = weight;
    const expected = this.#factor(index, CALIBRATION_LEAD_STEPS);
    return { periodsS, weights, coverageP90: this.#bands.coverageP90(expected) };
  }

  /** Detected periods in seconds, strongest first. */
  get periodsS(): number[] {
    return this.#periods.map((steps) => steps * this.#stepS);
  }

  get #groups(): readonly Group[] {
    return this.#rows?.groups.all ?? [];
  }

  /** A value of a step stands for its middle: half a step before its end. */
  #stepsAhead(seconds: number): number {
    return Math.max(1, seconds / this.#stepS + 0.5);
  }

  #ask(horizonsS: readonly number[]): Ahead {
    const steps = horizonsS.map((seconds) => this.#stepsAhead(seconds));
    const last = steps[steps.length - 1] ?? 1;
    const groups = this.#groups.map(({ series }) => ({
      points: steps.map((ahead) => series.predict(ahead)),
      max: series.predictMax(last),
    }));
    const costs = this.#shares.services.map(({ name }) => this.#rows?.mixes.foresee(name, steps));
    return { steps, groups, costs };
  }

  #expected(shard: ShardId, { steps: ahead, groups, costs }: Ahead): Expected {
    const index = this.#shares.indexOf(shard) ?? this.#shares.intern(shard);
    const service = this.#shares.serviceOf(index);
    const origins = this.#shares.origins;
    const byOrigin: ShardForecast['byOrigin'] = {};
    const rate: number[] = new Array(ahead.length).fill(0);
    const shares = new Float64Array(this.#groups.length);
    const believed = this.#sharesOf(index);
    const means = this.#means.of(index, service, this.#shares.prefixOf(index));
    const mix = this.#mixOf(index, service, costs[service]);
    let peak = 0;
    this.#groups.forEach((group, g) => {
      if (group.service !== service) return;
      const share = believed[group.origin]!;
      shares[g] = share;
      const { points, max } = groups[g]!;
      const commands: number[] = new Array(ahead.length);
      const queries: number[] = new Array(ahead.length);
      for (let h = 0; h < ahead.length; h++) {
        const expected = share * points[h]!.p50;
        rate[h]! += expected;
        const commandShare = Math.min(1, means.commandShare * (mix?.commands[h] ?? 1));
        commands[h] = (expected * commandShare) / this.#stepS;
        queries[h] = (expected * (1 - commandShare)) / this.#stepS;
      }
      peak += share * Math.max(max.p50, points[0]?.p50 ?? 0);
      byOrigin[origins[group.origin]!] = { commands, queries };
    });
    const { cpuSeconds, bytesIn, bytesOut } = means;
    const own = this.#adjustHot(index, ahead, rate, byOrigin);
    return {
      shard,
      rate,
      byOrigin,
      shares,
      peak,
      own,
      together: own && this.#companions.of(shard),
      surge: this.#rows?.hot.get(index)?.surge,
      cpuSeconds,
      bytesIn,
      bytesOut,
      mix,
      stateBytes: this.#means.stateBytes(index),
      stateGrowth: this.#means.stateGrowth(index),
    };
  }

  #mixOf(index: number, service: number, costs: ForeseenCosts[] | undefined): MixFactors | undefined {
    if (costs === undefined) return undefined;
    return this.#rows!.mixes.factors(index, service, this.#shares.prefixOf(index), costs);
  }

  /** A hot shard's own models know better how much, and how far off they may be; where from stays the groups' answer. */
  #adjustHot(
    index: number,
    ahead: readonly number[],
    rate: number[],
    byOrigin: ShardForecast['byOrigin'],
  ): SeriesQuantiles[] | undefined {
    const hot = this.#rows?.hot.get(index);
    return (
      hot &&
      ahead.map((steps, h) => {
        const said = hot.predict(steps);
        const scale = rate[h]! > 0 ? said.p50 / rate[h]! : 1;
        rate[h] = said.p50;
        for (const counts of Object.values(byOrigin)) {
          counts.commands[h]! *= scale;
          counts.queries[h]! *= scale;
        }
        return said;
      })
    );
  }

  #learn(step: LoadStep): void {
    this.#steps++;
    this.#shares.beginStep();
    const fill = 1 / (1 - step.missingShare);
    // Rows and groups first: shares are compared with what their groups did in the same step.
    const rows: number[] = [];
    for (const sample of step.shards) {
      rows.push(this.#shares.intern(sample.shard));
      for (const origin of Object.keys(sample.byOrigin)) this.#shares.originOf(origin);
    }
    const origins = this.#shares.origins.length;
    if (this.#share.length < origins) this.#share = new Float64Array(origins * 2);
    const counts = new Float64Array(rows.length * origins);
    const groups = new Float64Array(this.#shares.services.length * origins);
    for (let i = 0; i < rows.length; i++) {
      const sample = step.shards[i]!;
      const row = counts.subarray(i * origins, (i + 1) * origins);
      for (const [origin, count] of Object.entries(sample.byOrigin))
        row[this.#shares.originOf(origin)] = count.commands + count.queries;
      if (sample.censored) this.#lift(rows[i]!, row);
      const service = this.#shares.serviceOf(rows[i]!) * origins;
      for (let origin = 0; origin < origins; origin++) groups[service + origin]! += row[origin]!;
    }
    const { hot, total, mixes } = this.#rows!;
    this.#rows!.groups.observe(groups, origins, fill, this.#steps, this.#periods[0] ?? 0);
    for (const { service, origin } of this.#groups)
      this.#shares.addGroup(service, origin, groups[service * origins + origin]!);
    mixes.observe(step.mix, (name) => this.#shares.services.findIndex((service) => service.name === name));
    this.#learnShards(step, rows, counts, groups, origins);
    hot.observe(
      (index) => this.#counts.of(index, this.#steps),
      (index, surprise) => this.#companions.hear(this.#shares.ids[index]!, surprise),
    );
    this.#companions.endStep();
    let sum = 0;
    for (const requests of groups) sum += requests * fill;
    total.observe(sum);
    this.#check();
  }

  #learnShards(
    step: LoadStep,
    rows: readonly number[],
    counts: Float64Array,
    groups: Float64Array,
    origins: number,
  ): void {
    for (let i = 0; i < rows.length; i++) {
      const index = rows[i]!;
      const service = this.#shares.serviceOf(index);
      const row = counts.subarray(i * origins, (i + 1) * origins);
      const sample = step.shards[i]!;
      const prefix = this.#shares.prefixOf(index);
      this.#shares.touch(index, row, groups.subarray(service * origins, (service + 1) * origins));
      this.#means.observe(index, service, sample, prefix);
      const { name } = this.#shares.services[service]!;
      this.#rows!.mixes.touch(index, name, prefix, sample);
      let requests = 0;
      for (let origin = 0; origin < origins; origin++) requests += row[origin]!;
      this.#counts.set(index, this.#steps, requests);
      this.#rows!.hot.consider(index, requests, this.#steps);
    }
  }

  /** Censored demand was at least what was seen; what was expected is the better guess where it is more. */
  #lift(index: number, row: Float64Array): void {
    const shares = this.#sharesOf(index);
    const service = this.#shares.serviceOf(index);
    for (const group of this.#groups)
      if (group.service === service)
        row[group.origin] = Math.max(row[group.origin]!, shares[group.origin]! * group.series.predict(1).p50);
  }

  #afterStep(): void {
    if (this.#steps % MIX_LEARN_STEPS === 0)
      for (let service = 0; service < this.#shares.services.length; service++) this.#shares.learnMix(service);
    const { hot, total, mixes } = this.#rows!;
    hot.lookForPeriods(this.#steps);
    const { length } = total;
    if (length < this.#nextPeriodLook) return;
    this.#nextPeriodLook = length + Math.min(PERIOD_LOOK_STEPS_MAX, Math.max(4, length >> 3));
    this.#periods = detectPeriods(this.#groups.map(({ series }) => series));
    const period = this.#periods[0] ?? 0;
    this.#rows!.groups.period = period;
    const totals = detectPeriods([total]);
    total.period = period > 0 ? period : (totals[0] ?? 0);
    hot.setCommonPeriod(period);
    mixes.lookForPeriods(period);
    if (period > 0) this.#shares.setPeriod(period);
  }

  #missing(): void {
    this.#steps++;
    this.#shares.beginStep();
    this.#rows!.groups.missing();
    this.#rows!.total.observe(Number.NaN);
    this.#rows!.hot.missing();
    this.#rows!.mixes.missing();
    this.#calibration.forget();
  }

  #sharesOf(index: number): Float64Array {
    if (this.#share.length < this.#shares.origins.length)
      this.#share = new Float64Array(this.#shares.origins.length * 2);
    this.#shares.sharesOf(index, this.#share);
    return this.#share;
  }

  /** The share model's answer for a shard, in requests a step. */
  #factor(index: number, ahead: number): number {
    const shares = this.#sharesOf(index);
    const service = this.#shares.serviceOf(index);
    let sum = 0;
    for (const group of this.#groups)
      if (group.service === service) sum += shares[group.origin]! * group.series.predict(ahead).p50;
    return sum;
  }

  #loudestGroup(index: number | undefined): Group | undefined {
    const shares = index === undefined ? undefined : this.#sharesOf(index);
    const service = index === undefined ? undefined : this.#shares.serviceOf(index);
    let best: Group | undefined;
    let most = -1;
    for (const group of this.#groups) {
      if (service !== undefined && group.service !== service) continue;
      const requests = (shares?.[group.origin] ?? 1) * group.series.predict(1).p50;
      if (requests > most) {
        most = requests;
        best = group;
      }
    }
    return best;
  }

  #check(): void {
    const points = this.#groups.map(({ series }) => series.predict(CALIBRATION_LEAD_STEPS));
    this.#calibration.step(
      this.#steps,
      this.#shares.size,
      (index) => this.#counts.of(index, this.#steps),
      (index) => {
        const shares = this.#sharesOf(index);
        const service = this.#shares.serviceOf(index);
        let expected = 0;
        let variance = 0;
        this.#groups.forEach((group, g) => {
          if (group.service !== service) return;
          const { p50, p90 } = points[g]!;
          expected += shares[group.origin]! * p50;
          variance += (shares[group.origin]! * (p90 - p50)) ** 2;
        });
        return { expected, variance };
      },
    );
  }

  #makeRows(stepS: number): Rows {
    this.#stepS = stepS;
    return makeRows(stepS, this.#experts, (index, ahead) => this.#factor(index, ahead));
  }

  save(): EngineState {
    const state: EngineState = {
      format: FORMAT,
      stepS: this.#stepS,
      lastNumber: this.#lastNumber,
      steps: this.#steps,
      periods: [...this.#periods],
      shares: this.#shares.save(),
      means: this.#means.save(),
      bands: this.#bands.save(),
      total: this.#rows?.total.save(),
      hot: this.#rows?.hot.save() ?? [],
      groups: this.#rows?.groups.save() ?? [],
      mix: this.#rows?.mixes.save(),
      companions: this.#companions.save(),
    };
    return { ...state, digest: digestOf(state) };
  }

  load(saved: unknown): void {
    const state = saved as EngineState | undefined;
    if (state?.format !== FORMAT) throw new RangeError(`not a saved forecaster (wanted ${FORMAT})`);
    if (this.#steps > 0) throw new RangeError('a forecaster is loaded before it observes anything');
    loadWhole(state, () => this.#load(state));
  }

  #load(state: EngineState): void {
    if (state.total === undefined) return;
    const rows = this.#makeRows(state.stepS);
    this.#rows = rows;
    this.#lastNumber = state.lastNumber;
    this.#steps = state.steps;
    this.#periods = [...state.periods];
    this.#shares.load(state.shares);
    if (state.periods[0] !== undefined) this.#shares.setPeriod(state.periods[0]);
    this.#means.load(state.means);
    this.#bands.load(state.bands);
    rows.total.load(state.total);
    rows.hot.load(state.hot, state.periods[0] ?? 0);
    rows.mixes.load(state.mix);
    this.#companions.load(state.companions);
    rows.groups.load(state.groups);
    this.#nextPeriodLook = rows.total.length + 4;
  }
}
