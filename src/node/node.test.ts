/** Test plan: two nodes, a control store and a cell in one process; claim, forward, crash, hand off, drain, come back. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CONTROL_KEYS, encodeRecord } from '../model/records.ts';
import { StoreError } from '../store/store.ts';
import {
  type MemoryStores,
  memoryStores,
  request,
  startTestNode,
  type TestNode,
  textOf,
} from './test-cluster.ts';

let stores: MemoryStores;
const nodes: TestNode[] = [];

async function start(name: string, options: Parameters<typeof startTestNode>[2] = {}): Promise<TestNode> {
  const node = await startTestNode(stores, name, options);
  nodes.push(node);
  return node;
}

async function seen(node: TestNode, other: TestNode): Promise<void> {
  await until(() => node.node.nodes().some(({ processId }) => processId === other.processId));
}

/** Waits for something that surely comes; the test's own time-out is the limit. */
async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 5));
}

beforeEach(() => {
  stores = memoryStores();
});

afterEach(async () => {
  for (const node of nodes.splice(0)) await node.stop();
  stores.close();
});

describe('a shard nobody claimed', () => {
  it('is claimed in the home cell by the node that is asked, once for all who ask together', async () => {
    const a = await start('a');
    const replies = await Promise.all(
      Array.from({ length: 20 }, () => a.node.execute(request('count/1', 'add'))),
    );
    expect(replies.map(textOf).sort((x, y) => Number(x) - Number(y))).toEqual(
      Array.from({ length: 20 }, (_, i) => String(i + 1)),
    );
    expect(replies[0]).toMatchObject({ status: 200, epoch: 1, servedBy: a.processId });
    expect(await stores.assignment('count/1')).toMatchObject({
      epoch: 1,
      primary: a.processId,
      cell: 'cell-here',
    });
  });

  it('begins in one of the cells of its region, each in its own, and in none that is nearly full', async () => {
    const cells = ['cell-a', 'cell-b', 'cell-c'];
    for (const [i, id] of [...cells, 'cell-far'].entries())
      await stores.control.transact({
        compare: [],
        operations: [
          {
            put: CONTROL_KEYS.cell(id),
            value: encodeRecord({ region: i === 3 ? 'far' : 'here', address: id }),
          },
        ],
      });
    let full: string | undefined;
    const { cells: directory } = stores;
    stores.cells = {
      cell: (id: string) =>
        Object.assign(directory.cell(id), {
          pressure: () => ({
            databaseBytes: 1,
            fileBytes: 1,
            databaseBytesMax: 1,
            high: id === full,
            full: false,
          }),
        }),
    };
    const a = await start('a', { homeCell: undefined });
    const begun = async (prefix: string) => {
      const found = new Set<string>();
      for (let i = 0; i < 40; i++) {
        await a.node.execute(request(`count/${prefix}-${i}`, 'add'));
        found.add((await stores.assignment(`count/${prefix}-${i}`))!.cell);
      }
      return [...found].sort();
    };
    expect(await begun('roomy')).toEqual(cells);
    full = 'cell-b';
    expect(await begun('tight')).toEqual(['cell-a', 'cell-c']);
  });

  it('has one owner when two nodes claim it at once', async () => {
    const [a, b] = [await start('a'), await start('b')];
    await seen(a, b);
    const replies = await Promise.all([
      a.node.execute(request('count/1', 'add')),
      b.node.execute(request('count/1', 'add')),
    ]);
    expect(replies.map(textOf).sort()).toEqual(['1', '2']);
    expect(new Set(replies.map((reply) => reply.servedBy)).size).toBe(1);
  });
});

describe('a request at the wrong node', () => {
  it('is answered all the same, by the owner', async () => {
    const [a, b] = [await start('a'), await start('b')];
    await seen(b, a);
    await a.node.execute(request('count/1', 'add'));
    expect(await b.node.execute(request('count/1', 'add', 'k'))).toMatchObject({ servedBy: a.processId });
    expect(textOf(await b.node.execute(request('count/1', 'get')))).toBe('2');
  });

  it('is not passed on for ever', async () => {
    const [a, b] = [await start('a'), await start('b')];
    await seen(b, a);
    await a.node.execute(request('count/1', 'add'));
    const reply = await b.node.execute({ ...request('count/1', 'add'), hops: 4 });
    expect(reply).toMatchObject({ status: 503, retryAfterS: 1 });
    expect(textOf(reply)).toContain('too-many-hops');
  });
});

describe('a node that dies', () => {
  it('loses its shards to the next that is asked, with everything acknowledged and nothing twice', async () => {
    const [a, b] = [await start('a'), await start('b')];
    await seen(b, a);
    for (let i = 0; i < 120; i++) await a.node.execute(request('count/1', 'add', `k${i}`));
    await a.crash();
    await stores.control.revokeLease(`${a.processId}.1`);
    const again = await b.node.execute(request('count/1', 'add', 'k119'));
    expect(again).toMatchObject({ status: 200, replayed: true, epoch: 2, servedBy: b.processId });
    expect(textOf(await b.node.execute(request('count/1', 'get')))).toBe('120');
  });

  it('is waited for while its key stands: nobody takes over from the living', async () => {
    const b = await start('b', { limits: { routeBudgetMs: 300 } });
    const a = await start('a', { leaseTtlMs: 60_000 });
    await seen(b, a);
    await a.node.execute(request('count/1', 'add'));
    await a.crash();
    expect(await b.node.execute(request('count/1', 'get'))).toMatchObject({ status: 503 });
    expect(await stores.assignment('count/1')).toMatchObject({ epoch: 1, primary: a.processId });
  });
});

describe('a fence', () => {
  it('deposes an owner at its next append, and the request finds the new epoch', async () => {
    const a = await start('a');
    await a.node.execute(request('count/1', 'add', 'k0'));
    await stores.cells.cell('cell-here').raiseFence('count/1', 2);
    const reply = await a.node.execute(request('count/1', 'add', 'k1'));
    expect(reply).toMatchObject({ status: 200 });
    expect(reply.epoch).toBeGreaterThanOrEqual(2);
    expect(textOf(await a.node.execute(request('count/1', 'get')))).toBe('2');
  });
});

describe('the lease', () => {
  it('is registered again under a new one when it is gone, and what others took is given up', async () => {
    const [a, b] = [await start('a', { leaseTtlMs: 300 }), await start('b')];
    await seen(b, a);
    await a.node.execute(request('count/1', 'add', 'k0'));
    await a.node.execute(request('count/2', 'add', 'k0'));
    await stores.control.revokeLease(`${a.processId}.1`);
    expect(textOf(await b.node.execute(request('count/1', 'add', 'k1')))).toBe('2');
    await until(async () => {
      const entry = await stores.control.get(CONTROL_KEYS.node(a.processId));
      return entry?.lease === `${a.processId}.2` && a.node.leaseValid();
    });
    expect(textOf(await a.node.execute(request('count/1', 'get')))).toBe('2');
    expect(await a.node.execute(request('count/2', 'get'))).toMatchObject({ servedBy: a.processId });
    expect(await stores.assignment('count/1')).toMatchObject({ primary: b.processId, epoch: 2 });
  });

  it('that cannot be renewed leaves queries to fence checks, and drops nothing', async () => {
    let silent = false;
    const control = new Proxy(stores.control, {
      get(target, name) {
        const value = Reflect.get(target, name) as unknown;
        if (typeof value !== 'function') return value;
        return (...args: unknown[]) => {
          if (silent && name !== 'watch' && name !== 'close')
            return Promise.reject(new StoreError('unavailable', 'silent'));
          return (value as (...all: unknown[]) => unknown).apply(target, args);
        };
      },
    });
    const node = await startTestNode({ control, cells: stores.cells }, 'a', { leaseTtlMs: 300 });
    nodes.push(node);
    await node.node.execute(request('count/1', 'add'));
    silent = true;
    await until(() => !node.node.leaseValid());
    expect(textOf(await node.node.execute(request('count/1', 'get')))).toBe('1');
    expect(textOf(await node.node.execute(request('count/1', 'add')))).toBe('2');
    silent = false;
    await until(() => node.node.leaseValid());
    expect(await stores.assignment('count/1')).toMatchObject({ epoch: 1 });
  });
});

describe('an idle shard', () => {
  it('leaves memory and comes back in the same epoch', async () => {
    const a = await start('a', { limits: { idleMs: 0 } });
    await a.node.execute(request('count/1', 'add'));
    await until(() => a.node.replicaCount === 0);
    const reply = await a.node.execute(request('count/1', 'add'));
    expect(reply).toMatchObject({ status: 200, epoch: 1, seq: 2 });
  });
});

describe('what migrations use', () => {
  it('hands a sealed primary over to a follower; held requests go with it, and back it comes', async () => {
    const [a, b] = [await start('a'), await start('b')];
    await seen(a, b);
    await seen(b, a);
    for (let i = 0; i < 3; i++) await a.node.execute(request('count/1', 'add', `k${i}`));
    const source = a.host.replica('count/1')!;
    const opening = await stores.cells.cell('cell-here').open('count/1', 1);
    await b.host.addFollower({
      shard: 'count/1',
      migration: 'm',
      source: { processId: a.processId, address: a.address },
      assignment: source.assignment,
      opening,
    });
    source.onDurable((entries, durableSeq) => b.host.applyToFollower('count/1', entries, durableSeq));
    await a.node.execute(request('count/1', 'add', 'k3'));
    const sealed = await a.host.seal('count/1');
    expect(sealed).toMatchObject({ seq: 4, epoch: 1 });
    const held = a.node.execute(request('count/1', 'add', 'k4'));
    const record = { epoch: 2, primary: b.processId, cell: 'cell-here', standbys: [] };
    const { revision } = await stores.control.transact({
      compare: [{ key: CONTROL_KEYS.own('count/1'), version: sealed.version }],
      operations: [{ put: CONTROL_KEYS.own('count/1'), value: encodeRecord(record) }],
    });
    const next = { ...record, shard: 'count/1', version: revision };
    a.host.handOver('count/1', next, b.address);
    await b.host.promote('count/1', next);
    expect(await held).toMatchObject({ status: 200, epoch: 2, seq: 5, servedBy: b.processId });
    expect(a.host.replica('count/1')).toMatchObject({ role: 'follower' });
    expect(textOf(await a.node.execute(request('count/1', 'get')))).toBe('5');
    a.host.dropFollower('count/1');
    expect(textOf(await a.node.execute(request('count/1', 'add', 'k4')))).toBe('5');
  });

  it('unseals by a swap that kills its own late one', async () => {
    const a = await start('a');
    await a.node.execute(request('count/1', 'add'));
    const sealed = await a.host.seal('count/1');
    const held = a.node.execute(request('count/1', 'get'));
    expect(await a.host.unseal('count/1')).toBe('serving');
    expect(textOf(await held)).toBe('1');
    const late = await stores.control.transact({
      compare: [{ key: CONTROL_KEYS.own('count/1'), version: sealed.version }],
      operations: [{ put: CONTROL_KEYS.own('count/1'), value: '{}' }],
    });
    expect(late.succeeded).toBe(false);
  });
});

describe('draining', () => {
  it('gives every shard away while requests go on, and fails none', async () => {
    const [a, b] = [await start('a'), await start('b')];
    await seen(a, b);
    await seen(b, a);
    const shards = Array.from({ length: 30 }, (_, i) => `count/${i}`);
    await Promise.all(shards.map((shard) => a.node.execute(request(shard, 'add'))));
    let going = true;
    const statuses: number[] = [];
    const load = shards.map(async (shard) => {
      for (let i = 0; going; i++) {
        const via = i % 2 === 0 ? a : b;
        statuses.push((await via.node.execute(request(shard, 'add', `k${i}`))).status);
      }
    });
    await a.node.drain();
    expect(a.node.ready).toBe(false);
    going = false;
    await Promise.all(load);
    expect(new Set(statuses)).toEqual(new Set([200]));
    for (const shard of shards)
      expect(await stores.assignment(shard)).toMatchObject({ primary: b.processId });
    expect(await a.node.execute(request('count/new', 'add'))).toMatchObject({ servedBy: b.processId });
    const total = await Promise.all(
      shards.map(async (shard) => textOf(await b.node.execute(request(shard, 'get')))),
    );
    const sum = total.reduce((all, value) => all + Number(value), 0);
    expect(sum).toBe(statuses.length + shards.length);
  });
});

describe('poison', () => {
  it('is answered, never run, at the second death; its shard takes queries only', async () => {
    const a = await start('a');
    await a.node.execute(request('count/1', 'add'));
    const dead = await a.node.execute({ ...request('count/1', 'add', 'bad'), deaths: 2 });
    expect(dead.status).toBe(500);
    expect(textOf(dead)).toContain('command-poisoned');
    const record = {
      shard: 'count/1',
      handler: 'add',
      idempotencyKey: 'bad',
      deaths: ['x', 'y'],
      quarantined: true,
      sinceMs: 0,
    };
    await stores.control.transact({
      compare: [],
      operations: [{ put: CONTROL_KEYS.quarantine('count/1'), value: encodeRecord(record) }],
    });
    await until(async () => (await a.node.execute(request('count/1', 'add', 'good'))).status === 503);
    expect((await a.node.execute(request('count/1', 'add', 'bad'))).status).toBe(500);
    expect((await a.node.execute(request('count/1', 'get'))).status).toBe(200);
    expect((await a.node.execute(request('count/2', 'add'))).status).toBe(200);
  });
});

describe('measuring', () => {
  it('tells of each active shard once a step, also of one that left meanwhile', async () => {
    const a = await start('a');
    const samples = a.node.handlers().calls!['node.samples']!;
    const take = () =>
      samples({ sinceMs: 0 } as never, { identity: 'test' }) as { shards: { shard: string }[] };
    await a.node.execute(request('count/1', 'add'));
    await a.node.execute(request('count/2', 'get'));
    const first = take();
    expect(first.shards.map(({ shard }) => shard).sort()).toEqual(['count/1', 'count/2']);
    expect(first.shards.find(({ shard }) => shard === 'count/1')).toMatchObject({
      commands: 1,
      byOrigin: { here: { commands: 1, queries: 0 } },
    });
    expect(take().shards).toEqual([]);
  });
});
