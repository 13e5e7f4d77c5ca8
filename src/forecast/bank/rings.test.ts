/** History in blocks of bytes, against a plain list. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decode, encode } from './codes.ts';
import { bankLayout, F, HISTORY_BLOCK, type Row } from './layout.ts';
import { around, pushValue, ringContent, scaleHistory, valueAt } from './rings.ts';

function emptyRow(values: number[], steps: number[]): Row {
  const layout = bankLayout({
    ...{ stepS: 60, slots: 1, windows: [], externals: 0, outside: 0, regression: false },
    history: { values, steps },
  });
  const bytes = new Uint8Array(layout.bytes);
  return {
    layout,
    ...{ floats: new Float32Array(layout.floats), f: 0, codes: new Uint16Array(layout.codes), c: 0 },
    ...{ bytes, words: new Int32Array(bytes.buffer), b: 0 },
  };
}

function push(row: Row, value: number): void {
  row.floats[F.length]! += 1;
  pushValue(row, value);
}

/** Loads: some level, some noise, gaps, zeros, a spike now and then. */
const loads = fc.array(
  fc.oneof(
    { weight: 8, arbitrary: fc.double({ min: 0, max: 3, noNaN: true }) },
    { weight: 2, arbitrary: fc.constant(0) },
    { weight: 1, arbitrary: fc.constant(Number.NaN) },
    { weight: 1, arbitrary: fc.double({ min: -5000, max: 50_000, noNaN: true }) },
  ),
  { minLength: 1, maxLength: 200 },
);

describe('history', () => {
  it('holds the newest values, each within a 250th of its block on the asinh axis; zeros are zeros', () => {
    fc.assert(
      fc.property(loads, (values) => {
        const row = emptyRow([64], [1]);
        for (const value of values) push(row, value);
        for (let age = 0; age < Math.min(64, values.length); age++) {
          const index = values.length - 1 - age;
          const block = values
            .slice(index - (index % HISTORY_BLOCK), index - (index % HISTORY_BLOCK) + HISTORY_BLOCK)
            .filter((value) => !Number.isNaN(value))
            .map(Math.asinh);
          const range = Math.max(...block) - Math.min(...block);
          const found = valueAt(row, age);
          const value = values[index]!;
          if (Number.isNaN(value)) expect(found).toBeNaN();
          else expect(Math.abs(Math.asinh(found) - Math.asinh(value))).toBeLessThan(range / 100 + 1e-3);
          if (value === 0) expect(Math.abs(found)).toBe(0);
        }
        expect(valueAt(row, 64)).toBeNaN();
        expect(ringContent(row, 0)).toHaveLength(Math.min(64, values.length));
      }),
    );
  });

  it('is coarser further back, and knows no more than it was given', () => {
    const row = emptyRow([32, 16, 16], [1, 4, 16]);
    for (let i = 0; i < 200; i++) push(row, 1 + i / 100);
    const truth = (age: number) => 1 + (199 - age) / 100;
    for (const age of [0, 5, 30, 31, 40, 63, 100, 180])
      expect(Math.abs(around(row, age) - truth(age))).toBeLessThan(0.02);
    expect(around(row, 300)).toBeNaN();
    expect(around(row, -1)).toBeNaN();
  });

  it('keeps means of what is known of some steps, and none where nothing is', () => {
    const row = emptyRow([32, 16, 16], [1, 4, 16]);
    const values = Array.from({ length: 96 }, (_, i) =>
      i >= 48 && i < 52 ? Number.NaN : i % 3 === 0 ? Number.NaN : 1 + (i % 7) / 10,
    );
    for (const value of values) push(row, value);
    for (const [ring, steps] of [4, 16].entries())
      ringContent(row, ring + 1).forEach((found, cell) => {
        const newer = 96 / steps - Math.min(16, 96 / steps) + cell;
        const known = values
          .slice(newer * steps, (newer + 1) * steps)
          .filter((value) => !Number.isNaN(value));
        if (known.length === 0) expect(found).toBeNaN();
        else expect(found).toBeCloseTo(known.reduce((a, b) => a + b) / known.length, 2);
      });
  });

  it('is the same in another scale', () => {
    const row = emptyRow([64], [1]);
    const values = Array.from({ length: 50 }, (_, i) => (i % 7 === 0 ? Number.NaN : 2 + Math.sin(i)));
    for (const value of values) push(row, value);
    scaleHistory(row, 0.25);
    values.forEach((value, i) => {
      const found = valueAt(row, 49 - i);
      if (Number.isNaN(value)) expect(found).toBeNaN();
      else expect(found).toBeCloseTo(value / 4, 2);
    });
  });

  it('has codes for what is measured, and one for what is not', () => {
    for (const value of [0, 1, -0.3, 45_000])
      expect(decode(encode(value)) / (value || 1)).toBeCloseTo(value === 0 ? 0 : 1, 3);
    expect(decode(encode(Number.NaN))).toBeNaN();
  });
});
