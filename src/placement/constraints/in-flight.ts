/** One migration at a time: plan from what is under way, not from what is observed. */
import type { Constraint } from './constraint.ts';

export const inFlight: Constraint = {
  name: 'in-flight',
  description: 'stays with the target of the migration that is under way',
  mustLeave: false,
  allows: (shard, node) => shard.inFlightTo === undefined || shard.inFlightTo === node.processId,
};
