/**
 * An etcd cluster on this machine: one or three members as child processes, for `skein dev --store etcd` and tests.
 *
 * Members keep their data between starts of the same directory. Where a port is taken, others are tried; once a cluster
 * has started, its ports stay, so that a killed member comes back where clients and the other members look for it.
 * Members end with this process, however it ends.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type Random, randomId, sleep } from '../io/io.ts';
import { realClock } from '../io/real.ts';

export const ETCD_INSTALL =
  'apt-get update && apt-get install -y --no-install-recommends etcd-server (Debian), or any etcd from 3.4 on in PATH';
/** Room for the largest group commits in one level of nesting. */
export const MAX_TXN_OPS = 20_000;
/** etcd's own 1,000 lets a database under steady trims grow without end. */
export const COMPACTION_BATCH_LIMIT = 20_000;
/**
 * For members of one region, some milliseconds apart: half of etcd's own, so that a dead leader is replaced in a second
 * rather than two. etcd wants an election to take ten round trips and more.
 */
export const NEAR_HEARTBEAT_MS = 50;
export const NEAR_ELECTION_MS = 500;
/** Ports that the system does not hand out by itself. */
const PORT_FIRST = 20_000;
const PORT_COUNT = 12_000;
/** Rests on no speed: a busy machine elects late. */
const START_MS_MAX = 60_000;
const START_ATTEMPTS_MAX = 8;
const POLL_MS = 20;

export interface EtcdTls {
  /** Files. */
  caFile: string;
  certificateFile: string;
  keyFile: string;
  /** Clients must show a certificate of the same authority. */
  clientCertificates: boolean;
}

export interface EtcdClusterOptions {
  random: Random;
  /** Each member gets a directory below. */
  dataDirectory: string;
  members?: 1 | 3;
  maxTxnOps?: number;
  compactionBatchLimit?: number;
  quotaBytes?: number;
  tls?: EtcdTls;
  /** Milliseconds; etcd's defaults, 100 and 1,000, where absent. */
  heartbeatMs?: number;
  electionMs?: number;
  /** Of the first member's three ports; any that is free where absent. */
  firstPort?: number;
  /** Of each member, where other members find it, if not at its own peer port: a proxy in between. */
  advertisedPeerPorts?: readonly number[];
  /** Added at the end of each member's command line. */
  extraArguments?: string[];
  binary?: string;
}

export class EtcdMember {
  readonly name: string;
  readonly clientPort: number;
  readonly peerPort: number;
  readonly metricsPort: number;
  readonly logFile: string;
  readonly #binary: string;
  readonly #arguments: string[];
  #child: ChildProcess | undefined;
  #exited: Promise<void> = Promise.resolve();

  constructor(options: {
    name: string;
    clientPort: number;
    peerPort: number;
    metricsPort: number;
    logFile: string;
    binary: string;
    arguments: string[];
  }) {
    this.name = options.name;
    this.clientPort = options.clientPort;
    this.peerPort = options.peerPort;
    this.metricsPort = options.metricsPort;
    this.logFile = options.logFile;
    this.#binary = options.binary;
    this.#arguments = options.arguments;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  get running(): boolean {
    return this.#child !== undefined;
  }

  get endpoint(): string {
    return `127.0.0.1:${this.clientPort}`;
  }

  /** Where it shows health and metrics over plain HTTP. */
  get metricsUrl(): string {
    return `http://127.0.0.1:${this.metricsPort}`;
  }

  /** Starts the process; {@link healthy} tells when it serves. */
  start(): void {
    if (this.#child) return;
    const log = openSync(this.logFile, 'a');
    const child = spawn(this.#binary, this.#arguments, { stdio: ['ignore', log, log] });
    closeSync(log);
    this.#child = child;
    // The pipe ends with this process, and the shell that waits for it ends the member.
    const reaper = spawn('sh', ['-c', `read _; kill -KILL ${child.pid} 2>/dev/null`], {
      stdio: ['pipe', 'ignore', 'ignore'],
      detached: true,
    });
    reaper.on('error', () => {});
    reaper.stdin?.on('error', () => {});
    reaper.unref();
    this.#exited = new Promise((resolve) => {
      const ended = () => {
        if (this.#child === child) this.#child = undefined;
        // Before its pid is anyone else's.
        reaper.kill('SIGKILL');
        resolve();
      };
      child.on('exit', ended);
      child.on('error', ended);
    });
  }

  /** Resolves when the process is gone, or at once for signals that do not end one. */
  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    this.#child?.kill(signal);
    if (signal === 'SIGSTOP' || signal === 'SIGCONT') return;
    await this.#exited;
  }

  /** Whether it serves, which takes a leader. */
  async healthy(): Promise<boolean> {
    try {
      const answer = await fetch(`${this.metricsUrl}/health`, { signal: AbortSignal.timeout(1_000) });
      return answer.ok && ((await answer.json()) as { health: string }).health === 'true';
    } catch {
      return false;
    }
  }

  /** Resolves when it serves; rejects when its process ends or it takes too long. */
  async untilHealthy(): Promise<void> {
    const untilMs = realClock.monotonicMs() + START_MS_MAX;
    while (!(await this.healthy())) {
      if (!this.#child) throw new Error(`etcd ${this.name} ended: ${this.#lastLog()}`);
      if (realClock.monotonicMs() > untilMs)
        throw new Error(`etcd ${this.name} does not serve after ${START_MS_MAX} ms: ${this.#lastLog()}`);
      await sleep(realClock, POLL_MS);
    }
  }

  #lastLog(): string {
    return readFileSync(this.logFile, 'utf8').trim().split('\n').slice(-3).join(' | ');
  }
}

export class EtcdCluster {
  readonly members: readonly EtcdMember[];
  readonly tls: EtcdTls | undefined;

  constructor(members: readonly EtcdMember[], tls: EtcdTls | undefined) {
    this.members = members;
    this.tls = tls;
  }

  /** As `--control` and a cell's record take it. */
  address(root?: string): string {
    const endpoints = this.members.map((member) => member.endpoint).join(',');
    return `${this.tls ? 'etcds' : 'etcd'}://${endpoints}${root === undefined ? '' : `/${root}`}`;
  }

  /** The one that leads, by the metrics of each. */
  async leader(): Promise<EtcdMember | undefined> {
    for (const member of this.members) {
      if (!member.running) continue;
      try {
        const answer = await fetch(`${member.metricsUrl}/metrics`, { signal: AbortSignal.timeout(1_000) });
        if (/^etcd_server_is_leader 1$/m.test(await answer.text())) return member;
      } catch {
        // Not this one, then.
      }
    }
    return undefined;
  }

  async start(): Promise<void> {
    for (const member of this.members) member.start();
    await Promise.all(this.members.map((member) => member.untilHealthy()));
  }

  /** SIGTERM ends a member in order; SIGKILL at once. Resolves when all processes are gone. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    await Promise.all(this.members.map((member) => member.kill(signal)));
  }
}

/** @throws Error that names the package and the command where there is no etcd. */
export async function etcdVersion(binary = 'etcd'): Promise<{ major: number; minor: number; text: string }> {
  let output: string;
  try {
    output = (await promisify(execFile)(binary, ['--version'])).stdout;
  } catch (cause) {
    throw new Error(`there is no etcd: \`${binary} --version\` failed. Install it: ${ETCD_INSTALL}`, {
      cause,
    });
  }
  const match = /etcd Version: (\d+)\.(\d+)\.(\S+)/.exec(output);
  if (!match) throw new Error(`\`${binary} --version\` said ${JSON.stringify(output)}: is it etcd?`);
  return { major: Number(match[1]), minor: Number(match[2]), text: `${match[1]}.${match[2]}.${match[3]}` };
}

/**
 * Starts members and waits until they serve.
 *
 * @throws Error where there is no etcd in PATH, or it does not start.
 * @example
 * const cluster = await startEtcdCluster({ random, dataDirectory: '.skein/etcd' });
 * console.log(cluster.address()); // etcd://127.0.0.1:23790
 * await cluster.stop();
 */
export async function startEtcdCluster(options: EtcdClusterOptions): Promise<EtcdCluster> {
  const { random, dataDirectory, tls } = options;
  const binary = options.binary ?? 'etcd';
  const version = await etcdVersion(binary);
  mkdirSync(dataDirectory, { recursive: true });
  const portFile = join(dataDirectory, 'first-port');
  const kept = existsSync(portFile) ? Number(readFileSync(portFile, 'utf8')) : undefined;
  for (let attempt = 1; ; attempt++) {
    const firstPort =
      options.firstPort ?? kept ?? PORT_FIRST + 3 * Math.floor((random.next() * (PORT_COUNT - 16)) / 3);
    const cluster = new EtcdCluster(makeMembers(options, binary, version, firstPort), tls);
    try {
      await cluster.start();
      writeFileSync(portFile, String(firstPort));
      return cluster;
    } catch (error) {
      await cluster.stop('SIGKILL');
      const isFree = kept === undefined && options.firstPort === undefined;
      const taken = isFree && /address already in use/.test(String(error));
      if (!taken || attempt >= START_ATTEMPTS_MAX) throw error;
    }
  }
}

/** Ports of the member with that index. */
export function etcdPorts(
  firstPort: number,
  index: number,
): { clientPort: number; peerPort: number; metricsPort: number } {
  const clientPort = firstPort + 3 * index;
  return { clientPort, peerPort: clientPort + 1, metricsPort: clientPort + 2 };
}

function makeMembers(
  options: EtcdClusterOptions,
  binary: string,
  version: { major: number; minor: number },
  firstPort: number,
): EtcdMember[] {
  const { random, dataDirectory, tls } = options;
  const count = options.members ?? 1;
  const token = `skein-${randomId(random)}`;
  const plans = Array.from({ length: count }, (_, i) => ({
    name: `etcd-${i + 1}`,
    ...etcdPorts(firstPort, i),
    peerUrl: `http://127.0.0.1:${options.advertisedPeerPorts?.[i] ?? etcdPorts(firstPort, i).peerPort}`,
  }));
  const scheme = tls ? 'https' : 'http';
  const recent = version.major > 3 || version.minor >= 6;
  const batchFlag = recent ? '--compaction-batch-limit' : '--experimental-compaction-batch-limit';
  return plans.map((plan) => {
    const client = `${scheme}://127.0.0.1:${plan.clientPort}`;
    const peer = `http://127.0.0.1:${plan.peerPort}`;
    const given: [string, string | number | undefined][] = [
      ['--name', plan.name],
      ['--data-dir', join(dataDirectory, plan.name)],
      ['--listen-client-urls', client],
      ['--advertise-client-urls', client],
      ['--listen-peer-urls', peer],
      ['--initial-advertise-peer-urls', plan.peerUrl],
      ['--initial-cluster', plans.map((each) => `${each.name}=${each.peerUrl}`).join(',')],
      ['--initial-cluster-token', token],
      ['--listen-metrics-urls', `http://127.0.0.1:${plan.metricsPort}`],
      ['--max-txn-ops', options.maxTxnOps ?? MAX_TXN_OPS],
      [batchFlag, options.compactionBatchLimit ?? COMPACTION_BATCH_LIMIT],
      ['--quota-backend-bytes', options.quotaBytes],
      ['--heartbeat-interval', options.heartbeatMs],
      ['--election-timeout', options.electionMs],
      ['--log-level', 'error'],
      ['--logger', 'zap'],
      ['--cert-file', tls?.certificateFile],
      ['--key-file', tls?.keyFile],
      ['--trusted-ca-file', tls?.clientCertificates ? tls.caFile : undefined],
    ];
    const args = given.flatMap(([flag, value]) => (value === undefined ? [] : [flag, String(value)]));
    if (tls?.clientCertificates) args.push('--client-cert-auth');
    args.push(...(options.extraArguments ?? []));
    return new EtcdMember({
      ...plan,
      logFile: join(dataDirectory, `${plan.name}.log`),
      binary,
      arguments: args,
    });
  });
}
