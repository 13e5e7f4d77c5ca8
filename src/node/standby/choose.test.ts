/**
 * Test plan: who keeps a standby, as examples of each rule, then as properties of random clusters: the hard rules hold,
 * the answer is stable, and a lost node changes nothing but its own place.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { NodeRecord } from '../../model/records.ts';
import { chooseStandbys, type StandbyQuestion } from './choose.ts';

function node(name: string, region = 'eu', zone = 'a', more: Partial<NodeRecord> = {}): NodeRecord {
  return {
    processId: `${name}.1`,
    name,
    region,
    zone: `${region}${zone}`,
    address: '',
    httpAddress: '',
    leaseId: '',
    state: 'ready',
    capacity: { cpu: 1, memoryBytes: 1, networkBytesPerSecond: 1 },
    usdPerHour: 1,
    services: { room: { version: 1, handlers: {}, authorize: false } },
    startedAtMs: 1,
    ...more,
  };
}

function ask(nodes: NodeRecord[], more: Partial<StandbyQuestion> = {}): string[] {
  return chooseStandbys({
    shard: 'room/a',
    service: 'room',
    policy: { count: 1, spread: 'zones' },
    primary: nodes[0]!,
    version: 1,
    nodes,
    present: [],
    ...more,
  });
}

describe('a standby', () => {
  it('is in another zone of the region before the same one', () => {
    expect(ask([node('p'), node('same'), node('other', 'eu', 'b')])).toEqual(['other.1']);
    expect(ask([node('p'), node('same')])).toEqual(['same.1']);
  });

  it('is in no other region, unless it is to be spread over regions', () => {
    expect(ask([node('p'), node('far', 'us')])).toEqual([]);
    const nodes = [node('p'), node('near', 'eu', 'b'), node('far', 'us')];
    expect(ask(nodes, { policy: { count: 1, spread: 'regions' } })).toEqual(['far.1']);
    expect(ask(nodes, { policy: { count: 2, spread: 'regions' } })).toEqual(['far.1', 'near.1']);
  });

  it.each([
    ['the primary itself', node('p')],
    ['another process of its node', node('p', 'eu', 'b', { processId: 'p.2', startedAtMs: 2 })],
    ['a draining node', node('d', 'eu', 'b', { state: 'draining' })],
    ['an older build', node('o', 'eu', 'b', { services: {} })],
  ])('is never on %s', (_name, candidate) => {
    expect(ask([node('p'), candidate])).toEqual([]);
  });

  it('is never where the service may not be', () => {
    const nodes = [node('p'), node('far', 'us'), node('farther', 'jp')];
    expect(ask(nodes, { policy: { count: 2, spread: 'regions' }, allowedRegions: ['eu', 'jp'] })).toEqual([
      'farther.1',
    ]);
  });

  it('stays where it is while that is as good', () => {
    const nodes = ['p', 'q', 'r', 's', 't'].map((name) => node(name, 'eu', name === 'p' ? 'a' : 'b'));
    for (const { processId } of nodes.slice(1))
      expect(ask(nodes, { present: [processId] })).toEqual([processId]);
  });

  it('that is away keeps its place for a while, and for good where nobody else can take it', () => {
    const nodes = [node('p'), node('q', 'eu', 'b')];
    expect(ask(nodes, { present: ['gone.1'], awaited: () => true })).toEqual(['gone.1']);
    expect(ask(nodes, { present: ['gone.1'] })).toEqual(['q.1']);
    expect(ask([nodes[0]!], { present: ['gone.1'] })).toEqual(['gone.1']);
    expect(ask([nodes[0]!], { present: ['p.1', 'gone.1'] })).toEqual(['gone.1']);
  });
});

const cluster = fc
  .uniqueArray(
    fc.record({
      id: fc.integer({ min: 0, max: 30 }),
      region: fc.constantFrom('eu', 'us'),
      zone: fc.constantFrom('a', 'b', 'c'),
      ready: fc.boolean(),
    }),
    {
      selector: ({ id }) => id,
      minLength: 1,
      maxLength: 12,
    },
  )
  .map((all) =>
    all.map(({ id, region, zone, ready }) =>
      node(`n${id}`, region, zone, { state: ready ? 'ready' : 'draining' }),
    ),
  );
const policy = fc.record({
  count: fc.integer({ min: 0, max: 4 }),
  spread: fc.constantFrom<'zones' | 'regions'>('zones', 'regions'),
});

describe('in any cluster', () => {
  it('the answer keeps the hard rules, is as large as it can be, and asked again is the same', () => {
    fc.assert(
      fc.property(cluster, policy, (nodes, policy) => {
        const primary = nodes[0]!;
        const chosen = ask(nodes, { policy });
        const able = nodes.filter(
          (one) =>
            one !== primary &&
            one.state === 'ready' &&
            (policy.spread === 'regions' || one.region === primary.region),
        );
        expect(chosen).toHaveLength(Math.min(policy.count, able.length));
        expect(new Set(chosen).size).toBe(chosen.length);
        for (const process of chosen) expect(able.map((one) => one.processId)).toContain(process);
        expect(new Set(ask(nodes, { policy, present: chosen }))).toEqual(new Set(chosen));
        // Copies share a zone only where every zone that could be used has one.
        const zones = new Set([primary, ...able].map((one) => one.zone));
        const used = new Set([
          primary.zone,
          ...chosen.map((id) => nodes.find((one) => one.processId === id)!.zone),
        ]);
        if (policy.spread === 'zones') expect(used.size).toBe(Math.min(zones.size, 1 + chosen.length));
      }),
    );
  });
});
