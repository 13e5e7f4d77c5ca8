/**
 * Moves that are not worth it yet and will be: what a plan needs to know to start some of them early where many come due at
 * one moment and its budgets would not suffice (`plan/schedule.ts`).
 *
 * A shard that stays is valued with the move it will make (shard-value.ts); here that move gets a node with room, everything
 * else where the sequence put it. Guarantees: hard constraints are kept, whichever of these moves are made; a move is not
 * started so early that it costs more than it saves, or than a move: else the next tick would send it back.
 */
import type { ClusterProblem } from './cluster-problem.ts';
import type { Relocation } from './input.ts';
import { eligible } from './solver/eligible.ts';
import { primaryMoveUsd } from './solver/objective.ts';
import { NOWHERE } from './solver/problem.ts';
import type { State } from './solver/state.ts';

/** Moves looked ahead for at most: those that are due first. */
const UPCOMING_MAX = 2_000;

/** @param state where everything is after the moves of this tick; what comes is added to it */
export function upcomingMoves(cluster: ClusterProblem, state: State): Relocation[] {
  const { problem, shards, nodes, regions } = cluster;
  const due: { s: number; neededAtS: number }[] = [];
  for (const [s, { step, earlyUsd }] of cluster.later) {
    const here = state.place[s * problem.width]!;
    const stays = here >= 0 && here === problem.start[s * problem.width] && problem.frozen[s] === 0;
    // Where being there at once is no worse, the solver knew better: what nodes carry speaks against it.
    if (stays && earlyUsd > 0) due.push({ s, neededAtS: shards[s]!.forecast.horizonsS[step]! });
  }
  due.sort((a, b) => a.neededAtS - b.neededAtS || a.s - b.s);
  const moves: Relocation[] = [];
  for (const { s, neededAtS } of due.slice(0, UPCOMING_MAX)) {
    const shard = shards[s]!;
    const { region, gainUsd, earlyUsd, againUsd } = cluster.later.get(s)!;
    const from = problem.start[s * problem.width]!;
    const to = roomIn(state, s, region);
    const doneS = cluster.doneS(s);
    const startS = neededAtS - doneS;
    if (to === NOWHERE || startS <= 0) continue;
    // At its source it still counts: nothing relies on its having left.
    state.put(s, 0, to);
    const costUsd = primaryMoveUsd(problem, s, to);
    const target = nodes[to]!;
    const perHour = 1 / cluster.windowHours;
    moves.push({
      shard: shard.shard,
      source: shard.primary,
      target: target.processId,
      cell: cluster.input.cells[target.region] ?? shard.cell,
      gainUsd: gainUsd + costUsd,
      costUsd,
      bytes: shard.standbys?.includes(target.processId) ? 0 : shard.stateBytes,
      kind: 'improve',
      neededAtS,
      doneS,
      earliestAtS: startS * Math.max(0, 1 - Math.min(gainUsd, againUsd) / earlyUsd),
      reason: {
        text: `from ${Math.round(neededAtS)} s on its users are better served from ${regions[region]}, and so many moves are due then that some start early`,
        gainUsdPerHour: (gainUsd + costUsd) * perHour,
        costUsdPerHour: costUsd * perHour,
        latencyMsNow: cluster.latencyMs(s, from),
        latencyMsThen: cluster.latencyMs(s, to),
        promise: cluster.promise(s, from, to),
      },
    });
  }
  return moves;
}

/** The node of a region that takes the shard's primary best; NOWHERE where none has room. */
function roomIn(state: State, s: number, region: number): number {
  const { problem } = state;
  let best = NOWHERE;
  let bestUsd = Number.POSITIVE_INFINITY;
  for (let n = 0; n < problem.nodeCount; n++) {
    if (problem.nodeRegion[n] !== region || !eligible(problem, s, n, false)) continue;
    const usd = state.addUsd(s, n, false);
    if (!state.fits || usd >= bestUsd) continue;
    best = n;
    bestUsd = usd;
  }
  return best;
}
