/**
 * Test plan: two or three real nodes over loopback sockets, a control store and cells in memory, counters as shards. A
 * shard is moved while many add to it; every acknowledged add must be there, once, whatever is killed on the way.
 */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { realIo } from '../../io/real.ts';
import { MigrationExecutor } from '../../migration/driver.ts';
import type { MigrationView } from '../../migration/view.ts';
import type { Move } from '../../model/loop.ts';
import { CONTROL_KEYS, decodeRecord, type NodeRecord } from '../../model/records.ts';
import { type ControlStore, StoreError, type Transaction } from '../../store/store.ts';
import { Peers } from '../peers.ts';
import {
  type MemoryStores,
  memoryStores,
  request,
  startTestNode,
  type TestNode,
  textOf,
} from '../test-cluster.ts';
import { migrationParticipant } from './participant.ts';

const SHARD = 'count/1';
let stores: MemoryStores;
let nodes: TestNode[] = [];
let peers: Peers;
const executors: MigrationExecutor[] = [];

type Meddling = 'lose-answer' | 'lose-request' | undefined;

/** A control store whose transactions of the given shape fail as a test wants. */
function meddled(
  inner: ControlStore,
  meddle: (transaction: Transaction) => Meddling | Promise<Meddling>,
): ControlStore {
  return {
    get: (key) => inner.get(key),
    list: (prefix, options) => inner.list(prefix, options),
    async transact(transaction) {
      const how = await meddle(transaction);
      if (how === 'lose-request') throw new StoreError('unavailable', 'lost on the way');
      const result = await inner.transact(transaction);
      if (how === 'lose-answer') throw new StoreError('unavailable', 'the answer was lost');
      return result;
    },
    watch: (prefixes, from, onEvent) => inner.watch(prefixes, from, onEvent),
    grantLease: (id, ttlMs) => inner.grantLease(id, ttlMs),
    keepAlive: (id) => inner.keepAlive(id),
    revokeLease: (id) => inner.revokeLease(id),
    close: () => {},
  };
}

async function start(name: string, homeCell: string, control = stores.control as ControlStore) {
  const node = await startTestNode(
    { control: control as MemoryStores['control'], cells: stores.cells },
    name,
    {
      homeCell,
      participant: migrationParticipant,
    },
  );
  nodes.push(node);
  return node;
}

async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 5));
}

async function makeExecutor(control: ControlStore = stores.control): Promise<{
  executor: MigrationExecutor;
  ended: (id: string) => Promise<MigrationView>;
}> {
  const { entries } = await stores.control.list('node/');
  const records = new Map(
    entries.map(({ value }) => {
      const record = decodeRecord<NodeRecord>(value);
      return [record.processId, record] as const;
    }),
  );
  const executor = new MigrationExecutor({
    io: realIo({ logLevel: 'silent' }),
    control,
    peer: (address) => peers.peer(address),
    nodeRecord: (processId) => records.get(processId),
  });
  executors.push(executor);
  const find = (id: string) => executor.list().find((view) => view.id === id)!;
  return {
    executor,
    async ended(id) {
      await until(() => find(id)?.outcome !== undefined);
      return find(id);
    },
  };
}

function move(source: TestNode, target: TestNode, cell: string, epoch: number): Move {
  return {
    shard: SHARD,
    source: source.processId,
    target: target.processId,
    cell,
    epoch,
    reason: { text: 'test', gainUsdPerHour: 1, costUsdPerHour: 0, latencyMsNow: 2, latencyMsThen: 1 },
    priority: 'manual',
    bytes: 0,
  };
}

/** Adds through the given nodes until stopped; remembers what was acknowledged. */
function adders(through: TestNode[], count: number) {
  const acknowledged = new Set<string>();
  let failed = 0;
  let stopped = false;
  let number = 0;
  const loop = async (via: TestNode) => {
    while (!stopped) {
      const key = `k${number++}`;
      const reply = await via.node.execute(request(SHARD, 'add', key));
      if (reply.status === 200) acknowledged.add(key);
      else failed++;
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  const loops = Array.from({ length: count }, (_, i) => loop(through[i % through.length]!));
  return {
    acknowledged,
    get failed() {
      return failed;
    },
    async stop() {
      stopped = true;
      await Promise.all(loops);
    },
  };
}

async function countNow(via: TestNode): Promise<number> {
  const reply = await via.node.execute(request(SHARD, 'get'));
  expect(reply.status).toBe(200);
  return Number(textOf(reply));
}

beforeEach(() => {
  stores = memoryStores();
  peers = new Peers({ io: realIo({ logLevel: 'silent' }), token: 't', identity: 'controller' });
});

afterEach(async () => {
  for (const executor of executors.splice(0)) executor.stop();
  for (const node of nodes.splice(0)) await node.stop().catch(() => {});
  peers.close();
  stores.close();
  nodes = [];
});

describe('a shard under load', () => {
  it.each([
    ['within a cell', 'cell-a', 'cell-a'],
    ['between cells', 'cell-a', 'cell-b'],
  ])('moves %s and back without losing or repeating an add', async (_name, cellA, cellB) => {
    const a = await start('a', cellA);
    const b = await start('b', cellB);
    await a.node.execute(request(SHARD, 'add', 'first'));
    const load = adders([a, b], 8);
    const { executor, ended } = await makeExecutor();
    const there = await ended(executor.start(move(a, b, cellB, 1)));
    expect(there).toMatchObject({ outcome: 'completed', percent: 100 });
    expect(await stores.assignment(SHARD)).toMatchObject({ epoch: 2, primary: b.processId, cell: cellB });
    const back = await ended(executor.start(move(b, a, cellA, 2)));
    expect(back).toMatchObject({ outcome: 'completed' });
    expect(await stores.assignment(SHARD)).toMatchObject({ epoch: 3, primary: a.processId, cell: cellA });
    await load.stop();
    expect(load.failed).toBe(0);
    expect(load.acknowledged.size).toBeGreaterThan(10);
    expect(await countNow(a)).toBe(load.acknowledged.size + 1);
    // Nothing of the move remains.
    expect((await stores.control.list('migration/')).entries).toEqual([]);
    expect((await stores.control.list('shift/')).entries).toEqual([]);
    expect(b.host.replica(SHARD)).toBeUndefined();
    if (cellA !== cellB)
      await until(async () => !(await stores.cells.cell(cellB).listShards()).includes(SHARD));
  });

  it('opens from the log of its new cell when everything is lost but the stores', async () => {
    const a = await start('a', 'cell-a');
    const b = await start('b', 'cell-b');
    for (let i = 0; i < 20; i++) await a.node.execute(request(SHARD, 'add', `k${i}`));
    const { executor, ended } = await makeExecutor();
    expect(await ended(executor.start(move(a, b, 'cell-b', 1)))).toMatchObject({ outcome: 'completed' });
    const opening = await stores.cells.cell('cell-b').open(SHARD, 2);
    expect(opening).toMatchObject({ fence: 2, end: 20 });
  });
});

describe('a copy', () => {
  it.each([
    ['gives way', { giveWay: true, draining: false }, false],
    ['does not where the move says so', { giveWay: false, draining: false }, true],
    ['does not off a node that is being emptied', { giveWay: true, draining: true }, true],
  ])('%s, at both ends', async (_name, { giveWay, draining }, urgent) => {
    const a = await start('a', 'cell-a');
    const b = await start('b', 'cell-a');
    await a.node.execute(request(SHARD, 'add'));
    vi.spyOn(a.host, 'draining').mockReturnValue(draining);
    const begins = [a, b].map(({ host }) => vi.spyOn(host.copying, 'begin'));
    const { executor, ended } = await makeExecutor();
    expect(await ended(executor.start(move(a, b, 'cell-a', 1), { giveWay }))).toMatchObject({
      outcome: 'completed',
    });
    expect(begins.map((begin) => begin.mock.calls)).toEqual([
      [[{ way: 'out', urgent }]],
      [[{ way: 'in', urgent }]],
    ]);
    expect([a, b].map(({ host }) => host.copying.room.copies)).toEqual([0, 0]);
  });
});

describe('an order', () => {
  it('for an older epoch is refused and changes nothing', async () => {
    const a = await start('a', 'cell-a');
    const b = await start('b', 'cell-a');
    await a.node.execute(request(SHARD, 'add'));
    const before = await stores.control.get(CONTROL_KEYS.own(SHARD));
    const result = await peers.peer(a.address).call('replica.handOff', {
      migration: 'm',
      shard: SHARD,
      epoch: 0,
      target: b.processId,
      targetAddress: b.address,
      cell: 'cell-a',
    });
    expect(result).toMatchObject({ outcome: 'refused' });
    expect(await stores.control.get(CONTROL_KEYS.own(SHARD))).toEqual(before);
  });

  it('delivered twice is carried out once', async () => {
    const a = await start('a', 'cell-a');
    const b = await start('b', 'cell-a');
    await a.node.execute(request(SHARD, 'add'));
    const prepare = {
      migration: 'm',
      shard: SHARD,
      source: a.processId,
      sourceAddress: a.address,
      bytesPerSecond: 1e6,
      waitMs: 5_000,
    };
    const [one, two] = await Promise.all([
      peers.peer(b.address).call('replica.prepare', prepare),
      peers.peer(b.address).call('replica.prepare', prepare),
    ]);
    expect(one).toMatchObject({ role: 'follower', phase: 'following' });
    expect(two).toMatchObject({ role: 'follower', phase: 'following' });
    const order = {
      migration: 'm',
      shard: SHARD,
      epoch: 1,
      target: b.processId,
      targetAddress: b.address,
      cell: 'cell-a',
    };
    const results = await Promise.all(
      [1, 2, 3].map(() => peers.peer(a.address).call('replica.handOff', order)),
    );
    results.push(await peers.peer(a.address).call('replica.handOff', order));
    for (const result of results) expect(result).toMatchObject({ outcome: 'swapped', epoch: 2 });
    expect(await stores.assignment(SHARD)).toMatchObject({ epoch: 2, primary: b.processId });
  });

  it('to a target that does not follow is refused, and the source serves on', async () => {
    const a = await start('a', 'cell-a');
    const b = await start('b', 'cell-a');
    await a.node.execute(request(SHARD, 'add'));
    const result = await peers.peer(a.address).call('replica.handOff', {
      migration: 'm',
      shard: SHARD,
      epoch: 1,
      target: b.processId,
      targetAddress: b.address,
      cell: 'cell-b',
    });
    expect(result).toMatchObject({ outcome: 'refused' });
    expect((await a.node.execute(request(SHARD, 'add'))).status).toBe(200);
    expect(await countNow(b)).toBe(2);
  });
});

/** The transaction puts the swap of the hand-off to epoch 2. */
function swaps({ operations }: Transaction): boolean {
  const put = operations.find((operation) => 'put' in operation && operation.put.startsWith('own/'));
  return put !== undefined && 'value' in put && put.value.includes('"epoch":2');
}

describe('a swap whose outcome is unknown', () => {
  it.each([
    ['at the target', 'lose-answer'],
    ['at the target', 'lose-request'],
    ['at the source, the target having refused', 'lose-answer'],
    ['at the source, the target having refused', 'lose-request'],
  ] as const)('%s is settled by asking again (%s)', async (where, how) => {
    let left = 3;
    const losing = meddled(stores.control, (transaction) =>
      swaps(transaction) && left-- > 0 ? how : undefined,
    );
    const refusing = meddled(stores.control, (transaction) => {
      if (swaps(transaction)) throw new StoreError('invalid', 'refused by the test');
      return undefined;
    });
    const atTarget = where === 'at the target';
    const a = await start('a', 'cell-a', atTarget ? undefined : losing);
    const b = await start('b', 'cell-b', atTarget ? losing : refusing);
    await a.node.execute(request(SHARD, 'add', 'first'));
    const load = adders([a, b], 4);
    const { executor, ended } = await makeExecutor();
    expect(await ended(executor.start(move(a, b, 'cell-b', 1)))).toMatchObject({ outcome: 'completed' });
    await load.stop();
    expect(left).toBeLessThanOrEqual(0);
    expect(load.failed).toBe(0);
    expect(await countNow(b)).toBe(load.acknowledged.size + 1);
    expect(await stores.assignment(SHARD)).toMatchObject({ epoch: 2, primary: b.processId, cell: 'cell-b' });
  });

  it('and the target silent: the source waits sealed, makes it by itself, and the late one changes nothing', async () => {
    let land = () => {};
    const landing = new Promise<void>((resolve) => {
      land = resolve;
    });
    const late = meddled(stores.control, async (transaction) => {
      if (swaps(transaction)) await landing;
      return undefined;
    });
    const a = await start('a', 'cell-a');
    const b = await start('b', 'cell-b', late);
    await a.node.execute(request(SHARD, 'add', 'first'));
    const load = adders([a, b], 4);
    const { executor, ended } = await makeExecutor();
    const id = executor.start(move(a, b, 'cell-b', 1));
    await until(() => a.host.replica(SHARD)?.role === 'sealed');
    expect(await stores.assignment(SHARD)).toMatchObject({ epoch: 1, primary: a.processId });
    expect(await ended(id)).toMatchObject({ outcome: 'completed' });
    const settled = await stores.control.get(CONTROL_KEYS.own(SHARD));
    land();
    await load.stop();
    expect(load.failed).toBe(0);
    expect(await countNow(b)).toBe(load.acknowledged.size + 1);
    expect(await stores.control.get(CONTROL_KEYS.own(SHARD))).toEqual(settled);
  });
});

describe('a request that comes while the source is sealed and the target swaps', () => {
  /** Sealed, with the target's swap held back until `land`, which says what becomes of it. */
  async function halfway() {
    let land: (how: 'happens' | 'refused') => void = () => {};
    const landing = new Promise<'happens' | 'refused'>((resolve) => {
      land = resolve;
    });
    const a = await start('a', 'cell-a');
    const b = await start(
      'b',
      'cell-b',
      meddled(stores.control, async (transaction) => {
        if (swaps(transaction) && (await landing) === 'refused')
          throw new StoreError('invalid', 'by the test');
        return undefined;
      }),
    );
    await a.node.execute(request(SHARD, 'add', 'first'));
    const { executor, ended } = await makeExecutor();
    const id = executor.start(move(a, b, 'cell-b', 1));
    await until(() => a.host.replica(SHARD)?.role === 'sealed');
    const ask = (node: TestNode, more: Partial<ReturnType<typeof request>>) =>
      peers.peer(node.address).call('shard.execute', { ...request(SHARD, 'add', 'second'), ...more });
    return { a, b, land, ask, ended: () => ended(id) };
  }

  it('is sent ahead, waits at the target and is answered there, once', async () => {
    const { a, b, land, ask, ended } = await halfway();
    const ahead = await ask(a, { redirects: true });
    expect(ahead).toMatchObject({ status: 421, moved: { primary: b.processId, epoch: 2, ahead: true } });
    const answers = [ask(b, { awaits: 2 }), ask(b, { handler: 'get', awaits: 2 })];
    const before = await Promise.race([
      ...answers,
      new Promise((resolve) => setTimeout(resolve, 30, 'none')),
    ]);
    expect(before).toBe('none');
    land('happens');
    for (const reply of await Promise.all(answers))
      expect(reply).toMatchObject({ status: 200, servedBy: b.processId });
    expect(await ended()).toMatchObject({ outcome: 'completed' });
    expect(await countNow(a)).toBe(2);
  });

  it('waits at the source where its sender cannot go elsewhere', async () => {
    const { a, b, land, ask } = await halfway();
    const reply = ask(a, {});
    const direct = a.node.execute(request(SHARD, 'add', 'third'));
    const before = await Promise.race([
      reply,
      direct,
      new Promise((resolve) => setTimeout(resolve, 30, 'none')),
    ]);
    expect(before).toBe('none');
    land('happens');
    expect(await reply).toMatchObject({ status: 421, moved: { primary: b.processId, epoch: 2 } });
    expect((await reply).moved!.ahead).toBeUndefined();
    expect(await direct).toMatchObject({ status: 200, servedBy: b.processId });
  });

  it('and was sent ahead in vain goes back to the source, which makes the swap by itself', async () => {
    const { a, b, land, ask, ended } = await halfway();
    expect(await ask(a, { redirects: true })).toMatchObject({ status: 421, moved: { ahead: true } });
    const reply = ask(b, { awaits: 2 });
    land('refused');
    expect(await reply).toMatchObject({ status: 200 });
    expect(await ended()).toMatchObject({ outcome: 'completed' });
    expect(await countNow(a)).toBe(2);
  });
});

describe('a node that dies', () => {
  it('as the target, before the hand-off: the move is undone and the source serves on', async () => {
    const a = await start('a', 'cell-a');
    const b = await start('b', 'cell-b');
    await a.node.execute(request(SHARD, 'add', 'first'));
    const { executor, ended } = await makeExecutor();
    await b.crash();
    const view = await ended(executor.start(move(a, b, 'cell-b', 1)));
    expect(view.outcome).toBe('rolledBack');
    expect(await countNow(a)).toBe(1);
    expect((await a.node.execute(request(SHARD, 'add', 'second'))).status).toBe(200);
  });

  it.each([
    ['before the target can swap: taken over from the old cell', 'cell-a'],
    ['as the target swaps: gone on with in the new one', 'cell-b'],
  ])('as the source, sealed and %s, with every add', async (_when, cell) => {
    let dying: TestNode | undefined;
    const control = meddled(stores.control, (transaction) => {
      if (!swaps(transaction)) return undefined;
      void dying?.crash();
      const isHandOff = transaction.operations.some((operation) =>
        JSON.stringify(operation).includes('cell-b'),
      );
      return isHandOff && cell === 'cell-a' ? 'lose-request' : undefined;
    });
    const a = await start('a', 'cell-a');
    dying = a;
    const b = await start('b', 'cell-b', control);
    for (let i = 0; i < 10; i++) await a.node.execute(request(SHARD, 'add', `k${i}`));
    const { executor } = await makeExecutor();
    executor.start(move(a, b, 'cell-b', 1));
    await until(() => !a.node.host.replica(SHARD) || a.host.replica(SHARD)?.role === 'sealed');
    const record = (await stores.control.list('node/')).entries.find(({ key }) => key.endsWith(a.processId));
    await stores.control.revokeLease(record!.lease!);
    await until(async () => (await b.node.execute(request(SHARD, 'get'))).status === 200);
    expect(await countNow(b)).toBe(10);
    expect(await stores.assignment(SHARD)).toMatchObject({ primary: b.processId, cell });
  });
});

/** The executor is about to record this state. */
function records(state: string, { operations }: Transaction): boolean {
  return operations.some(
    (operation) =>
      'put' in operation &&
      operation.put.startsWith('migration/') &&
      decodeRecord<{ state: string }>(operation.value).state === state,
  );
}

describe('an executor that dies', () => {
  it.each(['transferring', 'handing-off'])('as it records %s is succeeded by another', async (state) => {
    const a = await start('a', 'cell-a');
    const b = await start('b', 'cell-b');
    await a.node.execute(request(SHARD, 'add', 'first'));
    const first = await makeExecutor(
      meddled(stores.control, (transaction) => {
        if (records(state, transaction)) first.executor.stop();
        return undefined;
      }),
    );
    const id = first.executor.start(move(a, b, 'cell-b', 1));
    // Nobody drives it now: the record stays.
    await until(async () => (await stores.control.list('migration/')).entries.length > 0);
    const second = await makeExecutor();
    await second.executor.resumeAll();
    expect((await second.ended(id)).outcome).toBe('completed');
    expect(await countNow(b)).toBe(1);
    expect(await stores.assignment(SHARD)).toMatchObject({ epoch: 2, primary: b.processId });
    expect((await stores.control.list('shift/')).entries).toEqual([]);
  });

  it('does no harm where it only paused: it writes nothing any more', async () => {
    const a = await start('a', 'cell-a');
    const b = await start('b', 'cell-b');
    await a.node.execute(request(SHARD, 'add', 'first'));
    const load = adders([a, b], 4);
    let pause = () => {};
    const paused = new Promise<void>((resolve) => {
      pause = resolve;
    });
    let wake = () => {};
    const awake = new Promise<void>((resolve) => {
      wake = resolve;
    });
    const first = await makeExecutor(
      meddled(stores.control, async (transaction) => {
        if (!records('handing-off', transaction)) return undefined;
        pause();
        await awake;
        return undefined;
      }),
    );
    const id = first.executor.start(move(a, b, 'cell-b', 1));
    await paused;
    const second = await makeExecutor();
    await second.executor.resumeAll();
    expect((await second.ended(id)).outcome).toBe('completed');
    wake();
    expect((await first.ended(id)).detail).toMatch(/ended elsewhere|another executor/);
    await load.stop();
    expect(load.failed).toBe(0);
    expect(await countNow(a)).toBe(load.acknowledged.size + 1);
    expect(await stores.assignment(SHARD)).toMatchObject({ epoch: 2, primary: b.processId });
    expect((await stores.control.list('shift/')).entries).toEqual([]);
    expect((await stores.control.list('migration/')).entries).toEqual([]);
  });
});
