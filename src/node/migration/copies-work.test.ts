/**
 * Test plan: two real nodes on the loop of this process, the real runtime. A state of some megabytes is copied from one to the other by
 * the calls of a migration; the reports that a controller would pull then hold its bytes as they were sent, and CPU that is about what
 * such work takes; a small state adds nothing.
 */
import { afterEach, beforeEach, expect, it } from 'vitest';
import { BYTES_MIN, CPU_SECONDS_PER_GB_MAX, MoveCpu } from '../../controller/move-cpu.ts';
import type { CopiesWork } from '../../model/load.ts';
import { command, defineApp, service } from '../../sdk/index.ts';
import { loadApp } from '../../shard/runtime.ts';
import { COUNTED_BYTES_MIN } from '../copying.ts';
import type { NodeCalls } from '../protocol.ts';
import { type MemoryStores, memoryStores, request, startTestNode, type TestNode } from '../test-cluster.ts';
import { migrationParticipant } from './participant.ts';

const STATE_BYTES_MIN = 6_000_000;
const FILL_BYTES = 900_000;
const ROW_BYTES = 200;

const store = service(
  'store',
  { version: 1, state: () => ({ rows: [] as string[] }) },
  {
    fill: command((ctx) => {
      for (let bytes = 0; bytes < FILL_BYTES; bytes += ROW_BYTES)
        ctx.state.rows.push(`${ctx.state.rows.length}`.padEnd(ROW_BYTES, '.'));
      return ctx.state.rows.length;
    }),
  },
);

let stores: MemoryStores;
let a: TestNode;
let b: TestNode;

beforeEach(async () => {
  stores = memoryStores();
  const start = (name: string, speed: number) =>
    startTestNode(stores, name, {
      runtime: loadApp(defineApp([store])),
      participant: migrationParticipant,
      speed,
    });
  a = await start('a', 1);
  // As if of a machine four times as fast: its CPU counts four times.
  b = await start('b', 4);
  while (![a, b].every((node) => node.node.nodes().length === 2)) await new Promise(setImmediate);
});

afterEach(async () => {
  await a.stop();
  await b.stop();
  stores.close();
});

let migrations = 0;
/** Makes a follower of the shard and drops it; the bytes that went. */
async function copied(shard: string): Promise<number> {
  const migration = `m${++migrations}`;
  const target = a.host.peer(b.address);
  let status = await target.call('replica.prepare', {
    migration,
    shard,
    source: a.processId,
    sourceAddress: a.address,
    bytesPerSecond: 1e9,
  });
  while (status.phase !== 'following') {
    expect(status.phase, status.error).not.toBe('failed');
    status = await target.call('replica.status', { shard, waitMs: 1_000 });
  }
  await target.call('replica.drop', { migration, shard });
  await b.host.peer(a.address).call('replica.drop', { migration, shard });
  return status.bytesTransferred;
}

/** As over the wire: what a controller pulls. */
async function reported(node: TestNode): Promise<CopiesWork> {
  const other = node === a ? b : a;
  const report: NodeCalls['node.samples'][1] = await other.host
    .peer(node.address)
    .call('node.samples', { sinceMs: 0 });
  return report.copies!;
}

it('nodes report the bytes of large copies and the CPU that they took at each end', async () => {
  const zero = { bytes: 0, cpuSeconds: 0 };
  expect(await reported(a)).toEqual({ in: zero, out: zero });
  await a.node.execute(request('store/small', 'fill'));
  expect(await copied('store/small')).toBeLessThan(COUNTED_BYTES_MIN);
  expect(await reported(a)).toEqual({ in: zero, out: zero });

  for (let bytes = 0; bytes < STATE_BYTES_MIN; bytes += FILL_BYTES)
    expect((await a.node.execute(request('store/large', 'fill'))).status).toBe(200);
  let sent = 0;
  while (sent < BYTES_MIN) sent += await copied('store/large');
  const [source, target] = [await reported(a), await reported(b)];
  expect(source.in).toEqual(zero);
  expect(target.out).toEqual(zero);
  expect(source.out.bytes).toBe(sent);
  expect(target.in.bytes).toBe(sent);
  // Writing and checking a gigabyte takes half a second at the very least; the rest is this machine's.
  const perGb = ({ bytes, cpuSeconds }: { bytes: number; cpuSeconds: number }) => (cpuSeconds / bytes) * 1e9;
  expect(perGb(source.out)).toBeGreaterThan(0.5);
  expect(perGb(source.out)).toBeLessThan(CPU_SECONDS_PER_GB_MAX / 4);
  expect(perGb(target.in)).toBeGreaterThan(4 * 0.5);
  expect(perGb(target.in)).toBeLessThan(CPU_SECONDS_PER_GB_MAX);

  const moveCpu = new MoveCpu();
  const reports = [
    { source: a.processId, copies: source },
    { source: b.processId, copies: target },
  ];
  moveCpu.observe(reports, new Set([a.processId, b.processId]));
  expect(moveCpu.cpuSecondsPerGb).toBeCloseTo((perGb(source.out) + perGb(target.in)) / 2, 6);
  console.info(
    `core-seconds a gigabyte: ${perGb(source.out).toFixed(1)} out, ${(perGb(target.in) / 4).toFixed(1)} in`,
  );
}, 60_000);
