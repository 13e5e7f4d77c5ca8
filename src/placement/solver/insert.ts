/**
 * Where one shard is best, everything else as it is: primary and standbys together.
 *
 * The shard's own replicas are off the nodes when it is asked. Candidates are the nodes it was and is on (so staying,
 * going home and promoting a standby are always among them), and the best nodes of the regions that are cheapest at the
 * current prices. Guarantees: no hard constraint is broken, but that where nothing fits the least bad node is taken, which
 * `check.ts` reports.
 */
import type { Candidates } from './candidates.ts';
import type { Company } from './company.ts';
import type { Dual } from './dual.ts';
import { apart, eligible, startedOn } from './eligible.ts';
import { primaryUsd, standbyUsd } from './objective.ts';
import { NOWHERE, type Problem, regionAllowed } from './problem.ts';
import type { State } from './state.ts';

/** Regions looked at for a primary; all of them where there are few. */
const REGIONS_LOOKED_AT = 4;
const REGIONS_ALL_MAX = 8;
/** Evenness counts this share of a node's overload price where nothing else tells nodes apart. */
const EVENNESS_SHARE = 1e-4;

/** A standby's load is a small part of its primary's. */
const STANDBY_LEAN = 0.1;

const NONE = new Int32Array(256).fill(NOWHERE);

export class Inserter {
  readonly problem: Problem;
  readonly state: State;
  readonly dual: Dual;
  readonly candidates: Candidates;
  readonly company: Company;
  /** After {@link find}: the node of each slot. */
  readonly found: Int32Array;
  /** Nodes where shards would have gone but for their being full. */
  refusedFull = 0;
  readonly #trial: Int32Array;
  readonly #nodes: Int32Array;
  readonly #regionScore: Float64Array;
  #usd = 0;

  constructor(state: State, dual: Dual, candidates: Candidates, company: Company) {
    this.problem = state.problem;
    this.state = state;
    this.dual = dual;
    this.candidates = candidates;
    this.company = company;
    const { width, regionCount } = state.problem;
    this.found = new Int32Array(width);
    this.#trial = new Int32Array(width);
    this.#nodes = new Int32Array(2 * width + regionCount);
    this.#regionScore = new Float64Array(regionCount);
  }

  /**
   * @param old where its replicas were before they were taken off, as slots; also candidates
   * @param oldAt index of the shard's first slot in `old`
   * @returns dollars an hour of the best, overload included; Infinity where nothing may hold it
   */
  find(s: number, old: Int32Array, oldAt: number): number {
    const { problem, state } = this;
    const { width, start, nodeRegion } = problem;
    this.dual.price(s);
    const nodes = this.#nodes;
    let count = 0;
    for (let k = 0; k < width; k++) {
      for (const n of [old[oldAt + k]!, start[s * width + k]!]) {
        if (n < 0) continue;
        let known = false;
        for (let i = 0; i < count; i++) if (nodes[i] === n) known = true;
        if (!known && eligible(problem, s, n, false)) nodes[count++] = n;
      }
    }
    const own = count;
    count = this.#addRegions(s, count);
    let best = Number.POSITIVE_INFINITY;
    for (let i = 0; i < count; i++) {
      const p = nodes[i]!;
      const overload = state.addUsd(s, p, false);
      if (!state.fits && i >= own) continue;
      let usd = primaryUsd(problem, s, p) + overload + this.dual.scarcity(nodeRegion[p]!, false);
      if (usd >= best) continue;
      this.#trial[0] = p;
      for (let k = 1; k <= problem.standbys[s]! && usd < best; k++) usd += this.#standby(s, k, old, oldAt);
      if (usd >= best) continue;
      best = usd;
      this.found.set(this.#trial);
      for (let k = 1 + problem.standbys[s]!; k < width; k++) this.found[k] = NOWHERE;
    }
    return best;
  }

  /** The best node of a region for one replica, or NOWHERE; {@link usd} tells its overload. */
  bestNode(s: number, region: number, k: number): number {
    const { problem, state } = this;
    const standby = k > 0;
    let best = NOWHERE;
    let bestScore = Number.POSITIVE_INFINITY;
    const look = this.candidates.of(region);
    const weight = (standby ? STANDBY_LEAN : 1) * this.company.weight(s);
    const at = s * problem.width;
    const gb = problem.start[at]! < 0 ? 0 : problem.stateGb[s]! / problem.moveHours;
    for (let i = 0; i < look.length; i++) {
      const n = look[i]!;
      let fine = true;
      for (let j = 0; j < k; j++) if (!apart(problem, s, this.#trial[j]!, n)) fine = false;
      if (!fine || !eligible(problem, s, n, standby)) continue;
      const usd = state.addUsd(s, n, standby);
      if (!state.fits) {
        this.refusedFull++;
        continue;
      }
      const lean = weight > 0 ? weight * this.company.distance(s, n) : 0;
      // Nodes of a region differ in what bringing the state there costs: it is asked of the quiet ones.
      const bringing = standby || problem.start[at] === n ? 0 : gb * problem.transferUsdPerGb[n]!;
      const score =
        usd + bringing + problem.overloadUsdPerHour[n]! * (lean + EVENNESS_SHARE * state.spreadScore);
      if (score < bestScore) {
        bestScore = score;
        best = n;
        this.#usd = usd;
      }
    }
    return best;
  }

  /** Dollars an hour of overload of what {@link bestNode} found last. */
  get usd(): number {
    return this.#usd;
  }

  /** Places a primary in a given region, by prices alone; false where there is no room. */
  placePrimary(s: number, region: number): boolean {
    const n = this.bestNode(s, region, 0);
    if (n === NOWHERE) return false;
    this.put(s, 0, n);
    return true;
  }

  /** Gives a placed primary its standbys; false where one found no room (none is placed then). */
  placeStandbys(s: number): boolean {
    const { problem, state } = this;
    this.dual.price(s);
    this.#trial[0] = state.place[s * problem.width]!;
    for (let k = 1; k <= problem.standbys[s]!; k++)
      if (this.#standby(s, k, NONE, 0) === Number.POSITIVE_INFINITY) return false;
    for (let k = 1; k <= problem.standbys[s]!; k++) this.put(s, k, this.#trial[k]!);
    return true;
  }

  put(s: number, k: number, n: number): void {
    this.state.put(s, k, n);
    this.candidates.changed(n);
  }

  /** Any node at all that may hold it, spread kept, fullness not: for what nothing has room for. */
  leastBad(s: number, k: number, taken: Int32Array): number {
    const { problem, state } = this;
    let best = NOWHERE;
    let bestUsd = Number.POSITIVE_INFINITY;
    for (let n = 0; n < problem.nodeCount; n++) {
      if (!eligible(problem, s, n, k > 0)) continue;
      let fine = true;
      for (let j = 0; j < k; j++) if (!apart(problem, s, taken[j]!, n)) fine = false;
      if (!fine) continue;
      const usd =
        state.addUsd(s, n, k > 0) +
        (k === 0
          ? primaryUsd(problem, s, n)
          : standbyUsd(problem, s, problem.nodeRegion[Math.max(0, taken[0]!)]!, n)) +
        // Full is full: what fits comes first whatever it costs.
        (state.fits ? 0 : 1e9);
      if (usd < bestUsd) {
        bestUsd = usd;
        best = n;
      }
    }
    return best;
  }

  /** Adds the best node of each of the cheapest regions. */
  #addRegions(s: number, from: number): number {
    const { problem } = this;
    const { regionCount, value } = problem;
    const score = this.#regionScore;
    let regions = 0;
    for (let r = 0; r < regionCount; r++) {
      const open = regionAllowed(problem, s, r) && this.candidates.all(r).length > 0;
      score[r] = open ? value[s * regionCount + r]! + this.dual.primaryPrice(r) : Number.POSITIVE_INFINITY;
      if (open) regions++;
    }
    const looks = regionCount <= REGIONS_ALL_MAX ? regions : Math.min(regions, REGIONS_LOOKED_AT);
    let count = from;
    for (let i = 0; i < looks; i++) {
      let r = -1;
      for (let j = 0; j < regionCount; j++)
        if (score[j]! < Number.POSITIVE_INFINITY && (r < 0 || score[j]! < score[r]!)) r = j;
      if (r < 0) break;
      score[r] = Number.POSITIVE_INFINITY;
      const n = this.bestNode(s, r, 0);
      if (n !== NOWHERE) this.#nodes[count++] = n;
    }
    return count;
  }

  /** Best node of standby `k`, given the slots before it; writes it and returns its dollars an hour. */
  #standby(s: number, k: number, old: Int32Array, oldAt: number): number {
    const { problem, state } = this;
    const { width, start, nodeRegion, regionCount, egressUsdPerGb } = problem;
    const region = nodeRegion[this.#trial[0]!]!;
    let best = Number.POSITIVE_INFINITY;
    let at = NOWHERE;
    const consider = (n: number, home: boolean) => {
      for (let j = 0; j < k; j++) if (!apart(problem, s, this.#trial[j]!, n)) return;
      const overload = state.addUsd(s, n, true);
      if (!state.fits && !home) return;
      const usd = standbyUsd(problem, s, region, n) + overload + this.dual.scarcity(nodeRegion[n]!, true);
      if (usd < best) {
        best = usd;
        at = n;
      }
    };
    for (let j = 0; j < width; j++) {
      const was = old[oldAt + j]!;
      if (was >= 0 && eligible(problem, s, was, true)) consider(was, startedOn(problem, s, was) || was >= 0);
      const home = start[s * width + j]!;
      if (home >= 0 && home !== was && eligible(problem, s, home, true)) consider(home, true);
    }
    // Its own region, the cheapest by prices, and another one by what nodes carry now. Most cost the same: most room comes first.
    const write = problem.writeGbPerHour[s]!;
    const full = this.dual.standbyFullPrice(s);
    let byPrice = -1;
    let cheapest = Number.POSITIVE_INFINITY;
    let byRoom = -1;
    let roomiest = Number.POSITIVE_INFINITY;
    let byRoomNext = -1;
    let roomiestNext = Number.POSITIVE_INFINITY;
    const own = regionAllowed(problem, s, region);
    for (let r = 0; r < regionCount; r++) {
      if ((own && r === region) || !regionAllowed(problem, s, r) || this.candidates.all(r).length === 0)
        continue;
      const pressure = this.candidates.pressureOf(r);
      const over = Math.max(0, pressure - problem.headroom) / (1 - problem.headroom);
      const egress = write * egressUsdPerGb[region * regionCount + r]!;
      const even = EVENNESS_SHARE * EVENNESS_SHARE * pressure;
      const usd = this.dual.standbyPrice(r) + egress + even;
      if (usd < cheapest) {
        cheapest = usd;
        byPrice = r;
      }
      const room = full * over + egress + even;
      if (room < roomiest) {
        roomiestNext = roomiest;
        byRoomNext = byRoom;
        roomiest = room;
        byRoom = r;
      } else if (room < roomiestNext) {
        roomiestNext = room;
        byRoomNext = r;
      }
    }
    const look = (r: number) => {
      const n = r < 0 ? NOWHERE : this.bestNode(s, r, k);
      if (n !== NOWHERE) consider(n, false);
    };
    if (own) look(region);
    look(byPrice);
    look(byRoom === byPrice ? byRoomNext : byRoom);
    this.#trial[k] = at;
    return best;
  }
}
