/** A node that is being emptied keeps nothing. */
import type { PlaceConstraint } from './constraint.ts';

export const draining: PlaceConstraint = {
  name: 'draining',
  description: 'leaves a node that is draining',
  allows: (problem, _s, n) => problem.draining[n] === 0,
};
