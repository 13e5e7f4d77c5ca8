/**
 * `skein/placement`: where shards should be, and why.
 *
 * @example
 * import { createPlacer, horizonsFor } from 'skein/placement';
 * const placer = createPlacer();
 * const { relocations, reason } = placer.place({ nodes, shards, topology, cells });
 */
export { bestFixedPlacement } from './best-fixed.ts';
export { commonVariation } from './common-variation.ts';
export * from './defaults.ts';
export * from './input.ts';
export { type Built, ProblemBuilder, weightsOf } from './instance/build.ts';
export { type Generated, type GenerateOptions, generateInstance } from './instance/generate.ts';
export { InstanceError, InstanceReader, LIMITS } from './instance/read.ts';
export * from './instance/types.ts';
export { createPlacer, stillPlacer } from './place.ts';
export { createPolicy, type Policy, REACTIVE_HALF_LIFE_S } from './policies.ts';
export { type Check, check, type Violation } from './solver/check.ts';
export { nearestFeasible } from './solver/greedy.ts';
export { repair } from './solver/missing.ts';
export { costOf, movesOf } from './solver/objective.ts';
export type { Names, Problem } from './solver/problem.ts';
export {
  DEFAULT_BUDGET,
  type SolveBudget,
  type SolveOptions,
  type SolveResult,
  solve,
} from './solver/solve.ts';
export { type Why, whyPlaced } from './solver/why.ts';
