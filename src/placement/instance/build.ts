/**
 * Instance lines into a {@link Problem}: one header, then shards one by one into growing typed arrays, so that a million
 * lines are never held as objects.
 *
 * Boundary: expects lines that `read.ts` found sound (or that a generator made); references between lines are resolved here.
 */
import { emptyColumns, numberZones, resizeColumns } from '../solver/columns.ts';
import { type Names, NOWHERE, type Problem, SPREAD } from '../solver/problem.ts';
import {
  DEFAULT_WEIGHTS,
  type InstanceHeader,
  type InstanceShard,
  RESOURCES,
  type Weights,
} from './types.ts';

const BYTES_PER_GB = 1e9;
const SECONDS_PER_HOUR = 3600;
const SHARDS_FIRST = 1024;
/** Most shards times regions for which arrays are made before a line was read. */
const PROMISED_MAX = 80_000_000;

export interface Built {
  problem: Problem;
  names: Names;
  weights: Weights;
  /** Bytes a second of one move: `[from * regions + to]`. */
  bandwidthBps: Float64Array;
}

export function weightsOf(header: InstanceHeader): Weights {
  const given = header.weights ?? {};
  return {
    ...DEFAULT_WEIGHTS,
    ...given,
    standbyShare: { ...DEFAULT_WEIGHTS.standbyShare, ...given.standbyShare },
    commonVariation: { ...DEFAULT_WEIGHTS.commonVariation, ...given.commonVariation },
  };
}

export class ProblemBuilder {
  readonly weights: Weights;
  readonly #header: InstanceHeader;
  readonly #problem: Problem;
  readonly #names: Names;
  readonly #regionIndex: Map<string, number>;
  readonly #nodeIndex: Map<string, number>;
  readonly #classes = new Map<string, number>();
  readonly #rtt: Float64Array;
  readonly #stepWeights: number[];
  readonly #wayMs: Float64Array;
  readonly #egress: Float64Array;
  #room: number;

  constructor(header: InstanceHeader) {
    this.#header = header;
    this.weights = weightsOf(header);
    const { regions, nodes, steps } = header;
    const R = regions.length;
    this.#regionIndex = new Map(regions.map((name, i) => [name, i]));
    this.#nodeIndex = new Map(nodes.map(({ id }, i) => [id, i]));
    this.#rtt = Float64Array.from(header.rttMs.flat());
    const given = header.stepWeights ?? new Array<number>(steps).fill(1);
    const sum = given.reduce((a, b) => a + b, 0);
    this.#stepWeights = given.map((weight) => weight / sum);
    this.#wayMs = new Float64Array(R);
    this.#egress = new Float64Array(R);
    // What a header promises is believed up to a gigabyte.
    this.#room = Math.max(SHARDS_FIRST, Math.min(header.shards ?? 0, Math.floor(PROMISED_MAX / R)));
    const { nodeZone, zones } = numberZones(nodes);
    const { weights } = this;
    const dims = steps * 3;
    const words = Math.ceil(R / 32);
    const cellRegions = header.cells.map(({ region }) => this.#regionIndex.get(region)!);
    this.#problem = {
      regionCount: R,
      nodeCount: nodes.length,
      shardCount: 0,
      steps,
      dims,
      width: 1,
      regionWords: words,
      stepWeight: Float64Array.from(this.#stepWeights),
      egressUsdPerGb: Float64Array.from(header.egressUsdPerGb.flat()),
      standbyShare: Float64Array.from(RESOURCES, (name) => weights.standbyShare[name]),
      moveHours: weights.moveHours,
      moveUsd: weights.moveUsd,
      headroom: weights.headroom,
      fullShare: new Float64Array(steps * 3).fill(1),
      quantileZ: weights.quantileZ,
      commonSquared: Float64Array.from(RESOURCES, (name) => weights.commonVariation[name] ** 2),
      queueUsdPerHour: 0,
      excessUsdPerHour: 0,
      nodeRegion: Int32Array.from(nodes, (node) => this.#regionIndex.get(node.region)!),
      nodeZone,
      capacity: Float64Array.from(nodes.flatMap((node) => RESOURCES.map((name) => node.capacity[name]))),
      baseLoad: new Float64Array(nodes.length * dims),
      nodeUsdPerHour: Float64Array.from(nodes, (node) => node.usdPerHour),
      overloadUsdPerHour: Float64Array.from(nodes, (node) => node.usdPerHour * weights.overloadFactor),
      transferUsdPerGb: new Float64Array(nodes.length),
      releasable: Uint8Array.from(nodes, (node) => (node.releasable === true ? 1 : 0)),
      open: Uint8Array.from(nodes, (node) => (node.cordoned === true || node.draining === true ? 0 : 1)),
      draining: Uint8Array.from(nodes, (node) => (node.draining === true ? 1 : 0)),
      buildReads: new Uint8Array(nodes.length).fill(1),
      ...emptyColumns(this.#room, { regionCount: R, dims, regionWords: words, width: 1 }),
      cellRegion: Int32Array.from(regions, (_, r) => nearestCell(r, cellRegions, this.#rtt, R)),
    };
    // More than any placement could save: a search leaves a node that is beyond full before it looks at anything else.
    this.#problem.excessUsdPerHour = 1e3 * Math.max(1e-9, ...this.#problem.overloadUsdPerHour);
    this.#names = {
      regions,
      nodes: nodes.map(({ id }) => id),
      zones,
      shards: [],
      buildClasses: [''],
    };
  }

  get count(): number {
    return this.#problem.shardCount;
  }

  add(shard: InstanceShard): void {
    const p = this.#problem;
    if (p.shardCount === this.#room) this.#resize(Math.ceil(this.#room * 1.5));
    if (shard.standbys >= p.width) this.#widen(shard.standbys + 1);
    const s = p.shardCount++;
    this.#names.shards.push(shard.id);
    this.#addValue(shard, s);
    for (let t = 0; t < p.steps; t++)
      for (let i = 0; i < 3; i++) {
        const [mean, variance] = shard.load[t]![RESOURCES[i]!];
        p.loadMean[s * p.dims + t * 3 + i] = mean;
        p.loadVariance[s * p.dims + t * 3 + i] = variance;
      }
    p.stateGb[s] = shard.stateBytes / BYTES_PER_GB;
    p.standbys[s] = shard.standbys;
    p.spread[s] = SPREAD[shard.spread ?? 'zone'];
    const { weights } = this;
    const waiting =
      (p.requestsPerSecond[s]! * weights.moveRequestMs * weights.usdPerMsPerMillionRequests) / 1e6;
    p.moveFarUsd[s] = weights.moveUsd + waiting;
    p.moveNearUsd[s] = p.moveFarUsd[s]!;
    p.promotionUsd[s] = weights.moveUsd + weights.promotionShare * waiting;
    for (let r = 0; r < p.regionCount; r++)
      if (shard.allowedRegions === undefined || shard.allowedRegions.includes(this.#names.regions[r]!))
        p.allowed[s * p.regionWords + (r >>> 5)]! |= 1 << (r & 31);
    p.pinnedTo[s] = this.#node(shard.pinnedTo);
    p.frozen[s] = shard.quarantined === true || shard.inFlight !== undefined ? 1 : 0;
    p.buildClass[s] = this.#classOf(shard);
    p.saturating[s] = 0;
    for (let k = 1; k < p.width; k++) p.start[s * p.width + k] = this.#node(shard.standbyNodes?.[k - 1]);
    const target = this.#node(shard.inFlight);
    p.start[s * p.width] = target >= 0 ? target : this.#node(shard.primary);
    // A standby that is being promoted is the primary from here on.
    for (let k = 1; k < p.width && target >= 0; k++)
      if (p.start[s * p.width + k] === target) p.start[s * p.width + k] = this.#node(shard.primary);
  }

  build(): Built {
    if (this.#problem.shardCount < this.#room) this.#resize(this.#problem.shardCount);
    const { bandwidthBps, regions } = this.#header;
    return {
      problem: this.#problem,
      names: this.#names,
      weights: this.weights,
      bandwidthBps:
        typeof bandwidthBps === 'number'
          ? new Float64Array(regions.length ** 2).fill(bandwidthBps)
          : Float64Array.from(bandwidthBps.flat()),
    };
  }

  #addValue(shard: InstanceShard, s: number): void {
    const p = this.#problem;
    const R = p.regionCount;
    const { usdPerMsPerMillionRequests } = this.weights;
    const way = this.#wayMs.fill(0);
    const gb = this.#egress.fill(0);
    let commands = 0;
    let all = 0;
    for (const rates of [shard.commandsPerSecond, shard.queriesPerSecond])
      for (const origin in rates) {
        let rate = 0;
        const steps = rates[origin]!;
        for (let t = 0; t < p.steps; t++) rate += this.#stepWeights[t]! * steps[t]!;
        if (rate === 0) continue;
        all += rate;
        if (rates === shard.commandsPerSecond) commands += rate;
        const o = this.#regionIndex.get(origin)!;
        for (let r = 0; r < R; r++) {
          way[r]! += rate * this.#rtt[o * R + r]!;
          gb[r]! += rate * p.egressUsdPerGb[r * R + o]!;
        }
      }
    p.requestsPerSecond[s] = all;
    const write = (SECONDS_PER_HOUR * shard.writeBytesPerSecond) / BYTES_PER_GB;
    p.writeGbPerHour[s] = write;
    for (let r = 0; r < R; r++) {
      const cell = r * R + p.cellRegion[r]!;
      const latency =
        ((way[r]! + commands * this.#rtt[cell]!) * SECONDS_PER_HOUR * usdPerMsPerMillionRequests) / 1e6;
      const egress = Math.fround((gb[r]! * SECONDS_PER_HOUR * shard.bytesPerRequest) / BYTES_PER_GB);
      p.userEgress[s * R + r] = egress;
      p.value[s * R + r] = latency + egress + write * p.egressUsdPerGb[cell]!;
    }
  }

  #node(id: string | undefined | null): number {
    return id === undefined || id === null ? NOWHERE : (this.#nodeIndex.get(id) ?? NOWHERE);
  }

  #classOf({ id, version }: InstanceShard): number {
    if (version === undefined) return 0;
    const service = id.slice(0, Math.max(0, id.indexOf('/')));
    const key = `${service} ${version}`;
    const known = this.#classes.get(key);
    if (known !== undefined) return known;
    const p = this.#problem;
    const number = this.#names.buildClasses.length;
    const reads = new Uint8Array(p.buildReads.length + p.nodeCount);
    reads.set(p.buildReads);
    this.#header.nodes.forEach((node, n) => {
      const newest = node.versions?.[service];
      reads[number * p.nodeCount + n] = node.versions === undefined || (newest ?? -1) >= version ? 1 : 0;
    });
    p.buildReads = reads;
    this.#names.buildClasses.push(key);
    this.#classes.set(key, number);
    return number;
  }

  /** A shard with more standbys than any before it. */
  #widen(width: number): void {
    const p = this.#problem;
    const start = new Int32Array(this.#room * width).fill(NOWHERE);
    for (let s = 0; s < p.shardCount; s++)
      start.set(p.start.subarray(s * p.width, (s + 1) * p.width), s * width);
    p.start = start;
    p.width = width;
  }

  #resize(shards: number): void {
    resizeColumns(this.#problem, shards);
    this.#room = shards;
  }
}

function nearestCell(region: number, cells: number[], rtt: Float64Array, regions: number): number {
  let best = region;
  let way = Number.POSITIVE_INFINITY;
  for (const cell of cells)
    if (rtt[region * regions + cell]! < way) {
      way = rtt[region * regions + cell]!;
      best = cell;
    }
  return best;
}
