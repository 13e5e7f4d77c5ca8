/** An older build cannot read newer state: it would refuse to open the shard. */
import { isHere, type PlaceConstraint } from './constraint.ts';

export const version: PlaceConstraint = {
  name: 'version',
  newcomersOnly: true,
  description: 'goes only where the build reads its state version, unless it is there already',
  allows: (problem, s, n) =>
    problem.buildReads[problem.buildClass[s]! * problem.nodeCount + n] === 1 || isHere(problem, s, n),
};
