/** A node that is being emptied keeps nothing. */
import type { Constraint } from './constraint.ts';

export const draining: Constraint = {
  name: 'draining',
  description: 'leaves a node that is draining',
  mustLeave: true,
  allows: (_shard, node) => !node.draining,
};
