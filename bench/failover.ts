/**
 * What users see when a node dies (`kill -9`) and when it is drained (SIGTERM), under load, one region.
 *
 *   node --conditions=skein-source bench/failover.ts [--rate 400] [--keys 200] [--json]
 *
 * Unavailability of a shard is the longest time one of its requests took, of those under way or sent while the node
 * was gone. Clients do not retry.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { startLocalCluster } from '../src/supervisor/local-cluster.ts';
import { quantile, type Sent, startLoad } from './lib/load.ts';
import { formatMachine, machineFacts } from './lib/machine.ts';

const { values } = parseArgs({
  options: {
    rate: { type: 'string', default: '400' },
    keys: { type: 'string', default: '200' },
    json: { type: 'boolean', default: false },
  },
});
const machine = machineFacts();
const directory = mkdtempSync(join(tmpdir(), 'skein-failover-'));
const region = 'us-east-1';
const cluster = await startLocalCluster({
  app: 'bench/apps/counter.ts',
  regions: [region],
  nodes: 3,
  dataDirectory: directory,
  policy: 'static',
});

interface Outcome {
  what: string;
  requests: number;
  failed: number;
  shardsOfTheNode: number;
  unavailableMs: { p50: number; p99: number; max: number };
}

/** Runs load, does `harm` to the node that serves most, and looks at the shards it served. */
async function during(what: string, signal: NodeJS.Signals): Promise<Outcome> {
  const load = startLoad(cluster.gateways[region]!, {
    ratePerSecond: Number(values.rate),
    keys: Number(values.keys),
  });
  await pause(4_000);
  const owner = new Map(load.sent.filter((one) => one.servedBy).map((one) => [one.key, one.servedBy!]));
  const counts = Map.groupBy(owner.values(), (processId) => processId);
  const victim = [...counts].sort((a, b) => b[1].length - a[1].length)[0]![0];
  const victims = new Set([...owner].filter(([, processId]) => processId === victim).map(([key]) => key));
  const atMs = performance.now();
  await cluster.kill(victim.slice(0, victim.lastIndexOf('.')), signal);
  await pause(6_000);
  await load.stop();
  const after = load.sent.filter((one) => victims.has(one.key) && one.sentMs + one.tookMs > atMs);
  const worst = [...Map.groupBy(after, (one: Sent) => one.key).values()].map((ones) =>
    Math.max(...ones.map((one) => one.tookMs)),
  );
  return {
    what,
    requests: load.sent.length,
    failed: load.sent.filter((one) => one.status < 200 || one.status > 299).length,
    shardsOfTheNode: victims.size,
    unavailableMs: { p50: quantile(worst, 0.5), p99: quantile(worst, 0.99), max: Math.max(...worst) },
  };
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

try {
  const outcomes = [await during('kill -9', 'SIGKILL'), await during('drain (SIGTERM)', 'SIGTERM')];
  if (values.json) console.log(JSON.stringify({ machine, outcomes }, null, 2));
  else {
    console.log(formatMachine(machine));
    console.log(
      '| | requests | failed | shards of the node | unavailable ms p50 | p99 | max |\n|---|---|---|---|---|---|---|',
    );
    for (const { what, requests, failed, shardsOfTheNode, unavailableMs: ms } of outcomes) {
      console.log(
        `| ${what} | ${requests} | ${failed} | ${shardsOfTheNode} | ${ms.p50.toFixed(0)} | ${ms.p99.toFixed(0)} | ${ms.max.toFixed(0)} |`,
      );
    }
  }
} finally {
  await cluster.stop();
  rmSync(directory, { recursive: true, force: true });
}
