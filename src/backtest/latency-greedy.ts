/**
 * Each shard on the nearest node with room: what a router by latency does, and the start that placement is measured from.
 *
 * A shard goes to the region from which its users of the last step are reached soonest, to the least loaded node there that
 * stays within the headroom, the busiest shards first; where none has room, to the next region; where none has any, nowhere.
 * Each region's fleet is what the shards that want it asked for in the last step. It foresees nothing and prices nothing.
 */
import { rttMs } from '../model/topology.ts';
import type { Controller, StepView } from './controller.ts';
import { FleetMemory, type RegionDemand } from './fleet.ts';
import { limitsOf, loadAfterMoves, readyIn, resize, startFor, withStandbys } from './fleet-changes.ts';
import type { Wish, World, WorldNode } from './world.ts';

/** A shard stays where it is unless another region is nearer by this: noise does not make it move. Milliseconds. */
const NEARER_MS = 5;

export class LatencyGreedy implements Controller {
  readonly #world: World;
  readonly #headroom: number;
  readonly #memories: FleetMemory[];
  /** Milliseconds from each origin to each region: `[origin * regions + region]`. */
  readonly #ways: Float64Array;
  /** Mean way of each shard's users to each region, milliseconds: `[shard * regions + region]`. */
  readonly #reach: Float64Array;

  constructor(world: World, headroom: number) {
    const { workload, model } = world;
    const { regions } = workload;
    this.#world = world;
    this.#headroom = headroom;
    this.#memories = regions.map(() => new FleetMemory(model.scaleDownS));
    this.#ways = Float64Array.from(
      regions.flatMap((origin) =>
        regions.map(
          (region) =>
            rttMs(model.topology, origin, region) +
            model.commandShare * rttMs(model.topology, region, region),
        ),
      ),
    );
    this.#reach = new Float64Array(workload.shards.length * regions.length);
  }

  begin(view: StepView): void {
    const world = this.#world;
    this.#look(view.rates);
    this.#demands().forEach((demand, region) => {
      startFor(world, region, demand, this.#headroom);
    });
    const load = new Map(world.nodes.map(({ index }) => [index, 0]));
    for (const s of this.#busiestFirst()) {
      const cpu = world.shardCpu(s);
      const node = this.#nearestWithRoom(s, cpu, load) ?? leastLoaded(world.nodes, load)!;
      load.set(node.index, load.get(node.index)! + cpu);
      world.put(s, node);
    }
  }

  decide(view: StepView): void {
    const world = this.#world;
    this.#look(view.rates);
    this.#demands().forEach((demand, region) => {
      const wish = this.#memories[region]!.wish(world.nowS, demand, this.#headroom, limitsOf(world.model));
      resize(world, region, wish);
    });
    this.nodeReady();
  }

  nodeReady(): void {
    const world = this.#world;
    const load = loadAfterMoves(world);
    const wishes: Wish[] = [];
    for (const s of this.#busiestFirst()) {
      const here = world.byIndex[world.place[s]!];
      if (here === undefined || world.movingTo[s] !== -1) continue;
      const cpu = world.shardCpu(s);
      load.set(here.index, load.get(here.index)! - cpu);
      const to = this.#nearestWithRoom(s, cpu, load, here) ?? this.#anywhere(here, load);
      load.set(to.index, load.get(to.index)! + cpu);
      if (to !== here) wishes.push({ shard: s, to: to.index });
    }
    world.wish(wishes);
  }

  /** Nowhere is room: it stays, unless its node is given back. */
  #anywhere(here: WorldNode, load: ReadonlyMap<number, number>): WorldNode {
    if (here.state === 'ready') return here;
    return (
      leastLoaded(
        this.#world.nodes.filter(({ state }) => state === 'ready'),
        load,
      ) ?? here
    );
  }

  #look(rates: Float64Array): void {
    const { workload } = this.#world;
    const count = workload.regions.length;
    for (let s = 0; s < workload.shards.length; s++) {
      let rate = 0;
      for (let o = 0; o < count; o++) rate += rates[s * count + o]!;
      for (let r = 0; r < count; r++) {
        let sum = 0;
        for (let o = 0; o < count; o++) sum += rates[s * count + o]! * this.#ways[o * count + r]!;
        this.#reach[s * count + r] = rate > 0 ? sum / rate : this.#ways[workload.home[s]! * count + r]!;
      }
    }
  }

  /** What is asked by the shards that each region is nearest to. */
  #demands(): RegionDemand[] {
    const { workload, model } = this.#world;
    const count = workload.regions.length;
    const more = withStandbys(model);
    const demands = workload.regions.map(() => ({ nowCpu: 0, aheadCpu: [], stateBytes: 0 }));
    for (let s = 0; s < workload.shards.length; s++) {
      const reach = this.#reach.subarray(s * count, (s + 1) * count);
      const demand = demands[reach.indexOf(Math.min(...reach))]!;
      demand.nowCpu += this.#world.shardCpu(s) * more.cpu;
      demand.stateBytes += workload.stateBytes[s]! * more.bytes;
    }
    return demands;
  }

  #busiestFirst(): number[] {
    const world = this.#world;
    const cpu = world.workload.shards.map((_, s) => world.shardCpu(s));
    return cpu.map((_, s) => s).sort((a, b) => cpu[b]! - cpu[a]! || a - b);
  }

  /** @param here where the shard is: it stays where no region is nearer and its node has room */
  #nearestWithRoom(
    s: number,
    cpu: number,
    load: ReadonlyMap<number, number>,
    here?: WorldNode,
  ): WorldNode | undefined {
    const world = this.#world;
    const count = world.workload.regions.length;
    const limit = this.#headroom * world.model.nodeCpu;
    const reach = (region: number) =>
      this.#reach[s * count + region]! - (here?.region === region ? NEARER_MS : 0);
    const order = world.workload.regions.map((_, region) => region);
    order.sort((a, b) => reach(a) - reach(b) || a - b);
    const hasRoom = (node: WorldNode) => node.state === 'ready' && load.get(node.index)! + cpu <= limit;
    for (const region of order) {
      if (here !== undefined && here.region === region && hasRoom(here)) return here;
      const found = leastLoaded(readyIn(world, region).filter(hasRoom), load);
      if (found !== undefined) return found;
    }
    return undefined;
  }
}

function leastLoaded(nodes: readonly WorldNode[], load: ReadonlyMap<number, number>): WorldNode | undefined {
  let best: WorldNode | undefined;
  for (const node of nodes)
    if (best === undefined || load.get(node.index)! < load.get(best.index)!) best = node;
  return best;
}
