/**
 * Test plan: choices that are kept are those that would be made anew, prices that changed forget them; and a coarse sample in most
 * iterations leaves the bound nearly where all shards put it.
 */
import { expect, it } from 'vitest';
import { generateInstance, type Problem, ProblemBuilder } from '../index.ts';
import { SeededDraws } from '../instance/random.ts';
import { Dual, RATES_FRESH } from './dual.ts';
import { coarseOf, sampleOf } from './sample.ts';

function made(shardCount: number): Problem {
  const { header, shards } = generateInstance({
    seed: 6,
    shards: shardCount,
    nodes: shardCount / 50,
    regions: 12,
    utilisation: 0.7,
  });
  const builder = new ProblemBuilder(header);
  for (const shard of shards()) builder.add(shard);
  return builder.build().problem;
}

it('keeps a choice until prices change', () => {
  const problem = made(600);
  const dual = new Dual(problem);
  const draws = new SeededDraws('choices');
  let changed = 0;
  let before: number[] = [];
  for (let round = 0; round < 3; round++) {
    for (let c = 0; c < dual.prices.length; c++) dual.prices[c] = draws.next() * dual.supply.unitPrice[c]!;
    dual.refresh();
    const chosen: number[] = [];
    for (let twice = 0; twice < 2; twice++)
      for (let s = 0; s < problem.shardCount; s++) {
        const anew = new Dual(problem, dual.prices, 50);
        if (s > 20 && twice === 1) break;
        const usd = dual.choose(s);
        chosen.push(...dual.chosen);
        if (s <= 20) {
          anew.supply.dispersionMax.set(dual.supply.dispersionMax);
          expect(usd).toBe(anew.choose(s));
          expect(dual.chosen).toEqual(anew.chosen);
        }
      }
    changed += chosen.filter((r, i) => before.length > 0 && before[i] !== r).length;
    before = chosen;
  }
  expect(changed).toBeGreaterThan(0);
});

it('finds the prices of all with few shards in most iterations', () => {
  const problem = made(3_000);
  const draws = new SeededDraws('coarse');
  const all = sampleOf(problem, 3_000, draws);
  const coarse = coarseOf(problem, 750, all, draws);
  expect(coarse!.shards.length).toBeLessThan(800);
  expect(coarseOf(problem, 1_501, all, draws)).toBeUndefined();
  const bounds = [undefined, coarse].map((few) => {
    const dual = new Dual(problem);
    dual.ascend(all.shards, 150, RATES_FRESH, all.weights, few);
    return dual.bound();
  });
  expect(Math.abs(bounds[1]! / bounds[0]! - 1)).toBeLessThan(2e-4);
});
