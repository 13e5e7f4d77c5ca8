/**
 * The solver, as a recipe. A fresh problem (nothing placed yet):
 *
 * 1. Prices: dual ascent on a sample of shards (dual.ts).
 * 2. Insertion: primaries into their best priced region, then standbys, largest first (insert.ts).
 * 3. What is beyond full sheds what loses least; then local search, first with the prices of what is scarce, then on the
 *    objective alone (search.ts), and exchanges: what full regions need most comes in for what loses least (exchange.ts).
 *    A small problem is then annealed (anneal.ts).
 * 4. Settling: warm rounds from there until one moves nothing, so that the same input again moves nothing.
 * 5. Certificate: one pass over all shards at the final prices is the lower bound.
 *
 * A warm round (there is a current placement): prices from what nodes carry, a short ascent; what must leave or is nowhere is
 * inserted; then only shards whose priced best choice is another one, or whose node stands out, are tried, largest first,
 * and what they touch. Every step must pay for its move. A small problem with a node beyond its headroom is annealed for a moment: nodes that are nearly full
 * gain by exchanges, which single steps do not see.
 *
 * Guarantees: hard constraints hold in what it moves; the same problem and seed give the same answer; budgets are counts.
 */
import { SeededDraws } from '../instance/random.ts';
import type { CostParts } from '../instance/types.ts';
import { anneal, LEGS_FRESH, LEGS_WARM } from './anneal.ts';
import { Candidates } from './candidates.ts';
import { Company } from './company.ts';
import { Dual, RATES_FRESH, RATES_WARM } from './dual.ts';
import { Exchange } from './exchange.ts';
import { Inserter } from './insert.ts';
import { insertNowhere, priceFromLoads, startOf } from './missing.ts';
import { costOf, movesOf, primaryUsd, standbyUsd } from './objective.ts';
import type { Problem } from './problem.ts';
import { bySize, coarseOf, sampleOf } from './sample.ts';
import { Search } from './search.ts';
import { State } from './state.ts';

/** How much may be tried. Counts, never time. */
export interface SolveBudget {
  /** Shards that stand for all while prices are sought. */
  sample: number;
  /** And in a warm round, whose prices begin near right: a fifth of all, at least so many and at most so many. */
  sampleWarm: number;
  sampleWarmMax: number;
  /** Fewer do in the first two thirds of the iterations, fresh and warm, where twice as many or more stand for all. */
  sampleCoarse: number;
  sampleCoarseWarm: number;
  iterationsFresh: number;
  iterationsWarm: number;
  /** Further ones where staying costs much more than the bound: the world has changed. */
  iterationsFar: number;
  /** Passes of a fresh search, and of a warm one. */
  passes: number;
  passesWarm: number;
  /** Share of the shards that a pass tries to bring to their best region at most, in a fresh search and in a warm one. */
  exchangeShare: number;
  exchangeShareWarm: number;
  /** And so many at most: those that pay most come first, and in large problems the rest is not worth its time. */
  exchangesMax: number;
  /** Steps of each leg of annealing at the end of a fresh search of a small problem; fewer where shards are few. */
  annealSteps: number;
  /** And at the end of a warm round of one. */
  annealStepsWarm: number;
  /** Warm rounds after a fresh search until one moves nothing. */
  settleRounds: number;
  /** A warm round works out its lower bound: a pass over all shards. Without, it is NaN. */
  isCertified: boolean;
}

export const DEFAULT_BUDGET: SolveBudget = {
  sample: 100_000,
  sampleWarm: 4_000,
  sampleWarmMax: 60_000,
  sampleCoarse: 16_000,
  sampleCoarseWarm: 5_000,
  iterationsFresh: 150,
  iterationsWarm: 30,
  iterationsFar: 100,
  passes: 8,
  passesWarm: 3,
  exchangeShare: 0.1,
  exchangeShareWarm: 0.01,
  exchangesMax: 3_000,
  annealSteps: 400_000,
  annealStepsWarm: 20_000,
  settleRounds: 6,
  isCertified: true,
};

export interface SolveOptions {
  seed?: string | number;
  budget?: Partial<SolveBudget>;
  progress?: (phase: string, share: number) => void;
}

export interface SolveResult {
  place: Int32Array;
  cost: CostParts;
  lowerBound: number;
  moved: number;
  promoted: number;
  /** Shards looked at and steps accepted by the local search. */
  looked: number;
  accepted: number;
  dual: Dual;
}

/** From here on a problem is large enough that exchanges leave little, and annealing takes too long. */
const ANNEALED_SHARDS_MAX = 2_000;
const ANNEAL_STEPS_PER_SHARD = 2_000;
const ANNEAL_STEPS_PER_SHARD_WARM = 80;
/** A pass that saves less than this share of the cost is the last. */
const PASS_GAIN_MIN = 5e-5;
/**
 * A round that saves less than this share of the cost in all is noise against what the bound leaves open, and moves nothing but what must
 * move.
 */
const ROUND_GAIN_MIN = 1e-5;
/** Both are of problems up to so many shards. Beyond, time is dearer and what is open larger: they grow so many times at most. */
const GAINS_SHARDS = 10_000;
const PASS_GAIN_FACTOR_MAX = 3;
const ROUND_GAIN_FACTOR_MAX = 10;
const WARM_SAMPLE_SHARE = 0.2;
/** Nodes left beyond full are relieved at any price while they are at most this share of all (or one), as if excess cost so much more. */
const SQUEEZED_SHARE = 0.01;
const SQUEEZED_FACTOR = 1e6;
/** Last passes, on the objective alone: of a fresh search, and of a warm one. */
const PASSES_PLAIN = 4;
const PASSES_PLAIN_WARM = 2;
/** Where staying costs this much more than the bound, a warm round asks the prices of what is scarce as well. */
const SCARCITY_FROM_GAP = 0.02;
/** And at this much its prices are sought for longer first. */
const PRICES_FROM_GAP = 0.01;
/** Both also where more than this share of the nodes is beyond full by more than so much of its capacity. */
const CROWDED_SHARE = 0.01;
const CROWDED_BY = 0.05;
/** A node is out of line where it is pressed this much more than the region's middle one. */
const OUT_OF_LINE = 0.05;
/** And where queues are priced, where it is used so many times as much as the least used one, and a bit. */
const UNEVEN_FACTOR = 1.25;
const UNEVEN_SHARE = 0.02;

type Progress = (phase: string, share: number) => void;

export function solve(problem: Problem, options: SolveOptions = {}): SolveResult {
  const budget = { ...DEFAULT_BUDGET, ...options.budget };
  const progress: Progress = options.progress ?? (() => {});
  const seed = options.seed ?? 0;
  const company = new Company(problem);
  if (problem.start.some((n, i) => i % problem.width === 0 && n >= 0))
    return warmRound(problem, company, seed, budget, progress, true);
  const fresh = solveFresh(problem, company, seed, budget, progress);
  let { place, looked, accepted } = fresh;
  for (let round = 0; round < budget.settleRounds; round++) {
    progress('settling', round / budget.settleRounds);
    const again = warmRound({ ...problem, start: place }, company, seed, budget, () => {}, false);
    looked += again.looked;
    accepted += again.accepted;
    if (again.moved + again.promoted === 0) break;
    place = again.place;
  }
  progress('certificate', 0);
  const lowerBound = fresh.dual.bound();
  fresh.dual.forget();
  return {
    place,
    cost: costOf(problem, place),
    lowerBound,
    moved: 0,
    promoted: 0,
    looked,
    accepted,
    dual: fresh.dual,
  };
}

function solveFresh(
  problem: Problem,
  company: Company,
  seed: string | number,
  budget: SolveBudget,
  progress: Progress,
) {
  const draws = new SeededDraws(seed);
  const { shardCount } = problem;
  progress('prices', 0);
  const dual = new Dual(problem);
  const sample = sampleOf(problem, budget.sample, draws);
  const coarse = coarseOf(problem, budget.sampleCoarse, sample, draws);
  dual.ascend(sample.shards, budget.iterationsFresh, RATES_FRESH, sample.weights, coarse);
  const state = new State(problem, startOf(problem));
  const inserter = new Inserter(state, dual, new Candidates(state, draws), company);
  const search = new Search(inserter);
  const exchange = new Exchange(search);
  const order = bySize(problem);
  insertNowhere(inserter, order, progress);
  dual.scarcityShare = 1;
  exchange.relieve();
  const dirty = new Int32Array(shardCount);
  const passGainMin = PASS_GAIN_MIN * growth(shardCount, PASS_GAIN_FACTOR_MAX);
  for (let pass = 0; pass < budget.passes; pass++) {
    // The last passes ask no price but the objective's own.
    dual.scarcityShare = pass < budget.passes - PASSES_PLAIN ? 1 : 0;
    let count = 0;
    const before = costOf(problem, state.place).total;
    if (dual.scarcityShare === 0)
      exchange.pass(Math.min(budget.exchangeShare * shardCount, budget.exchangesMax));
    for (const s of order) if (search.couldGain(s)) dirty[count++] = s;
    const accepted = search.accepted;
    for (let i = 0; i < count; i++) {
      search.relocate(dirty[i]!);
      if ((i & 8191) === 0) progress('search', (pass + i / count) / budget.passes);
    }
    const after = costOf(problem, state.place).total;
    const small = search.accepted === accepted || before - after < passGainMin * after;
    if (small && dual.scarcityShare > 0) pass = Math.max(pass, budget.passes - PASSES_PLAIN - 1);
    else if (small) break;
  }
  dual.scarcityShare = 0;
  progress('annealing', 0);
  const steps = Math.min(budget.annealSteps, ANNEAL_STEPS_PER_SHARD * shardCount);
  const place =
    shardCount <= ANNEALED_SHARDS_MAX
      ? anneal(problem, dual, state.place, draws, { legs: LEGS_FRESH, steps })
      : state.place;
  return { place, dual, looked: search.looked, accepted: search.accepted };
}

function warmRound(
  problem: Problem,
  company: Company,
  seed: string | number,
  budget: SolveBudget,
  progress: Progress,
  certify: boolean,
): SolveResult {
  const draws = new SeededDraws(seed);
  const { shardCount } = problem;
  progress('prices', 0);
  const dual = new Dual(problem);
  const samples = Math.min(budget.sampleWarmMax, WARM_SAMPLE_SHARE * shardCount);
  const sample = sampleOf(problem, Math.max(budget.sampleWarm, samples), draws);
  const state = new State(problem, startOf(problem));
  const mayStayAll = isSound(state);
  priceFromLoads(dual, state);
  dual.ascend(sample.shards, budget.iterationsWarm, RATES_WARM, sample.weights);
  const inserter = new Inserter(state, dual, new Candidates(state, draws), company);
  const search = new Search(inserter);
  const order = bySize(problem);
  insertNowhere(inserter, order, progress);
  const stays = costOf(problem, state.place).total;
  // Of all shards: a sample's estimate is off by as much as what is asked here.
  const gap = () => {
    const bound = dual.bound();
    return (stays - bound) / Math.max(Math.abs(bound), Number.MIN_VALUE);
  };
  // Prices tell regions apart: with one there is nothing that more of them could tell.
  // What nodes far beyond full must send away is not in the cost of staying, so the gap does not tell of it.
  const crowded = fullNodes(state, CROWDED_BY) > CROWDED_SHARE * problem.nodeCount;
  let far = problem.regionCount > 1 && (crowded || gap() > PRICES_FROM_GAP);
  if (far) {
    // Loads do not tell how scarce a full region is: prices may only have been too low.
    const coarse = coarseOf(problem, budget.sampleCoarseWarm, sample, draws);
    dual.ascend(sample.shards, budget.iterationsFar, RATES_WARM, sample.weights, coarse);
    far = crowded || gap() > SCARCITY_FROM_GAP;
  }
  const dirty = new Int32Array(shardCount);
  const passes = far ? budget.passesWarm + 1 : budget.passesWarm;
  if (far) {
    // The world has changed: single steps would stop at the first full region, so what prices send away leaves first.
    takeOffWhatPricesMove(dual, state);
    insertNowhere(inserter, order, progress);
  }
  const exchange = new Exchange(search);
  dual.scarcityShare = far ? 1 : 0;
  exchange.relieve();
  const needed = mayStayAll ? Int32Array.from(problem.start) : far ? undefined : whatMustMove(state);
  for (let pass = 0; pass < passes; pass++) {
    dual.scarcityShare = far && pass < passes - PASSES_PLAIN_WARM ? 1 : 0;
    // Where little changed the first exchanges gain nearly all that there is, and every one moves several replicas.
    if (dual.scarcityShare === 0 && (far || pass === 0))
      exchange.pass(Math.min(budget.exchangeShareWarm * shardCount, budget.exchangesMax));
    const outOfLine = nodesOutOfLine(state, inserter.candidates);
    let count = 0;
    for (const s of order) if (wantsElsewhere(dual, state, s, outOfLine)) dirty[count++] = s;
    const accepted = search.accepted;
    for (let i = 0; i < count; i++) {
      search.relocate(dirty[i]!);
      if ((i & 8191) === 0) progress('search', (pass + i / count) / passes);
    }
    if (search.accepted === accepted && dual.scarcityShare === 0) break;
  }
  dual.scarcityShare = 0;
  let after = squeezed(inserter, draws);
  if (shardCount <= ANNEALED_SHARDS_MAX && isPressed(state)) {
    const steps = Math.min(budget.annealStepsWarm, ANNEAL_STEPS_PER_SHARD_WARM * shardCount);
    after = anneal(problem, dual, after, draws, { legs: LEGS_WARM, steps });
  }
  progress('certificate', 0);
  const found = costOf(problem, after);
  const least = needed === undefined ? undefined : costOf(problem, needed);
  const gainMin = ROUND_GAIN_MIN * growth(shardCount, ROUND_GAIN_FACTOR_MAX);
  const holds = least !== undefined && least.total - found.total < gainMin * Math.abs(stays);
  const place = holds ? needed! : after;
  const lowerBound = certify && budget.isCertified ? dual.bound() : Number.NaN;
  dual.forget();
  return {
    place,
    cost: holds ? least : found,
    lowerBound,
    ...movesOf(problem, place),
    looked: search.looked,
    accepted: search.accepted,
    dual,
  };
}

/**
 * Where a node is beyond full by so little that leaving it costs more than the excess, somebody leaves all the same: full is a wall and
 * not a price. Where many are, there is no room, and what to keep is a matter of price.
 */
function squeezed({ problem, state, dual, company }: Inserter, draws: SeededDraws): Int32Array {
  const full = fullNodes(state);
  if (full === 0 || full > Math.max(1, SQUEEZED_SHARE * problem.nodeCount)) return state.place;
  const excessUsdPerHour = SQUEEZED_FACTOR * problem.excessUsdPerHour;
  const walled = new State({ ...problem, excessUsdPerHour }, state.place);
  new Exchange(new Search(new Inserter(walled, dual, new Candidates(walled, draws), company))).relieve();
  return walled.place;
}

function fullNodes(state: State, by = 0): number {
  let full = 0;
  for (let n = 0; n < state.problem.nodeCount; n++) if (state.isFull(n, by)) full++;
  return full;
}

/** Whether some node is used beyond its headroom. Where none is, what exchanges could gain is noise. */
function isPressed(state: State): boolean {
  const { nodeCount, headroom } = state.problem;
  for (let n = 0; n < nodeCount; n++) if (state.pressure(n) > headroom) return true;
  return false;
}

function growth(shardCount: number, max: number): number {
  return Math.min(max, Math.max(1, shardCount / GAINS_SHARDS));
}

/** Where all is once what is nowhere has a place and full nodes are relieved; undefined where that is not enough. */
function whatMustMove(state: State): Int32Array | undefined {
  for (let n = 0; n < state.problem.nodeCount; n++) if (state.isFull(n)) return undefined;
  return Int32Array.from(state.place);
}

/** Whether everything may stay where it was: no replica is missing or must leave, and no node is beyond full. */
function isSound(state: State): boolean {
  const { problem, place } = state;
  for (let s = 0; s < problem.shardCount; s++)
    for (let k = 0; k < problem.width; k++) {
      const at = s * problem.width + k;
      if (place[at] !== problem.start[at] || (place[at]! < 0 && k <= problem.standbys[s]!)) return false;
    }
  for (let n = 0; n < problem.nodeCount; n++) if (state.isFull(n)) return false;
  return true;
}

/** Whether a shard's best choice at the current prices is another one than what it has. */
function wantsElsewhere(dual: Dual, state: State, s: number, outOfLine: Uint8Array): boolean {
  const { problem } = dual;
  const { width, nodeRegion } = problem;
  if (problem.frozen[s] === 1) return false;
  const base = s * width;
  const p = state.place[base]!;
  if (p < 0) return true;
  if (outOfLine[p] === 1) return true;
  const best = dual.choose(s);
  const region = nodeRegion[p]!;
  let now = primaryUsd(problem, s, p) + dual.primaryPrice(region);
  for (let k = 1; k <= problem.standbys[s]!; k++) {
    const n = state.place[base + k]!;
    if (n < 0 || outOfLine[n] === 1) return true;
    now += standbyUsd(problem, s, region, n) + dual.standbyPrice(nodeRegion[n]!);
  }
  return now - best > 1e-9 * Math.abs(now);
}

/** Takes off the nodes every shard whose primary's priced best region is another one. */
function takeOffWhatPricesMove(dual: Dual, state: State): void {
  const { problem } = dual;
  const { width, nodeRegion, shardCount } = problem;
  for (let s = 0; s < shardCount; s++) {
    const p = state.place[s * width]!;
    if (p < 0 || problem.frozen[s] === 1 || dual.choose(s) === Number.POSITIVE_INFINITY) continue;
    if (dual.chosen[0] === nodeRegion[p]) continue;
    for (let k = 0; k < width; k++) if (state.place[s * width + k]! >= 0) state.remove(s, k);
  }
}

/**
 * Nodes pressed beyond their headroom and more than the middle one of their region; where queues are priced, also those whose
 * CPU is used clearly more than the least used one's: requests wait there and not beside it.
 */
function nodesOutOfLine(state: State, candidates: Candidates): Uint8Array {
  const { problem } = state;
  const { nodeCount, nodeRegion, headroom } = problem;
  const out = new Uint8Array(nodeCount);
  const least = problem.queueUsdPerHour > 0 ? leastBusy(state) : undefined;
  for (let n = 0; n < nodeCount; n++) {
    if (state.replicas[n] === 0) continue;
    const region = nodeRegion[n]!;
    if (least !== undefined && busyShare(state, n) > UNEVEN_FACTOR * least[region]! + UNEVEN_SHARE)
      out[n] = 1;
    const pressure = state.pressure(n);
    if (pressure > headroom && pressure > candidates.pressureOf(region) + OUT_OF_LINE) out[n] = 1;
  }
  return out;
}

/** By region: the share of its CPU that the least used open node uses. */
function leastBusy(state: State): Float64Array {
  const { regionCount, nodeCount, nodeRegion, open } = state.problem;
  const least = new Float64Array(regionCount).fill(Number.POSITIVE_INFINITY);
  for (let n = 0; n < nodeCount; n++)
    if (open[n] === 1) least[nodeRegion[n]!] = Math.min(least[nodeRegion[n]!]!, busyShare(state, n));
  return least;
}

/** Highest share of a node's CPU used at the quantile, over the steps. */
function busyShare(state: State, n: number): number {
  let most = 0;
  for (let d = 0; d < state.problem.dims; d += 3) most = Math.max(most, state.shareOf(n, d));
  return most;
}
