/**
 * `skein/forecast`: an online forecaster of per-shard load, and the simple ones it is measured against.
 *
 * @example
 * import { engineForecaster, LoadWindows } from 'skein/forecast';
 * const windows = new LoadWindows({ stepMs: 1000 });
 * const engine = engineForecaster();
 * windows.ingest(samples, 'node-1');
 * for (const step of windows.close(nowMs)) engine.observe(step);
 * const [forecast] = engine.forecast(['room/lobby'], [2, 10, 60]);
 */
import { type EngineOptions, ForecastEngine } from './engine.ts';
import type { Forecaster } from './forecaster.ts';

export { type LoadStep, LoadWindows } from '../metrics/index.ts';
export {
  type BankOptions,
  type SavedRow,
  SeriesBank,
} from './bank/bank.ts';
export { COVARIATES_MAX } from './bank/covariates.ts';
export { EventEffects, type EventsState, type StepEvent } from './bank/events.ts';
export {
  BATCH_FEATURES_PER_HORIZON,
  BATCH_FEATURES_STATIC,
  BATCH_HORIZONS_MAX,
  type BatchExpert,
  type BatchWindowInput,
  batchFeatureCount,
  writeBatchWindow,
} from './batch-expert.ts';
export { CounterReader, countsOf } from './counter.ts';
export { type Declared, factorAt, withDeclared } from './declared.ts';
export { type EngineOptions, ForecastEngine } from './engine.ts';
export { type CostOfRequests, flatForecast, type OriginRates } from './flat.ts';
export type { Forecaster } from './forecaster.ts';
export { lastValueForecaster } from './last-value.ts';
export {
  NETWORK_HORIZON_STEPS,
  NetworkExpert,
  type NetworkExpertOptions,
  networkExpert,
} from './network/expert.ts';
export {
  type ClosableExpert,
  nativeNetworkExpert,
  type OnnxExpertOptions,
  type OnnxOptions,
  onnxExpert,
} from './network/onnx.ts';
export { type OracleSource, oracleForecaster } from './oracle.ts';
export { detectPeriods, type PeriodSource } from './period.ts';
export { type FallenBack, type RunOptions, type SeriesAnswer, SeriesRun } from './run-series.ts';
export { parseSeries, type SeriesEvent, type SeriesRecord } from './series-record.ts';
export { SeriesStream, type StreamOptions, type StreamState } from './stream.ts';
export type { Watched, WatchOptions } from './watch.ts';

/** The predictive policy's forecaster. */
export function engineForecaster(options: EngineOptions = {}): Forecaster {
  return new ForecastEngine(options);
}
