/** The hard constraints of a replica and a node, in the order in which they are asked; and those that hold a shard still. */
import type { HoldConstraint, PlaceConstraint } from './constraint.ts';
import { cordoned } from './cordoned.ts';
import { draining } from './draining.ts';
import { inFlight } from './in-flight.ts';
import { jurisdiction } from './jurisdiction.ts';
import { pinned } from './pinned.ts';
import { quarantined } from './quarantined.ts';
import { saturated } from './saturated.ts';
import { version } from './version.ts';

export const PLACE_CONSTRAINTS: readonly PlaceConstraint[] = [
  draining,
  cordoned,
  jurisdiction,
  pinned,
  version,
  saturated,
];

export const HOLD_CONSTRAINTS: readonly HoldConstraint[] = [inFlight, quarantined];
