/**
 * Test plan: a small, tight problem, where single steps and exchanges end half a per cent above the bound, is solved with and
 * without rebuilding: it must cost less with it, keep every constraint, be the same for a seed, and stay as it is when it is
 * solved again from there.
 */
import { describe, expect, it } from 'vitest';
import { type Built, generateInstance, ProblemBuilder, solve } from '../index.ts';
import { check } from './check.ts';

function tight(seed: number): Built {
  const { header, shards } = generateInstance({ shards: 200, nodes: 12, regions: 4, utilisation: 0.7, seed });
  const builder = new ProblemBuilder(header);
  for (const shard of shards()) builder.add(shard);
  return builder.build();
}

describe('rebuilding a small problem', () => {
  it.each([1, 2, 3])('costs less than single steps and exchanges do, constraints kept (seed %i)', (seed) => {
    const { problem, names } = tight(seed);
    const before = solve(problem, { seed, budget: { rebuilds: 0 } });
    const after = solve(problem, { seed });
    expect(after.cost.total).toBeLessThan(before.cost.total);
    expect(check(problem, names, after.place).violations).toEqual([]);
    expect(after.cost.total).toBeGreaterThanOrEqual(after.lowerBound);
  });

  it('is the same for a seed', () => {
    const { problem } = tight(2);
    expect(solve(problem, { seed: 7 }).place).toEqual(solve(problem, { seed: 7 }).place);
  });

  it('stays as it is when it is solved again from there', () => {
    const { problem } = tight(2);
    const { place } = solve(problem, { seed: 2 });
    const again = solve({ ...problem, start: place }, { seed: 2 });
    expect(again.moved + again.promoted).toBe(0);
  });
});
