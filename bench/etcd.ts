/**
 * Group commit on etcd: commands a second of 512 concurrent clients through a node, with group commit, with batches of
 * one, and what the cell itself takes when the same nested transactions are written directly.
 *
 *   node --conditions=skein-source bench/etcd.ts [--members 3] [--clients 512] [--shards 512] [--seconds 5] [--rounds 2] [--json]
 *
 * Everything runs on this machine: the members (fdatasync on), the node, and the clients, which call the node's request
 * path in its own process, so HTTP is not part of it. Rounds alternate; the figure of each way is the best of its rounds,
 * and so is that of the direct writes over several sizes of request.
 */
import { parseArgs } from 'node:util';
import { type Measured, measureClients, measureDirect, startCell, startPath } from './lib/etcd-path.ts';
import { formatMachine, machineFacts } from './lib/machine.ts';

const { values: options } = parseArgs({
  options: {
    members: { type: 'string', default: '3' },
    clients: { type: 'string', default: '512' },
    shards: { type: 'string', default: '512' },
    seconds: { type: 'string', default: '5' },
    rounds: { type: 'string', default: '2' },
    json: { type: 'boolean', default: false },
  },
});
const clients = Number(options.clients);
const shards = Number(options.shards);
const seconds = Number(options.seconds);
const machine = machineFacts();
const DIRECT = [
  { lanes: 2, shardsPerRequest: 256 },
  { lanes: 4, shardsPerRequest: 128 },
  { lanes: 4, shardsPerRequest: 512 },
];
const WAYS = {
  group: {},
  one: { shardsPerFlushMax: 1, entriesPerRunMax: 1, flushesInFlightMax: clients },
};

const cell = await startCell(options.members === '1' ? 1 : 3);
const best: Partial<Record<keyof typeof WAYS, Measured>> = {};
let direct = { deltasPerSecond: 0, lanes: 0, shardsPerRequest: 0 };
try {
  for (let round = 0; round < Number(options.rounds); round++) {
    for (const way of Object.keys(WAYS) as (keyof typeof WAYS)[]) {
      const path = await startPath(cell.cluster, `${way}-${round}`, { flush: WAYS[way] });
      // Every shard is claimed and opened before it counts.
      await Promise.all(Array.from({ length: shards }, (_, i) => path.add(i)));
      const measured = await measureClients(clients, seconds, (client) => path.add(client % shards));
      await path.close();
      console.error(`round ${round + 1}, ${way}: ${Math.round(measured.perSecond)} commands/s`);
      if (!best[way] || measured.perSecond > best[way].perSecond) best[way] = measured;
    }
    for (const how of DIRECT) {
      const root = `direct-${round}-${how.lanes}-${how.shardsPerRequest}`;
      const measured = await measureDirect(cell.cluster, root, { seconds: seconds / 2, ...how });
      console.error(
        `round ${round + 1}, direct ${JSON.stringify(how)}: ${Math.round(measured.deltasPerSecond)}/s`,
      );
      if (measured.deltasPerSecond > direct.deltasPerSecond) direct = { ...measured, ...how };
    }
  }
} finally {
  await cell.stop();
}
const group = best.group!;
const one = best.one!;
const result = {
  machine: { ...machine, loadAverageAfter: machineFacts().loadAverage },
  members: Number(options.members),
  clients,
  shards,
  group,
  one,
  direct,
  groupOverOne: group.perSecond / one.perSecond,
  groupOverDirect: group.perSecond / direct.deltasPerSecond,
};
if (options.json) console.log(JSON.stringify(result, null, 2));
else {
  const row = (name: string, { perSecond, p50Ms, p99Ms, failed }: Measured) =>
    `${name.padEnd(28)} ${String(Math.round(perSecond)).padStart(8)}/s  p50 ${p50Ms.toFixed(1)} ms  p99 ${p99Ms.toFixed(1)} ms  failed ${failed}`;
  console.log(`${formatMachine(machine)}; ${result.members} members, ${clients} clients, ${shards} shards`);
  console.log(row('commands, group commit', group));
  console.log(row('commands, batches of one', one));
  console.log(
    `${'the cell alone'.padEnd(28)} ${String(Math.round(direct.deltasPerSecond)).padStart(8)}/s  ${direct.lanes} x ${direct.shardsPerRequest} deltas a request`,
  );
  console.log(`group commit / one at a time: ${result.groupOverOne.toFixed(2)} (bar: 3)`);
  console.log(`group commit / the cell alone: ${result.groupOverDirect.toFixed(2)} (bar: 0.5)`);
}
process.exit(0);
