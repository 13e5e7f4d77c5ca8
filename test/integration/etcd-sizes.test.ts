/**
 * Test plan: real nodes with the real runtime on a real etcd. A state grows to the limit of 16 MB, far beyond one request
 * of etcd: what would make it larger is refused and changes nothing, and the whole of it moves to another cell and is
 * read by the node that takes over there. Then a cell is written on faster than it is compacted, until it is nearly
 * full: new work is turned away before anything is refused, and comes in again by itself.
 */
import { createHash } from 'node:crypto';
import { command, defineApp, query, service } from 'skein';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Log } from '../../src/io/io.ts';
import { CONTROL_KEYS } from '../../src/model/records.ts';
import type { ShardReply } from '../../src/model/request.ts';
import { migrationParticipant } from '../../src/node/migration/participant.ts';
import {
  type MemoryStores,
  memoryStores,
  request,
  startTestNode,
  type TestNode,
  textOf,
} from '../../src/node/test-cluster.ts';
import { loadApp } from '../../src/shard/runtime.ts';
import { EtcdCellStore } from '../../src/store/etcd/cell-store.ts';
import { etcdIo, startEtcd, type TestEtcd } from './support/etcd.ts';

const app = defineApp([
  service(
    'shelf',
    { version: 1, state: () => ({ books: [] as string[], last: '' }) },
    {
      put: command((ctx, book: string) => ctx.state.books.push(book)),
      /** Writes as much and keeps as little. */
      replace: command((ctx, book: string) => {
        ctx.state.last = book;
        return book.length;
      }),
      digest: query((ctx) => [
        ctx.state.books.length,
        createHash('sha256').update(ctx.state.books.join()).digest('hex'),
      ]),
      last: query((ctx) => ctx.state.last.slice(0, 8)),
    },
  ),
]);
const SHARD = 'shelf/a';
const CASE_MS_MAX = 120_000;

let etcd: TestEtcd;
let stores: MemoryStores;
let nodes: TestNode[] = [];
const cells = new Map<string, EtcdCellStore>();

// One each: how full it is counts for all that is in it.
beforeEach(async () => {
  etcd = await startEtcd();
}, CASE_MS_MAX);

afterEach(async () => {
  await Promise.all(nodes.map((node) => node.stop()));
  nodes = [];
  for (const cell of cells.values()) cell.close();
  cells.clear();
  stores.close();
  await etcd.stop();
});

async function start(name: string, homeCell: string): Promise<TestNode> {
  const node = await startTestNode(stores, name, {
    homeCell,
    runtime: loadApp(app),
    participant: migrationParticipant,
  });
  nodes.push(node);
  while (!nodes.every((one) => one.node.nodes().length === nodes.length)) await turn();
  return node;
}

const turn = () => new Promise((resolve) => setTimeout(resolve, 5));

function ask(node: TestNode, handler: string, input?: string): Promise<ShardReply> {
  const body = input === undefined ? '' : JSON.stringify(input);
  return node.node.execute({ ...request(SHARD, handler), input: new TextEncoder().encode(body) });
}

/** Text that no compression makes smaller than three quarters. */
function book(bytes: number, number: number): string {
  let text = '';
  for (let i = 0; text.length < bytes; i++)
    text += createHash('sha512').update(`${number} ${i}`).digest('base64');
  return text.slice(0, bytes);
}

it(
  'a state of 16 MB works on etcd, moves to another cell whole, and is not made larger',
  async () => {
    for (const id of ['cell-here', 'cell-there'])
      cells.set(id, new EtcdCellStore({ io: etcdIo, client: etcd.client(), cell: id }));
    stores = { ...memoryStores(), cells: { cell: (id: string) => cells.get(id)! } };
    const a = await start('a', 'cell-here');
    const b = await start('b', 'cell-there');

    let books = 0;
    let refusal: ShardReply | undefined;
    while (refusal === undefined) {
      const reply = await ask(a, 'put', book(990_000, books));
      if (reply.status === 200) books++;
      else refusal = reply;
    }
    expect(refusal.status).toBe(413);
    expect(JSON.parse(textOf(refusal))).toMatchObject({ code: 'state-too-large' });
    expect(books * 990_000).toBeGreaterThan(15_500_000);
    const whole = textOf(await ask(a, 'digest'));
    expect(JSON.parse(whole)[0]).toBe(books);
    expect((await ask(a, 'replace', 'small')).status).toBe(200);

    const migration = 'm1';
    await a.host.peer(b.address).call(
      'replica.prepare',
      {
        migration,
        shard: SHARD,
        source: a.processId,
        sourceAddress: a.address,
        bytesPerSecond: 1e9,
        waitMs: 60_000,
      },
      { timeoutMs: 90_000 },
    );
    const order = { migration, shard: SHARD, epoch: 1, target: b.processId, targetAddress: b.address };
    const result = await b.host
      .peer(a.address)
      .call('replica.handOff', { ...order, cell: 'cell-there' }, { timeoutMs: 90_000 });
    expect(result).toMatchObject({ outcome: 'swapped' });
    expect(textOf(await ask(b, 'digest'))).toBe(whole);

    nodes.splice(nodes.indexOf(b), 1);
    await b.crash();
    const entry = await stores.control.get(CONTROL_KEYS.node(b.processId));
    await stores.control.revokeLease(entry!.lease!);
    expect(textOf(await ask(a, 'digest'))).toBe(whole);
    expect(await stores.assignment(SHARD)).toMatchObject({
      primary: a.processId,
      cell: 'cell-there',
      epoch: 3,
    });
    expect(textOf(await ask(a, 'last'))).toBe('"small"');
  },
  CASE_MS_MAX,
);

it(
  'a node turns new work away while its cell is nearly full, and takes it again by itself',
  async () => {
    const alarms: string[] = [];
    const note = (_fields: object, message: string) => {
      alarms.push(message);
    };
    const log: Log = { ...etcdIo.log, info: note, warn: note, error: note };
    const cell = new EtcdCellStore({
      io: { ...etcdIo, log },
      client: etcd.client(),
      cell: 'cell-here',
      // Old revisions count until they are compacted: so writing fills it, and time empties it.
      upkeep: { databaseBytesMax: 12_000_000, lookEveryMs: 10, compactEveryMs: 6_000 },
    });
    cells.set('cell-here', cell);
    stores = { ...memoryStores(), cells: { cell: () => cell } };
    const node = await start('c', 'cell-here');

    let written = 0;
    const write = () =>
      ask(node, 'replace', `${String(written + 1).padStart(8, '0')}${book(500_000, written)}`);
    let turnedAway: Awaited<ReturnType<typeof write>>;
    for (;;) {
      const before = cell.pressure()?.databaseBytes;
      turnedAway = await write();
      if (turnedAway.status !== 200) break;
      written++;
      // etcd counts a write once its batch is committed: one batch a write, so that no mark is jumped over.
      while (cell.pressure()?.databaseBytes === before) await turn();
    }
    // In so small a cell the node's own snapshot and etcd's pages of a compaction may reach the second mark after this.
    const alarmsBefore = alarms.join();
    expect(turnedAway.status, textOf(turnedAway)).toBe(503);
    expect(turnedAway.retryAfterS).toBeGreaterThan(0);
    expect(JSON.parse(textOf(turnedAway))).toMatchObject({ code: 'overloaded' });
    expect(alarmsBefore).toContain('alarm: the cell is nearly full; nodes take no new work for it');
    expect(alarmsBefore).not.toContain('the cell is full');
    // Nothing of it was executed, and queries go on.
    expect(JSON.parse(textOf(await ask(node, 'last')))).toBe(String(written).padStart(8, '0'));
    while (cell.pressure()!.high) await turn();
    expect((await write()).status).toBe(200);
    expect(alarms).toContain('the cell has room again');
  },
  CASE_MS_MAX,
);
