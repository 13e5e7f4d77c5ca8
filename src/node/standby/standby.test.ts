/**
 * Test plan: real nodes with the real runtime over loopback sockets, stores in memory. A shard's standby is named,
 * filled, kept up to date, promoted when its primary dies, made anew when it is lost, and is the same copy that a
 * migration uses. Everything is waited for by looking at what is, never by time.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type AssignmentRecord, CONTROL_KEYS, decodeRecord } from '../../model/records.ts';
import type { ShardReply } from '../../model/request.ts';
import { command, defineApp, query, service } from '../../sdk/index.ts';
import { loadApp } from '../../shard/runtime.ts';
import type { CellStore, Opening } from '../../store/store.ts';
import type { NodeLimits } from '../config.ts';
import { migrationParticipant } from '../migration/participant.ts';
import {
  type MemoryStores,
  memoryStores,
  request,
  startTestNode,
  type TestNode,
  textOf,
} from '../test-cluster.ts';

const kept = service(
  'kept',
  { version: 1, state: () => ({ value: 0, ballast: '' }), standbys: 1, staleReads: { atMostMs: 60_000 } },
  {
    add: command((ctx) => {
      ctx.state.value += 1;
      return ctx.state.value;
    }),
    fill: command((ctx) => {
      ctx.state.ballast = 'x'.repeat(300_000);
      return 0;
    }),
    get: query((ctx) => ctx.state.value),
  },
);
const strict = service(
  'strict',
  { version: 1, state: () => ({ value: 0 }), standbys: 1 },
  {
    add: command((ctx) => {
      ctx.state.value += 1;
      return ctx.state.value;
    }),
    get: query((ctx) => ctx.state.value),
  },
);
const SHARD = 'kept/a';

let stores: MemoryStores;
let nodes: TestNode[] = [];

beforeEach(() => {
  stores = memoryStores();
});

afterEach(async () => {
  await Promise.all(nodes.map((node) => node.stop()));
  nodes = [];
  stores.close();
});

async function start(name: string, zone: string, limits: Partial<NodeLimits> = {}): Promise<TestNode> {
  const node = await startTestNode(stores, name, {
    zone,
    limits: { standbyAwayMs: 1_500, ...limits },
    leaseTtlMs: 1_000,
    runtime: loadApp(defineApp([kept, strict])),
    participant: migrationParticipant,
  });
  nodes.push(node);
  await until(() => nodes.every((one) => one.node.nodes().length === nodes.length));
  return node;
}

async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 5));
}

/** `kill -9` as a supervisor reports it: the process says nothing more, and its lease is revoked. */
async function kill(node: TestNode): Promise<void> {
  nodes = nodes.filter((one) => one !== node);
  await node.crash();
  const entry = await stores.control.get(CONTROL_KEYS.node(node.processId));
  if (entry?.lease !== undefined) await stores.control.revokeLease(entry.lease);
}

async function record(shard = SHARD): Promise<AssignmentRecord> {
  return decodeRecord<AssignmentRecord>((await stores.control.get(CONTROL_KEYS.own(shard)))!.value);
}

function at(node: TestNode, shard = SHARD) {
  const replica = node.host.replica(shard);
  return replica && { role: replica.role, seq: replica.state.appliedSeq };
}

async function add(node: TestNode, times = 1): Promise<ShardReply> {
  let reply: ShardReply | undefined;
  for (let i = 0; i < times; i++) {
    reply = await node.node.execute(request(SHARD, 'add'));
    expect(reply.status).toBe(200);
  }
  return reply!;
}

const standsBy = (node: TestNode, seq: number) =>
  until(() => at(node)?.role === 'follower' && at(node)!.seq === seq);

describe('a standby', () => {
  it('is named with the claim, filled, and follows every durable delta', async () => {
    const a = await start('a', 'za');
    const b = await start('b', 'zb');
    await add(a);
    expect(await record()).toMatchObject({ primary: a.processId, standbys: [b.processId] });
    await standsBy(b, 1);
    await add(a, 20);
    await standsBy(b, 21);
  });

  it('goes on when the primary dies, without reading the state, and nothing is lost', async () => {
    const read: Opening[] = [];
    const { cells } = stores;
    const spied = new Map<string, CellStore>();
    stores.cells = {
      cell(id: string) {
        let spy = spied.get(id);
        if (spy === undefined) {
          const inner = cells.cell(id);
          spy = new Proxy(inner, {
            get(target, name) {
              const value = Reflect.get(target, name);
              if (name !== 'open') return typeof value === 'function' ? value.bind(target) : value;
              return async (...args: Parameters<CellStore['open']>) => {
                const opening = await target.open(...args);
                read.push(opening);
                return opening;
              };
            },
          });
          spied.set(id, spy);
        }
        return spy;
      },
    };
    const a = await start('a', 'za');
    const b = await start('b', 'zb');
    await a.node.execute(request(SHARD, 'fill'));
    await add(a, 10);
    await standsBy(b, 11);
    read.length = 0;
    await kill(a);
    // No request comes: the copy goes on by itself.
    await until(() => at(b)?.role === 'primary');
    expect(await record()).toMatchObject({ primary: b.processId, epoch: 2 });
    expect(read.map(({ snapshot, entries }) => [snapshot, entries.length])).toEqual([[undefined, 0]]);
    expect(textOf(await add(b))).toBe('11');
  });

  it('that lacks the end of the log reads just that', async () => {
    const a = await start('a', 'za');
    const b = await start('b', 'zb');
    await add(a, 3);
    await standsBy(b, 3);
    // Durable in the cell, and never streamed: the primary died in between.
    const cell = stores.cells.cell('cell-here');
    const { entries } = await cell.tail(SHARD, 2, 1_000);
    await kill(a);
    await cell.append([{ shard: SHARD, epoch: 1, seq: 4, id: 'late', delta: changed(entries[0]!.delta) }]);
    expect(textOf(await add(b))).toBe('5');
  });

  it('is made anew elsewhere when its node dies, and not while that may only be out of sight', async () => {
    const a = await start('a', 'za');
    const b = await start('b', 'zb');
    await add(a, 2);
    await standsBy(b, 2);
    const { version } = (await stores.control.get(CONTROL_KEYS.own(SHARD)))!;
    // Its key goes and comes back: it registered again. The assignment was not touched.
    const entry = await stores.control.get(CONTROL_KEYS.node(b.processId));
    await stores.control.revokeLease(entry!.lease!);
    await until(async () => (await stores.control.get(CONTROL_KEYS.node(b.processId))) !== undefined);
    const c = await start('c', 'zc');
    await add(a, 1);
    await standsBy(b, 3);
    expect((await stores.control.get(CONTROL_KEYS.own(SHARD)))!.version).toBe(version);
    await kill(b);
    await standsBy(c, 3);
    expect(await record()).toMatchObject({ primary: a.processId, epoch: 1, standbys: [c.processId] });
  }, 20_000);

  it('on a restarted node is made anew at once', async () => {
    const a = await start('a', 'za');
    const b = await start('b', 'zb');
    await add(a, 2);
    await standsBy(b, 2);
    await kill(b);
    const again = await start('b', 'zb');
    await standsBy(again, 2);
    expect(await record()).toMatchObject({ standbys: [again.processId] });
  });

  it('leaves memory with its idle primary, and comes back with it', async () => {
    const a = await start('a', 'za', { idleMs: 1 });
    const b = await start('b', 'zb');
    await add(a);
    await until(() => at(b) !== undefined);
    await until(() => at(a) === undefined);
    await until(() => at(b) === undefined);
    expect(await record()).toMatchObject({ primary: a.processId, standbys: [b.processId] });
    await add(a);
    await standsBy(b, 2);
  }, 20_000);
});

describe('a move to the standby', () => {
  const order = (source: TestNode) => ({
    migration: 'm1',
    shard: SHARD,
    source: source.processId,
    sourceAddress: source.address,
    bytesPerSecond: 1e9,
    waitMs: 5_000,
  });

  it('copies nothing, and leaves the source as standby', async () => {
    const a = await start('a', 'za');
    const b = await start('b', 'zb');
    await add(a, 3);
    await standsBy(b, 3);
    const copy = b.host.replica(SHARD);
    const prepared = await a.host.peer(b.address).call('replica.prepare', order(a));
    expect(prepared).toMatchObject({ role: 'follower', phase: 'following', appliedSeq: 3 });
    expect(b.host.replica(SHARD)).toBe(copy);
    const moved = await b.host.peer(a.address).call('replica.handOff', {
      migration: 'm1',
      shard: SHARD,
      epoch: 1,
      target: b.processId,
      targetAddress: b.address,
      cell: 'cell-here',
    });
    expect(moved).toMatchObject({ outcome: 'swapped', epoch: 2 });
    expect(await record()).toMatchObject({ primary: b.processId, standbys: [a.processId] });
    for (const at of [a, b])
      await b.host.peer(at.address).call('replica.drop', { migration: 'm1', shard: SHARD });
    await add(b, 2);
    await standsBy(a, 5);
    await kill(b);
    await until(() => at(a)?.role === 'primary');
    expect(textOf(await add(a))).toBe('6');
  });

  it('that is rolled back leaves it the standby it was', async () => {
    const a = await start('a', 'za');
    const b = await start('b', 'zb');
    await add(a, 3);
    await standsBy(b, 3);
    const copy = b.host.replica(SHARD);
    await a.host.peer(b.address).call('replica.prepare', order(a));
    await a.host.peer(b.address).call('replica.drop', { migration: 'm1', shard: SHARD });
    await add(a, 2);
    await standsBy(b, 5);
    expect(b.host.replica(SHARD)).toBe(copy);
    await kill(a);
    await until(() => at(b)?.role === 'primary');
  });
});

describe('a query that may be stale', () => {
  const ask = (node: TestNode, more: object = {}) =>
    node.node.execute({ ...request(SHARD, 'get'), method: 'get', staleMsMax: 60_000, ...more });

  it('is answered by the standby, which says how old that may be, also when the primary is silent', async () => {
    const a = await start('a', 'za');
    const b = await start('b', 'zb');
    await add(a, 3);
    await standsBy(b, 3);
    // The first question in a while is as fresh as the primary's own answer.
    const first = await ask(b);
    expect(first).toMatchObject({ status: 200, servedBy: b.processId, seq: 3, stalenessMs: 0 });
    await silence(a);
    const second = await ask(b);
    expect(second).toMatchObject({ status: 200, servedBy: b.processId, epoch: 1, seq: 3 });
    expect(second.stalenessMs).toBeGreaterThan(0);
    expect(second.stalenessMs).toBeLessThanOrEqual(60_000);
  });

  it('is answered by the primary where the state here is older, or not as far, as asked', async () => {
    const a = await start('a', 'za');
    const b = await start('b', 'zb');
    await add(a, 3);
    await standsBy(b, 3);
    expect(await ask(b)).toMatchObject({ stalenessMs: 0 });
    expect(await ask(b, { staleMsMax: 0 })).toMatchObject({ servedBy: b.processId, stalenessMs: 0 });
    const { seq } = await add(a);
    expect(await ask(b, { minSeq: seq })).toMatchObject({ status: 200, seq });
    expect(await ask(b, { minSeq: seq! + 1 })).toMatchObject({ status: 503 });
  });

  it('is answered as any other where its service allows no staleness', async () => {
    const a = await start('a', 'za');
    const b = await start('b', 'zb');
    await a.node.execute(request('strict/a', 'add'));
    await until(() => at(b, 'strict/a')?.seq === 1);
    const query = { ...request('strict/a', 'get'), method: 'get' as const, staleMsMax: 60_000 };
    expect(await b.node.execute(query)).toMatchObject({ status: 200, seq: 1 });
    await kill(a);
    // Nothing proves that the copy is up to date: it takes over before it answers.
    expect(await b.node.execute(query)).toMatchObject({ status: 200, seq: 1, epoch: 2 });
  });
});

/** Closes its listener alone: it lives, keeps its lease, and answers nobody. */
async function silence(node: TestNode): Promise<void> {
  nodes = nodes.filter((one) => one !== node);
  await node.crash();
}

/** Another delta of the same kind. */
function changed(delta: Uint8Array): Uint8Array {
  const copy = Uint8Array.from(delta);
  // The counter's value is the last small integer of the delta: 3 -> 4.
  const index = copy.lastIndexOf(3);
  copy[index] = 4;
  return copy;
}
