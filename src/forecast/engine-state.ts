/** What a saved engine holds: plain data, so that a new leader goes on where the old one was. */
import type { SeriesState } from './series.ts';
import type { SharesState } from './shares.ts';

export interface EngineState {
  format: string;
  stepS: number;
  lastNumber: number | undefined;
  steps: number;
  periods: number[];
  shares: SharesState;
  means: { rows: number[]; services: number[] };
  bands: number[][][];
  total: SeriesState;
  hot: { index: number; rate: number; series: SeriesState }[];
  groups: { service: number; origin: number; series: SeriesState }[];
}
