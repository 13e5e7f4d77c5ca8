/**
 * The fault campaign on etcd: every fault there is, one after the other, on real processes under load, and an audit
 * after a cold start at the end. Prints the table of docs/failures.md.
 *
 *   node --conditions=skein-source bench/faults.ts [--people 40] [--nodes 3] [--rounds 1] [--only TEXT] [--part 1/3]
 *     [--heartbeat-ms 50] [--election-ms 500] [--json]
 *
 * Control store and cell are three etcd members each on this machine, each behind a proxy; the cell's data lie on a
 * file system of their own (a tmpfs, in a mount namespace that ends with this process), so that a disk can be full.
 * People number their commands and never retry; any answer but 2xx, and any read older than an earlier one of the same
 * person, is a failure. A fault during which this process itself stood still for over a second, because the machine
 * stopped it or gave it no time, is done once more, and said so; what was acknowledged meanwhile is audited all the same.
 * `--only` names one fault, or a part of the names of several. With more rounds than one, each fault's longest answers
 * are summed up at the end. Needs root for the file system, and strace (Debian: apt-get install strace) for the slow disk.
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Acknowledgements } from '../examples/demo/acknowledgements.ts';
import { auditRooms } from '../examples/demo/audit.ts';
import { ROOMS_APP } from '../examples/demo/run-once.ts';
import { NEAR_ELECTION_MS, NEAR_HEARTBEAT_MS } from '../src/supervisor/etcd-cluster.ts';
import {
  fillDisk,
  isolateLeader,
  killAllMembers,
  killFollower,
  killLeader,
  loseAnswers,
  partitionAll,
  partitionNode,
  slowDisk,
  stopLeader,
  tornLog,
} from '../test/integration/support/etcd-faults.ts';
import { startEtcdWorld } from '../test/integration/support/etcd-world.ts';
import {
  drainNode,
  type Fault,
  killController,
  killNode,
  killNodeWithoutController,
  pauseNode,
  underFault,
} from '../test/integration/support/faults.ts';
import { formatMachine, machineFacts } from './lib/machine.ts';

const { values } = parseArgs({
  options: {
    people: { type: 'string', default: '40' },
    nodes: { type: 'string', default: '3' },
    rounds: { type: 'string', default: '1' },
    only: { type: 'string' },
    part: { type: 'string', default: '1/1' },
    'heartbeat-ms': { type: 'string', default: String(NEAR_HEARTBEAT_MS) },
    'election-ms': { type: 'string', default: String(NEAR_ELECTION_MS) },
    json: { type: 'boolean', default: false },
  },
});
/** Two segments of a member's log, and its database. */
const DISK_MB = 224;
const STALLED_MS_MAX = 1_000;
const ATTEMPTS_MAX = 5;
const NAMESPACE_VARIABLE = 'SKEIN_BENCH_NAMESPACE';

if (process.env[NAMESPACE_VARIABLE] === undefined) {
  for (const [tool, install] of [
    ['strace', 'apt-get install strace'],
    ['unshare', 'apt-get install util-linux'],
  ] as const)
    if (spawnSync(tool, ['--version']).error) {
      console.error(`bench/faults: ${tool} is missing: ${install}`);
      process.exit(2);
    }
  const child = spawn(
    'unshare',
    [
      '--mount',
      process.execPath,
      ...process.execArgv,
      fileURLToPath(import.meta.url),
      ...process.argv.slice(2),
    ],
    { stdio: 'inherit', env: { ...process.env, [NAMESPACE_VARIABLE]: '1' } },
  );
  child.once('exit', (code) => {
    process.exitCode = code ?? 1;
  });
} else await campaign();

async function campaign(): Promise<void> {
  const machine = machineFacts();
  const [part = 1, parts = 1] = values.part.split('/').map(Number);
  const acknowledgements = new Acknowledgements();
  const world = await startEtcdWorld({
    app: ROOMS_APP,
    nodes: Number(values.nodes),
    timing: { heartbeatMs: Number(values['heartbeat-ms']), electionMs: Number(values['election-ms']) },
    mountCell: (directory) => {
      execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${DISK_MB}m,mode=0700`, 'tmpfs', directory]);
      return () => execFileSync('umount', [directory]);
    },
  });
  const faults: Fault[] = [
    drainNode,
    killNode,
    pauseNode,
    killController,
    killNodeWithoutController,
    ...(['cell', 'control'] as const).flatMap((which) => [
      killLeader(world, which),
      killFollower(world, which),
      stopLeader(world, which),
      isolateLeader(world, which),
      killAllMembers(world, which),
      partitionNode(world, which),
      partitionAll(world, which),
      loseAnswers(world, which),
    ]),
    slowDisk(world),
    fillDisk(world),
    tornLog(world),
  ]
    .filter(
      ({ name }, _, all) =>
        values.only === undefined ||
        (all.some((one) => one.name === values.only) ? name === values.only : name.includes(values.only)),
    )
    // The order stays, and each part has of each kind.
    .filter((_, index) => index % parts === part - 1);
  const rows: {
    fault: string;
    requests: number;
    failed: number;
    longestMs: number;
    storeMs?: number;
    failures: string;
  }[] = [];
  try {
    for (let round = 1; round <= Number(values.rounds); round++) {
      for (const fault of faults) {
        const once = (attempt: number) =>
          underFault(
            world.cluster,
            { ...fault, name: `${fault.name} (${round}.${attempt})` },
            { acknowledgements, people: Number(values.people) },
          );
        let outcome = await once(1);
        for (let attempt = 2; outcome.stalledMs > STALLED_MS_MAX && attempt <= ATTEMPTS_MAX; attempt++) {
          console.error(
            `${fault.name}: this process stood still for ${outcome.stalledMs.toFixed(0)} ms: done again ` +
              `(${outcome.requests} requests, ${outcome.failed} failed ${outcome.failures})`,
          );
          outcome = await once(attempt);
        }
        const { requests, failed, longestMs, storeMs, failures } = outcome;
        rows.push({ fault: fault.name, requests, failed, longestMs, storeMs, failures });
        console.error(
          `${fault.name}: ${requests} requests, ${failed} failed, longest ${longestMs.toFixed(0)} ms${ownOf(storeMs)} ${failures}`,
        );
      }
    }
    const { cluster, control, cell } = world;
    process.kill(cluster.running.pid, 'SIGKILL');
    await Promise.all([control.cluster.stop('SIGKILL'), cell.cluster.stop('SIGKILL')]);
    for (const etcd of [control, cell]) await etcd.cluster.start();
    await cluster.startAgain({ policy: 'none' });
    const audit = await auditRooms(Object.values(cluster.running.gateways)[0]!, acknowledgements.toJSON());
    if (values.json) console.log(JSON.stringify({ machine, rows, audit }, null, 2));
    else {
      console.log(formatMachine(machine));
      console.log('| fault | requests | failed | longest ms |\n|---|---|---|---|');
      for (const row of rows)
        console.log(
          `| ${row.fault} | ${row.requests} | ${row.failed} | ${row.longestMs.toFixed(0)}${ownOf(row.storeMs)} |`,
        );
      if (Number(values.rounds) > 1)
        for (const { name } of faults) {
          const of = rows.filter(({ fault }) => fault === name);
          console.log(
            `\n${of.length} times ${name}: longest ${spread(of.map(({ longestMs }) => longestMs))}`,
          );
          const storeMs = of.flatMap((row) => row.storeMs ?? []);
          if (storeMs.length > 0) console.log(`etcd itself ${spread(storeMs)}`);
        }
      console.log(
        `\naudit after a cold start: ${audit.acknowledged} acknowledged, ${audit.lost} lost, ${audit.duplicated} twice`,
      );
    }
    const failed = rows.reduce((sum, row) => sum + row.failed, 0);
    if (audit.lost + audit.duplicated + failed > 0) process.exitCode = 1;
  } finally {
    await world.end();
  }
}

function spread(values: readonly number[]): string {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share: number) => sorted[Math.ceil(share * sorted.length) - 1]!.toFixed(0);
  return `${sorted[0]!.toFixed(0)} / ${at(0.5)} / ${at(0.9)} / ${at(1)} ms (least, median, nine of ten, most)`;
}

/** What of it is the store's own time, where that was measured. */
function ownOf(storeMs: number | undefined): string {
  return storeMs === undefined ? '' : `, etcd itself ${storeMs.toFixed(0)}`;
}
