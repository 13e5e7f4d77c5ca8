/** What is drawn keeps its shape whatever the numbers are. */
import { describe, expect, it } from 'vitest';
import { chart } from './chart.ts';
import { amount } from './table.ts';

it.each([
  [0, '0.00'],
  [0.00123, '0.0012'],
  [1e-7, '1.0e-7'],
  [0.5, '0.50'],
  [12.5, '12.50'],
  [1234.56, '1234.56'],
  [27_000, '27.0k'],
  [3.2e6, '3.2M'],
  [12_461_538_462, '12.5G'],
  [9.99e14, '999.0T'],
  [1e30, '1.0e+30'],
  [-27_000, '-27.0k'],
])('%d is written as %s', (value, text) => {
  expect(amount(value)).toBe(text);
});

describe('a chart', () => {
  it.each([1e-4, 1, 1e10])('of loads around %d has its axis in one column', (scale) => {
    const past = [1, 2, 3, 4].map((value) => scale * value);
    const lines = chart({ history: past, p50: past, p90: past, width: 40, height: 6 }).split('\n');
    const axes = lines.slice(0, 6).map((line) => line.indexOf('│'));
    expect(new Set(axes)).toEqual(new Set([9]));
    expect(lines[0]).not.toMatch(/^ *0\.00 /);
  });

  it('of nothing is empty, not broken', () => {
    const drawn = chart({ history: [], p50: [], p90: [], width: 0, height: 4 });
    expect(drawn).toContain('now');
    expect(drawn).not.toMatch(/NaN|Infinity/);
  });
});
