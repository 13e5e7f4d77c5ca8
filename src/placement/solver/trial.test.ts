/**
 * Test plan: the demand of a sample at trial prices against the slow way, which asks the certificate shard by shard: on random
 * problems (fresh and placed, with and without standbys, restricted, pinned and held shards) at random prices, asked several
 * times in a row, since a choice begins at the one before.
 */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { generateInstance, nearestFeasible, ProblemBuilder } from '../index.ts';
import { SeededDraws } from '../instance/random.ts';
import { Dual } from './dual.ts';
import { Trial } from './trial.ts';

it('asks for the load that the certificate would choose, shard by shard', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 5000 }), (seed) => {
      const random = new SeededDraws(seed);
      const { header, shards } = generateInstance({
        seed,
        shards: 80,
        nodes: 24,
        regions: 2 + (seed % 7),
        utilisation: 0.5,
        standbys: seed % 3,
        steps: 1 + (seed % 3),
      });
      const builder = new ProblemBuilder(header);
      for (const shard of shards()) builder.add(shard);
      const { problem } = builder.build();
      const { shardCount, width } = problem;
      const place = nearestFeasible(problem);
      if (seed % 2 === 0) problem.start = place;
      for (let s = 0; s < shardCount; s++) {
        const drawn = random.next();
        if (drawn < 0.1 && problem.start[s * width]! >= 0) problem.frozen[s] = 1;
        else if (drawn < 0.2) problem.pinnedTo[s] = place[s * width]!;
      }
      const sample = Int32Array.from({ length: shardCount }, (_, s) => s).filter(() => random.next() < 0.7);
      const weights = Float64Array.from(sample, () => 1 + 5 * random.next());
      const dual = new Dual(problem);
      const trial = new Trial(dual, sample, weights);
      for (let i = 0; i < 5; i++) {
        for (let c = 0; c < dual.prices.length; c++)
          dual.prices[c] = random.next() < 0.4 ? 0 : 2 * random.next() ** 3 * dual.supply.unitPrice[c]!;
        dual.refresh();
        const demand = new Float64Array(dual.prices.length);
        trial.addDemand(demand);
        const slow = new Float64Array(dual.prices.length);
        for (let j = 0; j < sample.length; j++)
          if (dual.choose(sample[j]!) < Number.POSITIVE_INFINITY)
            dual.addChosen(sample[j]!, slow, weights[j]!);
        for (let c = 0; c < slow.length; c++)
          expect(Math.abs(demand[c]! - slow[c]!)).toBeLessThanOrEqual(1e-9 * slow[c]!);
      }
    }),
    { numRuns: 60 },
  );
});
