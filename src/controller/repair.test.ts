import { expect, it } from 'vitest';
import type { Assignment, NodeRecord } from '../model/records.ts';
import { AWS_THREE_REGIONS } from '../model/topology.ts';
import { spread } from './repair.ts';

function node(name: string, region: string, more: Partial<NodeRecord> = {}): NodeRecord {
  return {
    processId: `${name}.1`,
    name,
    region,
    zone: 'a',
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

const shard = (standbys: string[]): Assignment => ({
  shard: 'room/a',
  epoch: 1,
  primary: 'dead.1',
  cell: 'c',
  standbys,
  version: 1,
});
const repair = (standbys: string[], nodes: NodeRecord[], cordoned: string[] = [], chosen?: string) =>
  [
    ...spread([shard(standbys)], {
      home: 'us-east-1',
      nodes,
      cordoned: new Set(cordoned),
      topology: AWS_THREE_REGIONS,
      chosen: chosen === undefined ? undefined : { 'room/a': chosen },
    }).batches.keys(),
  ][0];

it('asks a standby before any other node, the first of them that takes shards', () => {
  const nodes = [node('home', 'us-east-1'), node('s', 'eu-west-1'), node('t', 'eu-west-1')];
  expect(repair([], nodes)).toBe('home.1');
  expect(repair(['gone.1', 's.1', 't.1'], nodes)).toBe('s.1');
  expect(repair(['s.1', 't.1'], nodes, ['s'])).toBe('t.1');
  expect(repair(['s.1'], [nodes[0]!, node('s', 'eu-west-1', { state: 'draining' })])).toBe('home.1');
});

it('then the node that placement chose, unless it is closed or may not host the shard', () => {
  const nodes = [node('home', 'us-east-1'), node('far', 'eu-west-1'), node('s', 'eu-west-1')];
  expect(repair([], nodes, [], 'far.1')).toBe('far.1');
  expect(repair(['s.1'], nodes, [], 'far.1')).toBe('s.1');
  expect(repair([], nodes, ['far'], 'far.1')).toBe('home.1');
  expect(repair([], nodes, [], 'gone.1')).toBe('home.1');
  const bare = node('far', 'eu-west-1', { services: {} });
  expect(repair([], [nodes[0]!, bare], [], 'far.1')).toBe('home.1');
});
