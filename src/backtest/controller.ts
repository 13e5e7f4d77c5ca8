/** What a policy is given, and what it does: between the replay, which drives it, and the policies. */
import type { ShardForecast } from '../model/loop.ts';
import type { TotalDemand } from './fleet.ts';

/** What is known at the end of a step; the same for all runs of a policy. */
export interface StepView {
  /** Requests a second measured in the step: `[shard * regions + origin]`. */
  rates: Float64Array;
  /** Of the planned policies: one a shard, in the workload's order. */
  forecasts?: readonly ShardForecast[];
  /**
   * Of the planned policies: requests a second of all shards together at each horizon of the lead; bands are not summed. What
   * shards are forecast for beyond those tells only where their users will be.
   */
  total?: TotalDemand;
}

/** What was learnt before the run: fixed fleets are bought for it. */
export interface Learnt {
  meanRates: Float64Array;
  /** Greatest CPU of the shards at home in each region, core-seconds a second. */
  peakCpu: Float64Array;
}

export interface Controller {
  begin(view: StepView): void;
  decide(view: StepView): void;
  /** A node became ready inside the step. */
  nodeReady(): void;
}
