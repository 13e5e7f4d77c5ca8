/**
 * Second phase: relocates single shards while that lowers the objective. Nodes that would overload come first, their cold
 * shards before their hot ones (a cold shard's move is cheap and safe, a hot one's is neither); then everything placed away
 * from home is reconsidered, since others have moved meanwhile, and going home is always one of the candidates.
 *
 * Guarantees: the objective only falls; ends by count of evaluations and passes, never by the clock.
 */
import { bestNode, type SearchState } from './greedy.ts';
import type { Snapshot } from './snapshot.ts';

export function searchLocally(snapshot: Snapshot, state: SearchState, passesMax: number): void {
  for (let pass = 0; pass < passesMax; pass++) {
    const relieved = relieve(snapshot, state);
    const balanced = balance(snapshot, state);
    const improved = reconsider(snapshot, state);
    if ((!relieved && !balanced && !improved) || state.evaluationsLeft <= 0) return;
  }
}

/** Moves cold neighbours off nodes that would overload, coldest of some weight first. */
function relieve(snapshot: Snapshot, state: SearchState): boolean {
  let changed = false;
  for (let n = 0; n < snapshot.nodes.length; n++) {
    if (!snapshot.overloaded(n)) continue;
    const here: number[] = [];
    for (let s = 0; s < snapshot.shards.length; s++)
      if (snapshot.place[s] === n && snapshot.shards[s]!.inFlightTo === undefined) here.push(s);
    // Relief per cost of moving: load over what its users would feel, so that the busiest go last.
    here.sort((a, b) => reliefOf(snapshot, b) - reliefOf(snapshot, a) || a - b);
    for (const s of here) {
      if (!snapshot.overloaded(n) || state.evaluationsLeft <= 0) break;
      const target = bestNode(snapshot, s, state);
      if (target < 0) continue;
      snapshot.relocate(s, target);
      changed = true;
    }
  }
  return changed;
}

/** A node this much busier than a neighbour in its region is worth a look; what moves is decided by the objective. */
const UNEVEN_FACTOR = 1.25;
/** Shards of such a node that are tried, the ones with most relief first. */
const BALANCE_CANDIDATES = 48;

/** Evens out nodes of one region, where the queueing saved pays for the move. */
function balance(snapshot: Snapshot, state: SearchState): boolean {
  let changed = false;
  const { nodes } = snapshot;
  for (let n = 0; n < nodes.length; n++) {
    const uneven = nodes.some(
      (other, m) =>
        m !== n &&
        other.open &&
        other.region === nodes[n]!.region &&
        snapshot.cpuP90(n) > UNEVEN_FACTOR * snapshot.cpuP90(m) + 0.02 * nodes[n]!.capacity.cpu,
    );
    if (!uneven) continue;
    const here: number[] = [];
    for (let s = 0; s < snapshot.shards.length; s++)
      if (snapshot.place[s] === n && snapshot.shards[s]!.inFlightTo === undefined) here.push(s);
    here.sort((a, b) => reliefOf(snapshot, b) - reliefOf(snapshot, a) || a - b);
    for (const s of here.slice(0, BALANCE_CANDIDATES)) {
      if (state.evaluationsLeft <= 0) break;
      const target = bestNode(snapshot, s, state);
      if (target < 0) continue;
      snapshot.relocate(s, target);
      changed = true;
    }
  }
  return changed;
}

function reliefOf(snapshot: Snapshot, s: number): number {
  const demand = snapshot.demandAtP90(snapshot.shards[s]!).cpu;
  return demand / (demand * demand + 1e-4);
}

function reconsider(snapshot: Snapshot, state: SearchState): boolean {
  let changed = false;
  for (let s = 0; s < snapshot.shards.length; s++) {
    if (state.evaluationsLeft <= 0) break;
    const here = snapshot.place[s]!;
    if (here < 0 || here === snapshot.start[s] || snapshot.shards[s]!.inFlightTo !== undefined) continue;
    const target = bestNode(snapshot, s, state);
    if (target < 0) continue;
    snapshot.relocate(s, target);
    changed = true;
  }
  return changed;
}
