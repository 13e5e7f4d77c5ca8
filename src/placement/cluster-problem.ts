/**
 * The live cluster as the solver's problem: forecasts, nodes and what is under way as typed arrays.
 *
 * Boundary: translates, decides nothing. One step of the problem is one horizon of the forecasts, weighted by the time it
 * stands for; dollars an hour are averages over that window, and the one-time cost of a move counts over the same window, so
 * a move must pay for itself within what is foreseen. A shard's value in a region holds the choice to move again later
 * (shard-value.ts). A shard whose migration is under way is at its target and stays there.
 *
 * Standbys are named by their primary (`node/standby/choose.ts`), not here: their load is there beside the shards, bytes to
 * those in other regions are part of a region's value, and a primary that goes to one is promoted: no bytes, little work.
 */
import type { ProcessId, Region } from '../model/ids.ts';
import type { LatencyPromise, MetricForecast, PlacementNode, PlacementShard } from '../model/loop.ts';
import { BuildClasses } from './build-classes.ts';
import { CPU_SHARE_MAX } from './constraints/capacity.ts';
import { HOLD_CONSTRAINTS } from './constraints/place-constraints.ts';
import { DEFAULT_PRICES, type Prices } from './defaults.ts';
import { deviationOf, Z90 } from './deviation.ts';
import type { PlacementInput } from './input.ts';
import { DEFAULT_WEIGHTS, RESOURCES } from './instance/types.ts';
import { promiseOf } from './promise.ts';
import {
  flowsIn,
  intervalsS,
  type LaterMove,
  laterMove,
  moveCostUsd,
  type RegionFlows,
  valueByRegion,
} from './shard-value.ts';
import { emptyColumns, numberZones } from './solver/columns.ts';
import { type Names, NOWHERE, type Problem, SPREAD } from './solver/problem.ts';
import { togetherOf } from './together.ts';
import { transferUsdPerGb } from './transfer-price.ts';

const BYTES_PER_GB = 1e9;
const SECONDS_PER_HOUR = 3600;
/**
 * Where shards surge (their forecasts tell how far), the problem has one more step, a moment in which they may: means are those of the step in which a move that starts
 * now is done, and to variances come so many times the square of a surge.
 */
const SURGE_WEIGHT = 6;
/** Share of the time for which nodes are priced as if what surges did: room for what is rare is worth less than room for what is there. */
const SURGING_SHARE = 0.05;
/** Then no node counts as full: times its capacity, as good as never. */
const SURGING_FULL = 10;
/** A shard with at least this share of a saturated node's CPU is what saturates it. */
const SATURATING_SHARE = 0.3;
/** A capacity of nothing would be divided by; next to nothing holds nothing either. */
const CAPACITY_MIN = 1e-9;
/** A move that takes this share of the lead longer is done in the same step: steps are no finer. */
const DONE_TOLERANCE = 0.1;
/** Times the dearest overload: a search leaves a node that is beyond full before it looks at anything else. */
const EXCESS_FACTOR = 1e3;

export class ClusterProblem {
  readonly input: PlacementInput;
  readonly prices: Prices;
  readonly nodes: readonly PlacementNode[];
  readonly shards: readonly PlacementShard[];
  readonly regions: Region[];
  /** Seconds that each horizon stands for, and their sum. */
  readonly intervals: number[];
  readonly windowS: number;
  readonly problem: Problem;
  readonly names: Names;
  /** Moves that will be worth it in a later step, by shard, for those that stay until then; and what a move costs. */
  readonly later = new Map<number, LaterMove & { againUsd: number }>();
  /** Mean user latency when a move would be done: `[shard * regions + region]`. */
  readonly #latencyMs: Float64Array;
  /** Seconds ahead at which a move that starts now would be done, and when a region is first better than where it is. */
  readonly #doneS: Float64Array;
  readonly #flows: RegionFlows;
  /** Of one shard, by step. */
  readonly #deviation: Record<'cpu' | 'memory' | 'networkIn' | 'networkOut', Float64Array>;
  readonly #openRegions: Uint8Array;
  readonly #nodeIndex: Map<ProcessId, number>;
  readonly #cellRegion = new Map<string, Region>();

  constructor(input: PlacementInput) {
    this.input = input;
    this.prices = { ...DEFAULT_PRICES, ...input.prices };
    this.nodes = input.nodes;
    this.shards = input.shards;
    this.regions = [...new Set(input.nodes.map((node) => node.region))].sort();
    const horizonsS = input.shards[0]?.forecast.horizonsS ?? [1];
    this.intervals = intervalsS(horizonsS);
    this.windowS = this.intervals.reduce((a, b) => a + b, 0);
    for (const [region, cell] of Object.entries(input.cells)) this.#cellRegion.set(cell, region);
    this.#nodeIndex = new Map(input.nodes.map((node, n) => [node.processId, n]));
    const steps = this.intervals.length;
    const bySteps = () => new Float64Array(steps);
    this.#flows = { latencyUsd: bySteps(), egressUsd: bySteps(), latencyMs: bySteps() };
    this.#deviation = { cpu: bySteps(), memory: bySteps(), networkIn: bySteps(), networkOut: bySteps() };
    this.#latencyMs = new Float64Array(input.shards.length * this.regions.length);
    this.#doneS = new Float64Array(input.shards.length);
    this.problem = this.#emptyProblem();
    this.#openRegions = new Uint8Array(this.regions.length);
    for (let n = 0; n < this.nodes.length; n++)
      if (this.problem.open[n] === 1) this.#openRegions[this.problem.nodeRegion[n]!] = 1;
    this.names = {
      regions: this.regions,
      nodes: input.nodes.map((node) => node.name),
      zones: [],
      shards: input.shards.map((shard) => shard.shard),
      buildClasses: [''],
    };
    const builds = new BuildClasses(this.nodes);
    const rates = new Float64Array(this.regions.length * steps);
    const values = new Float64Array(this.regions.length);
    for (let s = 0; s < this.shards.length; s++) {
      this.#doneS[s] = (input.moveFixedS ?? horizonsS[0]!) + this.#transferS(s);
      this.#addLoad(s);
      this.#addValue(s, rates, values);
      this.#addPlace(s, builds);
    }
    this.problem.buildReads = builds.table();
    this.problem.together = togetherOf(this.shards, this.problem);
    this.#addStandbyLoads();
    this.#findSaturating();
    this.problem.transferUsdPerGb = this.transferUsdPerGb(0);
  }

  /** Dollars a gigabyte through each node in a step, everything where it is now. */
  transferUsdPerGb(step: number): Float64Array {
    const slowest = this.regions.map((from) => this.#slowestBps(from));
    return transferUsdPerGb(this.problem, step, {
      cpuSecondsPerGb: this.prices.moveCpuSecondsPerGb,
      givesWay: this.input.copiesGiveWay ?? false,
      secondsPerGb: (n) => BYTES_PER_GB / slowest[this.problem.nodeRegion[n]!]!,
    });
  }

  nodeIndex(process: ProcessId): number {
    return this.#nodeIndex.get(process) ?? NOWHERE;
  }

  /** Node where a shard is now, or is on its way to; -1: its node is gone. */
  startOf(s: number): number {
    return this.problem.start[s * this.problem.width]!;
  }

  /** Mean user latency of a shard on a node when a move would be done. */
  latencyMs(s: number, n: number): number {
    return n < 0 ? 0 : this.#latencyMs[s * this.regions.length + this.problem.nodeRegion[n]!]!;
  }

  /** Seconds ahead at which a move of the shard that starts now would be done. */
  doneS(s: number): number {
    return this.#doneS[s]!;
  }

  /** Hours of the window: what turns dollars an hour into dollars. */
  get windowHours(): number {
    return this.windowS / SECONDS_PER_HOUR;
  }

  /** What moving between two nodes promises the users of each origin. */
  promise(s: number, from: number, to: number): LatencyPromise {
    const shard = this.shards[s]!;
    const source = this.nodes[from]!.region;
    const target = this.nodes[to]!.region;
    // Its log is where it is, wherever a move would take it.
    const now = { region: source, cellRegion: this.#cellRegion.get(shard.cell) ?? source };
    const then = { region: target, cellRegion: this.#cellRegionFor(shard, target) };
    return promiseOf(shard, now, then, this.input.topology);
  }

  /** Seconds ahead from which `to` is better than `from` for the shard's own flows: when the move is needed. */
  neededAtS(s: number, from: number, to: number): number {
    const { horizonsS } = this.shards[s]!.forecast;
    const done = this.#doneS[s]!;
    if (from < 0 || this.nodes[from]!.region === this.nodes[to]!.region) return done;
    const usd = (n: number) => {
      const region = this.nodes[n]!.region;
      this.#flowsOf(s, region);
      return Float64Array.from(this.#flows.latencyUsd, (value, h) => value + this.#flows.egressUsd[h]!);
    };
    const here = usd(from);
    const there = usd(to);
    for (let h = 0; h < horizonsS.length; h++)
      if (horizonsS[h]! >= done && there[h]! < here[h]!) return horizonsS[h]!;
    return done;
  }

  #flowsOf(s: number, region: Region): void {
    const shard = this.shards[s]!;
    const { topology } = this.input;
    flowsIn(shard, region, this.#cellRegionFor(shard, region), topology, this.prices, this.#flows);
  }

  #cellRegionFor(shard: PlacementShard, region: Region): Region {
    if (this.input.cells[region] !== undefined) return region;
    return this.#cellRegion.get(shard.cell) ?? region;
  }

  #emptyProblem(): Problem {
    const { input, nodes, shards, regions, prices } = this;
    const { topology } = input;
    const R = regions.length;
    const N = nodes.length;
    const S = shards.length;
    const surging = shards.some((shard) => shard.forecast.surge !== undefined);
    const steps = this.intervals.length + (surging ? 1 : 0);
    const dims = steps * RESOURCES.length;
    let width = 1;
    for (const { standbys } of shards) width = Math.max(width, 1 + (standbys?.length ?? 0));
    const usdPerMs = prices.latencyUsdPerMsPerMillion / 1e6;
    const words = Math.ceil(R / 32);
    const baseLoad = new Float64Array(N * dims);
    nodes.forEach(({ processId }, n) => {
      const overhead = input.overheadCpu?.[processId] ?? 0;
      for (let t = 0; t < steps; t++) baseLoad[n * dims + t * 3] = overhead;
    });
    const sizes = { regionCount: R, dims, regionWords: words, width };
    const columns = emptyColumns(S, sizes);
    // Standbys are not chosen here; a spread of zones is what their own rule keeps.
    columns.spread.fill(SPREAD.zone);
    return {
      regionCount: R,
      nodeCount: N,
      shardCount: S,
      steps,
      dims,
      width,
      regionWords: words,
      stepWeight: stepWeights(this.intervals, this.windowS, surging),
      egressUsdPerGb: Float64Array.from({ length: R * R }, (_, i) => {
        const from = regions[Math.floor(i / R)]!;
        return topology.egressUsdPerGb[from]?.[regions[i % R]!] ?? 0;
      }),
      standbyShare: Float64Array.from(RESOURCES, (name) => DEFAULT_WEIGHTS.standbyShare[name]),
      moveHours: this.windowS / SECONDS_PER_HOUR,
      moveUsd: prices.moveFixedUsd,
      headroom: prices.headroomShare,
      fullShare: Float64Array.from({ length: dims }, (_, d) =>
        d >= this.intervals.length * 3 ? SURGING_FULL : d % 3 === 0 ? CPU_SHARE_MAX : 1,
      ),
      quantileZ: Z90,
      commonSquared: Float64Array.from(RESOURCES, (name) =>
        name === 'memory' ? 0 : (input.commonVariation ?? 0) ** 2,
      ),
      queueUsdPerHour: 1000 * usdPerMs * SECONDS_PER_HOUR,
      excessUsdPerHour: EXCESS_FACTOR * prices.overloadUsdPerHour,
      nodeRegion: Int32Array.from(nodes, (node) => regions.indexOf(node.region)),
      nodeZone: numberZones(nodes).nodeZone,
      capacity: Float64Array.from(
        nodes.flatMap(({ capacity }) => [capacity.cpu, capacity.memoryBytes, capacity.networkBytesPerSecond]),
        (amount) => Math.max(amount, CAPACITY_MIN),
      ),
      baseLoad,
      nodeUsdPerHour: Float64Array.from(nodes, (node) => node.usdPerHour),
      overloadUsdPerHour: new Float64Array(N).fill(prices.overloadUsdPerHour),
      transferUsdPerGb: new Float64Array(N),
      releasable: Uint8Array.from(nodes, (node) => (input.releasable?.has(node.processId) ? 1 : 0)),
      open: Uint8Array.from(nodes, (node) => (node.open && !node.draining ? 1 : 0)),
      draining: Uint8Array.from(nodes, (node) => (node.draining ? 1 : 0)),
      buildReads: new Uint8Array(N).fill(1),
      ...columns,
      cellRegion: Int32Array.from(regions, (_, r) => r),
    };
  }

  /**
   * Means and variances by step. What is further ahead than a move takes will be known better before it must be acted on, and is
   * decided anew then: its spread counts as wide, for its mean, as that of the step in which a move that starts now is done.
   */
  #addLoad(s: number): void {
    const { problem: p } = this;
    const shard = this.shards[s]!;
    const { cpu, memory, networkIn, networkOut } = shard.forecast.metrics;
    const first = this.firstStep(s);
    const deviation = this.#deviation;
    deviations(cpu, first, deviation.cpu);
    deviations(memory, first, deviation.memory);
    deviations(networkIn, first, deviation.networkIn);
    deviations(networkOut, first, deviation.networkOut);
    const { loadMean, loadVariance } = p;
    const steps = this.intervals.length;
    for (let t = 0, at = s * p.dims; t < steps; t++, at += 3) {
      loadMean[at] = cpu.quantiles[0][t] ?? 0;
      loadVariance[at] = deviation.cpu[t]! ** 2;
      loadMean[at + 1] = Math.max(memory.quantiles[0][t] ?? 0, shard.stateBytes);
      loadVariance[at + 1] = deviation.memory[t]! ** 2;
      loadMean[at + 2] = (networkIn.quantiles[0][t] ?? 0) + (networkOut.quantiles[0][t] ?? 0);
      // What comes in and what goes out rise together.
      loadVariance[at + 2] = (deviation.networkIn[t]! + deviation.networkOut[t]!) ** 2;
    }
    if (p.steps > steps) this.#addSurge(s, first);
  }

  /** The moment in which shards may surge, after all steps that are foreseen. */
  #addSurge(s: number, first: number): void {
    const { loadMean, loadVariance, dims } = this.problem;
    const { surge } = this.shards[s]!.forecast;
    const at = s * dims + this.intervals.length * 3;
    const from = s * dims + first * 3;
    for (let resource = 0; resource < 3; resource++) {
      loadMean[at + resource] = loadMean[from + resource]!;
      loadVariance[at + resource] = loadVariance[from + resource]!;
    }
    loadVariance[at]! += SURGE_WEIGHT * (surge?.cpu ?? 0) ** 2;
    loadVariance[at + 2]! += SURGE_WEIGHT * (surge?.network ?? 0) ** 2;
  }

  /** Dollars an hour in each region over the window, and what a move costs. */
  #addValue(s: number, rates: Float64Array, values: Float64Array): void {
    const { problem: p, regions, prices } = this;
    const shard = this.shards[s]!;
    const { topology } = this.input;
    const R = regions.length;
    const H = this.intervals.length;
    const rate = shard.forecast.metrics.requests.quantiles[0][0] ?? 0;
    const start = this.nodeIndex(shard.inFlightTo ?? shard.primary);
    const home = start < 0 ? NOWHERE : p.nodeRegion[start]!;
    // Before a move could be done the shard is where it is, whatever is decided.
    const first = this.firstStep(s);
    let again = 0;
    for (let r = 0; r < R; r++) {
      const region = regions[r]!;
      this.#flowsOf(s, region);
      const { latencyUsd, egressUsd, latencyMs } = this.#flows;
      const standbys = this.#standbyEgressUsd(shard, region);
      for (let h = 0; h < H; h++) rates[r * H + h] = latencyUsd[h]! + egressUsd[h]! + standbys;
      p.userEgress[s * R + r] = egressUsd[0]! * SECONDS_PER_HOUR;
      this.#latencyMs[s * R + r] = rate > 0 ? latencyMs[0]! / rate : 0;
      if (r > 0)
        again = Math.max(again, moveCostUsd(shard.stateBytes, regions[0]!, region, rate, topology, prices));
    }
    if (first > 0 && home >= 0)
      for (let r = 0; r < R; r++) for (let h = 0; h < first; h++) rates[r * H + h] = rates[home * H + h]!;
    const open = this.#openTo(s);
    valueByRegion(rates, R, this.intervals, again, values, { first, open });
    if (home >= 0) {
      const later = laterMove(rates, R, this.intervals, again, home, values, { first, open });
      if (later !== undefined) this.later.set(s, { ...later, againUsd: again });
    }
    const perHour = SECONDS_PER_HOUR / this.windowS;
    for (let r = 0; r < R; r++) p.value[s * R + r] = values[r]! * perHour;
    p.requestsPerSecond[s] = rate;
    const owed = this.input.owedUsd?.(shard.shard) ?? 0;
    // Two names that are not the same stand for two regions; bytes are the solver's to price.
    const cost = (from: Region, to: Region) => moveCostUsd(0, from, to, rate, topology, prices) + owed;
    p.moveNearUsd[s] = cost('', '');
    p.moveFarUsd[s] = cost('', ' ');
    p.promotionUsd[s] = p.moveNearUsd[s]!;
    p.stateGb[s] = shard.stateBytes / BYTES_PER_GB;
  }

  /** The step in which a move that starts now is done. */
  firstStep(s: number): number {
    const { horizonsS } = this.shards[s]!.forecast;
    const about = this.#doneS[s]! - DONE_TOLERANCE * horizonsS[0]!;
    let first = 0;
    while (first < this.intervals.length - 1 && horizonsS[first]! < about) first++;
    return first;
  }

  /** Regions that the shard could move to later: allowed, and with a node that takes shards. */
  #openTo(s: number): Uint8Array {
    const { problem: p, regions } = this;
    const { allowedRegions, pinnedTo } = this.shards[s]!;
    const pin = pinnedTo === undefined ? NOWHERE : this.nodeIndex(pinnedTo);
    if (allowedRegions === undefined && pin < 0) return this.#openRegions;
    return this.#openRegions.map((open, r) =>
      (pin >= 0 ? p.nodeRegion[pin] === r : allowedRegions!.includes(regions[r]!)) ? open : 0,
    );
  }

  /** Seconds that the shard's bytes take on the slowest way it may go, as far as that was measured. */
  #transferS(s: number): number {
    const shard = this.shards[s]!;
    const from = this.nodeIndex(shard.inFlightTo ?? shard.primary);
    if (from < 0 || shard.stateBytes === 0) return 0;
    return shard.stateBytes / this.#slowestBps(this.nodes[from]!.region);
  }

  /** Infinite where no bandwidth is known: then a move takes as long whatever its bytes. */
  #slowestBps(from: Region): number {
    const { bandwidthBps } = this.input;
    if (bandwidthBps === undefined) return Number.POSITIVE_INFINITY;
    return Math.max(1, Math.min(...this.regions.map((to) => bandwidthBps(from, to))));
  }

  /** Dollars a second for deltas to the standbys in other regions than the primary's. */
  #standbyEgressUsd({ standbys, writeBytesPerSecond }: PlacementShard, region: Region): number {
    if (standbys === undefined || writeBytesPerSecond === 0) return 0;
    const { egressUsdPerGb } = this.input.topology;
    let usd = 0;
    for (const standby of standbys) {
      const n = this.nodeIndex(standby);
      const to = n < 0 ? region : this.nodes[n]!.region;
      usd += (writeBytesPerSecond * (egressUsdPerGb[region]?.[to] ?? 0)) / BYTES_PER_GB;
    }
    return usd;
  }

  #addPlace(s: number, builds: BuildClasses): void {
    const { problem: p, regions } = this;
    const shard = this.shards[s]!;
    for (let r = 0; r < regions.length; r++)
      if (shard.allowedRegions === undefined || shard.allowedRegions.includes(regions[r]!))
        p.allowed[s * p.regionWords + (r >>> 5)]! |= 1 << (r & 31);
    // A pin to a process that is gone holds nobody.
    if (shard.pinnedTo !== undefined) p.pinnedTo[s] = this.nodeIndex(shard.pinnedTo);
    p.frozen[s] = HOLD_CONSTRAINTS.some((constraint) => constraint.holds(shard)) ? 1 : 0;
    p.buildClass[s] = builds.of(shard);
    const base = s * p.width;
    p.start[base] = this.nodeIndex(shard.inFlightTo ?? shard.primary);
    shard.standbys?.forEach((standby, k) => {
      p.start[base + 1 + k] = this.nodeIndex(standby);
    });
  }

  /** Standbys apply deltas and hold the state: load that is there whatever primaries do. */
  #addStandbyLoads(): void {
    const { problem: p } = this;
    if (p.width === 1) return;
    for (let s = 0; s < p.shardCount; s++)
      for (let k = 1; k < p.width; k++) {
        const n = p.start[s * p.width + k]!;
        if (n < 0) continue;
        for (let d = 0; d < p.dims; d++)
          p.baseLoad[n * p.dims + d]! += p.standbyShare[d % 3]! * p.loadMean[s * p.dims + d]!;
      }
  }

  /** What fills a node by itself stays there: a move would compete with its requests, so its neighbours leave. */
  #findSaturating(): void {
    const { problem: p } = this;
    const hottest = new Int32Array(p.nodeCount).fill(NOWHERE);
    const mean = new Float64Array(p.nodeCount);
    const variance = new Float64Array(p.nodeCount);
    for (let s = 0; s < p.shardCount; s++) {
      const n = this.startOf(s);
      if (n < 0) continue;
      const cpu = p.loadMean[s * p.dims]!;
      mean[n]! += cpu;
      variance[n]! += p.loadVariance[s * p.dims]!;
      if (hottest[n]! < 0 || cpu > p.loadMean[hottest[n]! * p.dims]!) hottest[n] = s;
    }
    for (let n = 0; n < p.nodeCount; n++) {
      const s = hottest[n]!;
      if (s < 0) continue;
      const soon = mean[n]! + p.baseLoad[n * p.dims]! + Z90 * Math.sqrt(variance[n]!);
      const now = this.input.cpuNow?.[this.nodes[n]!.processId] ?? 0;
      if (Math.max(now, soon) < CPU_SHARE_MAX * p.capacity[n * 3]!) continue;
      if (p.loadMean[s * p.dims]! >= SATURATING_SHARE * Math.max(soon, 1e-12)) p.saturating[s] = 1;
    }
  }
}

/** Of the time; that of surges is the last. */
function stepWeights(intervals: readonly number[], windowS: number, surging: boolean): Float64Array {
  const foreseen = surging ? 1 - SURGING_SHARE : 1;
  const weights = intervals.map((seconds) => (foreseen * seconds) / windowS);
  if (surging) weights.push(SURGING_SHARE);
  return Float64Array.from(weights);
}

/** Standard deviations of a metric by step, beyond `first` no wider for its mean than there. */
function deviations({ quantiles: [p50, p90, p99] }: MetricForecast, first: number, into: Float64Array): void {
  const base = p50[first] ?? 0;
  for (let t = 0; t < into.length; t++) {
    const median = p50[t] ?? 0;
    into[t] = deviationOf(median, p90[t] ?? median, p99[t] ?? median);
  }
  // Of a shard that sleeps now nothing tells how wide it is for its mean.
  if (!(base > 0)) return;
  for (let t = first + 1; t < into.length; t++)
    into[t] = Math.min(into[t]!, Math.max(1, (p50[t] ?? 0) / base) * into[first]!);
}
