/**
 * Durable `add` on 1,000 keys with 64 connections: Skein straight to a node and through its gateway, against workerd
 * (SQLite Durable Objects) and Restate on the same machine in the same run.
 *
 *   node --conditions=skein-source bench/peers.ts [--seconds 10] [--peers DIR] [--limits] [--json]
 *
 * DIR holds `workerd/run.sh serve` (port 8787) and `restate/run.sh serve` (port 8080) with their packages installed;
 * without it only Skein is measured, and the table says so. `--limits` adds what the parts do alone: node:http answering
 * the same bytes under the same load, and one store process with batches like those of 64 connections. Restate needs NODE22=path of a Node >= 22.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { realIo } from '../src/io/real.ts';
import { RemoteCellStore } from '../src/store/client.ts';
import { quantile } from './lib/load.ts';
import { formatMachine, machineFacts } from './lib/machine.ts';
import { type Role, Roles } from './lib/roles.ts';
import { type WrkResult, wrk } from './lib/wrk.ts';

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '10' },
    peers: { type: 'string' },
    limits: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
  },
});
const seconds = Number(values.seconds);
/** While one batch of 64 connections becomes durable the next gathers: half of them each. */
const BATCH = 32;
const machine = machineFacts();

interface Row extends WrkResult {
  name: string;
  /** CPU of the servers a request, microseconds. */
  cpuMicros?: number;
}

async function measure(name: string, url: string, roles: Role[] = []): Promise<Row> {
  await wrk(url, { seconds: 3 });
  const before = roles.reduce((sum, role) => sum + role.cpuSeconds(), 0);
  const result = await wrk(url, { seconds });
  const used = roles.reduce((sum, role) => sum + role.cpuSeconds(), 0) - before;
  return { name, ...result, cpuMicros: roles.length > 0 ? (used / result.requests) * 1e6 : undefined };
}

async function skein(): Promise<Row[]> {
  const roles = new Roles();
  try {
    const store = await roles.start('store', [
      '--name',
      'store',
      '--region',
      'us-east-1',
      '--cell',
      'cell-us-east-1',
      '--control-store',
      '--listen',
      '127.0.0.1:21001',
      '--data',
      join(roles.directory, 'store'),
    ]);
    const common = ['--region', 'us-east-1', '--zone', 'us-east-1a', '--control', store.ready.address];
    const node = await roles.start('node', [
      ...common,
      '--name',
      'n1',
      '--app',
      'bench/apps/counter.ts',
      '--listen',
      '127.0.0.1:21002',
      '--http',
      '127.0.0.1:21003',
      '--data',
      join(roles.directory, 'node'),
    ]);
    const direct = await measure('Skein, straight to the node', `http://${node.ready.httpAddress}`, [
      store,
      node,
    ]);
    const gateway = await roles.start('gateway', [
      ...common,
      '--name',
      'g1',
      '--listen',
      '127.0.0.1:21004',
      '--http',
      '127.0.0.1:21005',
      '--data',
      join(roles.directory, 'gateway'),
    ]);
    const through = await measure('Skein, through the gateway', `http://${gateway.ready.httpAddress}`, [
      store,
      node,
      gateway,
    ]);
    return [direct, through];
  } finally {
    await roles.stop();
  }
}

async function httpAlone(): Promise<Row> {
  const roles = new Roles();
  try {
    const server = await roles.startScript(fileURLToPath(new URL('lib/http-floor.mjs', import.meta.url)));
    return await measure('node:http alone, nothing stored', `http://${server.ready.httpAddress}`, [server]);
  } finally {
    await roles.stop();
  }
}

/** Deltas like those of `add`, one batch after the other: what one cell makes durable with this much waiting. */
async function storeAlone(): Promise<Row> {
  const roles = new Roles();
  const io = realIo({ logLevel: 'error' });
  try {
    const store = await roles.start('store', [
      ...['--name', 'store', '--region', 'us-east-1', '--cell', 'cell-us-east-1', '--control-store'],
      ...['--listen', '127.0.0.1:21006', '--data', join(roles.directory, 'store')],
    ]);
    const cell = new RemoteCellStore(io, store.ready.address, { token: 'bench-token', identity: 'bench' });
    const delta = Buffer.alloc(70, 'x');
    const tookMs: number[] = [];
    let seq = 0;
    const batch = async () => {
      seq++;
      const startMs = performance.now();
      const appends = Array.from({ length: BATCH }, (_, i) => {
        return { shard: `counter/k${i}`, epoch: 1, seq, id: `bench.${seq}.${i}`, delta };
      });
      for (const result of await cell.append(appends)) if (!result.ok) throw new Error('refused');
      tookMs.push(performance.now() - startMs);
    };
    const warmUntilMs = performance.now() + 1_000;
    while (performance.now() < warmUntilMs) await batch();
    tookMs.length = 0;
    const cpuBefore = store.cpuSeconds();
    const startMs = performance.now();
    while (performance.now() < startMs + seconds * 1000) await batch();
    const requests = tookMs.length * BATCH;
    const used = store.cpuSeconds() - cpuBefore;
    cell.close();
    return {
      name: `one cell alone, batches of ${BATCH} one after the other`,
      requestsPerSecond: requests / ((performance.now() - startMs) / 1000),
      errors: 0,
      p50Ms: quantile(tookMs, 0.5),
      p99Ms: quantile(tookMs, 0.99),
      p999Ms: quantile(tookMs, 0.999),
      maxMs: quantile(tookMs, 1),
      requests,
      cpuMicros: (used / requests) * 1e6,
    };
  } finally {
    await roles.stop();
  }
}

async function peer(name: string, directory: string, url: string): Promise<Row> {
  const child: ChildProcess = spawn('bash', ['run.sh', 'serve'], {
    cwd: directory,
    stdio: 'ignore',
    detached: true,
    env: { ...process.env, NODE22: process.env.NODE22 ?? process.execPath },
  });
  try {
    await until(
      async () =>
        (
          await fetch(`${url}/counter/k0/add`, {
            method: 'POST',
            body: '1',
            headers: { 'content-type': 'application/json' },
          })
        ).ok,
    );
    return await measure(name, url);
  } finally {
    // The script's own process group: the peer and what it started, nothing else.
    process.kill(-child.pid!, 'SIGKILL');
  }
}

async function until(check: () => Promise<boolean>): Promise<void> {
  for (let i = 0; i < 300; i++) {
    if (await check().catch(() => false)) return;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  throw new Error('the peer did not start within 60 s; run its run.sh by hand to see why');
}

const rows = await skein();
const limits = values.limits ? [await httpAlone(), await storeAlone()] : [];
for (const [name, folder, url] of [
  ['workerd, SQLite Durable Object', 'workerd', 'http://127.0.0.1:8787'],
  ['Restate, virtual object', 'restate', 'http://127.0.0.1:8080'],
] as const) {
  const directory = values.peers && join(values.peers, folder);
  if (directory && existsSync(directory)) rows.push(await peer(name, directory, url));
}

if (values.json) console.log(JSON.stringify({ machine, seconds, rows, limits }, null, 2));
else {
  console.log(formatMachine(machine));
  console.log(
    '| | requests/s | p50 ms | p99 ms | errors | server CPU µs/request |\n|---|---|---|---|---|---|',
  );
  for (const row of [...rows, ...limits]) {
    console.log(
      `| ${row.name} | ${row.requestsPerSecond.toFixed(0)} | ${row.p50Ms.toFixed(2)} | ${row.p99Ms.toFixed(2)} | ${row.errors} | ${row.cpuMicros?.toFixed(0) ?? ''} |`,
    );
  }
  const [direct, through, ...peers] = rows;
  for (const other of peers) {
    console.log(
      `${other.name}: straight ${(direct!.requestsPerSecond / other.requestsPerSecond).toFixed(1)}x, through the gateway ${(through!.requestsPerSecond / other.requestsPerSecond).toFixed(1)}x`,
    );
  }
  if (peers.length === 0) console.log('No peer measured: give --peers DIR.');
}
