/**
 * By which handlers each service is asked, as shares, and what those shares to come say of the cost of a request.
 *
 * A shard's CPU and bytes a request are decayed means (`means.ts`): they follow a mix that changes by time of day only after
 * it changed. Nodes report what each handler was asked and took; here each (service, handler) is a row of a
 * {@link SeriesBank} whose value is the handler's share of its service's requests. The shares foreseen, times what a
 * request of each handler takes, are what a request will take; beside each shard's means the same is kept for the mixes in
 * which they were measured. Their ratio corrects the mean, as far as such changes came true before ({@link MixTrust}). It
 * knows nothing of the shard, only of its service.
 *
 * Boundary: pure. Invariants: without a mix, or where a service has one handler, nothing is corrected; a correction is at
 * most {@link MIX_FACTOR_MAX} either way; there are at most {@link MIX_ROWS_MAX} rows of named handlers and one of others
 * a service; handlers unheard of for {@link MIX_FORGET_S} are forgotten, a service with the last of its handlers.
 */
import { type HandlerLoad, type LoadSample, OTHER_HANDLERS } from '../model/load.ts';
import type { HandlerShare } from '../model/loop.ts';
import type { SeriesBank } from './bank/bank.ts';
import { DecayedSums, type DecayedSumsState } from './decayed-sums.ts';
import {
  MEANS_HALF_LIFE_REQUESTS,
  MIX_FACTOR_MAX,
  MIX_FORGET_S,
  MIX_HANDLERS_MAX,
  MIX_ROWS_MAX,
  MIX_SILENT_STEPS,
  MIX_SMOOTH_PERIOD_PARTS,
  MIX_SMOOTH_REQUESTS,
  MIX_SMOOTH_STEPS_MAX,
  MIX_TRUST_PERIODS,
} from './defaults.ts';
import { MixFollowing } from './mix-following.ts';
import { MixTrust, type MixTrustState } from './mix-trust.ts';
import { detectPeriods } from './period.ts';
import { RowSeries, type RowSeriesState, seriesBank } from './row-series.ts';

/** Columns of costs: column 0 is requests. */
const CPU = 1;
const BYTES_IN = 2;
const BYTES_OUT = 3;
const COMMANDS = 4;
const COLUMNS = 5;

/** What a request takes at some mix, by column; 0 is not used. */
type Costs = Float64Array;

/** What a request of a service will take, and how far that is believed, by column. */
export interface ForeseenCosts {
  costs: Costs;
  trust: Float64Array;
}

/** By how much a shard's means are to be multiplied, at each horizon. */
export interface MixFactors {
  cpu: number[];
  bytesIn: number[];
  bytesOut: number[];
  commands: number[];
}

interface Handler {
  name: string;
  series: RowSeries;
  /** Its requests and its service's, decayed by as many steps as it needs to have been asked a few times. */
  requests: number;
  all: number;
  /** Requests a step of late. */
  recent: number;
  /** Steps since it was last asked. */
  idle: number;
  /** Decayed sums by column. */
  costs: Float64Array;
  /** Of this step, by column. */
  step: Float64Array;
}

interface ServiceMix {
  /** The engine's number. */
  index: number;
  handlers: Map<string, Handler>;
  /** Steps since it was first heard of. */
  age: number;
  /** Its requests, decayed by {@link MIX_SMOOTH_STEPS_MAX}. */
  all: number;
  /** Steps over which it is learnt what came of mixes. */
  memory: number;
  /** What a request takes at the mix of the newest step; undefined where that step told none. */
  now: Costs | undefined;
  trust: MixTrust;
}

type HandlerState = Omit<Handler, 'series' | 'costs' | 'step'> & { series: RowSeriesState; costs: number[] };

export interface MixState {
  silent: number;
  services: {
    service: string;
    index: number;
    age: number;
    all: number;
    trust: MixTrustState;
    handlers: HandlerState[];
  }[];
  observed: DecayedSumsState;
  following: number[];
}

export class HandlerMixes {
  readonly #bank: SeriesBank;
  readonly #stepS: number;
  readonly #services = new Map<string, ServiceMix>();
  /** Beside each shard's means: what a request takes at the mixes of the same steps. */
  readonly #observed = new DecayedSums(COLUMNS);
  readonly #following = new MixFollowing();
  readonly #values = new Float64Array(COLUMNS);
  #rows = 0;
  #period = 0;
  /** Steps since a mix was last told. */
  #silent = 0;

  constructor(stepS: number) {
    this.#stepS = stepS;
    this.#bank = seriesBank(stepS);
  }

  /**
   * Learns a step.
   *
   * @param mix undefined where no node told one
   * @param indexOf the engine's number of a service; -1 for one that it does not tell apart
   */
  observe(mix: readonly HandlerLoad[] | undefined, indexOf: (service: string) => number): void {
    if (mix === undefined) {
      this.missing();
      return;
    }
    this.#silent = 0;
    for (const { handlers } of this.#services.values())
      for (const { step } of handlers.values()) step.fill(0);
    for (const load of mix) this.#count(load, indexOf);
    for (const [name, service] of this.#services) this.#learn(name, service);
  }

  /** A step of which nothing is known. */
  missing(): void {
    this.#silent++;
    for (const service of this.#services.values()) {
      service.age++;
      service.now = undefined;
      for (const { series } of service.handlers.values()) series.observe(Number.NaN);
    }
  }

  /** A shard was asked so much in the newest step: at that mix its means were observed. After {@link observe}. */
  touch(index: number, name: string, prefix: number, sample: LoadSample): void {
    const service = this.#services.get(name);
    if (service?.now === undefined) return;
    const { now, age, memory } = service;
    const requests = sample.commands + sample.queries;
    this.#following.observe(index, age, memory, requests, now[CPU]!, sample.cpuSeconds);
    const values = this.#values;
    for (let column = 0; column < COLUMNS; column++)
      values[column] = column === 0 ? requests : requests * now[column]!;
    this.#observed.add(index, service.index, prefix, values);
  }

  /** At each horizon in steps; undefined where nothing is to be corrected. */
  foresee(name: string, ahead: readonly number[]): ForeseenCosts[] | undefined {
    const service = this.#services.get(name);
    if (service === undefined || !this.#tells(service)) return undefined;
    const foreseen: ForeseenCosts[] = [];
    for (const steps of ahead) {
      const costs = foreseenCosts(service, steps);
      if (costs === undefined) return undefined;
      const trust = new Float64Array(COLUMNS);
      for (let column = CPU; column < COLUMNS; column++) trust[column] = service.trust.at(steps, column);
      foreseen.push({ costs, trust });
    }
    return foreseen;
  }

  /** @param foreseen of the shard's service */
  factors(index: number, service: number, prefix: number, foreseen: readonly ForeseenCosts[]): MixFactors {
    const observed = this.#observed;
    const part = this.#following.part(index);
    // The line is of CPU; of the rest it says who takes no part.
    const partOfRest = Math.min(1, part);
    const cpuBefore = observed.mean(index, service, prefix, CPU);
    const inBefore = observed.mean(index, service, prefix, BYTES_IN);
    const outBefore = observed.mean(index, service, prefix, BYTES_OUT);
    const commandsBefore = observed.mean(index, service, prefix, COMMANDS);
    const factors: MixFactors = { cpu: [], bytesIn: [], bytesOut: [], commands: [] };
    for (const { costs, trust } of foreseen) {
      const rest = (column: number, before: number) =>
        1 + trust[column]! * partOfRest * (bounded(costs[column]! / before) - 1);
      const cpu = bounded(this.#following.ratio(index, part, cpuBefore, costs[CPU]!));
      factors.cpu.push(1 + trust[CPU]! * (cpu - 1));
      factors.bytesIn.push(rest(BYTES_IN, inBefore));
      factors.bytesOut.push(rest(BYTES_OUT, outBefore));
      factors.commands.push(rest(COMMANDS, commandsBefore));
    }
    return factors;
  }

  /** Largest first; empty for a service that is not corrected. */
  shares(name: string, ahead: readonly number[]): HandlerShare[] {
    const service = this.#services.get(name);
    if (service === undefined || !this.#tells(service)) return [];
    const handlers = [...service.handlers.values()];
    const now = normal(handlers.map(share));
    const at = ahead.map((steps) =>
      normal(handlers.map(({ series }) => Math.max(0, series.predict(steps).p50))),
    );
    return handlers
      .map(({ name: handler }, i) => ({ handler, now: now[i]!, ahead: at.map((shares) => shares[i]!) }))
      .sort((a, b) => b.now - a.now);
  }

  /**
   * Looks for the periods of mixes; some milliseconds, to be called rarely.
   *
   * @param common in steps, of the load: a mix without a rhythm of its own has that one
   */
  lookForPeriods(common: number): void {
    this.#period = common;
    for (const { handlers } of this.#services.values()) {
      const rows = [...handlers.values()].map(({ series }) => series);
      // A load that stays level shows no period, and its mix may still have one.
      const period = common > 0 ? common : (detectPeriods(rows)[0] ?? 0);
      for (const series of rows) series.period = period;
    }
  }

  /** The row of a shard that was forgotten. */
  clear(index: number): void {
    this.#observed.clear(index);
    this.#following.clear(index);
  }

  /** Undefined: there is nothing to save. */
  save(): MixState | undefined {
    if (this.#services.size === 0) return undefined;
    return {
      silent: this.#silent,
      services: [...this.#services].map(([service, { index, age, all, trust, handlers }]) => ({
        service,
        index,
        age,
        all,
        trust: trust.save(),
        handlers: [...handlers.values()].map(({ step: _, series, costs, ...rest }) => ({
          ...rest,
          costs: [...costs],
          series: series.save(),
        })),
      })),
      observed: this.#observed.save(),
      following: this.#following.save(),
    };
  }

  /** @param state undefined: saved before there were mixes */
  load(state: MixState | undefined): void {
    if (state === undefined) return;
    this.#silent = state.silent;
    this.#observed.load(state.observed);
    this.#following.load(state.following);
    for (const { service, index, age, all, trust, handlers } of state.services) {
      const mix = newMix(index);
      mix.age = age;
      mix.all = all;
      mix.trust.load(trust);
      for (const { series, costs, ...rest } of handlers) {
        const row = new RowSeries(this.#bank);
        row.load(series);
        mix.handlers.set(rest.name, {
          ...rest,
          series: row,
          costs: Float64Array.from(costs),
          step: new Float64Array(COLUMNS),
        });
        if (rest.name !== OTHER_HANDLERS) this.#rows++;
      }
      this.#services.set(service, mix);
    }
  }

  /** One handler's share is always 1; an old mix says nothing of now. */
  #tells({ handlers }: ServiceMix): boolean {
    return handlers.size > 1 && this.#silent <= MIX_SILENT_STEPS;
  }

  #count(load: HandlerLoad, indexOf: (service: string) => number): void {
    const requests = readable(load.requests);
    let service = this.#services.get(load.service);
    if (service === undefined) {
      const index = indexOf(load.service);
      if (requests === 0 || index < 0) return;
      service = newMix(index);
      this.#services.set(load.service, service);
    }
    const handler = this.#handler(service, load.handler, requests);
    if (handler === undefined) return;
    const { step } = handler;
    step[0]! += requests;
    step[CPU]! += readable(load.cpuSeconds);
    step[BYTES_IN]! += readable(load.bytesIn);
    step[BYTES_OUT]! += readable(load.bytesOut);
    step[COMMANDS]! += Math.min(requests, readable(load.commands));
  }

  #handler(service: ServiceMix, name: string, requests: number): Handler | undefined {
    const known = service.handlers.get(name);
    if (known !== undefined || requests === 0) return known;
    if (name !== OTHER_HANDLERS) {
      if (service.handlers.size >= MIX_HANDLERS_MAX || this.#rows >= MIX_ROWS_MAX)
        return this.#handler(service, OTHER_HANDLERS, requests);
      this.#rows++;
    }
    const handler: Handler = {
      name,
      series: new RowSeries(this.#bank),
      requests: 0,
      all: service.all,
      recent: 0,
      idle: 0,
      costs: new Float64Array(COLUMNS),
      step: new Float64Array(COLUMNS),
    };
    // While its service was asked, and it was not, its share was none.
    for (let i = 0; i < Math.min(service.age, 64); i++) handler.series.observe(0);
    handler.series.period = service.handlers.values().next().value?.series.period ?? this.#period;
    service.handlers.set(name, handler);
    return handler;
  }

  #learn(name: string, service: ServiceMix): void {
    const handlers = [...service.handlers.values()];
    let all = 0;
    for (const { step } of handlers) all += step[0]!;
    service.age++;
    const isTold = handlers.length > 1;
    service.memory = MIX_TRUST_PERIODS * this.#periodOf(handlers[0]!);
    if (isTold) {
      const came = costsAt(handlers, ({ step }) => step[0]!);
      service.trust.settle(service.age, came, 1 - 1 / service.memory);
    }
    service.all = service.all * (1 - 1 / MIX_SMOOTH_STEPS_MAX) + all;
    for (const handler of handlers) {
      const { step, costs, series } = handler;
      const requests = step[0]!;
      handler.idle = requests > 0 ? 0 : handler.idle + 1;
      if (handler.idle * this.#stepS > MIX_FORGET_S) {
        this.#forget(name, service, handler);
        continue;
      }
      const keep = 2 ** (-requests / (16 * MEANS_HALF_LIFE_REQUESTS));
      for (let column = 0; column < COLUMNS; column++) costs[column] = costs[column]! * keep + step[column]!;
      handler.recent += (requests - handler.recent) / 8;
      const fade = 1 - 1 / this.#smoothSteps(handler);
      handler.requests = handler.requests * fade + requests;
      handler.all = handler.all * fade + all;
      series.observe(share(handler));
    }
    service.now = isTold ? costsAt(handlers, share) : undefined;
    if (!isTold) return;
    const usual = new Float64Array(COLUMNS);
    // Of a shard never seen: its service's.
    for (let column = CPU; column < COLUMNS; column++)
      usual[column] = this.#observed.mean(-1, service.index, -1, column);
    service.trust.say(service.age, usual, (ahead) => foreseenCosts(service, ahead));
  }

  /**
   * Steps over which a handler's share is taken: as many as it takes to be asked a few times. The median of a sparse count
   * is none, and an expensive handler asked now and then would be foreseen as never.
   */
  #smoothSteps(handler: Handler): number {
    const most = Math.min(MIX_SMOOTH_STEPS_MAX, this.#periodOf(handler) / MIX_SMOOTH_PERIOD_PARTS);
    return Math.max(1, Math.min(most, MIX_SMOOTH_REQUESTS / Math.max(handler.recent, 1e-9)));
  }

  /** In steps; a day where none shows. */
  #periodOf({ series }: Handler): number {
    return series.period > 0 ? series.period : 86_400 / this.#stepS;
  }

  #forget(name: string, service: ServiceMix, handler: Handler): void {
    handler.series.close();
    service.handlers.delete(handler.name);
    if (handler.name !== OTHER_HANDLERS) this.#rows--;
    if (service.handlers.size === 0) this.#services.delete(name);
  }
}

function newMix(index: number): ServiceMix {
  return {
    index,
    handlers: new Map(),
    age: 0,
    all: 0,
    memory: 1,
    now: undefined,
    trust: new MixTrust(COLUMNS),
  };
}

/** The mix of late where none at all is foreseen. */
function foreseenCosts({ handlers }: ServiceMix, ahead: number): Costs | undefined {
  const all = [...handlers.values()];
  return costsAt(all, ({ series }) => Math.max(0, series.predict(ahead).p50)) ?? costsAt(all, share);
}

/** Of its service's requests, of late. */
function share({ requests, all }: Handler): number {
  return all > 0 ? Math.min(1, requests / all) : 0;
}

/** What a request takes where handlers are asked by these weights; undefined where no weight says. */
function costsAt(handlers: readonly Handler[], weightOf: (handler: Handler) => number): Costs | undefined {
  const costs = new Float64Array(COLUMNS);
  let weights = 0;
  for (const handler of handlers) {
    const weight = weightOf(handler);
    const requests = handler.costs[0]!;
    if (!(weight > 0) || !(requests > 0)) continue;
    weights += weight;
    for (let column = CPU; column < COLUMNS; column++)
      costs[column]! += (weight * handler.costs[column]!) / requests;
  }
  if (weights === 0) return undefined;
  for (let column = CPU; column < COLUMNS; column++) costs[column]! /= weights;
  return costs;
}

/** Shares that add up to 1; zeros where there are none. */
function normal(weights: readonly number[]): number[] {
  const sum = weights.reduce((all, weight) => all + weight, 0);
  return weights.map((weight) => (sum > 0 ? weight / sum : 0));
}

/** 1 where nothing can be said. */
function bounded(factor: number): number {
  if (!Number.isFinite(factor) || factor < 0) return 1;
  return Math.max(1 / MIX_FACTOR_MAX, Math.min(MIX_FACTOR_MAX, factor));
}

/** Larger numbers are no measurement: sums of them would end as infinite. */
const READ_MAX = 1e18;

function readable(value: number): number {
  return value > 0 && value < READ_MAX ? value : 0;
}
