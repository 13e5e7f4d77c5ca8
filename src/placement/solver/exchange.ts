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
import { apart, eligible } from './eligible.ts';
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
/** Replicas in a row that are not worth sending away before no other is asked. */
const REFUSED_MAX = 8;
/** Shards in a row that a pass cannot bring in before it ends: those that pay most were first. */
const PASS_REFUSED_MAX = 100;
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
  /** Loss of the replica in a slot, and what it was computed for: its node, a standby's primary's region, and prices. */
  readonly #loss: Float64Array;
  readonly #lossOf: Int32Array;
  #pricesOf = -1;
  /** After a node was ranked: slots that may leave and what each loses for the room it gives. */
  readonly #leavers: number[] = [];
  readonly #ranks: number[] = [];
  /** Dimensions of the node at hand whose room is worth something: how many, and which. */
  #scarce = 0;
  readonly #scarceDims: Int32Array;
  /** Of the node at hand, by dimension: what is beyond full, and what a share of it is worth. */
  readonly #over: Float64Array;
  readonly #worth: Float64Array;
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
    this.#worth = new Float64Array(dims);
    this.#loss = new Float64Array(shardCount * width);
    this.#lossOf = new Int32Array(shardCount * width).fill(NOWHERE);
    this.#scarceDims = new Int32Array(dims);
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
    if (this.#pricesOf !== this.dual.version) this.#lossOf.fill(NOWHERE);
    this.#pricesOf = this.dual.version;
  }

  /** Lets shards leave nodes that are beyond full, those first that lose least by it. */
  relieve(): void {
    const { state, problem } = this;
    this.index();
    for (let n = 0; n < problem.nodeCount; n++) {
      if (!state.isFull(n)) continue;
      this.#weigh(n);
      this.#rank(n, NOWHERE, Number.POSITIVE_INFINITY);
      for (let slot = this.#nextByLoss(); slot >= 0; slot = this.#nextByLoss()) {
        if (!state.isFull(n)) break;
        const s = (slot / problem.width) | 0;
        if (state.place[slot] === n && this.search.relocate(s)) this.#settled(s);
      }
    }
  }

  /**
   * Tries to bring every replica whose priced best region is another one there, those first that pay most for being where they are.
   *
   * @param tries how many are tried at most
   * @returns dollars an hour saved
   */
  pass(tries: number): number {
    const { dual, state, problem } = this;
    const { shardCount, width } = problem;
    const region = new Int32Array(shardCount);
    const slot = new Uint8Array(shardCount);
    const slack = new Float64Array(shardCount);
    const wrong: number[] = [];
    this.index();
    for (let s = 0; s < shardCount; s++) {
      const p = state.place[s * width]!;
      if (p < 0 || problem.frozen[s] === 1) continue;
      const best = dual.choose(s);
      if (best === Number.POSITIVE_INFINITY) continue;
      const k = this.#misplaced(s);
      if (k < 0) continue;
      region[s] = dual.chosen[k]!;
      slot[s] = k;
      slack[s] = this.#pricedUsd(s) - best;
      if (slack[s]! > GAIN_SHARE_MIN * Math.abs(best)) wrong.push(s);
    }
    wrong.sort((a, b) => slack[b]! - slack[a]! || a - b);
    let saved = 0;
    let refused = 0;
    for (const s of wrong.slice(0, Math.ceil(tries))) {
      const usd = this.bringIn(s, slot[s]!, region[s]!);
      saved += usd;
      refused = usd > 0 ? 0 : refused + 1;
      if (refused === PASS_REFUSED_MAX) break;
    }
    return saved;
  }

  /** The first slot whose region is none of those that were chosen; -1 where all are. */
  #misplaced(s: number): number {
    const { problem, state, dual } = this;
    const base = s * problem.width;
    const { nodeRegion } = problem;
    if (nodeRegion[state.place[base]!] !== dual.chosen[0]) return 0;
    for (let k = 1; k <= problem.standbys[s]!; k++) {
      const wanted = dual.chosen[k]!;
      let has = 0;
      let wants = 0;
      for (let j = 1; j <= problem.standbys[s]!; j++) {
        const n = state.place[base + j]!;
        if (n >= 0 && nodeRegion[n] === wanted) has++;
        if (dual.chosen[j] === wanted) wants++;
      }
      if (has < wants) return k;
    }
    return -1;
  }

  /**
   * Brings the replica in slot `k` of `s` into a region, and lets others leave for it.
   *
   * @returns dollars an hour saved; 0 where nothing was changed
   */
  bringIn(s: number, k: number, region: number): number {
    const { problem, state, inserter } = this;
    const { width, nodeRegion } = problem;
    const base = s * width;
    if (problem.frozen[s] === 1 || state.place[base]! < 0) return 0;
    const slot = k === 0 ? 0 : this.#leaving(s, region);
    if (slot < 0) return 0;
    const mark = state.nodesUsd;
    const own = this.#ownUsd(s);
    const old = this.#old;
    for (let j = 0; j < width; j++) {
      old[j] = state.place[base + j]!;
      // With its primary all leave: standbys are chosen anew beside it.
      if (old[j]! >= 0 && (slot === 0 || j === slot)) state.remove(s, j);
    }
    const primary = nodeRegion[old[0]!]!;
    const limit = own - (state.nodesUsd - mark);
    const ways: { n: number; usd: number; out: number[] }[] = [];
    for (const n of inserter.candidates.of(region).slice(0, NODES_LOOKED_AT)) {
      if (!eligible(problem, s, n, slot > 0)) continue;
      let fine = true;
      for (let j = 0; j < width; j++)
        if (slot > 0 && j !== slot && !apart(problem, s, old[j]!, n)) fine = false;
      if (!fine) continue;
      const usd =
        slot === 0 ? primaryUsd(problem, s, n) : this.#ownUsd(s) + standbyUsd(problem, s, primary, n);
      const way = this.#roomFor(s, slot, n, limit - usd);
      if (way !== undefined) ways.push(way);
    }
    ways.sort((a, b) => a.usd - b.usd || a.n - b.n);
    for (const { n, out } of ways.slice(0, NODES_TRIED)) {
      const usd = this.#exchange(s, slot, n, out, mark, own);
      if (usd < 0) return -usd;
    }
    for (let j = 0; j < width; j++) if (old[j]! >= 0 && state.place[base + j]! < 0) state.put(s, j, old[j]!);
    return 0;
  }

  /** The standby that leaves where another one is to come into `region`: the first that is in none of the chosen regions. */
  #leaving(s: number, region: number): number {
    const { problem, state } = this;
    for (let k = 1; k <= problem.standbys[s]!; k++) {
      const n = state.place[s * problem.width + k]!;
      if (n >= 0 && problem.nodeRegion[n] !== region) return k;
    }
    return -1;
  }

  /** Who leaves `n` so that slot `k` of `s` (which is nowhere) finds room, by prices; undefined where that loses more than `limit`. */
  #roomFor(
    s: number,
    k: number,
    n: number,
    limit: number,
  ): { n: number; usd: number; out: number[] } | undefined {
    const { state, problem } = this;
    const { width } = problem;
    if (limit <= 0) return undefined;
    const mark = state.nodesUsd;
    const out: number[] = [];
    let lost = 0;
    let refused = 0;
    state.put(s, k, n);
    if (state.overload[n]! > 0) {
      this.#weigh(n);
      this.#rank(n, s, limit);
      for (let slot = this.#nextByLoss(); slot >= 0; slot = this.#nextByLoss()) {
        const full = state.isFull(n);
        const relief = state.remove((slot / width) | 0, slot % width);
        // What fills a node beyond full must leave; what only crowds it leaves where that is worth it.
        if (!full && relief + this.#loss[slot]! >= 0) {
          state.put((slot / width) | 0, slot % width, n);
          if (++refused === REFUSED_MAX) break;
          continue;
        }
        lost += this.#loss[slot]!;
        out.push(slot);
        if (lost >= limit || out.length === EJECTED_MAX || state.overload[n] === 0) break;
      }
    }
    const fits = !state.isFull(n);
    const usd = state.nodesUsd - mark + lost - limit;
    for (let i = out.length - 1; i >= 0; i--) state.put((out[i]! / width) | 0, out[i]! % width, n);
    state.remove(s, k);
    return fits && usd < 0 ? { n, usd, out } : undefined;
  }

  /** Does it, and undoes it where the whole does not gain. Slot `k` of `s` is nowhere; dollars are counted from `mark` and `own`. */
  #exchange(s: number, k: number, n: number, out: readonly number[], mark: number, own: number): number {
    const { state, problem, inserter } = this;
    const { width } = problem;
    const old = this.#old;
    const shards = out.map((slot) => (slot / width) | 0);
    let before = own;
    this.tried++;
    for (let i = 0; i < shards.length; i++) {
      const e = shards[i]!;
      before += this.#ownUsd(e);
      for (let j = 0; j < width; j++) {
        old[(1 + i) * width + j] = state.place[e * width + j]!;
        if (state.place[e * width + j]! >= 0) state.remove(e, j);
      }
    }
    state.addUsd(s, n, k > 0);
    let fine = state.fits;
    if (fine) {
      state.put(s, k, n);
      if (k === 0) fine = inserter.placeStandbys(s);
    }
    let after = fine ? this.#ownUsd(s) : 0;
    for (let i = 0; i < shards.length && fine; i++) {
      const e = shards[i]!;
      fine = inserter.find(e, old, (1 + i) * width) < Number.POSITIVE_INFINITY;
      if (!fine) break;
      for (let j = 0; j <= problem.standbys[e]!; j++) state.put(e, j, inserter.found[j]!);
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
    if (k === 0) this.#takeOff(s);
    else if (state.place[s * width + k]! >= 0) state.remove(s, k);
    for (const e of shards) this.#takeOff(e);
    shards.forEach((e, i) => {
      for (let j = 0; j < width; j++) {
        const was = old[(1 + i) * width + j]!;
        if (was >= 0) state.put(e, j, was);
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

  /** What a share of each dimension of a node is worth now: dollars an hour; what is beyond full counts before all else. */
  #weigh(n: number): void {
    const { problem, state } = this;
    const { dims, headroom, stepWeight, excessUsdPerHour } = problem;
    const full = problem.overloadUsdPerHour[n]!;
    this.#scarce = 0;
    for (let d = 0; d < dims; d++) {
      const share = state.shareOf(n, d);
      const over = Math.max(0, share - headroom) / (1 - headroom);
      const weight = stepWeight[(d / 3) | 0]!;
      this.#over[d] = Math.max(0, share - problem.fullShare[d]!);
      this.#worth[d] =
        weight * ((2 * full * over) / (1 - headroom) + (this.#over[d]! > 0 ? excessUsdPerHour : 0));
      if (this.#worth[d]! > 0) this.#scarceDims[this.#scarce++] = d;
    }
  }

  /** Finds who may leave `n`, without the replicas of `but` and those that alone lose `limit` or more; {@link #nextByLoss} takes them in order. */
  #rank(n: number, but: number, limit: number): void {
    this.#leavers.length = 0;
    this.#ranks.length = 0;
    for (let i = this.#from[n]!; i < this.#from[n + 1]!; i++) this.#consider(this.#slots[i]!, n, but, limit);
    for (const slot of this.#came.get(n) ?? [])
      if (!this.#leavers.includes(slot)) this.#consider(slot, n, but, limit);
  }

  #consider(slot: number, n: number, but: number, limit: number): void {
    const { state, problem } = this;
    const { width, dims, capacity, loadMean, standbyShare } = problem;
    const s = (slot / width) | 0;
    if (s === but || state.place[slot] !== n || problem.frozen[s] === 1) return;
    const loss = this.#lossFrom(slot, n);
    if (loss >= limit) return;
    const standby = slot % width > 0;
    let room = 0;
    for (let i = 0; i < this.#scarce; i++) {
      const d = this.#scarceDims[i]!;
      const part = standby ? standbyShare[d % 3]! : 1;
      const share = (part * loadMean[s * dims + d]!) / capacity[n * 3 + (d % 3)]!;
      const over = this.#over[d]!;
      room += this.#worth[d]! * (over > 0 && over < share ? over : share);
    }
    if (room <= 0) return;
    this.#leavers.push(slot);
    this.#ranks.push(loss / room);
  }

  /** The slot that loses least for the room it gives, which is then no longer among them; NOWHERE where none is left. */
  #nextByLoss(): number {
    const slots = this.#leavers;
    const ranks = this.#ranks;
    if (slots.length === 0) return NOWHERE;
    // Few are asked for: looking for the least each time is less work than sorting.
    let least = 0;
    for (let i = 1; i < slots.length; i++) {
      const by = ranks[i]! - ranks[least]!;
      if (by < 0 || (by === 0 && slots[i]! < slots[least]!)) least = i;
    }
    const slot = slots[least]!;
    const last = slots.pop()!;
    const lastRank = ranks.pop()!;
    if (least < slots.length) {
      slots[least] = last;
      ranks[least] = lastRank;
    }
    return slot;
  }

  /** What a replica's best other region costs more an hour than where it is, the price here not counted. */
  #lossFrom(slot: number, n: number): number {
    const { problem, dual, state } = this;
    const { width, regionCount, nodeRegion, value, egressUsdPerGb, moveHours } = problem;
    const s = (slot / width) | 0;
    const beside = slot === s * width ? 0 : nodeRegion[Math.max(0, state.place[s * width]!)]!;
    const of = n * regionCount + beside;
    if (this.#lossOf[slot] === of) return this.#loss[slot]!;
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
      const from = beside * regionCount;
      here = standbyUsd(problem, s, beside, n);
      for (let r = 0; r < regionCount; r++) {
        if (r === region || !regionAllowed(problem, s, r)) continue;
        const usd =
          dual.standbyPrice(r) +
          dual.standbyMove(s, r, source) +
          problem.writeGbPerHour[s]! * egressUsdPerGb[from + r]!;
        if (usd < best) best = usd;
      }
    }
    this.#lossOf[slot] = of;
    this.#loss[slot] = best - here;
    return best - here;
  }
}
