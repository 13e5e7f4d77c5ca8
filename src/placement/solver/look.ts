/**
 * Where a search looks for one shard, kept for as long as it holds: its cheapest regions while prices stand, and what standbys cost on
 * nodes while nothing moves.
 */
import type { Candidates } from './candidates.ts';
import type { Company } from './company.ts';
import type { Dual } from './dual.ts';
import { apart, eligible } from './eligible.ts';
import { NOWHERE, type Problem, regionAllowed } from './problem.ts';
import type { State } from './state.ts';

/** Regions looked at for a primary; all of them where there are few. */
const REGIONS_LOOKED_AT = 4;
const REGIONS_ALL_MAX = 8;
/** Evenness counts this share of a node's overload price where nothing else tells nodes apart. */
export const EVENNESS_SHARE = 1e-4;
/** A standby's load is a small part of its primary's. */
const STANDBY_LEAN = 0.1;

/** Regions that are cheapest for each shard's primary at the dual's prices, moves left out: worked out once a shard until prices change. */
export class CheapestRegions {
  /** `[s * most ..]`, cheapest first. */
  list = new Uint16Array(0);
  readonly #dual: Dual;
  readonly #candidates: Candidates;
  readonly #problem: Problem;
  readonly #most: number;
  readonly #score: Float64Array;
  /** How many a shard has, and one more; 0: not asked yet. */
  #known = new Uint8Array(0);
  #version = -1;

  constructor(dual: Dual, candidates: Candidates) {
    this.#dual = dual;
    this.#problem = dual.problem;
    this.#candidates = candidates;
    const { regionCount } = dual.problem;
    this.#most = regionCount <= REGIONS_ALL_MAX ? regionCount : REGIONS_LOOKED_AT;
    this.#score = new Float64Array(this.#most);
  }

  from(s: number): number {
    return s * this.#most;
  }

  /** Where the shard's part of {@link list} ends; after the dual was told which shard is asked for (`price`). */
  of(s: number): number {
    if (this.#version !== this.#dual.version) this.#forget();
    const at = s * this.#most;
    if (this.#known[s] === 0) this.#known[s] = 1 + this.#find(s, at);
    return at + this.#known[s]! - 1;
  }

  #forget(): void {
    const { shardCount } = this.#problem;
    this.#version = this.#dual.version;
    if (this.#known.length === 0) {
      this.list = new Uint16Array(shardCount * this.#most);
      this.#known = new Uint8Array(shardCount);
    } else this.#known.fill(0);
  }

  #find(s: number, at: number): number {
    const { regionCount, value } = this.#problem;
    const most = this.#most;
    const list = this.list;
    const score = this.#score;
    let count = 0;
    for (let r = 0; r < regionCount; r++) {
      if (!regionAllowed(this.#problem, s, r) || this.#candidates.all(r).length === 0) continue;
      let usd = value[s * regionCount + r]!;
      // Prices are at least 0: most regions are out of the question by their own dollars.
      if (count === most && usd >= score[most - 1]!) continue;
      usd += this.#dual.primaryPrice(r);
      if (count === most && usd >= score[most - 1]!) continue;
      let i = count < most ? count++ : most - 1;
      for (; i > 0 && score[i - 1]! > usd; i--) {
        score[i] = score[i - 1]!;
        list[at + i] = list[at + i - 1]!;
      }
      score[i] = usd;
      list[at + i] = r;
    }
    return count;
  }
}

/**
 * What a shard's standby would cost on the nodes of a region. Tried with one primary after the other, it is asked the same of the same regions
 * again and again, and only who may stand beside whom differs.
 */
export class StandbyLooks {
  readonly #state: State;
  readonly #candidates: Candidates;
  /** By region: which search they were looked at in, how many there are, the nodes and how they score. */
  readonly #search: Int32Array;
  /** Nodes from which dollars on were left out. */
  readonly #limit: Float64Array;
  readonly #count: Int32Array;
  readonly #nodes: Int32Array;
  readonly #score: Float64Array;
  readonly #each: number;
  #now = 0;

  constructor(state: State, candidates: Candidates) {
    const { regionCount } = state.problem;
    this.#state = state;
    this.#candidates = candidates;
    this.#each = candidates.most;
    this.#search = new Int32Array(regionCount);
    this.#limit = new Float64Array(regionCount);
    this.#count = new Int32Array(regionCount);
    this.#nodes = new Int32Array(regionCount * this.#each);
    this.#score = new Float64Array(regionCount * this.#each);
  }

  /** To be called before a shard is asked for: what was known is of another one, or of other loads. */
  begin(): void {
    this.#now++;
  }

  /**
   * The best node of a region for standby `k` beside the replicas in the slots before it, or NOWHERE.
   *
   * @param limit dollars an hour of overload from which on a node may be none
   */
  best(s: number, region: number, k: number, slots: Int32Array, company: Company, limit: number): number {
    if (this.#search[region] !== this.#now || this.#limit[region]! < limit)
      this.#look(s, region, company, limit);
    const { problem } = this.#state;
    const from = region * this.#each;
    const end = from + this.#count[region]!;
    let best = NOWHERE;
    let least = Number.POSITIVE_INFINITY;
    for (let i = from; i < end; i++) {
      if (this.#score[i]! >= least) continue;
      let fine = true;
      for (let j = 0; j < k; j++) if (!apart(problem, s, slots[j]!, this.#nodes[i]!)) fine = false;
      if (!fine) continue;
      least = this.#score[i]!;
      best = this.#nodes[i]!;
    }
    return best;
  }

  #look(s: number, region: number, company: Company, limit: number): void {
    const state = this.#state;
    const { problem } = state;
    const weight = STANDBY_LEAN * company.weight(s);
    const look = this.#candidates.of(region);
    const from = region * this.#each;
    let at = from;
    for (let i = 0; i < look.length; i++) {
      const n = look[i]!;
      if (!eligible(problem, s, n, true)) continue;
      const usd = state.addUsd(s, n, true, limit);
      if (usd >= limit || !state.fits) continue;
      const lean = weight > 0 ? weight * company.distance(s, n) : 0;
      this.#nodes[at] = n;
      this.#score[at++] = usd + problem.overloadUsdPerHour[n]! * (lean + EVENNESS_SHARE * state.spreadScore);
    }
    this.#count[region] = at - from;
    this.#search[region] = this.#now;
    this.#limit[region] = limit;
  }
}
