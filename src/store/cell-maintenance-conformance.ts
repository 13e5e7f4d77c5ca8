/**
 * Snapshots, trims, deletes, copies, listings and restarts: the sentences of `store.ts` about keeping logs.
 */
import { describe, expect, it } from 'vitest';
import {
  A,
  B,
  bytes,
  type CellFixture,
  cellSuite,
  entry,
  expectCode,
  OK,
  same,
} from './cell-suite-conformance.ts';

export function cellMaintenanceConformance(make: () => Promise<CellFixture>): void {
  describe('maintenance', () => {
    const suite = cellSuite(make);

    describe('snapshots (OWNERSHIP rule 8)', () => {
      it('never go back', async () => {
        await suite.fill(A, 1, 1, 5);
        expect(await suite.store.putSnapshot(A, 1, { seq: 4, bytes: bytes(10, 4) })).toEqual(OK);
        expect(await suite.store.putSnapshot(A, 1, { seq: 3, bytes: bytes(10, 3) })).toEqual({
          ok: false,
          reason: 'stale',
        });
        expect(same((await suite.store.open(A, 1)).snapshot!.bytes, bytes(10, 4))).toBe(true);
      });

      it('of the same seq again are success, and change nothing', async () => {
        await suite.fill(A, 1, 1, 5);
        await suite.store.putSnapshot(A, 1, { seq: 4, bytes: bytes(10, 4) });
        expect(await suite.store.putSnapshot(A, 1, { seq: 4, bytes: bytes(10, 4) })).toEqual(OK);
        expect((await suite.store.open(A, 1)).end).toBe(5);
      });

      it('are fenced', async () => {
        await suite.fill(A, 1, 1, 2);
        await suite.store.raiseFence(A, 2);
        expect(await suite.store.putSnapshot(A, 1, { seq: 2, bytes: bytes(10, 2) })).toEqual({
          ok: false,
          reason: 'fenced',
          fence: 2,
        });
        expect((await suite.store.open(A, 2)).snapshot).toBeUndefined();
      });

      it('of up to 64 MB arrive whole', async () => {
        const large = bytes(20 * 1024 * 1024 + 17, 9);
        expect(await suite.store.putSnapshot(A, 1, { seq: 7, bytes: large })).toEqual(OK);
        const { snapshot, end } = await suite.store.open(A, 1);
        expect(end).toBe(7);
        expect(same(snapshot!.bytes, large)).toBe(true);
        await expectCode(
          suite.store.putSnapshot(A, 1, { seq: 8, bytes: new Uint8Array(64 * 1024 * 1024 + 1) }),
          'too-large',
        );
        expect((await suite.store.open(A, 1)).snapshot?.seq).toBe(7);
      });

      it('are read whole while they are replaced', async () => {
        const size = 9 * 1024 * 1024;
        await suite.store.putSnapshot(A, 1, { seq: 1, bytes: bytes(size, 1) });
        const reading = suite.store.open(A, 1);
        const replacing = suite.store.putSnapshot(A, 1, { seq: 2, bytes: bytes(size, 2) });
        const { snapshot } = await reading;
        await replacing;
        expect(same(snapshot!.bytes, bytes(size, snapshot!.seq))).toBe(true);
      });

      it('may be empty, and at seq 0', async () => {
        expect(await suite.store.putSnapshot(A, 1, { seq: 0, bytes: new Uint8Array() })).toEqual(OK);
        const opening = await suite.store.open(A, 1);
        expect(opening.snapshot?.seq).toBe(0);
        expect(opening.snapshot?.bytes).toHaveLength(0);
        expect(await suite.append(A, 1, 1)).toEqual(OK);
      });

      it('beyond the end replace the log up to themselves; appends go on after them', async () => {
        await suite.fill(A, 1, 1, 3);
        expect(await suite.store.putSnapshot(A, 1, { seq: 10, bytes: bytes(10, 10) })).toEqual(OK);
        expect(await suite.store.open(A, 1)).toMatchObject({ snapshot: { seq: 10 }, entries: [], end: 10 });
        expect(await suite.append(A, 1, 4)).toEqual({ ok: false, reason: 'seq', end: 10 });
        expect(await suite.append(A, 1, 11)).toEqual(OK);
      });
    });

    describe('trims and deletes (OWNERSHIP rule 8)', () => {
      it('reach only below the stored snapshot', async () => {
        await suite.fill(A, 1, 1, 5);
        expect(await suite.store.trim(A, 1, 5)).toEqual(OK);
        expect((await suite.store.open(A, 1)).entries).toHaveLength(5);
        await suite.store.putSnapshot(A, 1, { seq: 3, bytes: bytes(10, 3) });
        expect(await suite.store.trim(A, 1, 5)).toEqual(OK);
        expect(await suite.store.open(A, 1)).toMatchObject({ entries: [{ seq: 4 }, { seq: 5 }], end: 5 });
      });

      it('leave the end where it was, also when nothing is left in the log', async () => {
        await suite.fill(A, 1, 1, 5);
        await suite.store.putSnapshot(A, 1, { seq: 5, bytes: bytes(10, 5) });
        await suite.store.trim(A, 1, 5);
        expect(await suite.append(A, 1, 5)).toEqual({ ok: false, reason: 'seq', end: 5 });
        expect(await suite.append(A, 1, 6)).toEqual(OK);
      });

      it('are fenced, so late ones take nothing from a newer owner', async () => {
        await suite.fill(A, 1, 1, 5);
        await suite.store.putSnapshot(A, 1, { seq: 3, bytes: bytes(10, 3) });
        const before = await suite.store.open(A, 2);
        const refused = { ok: false, reason: 'fenced', fence: 2 };
        expect(await suite.store.trim(A, 1, 3)).toEqual(refused);
        expect(await suite.store.deleteLog(A, 1)).toEqual(refused);
        expect(await suite.store.open(A, 2)).toEqual(before);
        expect((await suite.store.tail(A, 0, 1_000_000)).firstSeq).toBe(1);
      });

      it('may come twice', async () => {
        await suite.fill(A, 1, 1, 5);
        await suite.store.putSnapshot(A, 1, { seq: 3, bytes: bytes(10, 3) });
        for (let i = 0; i < 2; i++) expect(await suite.store.trim(A, 1, 3)).toEqual(OK);
        for (let i = 0; i < 2; i++) expect(await suite.store.deleteLog(A, 1)).toEqual(OK);
        expect(await suite.store.deleteLog('room/never', 1)).toEqual(OK);
        expect(await suite.store.trim('room/never', 1, 1)).toEqual(OK);
      });

      it('keep the fence of a deleted log for ever', async () => {
        await suite.store.raiseFence(A, 4);
        await suite.fill(A, 4, 1, 5);
        await suite.store.putSnapshot(A, 4, { seq: 3, bytes: bytes(10, 3) });
        expect(await suite.store.deleteLog(A, 4)).toEqual(OK);
        expect(await suite.append(A, 3, 1)).toEqual({ ok: false, reason: 'fenced', fence: 4 });
        expect(await suite.store.open(A, 1)).toEqual({ fence: 4, entries: [], end: 0 });
        expect(await suite.append(A, 4, 1)).toEqual(OK);
      });
    });

    describe('a copy to another cell (OWNERSHIP rule 9)', () => {
      // The steps of the move at the new cell: raise to epoch+1, snapshot beyond the end, tail under epoch+1, verify.
      const copy = async () => {
        expect(await suite.store.raiseFence(A, 4)).toBe(4);
        expect(await suite.store.putSnapshot(A, 4, { seq: 100, bytes: bytes(50, 100) })).toEqual(OK);
        await suite.fill(A, 4, 101, 103);
      };

      it('is contiguous from the snapshot to the end', async () => {
        await copy();
        const opening = await suite.store.open(A, 4);
        expect(opening).toMatchObject({ fence: 4, snapshot: { seq: 100 }, end: 103 });
        expect(opening.entries.map((each) => each.seq)).toEqual([101, 102, 103]);
      });

      it('may be repeated from the start after an unknown outcome', async () => {
        await copy();
        await copy();
        expect(await suite.store.open(A, 4)).toMatchObject({ snapshot: { seq: 100 }, end: 103 });
      });

      it('replaces what an earlier stay of the shard left there', async () => {
        await suite.store.open(A, 1);
        await suite.fill(A, 1, 1, 20);
        await suite.store.putSnapshot(A, 1, { seq: 10, bytes: bytes(50, 10) });
        await copy();
        expect(await suite.store.open(A, 4)).toMatchObject({ snapshot: { seq: 100 }, end: 103 });
        expect((await suite.store.tail(A, 0, 1_000_000)).firstSeq).toBe(101);
      });

      it('takes over from a left-over log that overlaps it, by the ids of the same deltas', async () => {
        await suite.store.open(A, 1);
        await suite.fill(A, 1, 1, 3);
        await suite.store.raiseFence(A, 4);
        expect(await suite.store.append([entry(A, 4, 2), entry(A, 4, 3), entry(A, 4, 4)])).toEqual([
          OK,
          OK,
          OK,
        ]);
        expect((await suite.store.open(A, 4)).end).toBe(4);
      });

      it('is not harmed by late messages of itself once the target writes', async () => {
        await copy();
        await suite.store.open(A, 4);
        await suite.fill(A, 4, 104, 110);
        await suite.store.putSnapshot(A, 4, { seq: 108, bytes: bytes(50, 108) });
        await suite.store.trim(A, 4, 108);
        const before = await suite.store.open(A, 4);
        expect(await suite.store.putSnapshot(A, 4, { seq: 100, bytes: bytes(50, 100) })).toEqual({
          ok: false,
          reason: 'stale',
        });
        expect(await suite.append(A, 4, 101)).toEqual({ ok: false, reason: 'seq', end: 110 });
        expect(await suite.append(A, 4, 110)).toEqual(OK);
        expect(await suite.store.raiseFence(A, 4)).toBe(4);
        expect(await suite.store.open(A, 4)).toEqual(before);
      });

      it('refuses the writers of the epoch before', async () => {
        await copy();
        expect(await suite.append(A, 3, 104)).toEqual({ ok: false, reason: 'fenced', fence: 4 });
        expect(await suite.store.putSnapshot(A, 3, { seq: 200, bytes: bytes(5, 5) })).toMatchObject({
          ok: false,
        });
      });
    });

    describe('listing', () => {
      it('gives the shards that have a log, in order and by pages', async () => {
        for (const shard of ['b/2', 'a/1', 'b/1', 'c/1']) await suite.append(shard, 1, 1);
        await suite.store.raiseFence('d/only-fenced', 1);
        await suite.store.putSnapshot('e/1', 1, { seq: 5, bytes: bytes(3, 3) });
        await suite.store.deleteLog('c/1', 1);
        expect(await suite.store.listShards()).toEqual(['a/1', 'b/1', 'b/2', 'e/1']);
        expect(await suite.store.listShards({ limit: 2 })).toEqual(['a/1', 'b/1']);
        expect(await suite.store.listShards({ limit: 2, after: 'b/1' })).toEqual(['b/2', 'e/1']);
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

      durable('everything is as it was: fence, snapshot, deltas, ids, end', async (reopen) => {
        await suite.store.raiseFence(A, 3);
        await suite.fill(A, 3, 1, 8);
        await suite.store.putSnapshot(A, 3, { seq: 5, bytes: bytes(100, 5) });
        await suite.store.trim(A, 3, 4);
        await suite.store.raiseFence(B, 7);
        await suite.fill('room/gone', 1, 1, 3);
        await suite.store.deleteLog('room/gone', 1);
        const before = await suite.store.open(A, 3);
        await reopen();
        expect(await suite.store.open(A, 1)).toEqual(before);
        expect(await suite.store.raiseFence(B, 0)).toBe(7);
        expect((await suite.store.tail(A, 0, 1_000_000)).firstSeq).toBe(5);
        expect(await suite.append(A, 3, 8)).toEqual(OK);
        expect(await suite.append(A, 3, 8, 'other')).toEqual({ ok: false, reason: 'seq', end: 8 });
        expect(await suite.append(A, 3, 9)).toEqual(OK);
        expect(await suite.store.open('room/gone', 1)).toEqual({ fence: 1, entries: [], end: 0 });
      });

      durable('a trimmed log still ends where its snapshot is', async (reopen) => {
        await suite.fill(A, 1, 1, 5);
        await suite.store.putSnapshot(A, 1, { seq: 5, bytes: bytes(100, 5) });
        await suite.store.trim(A, 1, 5);
        await reopen();
        expect(await suite.append(A, 1, 5)).toEqual({ ok: false, reason: 'seq', end: 5 });
        expect(await suite.append(A, 1, 6)).toEqual(OK);
      });
    });
  });
}
