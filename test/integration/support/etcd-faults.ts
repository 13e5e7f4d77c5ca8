/**
 * Faults of etcd and of the way to it, done to a cluster of real processes while people use it. Each heals what it
 * broke before it resolves.
 */

import { closeSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { realIo } from '../../../src/io/real.ts';
import { parseEtcdAddress } from '../../../src/store/etcd/access.ts';
import { EtcdClient } from '../../../src/store/etcd/client.ts';
import { nested, put } from '../../../src/store/etcd/keys.ts';
import type { EtcdMember } from '../../../src/supervisor/etcd-cluster.ts';
import type { EtcdWorld, ProxiedEtcd } from './etcd-world.ts';
import { busiestNode, type Fault, slowSyncs } from './faults.ts';
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

const io = realIo({ logLevel: 'silent' });
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
    const election = await electionOf(etcd, leader);
    const atMs = performance.now();
    await leader.kill('SIGKILL');
    const storeMs = (await election.writable()) - atMs;
    await users.rounds(ROUNDS);
    await membersBack(etcd, users);
    return { atMs, storeMs };
  },
});

/**
 * When the members that are left take a write again, asked directly and all the time: a new write each time, since one
 * that was passed on to the dead leader is never answered.
 */
async function electionOf(
  etcd: ProxiedEtcd,
  leader: EtcdMember,
): Promise<{
  /** Resolves with the moment of the first write that was taken from now on. */
  writable: () => Promise<number>;
}> {
  const clients = etcd.cluster.members
    .filter((member) => member !== leader)
    .map(({ endpoint }) => new EtcdClient({ io, address: parseEtcdAddress(`etcd://${endpoint}/election`) }));
  const write = (client: EtcdClient) =>
    client.txn({ success: [nested([], [put(Buffer.from('election'), '')])] });
  await Promise.all(clients.map(write));
  return {
    async writable() {
      let takenMs: number | undefined;
      while (takenMs === undefined) {
        for (const client of clients)
          write(client).then(
            () => {
              takenMs ??= performance.now();
            },
            () => {},
          );
        await pause(ASK_EVERY_MS);
      }
      for (const client of clients) client.close();
      return takenMs;
    },
  };
}

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

const ASK_EVERY_MS = 20;

/** What a sync takes on a slow disk, and for how long it does. */
const SLOW_SYNC_MS = 150;
const SLOW_MS = 6_000;
const TORN_RECORD_BYTES = 4_096;

/** Every member's syncs take long, as on a disk that others use as well; strace holds them up. */
export const slowDisk = (world: EtcdWorld): Fault => ({
  name: `syncs of all members of the cell take ${SLOW_SYNC_MS} ms for ${SLOW_MS / 1000} s`,
  async harm(_, users) {
    const atMs = performance.now();
    const pids = world.cell.cluster.members.map(({ pid }) => pid!);
    await slowSyncs(pids, SLOW_SYNC_MS, async () => {
      await pause(SLOW_MS);
      await users.rounds(1);
    });
    await users.rounds(ROUNDS);
    return { atMs };
  },
});

/** The leader's disk has no byte left; when there is room again it is started again, if it ended. */
export const fillDisk = (world: EtcdWorld): Fault => ({
  name: 'full disk of the leader of the cell',
  async harm(_, users) {
    const { cell } = world;
    const index = await cell.leader();
    const directory = cell.dataDirectoryOf(index);
    const ballast = join(directory, 'ballast');
    const atMs = performance.now();
    try {
      const file = openSync(ballast, 'w');
      const block = Buffer.alloc(64 * 1024);
      try {
        for (;;) writeSync(file, block);
      } catch (error) {
        if ((error as { code?: string }).code !== 'ENOSPC') throw error;
      } finally {
        closeSync(file);
      }
      await users.rounds(4 * ROUNDS);
    } finally {
      rmSync(ballast, { force: true });
    }
    await membersBack(cell, users);
    return { atMs };
  },
});

/** A member dies while it writes: the last record of its log is half there. */
export const tornLog = (world: EtcdWorld): Fault => ({
  name: 'kill -9 of the leader of the cell, its log torn',
  async harm(_, users) {
    const { cell } = world;
    const index = await cell.leader();
    const leader = cell.cluster.members[index]!;
    const election = await electionOf(cell, leader);
    const atMs = performance.now();
    await leader.kill('SIGKILL');
    const writable = election.writable();
    tearLog(join(cell.dataDirectoryOf(index), 'member', 'wal'));
    const storeMs = (await writable) - atMs;
    await users.rounds(ROUNDS);
    await membersBack(cell, users);
    return { atMs, storeMs };
  },
});

/**
 * Leaves the beginning of a record behind the last one, and zeros where its rest did not reach the disk. A record of
 * etcd's log begins at a multiple of 8 with its length in 8 bytes (etcd, server/wal/encoder.go). A log that was torn and
 * repaired before ends with its last record: it is made longer, as an append would.
 */
function tearLog(directory: string): void {
  const segments = readdirSync(directory).filter((name) => name.endsWith('.wal'));
  const file = join(directory, segments.sort().at(-1)!);
  let bytes = readFileSync(file);
  let end = bytes.length;
  // Segments are allocated whole: what is written ends where the zeros begin.
  while (end > 0 && bytes[end - 1] === 0) end--;
  end = Math.ceil(end / 8) * 8;
  if (end + TORN_RECORD_BYTES > bytes.length)
    bytes = Buffer.concat([bytes, Buffer.alloc(end + TORN_RECORD_BYTES - bytes.length)]);
  bytes.writeBigUInt64LE(BigInt(TORN_RECORD_BYTES), end);
  bytes.fill(0x5a, end + 8, end + 8 + TORN_RECORD_BYTES / 8);
  writeFileSync(file, bytes);
}
