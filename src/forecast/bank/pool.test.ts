/** The p90 of several forecasters taken as one. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { normalQuantile, normalShare, Z90, Z99 } from '../normal.ts';
import { Pool } from './pool.ts';

type Voice = readonly [p50: number, p90: number, p99: number, say: number];

function p90(heard: readonly Voice[]): number {
  const pool = new Pool(heard.length);
  for (const [p50, p90, p99, say] of heard) pool.hear([p50, p90, p99], say);
  return pool.p90();
}

function normal(middle: number, deviation: number, say = 1): Voice {
  return [middle, middle + Z90 * deviation, middle + Z99 * deviation, say];
}

const NUMBER = fc.double({ min: -100, max: 100, noNaN: true });
const VOICES = fc.array(fc.tuple(NUMBER, NUMBER, NUMBER, fc.double({ min: 0.01, max: 10, noNaN: true })), {
  minLength: 1,
  maxLength: 8,
});

describe('the p90 of all', () => {
  it('is what each says where they agree', () => {
    expect(p90([normal(5, 2)])).toBe(5 + Z90 * 2);
    expect(p90([normal(5, 2), normal(5, 2, 7), normal(5, 2)])).toBeCloseTo(5 + Z90 * 2, 9);
    expect(
      p90([
        [3, 3, 3, 1],
        [3, 3, 3, 1],
      ]),
    ).toBe(3);
  });

  it('lies further out than their mean where they disagree, and has nine tenths below', () => {
    const found = p90([normal(0, 1), normal(4, 1)]);
    expect(found).toBeGreaterThan(2 + Z90);
    expect((normalShare(found) + normalShare(found - 4)) / 2).toBeCloseTo(0.9, 3);
  });

  it('does not follow one of little say', () => {
    expect(p90([normal(0, 1, 10), normal(1e6, 1, 0.1)])).toBeLessThan(2);
  });

  it('lies among those heard, ascending or not, and forgets those of before', () => {
    fc.assert(
      fc.property(VOICES, (heard) => {
        const found = p90(heard);
        expect(found).toBeGreaterThanOrEqual(Math.min(...heard.map((voice) => voice[1])));
        expect(found).toBeLessThanOrEqual(Math.max(...heard.map((voice) => voice[1])));
        const pool = new Pool(heard.length);
        for (const [a, b, c, say] of heard) pool.hear([a, b, c], say);
        pool.clear();
        expect(pool.count).toBe(0);
        for (const [a, b, c, say] of heard) pool.hear([a, b, c], say);
        expect(pool.p90()).toBe(found);
      }),
    );
  });
});

it('shares of the normal undo its quantiles', () => {
  for (const level of [0.001, 0.1, 0.5, 0.77, 0.9, 0.99, 0.9999])
    expect(normalShare(normalQuantile(level))).toBeCloseTo(level, 6);
  expect(normalShare(40)).toBe(1);
  expect(normalShare(-40)).toBeCloseTo(0, 12);
});
