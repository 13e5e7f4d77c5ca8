/** One migration at a time: plan from what is under way, not from what is observed. */
import type { HoldConstraint } from './constraint.ts';

export const inFlight: HoldConstraint = {
  name: 'in-flight',
  description: 'stays with the target of the migration that is under way',
  holds: (shard) => shard.inFlightTo !== undefined,
};
