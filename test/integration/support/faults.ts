/**
 * One fault each, done to a cluster of real processes while people use it. The tests judge the outcomes; the benchmark
 * prints them.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Acknowledgements } from '../../../examples/demo/acknowledgements.ts';
import type { TestCluster } from './test-cluster.ts';
import { type Answer, Users } from './users.ts';

/** Answers everybody gets before and after a fault. */
const ROUNDS = 8;
const STALL_LOOK_MS = 50;
/** People who come while there is no controller, each to a room nobody ever claimed. */
const NEWCOMERS = 30;

export interface Fault {
  name: string;
  /** Regions whose gateways people use; all where absent. */
  gateways?: string[];
  /** Does it, and resolves when the cluster is whole again. */
  harm: (cluster: TestCluster, users: Users) => Promise<Harm>;
  /** What cannot be answered: nothing where absent. */
  excused?: (answer: Answer) => boolean;
}

export interface Harm {
  atMs: number;
  /** How long the store itself, asked directly, took no write. */
  storeMs?: number;
  /** Rooms that it hits; all where absent. */
  rooms?: ReadonlySet<string>;
}

export interface Outcome {
  fault: string;
  requests: number;
  failed: number;
  /** Of those failed, what no excuse covers. */
  unexcused: number;
  failures: string;
  /** Longest answer of a room that the fault hit. */
  longestMs: number;
  storeMs?: number;
  /** Longest time this process itself stood still meanwhile: beyond a second, the machine was at fault as well. */
  stalledMs: number;
  users: Users;
}

export interface UnderFaultOptions {
  people?: number;
  thinkMs?: number;
  acknowledgements?: Acknowledgements;
}

export async function underFault(
  cluster: TestCluster,
  fault: Fault,
  { people = 60, thinkMs, acknowledgements }: UnderFaultOptions = {},
): Promise<Outcome> {
  const { gateways } = cluster.running;
  const users = new Users({
    gateways: fault.gateways
      ? Object.fromEntries(fault.gateways.map((region) => [region, gateways[region]!]))
      : gateways,
    people,
    prefix: fault.name.replaceAll(' ', '-'),
    thinkMs,
    acknowledgements,
  });
  let harm: Harm;
  const stall = watchStall();
  try {
    await users.rounds(ROUNDS);
    harm = await fault.harm(cluster, users);
    await users.rounds(ROUNDS);
  } finally {
    await users.stop();
    stall.stop();
  }
  const failed = users.failed;
  return {
    fault: fault.name,
    requests: users.answers.length,
    failed: failed.length,
    unexcused: failed.filter((answer) => !fault.excused?.(answer)).length,
    failures: users.describeFailures(),
    longestMs: users.longestMs(harm.atMs, harm.rooms),
    storeMs: harm.storeMs,
    stalledMs: stall.longestMs(),
    users,
  };
}

function watchStall(): { longestMs(): number; stop(): void } {
  let lastMs = performance.now();
  let longestMs = 0;
  const timer = setInterval(() => {
    const nowMs = performance.now();
    longestMs = Math.max(longestMs, nowMs - lastMs - STALL_LOOK_MS);
    lastMs = nowMs;
  }, STALL_LOOK_MS);
  return { longestMs: () => longestMs, stop: () => clearInterval(timer) };
}

/** The node that serves most rooms of these people, by name, and the rooms. */
export function busiestNode(users: Users): { name: string; rooms: Set<string> } {
  const [process, rooms] = [...users.served()].sort((a, b) => b[1].size - a[1].size)[0]!;
  return { name: process.slice(0, process.lastIndexOf('.')), rooms };
}

export const drainNode: Fault = {
  name: 'SIGTERM of a node',
  async harm(cluster, users) {
    const { name, rooms } = busiestNode(users);
    const atMs = performance.now();
    await cluster.killed(name, 'SIGTERM');
    return { atMs, rooms };
  },
};

export const killNode: Fault = {
  name: 'kill -9 of a node',
  async harm(cluster, users) {
    const { name, rooms } = busiestNode(users);
    const atMs = performance.now();
    await cluster.killed(name);
    return { atMs, rooms };
  },
};

/** Stands still until its lease has run out and its shards are others', then goes on as if nothing had been. */
export const pauseNode: Fault = {
  name: 'SIGSTOP of a node beyond its lease',
  async harm(cluster, users) {
    const { name, rooms } = busiestNode(users);
    const { pid } = await cluster.process(name);
    const atMs = performance.now();
    process.kill(pid!, 'SIGSTOP');
    try {
      await users.rounds(ROUNDS);
    } finally {
      process.kill(pid!, 'SIGCONT');
    }
    return { atMs, rooms };
  },
};

export const killController: Fault = {
  name: 'kill -9 of the controller',
  async harm(cluster) {
    const atMs = performance.now();
    await cluster.killed('controller');
    return { atMs };
  },
};

/** No controller: shards are claimed by whoever is asked, and a dead node's are taken over by whoever is asked. */
export const killNodeWithoutController: Fault = {
  name: 'kill -9 of a node while the controller is dead',
  async harm(cluster, users) {
    await cluster.ended('controller');
    const { name, rooms } = busiestNode(users);
    const atMs = performance.now();
    await cluster.killed(name);
    await users.rounds(ROUNDS);
    const newcomers = new Users({
      gateways: cluster.running.gateways,
      people: NEWCOMERS,
      prefix: 'claimed-without-controller',
      acknowledgements: users.acknowledgements,
    });
    await newcomers.rounds(2);
    await newcomers.stop();
    users.answers.push(...newcomers.answers);
    await cluster.running.restart('controller');
    return { atMs, rooms };
  },
};

/** What was under way at a killed gateway breaks off at its clients, and nothing can be sent to it until it is back. */
export const killGateway = (region: string): Fault => ({
  name: 'kill -9 of a gateway',
  async harm(cluster, users) {
    const atMs = performance.now();
    await cluster.killed(`${region}-gateway`);
    await users.rounds(ROUNDS, region);
    return { atMs };
  },
  excused: ({ gateway, status }) => gateway === region && status === 0,
});

/** Load balancers see `/readyz` or a refused connection; what was accepted is answered. */
export const drainGateway = (region: string): Fault => ({
  name: 'SIGTERM of a gateway',
  async harm(cluster, users) {
    const atMs = performance.now();
    await cluster.killed(`${region}-gateway`, 'SIGTERM');
    await users.rounds(ROUNDS, region);
    return { atMs };
  },
  excused: ({ gateway, code }) => gateway === region && code === 'ECONNREFUSED',
});

/**
 * A gateway that starts while the control store is dead serves by the routes it saved. Its people's rooms have their
 * cell in its region: the control store's own region has lost its cell as well.
 */
export const killGatewayWithoutControl = (region: string, controlRegion: string): Fault => ({
  name: 'kill -9 of a gateway while the control store is dead',
  gateways: [region],
  async harm(cluster, users) {
    await routesSaved(join(cluster.options.dataDirectory, region, `${region}-gateway.routes`), users);
    await cluster.ended(`${controlRegion}-store`);
    const atMs = performance.now();
    await cluster.killed(`${region}-gateway`);
    await users.rounds(ROUNDS);
    await cluster.running.restart(`${controlRegion}-store`);
    return { atMs };
  },
  excused: ({ status }) => status === 0,
});

async function routesSaved(file: string, users: Users): Promise<void> {
  const rooms = new Set(users.answers.map(({ key }) => key));
  for (;;) {
    const text = existsSync(file) ? readFileSync(file, 'utf8') : '';
    if ([...rooms].every((room) => text.includes(`room/${room}"`))) return;
    await users.rounds(1);
  }
}

export const killStore = (region: string, what: string): Fault => ({
  name: `kill -9 of the store process with ${what}`,
  async harm(cluster) {
    const atMs = performance.now();
    await cluster.killed(`${region}-store`);
    return { atMs };
  },
});

/** A process of the cluster stands still, and goes on as if nothing had been. */
export const standsStill = (name: string, what: string, forMs: number): Fault => ({
  name: `${what} stands still for ${forMs / 1000} s`,
  async harm(cluster, users) {
    const { pid } = await cluster.process(name);
    const atMs = performance.now();
    process.kill(pid!, 'SIGSTOP');
    try {
      await new Promise((resolve) => setTimeout(resolve, forMs));
    } finally {
      process.kill(pid!, 'SIGCONT');
    }
    await users.rounds(ROUNDS);
    return { atMs };
  },
});

export const storeAway = (region: string, what: string, forMs: number): Fault => ({
  name: `the store process with ${what} is dead for ${forMs / 1000} s`,
  async harm(cluster, users) {
    const atMs = performance.now();
    await cluster.ended(`${region}-store`);
    await new Promise((resolve) => setTimeout(resolve, forMs));
    await cluster.running.restart(`${region}-store`);
    await users.rounds(ROUNDS);
    return { atMs };
  },
});

export const slowStore = (region: string, what: string, syncMs: number, forMs: number): Fault => ({
  name: `syncs of the store process with ${what} take ${syncMs} ms for ${forMs / 1000} s`,
  async harm(cluster, users) {
    const { pid } = await cluster.process(`${region}-store`);
    const atMs = performance.now();
    await slowSyncs([pid!], syncMs, () => new Promise((resolve) => setTimeout(resolve, forMs)));
    await users.rounds(ROUNDS);
    return { atMs };
  },
});

/** Each sync of these processes takes so much longer until `meanwhile` has resolved. Needs strace and the right to trace. */
export async function slowSyncs(
  pids: readonly number[],
  syncMs: number,
  meanwhile: () => Promise<unknown>,
): Promise<void> {
  const tracers: ChildProcess[] = [];
  try {
    for (const pid of pids) {
      const inject = `inject=fsync,fdatasync:delay_enter=${syncMs * 1000}`;
      const args = ['-f', '-q', '-e', 'trace=fsync,fdatasync', '-e', inject, '-o', '/dev/null'];
      const tracer = spawn('strace', [...args, '-p', String(pid)], { stdio: ['ignore', 'ignore', 'pipe'] });
      let complaint = '';
      tracer.stderr!.on('data', (chunk) => {
        complaint += String(chunk);
      });
      tracer.once('exit', (code) => {
        if (code) throw new Error(`strace ended: ${complaint}`);
      });
      tracers.push(tracer);
    }
    await meanwhile();
  } finally {
    for (const tracer of tracers) {
      const gone = once(tracer, 'exit');
      tracer.kill('SIGINT');
      await gone;
    }
  }
}
