/** What conformance cannot see: connections that break, restarts under a watch, cells learnt late. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { realIo } from '../io/real.ts';
import { RemoteCellStore, RemoteControlStore } from './client.ts';
import { connectStores, RemoteCellDirectory } from './connect.ts';
import { collect } from './control-conformance.ts';
import { onLoopback } from './loopback-conformance.ts';
import { runStoreProcess, type StoreProcess } from './process.ts';
import type { WatchEvent } from './store.ts';

const io = realIo({ logLevel: 'silent' });
const CLIENT = { token: 'secret', identity: 'tester' };

let directory: string;
let running: StoreProcess;
const start = (address: string) =>
  runStoreProcess({
    io,
    address,
    token: 'secret',
    dataDirectory: directory,
    cellId: 'cell-a',
    region: 'us-east-1',
    control: true,
  });

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'skein-client-'));
  running = await onLoopback(io.random, start);
});
afterEach(async () => {
  await running.close();
  rmSync(directory, { recursive: true });
});

const restart = async () => {
  await running.close();
  running = await start(running.address);
};

/** Calls again while the store is away, as every caller of a store must be ready to. */
async function insist<Result>(call: () => Promise<Result>): Promise<Result> {
  for (;;) {
    try {
      return await call();
    } catch {
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
}

describe('a watch', () => {
  it('goes on after a restart without a reset where it was current, and loses nothing written meanwhile', async () => {
    const store = new RemoteControlStore(io, running.address, CLIENT);
    const put = (key: string) => store.transact({ compare: [], operations: [{ put: key, value: '1' }] });
    const { revision } = await put('w/0');
    const seen = collect(store, ['w/'], revision);
    await put('w/1');
    await seen.until((events) => events.length === 1);
    await restart();
    // The first write may come before the watch is back: then the history since the restart covers it.
    await insist(() => put('w/2'));
    await seen.until((events) => events.some((event) => event.type === 'put' && event.entry.key === 'w/2'));
    expect(seen.events.map((event) => event.type)).toEqual(['put', 'put']);
    seen.close();
    store.close();
  });

  it('resets where a restart has cost it history', async () => {
    const store = new RemoteControlStore(io, running.address, CLIENT);
    const put = (key: string) => store.transact({ compare: [], operations: [{ put: key, value: '1' }] });
    const old = (await put('w/0')).revision;
    const current = (await put('w/1')).revision;
    await restart();
    const seen = collect(store, ['w/'], old);
    await seen.until((events) => events.length === 1);
    expect(seen.events).toEqual([{ type: 'reset', revision: current }]);
    seen.close();
    store.close();
  });

  it('survives a handler that throws', async () => {
    const store = new RemoteControlStore(io, running.address, CLIENT);
    const put = (key: string) => store.transact({ compare: [], operations: [{ put: key, value: '1' }] });
    const events: WatchEvent[] = [];
    const { revision } = await put('w/0');
    const subscription = store.watch(['w/'], revision, (event) => {
      events.push(event);
      throw new Error('the holder has a bug');
    });
    await put('w/1');
    await put('w/2');
    const seen = collect(store, ['w/'], revision);
    await seen.until((all) => all.length === 2);
    await put('w/3');
    await seen.until((all) => all.length === 3);
    expect(events.length).toBeGreaterThanOrEqual(2);
    subscription.close();
    seen.close();
    store.close();
  });
});

describe('a client', () => {
  it('says that the outcome is unknown while the store is away, and works again afterwards', async () => {
    const store = new RemoteCellStore(io, running.address, CLIENT);
    expect(await store.raiseFence('s/a', 1)).toBe(1);
    await running.close();
    await expect(store.raiseFence('s/a', 2)).rejects.toMatchObject({
      name: 'StoreError',
      code: 'unavailable',
    });
    running = await start(running.address);
    expect(await insist(() => store.raiseFence('s/a', 1))).toBeGreaterThanOrEqual(1);
    store.close();
  });

  it('is refused with a wrong token, and nothing is done', async () => {
    const store = new RemoteCellStore(io, running.address, { token: 'wrong', identity: 'tester' });
    await expect(store.raiseFence('s/a', 9)).rejects.toMatchObject({ name: 'StoreError' });
    store.close();
    const right = new RemoteCellStore(io, running.address, CLIENT);
    expect(await right.raiseFence('s/a', 1)).toBe(1);
    right.close();
  });
});

describe('cells', () => {
  it('are unavailable until someone tells where they are, and followed when they move', async () => {
    const cells = new RemoteCellDirectory(io, CLIENT);
    const cell = cells.cell('cell-a');
    await expect(cell.raiseFence('s/a', 1)).rejects.toMatchObject({ code: 'unavailable' });
    cells.add('cell-a', running.address);
    expect(await cell.raiseFence('s/a', 1)).toBe(1);
    await running.close();
    running = await onLoopback(io.random, start);
    cells.add('cell-a', running.address);
    expect(await insist(() => cell.raiseFence('s/a', 0))).toBe(1);
    expect(cells.cell('cell-a')).toBe(cell);
    cells.close();
  });

  it('are learnt from the control store, where their processes register', async () => {
    await running.registered;
    const stores = connectStores(io, { ...CLIENT, controlAddress: running.address });
    await stores.ready;
    expect(stores.cells.known).toEqual(['cell-a']);
    expect(await stores.cells.cell('cell-a').raiseFence('s/a', 3)).toBe(3);

    const second = mkdtempSync(join(tmpdir(), 'skein-cell-b-'));
    const other = await onLoopback(io.random, (address) =>
      runStoreProcess({
        io,
        address,
        token: 'secret',
        dataDirectory: second,
        cellId: 'cell-b',
        region: 'eu-west-1',
        control: false,
        controlAddress: running.address,
      }),
    );
    await other.registered;
    expect(await insist(() => stores.cells.cell('cell-b').raiseFence('s/a', 1))).toBe(1);
    stores.close();
    await other.close();
    rmSync(second, { recursive: true });
  });
});

describe('a store process', () => {
  it('writes its registration once, however often it starts', async () => {
    await running.registered;
    const store = new RemoteControlStore(io, running.address, CLIENT);
    const before = await store.get('cell/cell-a');
    expect(JSON.parse(before!.value)).toEqual({ region: 'us-east-1', address: running.address });
    await restart();
    await running.registered;
    expect(await insist(() => store.get('cell/cell-a'))).toEqual(before);
    store.close();
  });

  it('refuses the directory of another cell', async () => {
    await expect(
      runStoreProcess({
        io,
        address: '127.0.0.1:0',
        token: 'secret',
        dataDirectory: directory,
        cellId: 'cell-b',
        region: 'us-east-1',
        control: false,
      }),
    ).rejects.toMatchObject({ code: 'invalid', message: expect.stringContaining('cell-a') });
  });

  it('has to serve something, and a cell has to be somewhere', async () => {
    const base = { io, address: '127.0.0.1:0', token: 'secret', dataDirectory: directory };
    await expect(runStoreProcess({ ...base, control: false })).rejects.toMatchObject({ code: 'invalid' });
    await expect(runStoreProcess({ ...base, control: false, cellId: 'cell-a' })).rejects.toMatchObject({
      code: 'invalid',
    });
  });
});
