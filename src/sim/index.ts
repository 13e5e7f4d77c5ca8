/**
 * `skein/testing`: the whole cluster in one process, on virtual time, under seeded faults.
 *
 * @module
 */
export type { SimClusterOptions } from './cluster.ts';
export { SimCluster } from './cluster.ts';
export { History, type Operation, type Rule, type Violation } from './history.ts';
export { linearize, type SequentialModel, type TimedOperation } from './linearizability.ts';
export { RandomEngine } from './random-engine.ts';
export { FAULT_NAMES, FAULTS, type Fault, type FaultName, formatFault } from './schedule.ts';
export { minimize, simulateMany } from './shrink.ts';
export {
  type FinishedRun,
  type Invariant,
  type Kept,
  type SimulationOptions,
  type SimulationReport,
  simulate,
} from './simulate.ts';
export type { PlannedRequest, Workload, WorkloadClient } from './workload.ts';
export { World } from './world.ts';
