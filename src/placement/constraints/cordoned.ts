/** A cordoned node keeps what it has and takes nothing new. */
import { isHere, type PlaceConstraint } from './constraint.ts';

export const cordoned: PlaceConstraint = {
  name: 'cordoned',
  newcomersOnly: true,
  description: 'goes only to a node that is open, unless it is there already',
  allows: (problem, s, n) => problem.open[n] === 1 || isHere(problem, s, n),
};
