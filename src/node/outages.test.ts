/**
 * Test plan: nodes whose ways to the control store and to a cell can be cut, alone or all together. What users see while
 * they are cut, what is written when they come back (counted at the store), and that everything is as before.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CONTROL_KEYS } from '../model/records.ts';
import { command, defineApp, query, service } from '../sdk/index.ts';
import { loadApp } from '../shard/runtime.ts';
import { type CellStore, type ControlStore, StoreError, type WatchEvent } from '../store/store.ts';
import { migrationParticipant } from './migration/participant.ts';
import {
  type MemoryStores,
  memoryStores,
  request,
  startTestNode,
  type TestNode,
  textOf,
} from './test-cluster.ts';

const TTL_MS = 600;
const SHARDS = Array.from({ length: 40 }, (_, i) => `${i % 2 === 0 ? 'plain' : 'kept'}/${i}`);

const handlers = {
  add: command((ctx: { state: { value: number } }) => {
    ctx.state.value += 1;
    return ctx.state.value;
  }),
  get: query((ctx: { state: { readonly value: number } }) => ctx.state.value),
};
const plain = service('plain', { version: 1, state: () => ({ value: 0 }) }, handlers);
const kept = service('kept', { version: 1, state: () => ({ value: 0 }), standbys: 1 }, handlers);

let stores: MemoryStores;
let nodes: TestNode[] = [];
/** Names of nodes that cannot reach the control store; `cell`: nobody reaches the cell. */
let cut: Set<string>;
/** Keys written, in order, by any node. */
let written: string[];
let heal: (() => void)[] = [];

beforeEach(() => {
  stores = memoryStores();
  cut = new Set();
  written = [];
  heal = [];
});

afterEach(async () => {
  cut.clear();
  for (const wake of heal) wake();
  await Promise.all(nodes.map((node) => node.stop()));
  nodes = [];
  stores.close();
});

/** The way of one node to the control store: cut, calls fail and news waits. */
function wayOf(name: string, control: ControlStore): ControlStore {
  const reach = () => {
    if (cut.has(name)) throw new StoreError('unavailable', 'the way is cut');
  };
  return new Proxy(control, {
    get(target, property) {
      const value = Reflect.get(target, property) as (...args: unknown[]) => unknown;
      if (property === 'close') return () => {};
      if (property === 'watch') {
        return (prefixes: string[], from: number, onEvent: (event: WatchEvent) => void) => {
          const late: WatchEvent[] = [];
          heal.push(() => {
            for (const event of late.splice(0)) onEvent(event);
          });
          return target.watch(prefixes, from, (event) => {
            if (cut.has(name) || late.length > 0) late.push(event);
            else onEvent(event);
          });
        };
      }
      return async (...args: unknown[]) => {
        reach();
        if (property === 'transact')
          for (const operation of (args[0] as Parameters<ControlStore['transact']>[0]).operations)
            if ('put' in operation) written.push(operation.put);
        const result = await value.apply(target, args);
        reach();
        return result;
      };
    },
  });
}

function cellWay(cell: CellStore): CellStore {
  return new Proxy(cell, {
    get(target, property) {
      const value: unknown = Reflect.get(target, property);
      if (typeof value !== 'function') return value;
      return (...args: unknown[]) => {
        if (cut.has('cell')) return Promise.reject(new StoreError('unavailable', 'the cell is away'));
        return value.apply(target, args);
      };
    },
  });
}

function reachable(...names: string[]): void {
  for (const name of names) cut.delete(name);
  for (const wake of heal) wake();
}

async function start(name: string): Promise<TestNode> {
  const node = await startTestNode(
    {
      control: wayOf(name, stores.control) as MemoryStores['control'],
      cells: { cell: (id: string) => cellWay(stores.cells.cell(id)) },
    },
    name,
    {
      zone: name,
      leaseTtlMs: TTL_MS,
      limits: { routeBudgetMs: 400 },
      runtime: loadApp(defineApp([plain, kept])),
      participant: migrationParticipant,
    },
  );
  nodes.push(node);
  await until(() => nodes.every((one) => one.node.nodes().length === nodes.length));
  return node;
}

async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 5));
}

const key = (node: TestNode) => stores.control.get(CONTROL_KEYS.node(node.processId));
const versions = async () =>
  (await stores.control.list('own/')).entries.map(({ key, version }) => `${key} ${version}`);

/** Every shard gets a primary at `node`, and every standby follows. */
async function settle(node: TestNode, others: TestNode[]): Promise<void> {
  for (const shard of SHARDS) expect((await node.node.execute(request(shard, 'add'))).status).toBe(200);
  if (others.length === 0) return;
  const standsBy = (shard: string) =>
    others.some((other) => other.host.replica(shard)?.state.appliedSeq === 1);
  await until(() => SHARDS.filter((shard) => shard.startsWith('kept')).every(standsBy));
}

async function use(node: TestNode, value: number): Promise<void> {
  for (const shard of SHARDS) {
    const added = await node.node.execute(request(shard, 'add', `${shard} ${value}`));
    expect([added.status, textOf(added)]).toEqual([200, String(value)]);
    const read = await node.node.execute({ ...request(shard, 'get'), method: 'get' });
    expect([read.status, textOf(read)]).toEqual([200, String(value)]);
  }
}

describe('while the control store cannot be reached by anybody', () => {
  it('commands and queries go on, and when it can again every node writes once, whatever it serves', async () => {
    const a = await start('a');
    const b = await start('b');
    await settle(a, [b]);
    const before = await versions();
    written.length = 0;
    cut.add('a').add('b');
    await until(async () => (await key(a)) === undefined && (await key(b)) === undefined);
    await use(a, 2);
    reachable('a', 'b');
    await until(async () => (await key(a)) !== undefined && (await key(b)) !== undefined);
    await until(() => a.node.leaseValid() && b.node.leaseValid());
    await use(a, 3);
    // Longer than the standby at `b` would wait for `a` to come back: nobody took anything over.
    await new Promise((resolve) => setTimeout(resolve, 2 * TTL_MS));
    await use(a, 4);
    expect(written.sort()).toEqual([a, b].map((node) => CONTROL_KEYS.node(node.processId)).sort());
    expect(await versions()).toEqual(before);
  });

  it('a shard that nobody has is answered 503, and by the first who can claim it afterwards', async () => {
    const a = await start('a');
    cut.add('a');
    expect((await a.node.execute(request('plain/new', 'add'))).status).toBe(503);
    reachable('a');
    await until(async () => (await a.node.execute(request('plain/new', 'add'))).status === 200);
  });
});

describe('while one node cannot reach the control store', () => {
  it('its shards are taken over once its lease is over, it answers nothing stale, and it takes part again', async () => {
    const a = await start('a');
    const b = await start('b');
    await settle(a, [b]);
    cut.add('a');
    await until(async () => (await key(a)) === undefined);
    // Those with a standby go by themselves, the others with the next request.
    await use(b, 2);
    // What the old primary still has is fenced: it passes on what it is asked.
    for (const shard of SHARDS.slice(0, 2)) {
      const read = await a.node.execute({ ...request(shard, 'get'), method: 'get' });
      if (read.status === 200) expect(textOf(read)).toBe('2');
      else expect(read.status).toBe(503);
    }
    written.length = 0;
    reachable('a');
    await until(() => a.node.leaseValid());
    await use(a, 3);
    expect(written.filter((one) => one.startsWith('node/'))).toEqual([CONTROL_KEYS.node(a.processId)]);
    // Its shards stay where they went; it stands by for them as soon as somebody must.
    const primaries = (await stores.control.list('own/')).entries.map(
      ({ value }) => JSON.parse(value).primary,
    );
    expect(new Set(primaries)).toEqual(new Set([b.processId]));
  });
});

describe('while the cell cannot be reached', () => {
  it('nobody claims what nobody can serve, and all is well when it can', async () => {
    const a = await start('a');
    const b = await start('b');
    await settle(a, [b]);
    const before = await versions();
    cut.add('cell');
    nodes = nodes.filter((node) => node !== a);
    await a.crash();
    await stores.control.revokeLease((await key(a))!.lease!);
    await until(() => b.node.nodes().length === 1);
    for (const shard of SHARDS.slice(0, 2)) {
      expect((await b.node.execute(request(shard, 'add', `${shard} lost`))).status).toBe(503);
    }
    expect(await versions()).toEqual(before);
    cut.delete('cell');
    await until(
      async () => (await b.node.execute({ ...request(SHARDS[0]!, 'get'), method: 'get' })).status === 200,
    );
    await use(b, 2);
  }, 20_000);
});
