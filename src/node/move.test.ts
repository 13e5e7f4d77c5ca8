/**
 * Test plan: the real runtime and the real participant on two nodes; shards go back and forth, within a cell and between
 * cells, while clients count without retrying. Every answer is 200 and every counter ends where its clients think.
 */
import { afterEach, beforeEach, expect, it } from 'vitest';
import { command, defineApp, query, service } from '../sdk/index.ts';
import { loadApp } from '../shard/runtime.ts';
import { migrationParticipant } from './migration/participant.ts';
import type { HandOffResult, ReplicaStatus } from './protocol.ts';
import {
  type MemoryStores,
  memoryStores,
  request,
  startTestNode,
  type TestNode,
  textOf,
} from './test-cluster.ts';

const counter = service(
  'count',
  { version: 1, state: () => ({ value: 0 }) },
  {
    add: command((ctx) => {
      ctx.state.value += 1;
      return ctx.state.value;
    }),
    get: query((ctx) => ctx.state.value),
  },
);

let stores: MemoryStores;
let a: TestNode;
let b: TestNode;

beforeEach(async () => {
  stores = memoryStores();
  const runtime = () => loadApp(defineApp([counter]));
  a = await startTestNode(stores, 'a', { runtime: runtime(), participant: migrationParticipant });
  b = await startTestNode(stores, 'b', {
    runtime: runtime(),
    participant: migrationParticipant,
    homeCell: 'cell-there',
  });
  while (![a, b].every((node) => node.node.nodes().length === 2)) await new Promise(setImmediate);
});

afterEach(async () => {
  await a.stop();
  await b.stop();
  stores.close();
});

let migrations = 0;
async function move(shard: string, source: TestNode, target: TestNode, cell: string): Promise<HandOffResult> {
  const migration = `m${++migrations}`;
  const epoch = (await stores.assignment(shard))!.epoch;
  const order = {
    migration,
    shard,
    source: source.processId,
    sourceAddress: source.address,
    bytesPerSecond: 1e9,
    waitMs: 5_000,
  };
  const status: ReplicaStatus = await source.host.peer(target.address).call('replica.prepare', order);
  expect(status).toMatchObject({ role: 'follower', phase: 'following' });
  const result = await target.host.peer(source.address).call('replica.handOff', {
    migration,
    shard,
    epoch,
    target: target.processId,
    targetAddress: target.address,
    cell,
  });
  await target.host.peer(source.address).call('replica.drop', { migration, shard });
  return result;
}

it.each([
  ['within a cell', 'cell-here'],
  ['between cells', 'cell-there'],
])('fails no request and repeats none, %s', async (_name, otherCell) => {
  const shards = ['count/1', 'count/2', 'count/3'];
  let going = true;
  const answers = new Map<number, number>();
  const counted = new Map<string, number>();
  const clients = shards.flatMap((shard) =>
    [a, b].map(async (via) => {
      for (let i = 0; going; i++) {
        const isAdd = i % 3 !== 2;
        const before = counted.get(shard) ?? 0;
        const reply = await via.node.execute(request(shard, isAdd ? 'add' : 'get'));
        answers.set(reply.status, (answers.get(reply.status) ?? 0) + 1);
        if (reply.status !== 200) expect(JSON.parse(textOf(reply))).toEqual({ status: 200 });
        // Linearizable: nothing acknowledged before the question is missing from the answer.
        expect(Number(textOf(reply))).toBeGreaterThanOrEqual(before);
        if (isAdd) counted.set(shard, (counted.get(shard) ?? 0) + 1);
      }
    }),
  );
  while (shards.some((shard) => (counted.get(shard) ?? 0) < 10)) await new Promise((r) => setTimeout(r, 5));
  const owner = async (shard: string) => ((await stores.assignment(shard))!.primary === a.processId ? a : b);
  for (let round = 0; round < 6; round++) {
    for (const shard of shards) {
      const source = await owner(shard);
      const target = source === a ? b : a;
      const result = await move(shard, source, target, target === a ? 'cell-here' : otherCell);
      expect(result).toMatchObject({ outcome: 'swapped' });
    }
  }
  going = false;
  await Promise.all(clients);
  expect([...answers.keys()]).toEqual([200]);
  for (const shard of shards) {
    expect(textOf(await a.node.execute(request(shard, 'get')))).toBe(String(counted.get(shard)));
    expect((await stores.assignment(shard))!.epoch).toBe(7);
  }
});

it('opens from the log when the target dies right after the swap', async () => {
  for (let i = 0; i < 5; i++) await a.node.execute(request('count/1', 'add'));
  expect(await move('count/1', a, b, 'cell-there')).toMatchObject({ outcome: 'swapped', epoch: 2 });
  await b.node.execute(request('count/1', 'add'));
  await b.crash();
  await stores.control.revokeLease(`${b.processId}.1`);
  expect(textOf(await a.node.execute(request('count/1', 'add')))).toBe('7');
  expect(await stores.assignment('count/1')).toMatchObject({
    primary: a.processId,
    epoch: 3,
    cell: 'cell-there',
  });
});

it('runs commands while the new primary opens, and answers when the opening has confirmed it', async () => {
  const shard = 'count/early';
  await a.node.execute(request(shard, 'add'));
  const cell = stores.cells.cell('cell-there');
  const open = cell.open.bind(cell);
  let confirm: () => void = () => {};
  const confirmed = new Promise<void>((resolve) => {
    confirm = resolve;
  });
  cell.open = async (...order) => {
    const opening = await open(...order);
    await confirmed;
    return opening;
  };
  expect(await move(shard, a, b, 'cell-there')).toMatchObject({ outcome: 'swapped' });
  const answers: string[] = [];
  const command = b.node.execute(request(shard, 'add')).then((reply) => answers.push(textOf(reply)));
  const query = b.node.execute(request(shard, 'get')).then((reply) => answers.push(textOf(reply)));
  while ((await cell.tail(shard, 0, 1_000)).end < 2) await new Promise(setImmediate);
  expect(answers).toEqual([]);
  confirm();
  await Promise.all([command, query]);
  expect(answers.sort()).toEqual(['2', '2']);
});

it('takes back what it ran where the opening shows a higher fence', async () => {
  const shard = 'count/deposed';
  await a.node.execute(request(shard, 'add'));
  const cell = stores.cells.cell('cell-there');
  const open = cell.open.bind(cell);
  let refuse: () => void = () => {};
  const refused = new Promise<void>((resolve) => {
    refuse = resolve;
  });
  cell.open = async (of, epoch, options) => {
    cell.open = open;
    const opening = await open(of, epoch, options);
    await refused;
    return { ...opening, fence: epoch + 1 };
  };
  expect(await move(shard, a, b, 'cell-there')).toMatchObject({ outcome: 'swapped' });
  const command = b.node.execute(request(shard, 'add'));
  while ((await cell.tail(shard, 0, 1_000)).end < 2) await new Promise(setImmediate);
  refuse();
  // Without a key nobody can tell whether it happened; the shard goes on from what the log holds.
  expect((await command).status).toBe(503);
  expect(textOf(await b.node.execute(request(shard, 'get')))).toBe('2');
});
