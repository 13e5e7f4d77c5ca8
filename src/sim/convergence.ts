/**
 * After the faults: everything must answer within a bound, alike everywhere, and nothing may be left half done.
 */
import type { ShardId } from '../model/ids.ts';
import { hash32, shardId } from '../model/ids.ts';
import { shardOfKey } from '../model/records.ts';
import type { App } from '../sdk/service.ts';
import type { SimCluster } from './cluster.ts';
import type { History, Violation } from './history.ts';
import { GIVE_UP_MS, isCommandOf, makeRequest, record, type Workload, WorkloadError } from './workload.ts';

/** After the faults end, everything must answer within this, virtual. */
export const SETTLE_MS = 60_000;
/** What is under way when the last order was given must be over after this, virtual. */
const IDLE_MS = 150_000;
const LOOK_AGAIN_MS = 500;

export interface Settled {
  /** What each shard answered, parsed. */
  finals: Map<ShardId, unknown>;
  violations: Violation[];
}

/** Reads every shard at every gateway with the workload's probe: all must answer, and alike. */
export async function settle(
  cluster: SimCluster,
  app: App,
  workload: Workload,
  history: History,
): Promise<Settled> {
  const { world } = cluster;
  const finals = new Map<ShardId, unknown>();
  const violations: Violation[] = [];
  const untilMs = world.nowMs + SETTLE_MS;
  for (const { service, key } of workload.shards) {
    const shard = shardId(service, key);
    const planned = { service, ...workload.probe };
    if (isCommandOf(app, planned))
      throw new WorkloadError(`the probe ${planned.handler} is a command; name a query`);
    const answers = new Map<string, unknown>();
    for (const region of cluster.regions) {
      let isAnswered = false;
      while (!isAnswered && world.nowMs < untilMs) {
        const operation = history.invoke({
          shard,
          kind: 'query',
          handler: planned.handler,
          input: planned.input,
          client: `probe-${region}`,
          invokedMs: world.nowMs,
        });
        const request = makeRequest(shard, planned, false, region, hash32(region));
        const reply = await world.settle(
          Promise.race([cluster.execute(`gateway-${region}`, request), world.sleep(GIVE_UP_MS)]),
        );
        if (reply) record(operation, reply, world.nowMs);
        isAnswered = reply?.status === 200;
        if (isAnswered) answers.set(JSON.stringify(operation.output), operation.output);
        else await world.settle(world.sleep(LOOK_AGAIN_MS));
      }
      if (!isAnswered)
        violations.push({
          rule: 'stuck',
          text: `${shard} does not answer at ${region} after the faults ended`,
        });
    }
    if (answers.size > 1)
      violations.push({
        rule: 'diverged',
        text: `${shard} answers differently: ${[...answers.keys()].join(' | ')}`,
      });
    const [first] = answers.values();
    if (answers.size > 0) finals.set(shard, first);
  }
  return { finals, violations };
}

/** Nobody orders anything any more: migrations end, no replica stays sealed or opening, no shift is left. */
export async function idle(cluster: SimCluster, shards: readonly ShardId[]): Promise<Violation[]> {
  const { world } = cluster;
  const untilMs = world.nowMs + IDLE_MS;
  for (;;) {
    const found = unfinished(cluster, shards);
    if (found.length === 0 || world.nowMs >= untilMs) return found;
    await world.settle(world.sleep(LOOK_AGAIN_MS));
  }
}

function unfinished(cluster: SimCluster, shards: readonly ShardId[]): Violation[] {
  const violations: Violation[] = [];
  const leader = cluster.leader();
  if (!leader) return [{ rule: 'stuck', text: 'no controller leads' }];
  for (const one of leader.executor.list()) {
    if (one.outcome === undefined)
      violations.push({
        rule: 'stuck',
        text: `migration ${one.id} of ${one.shard} is still at ${one.step}: ${one.detail ?? ''}`,
      });
  }
  for (const shard of shards) {
    for (const { node, role } of cluster.replicasOf(shard))
      if (role === 'sealed' || role === 'opening')
        violations.push({ rule: 'stuck', text: `${shard} is still ${role} at ${node}` });
  }
  for (const key of cluster.controlKeys('shift/'))
    violations.push({ rule: 'stuck', text: `the shift of ${shardOfKey(key)} is left` });
  return violations;
}
