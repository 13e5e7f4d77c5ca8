/**
 * Offered load of one shard over one measuring step (DESIGN §8): rejections included, migration work excluded.
 */
import type { Region, ShardId } from './ids.ts';

export interface OriginCounts {
  commands: number;
  queries: number;
}

export interface LoadSample {
  shard: ShardId;
  /** End of the step, Unix milliseconds. */
  atMs: number;
  stepMs: number;
  commands: number;
  queries: number;
  /** Of the above, those answered 503 for back-pressure: demand all the same. */
  rejected: number;
  byOrigin: Record<Region, OriginCounts>;
  /** Core-seconds used by handlers in the step, normalised by the node's speed. */
  cpuSeconds: number;
  /** Bytes of the state as last encoded. */
  stateBytes: number;
  bytesIn: number;
  bytesOut: number;
  /** Bytes of deltas written to the cell. */
  writeBytes: number;
  /** The node was saturated in this step: the sample is a lower bound of demand. */
  censored: boolean;
  /** `counter`: counts, CPU and bytes since the source began, not of this step. Skein's own nodes send steps. */
  kind?: 'gauge' | 'counter';
}

/** What a node tells of itself for the same step. */
export interface NodeSample {
  atMs: number;
  stepMs: number;
  /** Thread CPU of the event loop, core-seconds. */
  loopCpuSeconds: number;
  /** CPU of the whole process, core-seconds. */
  processCpuSeconds: number;
  rssBytes: number;
  replicas: number;
  eventLoopDelayMsP99: number;
}
