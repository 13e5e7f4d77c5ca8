/** The suite of control stores over a real etcd. A restart also compacts, as time does. */
import { afterAll, beforeAll } from 'vitest';
import { etcdIo, startEtcd, type TestEtcd } from '../../../test/integration/support/etcd.ts';
import { controlStoreConformance } from '../conformance.ts';
import { EtcdControlStore } from './control-store.ts';

let etcd: TestEtcd;
let roots = 0;
beforeAll(async () => {
  etcd = await startEtcd();
});
afterAll(() => etcd.stop());

controlStoreConformance('etcd', async () => {
  const root = `test-${++roots}`;
  const open = () => new EtcdControlStore({ io: etcdIo, client: etcd.client(root), upkeep: false });
  let store = open();
  return {
    store,
    async reopen() {
      const { revision } = await store.list('');
      store.close();
      const [member] = etcd.cluster.members;
      await member!.kill('SIGKILL');
      member!.start();
      await member!.untilHealthy();
      const client = etcd.client(root);
      await client.compact(revision);
      client.close();
      store = open();
      return store;
    },
    async close() {
      store.close();
    },
  };
});
