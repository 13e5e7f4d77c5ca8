/**
 * Each shard's share of its groups' traffic. A group is one service's requests from one origin.
 *
 * Most shards see far fewer than one request a step: their own series is noise. But a group's is not, and a shard's share
 * of it changes slowly, so expected rate = group forecast x share. Shares are ratios of decayed counts (shard over group),
 * at several memories. A chain of gamma priors ties them: the shard's popularity and the spread of origin mixes
 * stand behind the slowest, each memory behind the next faster one. Which memory to believe is a Bayesian mixture per
 * shard, forgetting towards "shares stay": a flash crowd's counts are impossible under the slow share and bring the fast
 * one up within a step or two.
 *
 * Invariants: a step costs only its active shards (decay is applied when a shard is touched or read); memory is one
 * fixed row a shard.
 */
import type { Region, ShardId } from '../model/ids.ts';
import {
  BELIEF_KEEP,
  BELIEF_TEMPER,
  MIX_CONCENTRATION_MAX,
  MIX_CONCENTRATION_MIN,
  POPULARITY_PRIOR_REQUESTS,
  SHARE_HALF_LIVES_STEPS,
  SHARE_PRIOR_BELIEF,
  SHARE_PRIOR_REQUESTS,
  SHARE_SLOW_PERIODS,
} from './defaults.ts';
import { Prefixes, type PrefixesState, prefixOf } from './prefixes.ts';

/** Memories of a share. */
export const MEMORIES = SHARE_HALF_LIVES_STEPS.length;
const PRIOR_LOG = SHARE_PRIOR_BELIEF.map(Math.log);
/** Evidence is bounded, so that no memory is ever ruled out for good. */
const EVIDENCE_MAX = 12;
/** Shards kept; beyond, the least used are forgotten (their next request starts them afresh). */
export const SHARE_SHARDS_MAX = 200_000;
/** Services with groups of their own; all further ones together are one more, called `*`. */
export const SHARE_SERVICES_MAX = 16;

/** A service's groups: decayed counts per origin and memory. */
export interface ServiceGroups {
  name: string;
  /** `counts[origin * MEMORIES + memory]`. */
  counts: Float64Array;
  shards: number;
  /** Concentration of origin mixes, see {@link MIX_CONCENTRATION_MIN}. */
  concentration: number;
}

export class Shares {
  readonly origins: Region[] = [];
  readonly services: ServiceGroups[] = [];
  readonly ids: ShardId[] = [];
  /** A row is another shard's from now on: what others keep by it is to be cleared. */
  onForget: (index: number) => void = () => {};
  readonly #originIndex = new Map<Region, number>();
  readonly #serviceIndex = new Map<string, number>();
  readonly #index = new Map<ShardId, number>();
  /** Origins there is room for in each row. */
  #stride = 4;
  #capacity = 0;
  #counts = new Float32Array(0);
  #touched = new Float64Array(0);
  #slowClockAt = new Float64Array(0);
  #evidence = new Float32Array(0);
  #service = new Uint16Array(0);
  #prefix = new Int16Array(0);
  /** Step of a shard's first request, and where the slow clock stood then: before, it was not there to be counted. */
  #born = new Float64Array(0);
  #bornClock = new Float64Array(0);
  readonly #prefixes = new Prefixes();
  #step = 0;
  /** Halvings of the slow memory so far: its half-life may change, decay is by the difference. */
  #slowClock = 0;
  #slowClockBefore = 0;
  #slowHalfLife: number = SHARE_HALF_LIVES_STEPS[0];
  readonly #keep = SHARE_HALF_LIVES_STEPS.map((halfLife) => 2 ** (-1 / halfLife));
  readonly #rates = new Float64Array(MEMORIES);

  get size(): number {
    return this.ids.length;
  }

  indexOf(shard: ShardId): number | undefined {
    return this.#index.get(shard);
  }

  /** The shard's key prefix, where enough others share it; else -1. */
  prefixOf(index: number): number {
    return this.#prefix[index]!;
  }

  serviceOf(index: number): number {
    return this.#service[index]!;
  }

  originOf(region: Region): number {
    let index = this.#originIndex.get(region);
    if (index === undefined) {
      index = this.origins.length;
      this.origins.push(region);
      this.#originIndex.set(region, index);
      if (index >= this.#stride) this.#widen();
      for (const service of this.services) service.counts = grown(service.counts, this.#stride * MEMORIES);
      this.#prefixes.widen(this.#stride);
    }
    return index;
  }

  /** Several days must fit the slow memory, whatever a day is. */
  setPeriod(steps: number): void {
    this.#slowHalfLife = Math.max(SHARE_HALF_LIVES_STEPS[0], SHARE_SLOW_PERIODS * steps);
  }

  /** Row of a shard, made on first sight. */
  intern(shard: ShardId): number {
    const known = this.#index.get(shard);
    if (known !== undefined) return known;
    const slash = shard.indexOf('/');
    let name = slash < 0 ? shard : shard.slice(0, slash);
    if (!this.#serviceIndex.has(name) && this.services.length >= SHARE_SERVICES_MAX) name = '*';
    let service = this.#serviceIndex.get(name);
    if (service === undefined) {
      service = this.services.length;
      this.#serviceIndex.set(name, service);
      this.services.push({
        name,
        counts: new Float64Array(this.#stride * MEMORIES),
        shards: 0,
        concentration: 1,
      });
    }
    const index = this.ids.length < SHARE_SHARDS_MAX ? this.ids.length : this.#leastUsed();
    if (index === this.ids.length) {
      this.ids.push(shard);
      this.#grow(this.ids.length);
    } else {
      this.#index.delete(this.ids[index]!);
      this.services[this.#service[index]!]!.shards--;
      this.#prefixes.leave(this.#prefix[index]!);
      this.ids[index] = shard;
      this.#counts.fill(0, index * this.#stride * MEMORIES, (index + 1) * this.#stride * MEMORIES);
      this.#evidence.fill(0, index * MEMORIES, (index + 1) * MEMORIES);
      this.onForget(index);
    }
    this.#index.set(shard, index);
    this.#service[index] = service;
    this.#touched[index] = this.#step;
    this.#slowClockAt[index] = this.#slowClock;
    this.#born[index] = UNBORN;
    this.#prefix[index] = this.#prefixes.join(prefixOf(shard), service, this.#stride);
    this.services[service]!.shards++;
    return index;
  }

  /** Starts a step: everything there is fades by one step (groups now, shards when touched). */
  beginStep(steps = 1): void {
    this.#step += steps;
    const slowKeep = 2 ** (-steps / this.#slowHalfLife);
    this.#slowClockBefore = this.#slowClock;
    this.#slowClock += steps / this.#slowHalfLife;
    for (const service of this.services)
      for (let at = 0; at < service.counts.length; at++) {
        const memory = at % MEMORIES;
        service.counts[at]! *= memory === 0 ? slowKeep : this.#keep[memory]! ** steps;
      }
    this.#prefixes.fade(slowKeep);
  }

  /** The group's requests of this step; before {@link touch}, which compares with them. */
  addGroup(service: number, origin: number, requests: number): void {
    const { counts } = this.services[service]!;
    for (let memory = 0; memory < MEMORIES; memory++) counts[origin * MEMORIES + memory]! += requests;
  }

  /**
   * A shard's requests of this step by origin (`counts[origin]`), and its groups' (`groups[origin]`): learns the shares
   * and which memory foresaw them.
   */
  touch(index: number, counts: Float64Array, groups: Float64Array): void {
    this.#fade(index);
    if (this.#born[index] === UNBORN) {
      // Its first step counts: that is the one in which it was seen.
      this.#born[index] = this.#step - 1;
      this.#bornClock[index] = this.#slowClockBefore;
    }
    const service = this.services[this.#service[index]!]!;
    const base = index * this.#stride * MEMORIES;
    const evidence = index * MEMORIES;
    this.#expose(index);
    for (let origin = 0; origin < this.origins.length; origin++) {
      const group = groups[origin]!;
      if (group <= 0) continue;
      const seen = counts[origin]!;
      this.#chain(index, service, origin, group);
      // Likelihood relative to the slow memory's, so that what all agree on cancels.
      const slow = Math.max(this.#rates[0]! * group, 1e-9);
      for (let memory = 1; memory < MEMORIES; memory++) {
        const expected = Math.max(this.#rates[memory]! * group, 1e-9);
        const said = seen * Math.log(expected / slow) - (expected - slow);
        const before = this.#evidence[evidence + memory]!;
        this.#evidence[evidence + memory] = Math.max(
          -EVIDENCE_MAX,
          Math.min(EVIDENCE_MAX, before + BELIEF_TEMPER * said),
        );
      }
    }
    for (let origin = 0; origin < this.origins.length; origin++) {
      for (let memory = 0; memory < MEMORIES; memory++)
        this.#counts[base + origin * MEMORIES + memory]! += counts[origin]!;
      this.#prefixes.add(this.#prefix[index]!, origin, counts[origin]!);
    }
  }

  /** The believed share of each origin's group, into `into[origin]`. */
  sharesOf(index: number, into: Float64Array): void {
    this.#fade(index);
    const service = this.services[this.#service[index]!]!;
    const belief = this.#belief(index);
    this.#expose(index);
    for (let origin = 0; origin < this.origins.length; origin++) {
      this.#chain(index, service, origin, 0);
      let share = 0;
      for (let memory = 0; memory < MEMORIES; memory++) share += belief[memory]! * this.#rates[memory]!;
      into[origin] = share;
    }
  }

  /** Belief in each memory, slowest first. */
  beliefs(index: number): number[] {
    this.#fade(index);
    return Array.from(this.#belief(index));
  }

  /** Requests the slow memory holds of a shard. */
  seen(index: number): number {
    this.#fade(index);
    const base = index * this.#stride * MEMORIES;
    let sum = 0;
    for (let origin = 0; origin < this.origins.length; origin++)
      sum += this.#counts[base + origin * MEMORIES]!;
    return sum;
  }

  /**
   * Learns how different the origin mixes of a service's shards are (method of moments over all its shards): under one
   * common mix counts vary as Poisson; what they vary beyond that is the spread of the mixes.
   */
  learnMix(service: number): void {
    const groups = this.services[service]!;
    let expectedSquares = 0;
    let excess = 0;
    for (let index = 0; index < this.ids.length; index++) {
      if (this.#service[index] !== service) continue;
      this.#fade(index);
      const base = index * this.#stride * MEMORIES;
      this.#expose(index);
      const popularity = this.#popularity(index, groups);
      for (let origin = 0; origin < this.origins.length; origin++) {
        const there = EXPOSED[0]! * groups.counts[origin * MEMORIES]!;
        const expected = popularity * this.#mixOf(index, groups, origin) * there;
        const off = this.#counts[base + origin * MEMORIES]! - expected;
        // Weighted by what each can tell: a single request tells nothing of a mix, and the biggest shard not all.
        const weight = 1 / (expected * expected + expected + 4);
        expectedSquares += weight * expected * expected;
        excess += weight * (off * off - expected);
      }
    }
    if (expectedSquares <= 0.5) return;
    const found = excess > 0 ? expectedSquares / excess : MIX_CONCENTRATION_MAX;
    // For a Dirichlet over n origins the variance of a share is (n-1)/n of that of independent gammas.
    groups.concentration = Math.max(MIX_CONCENTRATION_MIN, Math.min(MIX_CONCENTRATION_MAX, found));
  }

  #belief(index: number): Float64Array {
    const belief = BELIEF;
    let top = 0;
    for (let memory = 0; memory < MEMORIES; memory++) {
      belief[memory] = PRIOR_LOG[memory]! + (memory === 0 ? 0 : this.#evidence[index * MEMORIES + memory]!);
      top = Math.max(top, belief[memory]!);
    }
    let sum = 0;
    for (let memory = 0; memory < MEMORIES; memory++) {
      belief[memory] = Math.exp(belief[memory]! - top);
      sum += belief[memory]!;
    }
    for (let memory = 0; memory < MEMORIES; memory++) belief[memory]! /= sum;
    return belief;
  }

  #popularity(index: number, service: ServiceGroups): number {
    let all = 0;
    let own = 0;
    const base = index * this.#stride * MEMORIES;
    for (let origin = 0; origin < this.origins.length; origin++) {
      all += service.counts[origin * MEMORIES]!;
      own += this.#counts[base + origin * MEMORIES]!;
    }
    const shards = Math.max(1, service.shards);
    const usual = this.#prefixes.meanShare(this.#prefix[index]!, all, shards) ?? 1 / shards;
    return (own + POPULARITY_PRIOR_REQUESTS) / (EXPOSED[0]! * all + POPULARITY_PRIOR_REQUESTS / usual + 1e-9);
  }

  /** How many times its mean share a shard has of one origin's requests, as its prefix has it; 1 without one. */
  #mixOf(index: number, service: ServiceGroups, origin: number): number {
    const prefix = this.#prefix[index]!;
    if (prefix < 0) return 1;
    return this.#prefixes.mix(
      prefix,
      origin,
      (other) => service.counts[other * MEMORIES]!,
      this.origins.length,
    );
  }

  /**
   * Fills `EXPOSED` with the part of each memory's time in which the shard was there to be counted. Without a prefix that
   * has a profile nobody can tell a new shard from one that was seldom asked: it counts as always there.
   */
  #expose(index: number): void {
    if (this.#prefix[index]! < 0) {
      EXPOSED.fill(1);
      return;
    }
    if (this.#born[index] === UNBORN) {
      EXPOSED.fill(0);
      return;
    }
    const age = this.#step - this.#born[index]!;
    for (let memory = 0; memory < MEMORIES; memory++) {
      const halvings =
        memory === 0 ? this.#slowClock - this.#bornClock[index]! : age / SHARE_HALF_LIVES_STEPS[memory]!;
      const all = memory === 0 ? this.#slowClock : this.#step / SHARE_HALF_LIVES_STEPS[memory]!;
      EXPOSED[memory] =
        halvings > HALVINGS_ALL || halvings >= all ? 1 : (1 - 2 ** -halvings) / (1 - 2 ** -all);
    }
  }

  /** Fills `#rates` with the share of one origin under each memory. `fresh` is the group's part not yet in the shard's row. */
  #chain(index: number, service: ServiceGroups, origin: number, fresh: number): void {
    const base = index * this.#stride * MEMORIES + origin * MEMORIES;
    let share = this.#popularity(index, service) * this.#mixOf(index, service, origin);
    for (let memory = 0; memory < MEMORIES; memory++) {
      const prior = memory === 0 ? service.concentration : SHARE_PRIOR_REQUESTS[memory]!;
      const group = EXPOSED[memory]! * Math.max(0, service.counts[origin * MEMORIES + memory]! - fresh);
      share = Math.min(
        1,
        (this.#counts[base + memory]! + prior) / (group + prior / Math.max(share, 1e-12) + 1e-9),
      );
      this.#rates[memory] = share;
    }
  }

  /** Brings a row to now. */
  #fade(index: number): void {
    const gap = this.#step - this.#touched[index]!;
    if (gap <= 0) return;
    const base = index * this.#stride * MEMORIES;
    const slowKeep = 2 ** (this.#slowClockAt[index]! - this.#slowClock);
    for (let memory = 0; memory < MEMORIES; memory++) {
      const keep = memory === 0 ? slowKeep : this.#keep[memory]! ** gap;
      for (let origin = 0; origin < this.origins.length; origin++)
        this.#counts[base + origin * MEMORIES + memory]! *= keep;
    }
    const keepEvidence = BELIEF_KEEP ** gap;
    for (let memory = 1; memory < MEMORIES; memory++)
      this.#evidence[index * MEMORIES + memory]! *= keepEvidence;
    this.#touched[index] = this.#step;
    this.#slowClockAt[index] = this.#slowClock;
  }

  #leastUsed(): number {
    let best = 0;
    for (let index = 1; index < this.ids.length; index++)
      if (this.#touched[index]! < this.#touched[best]!) best = index;
    return best;
  }

  #grow(rows: number): void {
    if (rows <= this.#capacity) return;
    this.#capacity = Math.max(1024, this.#capacity * 2);
    this.#counts = grown32(this.#counts, this.#capacity * this.#stride * MEMORIES);
    this.#evidence = grown32(this.#evidence, this.#capacity * MEMORIES);
    this.#touched = grown(this.#touched, this.#capacity);
    this.#slowClockAt = grown(this.#slowClockAt, this.#capacity);
    const service = new Uint16Array(this.#capacity);
    service.set(this.#service);
    this.#service = service;
    this.#born = grown(this.#born, this.#capacity);
    this.#bornClock = grown(this.#bornClock, this.#capacity);
    const prefix = new Int16Array(this.#capacity).fill(-1);
    prefix.set(this.#prefix);
    this.#prefix = prefix;
  }

  #widen(): void {
    const before = this.#stride;
    this.#stride *= 2;
    const counts = new Float32Array(this.#capacity * this.#stride * MEMORIES);
    for (let row = 0; row < this.ids.length; row++)
      counts.set(
        this.#counts.subarray(row * before * MEMORIES, (row + 1) * before * MEMORIES),
        row * this.#stride * MEMORIES,
      );
    this.#counts = counts;
  }

  save(): SharesState {
    for (let index = 0; index < this.ids.length; index++) this.#fade(index);
    const rows = this.ids.length;
    return {
      origins: [...this.origins],
      services: this.services.map((s) => ({ ...s, counts: Array.from(s.counts) })),
      ids: [...this.ids],
      serviceOf: Array.from(this.#service.subarray(0, rows)),
      stride: this.#stride,
      step: this.#step,
      slowClock: this.#slowClock,
      born: Array.from(this.#born.subarray(0, rows)),
      bornClock: Array.from(this.#bornClock.subarray(0, rows), round),
      prefixOf: Array.from(this.#prefix.subarray(0, rows)),
      prefixes: this.#prefixes.save(),
      counts: Array.from(this.#counts.subarray(0, rows * this.#stride * MEMORIES), round),
      evidence: Array.from(this.#evidence.subarray(0, rows * MEMORIES), round),
    };
  }

  load(state: SharesState): void {
    for (const origin of state.origins) this.originOf(origin);
    for (const id of state.ids) this.intern(id);
    if (this.#stride !== state.stride || this.ids.length !== state.ids.length)
      throw new RangeError('a forecaster is loaded before it observes anything');
    state.services.forEach((saved, i) => {
      const service = this.services[i];
      if (service === undefined) return;
      service.counts.set(saved.counts);
      service.concentration = saved.concentration;
    });
    this.#counts.set(state.counts);
    this.#evidence.set(state.evidence);
    this.#step = state.step;
    this.#slowClock = state.slowClock;
    this.#touched.fill(state.step, 0, this.ids.length);
    this.#slowClockAt.fill(state.slowClock, 0, this.ids.length);
    this.#born.set(state.born);
    this.#bornClock.set(state.bornClock);
    this.#prefix.set(state.prefixOf);
    this.#prefixes.load(state.prefixes, this.#stride);
  }
}

export interface SharesState {
  origins: Region[];
  services: { name: string; counts: number[]; shards: number; concentration: number }[];
  ids: ShardId[];
  serviceOf: number[];
  stride: number;
  step: number;
  slowClock: number;
  born: number[];
  bornClock: number[];
  prefixOf: number[];
  prefixes: PrefixesState;
  counts: number[];
  evidence: number[];
}

const BELIEF = new Float64Array(MEMORIES);
const EXPOSED = new Float64Array(MEMORIES).fill(1);
/** Half-lives after which a shard was there all the time that counts. */
const HALVINGS_ALL = 8;
/** Born on a step that never was: not asked yet. */
const UNBORN = -1;

/** Four digits are more than a count in a decayed memory means; they keep a saved state small. */
function round(value: number): number {
  return Number(value.toPrecision(4));
}

function grown(values: Float64Array, length: number): Float64Array<ArrayBuffer> {
  const next = new Float64Array(Math.max(length, values.length));
  next.set(values);
  return next;
}

function grown32(values: Float32Array, length: number): Float32Array<ArrayBuffer> {
  const next = new Float32Array(Math.max(length, values.length));
  next.set(values);
  return next;
}
