/** Large snapshots on the embedded cell: in pieces, with appends in between, whole or not at all. */
import { DatabaseSync } from 'node:sqlite';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LocalCellStore } from './local.ts';
import { SqliteCell } from './sqlite/cell-engine.ts';
import { PIECE_BYTES } from './sqlite/snapshot-pieces.ts';
import type { CellStore } from './store.ts';

const clock = {
  monotonicMs: () => 0,
  realtimeMs: () => 0,
  setTimer: () => () => {},
  defer: (run: () => void) => void setImmediate(run),
};
const patterned = (length: number, from = 0) =>
  Uint8Array.from({ length }, (_, i) => (i + from + (i >> 11)) & 0xff);
const piecesOf = (database: DatabaseSync) =>
  (database.prepare('SELECT count(*) AS n FROM snapshot_pieces').get() as { n: number }).n;

function open(database = new DatabaseSync(':memory:')) {
  const engine = new SqliteCell({ database });
  return { database, engine, store: new LocalCellStore(engine, { clock }) };
}

async function settled(engine: SqliteCell): Promise<void> {
  while (engine.hasGarbage) await new Promise((resolve) => setImmediate(resolve));
}

/** Appends to a shard of its own, one after the other, until told to stop; how many became durable. */
function appending(store: CellStore, shard: string): { stop: () => Promise<number> } {
  let stopped = false;
  const run = async () => {
    let seq = 0;
    while (!stopped) {
      seq++;
      await store.append([{ shard, epoch: 1, seq, id: `a-${seq}`, delta: new Uint8Array(10) }]);
    }
    return seq;
  };
  const running = run();
  return {
    stop: () => {
      stopped = true;
      return running;
    },
  };
}

describe('a snapshot of 15 MB', () => {
  it('lets appends of other shards in between its pieces, while it is written and while it is replaced', async () => {
    const { store, engine } = open();
    const bytes = patterned(15 << 20);
    const pieces = bytes.length / PIECE_BYTES;
    const others = appending(store, 's/other');
    expect(await store.putSnapshot('s/large', 1, { seq: 5, bytes })).toEqual({ ok: true });
    // One append at least in each gap between two pieces.
    expect(await others.stop()).toBeGreaterThanOrEqual(pieces - 1);
    const more = appending(store, 's/more');
    expect(await store.putSnapshot('s/large', 1, { seq: 6, bytes })).toEqual({ ok: true });
    await settled(engine);
    expect(await more.stop()).toBeGreaterThanOrEqual(2 * (pieces - 1));
    const opening = await store.open('s/large', 2);
    expect(opening.snapshot?.seq).toBe(6);
    expect(Buffer.compare(opening.snapshot!.bytes, bytes)).toBe(0);
  });

  it('is seen whole or not at all: what stood before is read until the last piece is in', async () => {
    const { store, database } = open();
    const first = patterned(3 * PIECE_BYTES + 7);
    await store.putSnapshot('s/a', 1, { seq: 1, bytes: first });
    const putting = store.putSnapshot('s/a', 1, { seq: 2, bytes: patterned(4 * PIECE_BYTES, 9) });
    const seen: number[] = [];
    let over = false;
    void putting.then(() => {
      over = true;
    });
    while (!over) {
      const { snapshot } = await store.open('s/a', 1);
      seen.push(snapshot!.seq);
      expect(snapshot!.bytes.length).toBe(snapshot!.seq === 1 ? first.length : 4 * PIECE_BYTES);
    }
    expect(seen.length).toBeGreaterThan(3);
    expect(seen[0]).toBe(1);
    expect((await store.open('s/a', 1)).snapshot?.seq).toBe(2);
    expect(piecesOf(database)).toBeGreaterThanOrEqual(4);
  });

  it('is refused at its last piece where the writer was fenced meanwhile, and leaves nothing', async () => {
    const { store, engine, database } = open();
    const putting = store.putSnapshot('s/a', 1, { seq: 2, bytes: patterned(4 * PIECE_BYTES) });
    await store.raiseFence('s/a', 3);
    expect(await putting).toEqual({ ok: false, reason: 'fenced', fence: 3 });
    await settled(engine);
    expect(piecesOf(database)).toBe(0);
    expect((await store.open('s/a', 3)).snapshot).toBeUndefined();
  });

  it('cut off by a crash leaves pieces that the next start removes', async () => {
    const { store, database } = open();
    const kept = patterned(2 * PIECE_BYTES);
    await store.putSnapshot('s/kept', 1, { seq: 1, bytes: kept });
    const putting = store.putSnapshot('s/a', 1, { seq: 2, bytes: patterned(8 * PIECE_BYTES) });
    while (piecesOf(database) < 4) await new Promise((resolve) => setImmediate(resolve));
    store.close();
    await expect(putting).rejects.toThrow(/closing/);
    const again = open(database);
    expect(again.engine.hasGarbage).toBe(true);
    await settled(again.engine);
    expect(piecesOf(database)).toBe(2);
    expect((await again.store.open('s/a', 1)).snapshot).toBeUndefined();
    expect(Buffer.compare((await again.store.open('s/kept', 1)).snapshot!.bytes, kept)).toBe(0);
  });

  it('gives its space back when it is replaced, by a small one too, and when its log is deleted', async () => {
    const { store, engine, database } = open();
    await store.putSnapshot('s/a', 1, { seq: 1, bytes: patterned(4 * PIECE_BYTES) });
    await store.putSnapshot('s/a', 1, { seq: 2, bytes: patterned(5 * PIECE_BYTES) });
    await settled(engine);
    expect(piecesOf(database)).toBe(5);
    await store.putSnapshot('s/a', 1, { seq: 3, bytes: patterned(10) });
    await settled(engine);
    expect(piecesOf(database)).toBe(0);
    expect((await store.open('s/a', 1)).snapshot?.bytes).toEqual(patterned(10));
    await store.putSnapshot('s/a', 1, { seq: 4, bytes: patterned(3 * PIECE_BYTES) });
    await store.deleteLog('s/a', 1);
    await settled(engine);
    expect(piecesOf(database)).toBe(0);
    expect((await store.open('s/a', 1)).snapshot).toBeUndefined();
  });

  it('two at once, of two writers, never mix', async () => {
    const { store } = open();
    const [a, b] = [patterned(6 * PIECE_BYTES, 1), patterned(6 * PIECE_BYTES, 200)];
    await Promise.all([
      store.putSnapshot('s/a', 1, { seq: 7, bytes: a }),
      store.putSnapshot('s/a', 1, { seq: 7, bytes: b }),
    ]);
    const { bytes } = (await store.open('s/a', 1)).snapshot!;
    expect([Buffer.compare(bytes, a), Buffer.compare(bytes, b)]).toContain(0);
  });

  it('gives any part of itself, as it gives the whole', async () => {
    const bytes = patterned(2 * PIECE_BYTES + 1_234);
    const { store } = open();
    await store.putSnapshot('s/a', 1, { seq: 1, bytes });
    const offset = fc.nat(bytes.length + 10);
    await fc.assert(
      fc.asyncProperty(offset, fc.nat(PIECE_BYTES * 2), async (at, length) => {
        const part = await store.readSnapshot('s/a', 1, at, length);
        expect(part?.totalBytes).toBe(bytes.length);
        expect(Buffer.compare(part!.bytes, bytes.subarray(at, at + length))).toBe(0);
      }),
      { numRuns: 50 },
    );
    const known = await store.open('s/a', 2, { knownSeq: 1 });
    expect(known.snapshotLeftOut).toEqual({ seq: 1, bytes: bytes.length });
  });
});
