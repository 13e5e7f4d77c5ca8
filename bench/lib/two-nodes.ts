/**
 * A local cluster of two nodes in one region, real processes, no controller; and what a benchmark needs to speak to its nodes
 * as a controller does.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EmulatedNetwork } from '../../src/io/emulated-network.ts';
import { realClock, realIo } from '../../src/io/real.ts';
import { TcpNetwork } from '../../src/io/tcp-network.ts';
import {
  type AssignmentRecord,
  CONTROL_KEYS,
  decodeRecord,
  type NodeRecord,
} from '../../src/model/records.ts';
import { AWS_THREE_REGIONS } from '../../src/model/topology.ts';
import { Peers } from '../../src/node/peers.ts';
import { connectStores } from '../../src/store/connect.ts';
import { startLocalCluster } from '../../src/supervisor/local-cluster.ts';

const TOKEN = 'bench-token';
const REGION = 'us-east-1';

export interface TwoNodes {
  /** URL of the gateway. */
  gateway: string;
  peers: Peers;
  /** The node that holds a shard, and the other one. */
  endsOf(shard: string): Promise<{ from: NodeRecord; to: NodeRecord }>;
  /** Ends the processes and deletes their data. */
  close(): Promise<void>;
}

/** @param app file of the services to run */
export async function startTwoNodes(app: string): Promise<TwoNodes> {
  const directory = mkdtempSync(join(tmpdir(), 'skein-two-nodes-'));
  const cluster = await startLocalCluster({
    app,
    regions: [REGION],
    nodes: 2,
    dataDirectory: directory,
    policy: 'none',
    token: TOKEN,
    logLevel: 'error',
  });
  const network = new EmulatedNetwork({
    inner: new TcpNetwork(),
    clock: realClock,
    region: REGION,
    topology: AWS_THREE_REGIONS,
  });
  const io = realIo({ logLevel: 'error', network });
  const stores = connectStores(io, { token: TOKEN, identity: 'bench', controlAddress: cluster.control });
  const peers = new Peers({ io, token: TOKEN, identity: 'bench' });
  return {
    gateway: cluster.gateways[REGION]!,
    peers,
    async endsOf(shard) {
      await stores.ready;
      const { entries } = await stores.control.list('node/');
      const nodes = entries.map(({ value }) => decodeRecord<NodeRecord>(value));
      const own = (await stores.control.get(CONTROL_KEYS.own(shard)))!;
      const { primary } = decodeRecord<AssignmentRecord>(own.value);
      return {
        from: nodes.find(({ processId }) => processId === primary)!,
        to: nodes.find(({ processId }) => processId !== primary)!,
      };
    },
    async close() {
      peers.close();
      stores.close();
      await cluster.stop();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
