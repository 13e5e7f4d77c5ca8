/**
 * Test plan: a cell with a small limit is filled until it refuses, trimmed, and used again; with etcd's own quota far
 * below, so that it shows that nothing of ours ever meets it.
 */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { etcdIo, startEtcd, type TestEtcd } from '../../../test/integration/support/etcd.ts';
import { StoreError } from '../store.ts';
import { EtcdCellStore } from './cell-store.ts';

const A = 'room/a';
const MB = 1024 * 1024;
let etcd: TestEtcd;
beforeAll(async () => {
  etcd = await startEtcd({ quotaBytes: 2 * MB });
});
afterAll(() => etcd.stop());

const turn = () => new Promise((resolve) => setTimeout(resolve, 10));

it('turns work away before it is full, refuses when it is, and goes on once snapshots and trims made room', async () => {
  const cell = new EtcdCellStore({
    io: etcdIo,
    client: etcd.client(),
    cell: 'cell-a',
    upkeep: { databaseBytesMax: 6 * MB, lookEveryMs: 20, compactEveryMs: 100 },
  });
  try {
    await cell.open(A, 1);
    const delta = Buffer.alloc(50_000, 7);
    const append = (seq: number) => cell.append([{ shard: A, epoch: 1, seq, id: `p.${seq}`, delta }]);
    let end = 0;
    let sawHigh = false;
    let refusal: StoreError | undefined;
    while (!refusal) {
      try {
        expect(await append(end + 1)).toEqual([{ ok: true }]);
        end++;
        // One append a look, so that neither mark is jumped over.
        const looked = cell.pressure();
        while (cell.pressure() === looked) await turn();
        sawHigh ||= cell.pressure()?.high === true && !cell.pressure()!.full;
      } catch (error) {
        expect(error).toBeInstanceOf(StoreError);
        refusal = error as StoreError;
      }
    }
    expect(refusal).toMatchObject({ code: 'too-large', message: expect.stringMatching(/cell-a is full/) });
    expect(sawHigh).toBe(true);
    expect(end).toBeGreaterThan(40);

    // Full is no outage: what is there is read, the fence is raised, and maintenance makes room.
    const opening = await cell.open(A, 2);
    expect(opening).toMatchObject({ fence: 2, end });
    expect(await cell.putSnapshot(A, 2, { seq: end, bytes: Buffer.from('state') })).toEqual({ ok: true });
    expect(await cell.trim(A, 2, end)).toEqual({ ok: true });
    while (cell.pressure()!.high) await turn();
    expect(await cell.append([{ shard: A, epoch: 2, seq: end + 1, id: 'q.1', delta }])).toEqual([
      { ok: true },
    ]);
    const after = await cell.open(A, 3);
    expect(after.snapshot?.seq).toBe(end);
    expect(after.entries.map(({ seq }) => seq)).toEqual([end + 1]);
    // The file never shrinks, and never needs to: what is free in it is used again.
    expect(cell.pressure()!.fileBytes).toBeGreaterThan(2 * MB);
  } finally {
    cell.close();
  }
});
