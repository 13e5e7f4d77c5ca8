/** Exchanges in full regions: what they may change, what they never do, and what only they find. */
import fc from 'fast-check';
import { expect, it, vi } from 'vitest';
import { ProblemBuilder } from '../instance/build.ts';
import { generateInstance } from '../instance/generate.ts';
import { SeededDraws } from '../instance/random.ts';
import type { InstanceHeader, InstanceShard } from '../instance/types.ts';
import { Candidates } from './candidates.ts';
import { Company } from './company.ts';
import { Dual, RATES_FRESH } from './dual.ts';
import { apart, eligible } from './eligible.ts';
import { Exchange } from './exchange.ts';
import { nearestFeasible } from './greedy.ts';
import { Inserter } from './insert.ts';
import { costOf } from './objective.ts';
import type { Problem } from './problem.ts';
import { Search } from './search.ts';
import { State } from './state.ts';

vi.setConfig({ testTimeout: 60_000 });

function exchangeOf(problem: Problem, place: Int32Array) {
  const dual = new Dual(problem);
  dual.ascend(
    Int32Array.from({ length: problem.shardCount }, (_, s) => s),
    60,
    RATES_FRESH,
  );
  const state = new State(problem, place);
  const search = new Search(
    new Inserter(state, dual, new Candidates(state, new SeededDraws(1)), new Company(problem)),
  );
  return { state, search, dual, exchange: new Exchange(search) };
}

function excess(state: State): number {
  let over = 0;
  for (let n = 0; n < state.problem.nodeCount; n++)
    for (let d = 0; d < state.problem.dims; d++)
      over += Math.max(0, state.shareOf(n, d) - state.problem.fullShare[d]!);
  return over;
}

function broken(problem: Problem, place: Int32Array): number {
  let count = 0;
  for (let s = 0; s < problem.shardCount; s++)
    for (let k = 0; k <= problem.standbys[s]!; k++) {
      const n = place[s * problem.width + k]!;
      if (n < 0 || !eligible(problem, s, n, k > 0)) count++;
      for (let j = 0; j < k; j++) if (!apart(problem, s, place[s * problem.width + j]!, n)) count++;
    }
  return count;
}

/** Two regions of one node each, without standbys: 10.1 units of memory a node, `a` full of what little minds where it is. */
function twoNodes(): { header: InstanceHeader; shards: InstanceShard[] } {
  const node = (id: string) => ({
    id,
    region: id,
    zone: '1',
    capacity: { cpu: 1000, memory: 10.1, network: 1e9 },
    usdPerHour: 0.1,
  });
  const header: InstanceHeader = {
    regions: ['a', 'b'],
    rttMs: [
      [1, 100],
      [100, 1],
    ],
    egressUsdPerGb: [
      [0, 0],
      [0, 0],
    ],
    bandwidthBps: 1e9,
    cells: [],
    nodes: [node('a'), node('b')],
    steps: 1,
    weights: { headroom: 0.999 },
  };
  const shard = (id: string, memory: number, requestsPerSecond: number): InstanceShard => ({
    id,
    load: [{ cpu: [1, 0], memory: [memory, 0], network: [1, 0] }],
    commandsPerSecond: {},
    queriesPerSecond: { a: [requestsPerSecond] },
    bytesPerRequest: 1,
    stateBytes: 0,
    writeBytesPerSecond: 0,
    standbys: 0,
  });
  const shards = [shard('large', 5, 100)];
  for (let i = 0; i < 9; i++) shards.push(shard(`small${i}`, 1, 1 + i));
  return { header, shards };
}

it('brings a large shard into a full region for the small ones that lose least, where no single move gains', () => {
  const { header, shards } = twoNodes();
  const builder = new ProblemBuilder(header);
  for (const shard of shards) builder.add(shard);
  const { problem } = builder.build();
  const place = Int32Array.from(shards, (_, s) => (s === 0 ? 1 : 0));
  const { exchange, search, state } = exchangeOf(problem, place);
  for (let s = 0; s < shards.length; s++) expect(search.relocate(s)).toBe(false);
  const before = costOf(problem, state.place).total;
  const saved = exchange.pass(Number.POSITIVE_INFINITY);
  expect([...state.place]).toEqual([0, 1, 1, 1, 1, 0, 0, 0, 0, 0]);
  expect(saved).toBeCloseTo(before - costOf(problem, state.place).total, 9);
  // 100 requests/s gain 99 ms, 1 + 2 + 3 + 4 lose them.
  expect(saved).toBeCloseTo((3600 * 0.1 * 99 * (100 - 10)) / 1e6, 9);
  expect(exchange.pass(Number.POSITIVE_INFINITY)).toBe(0);
});

it('lets those leave an overfull node that lose least by it, not the largest', () => {
  const { header, shards } = twoNodes();
  const builder = new ProblemBuilder(header);
  for (const shard of shards) builder.add(shard);
  const { problem } = builder.build();
  const { exchange, state } = exchangeOf(problem, new Int32Array(shards.length));
  exchange.relieve();
  expect([...state.place]).toEqual([0, 1, 1, 1, 1, 0, 0, 0, 0, 0]);
});

it('never raises the cost, breaks a constraint or fills a node beyond full; its sums are those computed anew', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 5000 }), (seed) => {
      const { header, shards } = generateInstance({
        shards: 120 + (seed % 60),
        nodes: 12,
        regions: 4,
        seed,
        utilisation: 0.55 + 0.05 * (seed % 5),
        standbys: seed % 3,
      });
      const all = [...shards()];
      const random = new SeededDraws(`exchange/${seed}`);
      for (const shard of all) {
        if (random.next() < 0.05) shard.allowedRegions = [header.regions[random.below(4)]!];
        if (random.next() < 0.03) shard.pinnedTo = header.nodes[random.below(12)]!.id;
      }
      const builder = new ProblemBuilder(header);
      for (const shard of all) builder.add(shard);
      const { problem } = builder.build();
      const place = nearestFeasible(problem);
      // Greedy leaves what fits nowhere at once: such an instance says nothing here.
      fc.pre(broken(problem, place) === 0);
      if (seed % 2 === 0) {
        problem.start = Int32Array.from(place);
        for (let s = 0; s < problem.shardCount; s++) if (random.next() < 0.05) problem.frozen[s] = 1;
      }
      const { exchange, state } = exchangeOf(problem, place);
      let cost = costOf(problem, place).total;
      for (let pass = 0; pass < 3; pass++) {
        const saved = exchange.pass(Number.POSITIVE_INFINITY);
        const after = costOf(problem, state.place).total;
        expect(saved).toBeGreaterThanOrEqual(0);
        expect(cost - after).toBeCloseTo(saved, 6);
        cost = after;
        expect(broken(problem, state.place)).toBe(0);
        expect(excess(state)).toBeLessThan(1e-6);
      }
      const anew = new State(problem, state.place);
      for (let i = 0; i < anew.mean.length; i++)
        expect(Math.abs(anew.mean[i]! - state.mean[i]!)).toBeLessThan(1e-9 * (1 + Math.abs(anew.mean[i]!)));
      expect([...anew.replicas]).toEqual([...state.replicas]);
      for (let s = 0; s < problem.shardCount; s++)
        if (problem.frozen[s] === 1) expect(state.place[s * problem.width]).toBe(place[s * problem.width]);
    }),
    { numRuns: 40 },
  );
});
