/**
 * The adapter to `skein/placement` and the planner: the replayed cluster as placement's input, its plan as moves.
 *
 * The product's own optimiser and planner run unchanged. Two things differ from a live controller: budgets of moves are
 * kept by the replayed cluster (it starts the plan's moves in order as bandwidth comes free, where a controller would be
 * asked again every second), and nodes that are still starting are not shown to placement.
 */
import { flatForecast, type OriginRates } from '../forecast/index.ts';
import type { MetricForecast, PlacementNode, PlacementShard, ShardForecast } from '../model/loop.ts';
import {
  bestFixedPlacement,
  commonVariation,
  createPlacer,
  DEFAULT_PRICES,
  type PlacementInput,
  type Placer,
  type Prices,
} from '../placement/index.ts';
import {
  flowsIn,
  intervalsS,
  moveCostUsd,
  type RegionFlows,
  valueByRegion,
} from '../placement/shard-value.ts';
import { MoveLedger, makePlan } from '../plan/index.ts';
import type { TotalDemand } from './fleet.ts';
import type { ClusterModel } from './model.ts';
import type { Workload } from './workload.ts';
import type { Wish, World } from './world.ts';

/** Placement's network limit is not what is studied here. */
const NETWORK_BYTES_PER_SECOND = 1e12;
/** The world keeps the budgets; the plan's order is what is wanted of it. */
const NO_BUDGETS = {
  startedPerTick: Number.POSITIVE_INFINITY,
  inFlightMax: Number.POSITIVE_INFINITY,
  bytesInFlightMax: Number.POSITIVE_INFINITY,
  perNodeInFlightMax: Number.POSITIVE_INFINITY,
};

/**
 * Prices decide between regions. With one they make the certified gap and nothing else, for half of the time: it is worked out in one
 * round of so many, the others are not certified.
 */
const CERTIFIED_EVERY = 12;
const UNCERTIFIED_BUDGET = { iterationsWarm: 0, isCertified: false };

export class Planner {
  readonly #world: World;
  readonly #prices: PlacementInput['prices'];
  readonly #placer: Placer = createPlacer();
  readonly #ledger = new MoveLedger();
  readonly #shards: PlacementShard[];
  readonly #cells: Record<string, string>;
  readonly #fullPrices: Prices;
  #generation = 0;
  #rounds = 0;

  constructor(world: World, headroom: number) {
    this.#world = world;
    this.#prices = pricesFor(world.model, world.workload, headroom);
    this.#fullPrices = { ...DEFAULT_PRICES, ...this.#prices };
    this.#cells = Object.fromEntries(world.workload.regions.map((region) => [region, `cell-${region}`]));
    this.#shards = world.workload.shards.map((shard, s) => ({
      shard,
      primary: '',
      cell: '',
      epoch: 1,
      forecast: undefined as unknown as ShardForecast,
      stateBytes: world.workload.stateBytes[s]!,
      writeBytesPerSecond: 0,
      bytesPerRequest: world.model.bytesPerRequest,
      version: 1,
    }));
  }

  /**
   * The region that placement would have a shard in, where nodes have room: by what its users and its moves cost over all that is
   * foreseen, as placement works it out.
   *
   * @param here index of the region it is in
   */
  regionFor(s: number, forecast: ShardForecast, here: number): number {
    const { model, workload } = this.#world;
    const { regions } = workload;
    const shard = this.#shards[s]!;
    shard.forecast = forecast;
    const intervals = intervalsS(forecast.horizonsS);
    const steps = intervals.length;
    const flows = regionFlows(steps);
    const rates = new Float64Array(regions.length * steps);
    const rate = forecast.metrics.requests.quantiles[0][0] ?? 0;
    const moveUsd = regions.map((to) =>
      moveCostUsd(shard.stateBytes, regions[here]!, to, rate, model.topology, this.#fullPrices),
    );
    regions.forEach((region, r) => {
      flowsIn(shard, region, region, model.topology, this.#fullPrices, flows);
      for (let h = 0; h < steps; h++) rates[r * steps + h] = flows.latencyUsd[h]! + flows.egressUsd[h]!;
    });
    const usd = new Float64Array(regions.length);
    valueByRegion(rates, regions.length, intervals, Math.max(...moveUsd), usd);
    let best = here;
    usd.forEach((value, r) => {
      if (r !== here) usd[r] = value + moveUsd[r]!;
      if (usd[r]! < usd[best]!) best = r;
    });
    return best;
  }

  /**
   * Moves that are worth it on these forecasts, best first.
   *
   * @param forecasts one a shard, in the workload's order
   * @param total of all requests, forecast as one series, at as many horizons as loads are placed for
   */
  plan(forecasts: readonly ShardForecast[], total: TotalDemand): Wish[] {
    const world = this.#world;
    const { byIndex } = world;
    const regions = world.workload.regions;
    this.#shards.forEach((shard, s) => {
      // A shard that is being reopened counts where it is going; one that nobody could take yet, at any node.
      const node = byIndex[world.place[s]!] ?? byIndex[world.movingTo[s]!] ?? world.nodes[0]!;
      shard.primary = node.name;
      shard.cell = this.#cells[regions[node.region]!]!;
      shard.forecast = loadUntil(forecasts[s]!, total.p50.length);
      const target = world.movingTo[s]!;
      shard.inFlightTo = target === -1 ? undefined : byIndex[target]!.name;
      const standby = byIndex[world.standbys.on[s]!];
      shard.standbys = standby === undefined || standby === node ? undefined : [standby.name];
    });
    const nodes = placementNodes(world);
    const indexOf = new Map(world.nodes.map((node) => [node.name, node.index]));
    const rowOf = this.#rowOf;
    const atMs = world.nowS * 1000;
    const isCertified = regions.length > 1 || this.#rounds++ % CERTIFIED_EVERY === 0;
    const placement = this.#placer.place({
      nodes,
      shards: this.#shards,
      topology: world.model.topology,
      cells: this.#cells,
      prices: this.#prices,
      commonVariation: commonVariation(this.#shards, total),
      bandwidthBps: () => world.model.moveBytesPerSecond,
      copiesGiveWay: true,
      moveFixedS: world.model.moveFixedS,
      owedUsd: (shard) => this.#ledger.owedUsd(shard, atMs),
      budget: isCertified ? undefined : UNCERTIFIED_BUDGET,
    });
    if (isCertified && placement.certificate !== undefined) world.score.certified(placement.certificate.gap);
    const { plan } = makePlan({
      placement,
      inFlight: world.flights.map(({ shard, from, to, bytesLeft }) => ({
        shard: world.workload.shards[shard]!,
        source: byIndex[from < 0 ? to : from]!.name,
        target: byIndex[to]!.name,
        bytes: bytesLeft,
      })),
      epochOf: () => 1,
      parent: this.#generation,
      atMs,
      budgets: NO_BUDGETS,
      tickS: world.workload.stepS,
    });
    if (plan === undefined) return [];
    this.#generation = plan.generation;
    const costs = new Map(
      [...placement.relocations, ...(placement.upcoming ?? [])].map(({ shard, costUsd }) => [shard, costUsd]),
    );
    return plan.moves.map((move) => ({
      shard: rowOf.get(move.shard)!,
      to: indexOf.get(move.target)!,
      started: () =>
        this.#ledger.moved(move.shard, world.nowS * 1000, costs.get(move.shard) ?? 0, move.reason),
    }));
  }

  get #rowOf(): Map<string, number> {
    this.#rows ??= new Map(this.#world.workload.shards.map((shard, s) => [shard, s]));
    return this.#rows;
  }
  #rows: Map<string, number> | undefined;
}

/**
 * A forecast whose load ends with the horizons of the lead. What runs hours later runs on nodes that are not there yet, so it takes
 * no room and evens out nothing now; users are where they will be, which is what regions are chosen by.
 */
function loadUntil(forecast: ShardForecast, count: number): ShardForecast {
  if (forecast.horizonsS.length <= count) return forecast;
  const cut = ({ quantiles, max }: MetricForecast): MetricForecast => ({
    quantiles: quantiles.map((values) =>
      values.map((value, h) => (h < count ? value : 0)),
    ) as MetricForecast['quantiles'],
    max,
  });
  const { requests, cpu, memory, networkIn, networkOut } = forecast.metrics;
  return {
    ...forecast,
    metrics: { requests, memory, cpu: cut(cpu), networkIn: cut(networkIn), networkOut: cut(networkOut) },
  };
}

function regionFlows(horizons: number): RegionFlows {
  return {
    latencyUsd: new Float64Array(horizons),
    egressUsd: new Float64Array(horizons),
    latencyMs: new Float64Array(horizons),
  };
}

function placementNodes(world: World): PlacementNode[] {
  const { model, workload } = world;
  return world.nodes
    .filter((node) => node.state === 'ready' || node.state === 'draining')
    .map((node) => ({
      processId: node.name,
      name: node.name,
      region: workload.regions[node.region]!,
      zone: `${workload.regions[node.region]}a`,
      capacity: {
        cpu: model.nodeCpu,
        memoryBytes: model.nodeMemoryBytes,
        networkBytesPerSecond: NETWORK_BYTES_PER_SECOND,
      },
      usdPerHour: model.topology.nodeUsdPerHour[workload.regions[node.region]!] ?? 0,
      open: node.state === 'ready',
      draining: node.state === 'draining',
      versions: { load: 1 },
    }));
}

/**
 * Placement's prices with what a move costs in this cluster. Its bytes take a good part of both ends' capacity for a while;
 * what that does to users there, by the objective's own prices at the headroom, is the disruption of a move. Without it
 * placement evens out noise with gigabytes.
 */
function pricesFor(model: ClusterModel, workload: Workload, headroom: number): PlacementInput['prices'] {
  let bytes = 0;
  for (const one of workload.stateBytes) bytes += one;
  const meanGb = bytes / workload.stateBytes.length / 1e9;
  const seconds = (meanGb * 1e9) / model.moveBytesPerSecond;
  const share = (model.moveBytesPerSecond / 1e9) * (model.moveCpuSecondsPerGb / model.nodeCpu);
  const disruptionUsd = 2 * seconds * (nodeUsd(headroom + share, headroom) - nodeUsd(headroom, headroom));
  return {
    headroomShare: headroom,
    handOffPauseMs: model.handOffPauseMs,
    moveCpuSeconds: DEFAULT_PRICES.moveCpuSeconds + 2 * meanGb * model.moveCpuSecondsPerGb,
    moveCpuSecondsPerGb: model.moveCpuSecondsPerGb,
    moveFixedUsd: DEFAULT_PRICES.moveFixedUsd + disruptionUsd,
  };
}

/** Shares of capacity above this are priced as it: the queue's price has its pole at 1. */
const SHARE_MAX = 0.95;

/** Dollars a second of a node's queue and overload at a share of its capacity (docs/placement.md). */
function nodeUsd(share: number, headroom: number): number {
  const { latencyUsdPerMsPerMillion, overloadUsdPerHour } = DEFAULT_PRICES;
  const busy = Math.min(SHARE_MAX, share);
  const waitingMs = (1000 * busy * busy) / (1 - busy);
  const over = Math.max(0, busy - headroom) / (1 - headroom);
  return (waitingMs * latencyUsdPerMsPerMillion) / 1e6 + (overloadUsdPerHour / 3600) * over * over;
}

/** Where each shard is best for good, by its mean rates: indices of nodes. */
export function bestFixed(world: World, meanRates: Float64Array, headroom: number): number[] {
  const { workload, model } = world;
  const count = workload.regions.length;
  const nodes = placementNodes(world);
  const cells = Object.fromEntries(workload.regions.map((region) => [region, `cell-${region}`]));
  const shards: PlacementShard[] = workload.shards.map((shard, s) => {
    const rates: OriginRates = {};
    workload.regions.forEach((origin, o) => {
      const rate = meanRates[s * count + o]!;
      rates[origin] = { commands: [rate * model.commandShare], queries: [rate * (1 - model.commandShare)] };
    });
    const node = world.byIndex[world.place[s]!]!;
    return {
      shard,
      primary: node.name,
      cell: cells[workload.regions[node.region]!]!,
      epoch: 1,
      forecast: flatForecast(shard, [3600], rates, {
        cpuSeconds: model.cpuSecondsPerRequest,
        bytesIn: model.bytesPerRequest / 3,
        bytesOut: (2 * model.bytesPerRequest) / 3,
        stateBytes: workload.stateBytes[s]!,
        windowS: workload.stepS,
      }),
      stateBytes: workload.stateBytes[s]!,
      writeBytesPerSecond: 0,
      bytesPerRequest: model.bytesPerRequest,
      version: 1,
    };
  });
  const target = bestFixedPlacement({
    nodes,
    shards,
    topology: model.topology,
    cells,
    prices: { headroomShare: Math.min(0.95, headroom) },
  });
  const indexOf = new Map(world.nodes.map((node) => [node.name, node.index]));
  return workload.shards.map((shard, s) => indexOf.get(target.get(shard) ?? '') ?? world.place[s]!);
}
