import { describe, expect, it } from 'vitest';
import { realIo } from '../io/real.ts';
import { LocalControlStore } from './local.ts';
import { type Mirror, type MirrorOptions, mirrorPrefixes } from './mirror.ts';
import { SqliteControl } from './sqlite/control-engine.ts';
import { openDatabase } from './sqlite/database.ts';
import { type ControlStore, StoreError, type WatchEvent } from './store.ts';

const io = realIo({ logLevel: 'silent', seed: 'mirror' });

/** A control store that can be restarted behind the mirror's back, and made to fail. */
function world() {
  const database = openDatabase(':memory:');
  const open = () =>
    new LocalControlStore(new SqliteControl({ database, now: () => io.clock.monotonicMs() }), io);
  let inner = open();
  let failing = 0;
  let watcher: { prefixes: string[]; onEvent: (event: WatchEvent) => void; onProgress?: (r: number) => void };
  const control: ControlStore = {
    get: (key) => inner.get(key),
    list: async (prefix, options) => {
      if (failing-- > 0) throw new StoreError('unavailable', 'away');
      return inner.list(prefix, options);
    },
    transact: (transaction) => inner.transact(transaction),
    watch: (prefixes, from, onEvent, onProgress) => {
      watcher = { prefixes, onEvent, onProgress };
      return inner.watch(prefixes, from, onEvent, onProgress);
    },
    grantLease: (id, ttlMs) => inner.grantLease(id, ttlMs),
    keepAlive: (id) => inner.keepAlive(id),
    revokeLease: (id) => inner.revokeLease(id),
    close: () => inner.close(),
  };
  return {
    control,
    put: (key: string, value = '1') =>
      control.transact({ compare: [], operations: [{ put: key, value }] }).then((result) => result.revision),
    remove: (key: string) =>
      control.transact({ compare: [], operations: [{ delete: key }] }).then((result) => result.revision),
    failLists: (times: number) => {
      failing = times;
    },
    /** The watch dies with the old store; `reconnect` is what a remote client then does. */
    restart() {
      inner.close();
      inner = open();
    },
    reconnect: (fromRevision: number) =>
      inner.watch(watcher.prefixes, fromRevision, watcher.onEvent, watcher.onProgress),
    close() {
      inner.close();
      database.close();
    },
  };
}

function follow(control: ControlStore, prefixes: string[], values?: MirrorOptions['values']) {
  const told: string[] = [];
  const state = new Map<string, string>();
  const onNext: (() => void)[] = [];
  const note = (what: string) => {
    told.push(what);
    for (const wake of onNext.splice(0)) wake();
  };
  const mirror: Mirror = mirrorPrefixes(control, prefixes, {
    clock: io.clock,
    values,
    onPut: ({ key, value }) => {
      state.set(key, value);
      note(`put ${key}=${value}`);
    },
    onDelete: (key) => {
      state.delete(key);
      note(`delete ${key}`);
    },
    onSynced: () => note('synced'),
    onReset: () => note('reset'),
  });
  const until = async (what: string) => {
    while (!told.includes(what)) await new Promise<void>((resolve) => onNext.push(resolve));
  };
  return { mirror, told, state, until };
}

describe('a mirror', () => {
  it('first tells what is there, then that it is in step, then each change', async () => {
    const w = world();
    await w.put('a/1');
    await w.put('b/1');
    await w.put('c/1');
    const f = follow(w.control, ['a/', 'b/']);
    expect(f.mirror.synced).toBe(false);
    await f.until('synced');
    expect(f.told).toEqual(['put a/1=1', 'put b/1=1', 'synced']);
    await w.put('a/1', '2');
    await w.remove('b/1');
    await f.mirror.waitFor(await w.put('c/2'));
    expect(f.told.slice(3)).toEqual(['put a/1=2', 'delete b/1']);
    expect([...f.mirror.entries.keys()]).toEqual(['a/1']);
    f.mirror.close();
    w.close();
  });

  it('lets one wait until it has told everything up to a revision', async () => {
    const w = world();
    const f = follow(w.control, ['a/']);
    for (let i = 0; i < 20; i++) {
      await f.mirror.waitFor(await w.put('a/1', String(i)));
      expect(f.state.get('a/1')).toBe(String(i));
    }
    f.mirror.close();
    w.close();
  });

  it('comes to the same state whatever happens while it lists', async () => {
    const w = world();
    for (let i = 0; i < 200; i++) await w.put(`a/${i % 50}`, `before ${i}`);
    const f = follow(w.control, ['a/']);
    const writes: Promise<number>[] = [];
    for (let i = 0; i < 200; i++)
      writes.push(i % 3 ? w.put(`a/${i % 50}`, `during ${i}`) : w.remove(`a/${i % 50}`));
    await f.mirror.waitFor(Math.max(...(await Promise.all(writes))));
    const { entries } = await w.control.list('a/');
    expect([...f.state].sort()).toEqual(entries.map(({ key, value }) => [key, value]).sort());
    f.mirror.close();
    w.close();
  });

  it('tells after a reset exactly what has changed, deletes included', async () => {
    const w = world();
    for (const key of ['a/same', 'a/changes', 'a/goes']) await w.put(key);
    const f = follow(w.control, ['a/']);
    await f.until('synced');
    const known = f.mirror.revision;
    f.told.length = 0;
    w.restart();
    await w.put('a/changes', '2');
    await w.remove('a/goes');
    await w.put('a/comes');
    w.restart();
    w.reconnect(known);
    await f.until('synced');
    expect([...f.told].sort()).toEqual(['delete a/goes', 'put a/changes=2', 'put a/comes=1', 'synced']);
    await f.mirror.waitFor(await w.put('a/same', '3'));
    expect(f.state.get('a/same')).toBe('3');
    f.mirror.close();
    w.close();
  });

  it('tries again while the store is away', async () => {
    const w = world();
    await w.put('a/1');
    w.failLists(3);
    const f = follow(w.control, ['a/']);
    await f.until('synced');
    expect(f.told).toEqual(['put a/1=1', 'synced']);
    f.mirror.close();
    w.close();
  });

  it('without values passes changes and resets on and holds nothing', async () => {
    const w = world();
    await w.put('own/1');
    const f = follow(w.control, ['own/'], 'forget');
    await f.until('synced');
    expect(f.told).toEqual(['synced']);
    const known = f.mirror.revision;
    await f.mirror.waitFor(await w.put('own/1', '2'));
    expect(f.told).toEqual(['synced', 'put own/1=2']);
    expect(f.mirror.entries.size).toBe(0);
    w.restart();
    await w.put('own/1', '3');
    w.restart();
    w.reconnect(known);
    await f.until('reset');
    await f.mirror.waitFor(await w.put('own/1', '4'));
    expect(f.told.at(-1)).toBe('put own/1=4');
    f.mirror.close();
    w.close();
  });

  it('ends those who wait when it is closed', async () => {
    const w = world();
    const f = follow(w.control, ['a/']);
    const waiting = f.mirror.waitFor(1_000_000);
    f.mirror.close();
    await expect(waiting).rejects.toMatchObject({ code: 'unavailable' });
    w.close();
  });
});
