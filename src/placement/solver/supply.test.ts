/**
 * What nodes earn at prices is never understated: random replicas on random nodes, base loads and two kinds of nodes included.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ProblemBuilder } from '../instance/build.ts';
import { generateInstance } from '../instance/generate.ts';
import { SeededDraws } from '../instance/random.ts';
import { State } from './state.ts';
import { Supply } from './supply.ts';

describe('a region', () => {
  it('earns at most psi with whatever fits on its nodes, at any prices and references', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 100_000 }), (seed) => {
        const random = new SeededDraws(`supply/${seed}`);
        const { header, shards } = generateInstance({ seed, shards: 30, nodes: 2, regions: 1, steps: 2 });
        header.nodes[1]!.capacity = { cpu: 3, memory: 6e9, network: 2e8 };
        const common = 1.2 * random.next() ** 2;
        header.weights = { ...header.weights, commonVariation: { cpu: common, memory: 0, network: 0.1 } };
        const builder = new ProblemBuilder(header);
        for (const shard of shards()) {
          // From a hundredth of a node to most of it, from steady to wild.
          const by = 0.05 + 3 * random.next() ** 4;
          const wild = random.next() < 0.1 ? 30 : 3 * random.next();
          for (const load of shard.load)
            for (const name of ['cpu', 'memory', 'network'] as const)
              load[name] = [by * load[name][0], by * by * wild * load[name][1]];
          builder.add(shard);
        }
        const { problem } = builder.build();
        const { dims, width, shardCount, nodeCount } = problem;
        for (let i = 0; i < nodeCount * dims; i++)
          if (random.next() < 0.5)
            problem.baseLoad[i] = 0.5 * random.next() * problem.capacity[Math.floor(i / dims) * 3 + (i % 3)]!;
        const supply = new Supply(problem);
        const state = new State(problem);
        for (let s = 0; s < shardCount; s++)
          for (let k = 0; k < width; k++) {
            const n = random.below(nodeCount);
            if (k > 0 && state.place[s * width] === n) continue;
            state.addUsd(s, n, k > 0);
            if (state.fits && random.next() < 0.9) state.put(s, k, n);
          }
        for (let trial = 0; trial < 8; trial++) {
          const prices = supply.unitPrice.map((unit) => (random.next() < 0.3 ? 0 : 2 * random.next() * unit));
          // References that other prices asked for bound no worse.
          supply.refer(trial % 2 === 0 ? prices : prices.map((price) => price * 2 * random.next()));
          let earned = 0;
          for (let n = 0; n < nodeCount; n++) earned -= state.overload[n]!;
          for (let i = 0; i < state.place.length; i++) {
            if (state.place[i]! < 0) continue;
            const s = Math.floor(i / width);
            for (let d = 0; d < dims; d++) {
              const part = i % width === 0 ? 1 : problem.standbyShare[d % 3]!;
              const mean = part * problem.loadMean[s * dims + d]!;
              const variance = part * part * problem.loadVariance[s * dims + d]!;
              earned += prices[d]! * supply.effective(d, d, mean, supply.countedVariance(d, mean, variance));
            }
          }
          const most = supply.psi(0, prices, new Float64Array(dims));
          expect(earned).toBeLessThanOrEqual(most + 1e-9 * Math.abs(most));
        }
      }),
      { numRuns: 200 },
    );
  });
});
