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

/** Stands for the handlers of a service that are not told apart. */
export const OTHER_HANDLERS = '*';

/** What one handler of a service was asked on one node in a step, over all its shards, and what that took. */
export interface HandlerLoad {
  service: string;
  /** {@link OTHER_HANDLERS}: those beyond the ones that a node reports by name. */
  handler: string;
  requests: number;
  /** Of the above. */
  commands: number;
  /** Core-seconds, normalised by the node's speed. */
  cpuSeconds: number;
  bytesIn: number;
  bytesOut: number;
  writeBytes: number;
}

/** Adds a share of one handler's load to what is known of it, or of several as one. */
export function addHandlerLoad(into: HandlerLoad, load: HandlerLoad, share: number): void {
  into.requests += load.requests * share;
  into.commands += load.commands * share;
  into.cpuSeconds += load.cpuSeconds * share;
  into.bytesIn += load.bytesIn * share;
  into.bytesOut += load.bytesOut * share;
  into.writeBytes += load.writeBytes * share;
}

/** A node's work by handler, for the same step as its samples of shards. Handlers without any do not appear. */
export interface HandlerMix {
  /** End of the step, Unix milliseconds. */
  atMs: number;
  stepMs: number;
  handlers: HandlerLoad[];
}

/** Bytes of shards' states that were carried whole from node to node, and what that took of one end's CPU. */
export interface CopyWork {
  bytes: number;
  /** Core-seconds, normalised by the node's speed. */
  cpuSeconds: number;
}

/** Sums since a node's process began, of copies large enough to tell what a byte takes. */
export interface CopiesWork {
  /** As the target: receive, check, open. */
  in: CopyWork;
  /** As the source: encode, check, hand out. */
  out: CopyWork;
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
