/**
 * What nodes earn at prices is never understated: random replicas on random nodes, base loads and two kinds of nodes included.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ProblemBuilder } from '../instance/build.ts';
import { generateInstance } from '../instance/generate.ts';
import { SeededDraws } from '../instance/random.ts';
import type { Problem } from './problem.ts';
import { State } from './state.ts';
import { Supply } from './supply.ts';

/** Shards of a hundredth of a node to a fifth, from steady to wild; or all alike, where the bound is tight. */
function made(seed: number, random: SeededDraws): Problem {
  const { header, shards } = generateInstance({
    seed,
    shards: 60,
    nodes: 1 + (seed % 2),
    regions: 1,
    steps: 2,
    utilisation: 2,
  });
  if (header.nodes.length > 1) header.nodes[1]!.capacity = { cpu: 3, memory: 6e9, network: 2e8 };
  const common = 1.2 * random.next() ** 2;
  header.weights = { ...header.weights, commonVariation: { cpu: common, memory: 0, network: 0.1 } };
  const alike = random.next() < 0.5;
  const dispersion = { cpu: 0.2, memory: 3e8, network: 1e7 };
  const builder = new ProblemBuilder(header);
  for (const shard of shards()) {
    const wild = random.next() < 0.1 ? 30 : 3 * random.next();
    for (const load of shard.load)
      for (const name of ['cpu', 'memory', 'network'] as const)
        load[name][1] = alike ? load[name][0] * dispersion[name] : wild * load[name][1];
    builder.add(shard);
  }
  const { problem } = builder.build();
  for (let i = 0; i < problem.baseLoad.length; i++)
    if (random.next() < 0.3)
      problem.baseLoad[i] =
        0.3 * random.next() * problem.capacity[Math.floor(i / problem.dims) * 3 + (i % 3)]!;
  return problem;
}

describe('a region', () => {
  it('earns at most psi with whatever fits on its nodes, at any prices and references', () => {
    let tightest = Number.POSITIVE_INFINITY;
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 100_000 }), (seed) => {
        const random = new SeededDraws(`supply/${seed}`);
        const problem = made(seed, random);
        const { dims, width, shardCount, nodeCount, headroom } = problem;
        const supply = new Supply(problem);
        const state = new State(problem);
        for (let s = 0; s < shardCount; s++)
          for (let k = 0; k < width; k++) {
            const n = random.below(nodeCount);
            if (k > 0 && state.place[s * width] === n) continue;
            state.addUsd(s, n, k > 0);
            if (state.fits) state.put(s, k, n);
          }
        for (let d = 0; d < dims; d++) {
          // Near the price at which a node would carry just that, where psi has least to spare.
          const over = Math.max(0, state.shareOf(0, d) - headroom) / (1 - headroom);
          const prices = new Float64Array(dims);
          prices[d] = supply.unitPrice[d]! * (over + 0.1) * (0.9 + 0.5 * random.next());
          // References that other prices ask for bound as well.
          supply.refer(prices.map((price) => price * (random.next() < 0.5 ? 1 : 2 * random.next())));
          let earned = 0;
          for (let n = 0; n < nodeCount; n++) {
            const share = Math.max(0, state.shareOf(n, d) - headroom) / (1 - headroom);
            earned -= problem.stepWeight[Math.floor(d / 3)]! * problem.overloadUsdPerHour[n]! * share ** 2;
          }
          for (let i = 0; i < state.place.length; i++) {
            if (state.place[i]! < 0) continue;
            const s = Math.floor(i / width);
            const part = i % width === 0 ? 1 : problem.standbyShare[d % 3]!;
            const mean = part * problem.loadMean[s * dims + d]!;
            const variance = part * part * problem.loadVariance[s * dims + d]!;
            earned += prices[d]! * supply.effective(d, d, mean, supply.countedVariance(d, mean, variance));
          }
          const most = supply.psi(0, prices, new Float64Array(dims));
          expect(earned).toBeLessThanOrEqual(most + 1e-9 * Math.abs(most));
          if (most > 0) tightest = Math.min(tightest, (most - earned) / most);
        }
      }),
      { numRuns: 300 },
    );
    // Else a psi that is a little too small would pass.
    expect(tightest).toBeLessThan(0.003);
  });
});
