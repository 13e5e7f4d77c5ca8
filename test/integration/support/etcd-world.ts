/**
 * A cluster of real processes on two real etcd clusters of three members each, one for control and one for the cell,
 * with a fault-injecting proxy in front of every member, for its peers and for its clients.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Io } from '../../../src/io/io.ts';
import { realIo } from '../../../src/io/real.ts';
import { onLoopback } from '../../../src/store/loopback-conformance.ts';
import { type EtcdCluster, etcdPorts, startEtcdCluster } from '../../../src/supervisor/etcd-cluster.ts';
import { FaultProxy, type ProxyFault } from './fault-proxy.ts';
import { TestCluster } from './test-cluster.ts';

const MEMBERS = 3;
/** Ports that one etcd cluster takes: three a member, and two proxies a member. */
const PORTS = 5 * MEMBERS;
const REGION = 'us-east-1';
export const ETCD_CELL = 'cell-us-east-1';

/** etcd's own settings where absent. */
export interface EtcdTiming {
  heartbeatMs?: number;
  electionMs?: number;
}

/** Three members of etcd, and the way to each of them. */
export class ProxiedEtcd {
  readonly cluster: EtcdCluster;
  /** In front of each member's peer port. */
  readonly peers: readonly FaultProxy[];
  /** In front of each member's client port. */
  readonly clients: readonly FaultProxy[];

  readonly #dataDirectory: string;

  private constructor(
    cluster: EtcdCluster,
    dataDirectory: string,
    peers: readonly FaultProxy[],
    clients: readonly FaultProxy[],
  ) {
    this.cluster = cluster;
    this.#dataDirectory = dataDirectory;
    this.peers = peers;
    this.clients = clients;
  }

  static async start(io: Io, dataDirectory: string, timing: EtcdTiming = {}): Promise<ProxiedEtcd> {
    return onLoopback(io.random, async (address) => {
      const firstPort = Math.min(Number(address.split(':')[1]), 32_767 - PORTS);
      const started: FaultProxy[] = [];
      const proxy = async (port: number, targetPort: number) => {
        const one = await FaultProxy.listen({ port, targetPort: () => targetPort });
        started.push(one);
        return one;
      };
      try {
        const peers: FaultProxy[] = [];
        const clients: FaultProxy[] = [];
        for (let i = 0; i < MEMBERS; i++) {
          const { clientPort, peerPort } = etcdPorts(firstPort, i);
          peers.push(await proxy(firstPort + 3 * MEMBERS + i, peerPort));
          clients.push(await proxy(firstPort + 4 * MEMBERS + i, clientPort));
        }
        const cluster = await startEtcdCluster({
          random: io.random,
          dataDirectory,
          members: MEMBERS,
          ...timing,
          firstPort,
          advertisedPeerPorts: peers.map(({ port }) => port),
        });
        return new ProxiedEtcd(cluster, dataDirectory, peers, clients);
      } catch (error) {
        for (const one of started) await one.close();
        if (/address already in use/.test(String(error))) throw new Error(`EADDRINUSE: ${String(error)}`);
        throw error;
      }
    });
  }

  /** Through the proxies. */
  get address(): string {
    return `etcd://${this.clients.map(({ port }) => `127.0.0.1:${port}`).join(',')}`;
  }

  dataDirectoryOf(index: number): string {
    return join(this.#dataDirectory, `etcd-${index + 1}`);
  }

  /** Index of the member that leads; waits until one does. */
  async leader(): Promise<number> {
    for (;;) {
      const leader = await this.cluster.leader();
      if (leader) return this.cluster.members.indexOf(leader);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  /** Nothing passes between this member and the others, in both directions; its clients still reach it. */
  isolate(index: number): void {
    const pid = this.cluster.members[index]!.pid!;
    const held = { holdRequests: true, holdAnswers: true };
    this.#break(this.peers, (i) => (i === index ? held : { ...held, pids: new Set([pid]) }));
  }

  /** The same fault between one process, or all, and every member. */
  breakClients(fault: ProxyFault): void {
    this.#break(this.clients, () => fault);
  }

  #break(proxies: readonly FaultProxy[], faultOf: (index: number) => ProxyFault): void {
    let hit = 0;
    for (const [i, proxy] of proxies.entries()) hit += proxy.set(faultOf(i));
    if (hit === 0) throw new Error('the fault hits no connection: it would show nothing');
  }

  heal(): void {
    for (const proxy of [...this.peers, ...this.clients]) proxy.set(undefined);
  }

  async stop(): Promise<void> {
    await this.cluster.stop('SIGKILL');
    for (const proxy of [...this.peers, ...this.clients]) await proxy.close();
  }
}

export interface EtcdWorld {
  control: ProxiedEtcd;
  cell: ProxiedEtcd;
  cluster: TestCluster;
  /** Ends everything and removes its files. */
  end(): Promise<void>;
}

/**
 * @example
 * const world = await startEtcdWorld({ app: ROOMS_APP, nodes: 3 });
 * world.cell.isolate(await world.cell.leader());
 */
export async function startEtcdWorld(options: {
  app: string;
  nodes: number;
  timing?: EtcdTiming;
  /** Puts a file system of its own under a directory; resolves with what takes it away again. */
  mountCell?: (directory: string) => () => void;
}): Promise<EtcdWorld> {
  const io = realIo({ logLevel: 'silent' });
  const directory = mkdtempSync(join(tmpdir(), 'skein-etcd-world-'));
  const file = join(directory, 'stores.json');
  const parts: { stop(): Promise<void> }[] = [];
  const end = async () => {
    for (const part of parts.reverse()) await part.stop();
    rmSync(directory, { recursive: true, force: true });
  };
  try {
    const control = await ProxiedEtcd.start(io, join(directory, 'control'), options.timing);
    parts.push(control);
    const cellDirectory = join(directory, 'cell');
    if (options.mountCell)
      for (let i = 1; i <= MEMBERS; i++) {
        const memberDirectory = join(cellDirectory, `etcd-${i}`);
        mkdirSync(memberDirectory, { recursive: true, mode: 0o700 });
        const unmount = options.mountCell(memberDirectory);
        parts.push({ stop: async () => unmount() });
      }
    const cell = await ProxiedEtcd.start(io, cellDirectory, options.timing);
    parts.push(cell);
    const address = cell.address;
    writeFileSync(
      file,
      JSON.stringify({ control: control.address, cells: { [ETCD_CELL]: { region: REGION, address } } }),
    );
    const cluster = await TestCluster.start({
      app: options.app,
      regions: [REGION],
      nodes: options.nodes,
      emulateRtt: false,
      policy: 'static',
      stores: { controlAddress: control.address, file },
    });
    parts.push({ stop: () => cluster.end() });
    return { control, cell, cluster, end };
  } catch (error) {
    await end();
    throw error;
  }
}
