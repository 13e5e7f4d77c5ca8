/** Dollars as people read them. */
import { expect, it } from 'vitest';
import { usd } from './dollars.ts';

it.each([
  [0, '$0'],
  [1.5, '$1.50'],
  [-0.2, '-$0.20'],
  [0.0087, '$0.0087'],
  [-1.7e-4, '-$0.00017'],
  [1.7e-5, '$0.000017'],
  [1e-7, '$1.0e-7'],
])('%d is %s', (value, text) => {
  expect(usd(value)).toBe(text);
});
