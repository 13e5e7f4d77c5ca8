/**
 * What one cell carries: fenced deltas a second by batch size and pipelining, and openings a second with many shards.
 * The store is a process of its own, spoken to over loopback TCP; every figure is of acknowledged, synced work.
 *
 *   node bench/store.ts [--seconds 3] [--shards 100000] [--directory DIR] [--json]
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { realIo } from '../src/io/real.ts';
import { RemoteCellStore } from '../src/store/client.ts';
import type { Append } from '../src/store/store.ts';

const { values: options } = parseArgs({
  options: {
    seconds: { type: 'string', default: '3' },
    shards: { type: 'string', default: '100000' },
    /** Where the database lies: the disk is half of what is measured. */
    directory: { type: 'string', default: tmpdir() },
    address: { type: 'string', default: '127.0.0.1:21971' },
    json: { type: 'boolean', default: false },
  },
});
const runMs = Number(options.seconds) * 1000;
const shardCount = Number(options.shards);
const DELTA_BYTES = 100;
const WRITTEN_SHARDS = 1000;
const TOKEN = 'bench';

const directory = mkdtempSync(join(options.directory, 'skein-bench-store-'));
const source = (path: string) => fileURLToPath(new URL(`../src/${path}`, import.meta.url));
const store = spawn(
  process.execPath,
  [
    '--input-type=module',
    '-e',
    `import { realIo } from ${JSON.stringify(source('io/real.ts'))};
     import { runStoreProcess } from ${JSON.stringify(source('store/process.ts'))};
     const store = await runStoreProcess({
       io: realIo({ logLevel: 'warn' }), address: ${JSON.stringify(options.address)}, token: ${JSON.stringify(TOKEN)},
       dataDirectory: ${JSON.stringify(directory)}, cellId: 'cell-bench', region: 'us-east-1', control: false,
     });
     console.log(store.address);`,
  ],
  { stdio: ['ignore', 'pipe', 'inherit'] },
);

interface Row {
  what: string;
  perSecond: number;
  p50Ms: number;
  p99Ms: number;
}
const rows: Row[] = [];

try {
  const address = await new Promise<string>((resolve, reject) => {
    store.stdout.once('data', (chunk) => resolve(String(chunk).trim()));
    store.once('exit', (code) => reject(new Error(`the store ended with ${code}`)));
  });
  const io = realIo({ logLevel: 'warn' });
  const cell = new RemoteCellStore(io, address, { token: TOKEN, identity: 'bench', timeoutMs: 30_000 });
  const delta = Buffer.alloc(DELTA_BYTES, 'x');
  const ends = new Map<string, number>();
  let nextId = 0;
  let cursor = 0;

  /** The next appends, round robin over the shards, so that no two in flight are of one shard. */
  const nextBatch = (count: number): Append[] => {
    const batch: Append[] = [];
    for (let i = 0; i < count; i++) {
      const shard = `bench/${cursor++ % WRITTEN_SHARDS}`;
      const seq = (ends.get(shard) ?? 0) + 1;
      ends.set(shard, seq);
      batch.push({ shard, epoch: 1, seq, id: `b.${nextId++}`, delta });
    }
    return batch;
  };
  const appends = async (count: number) => {
    for (const result of await cell.append(nextBatch(count)))
      if (!result.ok) throw new Error(`refused: ${JSON.stringify(result)}`);
    return count;
  };

  await measure('deltas, batches of 1000, 2 under way', 2, () => appends(1000));
  await measure('deltas, batches of 100, 4 under way', 4, () => appends(100));
  await measure('deltas, batches of 1, 64 under way', 64, () => appends(1));
  await measure('deltas, batches of 1, one after the other', 1, () => appends(1));

  // Each shard has a snapshot and three deltas after it: what an activation reads.
  const snapshot = { seq: 1, bytes: Buffer.alloc(1024, 's') };
  const prepare = async (from: number, to: number) => {
    const pending: Promise<unknown>[] = [];
    const batch: Append[] = [];
    for (let i = from; i < to; i++) {
      pending.push(cell.putSnapshot(`idle/${i}`, 1, snapshot));
      for (const seq of [2, 3, 4]) batch.push({ shard: `idle/${i}`, epoch: 1, seq, id: `i.${seq}`, delta });
    }
    pending.push(cell.append(batch));
    await Promise.all(pending);
  };
  for (let i = 0; i < shardCount; i += 2000) await prepare(i, Math.min(shardCount, i + 2000));
  let opened = 0;
  await measure(`openings of ${shardCount} shards, 64 under way`, 64, async () => {
    // A stride that is prime to the count visits all in an order no cache likes.
    const opening = await cell.open(`idle/${(opened++ * 7919) % shardCount}`, 2);
    if (opening.end !== 4 || opening.entries.length !== 3)
      throw new Error('an opening is not what was written');
    return 1;
  });
  const databaseBytes = statSync(join(directory, 'cell.sqlite')).size;
  cell.close();

  if (options.json)
    console.log(
      JSON.stringify({ deltaBytes: DELTA_BYTES, writtenShards: WRITTEN_SHARDS, databaseBytes, rows }),
    );
  else {
    console.log(
      `one store process on ${directory}, deltas of ${DELTA_BYTES} bytes over ${WRITTEN_SHARDS} shards`,
    );
    for (const { what, perSecond, p50Ms, p99Ms } of rows) {
      const rate = Math.round(perSecond).toLocaleString('en').padStart(9);
      console.log(`${what.padEnd(46)}${rate}/s   p50 ${p50Ms.toFixed(2)} ms   p99 ${p99Ms.toFixed(2)} ms`);
    }
    console.log(`database: ${(databaseBytes / 1e6).toFixed(0)} MB`);
  }
} finally {
  const gone = new Promise((resolve) => store.once('exit', resolve));
  store.kill('SIGKILL');
  await gone;
  rmSync(directory, { recursive: true, force: true });
}

/** Keeps `underWay` calls going for the run's time and counts what they did; latency is of whole calls. */
async function measure(what: string, underWay: number, call: () => Promise<number>): Promise<void> {
  const latenciesMs: number[] = [];
  let done = 0;
  const startMs = performance.now();
  const worker = async () => {
    while (performance.now() - startMs < runMs) {
      const beforeMs = performance.now();
      const did = await call();
      done += did;
      latenciesMs.push(performance.now() - beforeMs);
    }
  };
  await Promise.all(Array.from({ length: underWay }, worker));
  const tookMs = performance.now() - startMs;
  latenciesMs.sort((a, b) => a - b);
  const quantile = (q: number) =>
    latenciesMs[Math.min(latenciesMs.length - 1, Math.floor(q * latenciesMs.length))] ?? 0;
  rows.push({ what, perSecond: (done / tookMs) * 1000, p50Ms: quantile(0.5), p99Ms: quantile(0.99) });
}
