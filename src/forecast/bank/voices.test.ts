/** One number from several forecasters: as robust as it is told to be. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Voices } from './voices.ts';

type Voice = readonly [value: number, say: number];

function answer(heard: readonly Voice[], robust: number): number {
  const voices = new Voices(heard.length);
  for (const [value, say] of heard) voices.hear(value, say);
  return voices.answer(robust);
}

const VOICES = fc.array(
  fc.tuple(fc.double({ min: -100, max: 100, noNaN: true }), fc.double({ min: 0.01, max: 10, noNaN: true })),
  { minLength: 1, maxLength: 8 },
);

describe('what several voices say', () => {
  it('is their mean where one or two speak, however robust', () => {
    expect(answer([[7, 3]], 1)).toBe(7);
    expect(
      answer(
        [
          [0, 1],
          [9, 2],
        ],
        1,
      ),
    ).toBeCloseTo(6, 12);
  });

  it('is not moved by one that is far off', () => {
    const near: Voice[] = [
      [10, 1],
      [11, 1],
      [12, 1],
      [13, 1],
    ];
    expect(answer([...near, [1e9, 1]], 1)).toBeLessThan(13);
    expect(answer([...near, [1e9, 1]], 0)).toBeGreaterThan(1e8);
  });

  it('is the median of as many as their says tell, and lies among them', () => {
    fc.assert(
      fc.property(VOICES, fc.double({ min: 0, max: 1, noNaN: true }), (heard, robust) => {
        const values = heard.map(([value]) => value);
        const found = answer(heard, robust);
        expect(found).toBeGreaterThanOrEqual(Math.min(...values) - 1e-9);
        expect(found).toBeLessThanOrEqual(Math.max(...values) + 1e-9);
        if (heard.length < 3) return;
        // No more than half of the says lie beyond it on either side, but for the voices next to it.
        const median = answer(heard, 1);
        const total = heard.reduce((sum, [, say]) => sum + say, 0);
        const most = Math.max(...heard.map(([, say]) => say));
        const above = heard.reduce((sum, [value, say]) => sum + (value > median ? say : 0), 0);
        const below = heard.reduce((sum, [value, say]) => sum + (value < median ? say : 0), 0);
        expect(Math.max(above, below)).toBeLessThanOrEqual(total / 2 + most / 2 + 1e-9);
      }),
    );
  });

  it('is the same in whatever order they speak', () => {
    fc.assert(
      fc.property(VOICES, (heard) => {
        expect(answer([...heard].reverse(), 1)).toBeCloseTo(answer(heard, 1), 9);
      }),
    );
  });

  it('tells how far they are apart, each by its say', () => {
    const voices = new Voices(2);
    voices.hear(7, 3);
    expect(voices.deviation()).toBe(0);
    voices.hear(11, 1);
    // Mean 8: three times 1, once 9.
    expect(voices.deviation()).toBeCloseTo(Math.sqrt(12 / 4), 12);
  });

  it('forgets those of before', () => {
    const voices = new Voices(3);
    for (const value of [1, 2, 3]) voices.hear(value, 1);
    voices.clear();
    voices.hear(8, 1);
    expect(voices.answer(1)).toBe(8);
  });
});
