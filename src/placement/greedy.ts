/**
 * First phase: what must leave finds the best node that may take it, then every shard that gains by moving alone is placed
 * in order of gain, re-evaluated as the nodes fill.
 *
 * Guarantees: no hard constraint is broken by a move; a move made here lowers the objective at the time it is made.
 */
import type { Snapshot } from './snapshot.ts';

/** Gains below this many dollars over the window are rounding, not reasons. */
export const GAIN_USD_MIN = 1e-12;

export interface SearchState {
  evaluationsLeft: number;
  /** Wanted moves that a constraint refused, by its name. */
  blocked: Record<string, number>;
}

/** The node that lowers the objective most, or -1. `any`: the least bad one, also where it does not. */
export function bestNode(snapshot: Snapshot, s: number, state: SearchState, any = false): number {
  let best = -1;
  let bestDelta = any ? Number.POSITIVE_INFINITY : -GAIN_USD_MIN;
  for (let n = 0; n < snapshot.nodes.length; n++) {
    if (n === snapshot.place[s] || state.evaluationsLeft <= 0) continue;
    state.evaluationsLeft--;
    const delta = snapshot.deltaUsd(s, n);
    if (delta >= bestDelta) continue;
    // Home is always open, unless it must be left.
    const refused = n === snapshot.start[s] ? snapshot.mustLeave(s, n) : snapshot.refusal(s, n);
    if (refused !== undefined) {
      state.blocked[refused.name] = (state.blocked[refused.name] ?? 0) + 1;
      continue;
    }
    best = n;
    bestDelta = delta;
  }
  return best;
}

export function placeGreedily(snapshot: Snapshot, state: SearchState): void {
  for (let s = 0; s < snapshot.shards.length; s++) {
    if (snapshot.place[s]! >= 0 && snapshot.mustLeave(s) === undefined) continue;
    const n = bestNode(snapshot, s, state, true);
    if (n >= 0) snapshot.relocate(s, n);
  }
  const wishes: { s: number; gain: number }[] = [];
  for (let s = 0; s < snapshot.shards.length; s++) {
    const from = snapshot.place[s]!;
    if (from < 0 || from !== snapshot.start[s] || snapshot.shards[s]!.inFlightTo !== undefined) continue;
    // Cheap bound first: most shards are where their users are and cost nothing further.
    const gain = snapshot.valueUsd(s, from) - snapshot.bestRegionValue(s);
    if (gain > GAIN_USD_MIN) wishes.push({ s, gain });
  }
  wishes.sort((a, b) => b.gain - a.gain || a.s - b.s);
  for (const { s } of wishes) {
    if (state.evaluationsLeft <= 0) return;
    const n = bestNode(snapshot, s, state);
    if (n >= 0) snapshot.relocate(s, n);
  }
}
