/**
 * Test plan: the regions that a search looks at are the cheapest at the dual's prices, for every shard, and are others once prices
 * changed; what a standby costs beside one primary is kept for the next one, but neither for another shard nor below another limit.
 */
import { expect, it } from 'vitest';
import { generateInstance, ProblemBuilder } from '../index.ts';
import { SeededDraws } from '../instance/random.ts';
import { Candidates } from './candidates.ts';
import { Company } from './company.ts';
import { Dual } from './dual.ts';
import { CheapestRegions, StandbyLooks } from './look.ts';
import { NOWHERE, regionAllowed } from './problem.ts';
import { State } from './state.ts';

function made(regions: number) {
  const { header, shards } = generateInstance({ seed: 4, shards: 200, nodes: 36, regions, utilisation: 0.8 });
  const builder = new ProblemBuilder(header);
  for (const shard of shards()) builder.add(shard);
  const { problem } = builder.build();
  const state = new State(problem);
  const draws = new SeededDraws('look');
  for (let s = 0; s < problem.shardCount - 1; s++) state.put(s, 0, draws.below(problem.nodeCount));
  const dual = new Dual(problem);
  return { problem, state, draws, dual, candidates: new Candidates(state, draws) };
}

it.each([5, 12])('looks at the cheapest of %i regions until prices change', (regions) => {
  const { problem, dual, draws, candidates } = made(regions);
  const cheapest = new CheapestRegions(dual, candidates);
  const seen = new Set<string>();
  for (let round = 0; round < 3; round++) {
    for (let c = 0; c < dual.prices.length; c++)
      dual.prices[c] = draws.next() * 0.3 * dual.supply.unitPrice[c]!;
    dual.refresh();
    for (let twice = 0; twice < 2; twice++)
      for (let s = 0; s < problem.shardCount; s++) {
        dual.price(s);
        const end = cheapest.of(s);
        const found: number[] = [];
        for (let i = cheapest.from(s); i < end; i++) found.push(cheapest.list[i]!);
        const usd = (r: number) => problem.value[s * regions + r]! + dual.primaryPrice(r);
        const all = Array.from({ length: regions }, (_, r) => r).filter((r) => regionAllowed(problem, s, r));
        all.sort((a, b) => usd(a) - usd(b));
        expect(found).toEqual(all.slice(0, regions > 8 ? 4 : regions));
        if (s === 0) seen.add(found.join());
      }
  }
  expect(seen.size).toBeGreaterThan(1);
});

it('finds the best node of a region for a standby beside each primary', () => {
  const { problem, state, candidates } = made(4);
  const company = new Company(problem);
  const looks = new StandbyLooks(state, candidates);
  const s = problem.shardCount - 1;
  const best = (primary: number, limit = Number.POSITIVE_INFINITY) =>
    looks.best(s, 0, 1, Int32Array.of(primary, NOWHERE), company, limit);
  looks.begin();
  const alone = best(NOWHERE);
  expect(problem.nodeRegion[alone]).toBe(0);
  // Its zone is taken by a primary that is there.
  const beside = best(alone);
  expect(problem.nodeZone[beside]).not.toBe(problem.nodeZone[alone]);
  looks.begin();
  expect(best(NOWHERE, 0)).toBe(NOWHERE);
  expect(best(NOWHERE, 1e9)).toBe(alone);
  for (let t = 0; t < s; t++) state.put(t, 1, alone);
  looks.begin();
  expect(best(NOWHERE)).not.toBe(alone);
});
