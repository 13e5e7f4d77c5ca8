/** The bank of series: what it answers of easy loads, and that no input makes it answer nonsense. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SeriesBank } from './bank.ts';
import { decode, encode } from './codes.ts';
import { F } from './layout.ts';
import { around, valueAt } from './rings.ts';

const HORIZONS = [1, 4, 15, 60, 288];

function fed(values: Iterable<number>, options: { stepS?: number; censored?: Set<number> } = {}) {
  const bank = new SeriesBank({ stepS: options.stepS ?? 300, rows: 1 });
  const row = bank.add();
  let i = 0;
  for (const value of values) bank.observe(row, value, options.censored?.has(i++) ?? false);
  return { bank, row };
}

function asked({ bank, row }: { bank: SeriesBank; row: number }, horizons = HORIZONS): number[][] {
  const out = new Float64Array(3 * horizons.length);
  bank.forecast(row, horizons, out);
  return horizons.map((_, h) => [...out.subarray(3 * h, 3 * h + 3)]);
}

/** A day of 288 steps with a sine, noise from a small generator. */
function day(steps: number, level = 100): number[] {
  let seed = 7;
  return Array.from({ length: steps }, (_, i) => {
    seed = (seed * 16_807) % 2_147_483_647;
    return level * (1 + 0.6 * Math.sin((2 * Math.PI * i) / 288) + 0.1 * (seed / 2_147_483_647 - 0.5));
  });
}

describe('a series in the bank', () => {
  it('takes at most 1,772 bytes in a fleet, so that half a million are held in a gigabyte', () => {
    const bank = new SeriesBank({ stepS: 60, slots: 2, windows: [15, 60], regression: false, rows: 1 });
    bank.add();
    expect(bank.bytes).toBeLessThanOrEqual(1772);
  });

  it('answers alike whether it keeps what it said of the next step or says it again when that comes', () => {
    const options = { stepS: 300, slots: 2, regression: false, rows: 1 };
    const again = new SeriesBank(options);
    // Somebody from outside, who never has anything to say.
    const kept = new SeriesBank({ ...options, outside: 1 });
    expect([again.layout.keepsNext, kept.layout.keepsNext]).toEqual([false, true]);
    const rows = [again, kept].map((bank) => ({ bank, row: bank.add() }));
    day(900).forEach((value, i) => {
      const seen = i % 50 < 3 ? Number.NaN : i % 97 === 0 ? 0 : i > 600 ? 30 * value : value;
      for (const { bank, row } of rows) bank.observe(row, seen, i % 31 === 0);
      if (i < 20 || i % 13 !== 0) return;
      const [one, other] = rows.map((each) => asked(each).flat()) as [number[], number[]];
      one.forEach((number, place) => {
        expect(Math.abs(number - other[place]!)).toBeLessThan(0.01 * Math.abs(number) + 0.1);
      });
    });
  });

  it('keeps a constant load constant, with hardly a band', () => {
    for (const [p50, , p99] of asked(fed(new Array(500).fill(42)))) {
      expect(p50).toBeCloseTo(42, 1);
      expect(p99).toBeLessThan(46);
    }
  });

  it('answers zero for a load that never was, and for a series without a single value', () => {
    expect(asked(fed(new Array(300).fill(0))).flat()).toEqual(new Array(15).fill(0));
    expect(asked(fed([])).flat()).toEqual(new Array(15).fill(0));
    expect(asked(fed(new Array(50).fill(Number.NaN))).flat()).toEqual(new Array(15).fill(0));
  });

  it('knows the time of day after some days', () => {
    const values = day(288 * 5 + 100);
    const truth = day(288 * 5 + 160).slice(-60);
    const found = asked(
      fed(values),
      truth.map((_, h) => h + 1),
    );
    const off = found.reduce((sum, [p50], h) => sum + Math.abs(p50! - truth[h]!), 0) / 60;
    expect(off).toBeLessThan(8);
    const covered = found.filter(([, p90], h) => truth[h]! <= p90!).length;
    expect(covered).toBeGreaterThan(45);
  });

  it('is about right from the first steps on', () => {
    const [[p50, p90]] = asked(fed([10, 12, 11]), [1]) as [[number, number, number]];
    expect(p50).toBeGreaterThan(8);
    expect(p50).toBeLessThan(14);
    expect(p90).toBeGreaterThanOrEqual(p50);
  });

  it('does not learn low demand from censored steps', () => {
    const values = [...new Array(200).fill(100), ...new Array(40).fill(30)];
    const censored = new Set(Array.from({ length: 40 }, (_, i) => 200 + i));
    const taught = asked(fed(values), [1])[0]![0]!;
    const kept = asked(fed(values, { censored }), [1])[0]![0]!;
    expect(taught).toBeLessThan(50);
    expect(kept).toBeGreaterThan(95);
  });

  it('learns from a censored step that is above what was expected', () => {
    const values = [...new Array(200).fill(100), ...new Array(40).fill(300)];
    const censored = new Set(Array.from({ length: 40 }, (_, i) => 200 + i));
    const kept = asked(fed(values, { censored }), [1])[0]![0]!;
    expect(kept).toBeGreaterThan(200);
  });

  it('goes on after a silence and after a sleep of zeros, and takes up its load again', () => {
    const awake = day(288 * 2);
    const gap = asked(fed([...awake, ...new Array(100).fill(Number.NaN), ...day(50)]), [1]);
    expect(gap[0]![0]).toBeGreaterThan(50);
    const woken = asked(fed([...awake, ...new Array(3000).fill(0), ...day(60)]), [1, 15]);
    for (const [p50] of woken) expect(p50).toBeGreaterThan(30);
  });

  it('finds a new scale when a series grows a millionfold, and when its first value was no measure', () => {
    const grown = asked(fed([...new Array(100).fill(1), ...new Array(200).fill(1e6)]), [1])[0]![0]!;
    expect(grown).toBeGreaterThan(5e5);
    const first = asked(fed([1e-12, ...new Array(50).fill(5)]), [1])[0]![0]!;
    expect(first).toBeGreaterThan(4);
  });

  it('answers the same for the same load in another unit', () => {
    const values = day(700);
    const one = asked(fed(values));
    const kilo = asked(fed(values.map((value) => value * 1000)));
    one.forEach((answers, h) => {
      answers.forEach((answer, q) => {
        expect(kilo[h]![q]! / 1000 / answer).toBeCloseTo(1, 1);
      });
    });
  });

  it('forecasts the maximum over a window above the median of its end', () => {
    const { bank, row } = fed(day(288 * 3));
    const out = new Float64Array(3);
    bank.forecastMax(row, 1, out);
    expect(out[0]).toBeLessThanOrEqual(out[1]!);
    expect(out[1]).toBeLessThanOrEqual(out[2]!);
    expect(out[0]).toBeGreaterThan(asked({ bank, row }, [60])[0]![0]! * 0.9);
  });

  it('stays finite, ordered and within its clamps whatever it is fed', () => {
    const anything = fc.oneof(
      { weight: 5, arbitrary: fc.double({ min: 0, max: 1e4 }) },
      fc.constantFrom(0, Number.NaN, Number.POSITIVE_INFINITY, -1, 1e-300, 1e300, -1e18, 5e-324),
      fc.double(),
    );
    fc.assert(
      fc.property(fc.array(anything, { maxLength: 200 }), fc.constantFrom(1, 60, 3600), (values, stepS) => {
        const state = fed(values, { stepS });
        for (const [p50, p90, p99] of asked(state)) {
          expect(Number.isFinite(p50) && Number.isFinite(p90) && Number.isFinite(p99)).toBe(true);
          expect(p50).toBeLessThanOrEqual(p90!);
          expect(p90).toBeLessThanOrEqual(p99!);
          if (values.every((value) => !(value < 0))) expect(p50).toBeGreaterThanOrEqual(0);
        }
      }),
      { numRuns: 150 },
    );
  });

  it('asks experts from outside and believes them as far as they are right', () => {
    let next = 0;
    const bank = new SeriesBank({ stepS: 60, externals: ['oracle'], rows: 1 });
    const row = bank.add();
    const random = day(2000).map((value, i) =>
      i % 7 === 3 ? value * 3 : value * (1 + ((i * 31) % 17) / 10),
    );
    bank.external = (_row, _expert, ahead) => random[next + ahead - 1] ?? Number.NaN;
    for (; next < 1500; ) bank.observe(row, random[next++]!);
    expect(bank.weights(row, 4).oracle).toBeGreaterThan(0.9);
    const p50 = asked({ bank, row }, [1])[0]![0]!;
    expect(Math.abs(p50 - random[1500]!)).toBeLessThan(0.25 * random[1500]!);
  });

  it('overhears one from outside that is far off, but not one that knows what the others do not', () => {
    const p50 = (informed: boolean) => {
      const first = [1, 1, 1] as const;
      const bank = new SeriesBank({
        ...{ stepS: 60, rows: 1, outside: 4 },
        outsideTerms: [{ first }, { first }, { first }, { first, informed }],
      });
      const row = bank.add();
      for (let i = 0; i < 50; i++) bank.observe(row, 9 + (i % 3));
      bank.outside = (_row, expert, _ahead, out) => {
        out.fill(expert === 3 ? 30 : 10);
        return true;
      };
      return asked({ bank, row }, [1])[0]![0]!;
    };
    expect(p50(false)).toBeLessThan(11);
    expect(p50(true)).toBeGreaterThan(12);
  });

  it('reaches nearer than several who agree, further than several who do not, and as far as one from outside says', () => {
    /** Distance from p50 to p90 where each says so much for p50 and ten more for p90. */
    const band = (...said: number[]) => {
      const bank = new SeriesBank({
        ...{ stepS: 60, rows: 1, outside: said.length },
        outsideTerms: said.map(() => ({ first: [1e6, 1e6, 1e6] as const })),
      });
      const row = bank.add();
      for (let i = 0; i < 50; i++) bank.observe(row, 9 + (i % 3));
      bank.outside = (_row, expert, _ahead, out) => {
        for (let q = 0; q < 3; q++) out[q] = said[expert]! + 10 * q;
        return true;
      };
      const [p50, p90] = asked({ bank, row }, [12])[0]!;
      return p90! - p50!;
    };
    expect(band(10)).toBeCloseTo(10, 3);
    expect(band(10, 10, 10)).toBeLessThan(9.5);
    expect(band(6, 10, 14)).toBeGreaterThan(1.15 * band(10, 10, 10));
  });

  it('is the same after it was saved and loaded', () => {
    const { bank, row } = fed(day(600));
    const other = new SeriesBank({ stepS: 300, rows: 1 });
    const copy = other.add();
    other.loadRow(copy, JSON.parse(JSON.stringify(bank.saveRow(row))));
    expect(asked({ bank: other, row: copy })).toEqual(asked({ bank, row }));
    expect(() => other.loadRow(copy, { format: 'else', floats: '', codes: '', bytes: '' })).toThrow(
      RangeError,
    );
  });

  it('takes what a row was made free of', () => {
    const bank = new SeriesBank({ stepS: 300, rows: 4 });
    const rows = Array.from({ length: 9 }, () => bank.add());
    for (const row of rows) for (let i = 0; i < 30; i++) bank.observe(row, row + 1);
    bank.remove(rows[3]!);
    const again = bank.add();
    expect(again).toBe(rows[3]);
    expect(bank.length(again)).toBe(0);
    expect(bank.size).toBe(9);
    expect(asked({ bank, row: rows[8]! }, [1])[0]![0]).toBeCloseTo(9, 1);
  });
});

describe('history', () => {
  it('keeps three digits in 16 bits over eight orders of magnitude', () => {
    fc.assert(
      fc.property(fc.double({ min: -1e4, max: 1e4, noNaN: true }), (value) => {
        expect(Math.abs(decode(encode(value)) - value)).toBeLessThan(1e-3 * Math.abs(value) + 1e-3);
      }),
    );
    expect(decode(encode(Number.NaN))).toBeNaN();
  });

  it('looks back step by step where it can and on means further back, as a slow twin does', () => {
    const values = day(3000);
    const { bank, row } = fed(values);
    const at = bank.seek(row);
    const scale = at.floats[at.f + F.scale]!;
    for (const age of [0, 1, 100, 300]) expect(valueAt(at, age) * scale).toBeCloseTo(values.at(-1 - age)!, 0);
    for (const age of [400, 1000, 2000]) {
      const near = values.slice(3000 - age - 7, 3000 - age + 6);
      const mean = near.reduce((a, b) => a + b, 0) / near.length;
      expect(Math.abs(around(at, age) * scale - mean)).toBeLessThan(0.1 * mean + 5);
    }
    expect(around(at, 5000)).toBeNaN();
  });
});
