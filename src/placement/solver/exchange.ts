/**
 * Room in full regions: where a node has none for a shard that needs it most, shards that need it least leave.
 *
 * Single relocations stop at a full node, and what leaves an overfull one first is what gains most by leaving, not what the
 * others miss least. Prices tell those apart: a replica's loss is what its best other region costs more, prices of both sides'
 * crowding included, and the replicas with the least loss for the room they give make it.
 *
 * Guarantees: a step is kept only where the whole objective (everything moved by it, moves included) falls, else
 * undone; no constraint is broken that was kept before; counts end it; no draws of its own.
 */
import type { Dual } from './dual.ts';
import { eligible } from './eligible.ts';
import type { Inserter } from './insert.ts';
import { primaryUsd, standbyUsd } from './objective.ts';
import { NOWHERE, type Problem, regionAllowed, sourceRegion } from './problem.ts';
import type { Search } from './search.ts';
import type { State } from './state.ts';

/** Most shards that leave for one. */
const EJECTED_MAX = 32;
/** Nodes of a region whose room is priced: the least pressed ones. */
const NODES_LOOKED_AT = 5;
/** Nodes of a region, by what their room would cost, on which an exchange is tried in full. */
const NODES_TRIED = 2;
/** A step must save this share of what its shard costs: less is rounding. */
const GAIN_SHARE_MIN = 1e-6;

export class Exchange {
  readonly problem: Problem;
  readonly state: State;
  readonly dual: Dual;
  readonly inserter: Inserter;
  readonly search: Search;
  /** Steps tried in full, and kept. */
  tried = 0;
  accepted = 0;
  /** Slots by node: `#slots[#from[n]] .. #slots[#from[n + 1]]`, as they were when {@link index} ran; and what came since. */
  readonly #from: Int32Array;
  #slots = new Int32Array(0);
  readonly #came = new Map<number, number[]>();
  /** Loss of the replica in a slot, by the node it was computed on. */
  readonly #loss: Float64Array;
  readonly #lossOn: Int32Array;
  readonly #over: Float64Array;
  readonly #old: Int32Array;

  constructor(search: Search) {
    this.search = search;
    this.inserter = search.inserter;
    this.problem = search.problem;
    this.state = search.state;
    this.dual = search.inserter.dual;
    const { nodeCount, dims, shardCount, width } = this.problem;
    this.#from = new Int32Array(nodeCount + 1);
    this.#over = new Float64Array(dims);
    this.#loss = new Float64Array(shardCount * width);
    this.#lossOn = new Int32Array(shardCount * width).fill(NOWHERE);
    this.#old = new Int32Array((1 + EJECTED_MAX) * width);
  }

  /** To be called when others changed the placement or the prices: {@link bringIn} relies on it. */
  index(): void {
    const { place } = this.state;
    const from = this.#from.fill(0);
    for (let i = 0; i < place.length; i++) if (place[i]! >= 0) from[place[i]! + 1]!++;
    for (let n = 0; n < this.problem.nodeCount; n++) from[n + 1]! += from[n]!;
    const next = from.slice();
    this.#slots = new Int32Array(from[this.problem.nodeCount]!);
    for (let i = 0; i < place.length; i++) if (place[i]! >= 0) this.#slots[next[place[i]!]!++] = i;
    this.#came.clear();
    this.#lossOn.fill(NOWHERE);
  }

  /** Lets shards leave nodes that are beyond full, those first that lose least by it. */
  relieve(): void {
    const { state, problem } = this;
    this.index();
    for (let n = 0; n < problem.nodeCount; n++) {
      if (!state.isFull(n)) continue;
      this.#measureOver(n);
      for (const slot of this.#byLoss(n, NOWHERE)) {
        if (!state.isFull(n)) break;
        const s = (slot / problem.width) | 0;
        if (state.place[slot] === n && this.search.relocate(s)) this.#settled(s);
      }
    }
  }

  /**
   * Tries to bring every primary whose priced best region is another one there, those first that pay most for being where they are.
   *
   * @param share of the shards that are tried at most
   * @returns dollars an hour saved
   */
  pass(share: number): number {
    const { dual, state, problem } = this;
    const { shardCount, width, nodeRegion } = problem;
    const region = new Int32Array(shardCount);
    const slack = new Float64Array(shardCount);
    const wrong: number[] = [];
    this.index();
    for (let s = 0; s < shardCount; s++) {
      const p = state.place[s * width]!;
      if (p < 0 || problem.frozen[s] === 1) continue;
      const best = dual.choose(s);
      region[s] = dual.chosen[0]!;
      if (best === Number.POSITIVE_INFINITY || region[s] === nodeRegion[p]) continue;
      slack[s] = this.#pricedUsd(s) - best;
      wrong.push(s);
    }
    wrong.sort((a, b) => slack[b]! - slack[a]! || a - b);
    let saved = 0;
    for (const s of wrong.slice(0, Math.ceil(share * shardCount))) saved += this.bringIn(s, region[s]!);
    return saved;
  }

  /**
   * Brings the primary of `s` into a region, and lets others leave for it.
   *
   * @returns dollars an hour saved; 0 where nothing was changed
   */
  bringIn(s: number, region: number): number {
    const { problem, state, inserter } = this;
    const { width } = problem;
    const base = s * width;
    if (problem.frozen[s] === 1 || state.place[base]! < 0) return 0;
    const mark = state.nodesUsd;
    const own = this.#ownUsd(s);
    const old = this.#old;
    for (let k = 0; k < width; k++) {
      old[k] = state.place[base + k]!;
      if (old[k]! >= 0) state.remove(s, k);
    }
    const limit = own - (state.nodesUsd - mark);
    const ways: { n: number; usd: number; out: number[] }[] = [];
    for (const n of inserter.candidates.of(region).slice(0, NODES_LOOKED_AT)) {
      if (!eligible(problem, s, n, false)) continue;
      const way = this.#roomFor(s, n, limit - primaryUsd(problem, s, n));
      if (way !== undefined) ways.push(way);
    }
    ways.sort((a, b) => a.usd - b.usd || a.n - b.n);
    for (const { n, out } of ways.slice(0, NODES_TRIED)) {
      const usd = this.#exchange(s, n, out, mark, own);
      if (usd < 0) return -usd;
    }
    for (let k = 0; k < width; k++) if (old[k]! >= 0) state.put(s, k, old[k]!);
    return 0;
  }

  /** Who leaves `n` so that `s` (which is nowhere) fits, by prices; undefined where that loses more than `limit`. */
  #roomFor(s: number, n: number, limit: number): { n: number; usd: number; out: number[] } | undefined {
    const { state, problem } = this;
    const { width } = problem;
    if (limit <= 0) return undefined;
    const mark = state.nodesUsd;
    const out: number[] = [];
    let lost = 0;
    state.put(s, 0, n);
    if (state.isFull(n)) {
      this.#measureOver(n);
      for (const slot of this.#byLoss(n, s)) {
        lost += this.#loss[slot]!;
        if (lost >= limit) break;
        state.remove((slot / width) | 0, slot % width);
        out.push(slot);
        if (!state.isFull(n) || out.length === EJECTED_MAX) break;
      }
    }
    const fits = !state.isFull(n);
    const usd = state.nodesUsd - mark + lost - limit;
    for (let i = out.length - 1; i >= 0; i--) state.put((out[i]! / width) | 0, out[i]! % width, n);
    state.remove(s, 0);
    return fits && usd < 0 ? { n, usd, out } : undefined;
  }

  /** Does it, and undoes it where the whole does not gain. `s` is nowhere; dollars are counted from `mark` and `own`. */
  #exchange(s: number, n: number, out: readonly number[], mark: number, own: number): number {
    const { state, problem, inserter } = this;
    const { width } = problem;
    const old = this.#old;
    const shards = out.map((slot) => (slot / width) | 0);
    let before = own;
    this.tried++;
    for (let i = 0; i < shards.length; i++) {
      const e = shards[i]!;
      before += this.#ownUsd(e);
      for (let k = 0; k < width; k++) {
        old[(1 + i) * width + k] = state.place[e * width + k]!;
        if (state.place[e * width + k]! >= 0) state.remove(e, k);
      }
    }
    state.addUsd(s, n, false);
    let fine = state.fits;
    if (fine) {
      state.put(s, 0, n);
      fine = inserter.placeStandbys(s);
    }
    let after = fine ? this.#ownUsd(s) : 0;
    for (let i = 0; i < shards.length && fine; i++) {
      const e = shards[i]!;
      fine = inserter.find(e, old, (1 + i) * width) < Number.POSITIVE_INFINITY;
      if (!fine) break;
      for (let k = 0; k <= problem.standbys[e]!; k++) state.put(e, k, inserter.found[k]!);
      after += this.#ownUsd(e);
    }
    const usd = state.nodesUsd - mark + after - before;
    if (fine && usd < -GAIN_SHARE_MIN * Math.abs(own)) {
      this.accepted++;
      this.#settled(s);
      for (const e of shards) this.#settled(e);
      for (let i = 0; i < (1 + shards.length) * width; i++)
        if (old[i]! >= 0) inserter.candidates.changed(old[i]!);
      return usd;
    }
    this.#takeOff(s);
    for (const e of shards) this.#takeOff(e);
    shards.forEach((e, i) => {
      for (let k = 0; k < width; k++) {
        const was = old[(1 + i) * width + k]!;
        if (was >= 0) state.put(e, k, was);
      }
    });
    return 0;
  }

  #takeOff(s: number): void {
    const { width } = this.problem;
    for (let k = 0; k < width; k++) if (this.state.place[s * width + k]! >= 0) this.state.remove(s, k);
  }

  /** Its slots may be on nodes where the index has not seen them. */
  #settled(s: number): void {
    const { width } = this.problem;
    for (let k = 0; k < width; k++) {
      const slot = s * width + k;
      const n = this.state.place[slot]!;
      if (n < 0) continue;
      this.inserter.candidates.changed(n);
      const came = this.#came.get(n);
      if (came === undefined) this.#came.set(n, [slot]);
      else if (!came.includes(slot)) came.push(slot);
    }
  }

  /** Dollars an hour of a placed shard that no other one changes. */
  #ownUsd(s: number): number {
    const { problem, state } = this;
    const base = s * problem.width;
    const p = state.place[base]!;
    let usd = primaryUsd(problem, s, p);
    for (let k = 1; k <= problem.standbys[s]!; k++) {
      const n = state.place[base + k]!;
      if (n >= 0) usd += standbyUsd(problem, s, problem.nodeRegion[p]!, n);
    }
    return usd;
  }

  /** What a placed shard costs at the current prices; after the prices were made for it. */
  #pricedUsd(s: number): number {
    const { problem, state, dual } = this;
    const { width, nodeRegion } = problem;
    let usd = this.#ownUsd(s);
    for (let k = 0; k <= problem.standbys[s]!; k++) {
      const n = state.place[s * width + k]!;
      if (n >= 0) usd += k === 0 ? dual.primaryPrice(nodeRegion[n]!) : dual.standbyPrice(nodeRegion[n]!);
    }
    return usd;
  }

  /** How far beyond full a node is, as shares of its capacity, by dimension. */
  #measureOver(n: number): void {
    const { problem, state } = this;
    for (let d = 0; d < problem.dims; d++)
      this.#over[d] = Math.max(0, state.shareOf(n, d) - problem.fullShare[d % 3]!);
  }

  /** Slots on `n` that may leave, those first that lose least for the room they give; without those of `but`. */
  #byLoss(n: number, but: number): number[] {
    const { problem, state } = this;
    const { width, dims, capacity, loadMean, standbyShare } = problem;
    const slots: number[] = [];
    const rank = new Map<number, number>();
    const consider = (slot: number) => {
      const s = (slot / width) | 0;
      if (s === but || state.place[slot] !== n || problem.frozen[s] === 1) return;
      const standby = slot % width > 0;
      let room = 0;
      for (let d = 0; d < dims; d++) {
        const over = this.#over[d]!;
        if (over <= 0) continue;
        const part = standby ? standbyShare[d % 3]! : 1;
        room += Math.min(1, (part * loadMean[s * dims + d]!) / capacity[n * 3 + (d % 3)]! / over);
      }
      const loss = this.#lossOf(slot, n);
      if (room <= 0 || loss === Number.POSITIVE_INFINITY) return;
      slots.push(slot);
      rank.set(slot, loss / room);
    };
    for (let i = this.#from[n]!; i < this.#from[n + 1]!; i++) consider(this.#slots[i]!);
    for (const slot of this.#came.get(n) ?? []) if (!slots.includes(slot)) consider(slot);
    return slots.sort((a, b) => rank.get(a)! - rank.get(b)! || a - b);
  }

  /** What a replica's best other region costs more an hour than where it is, the price here not counted. */
  #lossOf(slot: number, n: number): number {
    if (this.#lossOn[slot] === n) return this.#loss[slot]!;
    const { problem, dual, state } = this;
    const { width, regionCount, nodeRegion, value, egressUsdPerGb, moveHours } = problem;
    const s = (slot / width) | 0;
    const source = sourceRegion(problem, s);
    const region = nodeRegion[n]!;
    dual.price(s);
    let best = Number.POSITIVE_INFINITY;
    let here = 0;
    if (slot % width === 0) {
      if (problem.pinnedTo[s]! >= 0 || problem.saturating[s] === 1) return Number.POSITIVE_INFINITY;
      here = primaryUsd(problem, s, n);
      for (let r = 0; r < regionCount; r++) {
        if (r === region || !regionAllowed(problem, s, r)) continue;
        let usd = value[s * regionCount + r]! + dual.primaryPrice(r);
        if (source >= 0) usd += dual.primaryMove(s, r, source) / moveHours;
        if (usd < best) best = usd;
      }
    } else {
      const from = nodeRegion[Math.max(0, state.place[s * width]!)]! * regionCount;
      here = standbyUsd(problem, s, from / regionCount, n);
      for (let r = 0; r < regionCount; r++) {
        if (r === region || !regionAllowed(problem, s, r)) continue;
        const usd =
          dual.standbyPrice(r) +
          dual.standbyMove(s, r, source) +
          problem.writeGbPerHour[s]! * egressUsdPerGb[from + r]!;
        if (usd < best) best = usd;
      }
    }
    this.#lossOn[slot] = n;
    this.#loss[slot] = best - here;
    return best - here;
  }
}
