/**
 * Faults of the embedded store that tests do not wait for: stores that are away, slow or stand still for seconds, done
 * to a cluster of real processes (three regions, six nodes) under load, and an audit after a cold start at the end.
 * Prints rows of the table of docs/failures.md; the other faults are in `test/integration/failures.test.ts`.
 *
 *   node --conditions=skein-source bench/faults-embedded.ts [--people 60] [--only TEXT]
 *
 * People number their commands and never retry; any answer but 2xx, and any read older than an earlier one of the same
 * person, is a failure. Needs strace (Debian: apt-get install strace) and root for the slow syncs.
 */
import { parseArgs } from 'node:util';
import { Acknowledgements } from '../examples/demo/acknowledgements.ts';
import { auditRooms } from '../examples/demo/audit.ts';
import { ROOMS_APP } from '../examples/demo/run-once.ts';
import {
  busiestNode,
  type Fault,
  slowStore,
  standsStill,
  storeAway,
  underFault,
} from '../test/integration/support/faults.ts';
import { TestCluster } from '../test/integration/support/test-cluster.ts';
import { formatMachine, machineFacts } from './lib/machine.ts';

const { values } = parseArgs({
  options: { people: { type: 'string', default: '60' }, only: { type: 'string' } },
});
const CELL_REGION = 'eu-west-1';
const CONTROL_REGION = 'us-east-1';
const BOTH = 'the control store and a cell';

/** Longer or shorter than its lease of 3 s. */
const nodeStandsStill = (forMs: number): Fault => ({
  name: `a node stands still for ${forMs / 1000} s`,
  async harm(cluster, users) {
    const { name, rooms } = busiestNode(users);
    return { ...(await standsStill(name, 'a node', forMs).harm(cluster, users)), rooms };
  },
});

const faults: Fault[] = [
  storeAway(CELL_REGION, 'a cell', 4_000),
  storeAway(CONTROL_REGION, BOTH, 4_000),
  nodeStandsStill(1_500),
  nodeStandsStill(5_000),
  standsStill(`${CELL_REGION}-store`, 'the store process with a cell', 2_500),
  standsStill(`${CONTROL_REGION}-store`, `the store process with ${BOTH}`, 3_500),
  standsStill('controller', 'the controller', 6_000),
  slowStore(CELL_REGION, 'a cell', 150, 6_000),
  slowStore(CONTROL_REGION, BOTH, 150, 6_000),
  slowStore(CELL_REGION, 'a cell', 4_000, 6_000),
].filter(({ name }) => values.only === undefined || name.includes(values.only));

const machine = machineFacts();
const acknowledgements = new Acknowledgements();
const cluster = await TestCluster.start({ app: ROOMS_APP, nodes: 6, emulateRtt: false, policy: 'static' });
let failedTotal = 0;
try {
  console.log(`${formatMachine(machine)}\n| fault | requests | failed | longest ms |\n|---|---|---|---|`);
  for (const fault of faults) {
    const outcome = await underFault(cluster, fault, { acknowledgements, people: Number(values.people) });
    const { requests, failed, longestMs, stalledMs, failures } = outcome;
    failedTotal += failed;
    console.log(`| ${fault.name} | ${requests} | ${failed} | ${longestMs.toFixed(0)} |`);
    if (failed > 0) console.error(failures);
    if (stalledMs > 1_000) console.error(`this process itself stood still for ${stalledMs.toFixed(0)} ms`);
  }
  await cluster.running.killAll();
  await cluster.startAgain({ policy: 'none' });
  const audit = await auditRooms(cluster.running.gateways[CELL_REGION]!, acknowledgements.toJSON());
  console.log(
    `audit after a cold start: ${audit.acknowledged} acknowledged, ${audit.lost} lost, ${audit.duplicated} twice`,
  );
  if (audit.lost + audit.duplicated + failedTotal > 0) process.exitCode = 1;
} finally {
  await cluster.end();
}
