/**
 * Policies by name. All that move share one planner and differ in the forecaster; `static` and `bestFixed` do not move.
 */
import type { BatchExpert } from '../forecast/batch-expert.ts';
import {
  engineForecaster,
  type Forecaster,
  lastValueForecaster,
  type OracleSource,
  oracleForecaster,
} from '../forecast/index.ts';
import type { PolicyName } from '../model/loop.ts';
import type { Placer } from './input.ts';
import { createPlacer, stillPlacer } from './place.ts';

export interface Policy {
  name: PolicyName;
  forecaster: Forecaster;
  placer: Placer;
}

/**
 * Half-life of the reactive policy's smoothing, seconds. Tuned on a seed that no comparison uses (bench/loop.ts --tune, days
 * of 30 s): 0.5 s 67.1 ms, 4 s 73.5, 16 s 68.5, 32 s 66.5, 64 s 65.8, 128 s 66.3. Where a move takes a good part of the
 * day, the best that one can do without foresight is to average days.
 */
export const REACTIVE_HALF_LIFE_S = 64;

/**
 * @param options.experts for `predictive`: asked about groups, hot shards and the total
 * @param options.oracle true future rates; needed by `oracle`
 * @throws RangeError for `oracle` without a source
 * @example
 * const { forecaster, placer } = createPolicy('predictive');
 */
export function createPolicy(
  name: PolicyName,
  options: { halfLifeS?: number; oracle?: OracleSource; experts?: readonly BatchExpert[] } = {},
): Policy {
  const lastValue = () => lastValueForecaster({ halfLifeS: options.halfLifeS ?? REACTIVE_HALF_LIFE_S });
  switch (name) {
    case 'static':
    case 'bestFixed':
      return { name, forecaster: lastValue(), placer: stillPlacer() };
    case 'reactive':
      return { name, forecaster: lastValue(), placer: createPlacer() };
    case 'predictive':
      return { name, forecaster: engineForecaster({ experts: options.experts }), placer: createPlacer() };
    case 'oracle':
      if (options.oracle === undefined)
        throw new RangeError('the oracle policy needs true future rates: pass { oracle }');
      return { name, forecaster: oracleForecaster(options.oracle), placer: createPlacer() };
  }
}
