/**
 * A node takes no shard that would fill it at p90, in any step: memory and network wholly, CPU to nine tenths of an event loop.
 * A node's load is kept incrementally (`solver/state.ts`, `fits`): means and variances of what is on it are added, never bands.
 */

/** Above it an event loop answers late whatever the mean says. */
export const CPU_SHARE_MAX = 0.9;

export const capacity = {
  name: 'capacity',
  description: 'goes only where its demand at p90 fits beside what is there',
} as const;
