/**
 * A TCP proxy that breaks networks on purpose: for chosen client processes it holds bytes back, in one direction or in
 * both, as a partition does.
 *
 * What is held is not lost: it arrives, late, when the fault is healed, as TCP's own retransmissions would. New
 * connections of a held process hang. `cut` instead resets connections and refuses new ones, as a dying host does.
 * Clients are told apart by process: the owner of the connecting socket, from /proc.
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { createConnection, createServer, type Server, type Socket } from 'node:net';

export interface ProxyFault {
  /** Process ids of clients that it hits; all where absent. */
  pids?: ReadonlySet<number>;
  /** Bytes from the client do not arrive. */
  holdRequests?: boolean;
  /** Bytes to the client do not arrive. */
  holdAnswers?: boolean;
  /** Connections are reset and refused. */
  cut?: boolean;
}

interface Pair {
  client: Socket;
  target: Socket;
  /** The client's end, by which its process is found. */
  port: number;
}

export interface FaultProxyOptions {
  port: number;
  /** Asked at each connection: a restarted target may have moved. */
  targetPort: () => number;
}

export class FaultProxy {
  readonly port: number;
  readonly #server: Server;
  readonly #targetPort: () => number;
  readonly #pairs = new Set<Pair>();
  #fault: ProxyFault | undefined;

  private constructor(server: Server, options: FaultProxyOptions) {
    this.#server = server;
    this.port = options.port;
    this.#targetPort = options.targetPort;
    server.on('connection', (client) => this.#accept(client));
  }

  /** @throws Error where the port is taken. */
  static async listen(options: FaultProxyOptions): Promise<FaultProxy> {
    const server = createServer({ noDelay: true });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ host: '127.0.0.1', port: options.port, exclusive: true }, resolve);
    });
    return new FaultProxy(server, options);
  }

  /**
   * One fault at a time; `undefined` heals.
   *
   * @returns how many connections it hits now: a fault that hits nothing shows nothing.
   */
  set(fault: ProxyFault | undefined): number {
    this.#fault = fault;
    let hit = 0;
    for (const pair of [...this.#pairs]) if (this.#apply(pair)) hit++;
    return hit;
  }

  async close(): Promise<void> {
    for (const { client, target } of this.#pairs) {
      client.destroy();
      target.destroy();
    }
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #accept(client: Socket): void {
    const port = client.remotePort!;
    if (this.#hits(port)?.cut) {
      client.resetAndDestroy();
      return;
    }
    const target = createConnection({ host: '127.0.0.1', port: this.#targetPort(), noDelay: true });
    const pair: Pair = { client, target, port };
    this.#pairs.add(pair);
    client.pipe(target);
    target.pipe(client);
    const end = () => {
      this.#pairs.delete(pair);
      client.destroy();
      target.destroy();
    };
    for (const socket of [client, target]) {
      socket.on('error', end);
      socket.on('close', end);
    }
    this.#apply(pair);
  }

  #apply({ client, target, port }: Pair): boolean {
    const fault = this.#hits(port);
    if (fault?.cut) {
      client.resetAndDestroy();
      target.resetAndDestroy();
    } else {
      hold(client, target, fault?.holdRequests ?? false);
      hold(target, client, fault?.holdAnswers ?? false);
    }
    return fault !== undefined;
  }

  #hits(port: number): ProxyFault | undefined {
    const fault = this.#fault;
    if (fault?.pids === undefined) return fault;
    return ownerOf(port, fault.pids) === undefined ? undefined : fault;
  }
}

function hold(from: Socket, to: Socket, held: boolean): void {
  from.unpipe(to);
  if (held) from.pause();
  else from.pipe(to);
}

/** The process that holds the local TCP port, by the socket's inode in /proc; undefined where none of these does. */
export function ownerOf(localPort: number, candidates: Iterable<number>): number | undefined {
  const wanted = `:${localPort.toString(16).toUpperCase().padStart(4, '0')}`;
  // Connections to different places may share a port, and one that is over has no inode.
  const inodes = new Set<string>();
  // A Go program may hold an IPv4 connection in a socket of both families.
  for (const table of ['/proc/net/tcp', '/proc/net/tcp6']) {
    for (const line of readFileSync(table, 'utf8').split('\n').slice(1)) {
      const fields = line.trim().split(/\s+/);
      if (fields[1]?.endsWith(wanted) && fields[9] !== '0') inodes.add(`socket:[${fields[9]}]`);
    }
  }
  if (inodes.size === 0) return undefined;
  for (const pid of candidates) {
    try {
      for (const descriptor of readdirSync(`/proc/${pid}/fd`))
        if (inodes.has(readlinkSync(`/proc/${pid}/fd/${descriptor}`))) return pid;
    } catch {
      // It ended, or closed the descriptor, while we looked.
    }
  }
  return undefined;
}
