/**
 * A shard that saturates its node is not moved: its snapshot and its hand-off would compete with its requests, and the move
 * makes worse what it is to cure. Its cold neighbours leave instead.
 */
import type { Constraint } from './constraint.ts';

export const saturated: Constraint = {
  name: 'saturated',
  description: 'is not moved while it saturates its node: its neighbours leave instead',
  mustLeave: false,
  allows: (shard, node, context) => node.processId === shard.primary || !context.saturates(shard),
};
