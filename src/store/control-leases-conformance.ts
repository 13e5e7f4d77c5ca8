/**
 * Leases, watches and restarts of a control store: the sentences of `store.ts` about what happens by itself.
 */
import { describe, expect, it } from 'vitest';
import {
  byKey,
  type ControlFixture,
  collect,
  controlSuite,
  expectCode,
  keyOf,
  TTL_MS_LONG,
  TTL_MS_SHORT,
} from './control-suite-conformance.ts';
import type { KeyValue } from './store.ts';

export function controlLeasesConformance(make: () => Promise<ControlFixture>): void {
  describe('leases and watches', () => {
    const suite = controlSuite(make);

    describe('leases', () => {
      it('refuses a put under a lease that is not there', async () => {
        await expectCode(suite.put('a', '1', 'nobody'), 'lease-gone');
        expect(await suite.store.get('a')).toBeUndefined();
      });

      it('shows the lease of a key', async () => {
        await suite.store.grantLease('l', TTL_MS_LONG);
        const version = await suite.put('a', '1', 'l');
        expect(await suite.store.get('a')).toEqual({ key: 'a', value: '1', version, lease: 'l' });
      });

      it('deletes its keys at once when revoked, and no others', async () => {
        await suite.store.grantLease('l', TTL_MS_LONG);
        await suite.store.grantLease('m', TTL_MS_LONG);
        await suite.put('a', '1', 'l');
        await suite.put('b', '1', 'l');
        await suite.put('c', '1', 'm');
        await suite.put('d', '1');
        await suite.store.revokeLease('l');
        expect((await suite.store.list('')).entries.map((entry) => entry.key)).toEqual(['c', 'd']);
        await expectCode(suite.store.keepAlive('l'), 'lease-gone');
      });

      it('takes revoking an absent lease for success', async () => {
        await suite.store.revokeLease('never');
        await suite.store.grantLease('l', TTL_MS_LONG);
        await suite.store.revokeLease('l');
        await suite.store.revokeLease('l');
      });

      it('refuses to keep an absent lease alive', async () => {
        await expectCode(suite.store.keepAlive('never'), 'lease-gone');
      });

      it('ends by itself, with its keys, when nobody keeps it alive', async () => {
        await suite.store.grantLease('l', TTL_MS_SHORT);
        const revision = await suite.put('a', '1', 'l');
        const seen = collect(suite.store, ['a'], revision);
        await seen.until((events) => events.length === 1);
        expect(seen.events).toEqual([{ type: 'delete', key: 'a', revision: expect.any(Number) }]);
        expect(await suite.store.get('a')).toBeUndefined();
        await expectCode(suite.store.keepAlive('l'), 'lease-gone');
        await expectCode(suite.put('a', '1', 'l'), 'lease-gone');
        seen.close();
      });

      it('ends the one that is not kept alive, and keeps the one that is', async () => {
        await suite.store.grantLease('short', TTL_MS_SHORT);
        await suite.store.grantLease('kept', TTL_MS_LONG);
        await suite.put('a', '1', 'kept');
        const revision = await suite.put('b', '1', 'short');
        const seen = collect(suite.store, ['a', 'b'], revision);
        await seen.until((events) => events.length === 1);
        await suite.store.keepAlive('kept');
        expect(seen.events).toMatchObject([{ type: 'delete', key: 'b' }]);
        expect(await suite.store.get('a')).toBeDefined();
        seen.close();
      });

      it('renews, with its new length, when granted again', async () => {
        await suite.store.grantLease('l', TTL_MS_SHORT);
        await suite.put('a', '1', 'l');
        await suite.store.grantLease('l', TTL_MS_LONG);
        // Another lease of the old length, granted later, comes to its end first.
        await suite.store.grantLease('clock', TTL_MS_SHORT);
        const revision = await suite.put('clock', '1', 'clock');
        const seen = collect(suite.store, ['clock', 'a'], revision);
        await seen.until((events) => events.length === 1);
        expect(seen.events).toMatchObject([{ type: 'delete', key: 'clock' }]);
        expect(await suite.store.get('a')).toBeDefined();
        seen.close();
      });

      it('lets go of a key that is put again without it, or under another', async () => {
        await suite.store.grantLease('l', TTL_MS_LONG);
        await suite.store.grantLease('m', TTL_MS_LONG);
        await suite.put('a', '1', 'l');
        await suite.put('b', '1', 'l');
        await suite.put('a', '2');
        await suite.put('b', '2', 'm');
        await suite.store.revokeLease('l');
        expect((await suite.store.list('')).entries.map((entry) => entry.key)).toEqual(['a', 'b']);
        await suite.store.revokeLease('m');
        expect((await suite.store.list('')).entries.map((entry) => entry.key)).toEqual(['a']);
      });

      it('refuses a length that makes no sense', async () => {
        await expectCode(suite.store.grantLease('l', 0), 'invalid');
        await expectCode(suite.store.grantLease('l', Number.NaN), 'invalid');
      });
    });

    describe('watches', () => {
      it('delivers changes of the prefixes in order, each once', async () => {
        const start = (await suite.store.list('')).revision;
        const seen = collect(suite.store, ['a/', 'b/'], start);
        const first = await suite.put('a/1', '1');
        await suite.put('c/1', 'not watched');
        const second = await suite.put('b/1', '1');
        const third = await suite.remove('a/1');
        await seen.until((events) => events.length === 3);
        expect(seen.events).toEqual([
          { type: 'put', entry: { key: 'a/1', value: '1', version: first }, revision: first },
          { type: 'put', entry: { key: 'b/1', value: '1', version: second }, revision: second },
          { type: 'delete', key: 'a/1', revision: third },
        ]);
        seen.close();
      });

      it('delivers a transaction as a whole, in the order of its operations', async () => {
        await suite.put('x/gone', '1');
        const start = (await suite.store.list('')).revision;
        const seen = collect(suite.store, ['x/'], start);
        const { revision } = await suite.store.transact({
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
        for (let i = 0; i < 20; i++) revisions.push(await suite.put(`w/${i}`, String(i)));
        for (const from of [0, 7, 18]) {
          const seen = collect(suite.store, ['w/'], revisions[from]!);
          await seen.until((events) => events.length === 19 - from);
          expect(seen.events.map((event) => event.revision)).toEqual(revisions.slice(from + 1));
          seen.close();
        }
      });

      it('misses nothing between a listing and the watch from its revision', async () => {
        const writes = Promise.all(
          Array.from({ length: 100 }, (_, i) => suite.put(`m/${i % 10}`, String(i))),
        );
        await suite.put('m/first', '1');
        const { entries, revision } = await suite.store.list('m/');
        const state = new Map<string, KeyValue>(entries.map((entry) => [entry.key, entry]));
        const seen = collect(suite.store, ['m/'], revision);
        await writes;
        const last = await suite.put('m/last', '1');
        await seen.until((events) => events.some((event) => event.revision === last));
        for (const event of seen.events) if (event.type === 'put') state.set(event.entry.key, event.entry);
        expect([...state.values()].sort(byKey)).toEqual((await suite.store.list('m/')).entries);
        seen.close();
      });

      it('shows no value of a key twice and none that was never there', async () => {
        const start = (await suite.store.list('')).revision;
        const seen = collect(suite.store, ['n'], start);
        const versions = await Promise.all(Array.from({ length: 50 }, (_, i) => suite.put('n', String(i))));
        await seen.until((events) => events.length === 50);
        expect(seen.events.map((event) => event.revision)).toEqual([...versions].sort((a, b) => a - b));
        seen.close();
      });

      it('tells a transaction without effect to nobody', async () => {
        const start = await suite.put('a', '1');
        const seen = collect(suite.store, [''], start);
        await suite.store.transact({
          compare: [{ key: 'a', version: 0 }],
          operations: [{ put: 'a', value: '2' }],
        });
        await suite.store.transact({ compare: [], operations: [{ delete: 'never' }] });
        const last = await suite.put('b', '1');
        await seen.until((events) => events.length > 0);
        expect(seen.events.map((event) => event.revision)).toEqual([last]);
        seen.close();
      });

      it('answers a revision from the future with a reset', async () => {
        const revision = await suite.put('a', '1');
        const seen = collect(suite.store, ['a'], revision + 1000);
        await seen.until((events) => events.length === 1);
        expect(seen.events).toEqual([{ type: 'reset', revision }]);
        // And goes on from there.
        const next = await suite.put('a', '2');
        await seen.until((events) => events.length === 2);
        expect(seen.events[1]).toMatchObject({ type: 'put', revision: next });
        seen.close();
      });

      it('tells how far it is, also where nothing happened', async () => {
        const start = (await suite.store.list('')).revision;
        const seen = collect(suite.store, ['quiet/'], start);
        const revision = await suite.put('loud/1', '1');
        await seen.untilProgress(revision);
        expect(seen.events).toEqual([]);
        seen.close();
      });

      it('is silent once closed', async () => {
        const start = (await suite.store.list('')).revision;
        const closed = collect(suite.store, ['z'], start);
        const open = collect(suite.store, ['z'], start);
        await suite.put('z', '1');
        await open.until((events) => events.length === 1);
        await closed.until((events) => events.length === 1);
        closed.close();
        await suite.put('z', '2');
        await open.until((events) => events.length === 2);
        expect(closed.events).toHaveLength(1);
        open.close();
      });
    });

    describe('over a restart', () => {
      const durable = (title: string, run: (reopen: () => Promise<void>) => Promise<void>) =>
        it(title, async (context) => {
          if (!suite.fixture.reopen) return context.skip('this engine keeps nothing over a restart');
          await run(async () => {
            suite.store = await suite.fixture.reopen!();
          });
        });

      durable('keeps keys, versions and the revision', async (reopen) => {
        await suite.put('a', '1');
        await suite.put('b', '2');
        await suite.remove('a');
        const before = await suite.store.list('');
        await reopen();
        expect(await suite.store.list('')).toEqual(before);
        expect(await suite.put('c', '1')).toBeGreaterThan(before.revision);
      });

      durable('keeps leases, each with a fresh time to live', async (reopen) => {
        await suite.store.grantLease('l', TTL_MS_LONG);
        await suite.put('a', '1', 'l');
        await reopen();
        await suite.store.keepAlive('l');
        expect(await suite.store.get('a')).toMatchObject({ lease: 'l' });
        await suite.store.revokeLease('l');
        expect(await suite.store.get('a')).toBeUndefined();
      });

      durable('still ends leases', async (reopen) => {
        await suite.store.grantLease('l', TTL_MS_SHORT);
        const revision = await suite.put('a', '1', 'l');
        await reopen();
        const seen = collect(suite.store, ['a'], revision);
        await seen.until((events) =>
          events.some((event) => event.type === 'delete' || event.type === 'reset'),
        );
        seen.close();
        // The reset names a revision at which the lease may still live: its end comes as an event of its own.
        const later = collect(suite.store, ['a'], (await suite.store.list('')).revision);
        if (await suite.store.get('a')) await later.until((events) => events.length === 1);
        later.close();
        expect(await suite.store.get('a')).toBeUndefined();
      });

      durable('resumes a watch that is current, and resets one that is not', async (reopen) => {
        const old = await suite.put('a', '1');
        await suite.put('a', '2');
        const current = await suite.put('a', '3');
        await reopen();
        const resumed = collect(suite.store, ['a'], current);
        const behind = collect(suite.store, ['a'], old);
        await behind.until((events) => events.length === 1);
        expect(behind.events).toEqual([{ type: 'reset', revision: current }]);
        const next = await suite.put('a', '4');
        await resumed.until((events) => events.length === 1);
        expect(resumed.events).toMatchObject([{ type: 'put', revision: next }]);
        resumed.close();
        behind.close();
      });
    });
  });
}
