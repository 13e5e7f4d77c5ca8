/** What a saved engine holds: plain data, so that a new leader goes on where the old one was. */
import type { HotState } from './hot.ts';
import type { RowSeriesState } from './row-series.ts';
import type { SharesState } from './shares.ts';

export interface EngineState {
  format: string;
  stepS: number;
  lastNumber: number | undefined;
  steps: number;
  periods: number[];
  shares: SharesState;
  means: { rows: number[]; services: number[]; prefixes?: number[] };
  bands: number[][][];
  total?: RowSeriesState;
  hot: HotState[];
  groups: { service: number; origin: number; series: RowSeriesState }[];
}
