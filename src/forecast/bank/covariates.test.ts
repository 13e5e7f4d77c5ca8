/**
 * Covariates of a series. Test plan: loads whose cause is known and covariates that are it, are not, or are nonsense;
 * with a true one forecasts are much better, with any other they are hardly worse and never wild.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SeriesStream } from '../stream.ts';
import { CovariateFit } from './covariate-fit.ts';

/** Even numbers between 0 and 1 that look drawn. */
function draws(seed: number): () => number {
  let state = (seed * 2_654_435_761) % 2_147_483_647 || 1;
  return () => {
    state = (state * 48_271) % 2_147_483_647;
    return state / 2_147_483_647;
  };
}

const HORIZON = 24;
/** A day of 24 steps; rain in spells halves the load. */
function rainy(steps: number, seed = 5): { load: number[]; rain: number[] } {
  const draw = draws(seed);
  const rain: number[] = [];
  let now = 0;
  for (let t = 0; t < steps + HORIZON; t++) {
    if (draw() < 0.15) now = 1 - now;
    rain.push(now);
  }
  const load = rain.map((wet, t) => {
    const usual = 100 + 60 * Math.sin((2 * Math.PI * t) / 24);
    return usual * (wet ? 0.5 : 1) * (0.95 + 0.1 * draw());
  });
  return { load, rain };
}

/** Mean absolute error of p50 over several origins. */
function errorOf(
  load: readonly number[],
  covariates: Record<string, readonly number[]>,
  from = 480,
  worst?: { value: number },
): number {
  const names = Object.keys(covariates);
  const stream = new SeriesStream({ stepS: 3600, covariates: names, windows: [] });
  const steps = Float64Array.from({ length: HORIZON }, (_, h) => h + 1);
  const out = new Float64Array(3 * HORIZON);
  let sum = 0;
  let count = 0;
  for (let t = 0; t + HORIZON < load.length; t++) {
    const at = (step: number) => names.map((name) => [name, covariates[name]![step]!] as const);
    // Known ahead, as a calendar is.
    stream.foresee(
      Object.fromEntries(names.map((name) => [name, covariates[name]!.slice(t, t + 1 + HORIZON)])),
    );
    stream.observe(load[t]!, { covariates: Object.fromEntries(at(t)) });
    if (t < from || t % 7 !== 0) continue;
    stream.forecast(steps, out);
    for (let h = 0; h < HORIZON; h++) {
      expect(Number.isFinite(out[3 * h]!)).toBe(true);
      expect(out[3 * h + 1]!).toBeGreaterThanOrEqual(out[3 * h]!);
      expect(out[3 * h + 2]!).toBeGreaterThanOrEqual(out[3 * h + 1]!);
      if (worst) worst.value = Math.max(worst.value, out[3 * h + 2]!);
      sum += Math.abs(out[3 * h]! - load[t + 1 + h]!);
      count++;
    }
  }
  return sum / count;
}

describe('covariates', () => {
  it('a true one is used: rain that halves the load is foreseen with the rain', () => {
    const { load, rain } = rainy(720);
    expect(errorOf(load, { rain })).toBeLessThan(0.65 * errorOf(load, {}));
  });

  it('an effect that differs by the time of day is learnt as such', () => {
    // On days off the load has no morning peak, and a higher evening.
    const draw = draws(3);
    const off = Array.from({ length: 960 + HORIZON }, (_, t) =>
      (Math.floor(t / 24) * 5 + 2) % 7 < 2 ? 1 : 0,
    );
    const irregular = off.map((_, t) => (draws(Math.floor(t / 24) + 1)() < 0.3 ? 1 : 0));
    const load = irregular.map((free, t) => {
      const hour = t % 24;
      const peak = free ? Math.exp(-(((hour - 19) / 3) ** 2)) : Math.exp(-(((hour - 8) / 3) ** 2));
      return (20 + 80 * peak) * (0.97 + 0.06 * draw());
    });
    expect(errorOf(load, { free: irregular }, 700)).toBeLessThan(0.8 * errorOf(load, {}, 700));
  });

  it('one that has nothing to do with the load costs next to nothing', () => {
    const { load } = rainy(600);
    const draw = draws(77);
    const noise = load.map(() => draw());
    expect(errorOf(load, { noise })).toBeLessThan(1.06 * errorOf(load, {}));
  });

  it('constant, unknown, endless, huge and collinear ones do no harm, alone or beside a true one', () => {
    const { load, rain } = rainy(600);
    const wild = { value: 0 };
    const junk = {
      constant: load.map(() => 7),
      unknown: load.map(() => Number.NaN),
      endless: load.map((_, t) => (t % 50 === 0 ? Number.POSITIVE_INFINITY : 1)),
      huge: load.map((_, t) => (t % 2 === 0 ? 1e300 : -1e300)),
      spike: load.map((_, t) => (t % 97 === 13 ? 1e14 : t % 3)),
      twin: rain.map((wet) => 3 * wet + 1),
      other: rain.map((wet) => 1e9 - 1e6 * wet),
    };
    expect(errorOf(load, { ...junk, rain }, 480, wild)).toBeLessThan(0.75 * errorOf(load, {}));
    expect(wild.value).toBeLessThan(10 * Math.max(...load));
    const { twin, other, ...useless } = junk;
    expect(errorOf(load, useless)).toBeLessThan(1.06 * errorOf(load, {}));
  });

  it('one that leaves what it ever was is believed no further', () => {
    const { load, rain } = rainy(600);
    const stream = new SeriesStream({ stepS: 3600, covariates: ['rain'], windows: [] });
    load.slice(0, 600).forEach((value, t) => {
      stream.observe(value, { covariates: { rain: rain[t]! } });
    });
    const out = new Float64Array(3);
    for (const never of [1e6, -1e6, 1e308, Number.NaN]) {
      stream.foresee({ rain: [never, never, never] });
      stream.forecast([2], out);
      expect(out[0]!).toBeGreaterThan(0);
      expect(out[2]!).toBeLessThan(3 * Math.max(...load));
    }
  });

  it('a series of zeros, one too short and one that is mostly missing say nothing of covariates', () => {
    const { rain } = rainy(400);
    for (const load of [rain.map(() => 0), rain.map((_, t) => (t % 20 === 0 ? 5 : Number.NaN)), [3, 4]]) {
      const stream = new SeriesStream({ stepS: 60, covariates: ['rain'], windows: [] });
      load.forEach((value, t) => {
        stream.observe(value, { covariates: { rain: rain[t]! } });
      });
      const out = new Float64Array(6);
      stream.forecast([1, 300], out);
      for (const value of out) expect(value).toBeGreaterThanOrEqual(0);
      expect(Math.max(...out)).toBeLessThan(60);
    }
  });

  it('whatever a history holds, an effect is finite and within what was seen', () => {
    const anything = fc.oneof(
      fc.double(),
      fc.integer({ min: -3, max: 3 }),
      fc.constantFrom(Number.NaN, Number.POSITIVE_INFINITY, 0, 1e308, -1e308),
    );
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.double({ min: -1e9, max: 1e9, noNaN: true }), anything, anything), {
          minLength: 40,
          maxLength: 120,
        }),
        fc.tuple(anything, anything),
        (rows, at) => {
          const fit = CovariateFit.of({
            values: Float64Array.from(rows, ([value]) => value),
            columns: [Float64Array.from(rows, (row) => row[1]), Float64Array.from(rows, (row) => row[2])],
            first: 0,
            period: 12,
            byPhase: true,
          });
          if (fit === undefined) return;
          const highest = fit.scaled(Math.max(...rows.map(([value]) => value)));
          const lowest = fit.scaled(Math.min(...rows.map(([value]) => value)));
          const effect = fit.effect(at, 500);
          expect(Number.isFinite(effect)).toBe(true);
          expect(Math.abs(effect)).toBeLessThanOrEqual(8 * (highest - lowest) + 1);
        },
      ),
      { numRuns: 60 },
    );
  });

  it('goes on from a saved state as if nothing had happened, and is bounded over a long life', () => {
    const { load, rain } = rainy(500);
    const make = () => new SeriesStream({ stepS: 3600, covariates: ['rain'], windows: [] });
    const stream = make();
    load.slice(0, 500).forEach((value, t) => {
      stream.observe(value, { covariates: { rain: rain[t]! } });
    });
    const again = make();
    again.load(structuredClone(stream.save()));
    for (const one of [stream, again]) one.foresee({ rain: rain.slice(500) });
    const [a, b] = [new Float64Array(9), new Float64Array(9)];
    stream.forecast([1, 5, 24], a);
    again.forecast([1, 5, 24], b);
    // The rows are made again from the history, with the newest regression: near, not the same.
    a.forEach((value, i) => {
      expect(Math.abs(b[i]! - value)).toBeLessThan(0.1 * value);
    });
    expect(() => new SeriesStream({ stepS: 3600, covariates: ['a', 'b'] }).load(stream.save())).toThrow(
      RangeError,
    );
    expect(() => stream.foresee({ wind: [1] })).toThrow(/no covariate "wind"/);
  });
});
