/**
 * Grafana's augurs (Rust, as WebAssembly) on the tasks: what somebody in JavaScript would take instead of the engine.
 *
 * Boundary: answers in the form of `classics.R`, so that both are scored alike; p90 is the upper end of the 80 %
 * interval, p99 that of the 98 % interval. Missing values are filled on straight lines, as `na.interp` does.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { AutoETS, initSync as initEts } from '@bsull/augurs/ets';
import { initSync as initMstl, MSTL } from '@bsull/augurs/mstl';
import type { Task } from './tasks.ts';

/** Above it a season is left to MSTL: exponential smoothing with so many states is not fitted, in R neither. */
const ETS_SEASON_MAX = 24;
const HOURS_A_DAY = 24;
const HOURS_A_WEEK = 168;

export interface ClassicAnswer {
  task: string;
  method: string;
  seconds: number;
  /** Absent where it failed. */
  q?: Record<string, number[]>;
  failed?: string;
}

/** Both models, to be fitted anew for each task. Loads the modules once. */
export function augursMethods(): Record<string, (task: Task) => ClassicAnswer> {
  const folder = createRequire(import.meta.url)
    .resolve('@bsull/augurs')
    .replace(/[^/\\]*$/, '');
  initEts({ module: readFileSync(`${folder}ets_bg.wasm`) });
  initMstl({ module: readFileSync(`${folder}mstl_bg.wasm`) });
  return {
    augurs_ets: answering('augurs_ets', (_, season) =>
      season > 1 && season <= ETS_SEASON_MAX ? new AutoETS(season, 'ZZZ') : new AutoETS(1, 'ZZN'),
    ),
    augurs_mstl: answering('augurs_mstl', (values, season) => {
      if (season <= 1) return undefined;
      const isWeekly = season === HOURS_A_DAY && values.length >= 2 * HOURS_A_WEEK;
      return MSTL.ets(isWeekly ? [HOURS_A_DAY, HOURS_A_WEEK] : [season]);
    }),
  };
}

interface Model {
  fit(values: Float64Array): void;
  predict(horizon: number, level: number): { point: number[]; intervals: { upper: number[] } | undefined };
  free(): void;
}

function answering(method: string, make: (values: Float64Array, season: number) => Model | undefined) {
  return ({ task, context, truth, season }: Task): ClassicAnswer => {
    const startedMs = performance.now();
    const done = (rest: Pick<ClassicAnswer, 'q' | 'failed'>): ClassicAnswer => ({
      task,
      method,
      seconds: (performance.now() - startedMs) / 1_000,
      ...rest,
    });
    const values = filled(context);
    let model: Model | undefined;
    try {
      model = make(values, values.length >= 2 * season + 1 ? season : 1);
      if (model === undefined) return done({ failed: 'no season in the context' });
      model.fit(values);
      const p90 = model.predict(truth.length, 0.8);
      const p99 = model.predict(truth.length, 0.98);
      if (!p90.intervals || !p99.intervals) return done({ failed: 'no intervals' });
      return done({ q: { '0.5': p90.point, '0.9': p90.intervals.upper, '0.99': p99.intervals.upper } });
    } catch (error) {
      return done({ failed: String(error) });
    } finally {
      model?.free();
    }
  };
}

/** Gaps on straight lines; before the first and after the last value that one holds. */
function filled(context: readonly (number | null)[]): Float64Array {
  const values = Float64Array.from(context, (value) => value ?? Number.NaN);
  let last = -1;
  for (let i = 0; i <= values.length; i++) {
    if (i < values.length && Number.isNaN(values[i]!)) continue;
    const before = last < 0 ? values[i] : values[last];
    const after = i < values.length ? values[i] : values[last];
    for (let gap = last + 1; gap < i; gap++)
      values[gap] = before! + ((after! - before!) * (gap - last)) / (i - last);
    last = i;
  }
  return values;
}
