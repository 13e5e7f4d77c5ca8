/**
 * Standbys of the replayed cluster: one copy of each shard on another node of its region, where {@link ClusterModel.standbys} asks for it.
 *
 * As in the product no policy chooses: the rendezvous choice among the other ready nodes of the region has it. A standby is there
 * when its bytes are; it follows from then on, for memory and a share of the shard's CPU. A promotion changes the two roles; a move to another
 * region, or to where nobody else is, leaves a standby that is made anew. One whose node drains or fails is made anew at once.
 *
 * Boundary: says what is where and what is lacking; the world flies the copies. Invariant: never on the primary's node.
 */
import type { World } from './world.ts';
import { rendezvous, type WorldNode } from './world-parts.ts';

export interface WantedCopy {
  shard: number;
  from: number;
  to: number;
}

export class Standbys {
  /** Node of each shard's standby by index; -1: it has none. */
  readonly on: Int32Array;
  readonly #world: World;
  readonly #lacking = new Set<number>();
  readonly #copying = new Set<number>();

  constructor(world: World) {
    this.#world = world;
    const shards = world.workload.shards.length;
    this.on = new Int32Array(shards).fill(-1);
    if (world.model.standbys > 0) for (let s = 0; s < shards; s++) this.#lacking.add(s);
  }

  /** Copies that should begin, in the shards' order. */
  wanted(): WantedCopy[] {
    const { place, movingTo, nodes, byIndex } = this.#world;
    if (this.#lacking.size === this.#copying.size) return [];
    const wanted: WantedCopy[] = [];
    for (const shard of [...this.#lacking].sort((a, b) => a - b)) {
      const primary = byIndex[place[shard]!];
      if (primary === undefined || movingTo[shard] !== -1 || this.#copying.has(shard)) continue;
      const others = nodes.filter(
        (node) => node.state === 'ready' && node.region === primary.region && node !== primary,
      );
      if (others.length > 0) wanted.push({ shard, from: primary.index, to: rendezvous(shard, others).index });
    }
    return wanted;
  }

  copyBegan(shard: number): void {
    this.#copying.add(shard);
  }

  copyEnded(shard: number): void {
    this.#copying.delete(shard);
  }

  put(shard: number, node: WorldNode): void {
    this.#drop(shard);
    this.#lacking.delete(shard);
    this.on[shard] = node.index;
    node.standbyBytes += this.#world.workload.stateBytes[shard]!;
    node.standbyRate += this.#world.shardRate(shard);
  }

  /** The shard's primary is elsewhere now. @param source where it was; absent: its node failed */
  moved(shard: number, source?: WorldNode): void {
    if (this.#world.model.standbys === 0) return;
    const { place, byIndex } = this.#world;
    const primary = byIndex[place[shard]!]!;
    const standby = byIndex[this.on[shard]!];
    if (standby === primary && source?.state === 'ready' && source.region === primary.region)
      this.put(shard, source);
    else if (standby === undefined || standby === primary || standby.region !== primary.region)
      this.#drop(shard);
  }

  /** A node drains or has failed: its standbys are to be made elsewhere. */
  leave(node: WorldNode): void {
    if (this.#world.model.standbys === 0) return;
    for (let s = 0; s < this.on.length; s++) if (this.on[s] === node.index) this.#drop(s);
  }

  /** Loads have changed. */
  refreshRates(): void {
    if (this.#world.model.standbys === 0) return;
    for (const node of this.#world.nodes) node.standbyRate = 0;
    for (let s = 0; s < this.on.length; s++) {
      const node = this.#world.byIndex[this.on[s]!];
      if (node !== undefined) node.standbyRate += this.#world.shardRate(s);
    }
  }

  #drop(shard: number): void {
    if (this.#world.model.standbys > 0) this.#lacking.add(shard);
    const node = this.#world.byIndex[this.on[shard]!];
    if (node === undefined) return;
    this.on[shard] = -1;
    node.standbyBytes -= this.#world.workload.stateBytes[shard]!;
    node.standbyRate -= this.#world.shardRate(shard);
  }
}
