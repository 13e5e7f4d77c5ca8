/** What a saved engine holds: plain data, so that a new leader goes on where the old one was. */
import type { CompanionsState } from './companions.ts';
import type { DecayedSumsState } from './decayed-sums.ts';
import type { HotState } from './hot.ts';
import type { MixState } from './mix.ts';
import type { RowSeriesState } from './row-series.ts';
import type { SharesState } from './shares.ts';

export interface EngineState {
  format: string;
  stepS: number;
  lastNumber: number | undefined;
  steps: number;
  periods: number[];
  shares: SharesState;
  means: DecayedSumsState;
  bands: number[][][];
  total?: RowSeriesState;
  hot: HotState[];
  groups: { service: number; origin: number; series: RowSeriesState }[];
  /** Absent from one saved before there were mixes. */
  mix?: MixState | undefined;
  /** Absent from one saved before it was known who surges together. */
  companions?: CompanionsState | undefined;
  /** Of everything above; absent from one saved before there were digests. */
  digest?: number;
}
