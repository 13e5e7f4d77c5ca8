/**
 * A cell on etcd for as long as one likes, at a share of what it can do: does its database stay bounded, do times stay
 * flat, without defragmentation?
 *
 *   node --conditions=skein-source bench/etcd-soak.ts [--minutes 30] [--share 0.7] [--members 3] [--clients 512] [--shards 512] [--json]
 *
 * First the peak is measured for ten seconds with 512 clients in a closed loop. Then commands leave on schedule, at the
 * given share of it, whether or not earlier ones have come back; a time counts from the moment its command was due. Each
 * minute gives a row, on standard error as it ends: commands, p50, p99, failures, the largest size of the database (in use,
 * and its file), how many seqs were trimmed from the logs, and how long this process stood still at most.
 */
import { parseArgs } from 'node:util';
import { parseEtcdAddress } from '../src/store/etcd/access.ts';
import { EtcdClient } from '../src/store/etcd/client.ts';
import { CellKeys, endOfPrefix, numberOf } from '../src/store/etcd/keys.ts';
import { io, measureClients, startCell, startPath } from './lib/etcd-path.ts';
import { formatMachine, machineFacts } from './lib/machine.ts';
import { OnSchedule, type ScheduledRow } from './lib/on-schedule.ts';

const { values: options } = parseArgs({
  options: {
    minutes: { type: 'string', default: '30' },
    share: { type: 'string', default: '0.7' },
    members: { type: 'string', default: '3' },
    clients: { type: 'string', default: '512' },
    shards: { type: 'string', default: '512' },
    json: { type: 'boolean', default: false },
  },
});
const minutes = Number(options.minutes);
const share = Number(options.share);
const clients = Number(options.clients);
const shards = Number(options.shards);
const PEAK_S = 10;
const LOOK_MS = 1_000;
const MINUTE_MS = 60_000;
const DRAIN_MS_MAX = 15_000;

interface Row extends ScheduledRow {
  minute: number;
  databaseMb: number;
  fileMb: number;
  trimmedSeqs: number;
}

const machine = machineFacts();
const cell = await startCell(options.members === '1' ? 1 : 3);
const rows: Row[] = [];
let failures: ReadonlyMap<string, number> = new Map();
let peak = 0;
try {
  const path = await startPath(cell.cluster, 'soak');
  const client = new EtcdClient({ io, address: parseEtcdAddress(cell.cluster.address('soak')) });
  await Promise.all(Array.from({ length: shards }, (_, i) => path.add(i)));
  peak = (await measureClients(clients, PEAK_S, (one) => path.add(one % shards))).perSecond;
  const rate = peak * share;
  console.error(`peak ${Math.round(peak)} commands/s; ${minutes} minutes at ${Math.round(rate)}`);

  /** Sum of what all logs were trimmed through. */
  const trimmed = async () => {
    const prefix = new CellKeys('soak', 'cell-us-east-1').trimmed('');
    const { kvs } = await client.range({ key: prefix, range_end: endOfPrefix(prefix) });
    return kvs.reduce((sum, { value }) => sum + numberOf(value), 0);
  };
  let trimmedBefore = await trimmed();
  const load = new OnSchedule(rate, (number) => path.add(number % shards));
  failures = load.failures;
  for (let minute = 1; minute <= Math.ceil(minutes); minute++) {
    let databaseMb = 0;
    let fileMb = 0;
    let nextLookMs = 0;
    const row = await load.until(Math.min(minute, minutes) * MINUTE_MS, () => {
      if (load.elapsedMs < nextLookMs) return;
      nextLookMs = load.elapsedMs + LOOK_MS;
      const pressure = path.cell.pressure();
      databaseMb = Math.max(databaseMb, (pressure?.databaseBytes ?? 0) / 1e6);
      fileMb = Math.max(fileMb, (pressure?.fileBytes ?? 0) / 1e6);
    });
    const trimmedNow = await trimmed();
    rows.push({ ...row, minute, databaseMb, fileMb, trimmedSeqs: trimmedNow - trimmedBefore });
    trimmedBefore = trimmedNow;
    console.error(formatRow(rows.at(-1)!));
  }
  await load.drain(DRAIN_MS_MAX);
  client.close();
  await path.close();
} finally {
  await cell.stop();
}

function formatRow(row: Row): string {
  return [
    String(row.minute).padStart(6),
    String(Math.round(row.perSecond)).padStart(9),
    row.p50Ms.toFixed(1).padStart(8),
    row.p99Ms.toFixed(1).padStart(8),
    String(row.failed).padStart(7),
    String(row.skipped).padStart(8),
    row.databaseMb.toFixed(1).padStart(8),
    row.fileMb.toFixed(1).padStart(8),
    String(row.trimmedSeqs).padStart(10),
    row.stalledMs.toFixed(0).padStart(8),
  ].join(' ');
}

const result = {
  machine: { ...machine, loadAverageAfter: machineFacts().loadAverage },
  members: Number(options.members),
  clients,
  shards,
  share,
  peakPerSecond: peak,
  failures: Object.fromEntries(failures),
  rows,
};
if (options.json) console.log(JSON.stringify(result, null, 2));
else {
  console.log(`${formatMachine(machine)}; peak ${Math.round(peak)} commands/s, then ${share} of it`);
  console.log('minute  commands  p50 ms   p99 ms  failed  skipped  use MB  file MB    trimmed  stall ms');
  for (const row of rows) console.log(formatRow(row));
}
for (const [why, count] of failures) console.error(`${count} failed: ${why}`);
process.exit(0);
