/**
 * A shard that saturates its node is not moved: its snapshot and its hand-off would compete with its requests, and the move
 * makes worse what it is to cure. Its cold neighbours leave instead.
 */
import type { PlaceConstraint } from './constraint.ts';

export const saturated: PlaceConstraint = {
  name: 'saturated',
  newcomersOnly: true,
  description: 'is not moved while it saturates its node: its neighbours leave instead',
  allows: (problem, s, n, standby) =>
    standby || problem.saturating[s] === 0 || problem.start[s * problem.width] === n,
};
