/**
 * What a cell keeps when members die, and within etcd's own defaults: three members whose leader is killed under
 * appends; one member without any flag.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { etcdIo, startEtcd, type TestEtcd } from '../../../test/integration/support/etcd.ts';
import type { Append, AppendResult, LogEntry } from '../store.ts';
import { EtcdCellStore } from './cell-store.ts';
import { Chunks } from './chunks.ts';
import { EtcdControlStore } from './control-store.ts';
import { CellKeys } from './keys.ts';

const turn = () => new Promise((resolve) => setTimeout(resolve, 10));

describe('three members', () => {
  let etcd: TestEtcd;
  beforeAll(async () => {
    etcd = await startEtcd({ members: 3 });
  });
  afterAll(() => etcd.stop());

  it('keep what was acknowledged, once, when the leader is killed under appends', async () => {
    // Test plan: 40 writers, each one delta after the other, each retried unchanged until its outcome is known
    // (OWNERSHIP rule 3). The leader dies in the middle; afterwards each log is read from another client and compared.
    // Time-outs are far beyond the test's own limit: what was on its way to the dead leader must be given up because
    // another one is there, and not for being late.
    const client = etcd.client('kill', { timeoutMs: 10 * 60_000 });
    const store = new EtcdCellStore({ io: etcdIo, client, cell: 'cell-a' });
    const writers = Array.from({ length: 40 }, (_, i) => ({
      shard: `room/${i}`,
      acknowledged: 0,
      unknown: 0,
    }));
    let killed = false;
    let acknowledgedAfterKill = 0;
    const write = async (writer: (typeof writers)[number]) => {
      await store.open(writer.shard, 1);
      // On until well after the kill, with a new leader.
      while (!(killed && acknowledgedAfterKill > 400)) {
        const seq = writer.acknowledged + 1;
        const append: Append = {
          shard: writer.shard,
          epoch: 1,
          seq,
          id: `w.${seq}`,
          delta: Buffer.from(`${writer.shard}@${seq}`),
        };
        let result: AppendResult | undefined;
        while (!result) {
          try {
            [result] = await store.append([append]);
          } catch (error) {
            expect(error).toMatchObject({ code: 'unavailable' });
            writer.unknown++;
            await turn();
          }
        }
        expect(result).toEqual({ ok: true });
        writer.acknowledged = seq;
        if (killed) acknowledgedAfterKill++;
      }
    };
    const writing = Promise.all(writers.map(write));
    while (writers.some(({ acknowledged }) => acknowledged < 5)) await turn();
    const leader = (await etcd.cluster.leader())!;
    await leader.kill('SIGKILL');
    killed = true;
    // A call that waited for its time-out would outlast the test. Whether any had to be given up is the moment's: those
    // to the leader itself end with their connection.
    try {
      await writing;
    } finally {
      leader.start();
      await leader.untilHealthy();
      store.close();
    }

    const reader = new EtcdCellStore({
      io: etcdIo,
      client: etcd.client('kill'),
      cell: 'cell-a',
      upkeep: false,
    });
    for (const { shard, acknowledged } of writers) {
      const { entries, end } = await reader.open(shard, 2);
      const all: LogEntry[] = [...entries];
      while (all.length < end) all.push(...(await reader.tail(shard, all.length, 4_000_000)).entries);
      expect(end).toBe(acknowledged);
      expect(all.map(({ seq, id, delta }) => `${seq} ${id} ${Buffer.from(delta)}`)).toEqual(
        Array.from({ length: acknowledged }, (_, i) => `${i + 1} w.${i + 1} ${shard}@${i + 1}`),
      );
    }
    reader.close();
  });

  it('answer through the others when the member a client is connected to stands still, whatever the time-out', async () => {
    const client = etcd.client('still', { timeoutMs: 10 * 60_000 });
    const store = new EtcdCellStore({ io: etcdIo, client, cell: 'cell-a', upkeep: false });
    const append = (seq: number) =>
      store.append([{ shard: 'room/still', epoch: 1, seq, id: `w.${seq}`, delta: Buffer.from('delta') }]);
    await store.open('room/still', 1);
    await append(1);
    const member = etcd.cluster.members.find(({ endpoint }) => endpoint === client.preferred);
    await member!.kill('SIGSTOP');
    try {
      let result: AppendResult[] | undefined;
      while (!result) {
        try {
          result = await append(2);
        } catch (error) {
          expect(error).toMatchObject({ code: 'unavailable' });
          await turn();
        }
      }
      expect(result).toEqual([{ ok: true }]);
    } finally {
      await member!.kill('SIGCONT');
    }
    await member!.untilHealthy();
    store.close();
  });

  it('keep leases and watches over the death of the member a client is connected to', async () => {
    const store = new EtcdControlStore({
      io: etcdIo,
      client: etcd.client('watch', { timeoutMs: 1_000 }),
      upkeep: false,
    });
    const other = new EtcdControlStore({
      io: etcdIo,
      client: etcd.client('watch', { timeoutMs: 1_000 }),
      upkeep: false,
    });
    const until = async <Result>(run: () => Promise<Result>): Promise<Result> => {
      for (;;) {
        try {
          return await run();
        } catch (error) {
          expect(error).toMatchObject({ code: 'unavailable' });
          await turn();
        }
      }
    };
    await store.grantLease('l', 10_000);
    const { revision } = await store.transact({
      compare: [],
      operations: [{ put: 'n', value: '0', lease: 'l' }],
    });
    const seen: string[] = [];
    const subscription = other.watch(['n'], revision, (event) => {
      seen.push(event.type === 'put' ? event.entry.value : event.type);
    });
    for (const [i, member] of etcd.cluster.members.entries()) {
      await member.kill('SIGKILL');
      // Unchanged, so that a repeat after an unknown outcome is seen as the value it already has.
      await until(async () => {
        const now = await store.get('n');
        if (now?.value === String(i + 1)) return;
        await store.transact({
          compare: [{ key: 'n', version: now!.version }],
          operations: [{ put: 'n', value: String(i + 1), lease: 'l' }],
        });
      });
      await until(() => store.keepAlive('l'));
      member.start();
      await member.untilHealthy();
    }
    while (seen.at(-1) !== '3') await turn();
    expect(seen).toEqual(['1', '2', '3']);
    subscription.close();
    store.close();
    other.close();
  });
});

describe('a member with etcd\u2019s own settings', () => {
  let etcd: TestEtcd;
  beforeAll(async () => {
    etcd = await startEtcd({ maxTxnOps: 128, compactionBatchLimit: 1_000 });
  });
  afterAll(() => etcd.stop());

  it('takes group commits of 3,000 shards, by nesting', async () => {
    const store = new EtcdCellStore({
      io: etcdIo,
      client: etcd.client('many'),
      cell: 'cell-a',
      upkeep: false,
    });
    const delta = Buffer.from('delta');
    const batch = (seq: number) =>
      Array.from({ length: 3_000 }, (_, i) => ({ shard: `room/${i}`, epoch: 1, seq, id: `p.${seq}`, delta }));
    await store.append(batch(1));
    expect((await store.append(batch(2))).every((result) => result.ok)).toBe(true);
    expect((await store.open('room/2999', 1)).end).toBe(2);
    store.close();
  });

  it('takes transactions of hundreds of writes and reads: all of it, or nothing', async () => {
    const store = new EtcdControlStore({ io: etcdIo, client: etcd.client('large'), upkeep: false });
    const keys = Array.from({ length: 450 }, (_, i) => `k/${String(i).padStart(3, '0')}`);
    const created = await store.transact({
      compare: keys.slice(0, 50).map((key) => ({ key, version: 0 })),
      operations: keys.map((key) => ({ put: key, value: key })),
      read: keys,
    });
    expect(created.succeeded).toBe(true);
    expect(created.read.map((entry) => entry?.value)).toEqual(keys);
    const again = await store.transact({
      compare: keys.slice(0, 50).map((key, i) => ({ key, version: i === 49 ? 0 : created.revision })),
      operations: keys.map((key) => ({ delete: key })),
      read: keys,
    });
    expect(again).toMatchObject({ succeeded: false, revision: created.revision });
    expect(again.read.every((entry) => entry?.version === created.revision)).toBe(true);
    expect((await store.list('k/')).entries).toHaveLength(450);
    store.close();
  });

  it('never shows a snapshot whose writer died between its chunks, and clears it away with the next one', async () => {
    const client = etcd.client('torn');
    const store = new EtcdCellStore({ io: etcdIo, client, cell: 'cell-a', upkeep: false });
    const shard = 'room/torn';
    await store.open(shard, 1);
    const delta = Buffer.from('delta');
    await store.append([1, 2, 3].map((seq) => ({ shard, epoch: 1, seq, id: `p.${seq}`, delta })));
    await store.putSnapshot(shard, 1, { seq: 1, bytes: Buffer.from('first') });
    // What the writer of a snapshot at 2 left behind: chunks, and no head.
    const keys = new CellKeys('torn', 'cell-a');
    const chunks = new Chunks(client, keys, etcdIo.random);
    const torn = Buffer.alloc(2_000_000, 1);
    await chunks.write('snapshot', shard, 1, 2, chunks.plan(torn), torn);
    const left = () => client.range({ ...keys.chunks('snapshot', shard, 2, 3), count_only: true });
    expect(Number((await left()).count)).toBe(4);
    expect(await store.open(shard, 2)).toMatchObject({ snapshot: { seq: 1 }, end: 3 });
    expect(await store.putSnapshot(shard, 2, { seq: 3, bytes: Buffer.from('third') })).toEqual({ ok: true });
    expect(Number((await left()).count)).toBe(0);
    // A deposed writer's chunks are not even written.
    await chunks.write('snapshot', shard, 1, 9, chunks.plan(torn), torn);
    expect(
      Number((await client.range({ ...keys.chunks('snapshot', shard, 9, 10), count_only: true })).count),
    ).toBe(0);
    store.close();
  });

  it('keeps a delta of 5 MB in chunks, and trims them with it', async () => {
    const client = etcd.client('wide');
    const store = new EtcdCellStore({ io: etcdIo, client, cell: 'cell-a', upkeep: false });
    const shard = 'room/wide';
    await store.open(shard, 1);
    const wide = Buffer.alloc(5_000_000, 3);
    const small = Buffer.from('small');
    const appends = [small, wide, small].map((delta, i) => ({
      shard,
      epoch: 1,
      seq: i + 1,
      id: `p.${i + 1}`,
      delta,
    }));
    expect(await store.append(appends)).toEqual([{ ok: true }, { ok: true }, { ok: true }]);
    expect(await store.append(appends)).toEqual([{ ok: true }, { ok: true }, { ok: true }]);
    const { entries } = await store.tail(shard, 1, 10_000_000);
    expect(entries.map(({ delta }) => delta.byteLength)).toEqual([5_000_000]);
    expect(Buffer.compare(entries[0]!.delta, wide)).toBe(0);
    await store.putSnapshot(shard, 1, { seq: 2, bytes: small });
    await store.trim(shard, 1, 2);
    const left = await client.range({
      ...new CellKeys('wide', 'cell-a').chunks('delta', shard, 0, 10),
      count_only: true,
    });
    expect(Number(left.count)).toBe(0);
    store.close();
  });
});
