/**
 * What users see when a node dies (`kill -9`), when its host is lost without a word (SIGSTOP: nobody sees an exit, and
 * its lease runs out), and when it is drained (SIGTERM), under load: how long each shard of that node does not answer,
 * and how long it takes until the last of them has a new owner.
 *
 *   node --conditions=skein-source bench/failover.ts [--rate 800] [--keys 300] [--idle 0] [--regions 1|3]
 *     [--controller yes|no] [--standbys 0] [--state-bytes 0] [--faults kill,stop,drain] [--json]
 *
 * Requests leave on schedule, to each shard several a second; clients do not retry. A shard's unavailability is the
 * longest one of its requests took, of those under way or sent since the signal. `--idle` shards get no request: with a
 * controller they are opened by repair, without one they wait for whoever comes next. With three regions round trips
 * are emulated and the node that dies is far from the control store.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Pool } from 'undici';
import { realIo } from '../src/io/real.ts';
import { type AssignmentRecord, decodeRecord, shardOfKey } from '../src/model/records.ts';
import { AWS_THREE_REGIONS } from '../src/model/topology.ts';
import { connectControlStore } from '../src/supervisor/control.ts';
import { startLocalCluster } from '../src/supervisor/local-cluster.ts';
import { quantile, type Sent, startLoad } from './lib/load.ts';
import { formatMachine, machineFacts } from './lib/machine.ts';

const WARM_MS = 4_000;
const AFTER_MS = 8_000;
const TOUCH_AT_ONCE = 64;
const FILLS_AT_ONCE = 4;
/** So much a command: a delta of more would hold its node for too long. */
const FILL_BYTES = 500_000;

const { values } = parseArgs({
  options: {
    rate: { type: 'string', default: '800' },
    keys: { type: 'string', default: '300' },
    idle: { type: 'string', default: '0' },
    regions: { type: 'string', default: '1' },
    controller: { type: 'string', default: 'yes' },
    standbys: { type: 'string', default: '0' },
    'state-bytes': { type: 'string', default: '0' },
    faults: { type: 'string', default: 'kill,stop,drain' },
    json: { type: 'boolean', default: false },
  },
});
const machine = machineFacts();
const directory = mkdtempSync(join(tmpdir(), 'skein-failover-'));
const regions = AWS_THREE_REGIONS.regions.slice(0, Number(values.regions));
/** Of the people and of the node that dies. */
const region = regions.at(-1)!;
const cluster = await startLocalCluster({
  app: 'bench/apps/kept-counter.ts',
  environment: { BENCH_STANDBYS: values.standbys },
  regions,
  nodes: regions.length === 1 ? 3 : regions.length * 2,
  dataDirectory: directory,
  policy: values.controller === 'no' ? 'none' : 'static',
});
const url = cluster.gateways[region]!;
const control = connectControlStore({
  io: realIo({ logLevel: 'silent' }),
  address: cluster.control,
  token: cluster.token,
  emulatedRegion: regions[0],
});

interface Spread {
  p50: number;
  p99: number;
  max: number;
}

interface Outcome {
  what: string;
  requests: number;
  failed: number;
  shardsOfTheNode: number;
  unavailableMs: Spread;
  /** From the signal to the assignment of each shard to another process, of those that have one. */
  newOwnerMs: Spread;
  withoutNewOwner: number;
}

/** Gives every shard that gets load its state, and resolves when every standby follows. */
async function prepare(): Promise<void> {
  const bytes = Number(values['state-bytes']);
  const pool = new Pool(url, { connections: FILLS_AT_ONCE });
  let next = 0;
  const lane = async () => {
    while (next < Number(values.keys)) {
      const path = `/counter/k${next++}/fill`;
      for (let left = bytes; left > 0; left -= FILL_BYTES) {
        const body = String(Math.min(left, FILL_BYTES));
        const headers = { 'content-type': 'application/json' };
        const reply = await pool.request({ method: 'POST', path, body, headers });
        const text = await reply.body.text();
        if (reply.statusCode !== 200) throw new Error(`a shard could not be filled: ${text}`);
      }
    }
  };
  await Promise.all(Array.from({ length: FILLS_AT_ONCE }, lane));
  await pool.close();
}

/** Resolves when no primary lacks a standby. */
async function standbysFollow(): Promise<void> {
  if (values.standbys === '0') return;
  for (;;) {
    const lacking = await Promise.all(
      Object.values(cluster.nodes).map(async (address) => {
        const text = await (await fetch(`${address}/metrics`)).text();
        return Number(/^skein_node_standbys_lacking\{[^}]*\} (\d+)/m.exec(text)?.[1]);
      }),
    );
    if (lacking.every((count) => count === 0)) return;
    await pause(200);
  }
}

/** Runs load, does `harm` to the node that owns most shards, and looks at the shards it owned. */
async function during(what: string, signal: NodeJS.Signals): Promise<Outcome> {
  await touchIdle();
  const load = startLoad(url, { ratePerSecond: Number(values.rate), keys: Number(values.keys) });
  await pause(WARM_MS);
  await standbysFollow();
  const { entries, revision } = await control.list('own/');
  const owners = new Map(
    entries.map(({ key, value }) => [shardOfKey(key), decodeRecord<AssignmentRecord>(value).primary]),
  );
  const counts = Map.groupBy(owners.values(), (process) => process);
  const victim = [...counts]
    .filter(([process]) => process.startsWith(region))
    .sort((a, b) => b[1].length - a[1].length)[0]![0];
  const victims = new Set([...owners].filter(([, process]) => process === victim).map(([shard]) => shard));
  const newOwnerMs = new Map<string, number>();
  const atMs = performance.now();
  const watch = control.watch(['own/'], revision, (event) => {
    if (event.type !== 'put') return;
    const shard = shardOfKey(event.entry.key);
    const { primary } = decodeRecord<AssignmentRecord>(event.entry.value);
    if (victims.has(shard) && primary !== victim && !newOwnerMs.has(shard))
      newOwnerMs.set(shard, performance.now() - atMs);
  });
  const name = victim.slice(0, victim.lastIndexOf('.'));
  await cluster.kill(name, signal);
  await pause(AFTER_MS);
  await load.stop();
  // What stood still goes for good, so that the next fault finds the cluster whole.
  if (signal === 'SIGSTOP') await cluster.kill(name, 'SIGKILL');
  watch.close();
  const after = load.sent.filter(
    (one) => victims.has(`counter/${one.key}`) && one.sentMs + one.tookMs > atMs,
  );
  const worst = [...Map.groupBy(after, (one: Sent) => one.key).values()].map((ones) =>
    Math.max(...ones.map((one) => one.tookMs)),
  );
  return {
    what,
    requests: load.sent.length,
    failed: load.sent.filter((one) => one.status < 200 || one.status > 299).length,
    shardsOfTheNode: victims.size,
    unavailableMs: spreadOf(worst),
    newOwnerMs: spreadOf([...newOwnerMs.values()]),
    withoutNewOwner: victims.size - newOwnerMs.size,
  };
}

function spreadOf(values: number[]): Spread {
  return { p50: quantile(values, 0.5), p99: quantile(values, 0.99), max: Math.max(...values) };
}

/** Gives shards that get no load an owner. */
async function touchIdle(): Promise<void> {
  const pool = new Pool(url, { connections: TOUCH_AT_ONCE });
  let next = 0;
  const lane = async () => {
    while (next < Number(values.idle)) {
      const reply = await pool.request({
        method: 'POST',
        path: `/counter/idle${next++}/add`,
        body: '1',
        headers: { 'content-type': 'application/json' },
      });
      await reply.body.dump();
    }
  };
  await Promise.all(Array.from({ length: TOUCH_AT_ONCE }, lane));
  await pool.close();
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function format({ p50, p99, max }: Spread): string {
  return [p50, p99, max].map((value) => value.toFixed(0)).join(' / ');
}

try {
  await prepare();
  const faults: Record<string, [what: string, signal: NodeJS.Signals]> = {
    kill: ['kill -9', 'SIGKILL'],
    stop: ['host lost (SIGSTOP)', 'SIGSTOP'],
    drain: ['drain (SIGTERM)', 'SIGTERM'],
  };
  const outcomes: Outcome[] = [];
  for (const name of values.faults.split(',')) {
    const fault = faults[name];
    if (fault === undefined) throw new Error(`--faults takes kill, stop and drain, not ${name}`);
    outcomes.push(await during(...fault));
  }
  if (values.json) console.log(JSON.stringify({ machine, options: values, outcomes }, null, 2));
  else {
    console.log(formatMachine(machine));
    console.log(
      `${regions.length} region(s), controller: ${values.controller}, ${values.rate} requests/s to ${values.keys} shards of ${values['state-bytes']} bytes, ${values.idle} more idle; standbys: ${values.standbys}`,
    );
    console.log(
      '| | requests | failed | shards of the node | unavailable ms p50 / p99 / max | new owner after ms p50 / p99 / max | without new owner |\n|---|---|---|---|---|---|---|',
    );
    for (const one of outcomes) {
      console.log(
        `| ${one.what} | ${one.requests} | ${one.failed} | ${one.shardsOfTheNode} | ${format(one.unavailableMs)} | ${format(one.newOwnerMs)} | ${one.withoutNewOwner} |`,
      );
    }
  }
} finally {
  control.close();
  await cluster.stop();
  rmSync(directory, { recursive: true, force: true });
}
