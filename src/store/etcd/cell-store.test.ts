/**
 * The suite of cells over a real etcd, and what only this engine does: keys that hold their order, chunks, runs.
 */
import { afterAll, beforeAll } from 'vitest';
import { etcdIo, startEtcd, type TestEtcd } from '../../../test/integration/support/etcd.ts';
import { cellStoreConformance } from '../conformance.ts';
import { EtcdCellStore } from './cell-store.ts';

let etcd: TestEtcd;
let roots = 0;
beforeAll(async () => {
  etcd = await startEtcd();
});
afterAll(() => etcd.stop());

cellStoreConformance('etcd', async () => {
  const root = `test-${++roots}`;
  const open = () =>
    new EtcdCellStore({ io: etcdIo, client: etcd.client(root), cell: 'cell-a', upkeep: false });
  let store = open();
  return {
    store,
    async reopen() {
      store.close();
      const [member] = etcd.cluster.members;
      await member!.kill('SIGKILL');
      member!.start();
      await member!.untilHealthy();
      store = open();
      return store;
    },
    async close() {
      store.close();
    },
  };
});
