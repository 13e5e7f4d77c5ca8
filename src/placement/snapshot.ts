/**
 * The state a search works on: every shard's value by region, every node's load by horizon, kept incrementally.
 *
 * Boundary: no decisions here. Invariant: loads are the sums over the shards placed so far; a node's p90 is its mean plus
 * the root of summed squared spreads, for bands are not summed. A shard whose migration is under way counts at its target.
 */
import type { ProcessId, Region } from '../model/ids.ts';
import type { LatencyPromise, PlacementNode, PlacementShard } from '../model/loop.ts';
import { CPU_SHARE_MAX } from './constraints/capacity.ts';
import { type Constraint, type ConstraintContext, mustLeave, refusal } from './constraints/index.ts';
import { DEFAULT_PRICES, type Prices } from './defaults.ts';
import type { Cost, PlacementInput } from './input.ts';
import {
  flowsIn,
  intervalsS,
  moveCostUsd,
  nodeCostUsd,
  type RegionFlows,
  valueByRegion,
} from './objective.ts';
import { promiseOf } from './promise.ts';

/** A shard with at least this share of a saturated node's CPU is what saturates it. */
const SATURATING_SHARE = 0.3;

export class Snapshot implements ConstraintContext {
  readonly input: PlacementInput;
  readonly prices: Prices;
  readonly nodes: readonly PlacementNode[];
  readonly shards: readonly PlacementShard[];
  readonly regions: Region[];
  readonly intervals: number[];
  /** Sum of the intervals, seconds. */
  readonly windowS: number;
  /** Node index where each shard is placed so far; -1: its node is gone. */
  readonly place: Int32Array;
  /** Node index where each shard is now. */
  readonly start: Int32Array;
  readonly #nodeIndex = new Map<ProcessId, number>();
  readonly #regionOfNode: Int32Array;
  readonly #cellRegion = new Map<string, Region>();
  /** Dollars over the window: `[shard * regions + region]`. */
  readonly #value: Float64Array;
  readonly #latencyMs: Float64Array;
  readonly #usdNow: Float64Array;
  readonly #egressNow: Float64Array;
  readonly #rate: Float64Array;
  readonly #cpu: Float64Array;
  readonly #cpuSpread: Float64Array;
  readonly #memory: Float64Array;
  readonly #network: Float64Array;
  readonly #loadMean: Float64Array;
  readonly #loadSquares: Float64Array;
  readonly #loadMemory: Float64Array;
  readonly #loadNetwork: Float64Array;
  readonly #count: Int32Array;
  readonly #saturating = new Set<number>();
  readonly #indexOfShard = new Map<PlacementShard, number>();

  constructor(input: PlacementInput) {
    this.input = input;
    this.prices = { ...DEFAULT_PRICES, ...input.prices };
    this.nodes = input.nodes;
    this.shards = input.shards;
    this.regions = [...new Set(input.nodes.map((node) => node.region))].sort();
    this.intervals = intervalsS(input.shards[0]?.forecast.horizonsS ?? [1]);
    this.windowS = this.intervals.reduce((a, b) => a + b, 0);
    for (const [region, cell] of Object.entries(input.cells)) this.#cellRegion.set(cell, region);
    const { nodes, shards, regions } = this;
    const horizons = this.intervals.length;
    this.#regionOfNode = Int32Array.from(nodes, (node) => regions.indexOf(node.region));
    nodes.forEach((node, i) => {
      this.#nodeIndex.set(node.processId, i);
    });
    this.place = new Int32Array(shards.length);
    this.start = new Int32Array(shards.length);
    this.#value = new Float64Array(shards.length * regions.length);
    this.#latencyMs = new Float64Array(shards.length * regions.length);
    this.#usdNow = new Float64Array(shards.length * regions.length);
    this.#egressNow = new Float64Array(shards.length * regions.length);
    this.#rate = new Float64Array(shards.length);
    this.#cpu = new Float64Array(shards.length * horizons);
    this.#cpuSpread = new Float64Array(shards.length * horizons);
    this.#memory = new Float64Array(shards.length);
    this.#network = new Float64Array(shards.length);
    this.#loadMean = new Float64Array(nodes.length * horizons);
    this.#loadSquares = new Float64Array(nodes.length * horizons);
    this.#loadMemory = new Float64Array(nodes.length);
    this.#loadNetwork = new Float64Array(nodes.length);
    this.#count = new Int32Array(nodes.length);
    nodes.forEach((node, i) => {
      this.#loadMean.fill(input.overheadCpu?.[node.processId] ?? 0, i * horizons, (i + 1) * horizons);
    });
    this.#price();
    for (let s = 0; s < shards.length; s++) {
      const shard = shards[s]!;
      this.#indexOfShard.set(shard, s);
      this.start[s] = this.#nodeIndex.get(shard.inFlightTo ?? shard.primary) ?? -1;
      this.place[s] = this.start[s]!;
      if (this.place[s]! >= 0) this.#add(s, this.place[s]!, 1);
    }
    this.#findSaturating();
  }

  nodeIndex(process: ProcessId): number {
    return this.#nodeIndex.get(process) ?? -1;
  }

  /** Requests a second when a move started now would be done. */
  rate(s: number): number {
    return this.#rate[s]!;
  }

  regionOf(n: number): number {
    return this.#regionOfNode[n]!;
  }

  /** Mean user latency of a shard in a node's region when a move would be done. */
  latencyMs(s: number, n: number): number {
    return n < 0 ? 0 : this.#latencyMs[s * this.regions.length + this.#regionOfNode[n]!]!;
  }

  /** Dollars a second for latency and egress in a node's region when a move would be done. */
  flowUsd(s: number, n: number): number {
    return n < 0 ? 0 : this.#usdNow[s * this.regions.length + this.#regionOfNode[n]!]!;
  }

  /** One-time dollars to bring a shard from where it is now to `n`; 0 to stay, or where its node is gone. */
  moveUsd(s: number, n: number): number {
    const from = this.start[s]!;
    if (from === n || from < 0) return 0;
    const shard = this.shards[s]!;
    return (
      moveCostUsd(
        shard,
        this.nodes[from]!.region,
        this.nodes[n]!.region,
        this.#rate[s]!,
        this.input.topology,
        this.prices,
      ) + (this.input.owedUsd?.(shard.shard) ?? 0)
    );
  }

  /** Dollars over the window of a shard's own flows on `n`, its move included. */
  valueUsd(s: number, n: number): number {
    return this.#value[s * this.regions.length + this.#regionOfNode[n]!]! + this.moveUsd(s, n);
  }

  /** Least value over all regions, without a move: a bound for what a relocation can gain. */
  bestRegionValue(s: number): number {
    let best = Number.POSITIVE_INFINITY;
    const base = s * this.regions.length;
    for (let r = 0; r < this.regions.length; r++) best = Math.min(best, this.#value[base + r]!);
    return best;
  }

  /** Change of all dollars over the window if shard `s` went from its place to `n`. */
  deltaUsd(s: number, n: number): number {
    const from = this.place[s]!;
    if (from === n) return 0;
    const own = this.valueUsd(s, n) - (from >= 0 ? this.valueUsd(s, from) : 0);
    return own + this.#loadDelta(n, s, 1) + (from >= 0 ? this.#loadDelta(from, s, -1) : 0);
  }

  relocate(s: number, n: number): void {
    const from = this.place[s]!;
    if (from >= 0) this.#add(s, from, -1);
    this.place[s] = n;
    this.#add(s, n, 1);
  }

  refusal(s: number, n: number): Constraint | undefined {
    return refusal(this.shards[s]!, this.nodes[n]!, this);
  }

  /** The constraint that keeps a shard from staying on `n` (where it is placed, if not named). */
  mustLeave(s: number, n = this.place[s]!): Constraint | undefined {
    return n < 0 ? undefined : mustLeave(this.shards[s]!, this.nodes[n]!, this);
  }

  /** Highest p90 CPU of a node over the window, core-seconds a second. */
  cpuP90(n: number): number {
    const horizons = this.intervals.length;
    let most = 0;
    for (let h = 0; h < horizons; h++) most = Math.max(most, this.#cpuAt(n, h));
    return most;
  }

  overloaded(n: number): boolean {
    return this.cpuP90(n) > this.prices.headroomShare * this.nodes[n]!.capacity.cpu;
  }

  /** Shards placed on a node. */
  count(n: number): number {
    return this.#count[n]!;
  }

  /** Dollars an hour as placed so far, when a move started now would be done. */
  cost(): Cost {
    const cost: Cost = { latency: 0, egress: 0, nodes: 0, overload: 0, total: 0 };
    for (let s = 0; s < this.shards.length; s++) {
      if (this.place[s]! < 0) continue;
      const at = s * this.regions.length + this.#regionOfNode[this.place[s]!]!;
      cost.latency += (this.#usdNow[at]! - this.#egressNow[at]!) * 3600;
      cost.egress += this.#egressNow[at]! * 3600;
    }
    this.nodes.forEach((node, n) => {
      if (this.#count[n]! > 0 || !this.input.releasable?.has(node.processId)) cost.nodes += node.usdPerHour;
      cost.overload += nodeCostUsd(this.#cpuAt(n, 0), node.capacity.cpu, this.prices) * 3600;
    });
    cost.total = cost.latency + cost.egress + cost.nodes + cost.overload;
    return cost;
  }

  usedAtP90(node: PlacementNode, shard: PlacementShard) {
    const n = this.nodeIndex(node.processId);
    const s = this.#indexOfShard.get(shard)!;
    const here = this.place[s] === n;
    const horizons = this.intervals.length;
    let cpu = 0;
    for (let h = 0; h < horizons; h++) {
      const mean = this.#loadMean[n * horizons + h]! - (here ? this.#cpu[s * horizons + h]! : 0);
      const squares =
        this.#loadSquares[n * horizons + h]! - (here ? this.#cpuSpread[s * horizons + h]! ** 2 : 0);
      cpu = Math.max(cpu, mean + Math.sqrt(Math.max(0, squares)));
    }
    return {
      cpu,
      memoryBytes: this.#loadMemory[n]! - (here ? this.#memory[s]! : 0),
      networkBytesPerSecond: this.#loadNetwork[n]! - (here ? this.#network[s]! : 0),
    };
  }

  demandAtP90(shard: PlacementShard) {
    const s = this.#indexOfShard.get(shard)!;
    const horizons = this.intervals.length;
    let cpu = 0;
    for (let h = 0; h < horizons; h++) cpu = Math.max(cpu, this.#cpu[s * horizons + h]!);
    return { cpu, memoryBytes: this.#memory[s]!, networkBytesPerSecond: this.#network[s]! };
  }

  saturates(shard: PlacementShard): boolean {
    return this.#saturating.has(this.#indexOfShard.get(shard)!);
  }

  /** Region of the cell that holds the log of a shard whose primary is in `region`. */
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

  #cellRegionFor(shard: PlacementShard, region: Region): Region {
    if (this.input.cells[region] !== undefined) return region;
    return this.#cellRegion.get(shard.cell) ?? region;
  }

  #price(): void {
    const horizons = this.intervals.length;
    const regions = this.regions.length;
    const flows: RegionFlows = {
      latencyUsd: new Float64Array(horizons),
      egressUsd: new Float64Array(horizons),
      latencyMs: new Float64Array(horizons),
    };
    const rates = new Float64Array(regions * horizons);
    const values = new Float64Array(regions);
    for (let s = 0; s < this.shards.length; s++) {
      const shard = this.shards[s]!;
      const { metrics } = shard.forecast;
      const requests = metrics.requests.quantiles[0];
      this.#rate[s] = requests[0] ?? 0;
      for (let h = 0; h < horizons; h++) {
        const p50 = metrics.cpu.quantiles[0][h] ?? 0;
        this.#cpu[s * horizons + h] = p50;
        this.#cpuSpread[s * horizons + h] = Math.max(0, (metrics.cpu.quantiles[1][h] ?? p50) - p50);
      }
      this.#memory[s] = Math.max(metrics.memory.max[1], shard.stateBytes);
      this.#network[s] = metrics.networkIn.max[1] + metrics.networkOut.max[1];
      let again = 0;
      for (let r = 0; r < regions; r++) {
        const region = this.regions[r]!;
        flowsIn(shard, region, this.#cellRegionFor(shard, region), this.input.topology, this.prices, flows);
        for (let h = 0; h < horizons; h++)
          rates[r * horizons + h] = flows.latencyUsd[h]! + flows.egressUsd[h]!;
        this.#usdNow[s * regions + r] = rates[r * horizons]!;
        this.#egressNow[s * regions + r] = flows.egressUsd[0]!;
        this.#latencyMs[s * regions + r] = this.#rate[s]! > 0 ? flows.latencyMs[0]! / this.#rate[s]! : 0;
        if (r > 0)
          again = Math.max(
            again,
            moveCostUsd(shard, this.regions[0]!, region, this.#rate[s]!, this.input.topology, this.prices),
          );
      }
      valueByRegion(rates, regions, this.intervals, again, values);
      this.#value.set(values, s * regions);
    }
  }

  #add(s: number, n: number, sign: 1 | -1): void {
    const horizons = this.intervals.length;
    for (let h = 0; h < horizons; h++) {
      this.#loadMean[n * horizons + h]! += sign * this.#cpu[s * horizons + h]!;
      this.#loadSquares[n * horizons + h]! += sign * this.#cpuSpread[s * horizons + h]! ** 2;
    }
    this.#loadMemory[n]! += sign * this.#memory[s]!;
    this.#loadNetwork[n]! += sign * this.#network[s]!;
    this.#count[n]! += sign;
  }

  #cpuAt(n: number, h: number): number {
    const at = n * this.intervals.length + h;
    return this.#loadMean[at]! + Math.sqrt(Math.max(0, this.#loadSquares[at]!));
  }

  #loadDelta(n: number, s: number, sign: 1 | -1): number {
    const horizons = this.intervals.length;
    const capacity = this.nodes[n]!.capacity.cpu;
    let delta = 0;
    for (let h = 0; h < horizons; h++) {
      const at = n * horizons + h;
      const mean = this.#loadMean[at]! + sign * this.#cpu[s * horizons + h]!;
      const squares = this.#loadSquares[at]! + sign * this.#cpuSpread[s * horizons + h]! ** 2;
      const after = mean + Math.sqrt(Math.max(0, squares));
      delta +=
        this.intervals[h]! *
        (nodeCostUsd(after, capacity, this.prices) - nodeCostUsd(this.#cpuAt(n, h), capacity, this.prices));
    }
    if (this.input.releasable?.has(this.nodes[n]!.processId)) {
      const perWindow = (this.nodes[n]!.usdPerHour / 3600) * this.windowS;
      if (sign > 0 && this.#count[n] === 0) delta += perWindow;
      if (sign < 0 && this.#count[n] === 1) delta -= perWindow;
    }
    return delta;
  }

  #findSaturating(): void {
    const horizons = this.intervals.length;
    const hottest = new Int32Array(this.nodes.length).fill(-1);
    for (let s = 0; s < this.shards.length; s++) {
      const n = this.start[s]!;
      if (n < 0) continue;
      const best = hottest[n]!;
      if (best < 0 || this.#cpu[s * horizons]! > this.#cpu[best * horizons]!) hottest[n] = s;
    }
    this.nodes.forEach((node, n) => {
      const s = hottest[n]!;
      if (s < 0) return;
      const now = this.input.cpuNow?.[node.processId] ?? 0;
      const soon = this.#cpuAt(n, 0);
      const limit = CPU_SHARE_MAX * node.capacity.cpu;
      if (Math.max(now, soon) < limit) return;
      if (this.#cpu[s * horizons]! >= SATURATING_SHARE * Math.max(soon, 1e-12)) this.#saturating.add(s);
    });
  }
}
