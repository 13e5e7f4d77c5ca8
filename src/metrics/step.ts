/**
 * One closed measuring step: what the loop's later parts see of the load. Plain data, safe to send to a worker.
 */
import type { HandlerLoad, LoadSample } from '../model/load.ts';

export interface LoadStep {
  /** Number of the step since the Unix epoch: end of step divided by its length. Gaps mean that nothing was heard. */
  number: number;
  /** End of the step, Unix milliseconds. */
  atMs: number;
  stepS: number;
  /** One merged sample for each shard with any activity; idle shards do not appear. */
  shards: LoadSample[];
  /** Work of each service by handler, over all nodes that told it; absent where none did. */
  mix?: HandlerLoad[];
  /** Share of the load (0 to below 1) whose node did not report in this step: missing, not zero. */
  missingShare: number;
}
