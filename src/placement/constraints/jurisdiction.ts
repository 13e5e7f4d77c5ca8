/** Law before latency: a service may name the regions its shards may live in. */
import { regionAllowed } from '../solver/problem.ts';
import type { PlaceConstraint } from './constraint.ts';

export const jurisdiction: PlaceConstraint = {
  name: 'jurisdiction',
  description: 'stays in the regions its service allows',
  allows: (problem, s, n) => regionAllowed(problem, s, problem.nodeRegion[n]!),
};
