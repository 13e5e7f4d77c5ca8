/**
 * Shards that come back from the log: how many a second one node takes over or claims, and what one costs it in memory.
 *
 *   node --conditions=skein-source bench/activation.ts [--shards 100000] [--json]
 *
 * All shards are written first: half of them belong to a process that is dead (a failover: the takeover is a transaction
 * that compares the dead node's key), half have a log and no assignment (a claim). Then one node is told to activate
 * them, and a sample is asked for its state. Store and node are processes of their own; every takeover, claim and
 * opening is durable before it counts. Memory is that of the node's process before and after, garbage collected.
 */

import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { realIo } from '../src/io/real.ts';
import { CONTROL_KEYS, encodeRecord } from '../src/model/records.ts';
import type { NodeCalls } from '../src/node/protocol.ts';
import { encodeDelta } from '../src/shard/delta.ts';
import { Diff } from '../src/shard/patch.ts';
import { RemoteCellStore, RemoteControlStore } from '../src/store/client.ts';
import { RpcClient } from '../src/wire/rpc.ts';
import { formatMachine, machineFacts } from './lib/machine.ts';
import { type Role, Roles } from './lib/roles.ts';

const { values: options } = parseArgs({
  options: {
    shards: { type: 'string', default: '100000' },
    /** Activations the node is asked for in one call. */
    batch: { type: 'string', default: '1000' },
    json: { type: 'boolean', default: false },
  },
});
const shardCount = Number(options.shards);
const batchSize = Number(options.batch);
const TOKEN = 'bench-token';
const REGION = 'us-east-1';
const CELL = 'cell-us-east-1';
const WRITE_BATCH = 1_000;
const SAMPLE = 200;
const machine = machineFacts();

interface Memory {
  rss: number;
  heapUsed: number;
  external: number;
}
interface Row {
  what: string;
  shards: number;
  perSecond: number;
  /** CPU of store and node an activation, microseconds. */
  storeCpuMicros: number;
  nodeCpuMicros: number;
}

/** A counter with one delta: about 100 bytes of log, a state of one number. */
const delta = encodeDelta(1, 1_700_000_000_000, Diff.whole({ value: 7 }).operations, undefined, 0, '7');
const orphan = (i: number) => `counter/orphan-${i}`;
const unowned = (i: number) => `counter/unowned-${i}`;

async function memoryOf(role: Role): Promise<Memory> {
  const lines = createInterface({ input: role.process.stdout! });
  const answer = new Promise<Memory>((resolve) => {
    lines.on('line', (line) => {
      if (line.startsWith('{"memory":')) resolve(JSON.parse(line).memory);
    });
  });
  role.process.kill('SIGUSR2');
  return answer.finally(() => lines.close());
}

async function write(address: string): Promise<void> {
  const io = realIo({ logLevel: 'error' });
  const connection = { token: TOKEN, identity: 'bench', timeoutMs: 30_000 };
  const cell = new RemoteCellStore(io, address, connection);
  const control = new RemoteControlStore(io, address, connection);
  const half = shardCount / 2;
  const record = encodeRecord({ epoch: 1, primary: 'dead.0000000000', cell: CELL, standbys: [] });
  for (let from = 0; from < half; from += WRITE_BATCH / 2) {
    const to = Math.min(half, from + WRITE_BATCH / 2);
    const shards: string[] = [];
    for (let i = from; i < to; i++) shards.push(orphan(i), unowned(i));
    const appended = cell.append(
      shards.map((shard) => ({ shard, epoch: 1, seq: 1, id: `bench.${shard}`, delta })),
    );
    await control.transact({
      compare: [],
      operations: shards
        .filter((shard) => shard.startsWith('counter/orphan'))
        .map((shard) => ({ put: CONTROL_KEYS.own(shard), value: record })),
    });
    if (!(await appended).every((result) => result.ok)) throw new Error('the log was not written');
  }
  cell.close();
  control.close();
}

const roles = new Roles();
try {
  const store = await roles.start('store', [
    ...['--name', 'store', '--region', REGION, '--cell', CELL, '--control-store'],
    ...['--listen', '127.0.0.1:21011', '--data', join(roles.directory, 'store')],
  ]);
  await write(store.ready.address);
  const probe = fileURLToPath(new URL('lib/memory-probe.mjs', import.meta.url));
  const node = await roles.start(
    'node',
    [
      ...['--name', 'n1', '--region', REGION, '--zone', `${REGION}a`, '--control', store.ready.address],
      ...['--app', fileURLToPath(new URL('apps/counter.ts', import.meta.url))],
      ...[
        '--listen',
        '127.0.0.1:21012',
        '--http',
        '127.0.0.1:21013',
        '--data',
        join(roles.directory, 'node'),
      ],
    ],
    ['--expose-gc', '--import', probe],
  );
  const io = realIo({ logLevel: 'error' });
  const client = new RpcClient({
    network: io.network,
    clock: io.clock,
    address: node.ready.address,
    token: TOKEN,
    identity: 'bench',
    timeoutMs: 60_000,
  });

  const activate = async (what: string, from: number, to: number, shardOf: (i: number) => string) => {
    const cpuBefore = [store.cpuSeconds(), node.cpuSeconds()] as const;
    const startMs = performance.now();
    let next = from;
    const worker = async () => {
      while (next < to) {
        const first = next;
        next = Math.min(to, next + batchSize);
        const shards = Array.from({ length: next - first }, (_, i) => shardOf(first + i));
        const { activated, refused } = await client.call<NodeCalls['shard.activate'][1]>('shard.activate', {
          shards,
        });
        if (activated !== shards.length)
          throw new Error(`only ${activated} came to life: ${JSON.stringify(refused).slice(0, 300)}`);
      }
    };
    // Two calls under way: the node never waits for the next order.
    await Promise.all([worker(), worker()]);
    const tookS = (performance.now() - startMs) / 1000;
    const shards = to - from;
    return {
      what,
      shards,
      perSecond: shards / tookS,
      storeCpuMicros: ((store.cpuSeconds() - cpuBefore[0]) / shards) * 1e6,
      nodeCpuMicros: ((node.cpuSeconds() - cpuBefore[1]) / shards) * 1e6,
    } satisfies Row;
  };

  // The first few thousand warm the compiler and fill what every node has once, such as packers and prepared statements.
  const half = shardCount / 2;
  const warm = Math.min(2_000, Math.floor(half / 10));
  const rows: Row[] = [
    await activate('warm-up: taken over from a dead process', 0, warm, orphan),
    await activate('warm-up: claimed', 0, warm, unowned),
  ];
  const before = await memoryOf(node);
  rows.push(await activate('taken over from a dead process', warm, half, orphan));
  rows.push(await activate('claimed', warm, half, unowned));
  const after = await memoryOf(node);
  const resident = (half - warm) * 2;
  const perShard = {
    heapBytes: (after.heapUsed - before.heapUsed) / resident,
    rssBytes: (after.rss - before.rss) / resident,
  };

  // What came back is what was written.
  for (let i = 0; i < SAMPLE; i++) {
    const shard = (i % 2 ? orphan : unowned)(Math.floor((i * half) / SAMPLE));
    const reply = await fetch(`http://${node.ready.httpAddress}/${shard}/get`);
    const value = await reply.text();
    if (value !== '7') throw new Error(`${shard} came back as ${reply.status} ${value}`);
  }
  client.close();

  if (options.json) console.log(JSON.stringify({ machine, shardCount, rows, resident, perShard }, null, 2));
  else {
    console.log(formatMachine(machine));
    console.log('| | shards | activations/s | store CPU µs each | node CPU µs each |\n|---|---|---|---|---|');
    for (const row of rows)
      console.log(
        `| ${row.what} | ${row.shards} | ${row.perSecond.toFixed(0)} | ${row.storeCpuMicros.toFixed(0)} | ${row.nodeCpuMicros.toFixed(0)} |`,
      );
    console.log(
      `A resident idle shard with a state of one number: ${perShard.heapBytes.toFixed(0)} bytes of heap, ${perShard.rssBytes.toFixed(0)} of resident memory (${resident} shards).`,
    );
  }
} finally {
  await roles.stop();
}
