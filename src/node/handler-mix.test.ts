/**
 * Test plan: a real node of the real runtime is asked over the wire, by two services' handlers; its report tells each
 * handler's part, adds up to its shards' samples, and brings the forecaster a mix. Then what a report may hold.
 */
import { expect, it } from 'vitest';
import { realIo } from '../io/real.ts';
import { LoadWindows } from '../metrics/index.ts';
import { OTHER_HANDLERS } from '../model/load.ts';
import { command, defineApp, query, service } from '../sdk/index.ts';
import type { HandlerWork } from '../shard/contract.ts';
import { loadApp } from '../shard/runtime.ts';
import { RpcClient } from '../wire/rpc.ts';
import { HANDLERS_NAMED_MAX, mixOf } from './handler-mix.ts';
import type { NodeCalls } from './protocol.ts';
import { counterRuntime, memoryStores, request, startTestNode } from './test-cluster.ts';

const room = service(
  'room',
  { version: 1, state: () => ({ lines: [] as string[] }) },
  {
    say: command((ctx) => {
      ctx.state.lines.push('a line of some length');
    }),
    read: query((ctx) => ctx.state.lines.length),
    exported: query((ctx) => {
      let text = '';
      for (let i = 0; i < 20_000; i++) text += String(i * ctx.state.lines.length);
      return text;
    }),
  },
);
const counter = service(
  'count',
  { version: 1, state: () => ({ value: 0 }) },
  { add: command((ctx) => ++ctx.state.value), get: query((ctx) => ctx.state.value) },
);

type Report = NodeCalls['node.samples'][1];

it('a node reports its work by handler, and its shards’ samples add up to the same', async () => {
  const stores = memoryStores();
  const node = await startTestNode(stores, 'a', { runtime: loadApp(defineApp([room, counter])), speed: 2 });
  const { network, clock } = realIo({ logLevel: 'silent' });
  const client = new RpcClient({ network, clock, address: node.address, token: 't', identity: 'controller' });
  const report = () => client.call('node.samples', { sinceMs: 0 }) as Promise<Report>;
  try {
    const asked: [string, string, number][] = [
      ['room/a', 'say', 3],
      ['room/b', 'say', 2],
      ['room/a', 'read', 4],
      ['room/b', 'exported', 5],
      ['count/1', 'add', 1],
    ];
    for (const [shard, handler, times] of asked)
      for (let i = 0; i < times; i++)
        expect((await node.node.execute(request(shard, handler))).status).toBe(200);
    const { mix, shards, node: own } = await report();
    expect(mix).toMatchObject({ atMs: own.atMs, stepMs: own.stepMs });
    const by = new Map(mix!.handlers.map((load) => [`${load.service}.${load.handler}`, load]));
    expect([...by].map(([name, { requests, commands }]) => [name, requests, commands]).sort()).toEqual([
      ['count.add', 1, 1],
      ['room.exported', 5, 0],
      ['room.read', 4, 0],
      ['room.say', 5, 5],
    ]);
    expect(by.get('room.exported')!.cpuSeconds).toBeGreaterThan(by.get('room.read')!.cpuSeconds);
    expect(by.get('room.exported')!.bytesOut).toBeGreaterThan(100_000);
    expect(by.get('room.say')!.writeBytes).toBeGreaterThan(100);
    expect(by.get('room.read')!.writeBytes).toBe(0);
    for (const name of ['room', 'count'])
      for (const field of ['cpuSeconds', 'bytesIn', 'bytesOut', 'writeBytes'] as const) {
        const ofShards = shards.filter(({ shard }) => shard.startsWith(`${name}/`));
        const ofHandlers = mix!.handlers.filter((load) => load.service === name);
        const sum = (loads: readonly Record<typeof field, number>[]) =>
          loads.reduce((all, load) => all + load[field], 0);
        expect(sum(ofHandlers)).toBeCloseTo(sum(ofShards), 9);
      }

    const windows = new LoadWindows({ stepMs: 60_000 });
    windows.ingest(shards, node.processId, own.atMs, mix);
    const steps = windows.close(own.atMs + 120_000);
    expect(steps.flatMap((step) => step.mix ?? []).map(({ handler }) => handler)).toContain('exported');

    // Nothing was asked since: nobody appears, and the node is heard all the same.
    expect((await report()).mix!.handlers).toEqual([]);
  } finally {
    client.close();
    await node.stop();
    stores.close();
  }
});

it('a runtime that does not tell its handlers apart reports none', async () => {
  const stores = memoryStores();
  const node = await startTestNode(stores, 'a', { runtime: counterRuntime });
  const calls = node.node.handlers().calls!;
  const report = (await calls['node.samples']!(undefined as never, undefined as never)) as Report;
  expect(report).not.toHaveProperty('mix');
  expect(report.shards).toEqual([]);
  await node.stop();
  stores.close();
});

it('a report names the handlers that take most, always the same, and loses nothing of the others', () => {
  const work = Array.from(
    { length: 3 * HANDLERS_NAMED_MAX },
    (_, i): HandlerWork => ({
      service: `s${i % 2}`,
      handler: `h${i}`,
      isCommand: i % 3 === 0,
      requests: 1,
      cpuMicros: 1000,
      bytesIn: 1,
      bytesOut: 2,
      writeBytes: 3,
      cpuMicrosEver: i,
    }),
  );
  const loads = mixOf(work, 1);
  expect(loads).toHaveLength(HANDLERS_NAMED_MAX + 2);
  expect(loads[0]!.handler).toBe(`h${work.length - 1}`);
  expect(
    loads
      .filter(({ handler }) => handler === OTHER_HANDLERS)
      .map(({ service }) => service)
      .sort(),
  ).toEqual(['s0', 's1']);
  const sum = (of: 'requests' | 'commands' | 'writeBytes' | 'cpuSeconds') =>
    loads.reduce((all, load) => all + load[of], 0);
  expect(sum('requests')).toBe(work.length);
  expect(sum('commands')).toBe(work.length / 3);
  expect(sum('writeBytes')).toBe(3 * work.length);
  expect(sum('cpuSeconds')).toBeCloseTo(work.length / 1000, 9);
});
