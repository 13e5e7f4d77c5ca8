/**
 * Real etcd members for tests: temporary directories, kills by pid, and an error that names the package where there is
 * no etcd. Never a skip: a test that needs etcd fails without it.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { realIo } from '../../../src/io/real.ts';
import { type EtcdCredentials, parseEtcdAddress } from '../../../src/store/etcd/access.ts';
import { EtcdClient } from '../../../src/store/etcd/client.ts';
import {
  type EtcdCluster,
  type EtcdClusterOptions,
  startEtcdCluster,
} from '../../../src/supervisor/etcd-cluster.ts';

export const etcdIo = realIo({ logLevel: 'silent' });

/** Unless a test is about members that are away: no test rests on how fast a shared disk syncs. */
const CALL_MS_MAX = 30_000;

export interface TestEtcd {
  cluster: EtcdCluster;
  directory: string;
  /** A client of its own, with keys below a root of its own. */
  client(root?: string, options?: { credentials?: EtcdCredentials; timeoutMs?: number }): EtcdClient;
  /** Ends all members and removes their data. */
  stop(): Promise<void>;
}

/**
 * @example
 * const etcd = await startEtcd({ members: 3 });
 * const store = new EtcdCellStore({ io: etcdIo, client: etcd.client(), cell: 'cell-a' });
 * await (await etcd.cluster.leader())!.kill('SIGKILL');
 */
export async function startEtcd(
  options: Partial<Omit<EtcdClusterOptions, 'random'>> = {},
): Promise<TestEtcd> {
  const directory = mkdtempSync(join(tmpdir(), 'skein-etcd-'));
  let cluster: EtcdCluster;
  try {
    cluster = await startEtcdCluster({ dataDirectory: directory, random: etcdIo.random, ...options });
  } catch (error) {
    rmSync(directory, { recursive: true });
    throw error;
  }
  return {
    cluster,
    directory,
    client: (root, { credentials, timeoutMs = CALL_MS_MAX } = {}) =>
      new EtcdClient({
        io: etcdIo,
        address: parseEtcdAddress(cluster.address(root)),
        credentials,
        timeoutMs,
      }),
    async stop() {
      // One that was stopped by SIGSTOP hears nothing else.
      await cluster.stop('SIGKILL');
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
