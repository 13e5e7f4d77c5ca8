/** A shard that killed two nodes is not carried to a third. */
import type { HoldConstraint } from './constraint.ts';

export const quarantined: HoldConstraint = {
  name: 'quarantined',
  description: 'is not moved while it is quarantined',
  holds: (shard) => shard.quarantined === true,
};
