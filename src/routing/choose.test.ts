import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { NodeRecord } from '../model/records.ts';
import { AWS_THREE_REGIONS } from '../model/topology.ts';
import { choose, chooseNew, isShifted, type NodesView, type Question } from './choose.ts';

function node(processId: string, region: string, more: Partial<NodeRecord> = {}): NodeRecord {
  return {
    processId,
    name: processId.split('.')[0]!,
    region,
    zone: 'a',
    address: '127.0.0.1:1',
    httpAddress: '',
    leaseId: '',
    state: 'ready',
    capacity: { cpu: 1, memoryBytes: 1, networkBytesPerSecond: 1 },
    usdPerHour: 1,
    services: { room: { version: 1, handlers: {}, authorize: false } },
    startedAtMs: 0,
    ...more,
  };
}

function view(nodes: NodeRecord[], sick: string[] = []): NodesView {
  return {
    nodes: () => nodes,
    node: (id) => nodes.find((candidate) => candidate.processId === id),
    healthy: (id) => !sick.includes(id),
  };
}

const us1 = node('us1.a', 'us-east-1');
const us2 = node('us2.a', 'us-east-1');
const eu1 = node('eu1.a', 'eu-west-1');
const eu2 = node('eu2.a', 'eu-west-1');
const jp1 = node('jp1.a', 'ap-northeast-1');
const all = [us1, us2, eu1, eu2, jp1];

const question: Question = {
  shard: 'room/lobby',
  service: 'room',
  origin: 'eu-west-1',
  userHash: 0,
  command: false,
  route: { epoch: 3, primary: 'us1.a', cell: 'c', version: 9 },
  shift: undefined,
};
const ask = (changes: Partial<Question>, world = view(all)) =>
  choose({ ...question, ...changes }, world, AWS_THREE_REGIONS);
const withStandbys = { epoch: 3, primary: 'us1.a', cell: 'c', version: 9, standbys: ['eu1.a', 'us2.a'] };
const shift = { from: 'us1.a', to: 'eu1.a', percent: 25 };

describe('choosing a node', () => {
  it.each([
    ['the primary, wherever it is', {}, view(all), 'us1.a', 'primary'],
    [
      'the new side for the first percent of users',
      { shift, userHash: 2_499 },
      view(all),
      'eu1.a',
      'shift-to',
    ],
    [
      'the primary for commands of either side',
      { shift, userHash: 0, command: true },
      view(all),
      'us1.a',
      'primary',
    ],
    [
      'the nearest copy for a query that may be stale',
      { mayBeStale: true, route: withStandbys },
      view(all),
      'eu1.a',
      'nearest',
    ],
    [
      'the primary for a query that may not',
      { mayBeStale: false, route: withStandbys },
      view(all),
      'us1.a',
      'primary',
    ],
    [
      'the next nearest copy where that is sick: of two equally near ones the standby',
      { mayBeStale: true, route: withStandbys },
      view(all, ['eu1.a']),
      'us2.a',
      'nearest',
    ],
    [
      'the primary where it is the nearest alone',
      { mayBeStale: true, route: withStandbys, origin: 'us-east-1' },
      view(all, ['us2.a']),
      'us1.a',
      'nearest',
    ],
    [
      'a standby that is there and well when the primary is gone',
      { route: withStandbys },
      view(all.slice(1), ['eu1.a']),
      'us2.a',
      'primary-gone',
    ],
    ['the old side for the others', { shift, userHash: 2_500 }, view(all), 'us1.a', 'shift-from'],
    [
      'the primary where the new side is sick',
      { shift, userHash: 0 },
      view(all, ['eu1.a']),
      'us1.a',
      'primary',
    ],
    ['the primary where the new side is gone', { shift, userHash: 0 }, view([us1, us2]), 'us1.a', 'primary'],
    [
      'the primary where the old side is gone, after the hand-off',
      { shift, userHash: 9_999, route: { ...question.route!, primary: 'eu1.a' } },
      view([eu1, eu2]),
      'eu1.a',
      'primary',
    ],
  ] as const)('takes %s', (_what, changes, world, expected, why) => {
    const choice = ask(changes as Partial<Question>, world);
    expect(choice).toMatchObject({ node: { processId: expected }, why });
  });

  it('waits for a primary that does not answer but holds its lease', () => {
    expect(ask({}, view(all, ['us1.a']))).toEqual({ wait: 'us1.a' });
  });

  it('takes the region nearest the origin for unknown shards and for those whose primary is gone', () => {
    const unknown = ask({ route: undefined });
    expect(unknown).toMatchObject({ node: { region: 'eu-west-1' }, why: 'unknown-shard' });
    const orphan = ask({ route: { ...question.route!, primary: 'old.x' }, origin: 'ap-northeast-1' });
    expect(orphan).toMatchObject({ node: { processId: 'jp1.a' }, why: 'primary-gone' });
  });

  it('keeps to allowed regions, ready nodes and builds that have the service', () => {
    const manifest = { version: 1, handlers: {}, authorize: false, allowedRegions: ['us-east-1'] };
    const nodes = [
      node('us1.a', 'us-east-1', { services: { room: manifest } }),
      node('us2.a', 'us-east-1', { services: { room: manifest }, state: 'draining' }),
      node('eu1.a', 'eu-west-1', { services: { room: manifest } }),
      node('us3.a', 'us-east-1', { services: {} }),
    ];
    for (let k = 0; k < 20; k++)
      expect(ask({ route: undefined, shard: `room/${k}` }, view(nodes))).toMatchObject({
        node: { processId: 'us1.a' },
      });
  });

  it('asks any ready node where no build has the service, so that one can say so', () => {
    expect(ask({ route: undefined, service: 'nope' })).toMatchObject({ node: { region: 'eu-west-1' } });
  });

  it('counts only the later start of a node that restarted', () => {
    const nodes = [
      node('eu1.old', 'eu-west-1', { startedAtMs: 1 }),
      node('eu1.new', 'eu-west-1', { startedAtMs: 2 }),
    ];
    expect(ask({ route: undefined }, view(nodes))).toMatchObject({ node: { processId: 'eu1.new' } });
  });

  it('goes on to the next region when none is healthy here, and tries all the same when none is anywhere', () => {
    expect(ask({ route: undefined }, view(all, ['eu1.a', 'eu2.a']))).toMatchObject({
      node: { region: 'us-east-1' },
      why: 'unknown-shard',
    });
    const everyone = all.map((candidate) => candidate.processId);
    expect(ask({ route: undefined }, view(all, everyone))).toMatchObject({
      node: { region: 'eu-west-1' },
      why: 'none-healthy',
    });
    expect(ask({ route: undefined }, view([]))).toEqual({ none: 'no-node' });
  });

  it('is the same whatever order the nodes are known in', () => {
    fc.assert(
      fc.property(fc.string(), fc.shuffledSubarray(all, { minLength: 1 }), (key, nodes) => {
        const sorted = [...nodes].sort((a, b) => (a.processId < b.processId ? -1 : 1));
        const asked = { ...question, shard: `room/${key}`, route: undefined };
        const one = chooseNew(asked, view(nodes), AWS_THREE_REGIONS, 'unknown-shard');
        const other = chooseNew(asked, view(sorted), AWS_THREE_REGIONS, 'unknown-shard');
        expect(one).toEqual(other);
      }),
    );
  });

  it('spreads the shards of a lost node over the others and moves nobody else', () => {
    const nodes = ['a', 'b', 'c', 'd'].map((name) => node(`${name}.1`, 'eu-west-1'));
    const place = (known: NodeRecord[], k: number) => {
      const asked = { ...question, shard: `room/${k}`, route: undefined };
      const choice = chooseNew(asked, view(known), AWS_THREE_REGIONS, 'unknown-shard');
      return 'node' in choice ? choice.node.processId : '';
    };
    const taken = new Map<string, number>();
    for (let k = 0; k < 600; k++) {
      const before = place(nodes, k);
      const after = place(nodes.slice(1), k);
      if (before === 'a.1') taken.set(after, (taken.get(after) ?? 0) + 1);
      else expect(after).toBe(before);
    }
    expect([...taken.keys()].sort()).toEqual(['b.1', 'c.1', 'd.1']);
  });
});

describe('the split of users', () => {
  it('is sticky: who is on the new side stays there while the percent grows', () => {
    fc.assert(
      fc.property(
        fc.nat({ max: 0xffffffff }),
        fc.integer({ min: 0, max: 100 }),
        fc.integer({ min: 0, max: 100 }),
        (user, a, b) => {
          if (isShifted(user, Math.min(a, b))) expect(isShifted(user, Math.max(a, b))).toBe(true);
          expect(isShifted(user, 0)).toBe(false);
          expect(isShifted(user, 100)).toBe(true);
        },
      ),
    );
  });
});
