/** Draining and cordoned nodes take nothing new. */
import type { Constraint } from './constraint.ts';

export const open: Constraint = {
  name: 'open',
  description: 'moves only to a node that is open: neither cordoned nor draining',
  mustLeave: false,
  allows: (_shard, node) => node.open && !node.draining,
};
