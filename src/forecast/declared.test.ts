/** Declared signals on forecasts: when they act, on what, and that they never take room away. */
import { describe, expect, it } from 'vitest';
import type { MetricForecast, ShardForecast } from '../model/loop.ts';
import { factorAt, withDeclared } from './declared.ts';

const metric = (level: number): MetricForecast => ({
  quantiles: [
    [level, level],
    [2 * level, 2 * level],
    [3 * level, 3 * level],
  ],
  max: [1.5 * level, 2.5 * level, 3.5 * level],
});
const forecast: ShardForecast = {
  shard: 'room/a',
  horizonsS: [60, 600],
  metrics: {
    requests: metric(10),
    cpu: metric(1),
    memory: metric(1000),
    networkIn: metric(5),
    networkOut: metric(7),
  },
  byOrigin: { eu: { commands: [4, 4], queries: [6, 6] } },
};

describe('a declared signal', () => {
  it('acts within its time on everything that follows requests, and widens the bands', () => {
    const found = withDeclared(forecast, [{ fromS: 500, toS: 900, factor: 3 }]);
    expect(found.metrics.requests.quantiles[0]).toEqual([10, 30]);
    expect(found.metrics.requests.quantiles[1]![1]).toBe(20 * 3.5);
    expect(found.metrics.cpu.quantiles[0]).toEqual([1, 3]);
    expect(found.metrics.memory).toEqual(forecast.metrics.memory);
    expect(found.metrics.requests.max[1]).toBeGreaterThanOrEqual(20 * 3.5);
    expect(found.byOrigin.eu!.commands).toEqual([4, 12]);
  });

  it('that is over, or not near, changes nothing', () => {
    expect(withDeclared(forecast, [{ fromS: -900, toS: -1, factor: 9 }])).toBe(forecast);
    expect(withDeclared(forecast, [{ fromS: 601, toS: 900, factor: 9 }])).toBe(forecast);
  });

  it('sends the extra to the origin that was declared', () => {
    const found = withDeclared(forecast, [{ fromS: 0, toS: 100, factor: 2, origin: 'us' }]);
    expect(found.byOrigin.eu!.queries).toEqual([6, 6]);
    expect(found.byOrigin.us).toEqual({ commands: [4, 0], queries: [6, 0] });
  });

  it('below one lowers what is expected, and takes no room away', () => {
    const found = withDeclared(forecast, [{ fromS: 0, toS: 100, factor: 0.1 }]);
    expect(found.metrics.requests.quantiles[0]![0]).toBe(1);
    expect(found.metrics.requests.quantiles[1]![0]).toBe(20);
    expect(found.metrics.requests.max).toEqual(forecast.metrics.requests.max);
  });

  it('multiplies with others, within bounds', () => {
    const twice = { fromS: 0, toS: 100, factor: 2 };
    expect(factorAt([twice, twice], 60)).toBe(4);
    expect(factorAt([{ ...twice, factor: 1e9 }], 60)).toBe(1000);
    expect(factorAt([{ ...twice, factor: Number.NaN }], 60)).toBe(1);
  });
});
