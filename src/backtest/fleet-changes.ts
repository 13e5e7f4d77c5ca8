/** Nodes of the replayed cluster, asked for and given back: what policies that scale have in common. */
import { type FleetWish, nodesFor, type RegionDemand } from './fleet.ts';
import type { ClusterModel } from './model.ts';
import type { World, WorldNode } from './world.ts';

export function limitsOf(model: ClusterModel) {
  return {
    nodeCpu: model.nodeCpu,
    nodeMemoryBytes: model.nodeMemoryBytes,
    nodesMin: model.nodesMinPerRegion,
    nodesMax: model.nodesMaxPerRegion,
  };
}

/** What standbys ask for beside the shards themselves, as a multiple of these. */
export function withStandbys({ standbys, standbyCpuShare }: ClusterModel): { cpu: number; bytes: number } {
  return { cpu: 1 + standbys * standbyCpuShare, bytes: 1 + standbys };
}

/** The fleet of a beginning: enough for what is at home in each region. */
export function firstFleet(world: World, cpuOf: (region: number) => number, headroom: number): void {
  const { workload, model } = world;
  workload.regions.forEach((_, region) => {
    let bytes = 0;
    for (let s = 0; s < workload.shards.length; s++)
      if (workload.home[s] === region) bytes += workload.stateBytes[s]!;
    const more = withStandbys(model);
    const demand = { nowCpu: cpuOf(region) * more.cpu, aheadCpu: [], stateBytes: bytes * more.bytes };
    startFor(world, region, demand, headroom);
  });
}

/** Nodes that are there as the run begins: enough for a demand, standbys included. */
export function startFor(world: World, region: number, demand: RegionDemand, headroom: number): void {
  const cpu = Math.max(demand.nowCpu, ...demand.aheadCpu);
  const nodes = nodesFor(cpu, demand.stateBytes, headroom, limitsOf(world.model));
  for (let n = 0; n < nodes; n++) world.startNode(region, true);
}

export function homeCpu(world: World, rates: Float64Array, region: number): number {
  const { workload, model } = world;
  const count = workload.regions.length;
  let cpu = 0;
  for (let s = 0; s < workload.shards.length; s++)
    if (workload.home[s] === region)
      for (let o = 0; o < count; o++) cpu += rates[s * count + o]! * model.cpuSecondsPerRequest;
  return cpu;
}

export function readyIn(world: World, region: number): WorldNode[] {
  return world.nodes.filter((node) => node.region === region && node.state === 'ready');
}

/** CPU asked of each node that is not gone, by its index, as if the moves under way had ended. Copies for standbys move no requests. */
export function loadAfterMoves(world: World): Map<number, number> {
  const load = new Map(world.nodes.map((node) => [node.index, world.demandCpu(node)]));
  for (const { kind, shard, from, to } of world.flights) {
    if (kind === 'copy') continue;
    const cpu = world.shardCpu(shard);
    if (from >= 0) load.set(from, load.get(from)! - cpu);
    load.set(to, load.get(to)! + cpu);
  }
  return load;
}

/** Asks for what a region's fleet lacks, or gives back what it has too many. */
export function resize(world: World, region: number, { atLeast, atMost }: FleetWish): void {
  let now = 0;
  for (const node of world.nodes)
    if (node.region === region && (node.state === 'ready' || node.state === 'starting')) now++;
  if (atLeast > now) growTo(world, region, atLeast);
  else if (atMost < now) shrinkTo(world, region, atMost);
}

/** Brings a region to `nodes`: those that drain serve on first, then new ones are asked for. */
function growTo(world: World, region: number, nodes: number): void {
  const here = world.nodes.filter((node) => node.region === region);
  let now = here.filter((node) => node.state === 'ready' || node.state === 'starting').length;
  const draining = here
    .filter((node) => node.state === 'draining')
    .sort((a, b) => b.stateBytes - a.stateBytes || a.index - b.index);
  for (const node of draining) {
    if (now >= nodes) return;
    world.keep(node);
    now++;
  }
  for (; now < nodes; now++) world.startNode(region);
}

/** Gives back beyond `nodes`: those still starting, then the ones with the least to move. */
function shrinkTo(world: World, region: number, nodes: number): void {
  const here = world.nodes.filter(
    (node) => node.region === region && (node.state === 'ready' || node.state === 'starting'),
  );
  here.sort(
    (a, b) =>
      Number(a.state === 'ready') - Number(b.state === 'ready') ||
      a.stateBytes - b.stateBytes ||
      b.index - a.index,
  );
  for (const node of here.slice(0, Math.max(0, here.length - nodes))) world.drain(node);
}
