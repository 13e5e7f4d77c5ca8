/** An operator's word stands above every price. */
import type { Constraint } from './constraint.ts';

export const pinned: Constraint = {
  name: 'pinned',
  description: 'stays on the node an operator pinned it to',
  mustLeave: true,
  allows: (shard, node) => shard.pinnedTo === undefined || shard.pinnedTo === node.processId,
};
