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
import { apart, eligible } from './eligible.ts';
import { CheapestRegions, EVENNESS_SHARE, StandbyLooks } from './look.ts';
import { primaryUsd, standbyUsd } from './objective.ts';
import { NOWHERE, type Problem, regionAllowed } from './problem.ts';
import type { State } from './state.ts';

const NONE = new Int32Array(256).fill(NOWHERE);

export class Inserter {
  readonly problem: Problem;
  readonly state: State;
  readonly dual: Dual;
  readonly candidates: Candidates;
  readonly company: Company;
  /** After {@link find}: the node of each slot. */
  readonly found: Int32Array;
  readonly #trial: Int32Array;
  /** Candidates for the primary that are the shard's own: where it was and is. */
  readonly #own: Int32Array;
  readonly #regions: CheapestRegions;
  readonly #looks: StandbyLooks;
  /** The best standby so far, and its node. */
  #best = 0;
  #at = NOWHERE;

  constructor(state: State, dual: Dual, candidates: Candidates, company: Company) {
    this.problem = state.problem;
    this.state = state;
    this.dual = dual;
    this.candidates = candidates;
    this.company = company;
    const { width } = state.problem;
    this.found = new Int32Array(width);
    this.#trial = new Int32Array(width);
    this.#own = new Int32Array(2 * width);
    this.#regions = new CheapestRegions(dual, candidates);
    this.#looks = new StandbyLooks(state, candidates);
  }

  /**
   * @param old where its replicas were before they were taken off, as slots; also candidates
   * @param oldAt index of the shard's first slot in `old`
   * @returns dollars an hour of the best, overload included; Infinity where nothing may hold it
   */
  find(s: number, old: Int32Array, oldAt: number): number {
    const { problem } = this;
    const { width, start, value, regionCount } = problem;
    this.dual.price(s);
    this.#looks.begin();
    const own = this.#own;
    let count = 0;
    for (let k = 0; k < width; k++)
      for (let i = 0; i < 2; i++) {
        const n = i === 0 ? old[oldAt + k]! : start[s * width + k]!;
        if (n < 0) continue;
        let known = false;
        for (let j = 0; j < count; j++) if (own[j] === n) known = true;
        if (!known && eligible(problem, s, n, false)) own[count++] = n;
      }
    let best = Number.POSITIVE_INFINITY;
    for (let i = 0; i < count; i++) best = this.#tryPrimary(s, own[i]!, true, old, oldAt, best);
    const regions = this.#regions;
    const end = regions.of(s);
    for (let i = regions.from(s); i < end; i++) {
      const r = regions.list[i]!;
      // Nothing there is cheaper than a node that is free, with its standbys for nothing.
      const least = value[s * regionCount + r]! + this.dual.scarcity(r, false);
      if (least >= best) continue;
      const n = this.bestNode(s, r, 0, best - least);
      if (n === NOWHERE) continue;
      let known = false;
      for (let j = 0; j < count; j++) if (own[j] === n) known = true;
      if (!known) best = this.#tryPrimary(s, n, false, old, oldAt, best);
    }
    return best;
  }

  /** Writes {@link found} where the shard costs less than `best` with its primary on `p`; gives the least of both. */
  #tryPrimary(s: number, p: number, own: boolean, old: Int32Array, oldAt: number, best: number): number {
    const { problem, state } = this;
    const rest = primaryUsd(problem, s, p) + this.dual.scarcity(problem.nodeRegion[p]!, false);
    if (rest >= best) return best;
    const added = state.addUsd(s, p, false, best - rest);
    if (added >= best - rest || (!state.fits && !own)) return best;
    let usd = rest + added;
    this.#trial[0] = p;
    const count = problem.standbys[s]!;
    for (let k = 1; k <= count; k++) {
      usd += this.#standby(s, k, old, oldAt, best - usd);
      if (usd >= best) return best;
    }
    this.found.set(this.#trial);
    for (let k = 1 + count; k < problem.width; k++) this.found[k] = NOWHERE;
    return usd;
  }

  /**
   * The best node of a region for one replica, or NOWHERE.
   *
   * @param limit dollars an hour of overload from which on a node is none
   */
  bestNode(s: number, region: number, k: number, limit = Number.POSITIVE_INFINITY): number {
    if (k > 0) return this.#looks.best(s, region, k, this.#trial, this.company, limit);
    const { problem, state } = this;
    let best = NOWHERE;
    let bestScore = Number.POSITIVE_INFINITY;
    let passed = Number.POSITIVE_INFINITY;
    const look = this.candidates.of(region);
    const weight = this.company.weight(s);
    const at = s * problem.width;
    const gb = problem.start[at]! < 0 ? 0 : problem.stateGb[s]! / problem.moveHours;
    for (let i = 0; i < look.length; i++) {
      const n = look[i]!;
      if (!eligible(problem, s, n, false)) continue;
      const full = problem.overloadUsdPerHour[n]!;
      const lean = weight > 0 ? weight * this.company.distance(s, n) : 0;
      // Nodes of a region differ in what bringing the state there costs: it is asked of the quiet ones.
      const beside = (problem.start[at] === n ? 0 : gb * problem.transferUsdPerGb[n]!) + full * lean;
      const most = Math.min(limit, bestScore - beside);
      const usd = state.addUsd(s, n, false, most);
      if (usd >= most) {
        if (usd >= limit && usd + beside < passed) passed = usd + beside;
        continue;
      }
      if (!state.fits) continue;
      const score = usd + beside + full * EVENNESS_SHARE * state.spreadScore;
      if (score < bestScore) {
        bestScore = score;
        best = n;
      }
    }
    // Where it leans to another one that does not pay it stays: else it would come for next to nothing and lean back.
    return passed < bestScore ? NOWHERE : best;
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
    this.#looks.begin();
    this.#trial[0] = state.place[s * problem.width]!;
    for (let k = 1; k <= problem.standbys[s]!; k++)
      if (this.#standby(s, k, NONE, 0, Number.POSITIVE_INFINITY) === Number.POSITIVE_INFINITY) return false;
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

  /** Best node of standby `k` below `limit`, given the slots before it; writes it and returns its dollars an hour, Infinity where there is none. */
  #standby(s: number, k: number, old: Int32Array, oldAt: number, limit: number): number {
    const { problem, dual } = this;
    const { width, start, nodeRegion, regionCount, egressUsdPerGb } = problem;
    const region = nodeRegion[this.#trial[0]!]!;
    this.#best = limit;
    this.#at = NOWHERE;
    for (let j = 0; j < width; j++) {
      const was = old[oldAt + j]!;
      if (was >= 0 && eligible(problem, s, was, true)) this.#tryStandby(s, k, was, true);
      const home = start[s * width + j]!;
      if (home >= 0 && home !== was && eligible(problem, s, home, true)) this.#tryStandby(s, k, home, true);
    }
    const own = regionAllowed(problem, s, region);
    if (own) this.#lookAt(s, k, region, 0);
    // Beside its own region the cheapest by prices, and another one by what nodes carry now. Most cost the same: most room comes first.
    const write = problem.writeGbPerHour[s]!;
    const full = dual.standbyFullPrice(s);
    let byPrice = -1;
    let cheapest = Number.POSITIVE_INFINITY;
    let byRoom = -1;
    let roomiest = Number.POSITIVE_INFINITY;
    let byRoomNext = -1;
    let roomiestNext = Number.POSITIVE_INFINITY;
    for (let r = 0; r < regionCount; r++) {
      const egress = write * egressUsdPerGb[region * regionCount + r]!;
      if (egress >= this.#best || (own && r === region)) continue;
      if (!regionAllowed(problem, s, r) || this.candidates.all(r).length === 0) continue;
      const pressure = this.candidates.pressureOf(r);
      const over = Math.max(0, pressure - problem.headroom) / (1 - problem.headroom);
      const even = EVENNESS_SHARE * EVENNESS_SHARE * pressure;
      const usd = dual.standbyPrice(r) + egress + even;
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
    const egressOf = (r: number) => write * egressUsdPerGb[region * regionCount + r]!;
    if (byPrice >= 0) this.#lookAt(s, k, byPrice, egressOf(byPrice));
    const roomy = byRoom === byPrice ? byRoomNext : byRoom;
    if (roomy >= 0) this.#lookAt(s, k, roomy, egressOf(roomy));
    this.#trial[k] = this.#at;
    return this.#at < 0 ? Number.POSITIVE_INFINITY : this.#best;
  }

  #lookAt(s: number, k: number, region: number, egress: number): void {
    if (egress >= this.#best) return;
    const n = this.bestNode(s, region, k, this.#best - egress);
    if (n !== NOWHERE) this.#tryStandby(s, k, n, false);
  }

  #tryStandby(s: number, k: number, n: number, own: boolean): void {
    const { problem, state } = this;
    for (let j = 0; j < k; j++) if (!apart(problem, s, this.#trial[j]!, n)) return;
    const region = problem.nodeRegion[this.#trial[0]!]!;
    const rest = standbyUsd(problem, s, region, n) + this.dual.scarcity(problem.nodeRegion[n]!, true);
    if (rest >= this.#best) return;
    const added = state.addUsd(s, n, true, this.#best - rest);
    if (added >= this.#best - rest || (!state.fits && !own)) return;
    this.#best = rest + added;
    this.#at = n;
  }
}
