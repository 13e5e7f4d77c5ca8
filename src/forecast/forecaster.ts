/**
 * What a forecaster is, for whoever closes the loop: policies differ in the forecaster and in nothing else.
 */
import type { LoadStep } from '../metrics/step.ts';
import type { ShardId } from '../model/ids.ts';
import type { ForecastExplanation, ForecastQuality, HandlerShare, ShardForecast } from '../model/loop.ts';

export interface Forecaster {
  /**
   * Learns a closed step. Steps come in order of their numbers; a gap is a time nothing is known of, and a step that comes
   * late or twice is passed over. Numbers that are negative, not finite or beyond 1e30 count as zero.
   */
  observe(step: LoadStep): void;
  /**
   * Foresees every shard asked for, from the end of the last step observed; a shard never seen gets its service's mean.
   *
   * @param horizonsS seconds ahead, ascending, above zero
   */
  forecast(shards: readonly ShardId[], horizonsS: readonly number[]): ShardForecast[];
  explain(shard: ShardId): ForecastExplanation;
  /** All requests a second, at the horizons: the aggregate is forecast as such, bands are not summed. */
  total(horizonsS: readonly number[]): { p50: number[]; p90: number[]; p99: number[] };
  /** Requests a second of one service, without what its hot shards know of their own. Zeros for one never seen. */
  service?(name: string, horizonsS: readonly number[]): { p50: number[]; p90: number[]; p99: number[] };
  /**
   * A set of shards (a node's, a region's) forecast as one: errors that shards share add up, those of their own do not,
   * so its p90 is below the sum of theirs. `shard` is empty.
   */
  aggregate?(shards: readonly ShardId[], horizonsS: readonly number[]): ShardForecast;
  /** By which handlers a service is asked, of late and at the horizons, largest share first; empty where nobody told. */
  mix?(service: string, horizonsS: readonly number[]): HandlerShare[];
  /** How forecasts of all requests did, by horizon; none before any was held against what came. */
  quality?(): ForecastQuality[];
  /** Plain data for JSON or msgpack; a new leader goes on from it. */
  save(): unknown;
  /**
   * Before anything was observed.
   *
   * @throws {RangeError} for what {@link save} did not make, or not as it is: cut off, mixed, edited. Take a new one then.
   */
  load(state: unknown): void;
}
