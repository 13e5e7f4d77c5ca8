/**
 * Test plan: as failures.test.ts, on etcd: control store and cell are three real members each. Leaders are killed,
 * stopped and cut off from their peers, all members are killed, nodes are cut off from their stores, answers are lost;
 * people who never retry see no failure, and after everything has been killed at once, members too, and started cold,
 * nothing acknowledged is lost and nothing happened twice.
 */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Acknowledgements } from '../../examples/demo/acknowledgements.ts';
import { auditRooms } from '../../examples/demo/audit.ts';
import { ROOMS_APP } from '../../examples/demo/run-once.ts';
import {
  isolateLeader,
  killAllMembers,
  killLeader,
  loseAnswers,
  partitionNode,
} from './support/etcd-faults.ts';
import { type EtcdWorld, startEtcdWorld } from './support/etcd-world.ts';
import { type Fault, killNode, pauseNode, underFault } from './support/faults.ts';

/** Rests on no timing: only a hang ends it. */
const CASE_MS_MAX = 90_000;

const acknowledgements = new Acknowledgements();
let world: EtcdWorld;

beforeAll(async () => {
  world = await startEtcdWorld({ app: ROOMS_APP, nodes: 3 });
}, CASE_MS_MAX);

afterAll(() => world?.end());

async function survives(fault: Fault): Promise<void> {
  const outcome = await underFault(world.cluster, fault, { acknowledgements, people: 30 });
  const { requests, failed, unexcused, longestMs, failures } = outcome;
  console.info(
    `${fault.name}: ${requests} requests, ${failed} failed, longest ${longestMs.toFixed(0)} ms ${failures}`,
  );
  expect(unexcused, failures).toBe(0);
}

it("a killed node's shards are taken over", () => survives(killNode), CASE_MS_MAX);

it('a node that stands still answers nothing stale when it goes on', () => survives(pauseNode), CASE_MS_MAX);

it("the cell's leader is killed", () => survives(killLeader(world, 'cell')), CASE_MS_MAX);

it("the control store's leader is killed", () => survives(killLeader(world, 'control')), CASE_MS_MAX);

it("the cell's leader is cut off from its peers", () => survives(isolateLeader(world, 'cell')), CASE_MS_MAX);

it('all members of the cell are killed', () => survives(killAllMembers(world, 'cell')), CASE_MS_MAX);

it('a node is cut off from the control store', () => survives(partitionNode(world, 'control')), CASE_MS_MAX);

it("the cell's answers to a node are lost", () => survives(loseAnswers(world, 'cell')), CASE_MS_MAX);

it(
  'with everything killed at once and started cold, nothing acknowledged is lost and nothing happened twice',
  async () => {
    const { cluster, control, cell } = world;
    process.kill(cluster.running.pid, 'SIGKILL');
    await Promise.all([control.cluster.stop('SIGKILL'), cell.cluster.stop('SIGKILL')]);
    for (const etcd of [control, cell]) for (const member of etcd.cluster.members) member.start();
    for (const etcd of [control, cell])
      await Promise.all(etcd.cluster.members.map((member) => member.untilHealthy()));
    await cluster.startAgain({ policy: 'none' });
    const audit = await auditRooms(cluster.running.gateways['us-east-1']!, acknowledgements.toJSON());
    console.info(`the audit: ${JSON.stringify(audit)}`);
    expect(audit).toEqual({ acknowledged: acknowledgements.acknowledged, lost: 0, duplicated: 0 });
    expect(acknowledgements.acknowledged).toBeGreaterThan(1_000);
  },
  CASE_MS_MAX,
);
