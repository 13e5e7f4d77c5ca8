/** What counts as truth where forecasts are scored. */
import { expect, it } from 'vitest';
import { addOrigins, emptyBacktest, finishBacktest } from './backtest-series.ts';
import { parseSeries } from './series-record.ts';

it('holds nothing against a step that was saturated, or no number', () => {
  const v = Array.from({ length: 60 }, (_, i) => 10 + (i % 5));
  const scored = (change: (line: { v: (number | null)[]; censored?: number[] }) => void) => {
    const line = { id: 'a', t0: 0, step_s: 3600, v: [...v] as (number | null)[] };
    change(line);
    const sums = emptyBacktest(5);
    // 1e999 is what JSON has for infinity.
    addOrigins(sums, parseSeries(JSON.stringify(line).replaceAll('"inf"', '1e999')), 5, 1);
    return finishBacktest(sums).at(-1)!;
  };
  const missing = scored((line) => {
    line.v[57] = null;
  });
  const saturated = scored((line) => {
    line.v[57] = 1000;
    line.censored = [57];
  });
  const infinite = scored((line) => {
    line.v[57] = 'inf' as unknown as number;
  });
  expect(saturated).toEqual(missing);
  expect(infinite).toEqual(missing);
  expect(missing.engine.sql).toBeLessThan(1);
});
