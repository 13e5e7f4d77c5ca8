/** The placer on small clusters whose answer is plain: bytes, standbys, full nodes, what cannot be kept, and the certificate. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { flatForecast } from '../forecast/index.ts';
import type { PlacementNode, PlacementShard } from '../model/loop.ts';
import { AWS_THREE_REGIONS } from '../model/topology.ts';
import { ClusterProblem } from './cluster-problem.ts';
import { CPU_SHARE_MAX } from './constraints/capacity.ts';
import { horizonsFor } from './defaults.ts';
import type { PlacementInput } from './input.ts';
import { createPlacer } from './place.ts';
import { queueFloorUsd } from './queue-floor.ts';
import { costOf } from './solver/objective.ts';
import type { Problem } from './solver/problem.ts';
import { solve } from './solver/solve.ts';

const [us, eu, ap] = AWS_THREE_REGIONS.regions as [string, string, string];

const node = (name: string, region: string, some: Partial<PlacementNode> = {}): PlacementNode => ({
  processId: name,
  name,
  region,
  zone: `${region}-${name}`,
  capacity: { cpu: 1, memoryBytes: 8e9, networkBytesPerSecond: 1e9 },
  usdPerHour: 0.1,
  open: true,
  draining: false,
  versions: { room: 1 },
  ...some,
});

/** Rates by region at each horizon; `cpu` is core-seconds a request. */
function shard(
  key: string,
  primary: string,
  rates: Record<string, (horizonS: number) => number>,
  some: Partial<PlacementShard> & { cpu?: number; horizonsS?: number[] } = {},
): PlacementShard {
  const { cpu = 0.0005, horizonsS = horizonsFor(2), ...rest } = some;
  const byOrigin = Object.fromEntries(
    Object.entries(rates).map(([region, rate]) => [
      region,
      { commands: horizonsS.map((h) => 0.3 * rate(h)), queries: horizonsS.map((h) => 0.7 * rate(h)) },
    ]),
  );
  const stateBytes = some.stateBytes ?? 1000;
  return {
    shard: `room/${key}`,
    primary,
    cell: 'cell',
    epoch: 1,
    forecast: flatForecast(`room/${key}`, horizonsS, byOrigin, {
      cpuSeconds: cpu,
      bytesIn: 1,
      bytesOut: 1,
      stateBytes,
      windowS: 10,
    }),
    stateBytes,
    writeBytesPerSecond: 10,
    bytesPerRequest: 500,
    version: 1,
    ...rest,
  };
}

const input = (
  nodes: PlacementNode[],
  shards: PlacementShard[],
  some: Partial<PlacementInput> = {},
): PlacementInput => ({
  nodes,
  shards,
  topology: AWS_THREE_REGIONS,
  cells: { [us]: 'cell-us', [eu]: 'cell-eu', [ap]: 'cell-ap' },
  ...some,
});
const targets = (result: { relocations: { shard: string; target: string }[] }) =>
  Object.fromEntries(result.relocations.map(({ shard: of, target }) => [of, target]));

describe('bytes and time', () => {
  const nodes = [node('e', eu), node('u', us)];
  const horizonsS = horizonsFor(2, 0, 40);
  // Users come to America in ten seconds.
  const later = { [us]: (h: number) => (h >= 10 ? 100 : 0), [eu]: (h: number) => (h >= 10 ? 0 : 100) };

  it('a large shard starts before its users come, a small one when they do', () => {
    const shards = [
      shard('small', 'e', later, { horizonsS }),
      shard('large', 'e', later, { horizonsS, stateBytes: 1e9 }),
    ];
    const result = createPlacer().place(input(nodes, shards, { bandwidthBps: () => 100e6 }));
    expect(targets(result)).toEqual({ 'room/large': 'u' });
    expect(result.relocations[0]).toMatchObject({ doneS: 12, bytes: 1e9 });
    expect(result.relocations[0]!.neededAtS).toBeGreaterThanOrEqual(12);
  });

  it('weighs a move of a few bytes as one of none: a step is no finer', () => {
    const stays = shard('a', 'e', { [us]: () => 20 });
    const target = (bps: number) =>
      targets(createPlacer().place(input(nodes, [stays], { bandwidthBps: () => bps })));
    expect(target(1e9)).toEqual({ 'room/a': 'u' });
    expect(target(1e5)).toEqual({ 'room/a': 'u' });
    expect(target(1e3)).toEqual({ 'room/a': 'u' });
  });

  it('decides moves of minutes by what comes after them', () => {
    expect(horizonsFor(2)).toEqual([2, 3, 4, 6, 8, 12]);
    expect(horizonsFor(2, 0, 40)).toEqual([2, 3, 4, 6, 8, 12, 64, 128]);
    expect(horizonsFor(2, 0, 41)).toEqual(horizonsFor(2, 0, 60));
  });

  it('promotes a standby where that is as good: no bytes', () => {
    const two = [node('u1', us), node('u2', us)];
    const far = shard('a', 'e', { [us]: () => 20 }, { standbys: ['u2'], stateBytes: 5e8 });
    const [move] = createPlacer().place(input([node('e', eu), ...two], [far])).relocations;
    expect(move).toMatchObject({ target: 'u2', bytes: 0 });
  });
});

describe('what is not known yet', () => {
  /** A load of 100/s, twice that from 6 s on, whose p90 is the wider the further ahead. */
  const widening = (stateBytes: number) => {
    const one = shard('a', 'n1', { [us]: (h) => (h < 6 ? 100 : 200) }, { stateBytes });
    const { quantiles } = one.forecast.metrics.cpu;
    one.forecast.horizonsS.forEach((h, t) => {
      quantiles[1][t] = quantiles[0][t]! + 0.01 * h;
    });
    return one;
  };
  const deviations = (one: PlacementShard, bytesPerSecond: number) => {
    const bandwidthBps = () => bytesPerSecond;
    const { problem } = new ClusterProblem(input([node('n1', us)], [one], { bandwidthBps }));
    return one.forecast.horizonsS.map((_, t) => (1.2816 * Math.sqrt(problem.loadVariance[t * 3]!)) / 0.01);
  };

  it('counts as far as a move reaches; later it will be known better, and the spread is as wide for its mean as then', () => {
    // Horizons 2, 3, 4, 6, 8, 12; a move of no bytes is done after 2 s.
    const none = deviations(widening(0), 1);
    [2, 2, 2, 4, 4, 4].forEach((seconds, t) => {
      expect(none[t]).toBeCloseTo(seconds, 6);
    });
    // 2 s of bytes more: done at 4 s, so that much must be provided for.
    const some = deviations(widening(1000), 500);
    [2, 3, 4, 6, 8, 8].forEach((seconds, t) => {
      expect(some[t]).toBeCloseTo(seconds, 6);
    });
  });

  it('is its own spread for a shard that sleeps now: nothing tells how wide it is for its mean', () => {
    const asleep = shard('a', 'n1', { [us]: (h) => (h < 6 ? 0 : 200) });
    const [sd] = asleep.forecast.metrics.cpu.quantiles[1].slice(-1);
    const { problem } = new ClusterProblem(input([node('n1', us)], [asleep]));
    const variances = asleep.forecast.horizonsS.map((_, t) => problem.loadVariance[t * 3]!);
    expect(variances.slice(0, 3)).toEqual([0, 0, 0]);
    const mean = problem.loadMean[5 * 3]!;
    expect(1.2816 * Math.sqrt(variances[5]!)).toBeCloseTo(sd! - mean, 5);
    // Four of them are too much for one node, and it is seen.
    const four = ['a', 'b', 'c', 'd'].map((key) =>
      shard(key, 'n1', { [us]: (h) => (h < 3 ? 0 : 600) }, { cpu: 0.0005 }),
    );
    expect(createPlacer().place(input([node('n1', us), node('n2', us)], four)).relocations).toHaveLength(2);
  });
});

describe('shards that sleep and surge', () => {
  /** Next to nothing now, a quarter of a core at once when it wakes. */
  const sleeper = (key: string, primary: string, surge = 0.05) => {
    const one = shard(key, primary, { [us]: () => 0.1 });
    one.forecast.surge = { requests: surge / 0.0005, cpu: surge, network: 0 };
    return one;
  };

  it('count with what they are when they wake in a moment beside all steps, in which no node is full', () => {
    const plain = sleeper('a', 'n1');
    plain.forecast.surge = undefined;
    const problemOf = (of: PlacementShard) => new ClusterProblem(input([node('n1', us)], [of])).problem;
    const cpu = ({ loadVariance }: Problem) => loadVariance.filter((_, i) => i % 3 === 0);
    const [without, surging] = [problemOf(plain), problemOf(sleeper('a', 'n1'))];
    expect(surging.steps).toBe(without.steps + 1);
    expect(cpu(surging).slice(0, -1)).toEqual(cpu(without));
    expect(cpu(surging).at(-1)).toBeGreaterThan(0.05 ** 2);
    expect(surging.stepWeight.reduce((sum, weight) => sum + weight)).toBeCloseTo(1, 12);
    expect(surging.fullShare.at(-3)).toBeGreaterThan(2);
  });

  it('are spread over the nodes of a region before they wake', () => {
    const nodes = ['n1', 'n2', 'n3'].map((name) => node(name, us));
    const steady = nodes.map(({ name }) => shard(`steady-${name}`, name, { [us]: () => 1200 }));
    const sleepers = ['a', 'b', 'c', 'd', 'e', 'f'].map((key) => sleeper(key, 'n1'));
    const { target } = createPlacer().place(input(nodes, [...steady, ...sleepers]));
    const on = (name: string) => sleepers.filter((one) => target.get(one.shard) === name).length;
    expect(nodes.map(({ name }) => on(name))).toEqual([2, 2, 2]);
    const none = createPlacer().place(
      input(nodes, [...steady, ...sleepers.map((one) => sleeper(one.shard.slice(5), 'n1', 0))]),
    );
    expect(none.relocations).toEqual([]);
  });
});

describe('full nodes', () => {
  it('stops at the wall of a node in every prefix of the moves', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 4, maxLength: 30 }), (rates) => {
        const nodes = [
          node('e', eu, { capacity: small }),
          node('u1', us, { capacity: small }),
          node('u2', us),
        ];
        const shards = rates.map((rate, i) =>
          shard(`k${i}`, i % 3 === 0 ? 'u1' : 'e', { [i % 2 === 0 ? us : eu]: () => rate }),
        );
        const given = input(nodes, shards);
        const { relocations } = createPlacer().place(given);
        const { problem } = new ClusterProblem(given);
        const place = problem.start.slice();
        const before = loads(problem, place);
        for (const { shard: of, target } of relocations) {
          place[shards.findIndex(({ shard: id }) => id === of)] = nodes.findIndex(
            ({ name }) => name === target,
          );
          const now = loads(problem, place);
          nodes.forEach(({ capacity }, n) => {
            expect(now[n]!).toBeLessThanOrEqual(Math.max(before[n]!, CPU_SHARE_MAX * capacity.cpu) + 1e-9);
          });
        }
      }),
      { numRuns: 20 },
    );
  });

  const small = { cpu: 0.2, memoryBytes: 8e9, networkBytesPerSecond: 1e9 };
  /** p90 CPU in the first step. */
  const loads = (problem: ClusterProblem['problem'], place: Int32Array): number[] =>
    Array.from({ length: problem.nodeCount }, (_, n) => {
      let mean = 0;
      let variance = 0;
      for (let s = 0; s < problem.shardCount; s++)
        if (place[s * problem.width] === n) {
          mean += problem.loadMean[s * problem.dims]!;
          variance += problem.loadVariance[s * problem.dims]!;
        }
      return mean + problem.quantileZ * Math.sqrt(variance);
    });

  it('names a shard near the size of a node, and moves its neighbours away instead of it', () => {
    const nodes = [node('e1', eu), node('e2', eu)];
    const hot = shard('hot', 'e1', { [eu]: () => 800 }, { cpu: 0.001 });
    const cold = Array.from({ length: 20 }, (_, i) =>
      shard(`c${i}`, 'e1', { [eu]: () => 10 }, { cpu: 0.001 }),
    );
    const { relocations, nodeSized, target } = createPlacer().place(input(nodes, [hot, ...cold]));
    expect(target.get('room/hot')).toBe('e1');
    expect(relocations.length).toBe(20);
    expect(nodeSized).toMatchObject([{ shard: 'room/hot', neighbours: 0 }]);
    expect(nodeSized[0]!.share).toBeGreaterThan(0.8);
  });

  it('says which constraint no placement can keep, for which shards, and what would mend it', () => {
    const closed = [node('e', eu, { draining: true, open: false }), node('u', us)];
    const law = createPlacer().place(input(closed, [shard('law', 'e', {}, { allowedRegions: [eu] })]));
    expect(law.relocations).toEqual([]);
    expect(law.infeasible).toMatchObject([{ constraint: 'jurisdiction', count: 1, examples: ['room/law'] }]);
    expect(law.infeasible[0]!.remedy).toMatch(/add or open a node that may/);
    const full = [closed[0]!, node('u', us, { capacity: { ...small, cpu: 0.01 } })];
    const heavy = createPlacer().place(input(full, [shard('heavy', 'e', { [us]: () => 90 })]));
    expect(heavy.relocations).toEqual([]);
    expect(heavy.infeasible).toMatchObject([{ constraint: 'capacity', examples: ['room/heavy'] }]);
    expect(heavy.infeasible[0]!.remedy).toMatch(/more cpu in us-east-1/);
  });

  it('says in its sentence that something cannot be kept, not that all is well', () => {
    const busy = () => shard('a', 'n1', { [us]: () => 10 });
    const place = (nodes: PlacementNode[], shards: PlacementShard[]) =>
      createPlacer().place(input(nodes, shards));
    expect(place([node('n1', us, { open: false, draining: true })], [busy()]).reason).toMatch(
      /^every other shard is where it should be, at .* an hour; cannot be kept: nodes 1$/,
    );
    // Its target is gone: that is no lack of room.
    const held = place([node('n1', us)], [{ ...busy(), inFlightTo: 'gone' }]);
    expect(held.infeasible).toMatchObject([
      { constraint: 'in-flight or quarantined', remedy: expect.stringMatching(/left as it is/) },
    ]);
    expect(place([node('n1', us)], [busy(), shard('b', 'gone', { [us]: () => 1 })]).reason).toMatch(
      /^1 shard would be better elsewhere/,
    );
    const nothing = place([], [busy()]);
    expect(nothing.relocations).toEqual([]);
    expect(place([node('n1', us)], []).relocations).toEqual([]);
  });
});

describe('the certificate', () => {
  it('is below every placement of tiny clusters, queues included', () => {
    const rate = fc.integer({ min: 0, max: 500 });
    fc.assert(
      fc.property(fc.array(fc.tuple(rate, rate), { minLength: 1, maxLength: 4 }), (all) => {
        const nodes = [node('e', eu), node('u', us), node('a', ap)];
        const shards = all.map(([here, there], i) =>
          shard(`k${i}`, nodes[i % 3]!.name, { [eu]: () => here, [ap]: () => there }),
        );
        const { problem } = new ClusterProblem(input(nodes, shards));
        const bound = solve(problem).lowerBound + queueFloorUsd(problem);
        for (let code = 0; code < 3 ** shards.length; code++) {
          const place = Int32Array.from(shards, (_, s) => Math.floor(code / 3 ** s) % 3);
          expect(costOf(problem, place).total).toBeGreaterThanOrEqual(bound * (1 - 1e-7));
        }
      }),
      { numRuns: 25 },
    );
  });

  it('comes with every round, and is near where there is room', () => {
    const nodes = [node('e', eu), node('u', us), node('a', ap)];
    const shards = Array.from({ length: 60 }, (_, i) =>
      shard(`k${i}`, nodes[i % 3]!.name, { [[eu, us, ap][(i * 7 + 1) % 3]!]: () => 1 + (i % 5) }),
    );
    const { certificate, cost } = createPlacer().place(input(nodes, shards));
    expect(certificate!.gap).toBeLessThan(0.02);
    expect(cost.target.total).toBeLessThan(cost.now.total);
    expect(certificate!.lowerBoundUsdPerHour).toBeGreaterThan(0);
    // Who does not ask for it has the same answer without.
    const { certificate: none, target } = createPlacer().place(
      input(nodes, shards, { budget: { isCertified: false } }),
    );
    expect(none).toBeUndefined();
    expect(target).toEqual(createPlacer().place(input(nodes, shards)).target);
  });
});

describe('an explanation', () => {
  it('tells prices, gain, cost and the runner-up, of a move and of staying', () => {
    const nodes = [node('e', eu), node('u', us), node('a', ap)];
    const shards = [shard('goes', 'e', { [us]: () => 20 }), shard('stays', 'u', { [us]: () => 20 })];
    const placer = createPlacer();
    const goes = placer.explain(input(nodes, shards), 'room/goes');
    expect(goes.text).toMatch(/It should move: u would give 1.0 ms and save \$.* moving costs/);
    expect(goes.why).toMatch(/leaves eu-west-1 and gains .*moving costs .*next best is/);
    const stays = placer.explain(input(nodes, shards), 'room/stays');
    expect(stays.text).toMatch(/No other node is better/);
    expect(stays.why).toMatch(/^us-east-1 costs its users .*next best is eu-west-1 at .*more/);
    expect(stays.priceUsdPerHour).toEqual({ [us]: 0, [eu]: 0, [ap]: 0 });
    const [move] = placer.place(input(nodes, shards)).relocations;
    expect(move!.reason.runnerUp).toMatchObject({ target: 'a' });
    expect(move!.reason.runnerUp!.gainUsdPerHour).toBeLessThan(move!.reason.gainUsdPerHour);
  });
});
