/**
 * Keys, lists and transactions of a control store: the sentences of `store.ts` about them.
 */
import { describe, expect, it } from 'vitest';
import { type ControlFixture, controlSuite, expectCode } from './control-suite-conformance.ts';

export function controlKeysConformance(make: () => Promise<ControlFixture>): void {
  describe('keys and transactions', () => {
    const suite = controlSuite(make);

    describe('keys', () => {
      it('has no key before it is put', async () => {
        expect(await suite.store.get('a')).toBeUndefined();
      });

      it('gives a key with the revision of its last change as its version', async () => {
        const first = await suite.put('a', '1');
        expect(await suite.store.get('a')).toEqual({ key: 'a', value: '1', version: first });
        const second = await suite.put('a', '2');
        expect(second).toBeGreaterThan(first);
        expect(await suite.store.get('a')).toEqual({ key: 'a', value: '2', version: second });
      });

      it('does not touch the version of other keys', async () => {
        const version = await suite.put('a', '1');
        await suite.put('b', '1');
        expect((await suite.store.get('a'))?.version).toBe(version);
      });

      it('never uses a version again, also after a delete', async () => {
        const first = await suite.put('a', '1');
        await suite.remove('a');
        expect(await suite.put('a', '1')).toBeGreaterThan(first);
      });

      it('keeps any Unicode text', async () => {
        const text = 'caf\u00e9 \u{1F986} \u0000 "\\';
        await suite.put(`k/${text}`, text);
        expect((await suite.store.get(`k/${text}`))?.value).toBe(text);
      });
    });

    describe('lists', () => {
      it('gives keys with the prefix in order, and nobody else', async () => {
        for (const key of ['b/2', 'a', 'b/10', 'b', 'b/1', 'c', 'b0']) await suite.put(key, key);
        const { entries } = await suite.store.list('b/');
        expect(entries.map((entry) => entry.key)).toEqual(['b/1', 'b/10', 'b/2']);
      });

      it('gives all keys for the empty prefix', async () => {
        for (const key of ['b', 'a']) await suite.put(key, key);
        expect((await suite.store.list('')).entries.map((entry) => entry.key)).toEqual(['a', 'b']);
      });

      it('takes a prefix literally', async () => {
        for (const key of ['a%b', 'axb', 'a_b']) await suite.put(key, key);
        expect((await suite.store.list('a%')).entries.map((entry) => entry.key)).toEqual(['a%b']);
        expect((await suite.store.list('a_')).entries.map((entry) => entry.key)).toEqual(['a_b']);
      });

      it('tells the revision it was read at', async () => {
        await suite.put('a', '1');
        const revision = await suite.put('b', '1');
        expect((await suite.store.list('')).revision).toBe(revision);
      });

      it('pages by limit and after, and says whether there is more', async () => {
        for (let i = 0; i < 7; i++) await suite.put(`p/${i}`, String(i));
        const pages: string[][] = [];
        let after: string | undefined;
        for (;;) {
          const { entries, more } = await suite.store.list('p/', { limit: 3, after });
          pages.push(entries.map((entry) => entry.key));
          after = entries.at(-1)?.key;
          if (!more) break;
        }
        expect(pages).toEqual([['p/0', 'p/1', 'p/2'], ['p/3', 'p/4', 'p/5'], ['p/6']]);
      });

      it('gives whole listings that are larger than one answer', async () => {
        const value = 'x'.repeat(500_000);
        for (let i = 0; i < 24; i++) await suite.put(`big/${String(i).padStart(2, '0')}`, value);
        const { entries } = await suite.store.list('big/');
        expect(entries).toHaveLength(24);
        expect(entries.every((entry) => entry.value.length === value.length)).toBe(true);
      });
    });

    describe('transactions', () => {
      it('puts where the key is absent, once', async () => {
        const create = () =>
          suite.store.transact({
            compare: [{ key: 'a', version: 0 }],
            operations: [{ put: 'a', value: '1' }],
          });
        expect((await create()).succeeded).toBe(true);
        const again = await create();
        expect(again.succeeded).toBe(false);
      });

      it('swaps where the version is the one compared, and not otherwise', async () => {
        const version = await suite.put('a', '1');
        const swap = (value: string) =>
          suite.store.transact({ compare: [{ key: 'a', version }], operations: [{ put: 'a', value }] });
        expect((await swap('2')).succeeded).toBe(true);
        expect((await swap('3')).succeeded).toBe(false);
        expect((await suite.store.get('a'))?.value).toBe('2');
      });

      it('does nothing at all where one compare of several fails', async () => {
        const version = await suite.put('a', '1');
        const before = await suite.store.list('');
        const result = await suite.store.transact({
          compare: [
            { key: 'a', version },
            { key: 'b', version: 99 },
          ],
          operations: [{ put: 'a', value: '2' }, { put: 'c', value: '1' }, { delete: 'b' }],
        });
        expect(result.succeeded).toBe(false);
        expect(await suite.store.list('')).toEqual(before);
        expect(result.revision).toBe(before.revision);
      });

      it('does everything at one revision where all compares hold', async () => {
        await suite.put('gone', '1');
        const result = await suite.store.transact({
          compare: [{ key: 'a', version: 0 }],
          operations: [{ put: 'a', value: '1' }, { put: 'b', value: '2' }, { delete: 'gone' }],
        });
        expect(result.succeeded).toBe(true);
        const { entries, revision } = await suite.store.list('');
        expect(revision).toBe(result.revision);
        expect(entries).toEqual([
          { key: 'a', value: '1', version: result.revision },
          { key: 'b', value: '2', version: result.revision },
        ]);
      });

      it('reads after the operations where they were done', async () => {
        await suite.put('old', '1');
        const result = await suite.store.transact({
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
        const version = await suite.put('a', 'winner');
        const result = await suite.store.transact({
          compare: [{ key: 'a', version: 0 }],
          operations: [{ put: 'a', value: 'loser' }],
          read: ['a'],
        });
        expect(result).toMatchObject({ succeeded: false, read: [{ key: 'a', value: 'winner', version }] });
      });

      it('lets exactly one of many win a race for a key', async () => {
        const results = await Promise.all(
          Array.from({ length: 50 }, (_, i) =>
            suite.store.transact({
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
        const result = await suite.store.transact({ compare: [], operations: [{ delete: 'never' }] });
        expect(result.succeeded).toBe(true);
      });

      it('refuses the same key twice and does nothing', async () => {
        await expectCode(
          suite.store.transact({
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
          suite.store.transact({ compare: [], operations: [{ put: 'a', value: '1' }, { delete: 'a' }] }),
          'invalid',
        );
        expect((await suite.store.list('')).entries).toEqual([]);
      });

      it('refuses an empty key', async () => {
        await expectCode(suite.put('', 'x'), 'invalid');
      });

      it('refuses what is too large and writes nothing', async () => {
        await expectCode(
          suite.store.transact({
            compare: [],
            operations: [
              { put: 'small', value: '1' },
              { put: 'large', value: 'x'.repeat(2 * 1024 * 1024) },
            ],
          }),
          'too-large',
        );
        await expectCode(
          suite.store.transact({
            compare: [],
            operations: Array.from({ length: 5000 }, (_, i) => ({ put: `k/${i}`, value: '1' })),
          }),
          'too-large',
        );
        expect((await suite.store.list('')).entries).toEqual([]);
      });

      it('lets a refused one leave those beside it alone', async () => {
        const results = await Promise.allSettled([
          suite.put('a', '1'),
          suite.put('', 'invalid'),
          suite.put('b', '1'),
          suite.put('c', '1', 'no-such-lease'),
          suite.put('d', '1'),
        ]);
        expect(results.map((result) => result.status)).toEqual([
          'fulfilled',
          'rejected',
          'fulfilled',
          'rejected',
          'fulfilled',
        ]);
        expect((await suite.store.list('')).entries.map((entry) => entry.key)).toEqual(['a', 'b', 'd']);
      });
    });
  });
}
