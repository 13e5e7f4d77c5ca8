/** Odd readings: counters and their resets, times of their own, gaps, doubles, any order. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CounterReader, countsOf } from './counter.ts';
import { SeriesRun } from './run-series.ts';
import { parseSeries } from './series-record.ts';

const line = (fields: object) => parseSeries(JSON.stringify({ id: 'a', ...fields }));
const valuesOf = (fields: object) => Array.from(line(fields).v);

describe('a cumulative counter', () => {
  it('is learnt as what was counted a step; a drop is a reset', () => {
    expect(valuesOf({ t0: 0, step_s: 60, kind: 'counter', v: [100, 130, 130, 160, 20, 50] })).toEqual([
      Number.NaN,
      30,
      0,
      30,
      20,
      30,
    ]);
  });

  it('shares what was counted over a gap among its steps', () => {
    expect(valuesOf({ t0: 0, step_s: 60, kind: 'counter', v: [0, null, null, 30, 40] })).toEqual([
      Number.NaN,
      10,
      10,
      10,
      10,
    ]);
  });

  it('never counts less than nothing, and all that was counted where it was never reset', () => {
    const reading = fc.oneof(
      fc.double({ min: 0, max: 1e12, noNaN: true }),
      fc.constantFrom(Number.NaN, Number.POSITIVE_INFINITY, -5),
    );
    fc.assert(
      fc.property(fc.array(reading, { maxLength: 50 }), (readings) => {
        const reader = new CounterReader();
        for (const one of readings) {
          const count = reader.next(one);
          expect(Number.isNaN(count) || count >= 0).toBe(true);
        }
        const rising = readings.filter((one) => Number.isFinite(one) && one >= 0).sort((a, b) => a - b);
        const counts = countsOf(Float64Array.from(rising));
        const sum = counts.slice(1).reduce((all, one) => all + one, 0);
        const grown = rising.length === 0 ? 0 : rising[rising.length - 1]! - rising[0]!;
        expect(Math.abs(sum - grown)).toBeLessThanOrEqual(1e-6 * (1 + grown));
      }),
    );
  });

  it('is foreseen through its resets as if it had none', () => {
    const counts = Array.from({ length: 400 }, (_, t) => 50 + 20 * Math.sin((2 * Math.PI * t) / 24));
    let total = 0;
    const readings = counts.map((count, t) => {
      // The process restarts every 70 steps.
      total = (t % 70 === 0 ? 0 : total) + count;
      return total;
    });
    const answer = (fields: object) => {
      const record = line({ t0: 0, step_s: 3600, ...fields });
      const run = new SeriesRun(record, { windows: [] });
      run.advance(record.v.length);
      return run.forecast(24, [0.5]).quantiles[0]!;
    };
    const counter = answer({ kind: 'counter', v: readings });
    answer({ v: counts }).forEach((value, h) => {
      expect(Math.abs(counter[h]! - value)).toBeLessThan(6);
    });
  });

  it('says what is wrong with a kind it does not know', () => {
    expect(() => line({ t0: 0, step_s: 1, kind: 'histogram', v: [] })).toThrow(
      /neither "gauge" nor "counter"/,
    );
  });
});

describe('readings with times of their own', () => {
  it('late by a little, out of order and twice: each in its step, the later in the line of two with one time', () => {
    const record = line({
      step_s: 10,
      t: [1000, 1021, 1011, 1030.5, 1021],
      v: [1, 3, 2, 4, 5],
      censored: [2],
    });
    expect(record.t0).toBe(1000);
    expect(Array.from(record.v)).toEqual([1, 2, 5, 4]);
    expect([...record.censored]).toEqual([1]);
  });

  it('a gap is missing, several in a step are their mean, the step is found where it is not told', () => {
    const record = line({ t: [0, 60, 120, 122, 300], v: [1, 2, 3, 5, 9] });
    expect(record.step_s).toBe(60);
    expect(Array.from(record.v)).toEqual([1, 2, 4, Number.NaN, Number.NaN, 9]);
  });

  it('of a counter the last reading of a step counts, and a gap shares', () => {
    expect(valuesOf({ step_s: 60, kind: 'counter', t: [0, 60, 65, 240], v: [10, 18, 20, 50] })).toEqual([
      Number.NaN,
      10,
      10,
      10,
      10,
    ]);
  });

  it('covariates follow: history by its times, then the horizon', () => {
    const { covariates } = line({
      step_s: 10,
      t: [0, 30, 10],
      v: [1, 4, 2],
      covariates: { x: [5, 8, 6, 9, 10] },
    });
    expect(Array.from(covariates.get('x')!)).toEqual([5, 6, Number.NaN, 8, 9, 10]);
  });

  it('refuses what cannot be a series, in words', () => {
    expect(() => line({ step_s: 1, t: [1, 2], v: [1] })).toThrow(/"t" holds 2 times for 1 values/);
    expect(() => line({ step_s: 1, t: [0, 1.7e12], v: [1, 1] })).toThrow(/is one time in milliseconds/);
    expect(() => line({ t: [5, 5], v: [1, 2] })).toThrow(/no two different times/);
    expect(() => line({ step_s: 1, t: [null], v: [1] })).toThrow(/holds no time/);
    expect(() => line({ t0: 0, step_s: 1, v: [1, 2, 3], covariates: { x: [1] } })).toThrow(
      /holds 1 values for 3 steps/,
    );
    expect(() =>
      line({ t0: 0, step_s: 1, v: [1], events: [{ label: 'a', from: 0, to: 1, factor: -1 }] }),
    ).toThrow(/"factor"/);
  });
});
