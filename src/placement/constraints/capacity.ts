/** A node takes no shard that would fill it at p90: memory and network wholly, CPU to nine tenths of an event loop. */
import type { Constraint } from './constraint.ts';

/** Above it an event loop answers late whatever the mean says. */
export const CPU_SHARE_MAX = 0.9;

export const capacity: Constraint = {
  name: 'capacity',
  description: 'goes only where its demand at p90 fits beside what is there',
  mustLeave: false,
  allows(shard, node, context) {
    const used = context.usedAtP90(node, shard);
    const demand = context.demandAtP90(shard);
    return (
      used.cpu + demand.cpu <= node.capacity.cpu * CPU_SHARE_MAX &&
      used.memoryBytes + demand.memoryBytes <= node.capacity.memoryBytes &&
      used.networkBytesPerSecond + demand.networkBytesPerSecond <= node.capacity.networkBytesPerSecond
    );
  },
};
