/**
 * Test plan: primary and standby in one region lose sight of each other while the shard is written on, until its log is
 * trimmed beyond what the standby has. When they see each other again the log cannot fill the gap: the standby must take
 * a snapshot (OWNERSHIP rule 7), follow on from it, and be a primary that lacks nothing when its primary dies.
 */
import { command, defineApp, query, service } from 'skein';
import { expect, it } from 'vitest';
import { AWS_THREE_REGIONS } from '../../src/model/topology.ts';
import type { ShardRuntime } from '../../src/shard/contract.ts';
import { SimCluster } from '../../src/sim/cluster.ts';
import { RandomEngine } from '../../src/sim/random-engine.ts';
import { World } from '../../src/sim/world.ts';

const app = defineApp([
  service(
    'kept',
    { version: 1, state: () => ({ value: 0 }), standbys: 1 },
    {
      add: command((ctx) => {
        ctx.state.value += 1;
        return ctx.state.value;
      }),
      get: query((ctx) => ctx.state.value),
    },
  ),
]);
const SHARD = 'kept/a';
const REGION = 'us-east-1';
const AWAY_MS = 12_000;

it('a standby that fell behind the trim catches up by snapshot, and lacks nothing as a primary', async () => {
  const world = new World('standby behind the trim');
  /** Snapshots that followers were opened with: process and seq. */
  const opened: { processId: string; seq: number }[] = [];
  const seen = (runtime: ShardRuntime, processId: string): ShardRuntime => ({
    manifest: () => runtime.manifest(),
    admission: (request) => runtime.admission(request),
    open: (options) => {
      if (options.role === 'follower') opened.push({ processId, seq: options.opening.snapshot?.seq ?? 0 });
      return runtime.open(options);
    },
  });
  const cluster = new SimCluster({
    world,
    app,
    topology: { ...AWS_THREE_REGIONS, regions: [REGION] },
    engine: () => new RandomEngine(world.random.split('engine'), 0, () => true),
    nodeLimits: { snapshotLogBytesMin: 500 },
    runtime: seen,
  });
  try {
    await world.settle(cluster.start());
    const gateway = `gateway-${REGION}`;
    const ask = (handler: string) =>
      world.settle(
        cluster.execute(gateway, {
          shard: SHARD,
          handler,
          input: new Uint8Array(),
          method: 'post',
          origin: REGION,
          userHash: 1,
          hops: 0,
        }),
      );
    const nodeWith = (role: string) => cluster.replicasOf(SHARD).find((one) => one.role === role)?.node;
    const seqOf = (name: string) => cluster.slots.get(name)!.node!.host.replica(SHARD)!.state.appliedSeq;
    const until = async (holds: () => boolean) => {
      await world.run(world.nowMs + 60_000, holds);
      expect(holds()).toBe(true);
    };

    expect((await ask('add')).status).toBe(200);
    await until(() => nodeWith('follower') !== undefined && seqOf(nodeWith('follower')!) === 1);
    const primary = nodeWith('primary')!;
    const standby = nodeWith('follower')!;

    cluster.partition(primary, standby);
    for (let i = 0; i < 100; i++) expect((await ask('add')).status).toBe(200);
    // Long enough for both to give the silent connection up: what it holds back fills no gap.
    await world.run(world.nowMs + AWAY_MS);
    const behindSeq = seqOf(standby);
    const cell = cluster.slots.get(`store-${REGION}`)!.cell!;
    expect(cell.tail(SHARD, 0, 1).firstSeq).toBeGreaterThan(behindSeq + 1);
    opened.length = 0;

    cluster.heal();
    await until(() => nodeWith('follower') === standby && seqOf(standby) === 101);
    expect(opened).toHaveLength(1);
    expect(opened[0]!.processId.startsWith(standby)).toBe(true);
    expect(opened[0]!.seq).toBeGreaterThan(behindSeq + 1);

    cluster.crash(primary, { forGood: true });
    await until(() => nodeWith('primary') === standby);
    expect(Buffer.from((await ask('get')).body).toString()).toBe('101');
  } finally {
    cluster.close();
  }
}, 60_000);
