/** Batch experts beside the controller's rows: believed where they are right, harmless where they are not. */
import { describe, expect, it } from 'vitest';
import { DemoLoad } from '../../test/scenarios/demo-load.ts';
import type { BatchExpert } from './batch-expert.ts';
import { ForecastEngine } from './engine.ts';
import { RowSeries, seriesBank } from './row-series.ts';

/** A load that nobody foresees from its past. */
function drawn(steps: number): number[] {
  let seed = 11;
  return Array.from({ length: steps }, () => {
    seed = (seed * 48_271) % 2_147_483_647;
    return 10 + (90 * seed) / 2_147_483_647;
  });
}

const HORIZONS = [1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 16, 20, 24, 30, 40, 75, 120, 200];

/** Knows what comes, by the newest value it is shown. */
function oracle(values: readonly number[], factor: number): BatchExpert {
  return {
    name: 'oracle',
    contextSteps: 8,
    horizonSteps: HORIZONS,
    quantiles: [0.5, 0.9, 0.99],
    forecast(contexts, features, count, out) {
      const width = features.length / count;
      for (let row = 0; row < count; row++) {
        const known = Math.round(2 ** (features[row * width + 3]! * 16) - 1);
        const level = values[known - 1]! / Math.sinh(contexts[row * 8 + 7]!);
        HORIZONS.forEach((ahead, h) => {
          const said = Math.asinh((factor * (values[known + ahead - 1] ?? 50)) / level);
          out.fill(said, (row * HORIZONS.length + h) * 3, (row * HORIZONS.length + h) * 3 + 3);
        });
      }
    },
  };
}

function errorOf(values: readonly number[], experts: readonly BatchExpert[]): number {
  const series = new RowSeries(seriesBank(300, { experts }));
  let sum = 0;
  for (let t = 0; t < 600; t++) {
    series.observe(values[t]!);
    if (t >= 400)
      for (const ahead of [1, 4, 12]) sum += Math.abs(series.predict(ahead).p50 - values[t + ahead]!);
  }
  return sum;
}

describe('experts asked about rows', () => {
  it('are believed where they are right, and not where they are wrong', () => {
    const values = drawn(700);
    const alone = errorOf(values, []);
    expect(errorOf(values, [oracle(values, 1)])).toBeLessThan(0.4 * alone);
    expect(errorOf(values, [oracle(values, 5)])).toBeLessThan(1.15 * alone);
  });

  it('leave forecasts finite and in order, and a saved engine goes on with them only', () => {
    const load = new DemoLoad({ seed: 'net', keys: 50, dayS: 30, requestsPerSecond: 100, crowdsPerDay: 0 });
    const wild: BatchExpert = {
      name: 'wild',
      contextSteps: 4,
      horizonSteps: [1, 200],
      quantiles: [0.5],
      forecast: (_contexts, _features, count, out) => {
        out.forEach((_, i) => {
          out[i] = [Number.NaN, 80, -80][(i + count) % 3]!;
        });
      },
    };
    const engine = new ForecastEngine({ experts: [wild] });
    for (let number = 1; number <= 90; number++) engine.observe(load.step(number));
    const { quantiles } = engine.forecast([load.ids[0]!], [2, 8, 60])[0]!.metrics.requests;
    quantiles[0].forEach((p50, h) => {
      expect(Number.isFinite(quantiles[2][h]!)).toBe(true);
      expect(quantiles[1][h]!).toBeGreaterThanOrEqual(p50);
    });
    expect(engine.total([8]).p50[0]!).toBeLessThan(2000);
    const saved = JSON.parse(JSON.stringify(engine.save()));
    new ForecastEngine({ experts: [wild] }).load(saved);
    expect(() => new ForecastEngine().load(saved)).toThrow(RangeError);
  });
});
