/**
 * Test plan: what a replica more costs is asked the short way (few roots, a limit) against the long one, which takes every root: on random
 * problems, filled to beyond full, with queues priced and nodes that could be given back. How uneven it makes a
 * node is told without variances where it costs nothing. With a limit an answer below it is exact, and one from it
 * on means that the true one is there as well.
 */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { generateInstance, ProblemBuilder } from '../index.ts';
import { SeededDraws } from '../instance/random.ts';
import { NOWHERE } from './problem.ts';
import { State } from './state.ts';

it('tells what a replica more costs as if it took every root', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 5000 }), (seed) => {
      const random = new SeededDraws(seed);
      const { header, shards } = generateInstance({
        seed,
        shards: 120,
        nodes: 10,
        regions: 3,
        utilisation: 0.4 + 0.6 * random.next(),
        steps: 1 + (seed % 3),
      });
      const builder = new ProblemBuilder(header);
      for (const shard of shards()) builder.add(shard);
      const { problem } = builder.build();
      if (seed % 2 === 0) problem.queueUsdPerHour = 0.5;
      const state = new State(problem);
      for (let n = 0; n < problem.nodeCount; n++) if (random.next() < 0.3) problem.releasable[n] = 1;
      let limited = 0;
      for (let s = 0; s < problem.shardCount; s++) {
        for (let n = 0; n < problem.nodeCount; n++) {
          const standby = random.next() < 0.5;
          const exact = state.exchangeUsd(n, s, standby, NOWHERE, false);
          const { fits, spreadScore } = state;
          expect(state.addUsd(s, n, standby)).toBeCloseTo(exact, 9);
          expect(state.fits).toBe(fits);
          expect(state.spreadScore).toBeLessThanOrEqual(spreadScore + 1e-9);
          const limit = 2 * random.next() * Math.abs(exact);
          const usd = state.addUsd(s, n, standby, limit);
          if (usd >= limit) {
            limited++;
            expect(exact).toBeGreaterThanOrEqual(limit - 1e-9);
          } else expect(usd).toBeCloseTo(exact, 9);
        }
        state.put(s, 0, random.below(problem.nodeCount));
        if (s % 5 === 0) state.put(s, 1, random.below(problem.nodeCount));
      }
      expect(limited).toBeGreaterThan(0);
    }),
    { numRuns: 15 },
  );
});
