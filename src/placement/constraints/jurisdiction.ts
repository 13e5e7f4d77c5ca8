/** Law before latency: a service may name the regions its shards may live in. */
import type { Constraint } from './constraint.ts';

export const jurisdiction: Constraint = {
  name: 'jurisdiction',
  description: 'stays in the regions its service allows',
  mustLeave: true,
  allows: (shard, node) => shard.allowedRegions === undefined || shard.allowedRegions.includes(node.region),
};
