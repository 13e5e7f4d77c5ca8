/**
 * The best node that a move does not go to, and what it would have gained: the least pressed open node of each region is
 * asked, everything else where the sequence put it.
 */
import type { ProcessId } from '../model/ids.ts';
import type { ClusterProblem } from './cluster-problem.ts';
import type { Step } from './sequence.ts';
import { eligible } from './solver/eligible.ts';
import { primaryMoveUsd, primaryUsd } from './solver/objective.ts';
import { NOWHERE } from './solver/problem.ts';
import type { State } from './solver/state.ts';

/** Nodes of a region that are asked: the two least pressed, since one of them may be where the move goes. */
const NODES_ASKED = 2;

export class RunnerUps {
  readonly #cluster: ClusterProblem;
  readonly #state: State;
  readonly #candidates: number[] = [];

  constructor(cluster: ClusterProblem, state: State) {
    this.#cluster = cluster;
    this.#state = state;
    const { problem } = cluster;
    const byRegion: number[][] = Array.from({ length: problem.regionCount }, () => []);
    for (let n = 0; n < problem.nodeCount; n++)
      if (problem.open[n] === 1) byRegion[problem.nodeRegion[n]!]!.push(n);
    for (const nodes of byRegion) {
      const pressure = new Map(nodes.map((n) => [n, state.pressure(n)]));
      nodes.sort((a, b) => pressure.get(a)! - pressure.get(b)! || a - b);
      this.#candidates.push(...nodes.slice(0, NODES_ASKED));
    }
  }

  of({ s, from, to, gainUsd }: Step): { target: ProcessId; gainUsdPerHour: number } | undefined {
    const { problem, nodes, windowHours } = this.#cluster;
    const state = this.#state;
    const moveHours = problem.moveHours;
    state.remove(s, 0);
    const usdOn = (n: number) =>
      primaryUsd(problem, s, n) - primaryMoveUsd(problem, s, n) / moveHours + state.addUsd(s, n, false);
    const here = usdOn(to);
    let best = NOWHERE;
    let bestUsd = Number.POSITIVE_INFINITY;
    for (const n of this.#candidates) {
      if (n === to || n === from || !eligible(problem, s, n, false)) continue;
      const usd = usdOn(n);
      if (!state.fits || usd >= bestUsd) continue;
      bestUsd = usd;
      best = n;
    }
    state.put(s, 0, to);
    if (best === NOWHERE) return undefined;
    return {
      target: nodes[best]!.processId,
      gainUsdPerHour: gainUsd / windowHours - (bestUsd - here),
    };
  }
}
