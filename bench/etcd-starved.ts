/**
 * A cell on etcd whose members suddenly get almost no time, under load that does not wait: is work still done, does
 * anybody lose their shard for it, and is all as before afterwards?
 *
 *   node --conditions=skein-source bench/etcd-starved.ts [--share-of-time 0.02] [--starved-s 25] [--after-s 20] [--share 0.7] [--json]
 *
 * The peak is measured for five seconds with 512 clients in a closed loop; then commands leave on schedule at a share of
 * it: five seconds as it is, then with all members stopped (SIGSTOP) but for their share of each fifth of a second, then as
 * it was. Each five seconds give a row. Beyond 20,000 under way commands are skipped.
 */
import { parseArgs } from 'node:util';
import { measureClients, startCell, startPath } from './lib/etcd-path.ts';
import { formatMachine, machineFacts } from './lib/machine.ts';
import { OnSchedule } from './lib/on-schedule.ts';

const { values } = parseArgs({
  options: {
    'share-of-time': { type: 'string', default: '0.02' },
    'starved-s': { type: 'string', default: '25' },
    'after-s': { type: 'string', default: '20' },
    share: { type: 'string', default: '0.7' },
    json: { type: 'boolean', default: false },
  },
});
const CLIENTS = 512;
const BEFORE_MS = 5_000;
const ROW_MS = 5_000;
const PERIOD_MS = 200;
const TICK_MS = 5;
const shareOfTime = Number(values['share-of-time']);
const starvedUntilMs = BEFORE_MS + Number(values['starved-s']) * 1_000;
const endMs = starvedUntilMs + Number(values['after-s']) * 1_000;

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));
const machine = machineFacts();
const cell = await startCell(3);
const rows: object[] = [];
let ended = false;
try {
  const path = await startPath(cell.cluster, 'starved');
  await Promise.all(Array.from({ length: CLIENTS }, (_, i) => path.add(i)));
  const { perSecond: peak } = await measureClients(CLIENTS, 5, (one) => path.add(one));
  const rate = peak * Number(values.share);
  console.error(`peak ${Math.round(peak)} commands/s, then ${Math.round(rate)}`);

  const load = new OnSchedule(rate, (number) => path.add(number % CLIENTS));
  const isStarved = () => load.elapsedMs >= BEFORE_MS && load.elapsedMs < starvedUntilMs;
  const starving = starve(isStarved);
  for (let atMs = ROW_MS; atMs <= endMs; atMs += ROW_MS) {
    const starved = isStarved();
    const row = await load.until(atMs);
    rows.push({ atS: atMs / 1_000, starved, ...row });
    const { perSecond, p50Ms, p99Ms, failed, skipped, underWay } = row;
    console.error(
      `${atMs / 1_000} s${starved ? ', starved' : ''}: ${perSecond.toFixed(0)} commands/s, p50 ${p50Ms.toFixed(0)} ms, ` +
        `p99 ${p99Ms.toFixed(0)} ms, ${failed} failed, ${skipped} skipped, ${underWay} under way`,
    );
  }
  ended = true;
  await starving;
  await path.close();
  if (values.json) console.log(JSON.stringify({ machine, shareOfTime, peakPerSecond: peak, rows }, null, 2));
  else console.log(formatMachine(machine));
} finally {
  await cell.stop();
}
process.exit(0);

async function starve(isStarved: () => boolean): Promise<void> {
  const { members } = cell.cluster;
  while (!ended) {
    if (!isStarved()) {
      await pause(TICK_MS);
      continue;
    }
    for (const member of members) await member.kill('SIGSTOP');
    await pause(PERIOD_MS * (1 - shareOfTime));
    for (const member of members) await member.kill('SIGCONT');
    await pause(PERIOD_MS * shareOfTime);
  }
}
