/**
 * The one suite every control store passes, whatever its engine and however far away: each sentence of `store.ts`.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ControlStore, KeyValue, StoreErrorCode, WatchEvent } from './store.ts';

export interface ControlFixture {
  store: ControlStore;
  /**
   * Stops the engine and starts it on the same data, as a restart of its process does. Gives the store to go on with.
   * Absent where an engine keeps nothing: then the cases of persistence are skipped, by name.
   */
  reopen?: () => Promise<ControlStore>;
  close: () => Promise<void>;
}

/** Long enough to outlive a slow machine's hiccup where a lease must live, short enough to wait for its end. */
const TTL_MS_SHORT = 600;
const TTL_MS_LONG = 60_000;

export function controlStoreConformance(name: string, make: () => Promise<ControlFixture>): void {
  describe(`control store: ${name}`, () => {
    let fixture: ControlFixture;
    let store: ControlStore;
    beforeEach(async () => {
      fixture = await make();
      store = fixture.store;
    });
    afterEach(() => fixture.close());

    const put = async (key: string, value: string, lease?: string) =>
      (await store.transact({ compare: [], operations: [{ put: key, value, lease }] })).revision;
    const remove = async (key: string) =>
      (await store.transact({ compare: [], operations: [{ delete: key }] })).revision;

    describe('keys', () => {
      it('has no key before it is put', async () => {
        expect(await store.get('a')).toBeUndefined();
      });

      it('gives a key with the revision of its last change as its version', async () => {
        const first = await put('a', '1');
        expect(await store.get('a')).toEqual({ key: 'a', value: '1', version: first });
        const second = await put('a', '2');
        expect(second).toBeGreaterThan(first);
        expect(await store.get('a')).toEqual({ key: 'a', value: '2', version: second });
      });

      it('does not touch the version of other keys', async () => {
        const version = await put('a', '1');
        await put('b', '1');
        expect((await store.get('a'))?.version).toBe(version);
      });

      it('never uses a version again, also after a delete', async () => {
        const first = await put('a', '1');
        await remove('a');
        expect(await put('a', '1')).toBeGreaterThan(first);
      });

      it('keeps any Unicode text', async () => {
        const text = 'caf\u00e9 \u{1F986} \u0000 "\\';
        await put(`k/${text}`, text);
        expect((await store.get(`k/${text}`))?.value).toBe(text);
      });
    });

    describe('lists', () => {
      it('gives keys with the prefix in order, and nobody else', async () => {
        for (const key of ['b/2', 'a', 'b/10', 'b', 'b/1', 'c', 'b0']) await put(key, key);
        const { entries } = await store.list('b/');
        expect(entries.map((entry) => entry.key)).toEqual(['b/1', 'b/10', 'b/2']);
      });

      it('gives all keys for the empty prefix', async () => {
        for (const key of ['b', 'a']) await put(key, key);
        expect((await store.list('')).entries.map((entry) => entry.key)).toEqual(['a', 'b']);
      });

      it('takes a prefix literally', async () => {
        for (const key of ['a%b', 'axb', 'a_b']) await put(key, key);
        expect((await store.list('a%')).entries.map((entry) => entry.key)).toEqual(['a%b']);
        expect((await store.list('a_')).entries.map((entry) => entry.key)).toEqual(['a_b']);
      });

      it('tells the revision it was read at', async () => {
        await put('a', '1');
        const revision = await put('b', '1');
        expect((await store.list('')).revision).toBe(revision);
      });

      it('pages by limit and after, and says whether there is more', async () => {
        for (let i = 0; i < 7; i++) await put(`p/${i}`, String(i));
        const pages: string[][] = [];
        let after: string | undefined;
        for (;;) {
          const { entries, more } = await store.list('p/', { limit: 3, after });
          pages.push(entries.map((entry) => entry.key));
          after = entries.at(-1)?.key;
          if (!more) break;
        }
        expect(pages).toEqual([['p/0', 'p/1', 'p/2'], ['p/3', 'p/4', 'p/5'], ['p/6']]);
      });

      it('gives whole listings that are larger than one answer', async () => {
        const value = 'x'.repeat(500_000);
        for (let i = 0; i < 24; i++) await put(`big/${String(i).padStart(2, '0')}`, value);
        const { entries } = await store.list('big/');
        expect(entries).toHaveLength(24);
        expect(entries.every((entry) => entry.value.length === value.length)).toBe(true);
      });
    });

    describe('transactions', () => {
      it('puts where the key is absent, once', async () => {
        const create = () =>
          store.transact({ compare: [{ key: 'a', version: 0 }], operations: [{ put: 'a', value: '1' }] });
        expect((await create()).succeeded).toBe(true);
        const again = await create();
        expect(again.succeeded).toBe(false);
      });

      it('swaps where the version is the one compared, and not otherwise', async () => {
        const version = await put('a', '1');
        const swap = (value: string) =>
          store.transact({ compare: [{ key: 'a', version }], operations: [{ put: 'a', value }] });
        expect((await swap('2')).succeeded).toBe(true);
        expect((await swap('3')).succeeded).toBe(false);
        expect((await store.get('a'))?.value).toBe('2');
      });

      it('does nothing at all where one compare of several fails', async () => {
        const version = await put('a', '1');
        const before = await store.list('');
        const result = await store.transact({
          compare: [
            { key: 'a', version },
            { key: 'b', version: 99 },
          ],
          operations: [{ put: 'a', value: '2' }, { put: 'c', value: '1' }, { delete: 'b' }],
        });
        expect(result.succeeded).toBe(false);
        expect(await store.list('')).toEqual(before);
        expect(result.revision).toBe(before.revision);
      });

      it('does everything at one revision where all compares hold', async () => {
        await put('gone', '1');
        const result = await store.transact({
          compare: [{ key: 'a', version: 0 }],
          operations: [{ put: 'a', value: '1' }, { put: 'b', value: '2' }, { delete: 'gone' }],
        });
        expect(result.succeeded).toBe(true);
        const { entries, revision } = await store.list('');
        expect(revision).toBe(result.revision);
        expect(entries).toEqual([
          { key: 'a', value: '1', version: result.revision },
          { key: 'b', value: '2', version: result.revision },
        ]);
      });

      it('reads after the operations where they were done', async () => {
        await put('old', '1');
        const result = await store.transact({
          compare: [],
          operations: [{ put: 'a', value: '1' }, { delete: 'old' }],
          read: ['a', 'old', 'never'],
        });
        expect(result.read).toEqual([
          { key: 'a', value: '1', version: result.revision },
          undefined,
          undefined,
        ]);
      });

      it('reads in the same transaction where a compare fails: the loser learns who won', async () => {
        const version = await put('a', 'winner');
        const result = await store.transact({
          compare: [{ key: 'a', version: 0 }],
          operations: [{ put: 'a', value: 'loser' }],
          read: ['a'],
        });
        expect(result).toMatchObject({ succeeded: false, read: [{ key: 'a', value: 'winner', version }] });
      });

      it('lets exactly one of many win a race for a key', async () => {
        const results = await Promise.all(
          Array.from({ length: 50 }, (_, i) =>
            store.transact({
              compare: [{ key: 'leader', version: 0 }],
              operations: [{ put: 'leader', value: String(i) }],
              read: ['leader'],
            }),
          ),
        );
        const winners = results.filter((result) => result.succeeded);
        expect(winners).toHaveLength(1);
        expect(new Set(results.map((result) => result.read[0]?.value)).size).toBe(1);
      });

      it('deletes an absent key without complaint', async () => {
        const result = await store.transact({ compare: [], operations: [{ delete: 'never' }] });
        expect(result.succeeded).toBe(true);
      });

      it('refuses the same key twice and does nothing', async () => {
        await expectCode(
          store.transact({
            compare: [],
            operations: [
              { put: 'b', value: '1' },
              { put: 'a', value: '1' },
              { put: 'a', value: '2' },
            ],
          }),
          'invalid',
        );
        await expectCode(
          store.transact({ compare: [], operations: [{ put: 'a', value: '1' }, { delete: 'a' }] }),
          'invalid',
        );
        expect((await store.list('')).entries).toEqual([]);
      });

      it('refuses an empty key', async () => {
        await expectCode(put('', 'x'), 'invalid');
      });

      it('refuses what is too large and writes nothing', async () => {
        await expectCode(
          store.transact({
            compare: [],
            operations: [
              { put: 'small', value: '1' },
              { put: 'large', value: 'x'.repeat(2 * 1024 * 1024) },
            ],
          }),
          'too-large',
        );
        await expectCode(
          store.transact({
            compare: [],
            operations: Array.from({ length: 5000 }, (_, i) => ({ put: `k/${i}`, value: '1' })),
          }),
          'too-large',
        );
        expect((await store.list('')).entries).toEqual([]);
      });

      it('lets a refused one leave those beside it alone', async () => {
        const results = await Promise.allSettled([
          put('a', '1'),
          put('', 'invalid'),
          put('b', '1'),
          put('c', '1', 'no-such-lease'),
          put('d', '1'),
        ]);
        expect(results.map((result) => result.status)).toEqual([
          'fulfilled',
          'rejected',
          'fulfilled',
          'rejected',
          'fulfilled',
        ]);
        expect((await store.list('')).entries.map((entry) => entry.key)).toEqual(['a', 'b', 'd']);
      });
    });

    describe('leases', () => {
      it('refuses a put under a lease that is not there', async () => {
        await expectCode(put('a', '1', 'nobody'), 'lease-gone');
        expect(await store.get('a')).toBeUndefined();
      });

      it('shows the lease of a key', async () => {
        await store.grantLease('l', TTL_MS_LONG);
        const version = await put('a', '1', 'l');
        expect(await store.get('a')).toEqual({ key: 'a', value: '1', version, lease: 'l' });
      });

      it('deletes its keys at once when revoked, and no others', async () => {
        await store.grantLease('l', TTL_MS_LONG);
        await store.grantLease('m', TTL_MS_LONG);
        await put('a', '1', 'l');
        await put('b', '1', 'l');
        await put('c', '1', 'm');
        await put('d', '1');
        await store.revokeLease('l');
        expect((await store.list('')).entries.map((entry) => entry.key)).toEqual(['c', 'd']);
        await expectCode(store.keepAlive('l'), 'lease-gone');
      });

      it('takes revoking an absent lease for success', async () => {
        await store.revokeLease('never');
        await store.grantLease('l', TTL_MS_LONG);
        await store.revokeLease('l');
        await store.revokeLease('l');
      });

      it('refuses to keep an absent lease alive', async () => {
        await expectCode(store.keepAlive('never'), 'lease-gone');
      });

      it('ends by itself, with its keys, when nobody keeps it alive', async () => {
        await store.grantLease('l', TTL_MS_SHORT);
        const revision = await put('a', '1', 'l');
        const seen = collect(store, ['a'], revision);
        await seen.until((events) => events.length === 1);
        expect(seen.events).toEqual([{ type: 'delete', key: 'a', revision: expect.any(Number) }]);
        expect(await store.get('a')).toBeUndefined();
        await expectCode(store.keepAlive('l'), 'lease-gone');
        await expectCode(put('a', '1', 'l'), 'lease-gone');
        seen.close();
      });

      it('ends the one that is not kept alive, and keeps the one that is', async () => {
        await store.grantLease('short', TTL_MS_SHORT);
        await store.grantLease('kept', TTL_MS_LONG);
        await put('a', '1', 'kept');
        const revision = await put('b', '1', 'short');
        const seen = collect(store, ['a', 'b'], revision);
        await seen.until((events) => events.length === 1);
        await store.keepAlive('kept');
        expect(seen.events).toMatchObject([{ type: 'delete', key: 'b' }]);
        expect(await store.get('a')).toBeDefined();
        seen.close();
      });

      it('renews, with its new length, when granted again', async () => {
        await store.grantLease('l', TTL_MS_SHORT);
        await put('a', '1', 'l');
        await store.grantLease('l', TTL_MS_LONG);
        // Another lease of the old length, granted later, comes to its end first.
        await store.grantLease('clock', TTL_MS_SHORT);
        const revision = await put('clock', '1', 'clock');
        const seen = collect(store, ['clock', 'a'], revision);
        await seen.until((events) => events.length === 1);
        expect(seen.events).toMatchObject([{ type: 'delete', key: 'clock' }]);
        expect(await store.get('a')).toBeDefined();
        seen.close();
      });

      it('lets go of a key that is put again without it, or under another', async () => {
        await store.grantLease('l', TTL_MS_LONG);
        await store.grantLease('m', TTL_MS_LONG);
        await put('a', '1', 'l');
        await put('b', '1', 'l');
        await put('a', '2');
        await put('b', '2', 'm');
        await store.revokeLease('l');
        expect((await store.list('')).entries.map((entry) => entry.key)).toEqual(['a', 'b']);
        await store.revokeLease('m');
        expect((await store.list('')).entries.map((entry) => entry.key)).toEqual(['a']);
      });

      it('refuses a length that makes no sense', async () => {
        await expectCode(store.grantLease('l', 0), 'invalid');
        await expectCode(store.grantLease('l', Number.NaN), 'invalid');
      });
    });

    describe('watches', () => {
      it('delivers changes of the prefixes in order, each once', async () => {
        const start = (await store.list('')).revision;
        const seen = collect(store, ['a/', 'b/'], start);
        const first = await put('a/1', '1');
        await put('c/1', 'not watched');
        const second = await put('b/1', '1');
        const third = await remove('a/1');
        await seen.until((events) => events.length === 3);
        expect(seen.events).toEqual([
          { type: 'put', entry: { key: 'a/1', value: '1', version: first }, revision: first },
          { type: 'put', entry: { key: 'b/1', value: '1', version: second }, revision: second },
          { type: 'delete', key: 'a/1', revision: third },
        ]);
        seen.close();
      });

      it('delivers a transaction as a whole, in the order of its operations', async () => {
        await put('x/gone', '1');
        const start = (await store.list('')).revision;
        const seen = collect(store, ['x/'], start);
        const { revision } = await store.transact({
          compare: [],
          operations: [{ put: 'x/b', value: '1' }, { delete: 'x/gone' }, { put: 'x/a', value: '1' }],
        });
        await seen.until((events) => events.length === 3);
        expect(seen.events.map((event) => [event.type, keyOf(event), event.revision])).toEqual([
          ['put', 'x/b', revision],
          ['delete', 'x/gone', revision],
          ['put', 'x/a', revision],
        ]);
        seen.close();
      });

      it('resumes from any revision that history still covers', async () => {
        const revisions: number[] = [];
        for (let i = 0; i < 20; i++) revisions.push(await put(`w/${i}`, String(i)));
        for (const from of [0, 7, 18]) {
          const seen = collect(store, ['w/'], revisions[from]!);
          await seen.until((events) => events.length === 19 - from);
          expect(seen.events.map((event) => event.revision)).toEqual(revisions.slice(from + 1));
          seen.close();
        }
      });

      it('misses nothing between a listing and the watch from its revision', async () => {
        const writes = Promise.all(Array.from({ length: 100 }, (_, i) => put(`m/${i % 10}`, String(i))));
        await put('m/first', '1');
        const { entries, revision } = await store.list('m/');
        const state = new Map<string, KeyValue>(entries.map((entry) => [entry.key, entry]));
        const seen = collect(store, ['m/'], revision);
        await writes;
        const last = await put('m/last', '1');
        await seen.until((events) => events.some((event) => event.revision === last));
        for (const event of seen.events) if (event.type === 'put') state.set(event.entry.key, event.entry);
        expect([...state.values()].sort(byKey)).toEqual((await store.list('m/')).entries);
        seen.close();
      });

      it('shows no value of a key twice and none that was never there', async () => {
        const start = (await store.list('')).revision;
        const seen = collect(store, ['n'], start);
        const versions = await Promise.all(Array.from({ length: 50 }, (_, i) => put('n', String(i))));
        await seen.until((events) => events.length === 50);
        expect(seen.events.map((event) => event.revision)).toEqual([...versions].sort((a, b) => a - b));
        seen.close();
      });

      it('tells a transaction without effect to nobody', async () => {
        const start = await put('a', '1');
        const seen = collect(store, [''], start);
        await store.transact({ compare: [{ key: 'a', version: 0 }], operations: [{ put: 'a', value: '2' }] });
        await store.transact({ compare: [], operations: [{ delete: 'never' }] });
        const last = await put('b', '1');
        await seen.until((events) => events.length > 0);
        expect(seen.events.map((event) => event.revision)).toEqual([last]);
        seen.close();
      });

      it('answers a revision from the future with a reset', async () => {
        const revision = await put('a', '1');
        const seen = collect(store, ['a'], revision + 1000);
        await seen.until((events) => events.length === 1);
        expect(seen.events).toEqual([{ type: 'reset', revision }]);
        // And goes on from there.
        const next = await put('a', '2');
        await seen.until((events) => events.length === 2);
        expect(seen.events[1]).toMatchObject({ type: 'put', revision: next });
        seen.close();
      });

      it('tells how far it is, also where nothing happened', async () => {
        const start = (await store.list('')).revision;
        const seen = collect(store, ['quiet/'], start);
        const revision = await put('loud/1', '1');
        await seen.untilProgress(revision);
        expect(seen.events).toEqual([]);
        seen.close();
      });

      it('is silent once closed', async () => {
        const start = (await store.list('')).revision;
        const closed = collect(store, ['z'], start);
        const open = collect(store, ['z'], start);
        await put('z', '1');
        await open.until((events) => events.length === 1);
        await closed.until((events) => events.length === 1);
        closed.close();
        await put('z', '2');
        await open.until((events) => events.length === 2);
        expect(closed.events).toHaveLength(1);
        open.close();
      });
    });

    describe('over a restart', () => {
      const durable = (title: string, run: (reopen: () => Promise<void>) => Promise<void>) =>
        it(title, async (context) => {
          if (!fixture.reopen) return context.skip('this engine keeps nothing over a restart');
          await run(async () => {
            store = await fixture.reopen!();
          });
        });

      durable('keeps keys, versions and the revision', async (reopen) => {
        await put('a', '1');
        await put('b', '2');
        await remove('a');
        const before = await store.list('');
        await reopen();
        expect(await store.list('')).toEqual(before);
        expect(await put('c', '1')).toBeGreaterThan(before.revision);
      });

      durable('keeps leases, each with a fresh time to live', async (reopen) => {
        await store.grantLease('l', TTL_MS_LONG);
        await put('a', '1', 'l');
        await reopen();
        await store.keepAlive('l');
        expect(await store.get('a')).toMatchObject({ lease: 'l' });
        await store.revokeLease('l');
        expect(await store.get('a')).toBeUndefined();
      });

      durable('still ends leases', async (reopen) => {
        await store.grantLease('l', TTL_MS_SHORT);
        const revision = await put('a', '1', 'l');
        await reopen();
        const seen = collect(store, ['a'], revision);
        await seen.until((events) =>
          events.some((event) => event.type === 'delete' || event.type === 'reset'),
        );
        seen.close();
        // The reset names a revision at which the lease may still live: its end comes as an event of its own.
        const later = collect(store, ['a'], (await store.list('')).revision);
        if (await store.get('a')) await later.until((events) => events.length === 1);
        later.close();
        expect(await store.get('a')).toBeUndefined();
      });

      durable('resumes a watch that is current, and resets one that is not', async (reopen) => {
        const old = await put('a', '1');
        await put('a', '2');
        const current = await put('a', '3');
        await reopen();
        const resumed = collect(store, ['a'], current);
        const behind = collect(store, ['a'], old);
        await behind.until((events) => events.length === 1);
        expect(behind.events).toEqual([{ type: 'reset', revision: current }]);
        const next = await put('a', '4');
        await resumed.until((events) => events.length === 1);
        expect(resumed.events).toMatchObject([{ type: 'put', revision: next }]);
        resumed.close();
        behind.close();
      });
    });
  });
}

async function expectCode(promise: Promise<unknown>, code: StoreErrorCode): Promise<void> {
  await expect(promise).rejects.toMatchObject({ name: 'StoreError', code });
}

function byKey(a: KeyValue, b: KeyValue): number {
  return a.key < b.key ? -1 : 1;
}

function keyOf(event: WatchEvent): string | undefined {
  if (event.type === 'reset') return undefined;
  return event.type === 'put' ? event.entry.key : event.key;
}

/** A watch that remembers, and lets a test wait for what must come: no sleeping. */
export function collect(store: ControlStore, prefixes: string[], fromRevision: number) {
  const events: WatchEvent[] = [];
  let progress = 0;
  let waiting: { holds: () => boolean; resolve: () => void }[] = [];
  const wake = () => {
    waiting = waiting.filter(({ holds, resolve }) => {
      if (!holds()) return true;
      resolve();
      return false;
    });
  };
  const wait = (holds: () => boolean) =>
    new Promise<void>((resolve) => {
      waiting.push({ holds, resolve });
      wake();
    });
  const subscription = store.watch(
    prefixes,
    fromRevision,
    (event) => {
      events.push(event);
      wake();
    },
    (revision) => {
      progress = revision;
      wake();
    },
  );
  return {
    events,
    until: (holds: (events: WatchEvent[]) => boolean) => wait(() => holds(events)),
    untilProgress: (revision: number) => wait(() => progress >= revision),
    close: () => subscription.close(),
  };
}
