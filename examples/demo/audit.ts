/**
 * The audit: everything is killed at once, started cold from what is on disk, and every room is asked what it knows.
 */
import { Pool } from 'undici';
import { type RemoteCluster, startRemoteCluster } from '../../src/supervisor/remote-cluster.ts';
import {
  type AcknowledgementRecord,
  type AuditResult,
  addAudits,
  auditKey,
  type RoomOnDisk,
} from './acknowledgements.ts';
import { ROOMS_APP } from './run-once.ts';

const ROOMS_AT_ONCE = 16;
/** The leases of the killed processes must run out first, and a cold node must load each room. */
const ROOM_DEADLINE_MS = 30_000;
const ROOM_RETRY_MS = 250;

/**
 * Kills `cluster`; nothing of either cluster is left when it resolves. Rejects when a room cannot be read, or when the
 * record does not add up to `acknowledgedCount`, which the load counted by itself: an audit that skipped something
 * must not look clean.
 */
export async function killAndAudit(
  cluster: RemoteCluster,
  options: {
    nodes: number;
    acknowledged: AcknowledgementRecord;
    acknowledgedCount: number;
    onProgress: (text: string) => void;
  },
): Promise<AuditResult> {
  const killed = await cluster.killEverything();
  options.onProgress(`killed ${killed.length} processes with SIGKILL, supervisor and stores among them`);
  const cold = await startRemoteCluster({
    app: ROOMS_APP,
    nodes: options.nodes,
    regions: cluster.regions,
    dataDirectory: cluster.dataDirectory,
    // Nothing moves while we look.
    policy: 'none',
  });
  try {
    options.onProgress('started cold from the files; asking every room');
    const result = await auditRooms(Object.values(cold.gateways)[0]!, options.acknowledged);
    if (result.acknowledged !== options.acknowledgedCount) {
      throw new Error(
        `the audit looked at ${result.acknowledged} acknowledged commands, but ${options.acknowledgedCount} were acknowledged`,
      );
    }
    return result;
  } finally {
    await cold.killAll();
  }
}

export async function auditRooms(gateway: string, acknowledged: AcknowledgementRecord): Promise<AuditResult> {
  const pool = new Pool(gateway, { connections: ROOMS_AT_ONCE });
  let result: AuditResult = { acknowledged: 0, lost: 0, duplicated: 0 };
  const rooms = Object.entries(acknowledged);
  try {
    await Promise.all(
      Array.from({ length: ROOMS_AT_ONCE }, async () => {
        for (let room = rooms.pop(); room; room = rooms.pop()) {
          const [key, people] = room;
          const onDisk = await readRoom(pool, key);
          result = addAudits(result, auditKey(people, onDisk));
        }
      }),
    );
  } finally {
    await pool.destroy();
  }
  return result;
}

/** Asks until the room answers: this is no load, and a room that never answers fails the audit. */
async function readRoom(pool: Pool, key: string): Promise<RoomOnDisk> {
  const deadlineMs = performance.now() + ROOM_DEADLINE_MS;
  for (;;) {
    let failure: string;
    try {
      const reply = await pool.request({ method: 'GET', path: `/room/${key}/audit` });
      if (reply.statusCode === 200) return (await reply.body.json()) as RoomOnDisk;
      failure = `${reply.statusCode} ${await reply.body.text()}`;
    } catch (error) {
      failure = (error as Error).message;
    }
    if (performance.now() > deadlineMs)
      throw new Error(`the audit cannot read room ${key} from disk: ${failure}`);
    await new Promise((resolve) => setTimeout(resolve, ROOM_RETRY_MS));
  }
}
