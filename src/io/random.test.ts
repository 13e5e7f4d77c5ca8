import { expect, it } from 'vitest';
import { SeededRandom } from './random.ts';

it('gives the same numbers for the same seed, others for another', () => {
  const draw = (seed: string) => {
    const random = new SeededRandom(seed);
    return Array.from({ length: 5 }, () => random.next());
  };
  expect(draw('a')).toEqual(draw('a'));
  expect(draw('a')).not.toEqual(draw('b'));
});

it('splits into streams that do not depend on how much was drawn', () => {
  const fresh = new SeededRandom('a');
  const used = new SeededRandom('a');
  for (let i = 0; i < 100; i++) used.next();
  expect(used.split('x').next()).toBe(fresh.split('x').next());
  expect(fresh.split('x').next()).not.toBe(fresh.split('y').next());
});

it('is uniform in mean, variance and lag', () => {
  const random = new SeededRandom('uniform');
  const n = 100_000;
  let sum = 0;
  let squares = 0;
  let products = 0;
  let last = 0.5;
  for (let i = 0; i < n; i++) {
    const value = random.next();
    sum += value;
    squares += (value - 0.5) ** 2;
    products += (value - 0.5) * (last - 0.5);
    last = value;
  }
  expect(sum / n).toBeCloseTo(0.5, 2);
  expect(squares / n).toBeCloseTo(1 / 12, 2);
  expect(products / n).toBeCloseTo(0, 2);
});
