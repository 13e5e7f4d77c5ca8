/**
 * The one suite every cell store passes, whatever its engine and however far away: each sentence of `store.ts`, and
 * the rules of ownership that a cell enforces.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Append, AppendResult, CellStore, LogEntry, StoreErrorCode } from './store.ts';

export interface CellFixture {
  store: CellStore;
  /** Stops the engine and starts it on the same data. Absent where an engine keeps nothing. */
  reopen?: () => Promise<CellStore>;
  close: () => Promise<void>;
}

const A = 'room/a';
const B = 'room/b';
const OK = { ok: true };

export function cellStoreConformance(name: string, make: () => Promise<CellFixture>): void {
  describe(`cell store: ${name}`, () => {
    let fixture: CellFixture;
    let store: CellStore;
    beforeEach(async () => {
      fixture = await make();
      store = fixture.store;
    });
    afterEach(() => fixture.close());

    const append = (shard: string, epoch: number, seq: number, id = `p.${seq}`): Promise<AppendResult> =>
      store.append([entry(shard, epoch, seq, id)]).then((results) => results[0]!);
    const fill = async (shard: string, epoch: number, from: number, to: number) => {
      const batch: Append[] = [];
      for (let seq = from; seq <= to; seq++) batch.push(entry(shard, epoch, seq, `p.${seq}`));
      expect(await store.append(batch)).toEqual(batch.map(() => OK));
    };

    describe('fences', () => {
      it('rise to the highest epoch seen and never go down', async () => {
        expect(await store.raiseFence(A, 3)).toBe(3);
        expect(await store.raiseFence(A, 1)).toBe(3);
        expect(await store.raiseFence(A, 3)).toBe(3);
        expect(await store.raiseFence(A, 4)).toBe(4);
      });

      it('are each shard\u2019s own', async () => {
        await store.raiseFence(A, 3);
        expect(await store.raiseFence(B, 1)).toBe(1);
      });

      it('refuse appends of lower epochs, and say which epoch stands', async () => {
        await store.raiseFence(A, 2);
        expect(await append(A, 1, 1)).toEqual({ ok: false, reason: 'fenced', fence: 2 });
        expect((await store.open(A, 2)).end).toBe(0);
      });

      it('let the same and higher epochs append; an append does not raise the fence', async () => {
        await store.raiseFence(A, 2);
        expect(await append(A, 2, 1)).toEqual(OK);
        expect(await append(A, 5, 2)).toEqual(OK);
        expect(await store.raiseFence(A, 1)).toBe(2);
      });
    });

    describe('appends', () => {
      it('are accepted one after the other from 1', async () => {
        await store.open(A, 1);
        await fill(A, 1, 1, 5);
        const { entries, end } = await store.open(A, 1);
        expect(end).toBe(5);
        expect(entries).toEqual([1, 2, 3, 4, 5].map((seq) => logEntry(A, seq)));
      });

      it('are refused where they would leave a gap, and say where the log ends', async () => {
        await fill(A, 1, 1, 2);
        expect(await append(A, 1, 4)).toEqual({ ok: false, reason: 'seq', end: 2 });
        expect(await append(B, 1, 2)).toEqual({ ok: false, reason: 'seq', end: 0 });
        expect(await append(A, 1, 3)).toEqual(OK);
      });

      it('are refused where the seq is taken by another', async () => {
        await fill(A, 1, 1, 2);
        expect(await append(A, 1, 2, 'other')).toEqual({ ok: false, reason: 'seq', end: 2 });
        expect((await store.open(A, 1)).entries[1]?.id).toBe('p.2');
      });

      it('succeed again with the same id: a retry after an unknown outcome (OWNERSHIP rule 3)', async () => {
        const batch = [entry(A, 1, 1), entry(A, 1, 2), entry(B, 1, 1)];
        expect(await store.append(batch)).toEqual([OK, OK, OK]);
        expect(await store.append(batch)).toEqual([OK, OK, OK]);
        expect((await store.open(A, 1)).entries).toHaveLength(2);
      });

      it('succeed on retry where only a part of them had arrived', async () => {
        await fill(A, 1, 1, 2);
        expect(await store.append([entry(A, 1, 1), entry(A, 1, 2), entry(A, 1, 3)])).toEqual([OK, OK, OK]);
      });

      it('are told the truth on retry also after a later epoch has opened the log', async () => {
        await fill(A, 1, 1, 1);
        await store.open(A, 2);
        expect(await append(A, 1, 1)).toEqual(OK);
        expect(await append(A, 1, 2)).toEqual({ ok: false, reason: 'fenced', fence: 2 });
      });

      it('are judged each alone, in order: a refused one makes the later ones of its shard fail', async () => {
        await store.raiseFence(B, 9);
        const results = await store.append([
          entry(A, 1, 1),
          entry(A, 1, 3),
          entry(B, 1, 1),
          entry(A, 1, 2),
          entry(A, 1, 4),
          entry('room/c', 1, 1),
        ]);
        expect(results).toEqual([
          OK,
          { ok: false, reason: 'seq', end: 1 },
          { ok: false, reason: 'fenced', fence: 9 },
          OK,
          { ok: false, reason: 'seq', end: 2 },
          OK,
        ]);
      });

      it('take an empty batch and an empty delta', async () => {
        expect(await store.append([])).toEqual([]);
        expect(await store.append([{ ...entry(A, 1, 1), delta: new Uint8Array() }])).toEqual([OK]);
        expect((await store.open(A, 1)).entries[0]?.delta).toHaveLength(0);
      });

      it('keep their order when pipelined without waiting', async () => {
        const results = await Promise.all(
          Array.from({ length: 200 }, (_, i) => store.append([entry(A, 1, i + 1), entry(B, 1, i + 1)])),
        );
        expect(results.flat().every((result) => result.ok)).toBe(true);
      });

      it('come in batches larger than one frame', async () => {
        const batch = Array.from({ length: 40 }, (_, i) => ({
          ...entry(A, 1, i + 1),
          delta: bytes(1024 * 1024, i),
        }));
        expect(await store.append(batch)).toEqual(batch.map(() => OK));
        const read = await readAll(store, A, 0);
        expect(read.map((each) => each.seq)).toEqual(batch.map((each) => each.seq));
        expect(read.every((each, i) => same(each.delta, batch[i]!.delta))).toBe(true);
      });

      it('are refused as too large or invalid as a whole batch, with nothing written', async () => {
        await expectCode(
          store.append([entry(A, 1, 1), { ...entry(A, 1, 2), delta: new Uint8Array(17 * 1024 * 1024) }]),
          'too-large',
        );
        await expectCode(store.append([entry(A, 1, 1), entry(A, 1, 2.5)]), 'invalid');
        await expectCode(store.append([entry(A, 1, 1), entry(A, -1, 2)]), 'invalid');
        expect((await store.open(A, 1)).end).toBe(0);
      });
    });

    describe('opening', () => {
      it('gives an empty log for a shard nobody has heard of', async () => {
        expect(await store.open(A, 1)).toEqual({ fence: 1, entries: [], end: 0 });
      });

      it('raises the fence: whoever had the log open before appends no more (OWNERSHIP rule 2)', async () => {
        await store.open(A, 1);
        await fill(A, 1, 1, 2);
        expect(await store.open(A, 2)).toMatchObject({ fence: 2, end: 2 });
        expect(await append(A, 1, 3)).toMatchObject({ ok: false, reason: 'fenced' });
        expect(await append(A, 2, 3)).toEqual(OK);
      });

      it('tells a latecomer of the higher fence and leaves it there', async () => {
        await store.open(A, 5);
        expect((await store.open(A, 4)).fence).toBe(5);
        expect(await append(A, 5, 1)).toEqual(OK);
      });

      it('is one transaction: what it reads is all there will ever be below its epoch', async () => {
        // Appends of epoch 1 race with an opening at 2. Each must be in the opening, or refused; never neither or both.
        await store.open(A, 1);
        const appends: Promise<AppendResult[]>[] = [];
        for (let seq = 1; seq <= 50; seq++) appends.push(store.append([entry(A, 1, seq)]));
        const opening = store.open(A, 2);
        for (let seq = 51; seq <= 100; seq++) appends.push(store.append([entry(A, 1, seq)]));
        const { end, entries } = await opening;
        const results = (await Promise.all(appends)).flat();
        results.forEach((result, i) => {
          expect(result.ok, `append ${i + 1} with an opening that ended at ${end}`).toBe(i + 1 <= end);
        });
        expect(entries.map((each) => each.seq)).toEqual(Array.from({ length: end }, (_, i) => i + 1));
        expect((await store.open(A, 3)).end).toBe(end);
      });

      it('gives the snapshot and what follows it, not what precedes it', async () => {
        await fill(A, 1, 1, 5);
        await store.putSnapshot(A, 1, { seq: 3, bytes: bytes(10, 3) });
        const { snapshot, entries, end } = await store.open(A, 1);
        expect(snapshot?.seq).toBe(3);
        expect(same(snapshot!.bytes, bytes(10, 3))).toBe(true);
        expect(entries).toEqual([logEntry(A, 4), logEntry(A, 5)]);
        expect(end).toBe(5);
      });

      it('leaves out what the caller knows, where the log holds all that follows', async () => {
        await fill(A, 1, 1, 5);
        await store.putSnapshot(A, 1, { seq: 3, bytes: bytes(10, 3) });
        const snapshotLeftOut = { seq: 3, bytes: 10 };
        const entries = [logEntry(A, 5)];
        expect(await store.open(A, 2, { knownSeq: 4 })).toEqual({
          fence: 2,
          entries,
          end: 5,
          snapshotLeftOut,
        });
        expect((await store.open(A, 2, { knownSeq: 5 })).entries).toEqual([]);
        expect((await store.open(A, 2, { knownSeq: 3 })).entries).toHaveLength(2);
        // It raises the fence all the same.
        expect(await append(A, 1, 6)).toMatchObject({ ok: false, reason: 'fenced' });
      });

      it('gives the whole to a caller who is behind the snapshot or beyond the end', async () => {
        await fill(A, 1, 1, 5);
        await store.putSnapshot(A, 1, { seq: 3, bytes: bytes(10, 3) });
        for (const knownSeq of [2, 6]) {
          const { snapshot, entries, end } = await store.open(A, 1, { knownSeq });
          expect(snapshot?.seq).toBe(3);
          expect(entries.map(({ seq }) => seq)).toEqual([4, 5]);
          expect(end).toBe(5);
        }
        expect(await store.open(B, 1, { knownSeq: 0 })).toEqual({ fence: 1, entries: [], end: 0 });
      });

      it('of a long log stops before the end; tail reads on without a gap', async () => {
        for (let from = 1; from <= 60; from += 20) {
          const batch = Array.from({ length: 20 }, (_, i) => ({
            ...entry(A, 1, from + i),
            delta: bytes(200_000, from + i),
          }));
          await store.append(batch);
        }
        const { entries, end } = await store.open(A, 1);
        expect(end).toBe(60);
        expect(entries.length).toBeGreaterThan(0);
        expect(entries.length).toBeLessThan(60);
        const rest = await readAll(store, A, entries.at(-1)!.seq);
        const whole = [...entries, ...rest];
        expect(whole.map((each) => each.seq)).toEqual(Array.from({ length: 60 }, (_, i) => i + 1));
        expect(whole.every((each) => same(each.delta, bytes(200_000, each.seq)))).toBe(true);
      });
    });

    describe('tails', () => {
      it('give what follows a seq, with the end and the first that is left', async () => {
        await fill(A, 1, 1, 5);
        expect(await store.tail(A, 3, 1_000_000)).toEqual({
          entries: [logEntry(A, 4), logEntry(A, 5)],
          end: 5,
          firstSeq: 1,
        });
        expect(await store.tail(A, 5, 1_000_000)).toEqual({ entries: [], end: 5, firstSeq: 1 });
        expect(await store.tail(A, 99, 1_000_000)).toEqual({ entries: [], end: 5, firstSeq: 1 });
      });

      it('of an unknown shard are empty', async () => {
        expect(await store.tail(A, 0, 1000)).toEqual({ entries: [], end: 0, firstSeq: 1 });
      });

      it('give at least one where there is one, however small the limit', async () => {
        await fill(A, 1, 1, 3);
        expect((await store.tail(A, 0, 1)).entries).toHaveLength(1);
      });

      it('show the gap that a trim has left', async () => {
        await fill(A, 1, 1, 5);
        await store.putSnapshot(A, 1, { seq: 3, bytes: bytes(10, 3) });
        await store.trim(A, 1, 3);
        expect(await store.tail(A, 1, 1_000_000)).toEqual({
          entries: [logEntry(A, 4), logEntry(A, 5)],
          end: 5,
          firstSeq: 4,
        });
        await store.putSnapshot(A, 1, { seq: 5, bytes: bytes(10, 5) });
        await store.trim(A, 1, 5);
        expect(await store.tail(A, 1, 1_000_000)).toEqual({ entries: [], end: 5, firstSeq: 6 });
      });
    });

    describe('snapshots (OWNERSHIP rule 8)', () => {
      it('never go back', async () => {
        await fill(A, 1, 1, 5);
        expect(await store.putSnapshot(A, 1, { seq: 4, bytes: bytes(10, 4) })).toEqual(OK);
        expect(await store.putSnapshot(A, 1, { seq: 3, bytes: bytes(10, 3) })).toEqual({
          ok: false,
          reason: 'stale',
        });
        expect(same((await store.open(A, 1)).snapshot!.bytes, bytes(10, 4))).toBe(true);
      });

      it('of the same seq again are success, and change nothing', async () => {
        await fill(A, 1, 1, 5);
        await store.putSnapshot(A, 1, { seq: 4, bytes: bytes(10, 4) });
        expect(await store.putSnapshot(A, 1, { seq: 4, bytes: bytes(10, 4) })).toEqual(OK);
        expect((await store.open(A, 1)).end).toBe(5);
      });

      it('are fenced', async () => {
        await fill(A, 1, 1, 2);
        await store.raiseFence(A, 2);
        expect(await store.putSnapshot(A, 1, { seq: 2, bytes: bytes(10, 2) })).toEqual({
          ok: false,
          reason: 'fenced',
          fence: 2,
        });
        expect((await store.open(A, 2)).snapshot).toBeUndefined();
      });

      it('of up to 64 MB arrive whole', async () => {
        const large = bytes(20 * 1024 * 1024 + 17, 9);
        expect(await store.putSnapshot(A, 1, { seq: 7, bytes: large })).toEqual(OK);
        const { snapshot, end } = await store.open(A, 1);
        expect(end).toBe(7);
        expect(same(snapshot!.bytes, large)).toBe(true);
        await expectCode(
          store.putSnapshot(A, 1, { seq: 8, bytes: new Uint8Array(64 * 1024 * 1024 + 1) }),
          'too-large',
        );
        expect((await store.open(A, 1)).snapshot?.seq).toBe(7);
      });

      it('are read whole while they are replaced', async () => {
        const size = 9 * 1024 * 1024;
        await store.putSnapshot(A, 1, { seq: 1, bytes: bytes(size, 1) });
        const reading = store.open(A, 1);
        const replacing = store.putSnapshot(A, 1, { seq: 2, bytes: bytes(size, 2) });
        const { snapshot } = await reading;
        await replacing;
        expect(same(snapshot!.bytes, bytes(size, snapshot!.seq))).toBe(true);
      });

      it('may be empty, and at seq 0', async () => {
        expect(await store.putSnapshot(A, 1, { seq: 0, bytes: new Uint8Array() })).toEqual(OK);
        const opening = await store.open(A, 1);
        expect(opening.snapshot?.seq).toBe(0);
        expect(opening.snapshot?.bytes).toHaveLength(0);
        expect(await append(A, 1, 1)).toEqual(OK);
      });

      it('beyond the end replace the log up to themselves; appends go on after them', async () => {
        await fill(A, 1, 1, 3);
        expect(await store.putSnapshot(A, 1, { seq: 10, bytes: bytes(10, 10) })).toEqual(OK);
        expect(await store.open(A, 1)).toMatchObject({ snapshot: { seq: 10 }, entries: [], end: 10 });
        expect(await append(A, 1, 4)).toEqual({ ok: false, reason: 'seq', end: 10 });
        expect(await append(A, 1, 11)).toEqual(OK);
      });
    });

    describe('trims and deletes (OWNERSHIP rule 8)', () => {
      it('reach only below the stored snapshot', async () => {
        await fill(A, 1, 1, 5);
        expect(await store.trim(A, 1, 5)).toEqual(OK);
        expect((await store.open(A, 1)).entries).toHaveLength(5);
        await store.putSnapshot(A, 1, { seq: 3, bytes: bytes(10, 3) });
        expect(await store.trim(A, 1, 5)).toEqual(OK);
        expect(await store.open(A, 1)).toMatchObject({ entries: [{ seq: 4 }, { seq: 5 }], end: 5 });
      });

      it('leave the end where it was, also when nothing is left in the log', async () => {
        await fill(A, 1, 1, 5);
        await store.putSnapshot(A, 1, { seq: 5, bytes: bytes(10, 5) });
        await store.trim(A, 1, 5);
        expect(await append(A, 1, 5)).toEqual({ ok: false, reason: 'seq', end: 5 });
        expect(await append(A, 1, 6)).toEqual(OK);
      });

      it('are fenced, so late ones take nothing from a newer owner', async () => {
        await fill(A, 1, 1, 5);
        await store.putSnapshot(A, 1, { seq: 3, bytes: bytes(10, 3) });
        const before = await store.open(A, 2);
        const refused = { ok: false, reason: 'fenced', fence: 2 };
        expect(await store.trim(A, 1, 3)).toEqual(refused);
        expect(await store.deleteLog(A, 1)).toEqual(refused);
        expect(await store.open(A, 2)).toEqual(before);
        expect((await store.tail(A, 0, 1_000_000)).firstSeq).toBe(1);
      });

      it('may come twice', async () => {
        await fill(A, 1, 1, 5);
        await store.putSnapshot(A, 1, { seq: 3, bytes: bytes(10, 3) });
        for (let i = 0; i < 2; i++) expect(await store.trim(A, 1, 3)).toEqual(OK);
        for (let i = 0; i < 2; i++) expect(await store.deleteLog(A, 1)).toEqual(OK);
        expect(await store.deleteLog('room/never', 1)).toEqual(OK);
        expect(await store.trim('room/never', 1, 1)).toEqual(OK);
      });

      it('keep the fence of a deleted log for ever', async () => {
        await store.raiseFence(A, 4);
        await fill(A, 4, 1, 5);
        await store.putSnapshot(A, 4, { seq: 3, bytes: bytes(10, 3) });
        expect(await store.deleteLog(A, 4)).toEqual(OK);
        expect(await append(A, 3, 1)).toEqual({ ok: false, reason: 'fenced', fence: 4 });
        expect(await store.open(A, 1)).toEqual({ fence: 4, entries: [], end: 0 });
        expect(await append(A, 4, 1)).toEqual(OK);
      });
    });

    describe('a copy to another cell (OWNERSHIP rule 9)', () => {
      // The steps of the move at the new cell: raise to epoch+1, snapshot beyond the end, tail under epoch+1, verify.
      const copy = async () => {
        expect(await store.raiseFence(A, 4)).toBe(4);
        expect(await store.putSnapshot(A, 4, { seq: 100, bytes: bytes(50, 100) })).toEqual(OK);
        await fill(A, 4, 101, 103);
      };

      it('is contiguous from the snapshot to the end', async () => {
        await copy();
        const opening = await store.open(A, 4);
        expect(opening).toMatchObject({ fence: 4, snapshot: { seq: 100 }, end: 103 });
        expect(opening.entries.map((each) => each.seq)).toEqual([101, 102, 103]);
      });

      it('may be repeated from the start after an unknown outcome', async () => {
        await copy();
        await copy();
        expect(await store.open(A, 4)).toMatchObject({ snapshot: { seq: 100 }, end: 103 });
      });

      it('replaces what an earlier stay of the shard left there', async () => {
        await store.open(A, 1);
        await fill(A, 1, 1, 20);
        await store.putSnapshot(A, 1, { seq: 10, bytes: bytes(50, 10) });
        await copy();
        expect(await store.open(A, 4)).toMatchObject({ snapshot: { seq: 100 }, end: 103 });
        expect((await store.tail(A, 0, 1_000_000)).firstSeq).toBe(101);
      });

      it('takes over from a left-over log that overlaps it, by the ids of the same deltas', async () => {
        await store.open(A, 1);
        await fill(A, 1, 1, 3);
        await store.raiseFence(A, 4);
        expect(await store.append([entry(A, 4, 2), entry(A, 4, 3), entry(A, 4, 4)])).toEqual([OK, OK, OK]);
        expect((await store.open(A, 4)).end).toBe(4);
      });

      it('is not harmed by late messages of itself once the target writes', async () => {
        await copy();
        await store.open(A, 4);
        await fill(A, 4, 104, 110);
        await store.putSnapshot(A, 4, { seq: 108, bytes: bytes(50, 108) });
        await store.trim(A, 4, 108);
        const before = await store.open(A, 4);
        expect(await store.putSnapshot(A, 4, { seq: 100, bytes: bytes(50, 100) })).toEqual({
          ok: false,
          reason: 'stale',
        });
        expect(await append(A, 4, 101)).toEqual({ ok: false, reason: 'seq', end: 110 });
        expect(await append(A, 4, 110)).toEqual(OK);
        expect(await store.raiseFence(A, 4)).toBe(4);
        expect(await store.open(A, 4)).toEqual(before);
      });

      it('refuses the writers of the epoch before', async () => {
        await copy();
        expect(await append(A, 3, 104)).toEqual({ ok: false, reason: 'fenced', fence: 4 });
        expect(await store.putSnapshot(A, 3, { seq: 200, bytes: bytes(5, 5) })).toMatchObject({ ok: false });
      });
    });

    describe('listing', () => {
      it('gives the shards that have a log, in order and by pages', async () => {
        for (const shard of ['b/2', 'a/1', 'b/1', 'c/1']) await append(shard, 1, 1);
        await store.raiseFence('d/only-fenced', 1);
        await store.putSnapshot('e/1', 1, { seq: 5, bytes: bytes(3, 3) });
        await store.deleteLog('c/1', 1);
        expect(await store.listShards()).toEqual(['a/1', 'b/1', 'b/2', 'e/1']);
        expect(await store.listShards({ limit: 2 })).toEqual(['a/1', 'b/1']);
        expect(await store.listShards({ limit: 2, after: 'b/1' })).toEqual(['b/2', 'e/1']);
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

      durable('everything is as it was: fence, snapshot, deltas, ids, end', async (reopen) => {
        await store.raiseFence(A, 3);
        await fill(A, 3, 1, 8);
        await store.putSnapshot(A, 3, { seq: 5, bytes: bytes(100, 5) });
        await store.trim(A, 3, 4);
        await store.raiseFence(B, 7);
        await fill('room/gone', 1, 1, 3);
        await store.deleteLog('room/gone', 1);
        const before = await store.open(A, 3);
        await reopen();
        expect(await store.open(A, 1)).toEqual(before);
        expect(await store.raiseFence(B, 0)).toBe(7);
        expect((await store.tail(A, 0, 1_000_000)).firstSeq).toBe(5);
        expect(await append(A, 3, 8)).toEqual(OK);
        expect(await append(A, 3, 8, 'other')).toEqual({ ok: false, reason: 'seq', end: 8 });
        expect(await append(A, 3, 9)).toEqual(OK);
        expect(await store.open('room/gone', 1)).toEqual({ fence: 1, entries: [], end: 0 });
      });

      durable('a trimmed log still ends where its snapshot is', async (reopen) => {
        await fill(A, 1, 1, 5);
        await store.putSnapshot(A, 1, { seq: 5, bytes: bytes(100, 5) });
        await store.trim(A, 1, 5);
        await reopen();
        expect(await append(A, 1, 5)).toEqual({ ok: false, reason: 'seq', end: 5 });
        expect(await append(A, 1, 6)).toEqual(OK);
      });
    });
  });
}

async function expectCode(promise: Promise<unknown>, code: StoreErrorCode): Promise<void> {
  await expect(promise).rejects.toMatchObject({ name: 'StoreError', code });
}

function deltaOf(shard: string, seq: number): Uint8Array {
  return Buffer.from(`${shard}@${seq}`);
}

function entry(shard: string, epoch: number, seq: number, id = `p.${seq}`): Append {
  return { shard, epoch, seq, id, delta: deltaOf(shard, seq) };
}

/** As it is read back: the delta compares by content, whichever kind of byte array an engine gives. */
function logEntry(shard: string, seq: number) {
  return { seq, id: `p.${seq}`, delta: expect.toSatisfy((delta) => same(delta, deltaOf(shard, seq))) };
}

function bytes(length: number, seed: number): Uint8Array {
  const filled = new Uint8Array(length);
  for (let i = 0; i < length; i++) filled[i] = (i * 31 + seed * 7 + (i >> 10)) & 0xff;
  return filled;
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

async function readAll(store: CellStore, shard: string, after: number): Promise<LogEntry[]> {
  const all: LogEntry[] = [];
  for (let afterSeq = after; ; ) {
    const { entries } = await store.tail(shard, afterSeq, 3_000_000);
    if (entries.length === 0) return all;
    all.push(...entries);
    afterSeq = entries.at(-1)!.seq;
  }
}
