/** Days that are alike, days that are not, and too few of them. */
import { describe, expect, it } from 'vitest';
import { SeededRandom } from '../io/random.ts';
import { recurringShare } from './recurring.ts';

const DAY = 48;

/** A job at the same hour every day, and noise that is a share of all variance. */
function load(days: number, noise: number): number[] {
  const random = new SeededRandom('r1');
  return Array.from({ length: days * DAY }, (_, t) => {
    const job = t % DAY >= 20 && t % DAY < 24 ? 10 : 0;
    return 5 + (1 - noise) * job + noise * 10 * random.next();
  });
}

describe('what comes back at the same time of day', () => {
  it('is all where every day is the same, nothing where each is its own, and less the more noise there is', () => {
    expect(recurringShare(load(6, 0), 3 * DAY, DAY, 1)).toBeCloseTo(1, 9);
    expect(recurringShare(load(6, 1), 3 * DAY, DAY, 1)!).toBeLessThan(0.05);
    const [little, much] = [0.1, 0.5].map((noise) => recurringShare(load(8, noise), 4 * DAY, DAY, 1)!);
    expect(little).toBeGreaterThan(0.8);
    expect(much).toBeLessThan(little!);
  });

  it('is asked of changes over as many steps as a decision takes to act', () => {
    const hills = Array.from({ length: 6 * DAY }, (_, t) => 5 + Math.sin((2 * Math.PI * t) / DAY));
    expect(recurringShare(hills, 3 * DAY, DAY, 5)).toBeCloseTo(1, 9);
  });

  it('is not known of fewer than two days before, nor of a load that never changes', () => {
    expect(recurringShare(load(2, 0), DAY + 5, DAY, 1)).toBeUndefined();
    expect(recurringShare(load(3, 0), DAY + 5, DAY, 1)).toBeCloseTo(1, 9);
    expect(recurringShare(new Array(6 * DAY).fill(3), 3 * DAY, DAY, 1)).toBeUndefined();
    expect(recurringShare([], 0, DAY, 1)).toBeUndefined();
  });

  it('is 0 where days contradict each other', () => {
    const swings = Array.from({ length: 8 * DAY }, (_, t) =>
      Math.floor(t / DAY) % 2 === 0 ? t % 2 : 1 - (t % 2),
    );
    expect(recurringShare(swings, 4 * DAY, DAY, 1)).toBe(0);
  });
});
