/**
 * Faults of etcd and of the way to it, done to a cluster of real processes while people use it. Each heals what it
 * broke before it resolves.
 */

import type { EtcdWorld, ProxiedEtcd } from './etcd-world.ts';
import { busiestNode, type Fault } from './faults.ts';
import type { Users } from './users.ts';

/** Longer than an election (1 s) and than a lease (3 s). */
const PARTITION_MS = 5_000;
/** How long a member that stands still does so: its followers elect another. */
const STOPPED_MS = 4_000;
/** How long a cluster without any member is away: requests wait at most 8 s at a node. */
const AWAY_MS = 2_000;
const ROUNDS = 6;

type Which = 'control' | 'cell';
const named = { control: 'the control store', cell: 'the cell' } as const;

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** Breaks, waits, heals whatever happens, and waits until everybody got answers again. */
async function broken(etcd: ProxiedEtcd, users: Users, forMs: number, breakIt: () => void): Promise<void> {
  try {
    breakIt();
    await pause(forMs);
  } finally {
    etcd.heal();
  }
  await users.rounds(ROUNDS);
}

async function membersBack(etcd: ProxiedEtcd, users: Users): Promise<void> {
  for (const member of etcd.cluster.members) member.start();
  await Promise.all(etcd.cluster.members.map((member) => member.untilHealthy()));
  await users.rounds(ROUNDS);
}

export const killLeader = (world: EtcdWorld, which: Which): Fault => ({
  name: `kill -9 of the leader of ${named[which]}`,
  async harm(_, users) {
    const etcd = world[which];
    const leader = etcd.cluster.members[await etcd.leader()]!;
    const atMs = performance.now();
    await leader.kill('SIGKILL');
    await users.rounds(ROUNDS);
    await membersBack(etcd, users);
    return { atMs };
  },
});

export const killFollower = (world: EtcdWorld, which: Which): Fault => ({
  name: `kill -9 of a follower of ${named[which]}`,
  async harm(_, users) {
    const etcd = world[which];
    const follower = etcd.cluster.members[((await etcd.leader()) + 1) % 3]!;
    const atMs = performance.now();
    await follower.kill('SIGKILL');
    await users.rounds(ROUNDS);
    await membersBack(etcd, users);
    return { atMs };
  },
});

export const stopLeader = (world: EtcdWorld, which: Which): Fault => ({
  name: `SIGSTOP of the leader of ${named[which]} for ${STOPPED_MS / 1000} s`,
  async harm(_, users) {
    const etcd = world[which];
    const leader = etcd.cluster.members[await etcd.leader()]!;
    const atMs = performance.now();
    await leader.kill('SIGSTOP');
    try {
      await pause(STOPPED_MS);
    } finally {
      await leader.kill('SIGCONT');
    }
    await users.rounds(ROUNDS);
    return { atMs };
  },
});

export const killAllMembers = (world: EtcdWorld, which: Which): Fault => ({
  name: `kill -9 of all members of ${named[which]}, back after ${AWAY_MS / 1000} s`,
  async harm(_, users) {
    const etcd = world[which];
    const atMs = performance.now();
    await etcd.cluster.stop('SIGKILL');
    await pause(AWAY_MS);
    await membersBack(etcd, users);
    return { atMs };
  },
});

export const isolateLeader = (world: EtcdWorld, which: Which): Fault => ({
  name: `partition of the leader of ${named[which]} from its peers for ${PARTITION_MS / 1000} s`,
  async harm(_, users) {
    const etcd = world[which];
    const leader = await etcd.leader();
    const atMs = performance.now();
    await broken(etcd, users, PARTITION_MS, () => etcd.isolate(leader));
    return { atMs };
  },
});

/** Requests arrive and happen; their answers do not come: every outcome is unknown. */
export const loseAnswers = (world: EtcdWorld, which: Which): Fault => ({
  name: `answers of ${named[which]} to one node lost for ${PARTITION_MS / 1000} s`,
  async harm(cluster, users) {
    const etcd = world[which];
    const { name, rooms } = busiestNode(users);
    const { pid } = await cluster.process(name);
    const atMs = performance.now();
    await broken(etcd, users, PARTITION_MS, () => {
      etcd.breakClients({ pids: new Set([pid!]), holdAnswers: true });
    });
    return { atMs, rooms };
  },
});

export const partitionNode = (world: EtcdWorld, which: Which): Fault => ({
  name: `partition of a node from ${named[which]} for ${PARTITION_MS / 1000} s`,
  async harm(cluster, users) {
    const etcd = world[which];
    const { name, rooms } = busiestNode(users);
    const { pid } = await cluster.process(name);
    const atMs = performance.now();
    await broken(etcd, users, PARTITION_MS, () => {
      etcd.breakClients({ pids: new Set([pid!]), holdRequests: true, holdAnswers: true });
    });
    return { atMs, rooms };
  },
});

export const partitionAll = (world: EtcdWorld, which: Which): Fault => ({
  name: `partition of everybody from ${named[which]} for ${PARTITION_MS / 1000} s`,
  async harm(_, users) {
    const etcd = world[which];
    const atMs = performance.now();
    await broken(etcd, users, PARTITION_MS, () => {
      etcd.breakClients({ holdRequests: true, holdAnswers: true });
    });
    return { atMs };
  },
});
