/** The hard constraints of a replica and a node, in the order in which they are asked; and those that hold a shard still. */

import type { Problem } from '../solver/problem.ts';
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

/**
 * Whether all of them allow it. The list again, written out, so that the engine takes every question into the loop that asks it (tens
 * of millions of times a solve): a loop over the list could be that for none. Its test holds the two against each other.
 */
export function allAllow(problem: Problem, s: number, n: number, standby: boolean): boolean {
  return (
    draining.allows(problem, s, n, standby) &&
    cordoned.allows(problem, s, n, standby) &&
    jurisdiction.allows(problem, s, n, standby) &&
    pinned.allows(problem, s, n, standby) &&
    version.allows(problem, s, n, standby) &&
    saturated.allows(problem, s, n, standby)
  );
}

export const HOLD_CONSTRAINTS: readonly HoldConstraint[] = [inFlight, quarantined];
