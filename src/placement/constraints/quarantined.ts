/** A shard that killed two nodes is not carried to a third. */
import type { Constraint } from './constraint.ts';

export const quarantined: Constraint = {
  name: 'quarantined',
  description: 'is not moved while it is quarantined',
  mustLeave: false,
  allows: (shard, node) => shard.quarantined !== true || node.processId === shard.primary,
};
