/**
 * What is believed of a series before it has said anything: how the experts usually compare, and how errors usually
 * grow with the horizon. Measured over the public series by `bench/forecast`.
 */

import { EXPERTS } from './layout.ts';

/** Loss of each expert against the mixture's, for each bucket of horizons. */
export const EXPERT_PRIOR: readonly (readonly number[])[] = [0, 1, 2, 3, 4, 5].map(() =>
  new Array<number>(EXPERTS).fill(1),
);

/** Mean absolute error of the mixture, in units of the one-step noise around the level. */
export const SPREAD_PRIOR = [0.9, 1, 1.1, 1.25, 1.4, 1.6] as const;
