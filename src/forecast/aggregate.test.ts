/**
 * Many shards as one. Test plan: shards that follow a shared day, with counting noise of their own; the p90 of a node's
 * load holds as often as promised and is well below the sum of its shards' p90s, up to 24 hours ahead.
 */
import { describe, expect, it } from 'vitest';
import { DemoLoad } from '../../test/scenarios/demo-load.ts';
import { ForecastEngine } from './engine.ts';

const HORIZONS_S = [60, 300, 3600, 86_400];

describe('an aggregate', () => {
  const load = new DemoLoad({
    seed: 'sum',
    keys: 120,
    dayS: 1440,
    stepS: 60,
    requestsPerSecond: 4,
    crowdsPerDay: 0,
  });
  const engine = new ForecastEngine();
  const node = load.ids.filter((_, i) => i % 4 === 0);
  const regions = load.regions.length;
  /** What the node's shards were truly to be asked a second, with counting noise of one step. */
  const truth = (number: number) => {
    let sum = 0;
    for (let i = 0; i < load.ids.length; i += 4)
      for (let origin = 0; origin < regions; origin++) sum += load.rate(i, origin, number * 60);
    return sum;
  };
  let below = 0;
  let asked = 0;
  let error = 0;
  let sum = 0;
  for (let number = 1; number <= 240; number++) {
    engine.observe(load.step(number));
    if (number < 120 || number % 3 !== 0) continue;
    const { quantiles } = engine.aggregate(node, [60]).metrics.requests;
    const actual = truth(number + 1);
    error += Math.abs(quantiles[0][0]! - actual);
    sum += actual;
    if (actual <= quantiles[1][0]!) below++;
    asked++;
  }
  const forecast = engine.aggregate(node, HORIZONS_S);
  const single = engine.forecast(node, HORIZONS_S);

  it('is near what comes, and its p90 holds', () => {
    expect(error / sum).toBeLessThan(0.25);
    expect(below / asked).toBeGreaterThan(0.8);
  });

  it('has every metric, finite and in order, from a minute to a day ahead', () => {
    for (const metric of Object.values(forecast.metrics)) {
      const [p50, p90, p99] = metric.quantiles;
      HORIZONS_S.forEach((_, h) => {
        expect(p50[h]!).toBeGreaterThan(0);
        expect(p90[h]!).toBeGreaterThanOrEqual(p50[h]!);
        expect(p99[h]!).toBeGreaterThanOrEqual(p90[h]!);
        expect(Number.isFinite(p99[h]!)).toBe(true);
      });
      expect(metric.max[0]).toBeGreaterThanOrEqual(Math.max(...p50) * 0.999);
      expect(metric.max[2]).toBeGreaterThanOrEqual(metric.max[1]);
    }
  });

  it('expects the sum of its shards, with a band far narrower than the sum of theirs', () => {
    const requests = forecast.metrics.requests.quantiles;
    HORIZONS_S.forEach((_, h) => {
      const sums = [0, 1].map((q) =>
        single.reduce((all, one) => all + one.metrics.requests.quantiles[q]![h]!, 0),
      );
      expect(Math.abs(requests[0][h]! / sums[0]! - 1)).toBeLessThan(1e-6);
      expect(requests[1][h]! - requests[0][h]!).toBeLessThan(0.7 * (sums[1]! - sums[0]!));
      const byOrigin = Object.values(forecast.byOrigin).reduce(
        (all, { commands, queries }) => all + commands[h]! + queries[h]!,
        0,
      );
      expect(Math.abs(byOrigin / requests[0][h]! - 1)).toBeLessThan(1e-6);
    });
  });

  it('of nothing is nothing, and of a service all of its groups', () => {
    const nothing = engine.aggregate([], [60]).metrics;
    expect(nothing.requests.quantiles[0][0]).toBe(0);
    expect(nothing.memory.max[0]).toBe(0);
    const room = engine.service('room', [60]);
    const total = engine.total([60]);
    expect(Math.abs(room.p50[0]! / total.p50[0]! - 1)).toBeLessThan(0.35);
    expect(room.p90[0]!).toBeGreaterThan(room.p50[0]!);
    expect(engine.service('nobody', [60]).p99).toEqual([0]);
  });
});
