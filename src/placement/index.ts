/**
 * `skein/placement`: where shards should be, and why.
 *
 * @example
 * import { createPlacer, horizonsFor } from 'skein/placement';
 * const placer = createPlacer();
 * const { relocations, reason } = placer.place({ nodes, shards, topology, cells });
 */
export { bestFixedPlacement } from './best-fixed.ts';
export { CONSTRAINTS, type Constraint, type ConstraintContext } from './constraints/index.ts';
export * from './defaults.ts';
export * from './input.ts';
export { createPlacer, stillPlacer } from './place.ts';
export { createPolicy, POLICIES, type Policy, type PolicyName, REACTIVE_HALF_LIFE_S } from './policies.ts';
