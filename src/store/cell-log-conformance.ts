/**
 * Fences, appends, openings and tails: the sentences of `store.ts` about writing and reading a log.
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
  logEntry,
  OK,
  readAll,
  same,
} from './cell-suite-conformance.ts';
import type { AppendResult } from './store.ts';

export function cellLogConformance(make: () => Promise<CellFixture>): void {
  describe('logs', () => {
    const suite = cellSuite(make);

    describe('fences', () => {
      it('rise to the highest epoch seen and never go down', async () => {
        expect(await suite.store.raiseFence(A, 3)).toBe(3);
        expect(await suite.store.raiseFence(A, 1)).toBe(3);
        expect(await suite.store.raiseFence(A, 3)).toBe(3);
        expect(await suite.store.raiseFence(A, 4)).toBe(4);
      });

      it('are each shard\u2019s own', async () => {
        await suite.store.raiseFence(A, 3);
        expect(await suite.store.raiseFence(B, 1)).toBe(1);
      });

      it('refuse appends of lower epochs, and say which epoch stands', async () => {
        await suite.store.raiseFence(A, 2);
        expect(await suite.append(A, 1, 1)).toEqual({ ok: false, reason: 'fenced', fence: 2 });
        expect((await suite.store.open(A, 2)).end).toBe(0);
      });

      it('let the same and higher epochs append; an append does not raise the fence', async () => {
        await suite.store.raiseFence(A, 2);
        expect(await suite.append(A, 2, 1)).toEqual(OK);
        expect(await suite.append(A, 5, 2)).toEqual(OK);
        expect(await suite.store.raiseFence(A, 1)).toBe(2);
      });
    });

    describe('appends', () => {
      it('are accepted one after the other from 1', async () => {
        await suite.store.open(A, 1);
        await suite.fill(A, 1, 1, 5);
        const { entries, end } = await suite.store.open(A, 1);
        expect(end).toBe(5);
        expect(entries).toEqual([1, 2, 3, 4, 5].map((seq) => logEntry(A, seq)));
      });

      it('are refused where they would leave a gap, and say where the log ends', async () => {
        await suite.fill(A, 1, 1, 2);
        expect(await suite.append(A, 1, 4)).toEqual({ ok: false, reason: 'seq', end: 2 });
        expect(await suite.append(B, 1, 2)).toEqual({ ok: false, reason: 'seq', end: 0 });
        expect(await suite.append(A, 1, 3)).toEqual(OK);
      });

      it('are refused where the seq is taken by another', async () => {
        await suite.fill(A, 1, 1, 2);
        expect(await suite.append(A, 1, 2, 'other')).toEqual({ ok: false, reason: 'seq', end: 2 });
        expect((await suite.store.open(A, 1)).entries[1]?.id).toBe('p.2');
      });

      it('succeed again with the same id: a retry after an unknown outcome (OWNERSHIP rule 3)', async () => {
        const batch = [entry(A, 1, 1), entry(A, 1, 2), entry(B, 1, 1)];
        expect(await suite.store.append(batch)).toEqual([OK, OK, OK]);
        expect(await suite.store.append(batch)).toEqual([OK, OK, OK]);
        expect((await suite.store.open(A, 1)).entries).toHaveLength(2);
      });

      it('succeed on retry where only a part of them had arrived', async () => {
        await suite.fill(A, 1, 1, 2);
        expect(await suite.store.append([entry(A, 1, 1), entry(A, 1, 2), entry(A, 1, 3)])).toEqual([
          OK,
          OK,
          OK,
        ]);
      });

      it('are told the truth on retry also after a later epoch has opened the log', async () => {
        await suite.fill(A, 1, 1, 1);
        await suite.store.open(A, 2);
        expect(await suite.append(A, 1, 1)).toEqual(OK);
        expect(await suite.append(A, 1, 2)).toEqual({ ok: false, reason: 'fenced', fence: 2 });
      });

      it('are judged each alone, in order: a refused one makes the later ones of its shard fail', async () => {
        await suite.store.raiseFence(B, 9);
        const results = await suite.store.append([
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
        expect(await suite.store.append([])).toEqual([]);
        expect(await suite.store.append([{ ...entry(A, 1, 1), delta: new Uint8Array() }])).toEqual([OK]);
        expect((await suite.store.open(A, 1)).entries[0]?.delta).toHaveLength(0);
      });

      it('keep their order when pipelined without waiting', async () => {
        const results = await Promise.all(
          Array.from({ length: 200 }, (_, i) => suite.store.append([entry(A, 1, i + 1), entry(B, 1, i + 1)])),
        );
        expect(results.flat().every((result) => result.ok)).toBe(true);
      });

      it('come in batches larger than one frame', async () => {
        const batch = Array.from({ length: 40 }, (_, i) => ({
          ...entry(A, 1, i + 1),
          delta: bytes(1024 * 1024, i),
        }));
        expect(await suite.store.append(batch)).toEqual(batch.map(() => OK));
        const read = await readAll(suite.store, A, 0);
        expect(read.map((each) => each.seq)).toEqual(batch.map((each) => each.seq));
        expect(read.every((each, i) => same(each.delta, batch[i]!.delta))).toBe(true);
      });

      it('are refused as too large or invalid as a whole batch, with nothing written', async () => {
        await expectCode(
          suite.store.append([
            entry(A, 1, 1),
            { ...entry(A, 1, 2), delta: new Uint8Array(17 * 1024 * 1024) },
          ]),
          'too-large',
        );
        await expectCode(suite.store.append([entry(A, 1, 1), entry(A, 1, 2.5)]), 'invalid');
        await expectCode(suite.store.append([entry(A, 1, 1), entry(A, -1, 2)]), 'invalid');
        expect((await suite.store.open(A, 1)).end).toBe(0);
      });
    });

    describe('opening', () => {
      it('gives an empty log for a shard nobody has heard of', async () => {
        expect(await suite.store.open(A, 1)).toEqual({ fence: 1, entries: [], end: 0 });
      });

      it('raises the fence: whoever had the log open before appends no more (OWNERSHIP rule 2)', async () => {
        await suite.store.open(A, 1);
        await suite.fill(A, 1, 1, 2);
        expect(await suite.store.open(A, 2)).toMatchObject({ fence: 2, end: 2 });
        expect(await suite.append(A, 1, 3)).toMatchObject({ ok: false, reason: 'fenced' });
        expect(await suite.append(A, 2, 3)).toEqual(OK);
      });

      it('tells a latecomer of the higher fence and leaves it there', async () => {
        await suite.store.open(A, 5);
        expect((await suite.store.open(A, 4)).fence).toBe(5);
        expect(await suite.append(A, 5, 1)).toEqual(OK);
      });

      it('is one transaction: what it reads is all there will ever be below its epoch', async () => {
        // Appends of epoch 1 race with an opening at 2. Each must be in the opening, or refused; never neither or both.
        await suite.store.open(A, 1);
        const appends: Promise<AppendResult[]>[] = [];
        for (let seq = 1; seq <= 50; seq++) appends.push(suite.store.append([entry(A, 1, seq)]));
        const opening = suite.store.open(A, 2);
        for (let seq = 51; seq <= 100; seq++) appends.push(suite.store.append([entry(A, 1, seq)]));
        const { end, entries } = await opening;
        const results = (await Promise.all(appends)).flat();
        results.forEach((result, i) => {
          expect(result.ok, `append ${i + 1} with an opening that ended at ${end}`).toBe(i + 1 <= end);
        });
        expect(entries.map((each) => each.seq)).toEqual(Array.from({ length: end }, (_, i) => i + 1));
        expect((await suite.store.open(A, 3)).end).toBe(end);
      });

      it('comes before what the same process asks of the log behind it, without waiting', async () => {
        await suite.store.open(A, 1);
        await suite.fill(A, 1, 1, 3);
        for (let epoch = 2; epoch < 12; epoch++) {
          const opened = suite.store.open(A, epoch);
          const appended = suite.append(A, epoch, epoch + 2);
          expect(await appended).toEqual(OK);
          expect(await opened).toMatchObject({ fence: epoch, end: epoch + 1 });
        }
      });

      it('gives the snapshot and what follows it, not what precedes it', async () => {
        await suite.fill(A, 1, 1, 5);
        await suite.store.putSnapshot(A, 1, { seq: 3, bytes: bytes(10, 3) });
        const { snapshot, entries, end } = await suite.store.open(A, 1);
        expect(snapshot?.seq).toBe(3);
        expect(same(snapshot!.bytes, bytes(10, 3))).toBe(true);
        expect(entries).toEqual([logEntry(A, 4), logEntry(A, 5)]);
        expect(end).toBe(5);
      });

      it('leaves out what the caller knows, where the log holds all that follows', async () => {
        await suite.fill(A, 1, 1, 5);
        await suite.store.putSnapshot(A, 1, { seq: 3, bytes: bytes(10, 3) });
        const snapshotLeftOut = { seq: 3, bytes: 10 };
        const entries = [logEntry(A, 5)];
        expect(await suite.store.open(A, 2, { knownSeq: 4 })).toEqual({
          fence: 2,
          entries,
          end: 5,
          snapshotLeftOut,
        });
        expect((await suite.store.open(A, 2, { knownSeq: 5 })).entries).toEqual([]);
        expect((await suite.store.open(A, 2, { knownSeq: 3 })).entries).toHaveLength(2);
        // It raises the fence all the same.
        expect(await suite.append(A, 1, 6)).toMatchObject({ ok: false, reason: 'fenced' });
      });

      it('gives the whole to a caller who is behind the snapshot or beyond the end', async () => {
        await suite.fill(A, 1, 1, 5);
        await suite.store.putSnapshot(A, 1, { seq: 3, bytes: bytes(10, 3) });
        for (const knownSeq of [2, 6]) {
          const { snapshot, entries, end } = await suite.store.open(A, 1, { knownSeq });
          expect(snapshot?.seq).toBe(3);
          expect(entries.map(({ seq }) => seq)).toEqual([4, 5]);
          expect(end).toBe(5);
        }
        expect(await suite.store.open(B, 1, { knownSeq: 0 })).toEqual({ fence: 1, entries: [], end: 0 });
      });

      it('of a long log stops before the end; tail reads on without a gap', async () => {
        for (let from = 1; from <= 60; from += 20) {
          const batch = Array.from({ length: 20 }, (_, i) => ({
            ...entry(A, 1, from + i),
            delta: bytes(200_000, from + i),
          }));
          await suite.store.append(batch);
        }
        const { entries, end } = await suite.store.open(A, 1);
        expect(end).toBe(60);
        expect(entries.length).toBeGreaterThan(0);
        expect(entries.length).toBeLessThan(60);
        const rest = await readAll(suite.store, A, entries.at(-1)!.seq);
        const whole = [...entries, ...rest];
        expect(whole.map((each) => each.seq)).toEqual(Array.from({ length: 60 }, (_, i) => i + 1));
        expect(whole.every((each) => same(each.delta, bytes(200_000, each.seq)))).toBe(true);
      });
    });

    describe('tails', () => {
      it('give what follows a seq, with the end and the first that is left', async () => {
        await suite.fill(A, 1, 1, 5);
        expect(await suite.store.tail(A, 3, 1_000_000)).toEqual({
          entries: [logEntry(A, 4), logEntry(A, 5)],
          end: 5,
          firstSeq: 1,
        });
        expect(await suite.store.tail(A, 5, 1_000_000)).toEqual({ entries: [], end: 5, firstSeq: 1 });
        expect(await suite.store.tail(A, 99, 1_000_000)).toEqual({ entries: [], end: 5, firstSeq: 1 });
      });

      it('of an unknown shard are empty', async () => {
        expect(await suite.store.tail(A, 0, 1000)).toEqual({ entries: [], end: 0, firstSeq: 1 });
      });

      it('give at least one where there is one, however small the limit', async () => {
        await suite.fill(A, 1, 1, 3);
        expect((await suite.store.tail(A, 0, 1)).entries).toHaveLength(1);
      });

      it('show the gap that a trim has left', async () => {
        await suite.fill(A, 1, 1, 5);
        await suite.store.putSnapshot(A, 1, { seq: 3, bytes: bytes(10, 3) });
        await suite.store.trim(A, 1, 3);
        expect(await suite.store.tail(A, 1, 1_000_000)).toEqual({
          entries: [logEntry(A, 4), logEntry(A, 5)],
          end: 5,
          firstSeq: 4,
        });
        await suite.store.putSnapshot(A, 1, { seq: 5, bytes: bytes(10, 5) });
        await suite.store.trim(A, 1, 5);
        expect(await suite.store.tail(A, 1, 1_000_000)).toEqual({ entries: [], end: 5, firstSeq: 6 });
      });
    });
  });
}
