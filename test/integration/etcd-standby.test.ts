/**
 * Test plan: two nodes on a real etcd cell; the standby's way to its primary is cut while the shard is written on, until
 * its log in etcd is trimmed beyond what the standby has. When it is mended the log cannot fill the gap: the standby
 * must take a snapshot (OWNERSHIP rule 7), follow on from it, and be a primary that lacks nothing when its primary dies.
 * Everything is waited for by looking at what is, never by time.
 */
import { command, defineApp, query, service } from 'skein';
import { expect, it } from 'vitest';
import { CONTROL_KEYS } from '../../src/model/records.ts';
import { migrationParticipant } from '../../src/node/migration/participant.ts';
import { memoryStores, request, startTestNode, type TestNode, textOf } from '../../src/node/test-cluster.ts';
import type { ShardRuntime } from '../../src/shard/contract.ts';
import { loadApp } from '../../src/shard/runtime.ts';
import { EtcdCellStore } from '../../src/store/etcd/cell-store.ts';
import { CutNetwork } from './support/cut-network.ts';
import { etcdIo, startEtcd } from './support/etcd.ts';

const app = defineApp([
  service(
    'kept',
    { version: 1, state: () => ({ value: 0, note: '' }), standbys: 1 },
    {
      add: command((ctx) => {
        ctx.state.value += 1;
        ctx.state.note = 'x'.repeat(1_000);
        return ctx.state.value;
      }),
      get: query((ctx) => ctx.state.value),
    },
  ),
]);
const SHARD = 'kept/a';

async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 5));
}

it('a standby that fell behind the trim of its log in etcd catches up by snapshot, and lacks nothing as a primary', async () => {
  const etcd = await startEtcd();
  const cell = new EtcdCellStore({ io: etcdIo, client: etcd.client(), cell: 'cell-here', upkeep: false });
  const stores = { ...memoryStores(), cells: { cell: () => cell } };
  const nodes: TestNode[] = [];
  /** Seqs of the snapshots that the standby was opened with. */
  const opened: number[] = [];
  const network = new CutNetwork();
  const start = async (name: string, isStandby: boolean) => {
    const runtime = loadApp(app);
    const seen: ShardRuntime = {
      manifest: () => runtime.manifest(),
      admission: (one) => runtime.admission(one),
      open: (options) => {
        if (isStandby && options.role === 'follower') opened.push(options.opening.snapshot?.seq ?? 0);
        return runtime.open(options);
      },
    };
    const node = await startTestNode(stores, name, {
      zone: name,
      limits: { snapshotLogBytesMin: 5_000 },
      runtime: seen,
      participant: migrationParticipant,
      ...(isStandby ? { network } : {}),
    });
    nodes.push(node);
    return node;
  };
  try {
    const primary = await start('a', false);
    const standby = await start('b', true);
    await until(() => nodes.every((one) => one.node.nodes().length === 2));
    const add = async (node: TestNode) => {
      const reply = await node.node.execute(request(SHARD, 'add'));
      expect(reply.status, textOf(reply)).toBe(200);
      return textOf(reply);
    };
    const behind = () => standby.host.replica(SHARD);
    await add(primary);
    await until(() => behind()?.role === 'follower' && behind()!.state.appliedSeq === 1);

    network.cut();
    opened.length = 0;
    const firstSeq = async () => (await cell.tail(SHARD, 0, 1)).firstSeq;
    for (let written = 1; written < 60 || (await firstSeq()) <= 2; written++) await add(primary);
    const endSeq = primary.host.replica(SHARD)!.state.appliedSeq;
    expect(behind()!.state.appliedSeq).toBe(1);

    network.mend();
    await until(() => behind()?.role === 'follower' && behind()!.state.appliedSeq === endSeq);
    expect(opened).toHaveLength(1);
    expect(opened[0]).toBeGreaterThan(2);
    // And it follows on, delta by delta.
    await add(primary);
    await until(() => behind()?.state.appliedSeq === endSeq + 1);
    expect(opened).toHaveLength(1);

    nodes.splice(nodes.indexOf(primary), 1);
    await primary.crash();
    const entry = await stores.control.get(CONTROL_KEYS.node(primary.processId));
    await stores.control.revokeLease(entry!.lease!);
    await until(() => behind()?.role === 'primary');
    expect(await add(standby)).toBe(String(endSeq + 2));
  } finally {
    await Promise.all(nodes.map((node) => node.stop()));
    stores.close();
    cell.close();
    await etcd.stop();
  }
}, 60_000);
