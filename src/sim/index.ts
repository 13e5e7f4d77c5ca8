/**
 * `skein/testing`: the whole cluster in one process, on virtual time, under seeded faults.
 *
 * @module
 */
export type { SimClusterOptions } from './cluster.ts';
export { SimCluster } from './cluster.ts';
export { type FinalState, History, type Operation, type Violation } from './history.ts';
export { RandomEngine } from './random-engine.ts';
export { type SimulationOptions, type SimulationReport, simulate } from './simulate.ts';
export { World } from './world.ts';
