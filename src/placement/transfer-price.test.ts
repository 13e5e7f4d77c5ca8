/** What bytes cost where they leave and arrive: by how busy the node is while they go, and the placer asks the quiet one. */
import { describe, expect, it } from 'vitest';
import { flatForecast } from '../forecast/index.ts';
import type { PlacementNode, PlacementShard } from '../model/loop.ts';
import { AWS_THREE_REGIONS } from '../model/topology.ts';
import { ClusterProblem } from './cluster-problem.ts';
import type { PlacementInput } from './input.ts';
import { createPlacer } from './place.ts';
import { primaryMoveUsd } from './solver/objective.ts';
import { TIMED_BYTES_MIN } from './timing.ts';

const REGION = 'us-east-1';
const HORIZONS_S = [150, 450, 750, 1050];
const MB = 1e6;

const node = (name: string): PlacementNode => ({
  processId: name,
  name,
  region: REGION,
  zone: name,
  capacity: { cpu: 1, memoryBytes: 64e9, networkBytesPerSecond: 1e12 },
  usdPerHour: 0.1,
  open: true,
  draining: false,
  versions: { room: 1 },
});

/** @param cpu core-seconds a second at each horizon */
function shard(key: string, primary: string, cpu: readonly number[], stateBytes = 2e9): PlacementShard {
  const byOrigin = { [REGION]: { commands: cpu.map(() => 0), queries: cpu.map((share) => share * 100) } };
  const profile = { cpuSeconds: 0.01, bytesIn: 1, bytesOut: 1, stateBytes, windowS: 1e6 };
  return {
    shard: `room/${key}`,
    primary,
    cell: 'cell',
    epoch: 1,
    forecast: flatForecast(`room/${key}`, HORIZONS_S, byOrigin, profile),
    stateBytes,
    writeBytesPerSecond: 0,
    bytesPerRequest: 100,
    version: 1,
  };
}

const input = (
  nodes: PlacementNode[],
  shards: PlacementShard[],
  prices: Partial<PlacementInput['prices']> = {},
): PlacementInput => ({
  nodes,
  shards,
  topology: AWS_THREE_REGIONS,
  cells: { [REGION]: 'cell' },
  bandwidthBps: () => 125 * MB,
  moveFixedS: 2,
  prices: { moveCpuSecondsPerGb: 2, ...prices },
});
const always = (share: number) => HORIZONS_S.map(() => share);

describe('the price of bytes at a node', () => {
  const nodes = ['idle', 'half', 'full'].map(node);
  const shards = [shard('h', 'half', always(0.5)), shard('f', 'full', always(0.9))];

  it('is next to nothing where there is room, and grows with how busy it is', () => {
    const [idle, half, full] = new ClusterProblem(input(nodes, shards)).problem.transferUsdPerGb;
    expect(idle).toBeGreaterThan(0);
    expect(half! / idle!).toBeGreaterThan(10);
    expect(full! / half!).toBeGreaterThan(3);
    // Eight seconds of a quarter of the node: 0.25^2 / 0.75 of a queue.
    expect(idle).toBeCloseTo((8 / 3600) * 0.36 * (0.25 ** 2 / 0.75), 6);
  });

  it('is by the load of its time', () => {
    const later = shard('l', 'idle', [0, 0, 0.5, 0.5]);
    const cluster = new ClusterProblem(input(nodes, [...shards, later]));
    const idle = cluster.problem.transferUsdPerGb[0]!;
    expect(cluster.transferUsdPerGb(1)[0]).toBe(idle);
    expect(cluster.transferUsdPerGb(2)[0]).toBeGreaterThan(10 * idle);
  });

  it('is part of what a move costs, at both ends, for its bytes', () => {
    const { problem } = new ClusterProblem(input(nodes, shards));
    const without = new ClusterProblem(input(nodes, shards, { moveCpuSecondsPerGb: 0 })).problem;
    const [idle, , full] = problem.transferUsdPerGb;
    expect(primaryMoveUsd(problem, 1, 0) - primaryMoveUsd(without, 1, 0)).toBeCloseTo(2 * (idle! + full!), 9);
    expect([...without.transferUsdPerGb]).toEqual([0, 0, 0]);
  });

  it('is of what requests leave, for longer, where copies give way: cheaper on a busy node, the same where there is room', () => {
    const dear = { moveCpuSecondsPerGb: 4 };
    const full = new ClusterProblem(input(nodes, shards, dear)).problem.transferUsdPerGb;
    const given = new ClusterProblem({ ...input(nodes, shards, dear), copiesGiveWay: true }).problem
      .transferUsdPerGb;
    // Half a node for eight seconds beside nothing; .35 of it for longer beside a half; all as fast as it goes beside .9.
    expect(given[0]).toBe(full[0]);
    expect(given[1]! / full[1]!).toBeLessThan(0.5);
    expect(given[1]).toBeGreaterThan(given[0]!);
    expect(given[2]).toBe(full[2]);
  });

  it('is of one event loop at most, however much a gigabyte takes, where copies give way', () => {
    const prices = (moveCpuSecondsPerGb: number) =>
      new ClusterProblem({ ...input(nodes, shards, { moveCpuSecondsPerGb }), copiesGiveWay: true }).problem
        .transferUsdPerGb;
    const [once, twice] = [prices(100), prices(200)];
    for (const n of [0, 1, 2]) expect(twice[n]! / once[n]!).toBeCloseTo(2, 9);
  });

  it('is not asked where no bandwidth is known', () => {
    const { bandwidthBps: _, ...unknown } = input(nodes, shards);
    expect([...new ClusterProblem(unknown).problem.transferUsdPerGb]).toEqual([0, 0, 0]);
  });
});

describe('when a move goes', () => {
  const [a, b] = [node('a'), node('b')];
  const place = (shards: PlacementShard[], nodes = [a!, b!]) => createPlacer().place(input(nodes, shards));

  it('at once where it is needed at once', () => {
    const shards = ['1', '2', '3', '4'].map((key) => shard(key, 'a', always(0.24)));
    const { relocations } = place(shards);
    expect(relocations.length).toBeGreaterThan(0);
    for (const { target } of relocations) expect(target).toBe('b');
  });

  it('later where it is needed later and both ends are quiet until then', () => {
    const shards = ['1', '2', '3', '4'].map((key) => shard(key, 'a', [0, 0, 0.24, 0.24]));
    const { relocations, upcoming, reason } = place(shards);
    expect(relocations).toEqual([]);
    expect(upcoming).toHaveLength(2);
    // In the second step: in the third, both ends would be busy while the bytes go.
    for (const move of upcoming!) expect(move.neededAtS).toBe(move.doneS + 300);
    expect(reason).toMatch(/for now.*2 will be better elsewhere later/);
  });

  it('in the last quiet step before both ends are busy', () => {
    const shards = ['1', '2', '3', '4'].map((key) => shard(key, 'a', [0, 0.24, 0.24, 0.24]));
    const { relocations } = place(shards);
    expect(relocations).toHaveLength(2);
  });

  it('one after the other off a busy node, each dearer than the next, until it is even; then nothing moves', () => {
    let shards = ['1', '2', '3', '4'].map((key) => shard(key, 'a', always(0.24)));
    const moves: string[] = [];
    for (let round = 0; round < 4; round++) {
      const { target, relocations, upcoming } = place(shards);
      moves.push(...relocations.map((move) => `${move.shard} ${move.target}`));
      if (round === 3) expect([relocations, upcoming]).toEqual([[], []]);
      shards = shards.map((one) => ({ ...one, primary: target.get(one.shard)! }));
    }
    expect(moves).toHaveLength(2);
    expect(shards.filter(({ primary }) => primary === 'b')).toHaveLength(2);
  });

  it('now, where moves have no price: waiting saves nothing', () => {
    const shards = ['1', '2', '3', '4'].map((key) => shard(key, 'a', [0, 0, 0.24, 0.24]));
    const free = input([a!, b!], shards, { moveCpuSecondsPerGb: 0 });
    const { relocations, upcoming } = createPlacer().place(free);
    expect(relocations).toHaveLength(2);
    expect(upcoming).toEqual([]);
  });

  it('now, where the state is small: its bytes are nothing', () => {
    const shards = ['1', '2', '3', '4'].map((key) =>
      shard(key, 'a', [0, 0, 0.24, 0.24], TIMED_BYTES_MIN - 1),
    );
    const dear = input([a!, b!], shards, { moveCpuSecondsPerGb: 20 });
    const { relocations, upcoming } = createPlacer().place({ ...dear, copiesGiveWay: true });
    expect(relocations).toHaveLength(2);
    expect(upcoming).toEqual([]);
  });

  it('never after that others need its room', () => {
    // What leaves b makes room there for what a must lose at once.
    const shards = [
      ...['1', '2', '3', '4'].map((key) => shard(key, 'a', always(0.23))),
      ...['5', '6', '7'].map((key) => shard(key, 'b', always(0.3))),
    ];
    const result = place(shards, [a!, b!, node('c')]);
    const going = new Set(result.relocations.map((move) => move.shard));
    for (const { after } of result.relocations)
      for (const maker of after ?? []) expect(going.has(maker)).toBe(true);
  });
});
