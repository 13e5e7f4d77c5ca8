/**
 * Test plan: one cluster of real processes (three regions, six nodes) is used by people over real HTTP who never retry;
 * one process after the other is killed or told to end under them. Every case asks that nobody sees a failure that the
 * fault itself does not make unavoidable. At the end the supervisor is killed, everything with it, the cluster is
 * started cold from its files, and every room is asked what it knows: nothing acknowledged may be lost, nothing may
 * have happened twice. How long answers took is printed, not judged: `bench/failover.ts` measures that.
 */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Acknowledgements } from '../../examples/demo/acknowledgements.ts';
import { auditRooms } from '../../examples/demo/audit.ts';
import { ROOMS_APP } from '../../examples/demo/run-once.ts';
import {
  drainGateway,
  drainNode,
  type Fault,
  killController,
  killGateway,
  killGatewayWithoutControl,
  killNode,
  killNodeWithoutController,
  killStore,
  pauseNode,
  underFault,
} from './support/faults.ts';
import { allGone, TestCluster } from './support/test-cluster.ts';
import { Users } from './support/users.ts';

/** Rests on no timing: only a hang ends it. */
const CASE_MS_MAX = 60_000;
/** Longer than a process takes to start on a machine that has much else to do. */
const REQUEST_BUDGET_S = 25;
const CHILDREN_END_MS_MAX = 10_000;

const acknowledgements = new Acknowledgements();
let cluster: TestCluster;

beforeAll(async () => {
  // Nothing moves but what a fault moves.
  cluster = await TestCluster.start({
    app: ROOMS_APP,
    nodes: 6,
    emulateRtt: false,
    policy: 'static',
    extraArguments: { gateway: ['--request-budget-s', String(REQUEST_BUDGET_S)] },
  });
}, CASE_MS_MAX);

afterAll(() => cluster?.end());

async function survives(fault: Fault): Promise<void> {
  const outcome = await underFault(cluster, fault, { acknowledgements });
  const { requests, failed, unexcused, longestMs, failures } = outcome;
  console.info(
    `${fault.name}: ${requests} requests, ${failed} failed, longest ${longestMs.toFixed(0)} ms ${failures}`,
  );
  expect(unexcused, failures).toBe(0);
}

it('a node told to end gives its shards away first: no client error', () => survives(drainNode), CASE_MS_MAX);

it("a killed node's shards are taken over: no client error", () => survives(killNode), CASE_MS_MAX);

it(
  'a node that stands still loses its shards, and answers nothing stale when it goes on',
  () => survives(pauseNode),
  CASE_MS_MAX,
);

it('the data path works without the controller', () => survives(killController), CASE_MS_MAX);

it(
  'claims and failover work while the controller is dead',
  () => survives(killNodeWithoutController),
  CASE_MS_MAX,
);

it(
  "a killed gateway takes only its own clients' connections with it",
  () => survives(killGateway('eu-west-1')),
  CASE_MS_MAX,
);

it(
  'a gateway told to end answers everything it accepted',
  () => survives(drainGateway('ap-northeast-1')),
  CASE_MS_MAX,
);

it(
  'a gateway that starts while the control store is dead serves by its saved routes',
  () => survives(killGatewayWithoutControl('eu-west-1', 'us-east-1')),
  CASE_MS_MAX,
);

it('requests outwait a cell that comes back', () => survives(killStore('eu-west-1', 'a cell')), CASE_MS_MAX);

it(
  'requests outwait the control store that comes back',
  () => survives(killStore('us-east-1', 'the control store and a cell')),
  CASE_MS_MAX,
);

it(
  'with the supervisor everything ends; started cold, nothing acknowledged is lost and nothing happened twice',
  async () => {
    const { gateways, pid } = cluster.running;
    const users = new Users({ gateways, people: 30, prefix: 'supervisor', acknowledgements });
    await users.rounds(5);
    const pids = (await cluster.running.processes()).flatMap((one) => one.pid ?? []);
    expect(pids).toHaveLength(3 + 6 + 3 + 1);
    process.kill(pid, 'SIGKILL');
    await allGone([pid, ...pids], CHILDREN_END_MS_MAX);
    await users.stop();

    await cluster.startAgain({ policy: 'none' });
    const audit = await auditRooms(cluster.running.gateways['eu-west-1']!, acknowledgements.toJSON());
    console.info(`the audit: ${JSON.stringify(audit)}`);
    expect(audit).toEqual({ acknowledged: acknowledgements.acknowledged, lost: 0, duplicated: 0 });
    expect(acknowledgements.acknowledged).toBeGreaterThan(1_000);
  },
  CASE_MS_MAX,
);
