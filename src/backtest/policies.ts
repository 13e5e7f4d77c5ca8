/**
 * What each policy does at the end of a step and when a node has become ready. They share the world, its limits and the
 * headroom that is swept; they differ in where shards go, whether nodes scale, and what they expect.
 */
import type { ShardForecast } from '../model/loop.ts';
import type { Controller, Learnt, StepView } from './controller.ts';
import { FleetMemory, nodesFor, providedFor, type RegionDemand } from './fleet.ts';
import {
  firstFleet,
  homeCpu,
  limitsOf,
  loadAfterMoves,
  readyIn,
  resize,
  startFor,
  withStandbys,
} from './fleet-changes.ts';
import { LatencyGreedy } from './latency-greedy.ts';
import type { PolicyId } from './model.ts';
import { bestFixed, Planner } from './planner.ts';
import { rendezvous, type Wish, type World } from './world.ts';

export function makeController(policy: PolicyId, world: World, headroom: number, learnt: Learnt): Controller {
  switch (policy) {
    case 'hash':
    case 'static':
    case 'bestFixed':
      return new FixedFleet(policy, world, headroom, learnt);
    case 'hpa':
    case 'threshold':
      return new Autoscaled(policy, world, headroom);
    case 'latencyGreedy':
      return new LatencyGreedy(world, headroom);
    default:
      return new Planned(world, headroom);
  }
}

/** Nobody scales and nobody moves: bought once for the peak of the tuning days at a headroom. */
class FixedFleet implements Controller {
  readonly #policy: PolicyId;
  readonly #world: World;
  readonly #headroom: number;
  readonly #learnt: Learnt;

  constructor(policy: PolicyId, world: World, headroom: number, learnt: Learnt) {
    this.#policy = policy;
    this.#world = world;
    this.#headroom = headroom;
    this.#learnt = learnt;
  }

  begin(): void {
    const world = this.#world;
    firstFleet(world, (region) => this.#learnt.peakCpu[region]!, this.#headroom);
    for (let s = 0; s < world.place.length; s++) {
      const among = this.#policy === 'hash' ? world.nodes : readyIn(world, world.workload.home[s]!);
      world.put(s, rendezvous(s, among));
    }
    if (this.#policy !== 'bestFixed') return;
    // At a headroom above one the mean is what must fit: the peak does not.
    bestFixed(world, this.#learnt.meanRates, this.#headroom).forEach((index, s) => {
      world.put(s, world.byIndex[index]!);
    });
  }

  decide(): void {}
  nodeReady(): void {}
}

/** Kubernetes scales when the ratio is off by more than this (horizontal-pod-autoscaler-tolerance). */
const HPA_TOLERANCE = 0.1;

/**
 * `hpa`: desired = ceil(ready x utilisation / target), within the tolerance nothing, down only after the stabilisation
 * window (kubernetes.io, "Horizontal Pod Autoscaling", algorithm details); shards by rendezvous hash over ready nodes.
 * `threshold`: the same fleet; a node over the headroom gives its largest fitting shards to the least loaded.
 */
class Autoscaled implements Controller {
  readonly #policy: PolicyId;
  readonly #world: World;
  readonly #headroom: number;
  readonly #desired: { atS: number; nodes: number }[][];

  constructor(policy: PolicyId, world: World, headroom: number) {
    this.#policy = policy;
    this.#world = world;
    this.#headroom = headroom;
    this.#desired = world.workload.regions.map(() => []);
  }

  begin(view: StepView): void {
    const world = this.#world;
    firstFleet(world, (region) => homeCpu(world, view.rates, region), this.#headroom);
    for (let s = 0; s < world.place.length; s++)
      world.put(s, rendezvous(s, readyIn(world, world.workload.home[s]!)));
  }

  decide(): void {
    const world = this.#world;
    world.workload.regions.forEach((_, region) => {
      this.#scale(region);
    });
    this.nodeReady();
  }

  nodeReady(): void {
    const world = this.#world;
    const wishes: Wish[] = [];
    world.workload.regions.forEach((_, region) => {
      if (this.#policy === 'hpa') this.#hash(region, wishes);
      else this.#relieve(region, wishes);
    });
    world.wish(wishes);
  }

  #scale(region: number): void {
    const world = this.#world;
    const { model } = world;
    const here = world.nodes.filter((node) => node.region === region);
    const ready = here.filter((node) => node.state === 'ready');
    const coming = here.filter((node) => node.state === 'starting');
    // A process cannot use more than it has: what is measured of a saturated node is its capacity.
    let used = 0;
    for (const node of here)
      if (node.state !== 'starting')
        used += node.waitS > 0 ? model.nodeCpu : Math.min(model.nodeCpu, world.demandCpu(node));
    const ratio = used / (Math.max(1, ready.length) * model.nodeCpu) / this.#headroom;
    let bytes = 0;
    for (const node of here) bytes += node.stateBytes + node.standbyBytes;
    const least = nodesFor(0, bytes, 1, limitsOf(model));
    const steady = Math.abs(ratio - 1) <= HPA_TOLERANCE && coming.length === 0;
    const wanted = steady ? ready.length : Math.ceil(ready.length * ratio - 1e-9);
    const nodes = Math.min(model.nodesMaxPerRegion, Math.max(least, wanted));
    const kept = this.#desired[region]!;
    kept.push({ atS: world.nowS, nodes });
    while (kept[0]!.atS <= world.nowS - model.scaleDownS - 1e-9) kept.shift();
    const most = kept.reduce((max, one) => Math.max(max, one.nodes), 0);
    resize(world, region, { atLeast: nodes, atMost: most });
  }

  #hash(region: number, wishes: Wish[]): void {
    const world = this.#world;
    const ready = readyIn(world, region);
    if (ready.length === 0) return;
    for (let s = 0; s < world.place.length; s++) {
      if (world.byIndex[world.place[s]!]?.region !== region) continue;
      const to = rendezvous(s, ready).index;
      if (to !== world.place[s]) wishes.push({ shard: s, to });
    }
  }

  #relieve(region: number, wishes: Wish[]): void {
    const world = this.#world;
    const limit = this.#headroom * world.model.nodeCpu;
    const load = loadAfterMoves(world);
    const ready = readyIn(world, region);
    const shardsOf = new Map<number, number[]>();
    for (let s = 0; s < world.place.length; s++) {
      if (world.movingTo[s] !== -1) continue;
      const at = world.place[s]!;
      if (world.byIndex[at]?.region !== region) continue;
      const list = shardsOf.get(at);
      if (list) list.push(s);
      else shardsOf.set(at, [s]);
    }
    const leastLoaded = () => ready.reduce((a, b) => (load.get(b.index)! < load.get(a.index)! ? b : a));
    for (const [at, shards] of shardsOf) {
      const draining = world.byIndex[at]!.state === 'draining';
      if (ready.length === 0 || (!draining && load.get(at)! <= limit)) continue;
      shards.sort((a, b) => world.shardCpu(b) - world.shardCpu(a) || a - b);
      for (const shard of shards) {
        if (!draining && load.get(at)! <= limit) break;
        const target = leastLoaded();
        const cpu = world.shardCpu(shard);
        if (target.index === at) break;
        if (!draining && load.get(target.index)! + cpu >= load.get(at)!) continue;
        load.set(at, load.get(at)! - cpu);
        load.set(target.index, load.get(target.index)! + cpu);
        wishes.push({ shard, to: target.index });
      }
    }
  }
}

/** Our loop: foreseen demand scales the fleet, placement and the planner move shards. */
class Planned implements Controller {
  readonly #world: World;
  readonly #headroom: number;
  readonly #planner: Planner;
  readonly #memories: FleetMemory[];
  readonly #wantedIn: Int8Array;
  #view: StepView | undefined;

  constructor(world: World, headroom: number) {
    this.#world = world;
    this.#headroom = headroom;
    this.#planner = new Planner(world, headroom);
    this.#memories = world.workload.regions.map(() => new FleetMemory(world.model.scaleDownS));
    this.#wantedIn = Int8Array.from(world.workload.home);
  }

  begin(view: StepView): void {
    const world = this.#world;
    this.#view = view;
    this.#demands(view).forEach((demand, region) => {
      startFor(world, region, demand, this.#headroom);
    });
    // Largest first onto the least loaded: the optimiser starts from something sensible and has a day to do better.
    const order = world.workload.shards.map((_, s) => s);
    order.sort((a, b) => world.shardCpu(b) - world.shardCpu(a) || a - b);
    for (const s of order) {
      const among = readyIn(world, this.#wantedIn[s]!);
      world.put(
        s,
        among.reduce((a, b) =>
          world.demandCpu(b) < world.demandCpu(a) ||
          (world.demandCpu(b) === world.demandCpu(a) && b.stateBytes < a.stateBytes)
            ? b
            : a,
        ),
      );
    }
  }

  decide(view: StepView): void {
    const world = this.#world;
    this.#view = view;
    const demands = this.#demands(view);
    world.workload.regions.forEach((_, region) => {
      const wish = this.#memories[region]!.wish(
        world.nowS,
        demands[region]!,
        this.#headroom,
        limitsOf(world.model),
      );
      resize(world, region, wish);
    });
    this.nodeReady();
  }

  nodeReady(): void {
    this.#world.wish(this.#planner.plan(this.#view!.forecasts!, this.#view!.total!));
  }

  /** Each region's demand: of the shards whose users will mostly be nearest to it. */
  #demands(view: StepView): RegionDemand[] {
    const { workload, model } = this.#world;
    const { regions } = workload;
    const count = regions.length;
    const forecasts = view.forecasts!;
    const horizons = view.total!.p50.length;
    const more = withStandbys(model);
    const demands = regions.map(() => ({
      nowCpu: 0,
      aheadCpu: new Array<number>(horizons).fill(0),
      stateBytes: 0,
    }));
    for (let s = 0; s < workload.shards.length; s++) {
      const forecast = forecasts[s]!;
      const region = this.#regionOf(s, forecast);
      const demand = demands[region]!;
      for (let o = 0; o < count; o++)
        demand.nowCpu += view.rates[s * count + o]! * model.cpuSecondsPerRequest * more.cpu;
      const p50 = forecast.metrics.cpu.quantiles[0];
      for (let h = 0; h < horizons; h++) demand.aheadCpu[h]! += p50[h]!;
      demand.stateBytes += workload.stateBytes[s]! * more.bytes;
    }
    // The sum of shards' medians only says how the demand is shared: skewed loads have medians below their means.
    const provided = providedFor(view.total!, this.#headroom);
    for (let h = 0; h < horizons; h++) {
      let all = 0;
      for (const demand of demands) all += demand.aheadCpu[h]!;
      const factor = all > 0 ? (provided[h]! * model.cpuSecondsPerRequest * more.cpu) / all : more.cpu;
      for (const demand of demands) demand.aheadCpu[h]! *= factor;
    }
    return demands;
  }

  #regionOf(s: number, forecast: ShardForecast): number {
    const world = this.#world;
    const { regions } = world.workload;
    if (regions.length === 1) return 0;
    const node = world.byIndex[world.movingTo[s]!] ?? world.byIndex[world.place[s]!];
    const here = node?.region ?? this.#wantedIn[s]!;
    const best = this.#planner.regionFor(s, forecast, here);
    this.#wantedIn[s] = best;
    return best;
  }
}
