/** Hard constraints as the solver asks them: shard, node and role as numbers, millions of times a second. */
import { type Problem, regionAllowed } from '../solver/problem.ts';

export interface PlaceConstraint {
  readonly name: string;
  /** Completes "A shard ...". */
  readonly description: string;
  /** It never refuses a replica where that is already. */
  readonly newcomersOnly?: true;
  allows(problem: Problem, s: number, n: number, standby: boolean): boolean;
}

function here(problem: Problem, s: number, n: number): boolean {
  const { start, width } = problem;
  for (let k = 0; k < width; k++) if (start[s * width + k] === n) return true;
  return false;
}

const draining: PlaceConstraint = {
  name: 'draining',
  description: 'leaves a node that is draining',
  allows: (problem, _s, n) => problem.draining[n] === 0,
};
const cordoned: PlaceConstraint = {
  name: 'cordoned',
  newcomersOnly: true,
  description: 'goes only to a node that is open, unless it is there already',
  allows: (problem, s, n) => problem.open[n] === 1 || here(problem, s, n),
};
const jurisdiction: PlaceConstraint = {
  name: 'jurisdiction',
  description: 'stays in the regions its service allows',
  allows: (problem, s, n) => regionAllowed(problem, s, problem.nodeRegion[n]!),
};
const pinned: PlaceConstraint = {
  name: 'pinned',
  description: 'stays on the node an operator pinned it to',
  allows: (problem, s, n, standby) => standby || problem.pinnedTo[s]! < 0 || problem.pinnedTo[s] === n,
};
const build: PlaceConstraint = {
  name: 'version',
  newcomersOnly: true,
  description: 'goes only where the build reads its state version, unless it is there already',
  allows: (problem, s, n) =>
    problem.buildReads[problem.buildClass[s]! * problem.nodeCount + n] === 1 || here(problem, s, n),
};
const saturated: PlaceConstraint = {
  name: 'saturated',
  newcomersOnly: true,
  description: 'is not moved while it saturates its node: its neighbours leave instead',
  allows: (problem, s, n, standby) =>
    standby || problem.saturating[s] === 0 || problem.start[s * problem.width] === n,
};

export const PLACE_CONSTRAINTS: readonly PlaceConstraint[] = [
  draining,
  cordoned,
  jurisdiction,
  pinned,
  build,
  saturated,
];
