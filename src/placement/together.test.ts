/** Shards that surge together: how a node's variance counts them, kept incrementally and anew, and that placement keeps them apart. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { flatForecast } from '../forecast/index.ts';
import type { PlacementShard } from '../model/loop.ts';
import { commonVariation } from './common-variation.ts';
import { ProblemBuilder } from './instance/build.ts';
import { generateInstance } from './instance/generate.ts';
import { costOf } from './solver/objective.ts';
import { NOWHERE, type Problem } from './solver/problem.ts';
import { solve } from './solver/solve.ts';
import { State } from './solver/state.ts';
import { togetherOf } from './together.ts';

function shard(key: string, rate: number, together?: { group: string; correlation: number }): PlacementShard {
  const forecast = flatForecast(
    `room/${key}`,
    [60],
    { 'us-east-1': { commands: [rate], queries: [0] } },
    { cpuSeconds: 0.01, bytesIn: 1, bytesOut: 1, stateBytes: 1000, windowS: 60 },
  );
  return {
    ...{ shard: `room/${key}`, primary: 'a', cell: 'cell', epoch: 1, version: 1 },
    ...{ stateBytes: 1000, writeBytesPerSecond: 0, bytesPerRequest: 100 },
    forecast: { ...forecast, together },
  };
}

function instance(seed: number, shards: number, nodes: number): Problem {
  const made = generateInstance({
    ...{ shards, nodes, seed, regions: 2, utilisation: 0.7, standbys: seed % 2, steps: 1 + (seed % 2) },
    releasableShare: 0,
  });
  const builder = new ProblemBuilder(made.header);
  for (const one of made.shards()) builder.add(one);
  const { problem } = builder.build();
  problem.excessUsdPerHour = 0;
  return problem;
}

/** Every third shard is of no group; of the others' variance so much is their group's. */
function grouped(problem: Problem, groups: number, correlation: number): Problem {
  return {
    ...problem,
    together: {
      groups,
      of: Int32Array.from({ length: problem.shardCount }, (_, s) => (s % 3 === 0 ? NOWHERE : s % groups)),
      deviation: problem.loadVariance.map((variance) => Math.sqrt(correlation * variance)),
    },
  };
}

/** Variances of all nodes by pairs: each replica's own, and of two of a group twice the product of what they share. */
function twin(problem: Problem, place: Int32Array): Float64Array {
  const { together, dims, width, nodeCount, loadVariance, standbyShare } = problem;
  const variance = new Float64Array(nodeCount * dims);
  const part = (slot: number, d: number) => (slot % width === 0 ? 1 : standbyShare[d % 3]!);
  for (let d = 0; d < dims; d++)
    for (let i = 0; i < place.length; i++) {
      const s = Math.floor(i / width);
      if (place[i]! < 0) continue;
      variance[place[i]! * dims + d]! += part(i, d) ** 2 * loadVariance[s * dims + d]!;
      for (let j = 0; j < i; j++) {
        const t = Math.floor(j / width);
        if (place[j] !== place[i] || together!.of[s]! < 0 || together!.of[s] !== together!.of[t]) continue;
        const shared = together!.deviation[s * dims + d]! * together!.deviation[t * dims + d]!;
        variance[place[i]! * dims + d]! += 2 * part(i, d) * part(j, d) * shared;
      }
    }
  return variance;
}

describe('what shards have in common on a node', () => {
  // The second has more pairs of a node and a group than sums are kept for at first.
  const sizes = fc.oneof(
    { weight: 6, arbitrary: fc.constant({ shards: 12, nodes: 4, groups: 3 }) },
    { weight: 1, arbitrary: fc.constant({ shards: 600, nodes: 40, groups: 100 }) },
  );

  it('is the same by pairs, kept incrementally, foretold for an exchange and in the cost computed anew', () => {
    fc.assert(
      fc.property(sizes, fc.nat({ max: 1000 }), fc.infiniteStream(fc.nat()), (size, seed, numbers) => {
        const draw = (below: number) => (numbers.next().value as number) % below;
        const problem = grouped(instance(seed, size.shards, size.nodes), size.groups, 0.7);
        const { shardCount, width, nodeCount, dims } = problem;
        const state = new State(problem);
        for (let s = 0; s < shardCount; s++)
          for (let k = 0; k < width; k++) state.put(s, k, (draw(nodeCount) + k) % nodeCount);
        for (let step = 0; step < 30; step++) {
          const [s, t] = [draw(shardCount), draw(shardCount)];
          const n = state.place[t * width]!;
          if (s === t || state.place.subarray(s * width, (s + 1) * width).includes(n)) continue;
          state.remove(s, 0);
          const before = state.overload[n]!;
          const foretold = state.exchangeUsd(n, s, false, t, false);
          state.remove(t, 0);
          state.put(s, 0, n);
          expect(state.overload[n]! - before).toBeCloseTo(foretold, 8);
          state.put(t, 0, draw(nodeCount));
        }
        const expected = twin(problem, state.place);
        const all = new Float64Array(dims);
        problem.loadVariance.forEach((variance, i) => {
          all[i % dims]! += variance;
        });
        for (let i = 0; i < nodeCount * dims; i++)
          expect(Math.abs(state.variance[i]! - expected[i]!)).toBeLessThanOrEqual(1e-9 * all[i % dims]!);
        let overload = 0;
        for (const usd of state.overload) overload += usd;
        expect(costOf(problem, state.place).overload).toBeCloseTo(overload, 6);
      }),
      { numRuns: 40 },
    );
  });

  it('makes a solver take a crowded group apart, which it would leave as it is without, at a bound that holds', () => {
    const alike = instance(2, 24, 6);
    const { width, nodeCount, shardCount } = alike;
    // Alike but for their groups, in one region, and where they are each node has a group of its own.
    for (let i = 0; i < alike.loadMean.length; i++) {
      alike.loadMean[i] = (0.4 * nodeCount * alike.capacity[i % 3]!) / shardCount;
      alike.loadVariance[i] = alike.loadMean[i]! ** 2;
    }
    alike.nodeRegion.fill(0);
    alike.standbys.fill(0);
    // As a controller's clusters: queues are priced, so a node is looked at that is busier than the least busy one.
    alike.queueUsdPerHour = 0.1;
    alike.moveUsd = 0;
    for (const column of [alike.moveNearUsd, alike.moveFarUsd, alike.stateGb]) column.fill(0);
    alike.allowed.fill(1);
    for (let s = 0; s < shardCount; s++) alike.start[s * width] = s % nodeCount;
    const problem = grouped(alike, nodeCount, 0.9);
    const pairs = (place: Int32Array) => {
      let count = 0;
      for (let s = 0; s < shardCount; s++)
        for (let t = 0; t < s; t++)
          if (problem.together!.of[s]! >= 0 && problem.together!.of[s] === problem.together!.of[t])
            count += place[s * width] === place[t * width] ? 1 : 0;
      return count;
    };
    const apart = solve(problem);
    expect(pairs(solve(alike).place)).toBe(pairs(alike.start));
    expect(pairs(apart.place)).toBeLessThan(0.5 * pairs(alike.start));
    expect(apart.cost.total).toBeLessThan(costOf(problem, alike.start).total);
    expect(apart.lowerBound).toBeLessThanOrEqual(apart.cost.total * (1 + 1e-9));
  });

  it('is read from forecasts: groups of two or more, nothing of memory, and no more of them than there is room for', () => {
    const tenant = { group: 'room/t:', correlation: 0.64 };
    const shards = [
      shard('t:1', 5, tenant),
      shard('x', 5),
      shard('t:2', 5, tenant),
      shard('u:1', 5, { group: 'u', correlation: 1 }),
    ];
    const loadVariance = Float64Array.from([4, 4, 4, 1, 1, 1, 9, 9, 9, 1, 1, 1]);
    const found = togetherOf(shards, { nodeCount: 2, dims: 3, loadVariance })!;
    expect(found.groups).toBe(1);
    expect([...found.of]).toEqual([0, NOWHERE, 0, NOWHERE]);
    expect([...found.deviation]).toEqual([
      1.6, 0, 1.6, 0, 0, 0, 2.4000000000000004, 0, 2.4000000000000004, 0, 0, 0,
    ]);
    expect(togetherOf(shards.slice(1, 2), { nodeCount: 2, dims: 3, loadVariance })).toBeUndefined();
    expect(togetherOf(shards, { nodeCount: 5e6, dims: 3, loadVariance })).toBeUndefined();
  });

  it('is not counted a second time as what all loads have in common', () => {
    const apart = [1, 2, 3, 4].map((i) => shard(`t:${i}`, 50));
    const together = [1, 2, 3, 4].map((i) => shard(`t:${i}`, 50, { group: 't', correlation: 0.9 }));
    const total = { p50: [200], p90: [260] };
    expect(commonVariation(together, total)).toBeLessThan(commonVariation(apart, total));
    expect(commonVariation(together, { p50: [200], p90: [201] })).toBe(0);
  });
});
