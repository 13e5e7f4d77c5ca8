/** An operator's word stands above every price. */
import type { PlaceConstraint } from './constraint.ts';

export const pinned: PlaceConstraint = {
  name: 'pinned',
  description: 'stays on the node an operator pinned it to',
  allows: (problem, s, n, standby) => standby || problem.pinnedTo[s]! < 0 || problem.pinnedTo[s] === n,
};
