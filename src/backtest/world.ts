/**
 * The replayed cluster: nodes that start, serve, drain and end; shards on them; moves that take their bytes' time.
 *
 * Time goes from event to event (a node is ready, a move is done, a step ends); between two events nothing changes, so
 * everything counted is exact for the model. Moves share their ends' bandwidth evenly, load both ends, wait in order of
 * the plan while the limits are reached, and switch their shard's requests when the last byte and the fixed part are done.
 *
 * With standbys, each shard has a copy on another node of its region as soon as its bytes are there (standbys.ts): a move to it
 * takes no bytes, and it takes over where the primary's node fails.
 *
 * A node that fails takes its shards with it. Where they go is not a policy's choice: as in the product, requests make the
 * rendezvous choice among healthy nodes of the region take over, which reads the state first; until then they wait. The
 * failed node is started again.
 *
 * Boundary: decides nothing; policies ask for nodes, drains and moves. Invariants: every shard is on exactly one node that
 * serves, or being reopened; a node ends only empty or failed; nodes are paid from the asking to their end.
 */
import { copyShareOf } from '../model/copy-pace.ts';
import { rttMs } from '../model/topology.ts';
import type { ClusterModel } from './model.ts';
import { backlogAfter } from './queueing.ts';
import { PING_PONG_S, Score } from './score.ts';
import { Standbys } from './standbys.ts';
import type { Workload } from './workload.ts';
import { type Flight, lifeS, rendezvous, type Wish, type WorldNode } from './world-parts.ts';

export { rendezvous, type Wish, type WorldNode } from './world-parts.ts';

/** Nodes that one run may have had at once. */
const NODES_MAX = 65_536;
/** Events closer than this are handled together. Seconds. */
const GRAIN_S = 1;

export class World {
  readonly model: ClusterModel;
  readonly workload: Workload;
  readonly score = new Score();
  /** Nodes that are not gone, in order of their asking. */
  nodes: WorldNode[] = [];
  readonly byIndex: WorldNode[] = [];
  /** Node of each shard by index; -1 while it is reopened elsewhere. */
  readonly place: Int32Array;
  /** Target of the shard's move under way, or -1. */
  readonly movingTo: Int32Array;
  flights: Flight[] = [];
  readonly standbys: Standbys;
  nowS: number;
  readonly #wayMs: Float64Array;
  readonly #egress: Float64Array;
  readonly #lastFrom: Int32Array;
  readonly #lastAtS: Float64Array;
  #wishes: Wish[] = [];
  #rates: Float64Array;
  /** Shards that no ready node could take over yet, with the region they were in. */
  #homeless: { shard: number; region: number }[] = [];

  constructor(model: ClusterModel, workload: Workload, startS: number) {
    this.model = model;
    this.workload = workload;
    this.nowS = startS;
    const shards = workload.shards.length;
    const count = workload.regions.length;
    this.place = new Int32Array(shards).fill(-1);
    this.movingTo = new Int32Array(shards).fill(-1);
    this.standbys = new Standbys(this);
    this.#lastFrom = new Int32Array(shards).fill(-1);
    this.#lastAtS = new Float64Array(shards);
    this.#rates = new Float64Array(shards * count);
    this.#wayMs = new Float64Array(count * count);
    this.#egress = new Float64Array(count * count);
    workload.regions.forEach((from, i) => {
      workload.regions.forEach((to, k) => {
        this.#wayMs[i * count + k] = rttMs(model.topology, from, to);
        this.#egress[i * count + k] = model.topology.egressUsdPerGb[from]?.[to] ?? 0;
      });
    });
  }

  /** Asks for a node; paid from now on. `ready`: it is there already (the run begins). */
  startNode(region: number, ready = false): WorldNode {
    if (this.byIndex.length >= NODES_MAX) throw new RangeError('more nodes were started than a run may have');
    const index = this.byIndex.length;
    const node: WorldNode = {
      index,
      name: `${this.workload.regions[region]}-n${index}`,
      region,
      state: ready ? 'ready' : 'starting',
      readyAtS: ready ? this.nowS : this.nowS + this.model.nodeStartS,
      failsAtS: Number.POSITIVE_INFINITY,
      shards: 0,
      stateBytes: 0,
      standbyBytes: 0,
      standbyRate: 0,
      waitS: 0,
      flightsOut: 0,
      flightsIn: 0,
      rates: new Float64Array(this.workload.regions.length),
    };
    node.failsAtS = node.readyAtS + lifeS(this.model.failuresPerNodeMonth, index);
    this.nodes.push(node);
    this.byIndex.push(node);
    if (this.score.active && !ready) this.score.nodesStarted++;
    return node;
  }

  /** It takes no new shards and ends once empty. */
  drain(node: WorldNode): void {
    if (node.state === 'ready') {
      node.state = 'draining';
      this.standbys.leave(node);
      this.#follow();
    } else if (node.state === 'starting') this.#end(node);
    this.#collect();
  }

  /** A draining node serves on. */
  keep(node: WorldNode): void {
    if (node.state === 'draining') node.state = 'ready';
  }

  /** It is gone at once, with what it held. */
  fail(node: WorldNode): void {
    if (node.state === 'gone') return;
    const starting = node.state === 'starting';
    this.#end(node);
    this.nodes = this.nodes.filter((one) => one !== node);
    if (starting) return;
    // Moves to it stay where they came from; what came from it is lost with it and reopened like the rest.
    this.flights = this.flights.filter((flight) => {
      if (flight.from !== node.index && flight.to !== node.index) return true;
      this.#release(flight);
      if (flight.kind === 'reopen') this.#homeless.push({ shard: flight.shard, region: node.region });
      return false;
    });
    this.standbys.leave(node);
    for (let s = 0; s < this.place.length; s++) {
      if (this.place[s] !== node.index) continue;
      this.place[s] = -1;
      this.#homeless.push({ shard: s, region: node.region });
    }
    this.startNode(node.region);
    this.#takeOver();
    this.#follow();
  }

  /** A flight is over or called off: its slots are free. */
  #release({ kind, shard, from, to }: Flight): void {
    if (from >= 0) this.byIndex[from]!.flightsOut--;
    this.byIndex[to]!.flightsIn--;
    if (kind === 'copy') this.standbys.copyEnded(shard);
    else this.movingTo[shard] = -1;
  }

  /** Copies for shards that lack a standby, as far as the limits of moves go. */
  #follow(): void {
    for (const { shard, from, to } of this.standbys.wanted()) {
      const source = this.byIndex[from]!;
      const target = this.byIndex[to]!;
      if (this.#isBusy(source, target)) continue;
      this.standbys.copyBegan(shard);
      this.#fly({
        kind: 'copy',
        shard,
        from,
        to,
        bytesLeft: this.workload.stateBytes[shard]!,
        fixedLeftS: 0,
      });
    }
  }

  #isBusy(source: WorldNode, target: WorldNode): boolean {
    const { movesPerNode, movesInFlight } = this.model;
    return (
      this.flights.length >= movesInFlight ||
      source.flightsOut >= movesPerNode ||
      target.flightsIn >= movesPerNode
    );
  }

  #fly(flight: Flight): void {
    if (flight.from >= 0) this.byIndex[flight.from]!.flightsOut++;
    this.byIndex[flight.to]!.flightsIn++;
    if (flight.kind !== 'copy') this.movingTo[flight.shard] = flight.to;
    this.flights.push(flight);
  }

  /** Where every shard's standby is at the beginning of the run; free and at once. */
  putStandbys(): void {
    for (const { shard, to } of this.standbys.wanted()) this.standbys.put(shard, this.byIndex[to]!);
  }

  #takeOver(): void {
    const ready = this.nodes.filter((node) => node.state === 'ready');
    this.#homeless = this.#homeless.filter(({ shard, region }) => {
      const near = ready.filter((node) => node.region === region);
      if (ready.length === 0) return true;
      const standby = this.byIndex[this.standbys.on[shard]!];
      const target = standby ?? rendezvous(shard, near.length > 0 ? near : ready);
      this.#fly({
        kind: 'reopen',
        shard,
        from: -1,
        to: target.index,
        bytesLeft: standby === undefined ? this.workload.stateBytes[shard]! : 0,
        fixedLeftS: Math.max(this.model.failoverS, 1e-6),
      });
      return false;
    });
  }

  /** Where a shard is at the beginning of the run; free and at once. */
  put(shard: number, node: WorldNode): void {
    const before = this.byIndex[this.place[shard]!];
    if (before !== undefined) this.#attach(shard, before, -1);
    this.place[shard] = node.index;
    this.#attach(shard, node, 1);
  }

  /** The moves wanted from now on, best first; those under way go on, earlier wishes are forgotten. */
  wish(wishes: readonly Wish[]): void {
    this.#wishes = wishes.filter(({ shard, to }) => this.place[shard] !== to && this.movingTo[shard] === -1);
    this.#pump();
  }

  get waiting(): number {
    return this.#wishes.length;
  }

  /** A new step's load. */
  setRates(rates: Float64Array): void {
    this.#rates = rates;
    const count = this.workload.regions.length;
    for (const node of this.nodes) node.rates.fill(0);
    for (let s = 0; s < this.place.length; s++) {
      const node = this.byIndex[this.place[s]!];
      if (node === undefined) continue;
      for (let o = 0; o < count; o++) node.rates[o]! += rates[s * count + o]!;
    }
    this.standbys.refreshRates();
  }

  /** Requests a second of a shard. */
  shardRate(shard: number): number {
    const count = this.workload.regions.length;
    let rate = 0;
    for (let o = 0; o < count; o++) rate += this.#rates[shard * count + o]!;
    return rate;
  }

  /** CPU asked of a node by its shards and standbys, core-seconds a second. */
  demandCpu(node: WorldNode): number {
    let rate = this.model.standbyCpuShare * node.standbyRate;
    for (const value of node.rates) rate += value;
    return rate * this.model.cpuSecondsPerRequest;
  }

  shardCpu(shard: number): number {
    return this.shardRate(shard) * this.model.cpuSecondsPerRequest;
  }

  /** @returns 'ready' as soon as a node became ready before `untilS`; 'end' at `untilS` */
  advance(untilS: number): 'ready' | 'end' {
    while (this.nowS < untilS - 1e-9) {
      const speeds = this.#speeds();
      const nextS = this.#nextEventS(untilS, speeds);
      this.#stretch(nextS - this.nowS, speeds);
      this.nowS = nextS;
      const landed = this.#land();
      let ready = false;
      for (const node of this.nodes.filter(({ failsAtS }) => failsAtS <= this.nowS + 1e-9)) this.fail(node);
      for (const node of this.nodes)
        if (node.state === 'starting' && node.readyAtS <= this.nowS + 1e-9) {
          node.state = 'ready';
          ready = true;
        }
      if (ready) this.#takeOver();
      if (landed) this.#pump();
      if (landed || ready) this.#follow();
      if (ready) return 'ready';
    }
    return 'end';
  }

  #speeds(): Float64Array {
    const speeds = new Float64Array(this.flights.length);
    const { moveBytesPerSecond } = this.model;
    this.flights.forEach((flight, i) => {
      if (flight.bytesLeft <= 0) return;
      const target = this.byIndex[flight.to]!;
      const source = this.byIndex[flight.from];
      // A move in its fixed part still counts as one that holds its share: the bandwidth it frees is used by none.
      const atOnce = Math.max(source?.flightsOut ?? 1, target.flightsIn);
      speeds[i] = moveBytesPerSecond / atOnce;
      // Nobody serves a shard that is being reopened: its state gives way to nobody.
      if (source !== undefined) speeds[i] = Math.min(speeds[i]!, this.#pace(source), this.#pace(target));
    });
    return speeds;
  }

  /** Bytes a second that one move at a node may have for what requests leave of it. */
  #pace(node: WorldNode): number {
    const { nodeCpu, moveCpuSecondsPerGb } = this.model;
    const cpu = nodeCpu * copyShareOf(this.demandCpu(node) / nodeCpu);
    return moveCpuSecondsPerGb > 0
      ? ((cpu / moveCpuSecondsPerGb) * 1e9) / (node.flightsOut + node.flightsIn)
      : Number.POSITIVE_INFINITY;
  }

  #nextEventS(untilS: number, speeds: Float64Array): number {
    let next = untilS;
    for (const node of this.nodes) {
      if (node.state === 'starting') next = Math.min(next, Math.max(node.readyAtS, this.nowS));
      next = Math.min(next, Math.max(node.failsAtS, this.nowS));
    }
    for (let i = 0; i < speeds.length; i++) {
      const flight = this.flights[i]!;
      const leftS = flight.bytesLeft > 0 ? flight.bytesLeft / speeds[i]! : flight.fixedLeftS;
      next = Math.min(next, this.nowS + Math.max(GRAIN_S, leftS));
    }
    return Math.min(untilS, Math.max(next, this.nowS + 1e-6));
  }

  /** Counts a time in which nothing changes, and moves backlogs and bytes on. */
  #stretch(seconds: number, speeds: Float64Array): void {
    if (seconds <= 0) return;
    const { model, score } = this;
    const { nodeCpu, cpuSecondsPerRequest, waitMaxS, objectiveMs, commandShare } = model;
    const moveCpu = this.#moveCpu(speeds);
    const count = this.workload.regions.length;
    const active = score.active;
    if (active) score.begin(seconds);
    for (const node of this.nodes) {
      if (active) {
        const region = this.workload.regions[node.region]!;
        score.usdNodes += ((model.topology.nodeUsdPerHour[region] ?? 0) * seconds) / 3600;
        score.nodeSeconds += seconds;
      }
      if (node.state === 'starting') continue;
      const rho = (this.demandCpu(node) + (moveCpu.get(node.index) ?? 0)) / nodeCpu;
      if (active)
        for (let o = 0; o < count; o++) {
          const rate = node.rates[o]!;
          if (rate <= 0) continue;
          score.add({
            seconds,
            rate,
            // A command also goes from its primary to its cell, which is in the primary's region.
            wayMs:
              this.#wayMs[o * count + node.region]! +
              commandShare * this.#wayMs[node.region * count + node.region]!,
            serviceS: cpuSecondsPerRequest / nodeCpu,
            rho,
            waitS: node.waitS,
            waitMaxS,
            objectiveMs,
          });
          score.egress(rate * seconds * model.bytesPerRequest, this.#egress[node.region * count + o]!);
        }
      node.waitS = backlogAfter(node.waitS, rho, seconds, waitMaxS);
    }
    if (active) {
      for (let s = 0; s < this.place.length; s++) {
        if (this.place[s] !== -1) continue;
        for (let o = 0; o < count; o++) score.unserved(this.#rates[s * count + o]!, seconds);
      }
      score.end(seconds);
    }
    this.flights.forEach((flight, i) => {
      if (flight.bytesLeft > 0) flight.bytesLeft = Math.max(0, flight.bytesLeft - speeds[i]! * seconds);
      else flight.fixedLeftS -= seconds;
      if (flight.bytesLeft < 1) flight.bytesLeft = 0;
    });
  }

  #moveCpu(speeds: Float64Array): Map<number, number> {
    const cpu = new Map<number, number>();
    this.flights.forEach(({ from, to }, i) => {
      const work = (speeds[i]! / 1e9) * this.model.moveCpuSecondsPerGb;
      if (work <= 0) return;
      if (from >= 0) cpu.set(from, (cpu.get(from) ?? 0) + work);
      cpu.set(to, (cpu.get(to) ?? 0) + work);
    });
    return cpu;
  }

  /** Ends moves that are done; true where one was. */
  #land(): boolean {
    let landed = false;
    this.flights = this.flights.filter((flight) => {
      if (flight.bytesLeft > 0 || flight.fixedLeftS > 1e-9) return true;
      landed = true;
      this.#switch(flight);
      return false;
    });
    if (landed) this.#collect();
    return landed;
  }

  #switch(flight: Flight): void {
    const { kind, shard, from, to } = flight;
    const target = this.byIndex[to]!;
    this.#release(flight);
    if (kind === 'copy') {
      // A move of the shard may have called for another place meanwhile.
      if (this.place[shard] === from && target.state === 'ready') this.standbys.put(shard, target);
      if (this.score.active) this.score.bytesCopied += this.workload.stateBytes[shard]!;
      return;
    }
    const source = this.byIndex[from];
    if (source === undefined) {
      this.place[shard] = to;
      this.#attach(shard, target, 1);
      this.standbys.moved(shard);
      return;
    }
    this.#attach(shard, source, -1);
    this.place[shard] = to;
    this.#attach(shard, target, 1);
    this.standbys.moved(shard, source);
    if (!this.score.active) {
      this.#lastFrom[shard] = from;
      this.#lastAtS[shard] = this.nowS;
      return;
    }
    const count = this.workload.regions.length;
    const back = this.#lastFrom[shard] === to && this.nowS - this.#lastAtS[shard]! < PING_PONG_S;
    if (kind === 'promotion') this.score.promotion(back);
    else
      this.score.move(
        this.workload.stateBytes[shard]!,
        this.#egress[source.region * count + target.region]!,
        back,
      );
    this.#lastFrom[shard] = from;
    this.#lastAtS[shard] = this.nowS;
    for (let o = 0; o < count; o++) {
      const rate = this.#rates[shard * count + o]!;
      const slackMs = this.model.objectiveMs - this.#wayMs[o * count + target.region]!;
      this.score.pause(rate, this.model.handOffPauseMs, slackMs);
    }
  }

  #attach(shard: number, node: WorldNode, sign: 1 | -1): void {
    node.shards += sign;
    node.stateBytes += sign * this.workload.stateBytes[shard]!;
    const count = this.workload.regions.length;
    for (let o = 0; o < count; o++) {
      const after = node.rates[o]! + sign * this.#rates[shard * count + o]!;
      // Sums that came and went leave rounding behind; an empty node asks for nothing.
      node.rates[o] = node.shards === 0 || after < 1e-12 ? 0 : after;
    }
  }

  /** Starts what the limits allow, in order. */
  #pump(): void {
    if (this.#wishes.length === 0) return;
    const left: Wish[] = [];
    for (const wish of this.#wishes) {
      const { shard, to } = wish;
      const from = this.place[shard]!;
      const source = this.byIndex[from];
      const target = this.byIndex[to];
      if (source === undefined || target === undefined || from === to || this.movingTo[shard] !== -1)
        continue;
      if (target.state !== 'ready') continue;
      if (this.#isBusy(source, target)) {
        left.push(wish);
        continue;
      }
      const promotes = this.standbys.on[shard] === to;
      this.#fly({
        kind: promotes ? 'promotion' : 'move',
        shard,
        from,
        to,
        bytesLeft: promotes ? 0 : this.workload.stateBytes[shard]!,
        fixedLeftS: Math.max(this.model.moveFixedS, 1e-6),
      });
      wish.started?.();
    }
    this.#wishes = left;
  }

  /** Draining nodes that are empty end. */
  #collect(): void {
    for (const node of this.nodes)
      if (node.state === 'draining' && node.shards === 0 && node.flightsIn === 0) this.#end(node);
    this.nodes = this.nodes.filter((node) => node.state !== 'gone');
  }

  #end(node: WorldNode): void {
    node.state = 'gone';
  }
}
