/** How far bands reach where forecasters agree or not, and where little was seen. */
import { describe, expect, it } from 'vitest';
import { reachMaximum, reachP90, reachP99, spannedBy } from './reach.ts';

describe('what a horizon spans', () => {
  it('is its share of what was seen, from a period ahead on', () => {
    expect(spannedBy(60, 600, 24)).toBeCloseTo(0.1, 12);
    expect(spannedBy(60, 1200, 24)).toBeCloseTo(0.05, 12);
    expect(spannedBy(12, 600, 24)).toBeCloseTo(0.01, 12);
  });

  it('is nothing without a period seen twice, and never more than a third', () => {
    expect(spannedBy(60, 600, 0)).toBe(0);
    expect(spannedBy(60, 600, Number.NaN)).toBe(0);
    expect(spannedBy(60, 47, 24)).toBe(0);
    expect(spannedBy(500, 600, 24)).toBeCloseTo(1 / 3, 12);
  });
});

describe('the reach of bands', () => {
  it('is nearer than each says where all agree, further where they do not, up to a bound', () => {
    expect(reachP90(0, 1, 0)).toBeLessThan(1);
    expect(reachP90(0.2, 1, 0)).toBeLessThan(1);
    expect(reachP90(0.5, 1, 0)).toBeGreaterThan(1);
    expect(reachP90(5, 10, 0)).toBeCloseTo(reachP90(0.5, 1, 0), 12);
    expect(reachP90(1e9, 1, 0)).toBe(reachP90(1, 1, 0));
    expect(reachP90(1e9, 1, 0)).toBeLessThan(1.5);
  });

  it('grows with what a horizon spans, most at p90', () => {
    expect(reachP90(0.2, 1, 0.12) / reachP90(0.2, 1, 0)).toBeGreaterThan(1.2);
    expect(reachP99(0.12)).toBeGreaterThan(1.1);
    expect(reachP99(0.12)).toBeLessThan(1.2);
    expect(reachP99(0)).toBe(1);
  });
});

describe('the reach of maxima', () => {
  const moved = (deviation: number, steps: number, seen: number, quantiles = [10, 20, 30]) => {
    const out = Float64Array.from(quantiles);
    reachMaximum(out, deviation, steps, seen);
    return [...out];
  };

  it('leaves p50, and moves p90 and p99 alike', () => {
    const [p50, p90, p99] = moved(5, 60, 600);
    expect(p50).toBe(10);
    expect(p90).toBeGreaterThan(21);
    expect(p99! - 10).toBeCloseTo(2 * (p90! - 10), 9);
  });

  it('grows where few such windows were seen', () => {
    expect(moved(0, 60, 180)[1]).toBeGreaterThan(moved(0, 60, 600)[1]!);
    expect(moved(0, 60, 4)).toEqual(moved(0, 60, 180));
    expect(moved(0, 60, 1e9)[1]).toBeLessThan(20);
  });

  it('heeds how far forecasters are apart more in a long window than in a short one', () => {
    const wider = (steps: number) => moved(10, steps, 1e9)[1]! - moved(0, steps, 1e9)[1]!;
    expect(wider(60)).toBeGreaterThan(3 * wider(15));
    expect(wider(240)).toBeCloseTo(wider(60), 4);
    expect(moved(1e12, 60, 1e9)).toEqual(moved(20, 60, 1e9));
  });

  it('leaves a band of no width', () => {
    expect(moved(3, 60, 10, [10, 10, 10])).toEqual([10, 10, 10]);
  });
});
