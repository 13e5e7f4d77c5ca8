/** The path of a command on etcd, in one process: a node, its group commit, a cell of several members; and the cell alone. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { realIo } from '../../src/io/real.ts';
import { migrationParticipant } from '../../src/node/migration/participant.ts';
import { SkeinNode } from '../../src/node/node.ts';
import { encodeDelta } from '../../src/shard/delta.ts';
import { Diff } from '../../src/shard/patch.ts';
import { loadApp } from '../../src/shard/runtime.ts';
import { parseEtcdAddress } from '../../src/store/etcd/access.ts';
import type { FlushLimits } from '../../src/store/etcd/append-lines.ts';
import { encodeBlock } from '../../src/store/etcd/blocks.ts';
import { EtcdCellStore } from '../../src/store/etcd/cell-store.ts';
import { EtcdClient } from '../../src/store/etcd/client.ts';
import { EtcdControlStore } from '../../src/store/etcd/control-store.ts';
import { CellKeys, digits, nested, put, valueBelow, valueIs } from '../../src/store/etcd/keys.ts';
import { type EtcdCluster, startEtcdCluster } from '../../src/supervisor/etcd-cluster.ts';
import { app } from '../apps/counter.ts';

export const io = realIo({ logLevel: 'error' });
const REGION = 'us-east-1';
const CELL = 'cell-us-east-1';

export interface BenchCell {
  cluster: EtcdCluster;
  stop(): Promise<void>;
}

/** Members with fdatasync on the disk of the temporary directory. */
export async function startCell(members: 1 | 3): Promise<BenchCell> {
  const directory = mkdtempSync(join(tmpdir(), 'skein-bench-etcd-'));
  const cluster = await startEtcdCluster({ random: io.random, dataDirectory: directory, members });
  return {
    cluster,
    async stop() {
      await cluster.stop('SIGKILL');
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

export interface CommandPath {
  cell: EtcdCellStore;
  /** One command, durable when it resolves; rejects where it was not executed. */
  add(key: number): Promise<void>;
  close(): Promise<void>;
}

/** One node whose control store is on the same members, below a root of its own. */
export async function startPath(
  cluster: EtcdCluster,
  root: string,
  options: { flush?: Partial<FlushLimits>; databaseBytesMax?: number } = {},
): Promise<CommandPath> {
  const client = () => new EtcdClient({ io, address: parseEtcdAddress(cluster.address(root)) });
  const control = new EtcdControlStore({ io, client: client() });
  const upkeep = options.databaseBytesMax === undefined ? {} : { databaseBytesMax: options.databaseBytesMax };
  const cell = new EtcdCellStore({ io, client: client(), cell: CELL, flush: options.flush, upkeep });
  const node = new SkeinNode({
    io,
    config: {
      name: 'bench-node',
      processId: `bench-node.${root}`,
      region: REGION,
      zone: `${REGION}a`,
      address: '127.0.0.1:1',
      httpAddress: '',
      homeCell: CELL,
      capacity: { cpu: 1, memoryBytes: 1e9, networkBytesPerSecond: 1e9 },
      usdPerHour: 0,
      token: 'bench',
    },
    runtime: loadApp(app),
    control,
    cells: { cell: () => cell },
    participant: migrationParticipant,
    rssBytes: () => process.memoryUsage.rss(),
  });
  await node.start();
  const input = Buffer.from('1');
  return {
    cell,
    async add(key) {
      const reply = await node.execute({
        shard: `counter/k${key}`,
        handler: 'add',
        input,
        method: 'post',
        origin: REGION,
        userHash: key,
        hops: 0,
      });
      if (reply.status !== 200)
        throw new Error(`status ${reply.status}: ${Buffer.from(reply.body).toString('utf8')}`);
    },
    async close() {
      await node.stop();
      cell.close();
      control.close();
    },
  };
}

/** What a client saw: commands a second and times. */
export interface Measured {
  perSecond: number;
  p50Ms: number;
  p99Ms: number;
  failed: number;
}

/** Closed loop: each client sends its next command when its last one is answered. */
export async function measureClients(
  clients: number,
  seconds: number,
  send: (client: number) => Promise<void>,
): Promise<Measured> {
  const tookMs: number[] = [];
  let failed = 0;
  const startMs = performance.now();
  const endMs = startMs + seconds * 1_000;
  await Promise.all(
    Array.from({ length: clients }, async (_, client) => {
      while (performance.now() < endMs) {
        const sentMs = performance.now();
        try {
          await send(client);
          tookMs.push(performance.now() - sentMs);
        } catch {
          failed++;
        }
      }
    }),
  );
  return summary(tookMs, failed, performance.now() - startMs);
}

export function summary(tookMs: number[], failed: number, elapsedMs: number): Measured {
  const sorted = Float64Array.from(tookMs).sort();
  const at = (q: number) => sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN;
  return { perSecond: (tookMs.length * 1_000) / elapsedMs, p50Ms: at(0.5), p99Ms: at(0.99), failed };
}

/**
 * The cell's own limit: the same nested transactions, of the same bytes, written with nothing else in the way. Each
 * lane has shards of its own and its next request ready when the last is answered.
 */
export async function measureDirect(
  cluster: EtcdCluster,
  root: string,
  options: { seconds: number; lanes: number; shardsPerRequest: number },
): Promise<{ deltasPerSecond: number }> {
  const client = new EtcdClient({ io, address: parseEtcdAddress(cluster.address(root)) });
  const keys = new CellKeys(root, CELL);
  const delta = encodeDelta(1, 1_700_000_000_000, Diff.whole({ value: 7 }).operations, undefined, 0, '7');
  const shardsOf = (lane: number) =>
    Array.from({ length: options.shardsPerRequest }, (_, i) => `counter/d${lane}-${i}`);
  let deltas = 0;
  try {
    for (let lane = 0; lane < options.lanes; lane++) {
      await client.txn({
        success: shardsOf(lane).flatMap((shard) => [
          put(keys.fence(shard), digits(1)),
          put(keys.end(shard), digits(1)),
        ]),
      });
    }
    const startMs = performance.now();
    const endMs = startMs + options.seconds * 1_000;
    await Promise.all(
      Array.from({ length: options.lanes }, async (_, lane) => {
        const shards = shardsOf(lane);
        for (let seq = 2; performance.now() < endMs; seq++) {
          const block = encodeBlock([{ id: `bench-node.root.${seq}`, content: delta }]);
          const answer = await client.txn({
            success: shards.map((shard) =>
              nested(
                [valueBelow(keys.fence(shard), digits(2)), valueIs(keys.end(shard), digits(seq - 1))],
                [put(keys.end(shard), digits(seq)), put(keys.block(shard, seq), block)],
              ),
            ),
          });
          for (const { response_txn } of answer.responses) if (response_txn.succeeded) deltas++;
        }
      }),
    );
    return { deltasPerSecond: (deltas * 1_000) / (performance.now() - startMs) };
  } finally {
    client.close();
  }
}
