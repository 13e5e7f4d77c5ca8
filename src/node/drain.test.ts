import { expect, it } from 'vitest';
import { paceTooSlow } from './drain.ts';

const limits = { graceMs: 5_000, drainMsMax: 20_000 };

it('a drain leaves the controller its time at first', () => {
  expect(paceTooSlow({ total: 300, left: 300, elapsedMs: 4_999, ...limits })).toBe(false);
});

it('a pace that ends in time is let be, one that does not is not', () => {
  expect(paceTooSlow({ total: 300, left: 224, elapsedMs: 5_000, ...limits })).toBe(false);
  expect(paceTooSlow({ total: 300, left: 226, elapsedMs: 5_000, ...limits })).toBe(true);
  expect(paceTooSlow({ total: 300, left: 60, elapsedMs: 15_000, ...limits })).toBe(false);
});

it('when the time is up, whatever is left goes', () => {
  expect(paceTooSlow({ total: 300, left: 1, elapsedMs: 20_000, ...limits })).toBe(true);
});
