/**
 * The suite over both ways to the SQLite engines: in this process, and through server and client over loopback TCP.
 * Engines are on real files, and a restart closes and opens them.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { realIo } from '../io/real.ts';
import { RemoteCellStore, RemoteControlStore } from './client.ts';
import { cellStoreConformance, controlStoreConformance } from './conformance.ts';
import { LocalCellStore, LocalControlStore } from './local.ts';
import { onLoopback } from './loopback-conformance.ts';
import { type StoreServer, serveStore } from './server.ts';
import { SqliteCell } from './sqlite/cell-engine.ts';
import { SqliteControl } from './sqlite/control-engine.ts';

const io = realIo({ logLevel: 'silent' });
const CLIENT = { token: 'secret', identity: 'tester' };
const now = () => io.clock.monotonicMs();

/** A client learns of a restart by its first failing call: its caller's business, and here the fixture's. */
async function reachable(probe: () => Promise<unknown>): Promise<void> {
  for (;;) {
    try {
      await probe();
      return;
    } catch {
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
}

controlStoreConformance('SQLite in this process', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'skein-control-'));
  const path = join(directory, 'control.sqlite');
  let engine = new SqliteControl({ path, now });
  let store = new LocalControlStore(engine, io);
  const stop = () => {
    store.close();
    engine.close();
  };
  return {
    store,
    async reopen() {
      stop();
      engine = new SqliteControl({ path, now });
      store = new LocalControlStore(engine, io);
      return store;
    },
    async close() {
      stop();
      rmSync(directory, { recursive: true });
    },
  };
});

controlStoreConformance('SQLite over TCP', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'skein-control-'));
  const path = join(directory, 'control.sqlite');
  let engine = new SqliteControl({ path, now });
  let server: StoreServer = await onLoopback(io.random, (address) =>
    serveStore({ io, address, token: 'secret', control: engine }),
  );
  const store = new RemoteControlStore(io, server.address, CLIENT);
  return {
    store,
    async reopen() {
      await server.close();
      engine.close();
      engine = new SqliteControl({ path, now });
      server = await serveStore({ io, address: server.address, token: 'secret', control: engine });
      await reachable(() => store.get('any'));
      return store;
    },
    async close() {
      store.close();
      await server.close();
      engine.close();
      rmSync(directory, { recursive: true });
    },
  };
});

cellStoreConformance('SQLite in this process', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'skein-cell-'));
  const path = join(directory, 'cell.sqlite');
  let engine = new SqliteCell({ path });
  let store = new LocalCellStore(engine, io);
  const stop = () => {
    store.close();
    engine.close();
  };
  return {
    store,
    async reopen() {
      stop();
      engine = new SqliteCell({ path });
      store = new LocalCellStore(engine, io);
      return store;
    },
    async close() {
      stop();
      rmSync(directory, { recursive: true });
    },
  };
});

cellStoreConformance('SQLite over TCP', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'skein-cell-'));
  const path = join(directory, 'cell.sqlite');
  let engine = new SqliteCell({ path });
  let server: StoreServer = await onLoopback(io.random, (address) =>
    serveStore({ io, address, token: 'secret', cell: engine }),
  );
  const store = new RemoteCellStore(io, server.address, CLIENT);
  return {
    store,
    async reopen() {
      await server.close();
      engine.close();
      engine = new SqliteCell({ path });
      server = await serveStore({ io, address: server.address, token: 'secret', cell: engine });
      await reachable(() => store.listShards({ limit: 1 }));
      return store;
    },
    async close() {
      store.close();
      await server.close();
      engine.close();
      rmSync(directory, { recursive: true });
    },
  };
});

cellStoreConformance('SQLite in memory with a cache of one shard', async () => {
  const engine = new SqliteCell({ path: ':memory:', cachedShardsMax: 1 });
  const store = new LocalCellStore(engine, io);
  return {
    store,
    async close() {
      store.close();
      engine.close();
    },
  };
});
