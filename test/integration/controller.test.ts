import { describe, expect, it } from 'vitest';
import { controllerMetrics } from '../../src/api/metrics.ts';
import type { Operations } from '../../src/controller/operations.ts';
import { cellFor } from '../../src/model/cells.ts';
import { CONTROL_KEYS, encodeRecord } from '../../src/model/records.ts';
import { addCell, assign, makeController, makeRig, type Rig } from './controller-kit.ts';

/** Two nodes in two regions, one shard in the first, its users in the second. */
async function farFromItsUsers(change: Parameters<typeof makeRig>[0] = {}): Promise<Rig> {
  const rig = await makeRig(change);
  await rig.world.settle(rig.nodes.join('us', 'us-east-1'));
  await rig.world.settle(rig.nodes.join('eu', 'eu-west-1'));
  await rig.world.settle(assign(rig.control, 'room/far', 'us.1'));
  rig.nodes.load.set('room/far', { 'eu-west-1': 20 });
  await rig.world.settle(rig.controller.start());
  return rig;
}

/** What it shows to Prometheus. */
function metricsOf(rig: Rig): Promise<string> {
  const status = () => ({ orphaned: 0, quarantined: 0 });
  const operations = { controller: rig.controller, status } as unknown as Operations;
  return controllerMetrics(operations).metrics();
}

describe('the loop', () => {
  it('decides once a step, with a reason, also when nothing moves', async () => {
    const rig = await farFromItsUsers({ policy: 'static' });
    await rig.world.run(rig.world.nowMs + 10_500);
    const { decisions } = rig.controller;
    expect(decisions.length).toBeGreaterThanOrEqual(9);
    expect(decisions.map((d) => d.tick)).toEqual(decisions.map((_, i) => i + 1));
    expect(decisions.every((d) => d.reason.length > 0)).toBe(true);
    expect(decisions.at(-1)).toMatchObject({ outcome: 'still', mode: 'auto' });
    expect(rig.executor.started).toEqual([]);
  });

  it('in auto moves a shard to its users, once, and then leaves it: unchanged input moves nothing', async () => {
    const rig = await farFromItsUsers();
    await rig.world.run(rig.world.nowMs + 60_000);
    expect(rig.executor.started).toHaveLength(1);
    expect(rig.executor.started[0]).toMatchObject({
      shard: 'room/far',
      source: 'us.1',
      target: 'eu.1',
      cell: 'cell-eu-west-1',
      epoch: 1,
      priority: 'improve',
    });
    const planned = rig.controller.decisions.filter((d) => d.outcome === 'planned');
    expect(planned).toHaveLength(1);
    expect(planned[0]!.plan?.moves[0]?.reason.text).toMatch(/users will wait/);
    expect(rig.controller.decisions.at(-1)?.outcome).toBe('still');
  });

  it('brings the log to a cell of the region that the shard moves to, of several to its own', async () => {
    const rig = await farFromItsUsers();
    const names = ['cell-eu-west-1', 'eu-1', 'eu-2', 'eu-3', 'eu-4'];
    for (const id of names.slice(1)) await rig.world.settle(addCell(rig.control, id, 'eu-west-1'));
    await rig.world.run(rig.world.nowMs + 60_000);
    const cells = new Map(names.map((id) => [id, { region: 'eu-west-1' }]));
    const own = cellFor('room/far', 'cell-us-east-1', 'eu-west-1', cells);
    expect(rig.executor.started.map(({ cell }) => cell)).toEqual([own]);
    // Neither the first nor the last that there is, so that it was chosen.
    expect(names.slice(1, -1)).toContain(own);
  });

  it('tells how its forecasts did against what came, by horizon, also as metrics', async () => {
    const rig = await farFromItsUsers({ policy: 'predictive' });
    await rig.world.run(rig.world.nowMs + 20_000);
    const quality = rig.controller.decisions.at(-1)?.forecastQuality ?? [];
    expect(quality.map(({ aheadS }) => aheadS)).toEqual([1, 8]);
    for (const { coverageP90, lossAgainstNaive } of quality) {
      expect(coverageP90).toBeGreaterThan(0.5);
      expect(lossAgainstNaive).toBeGreaterThanOrEqual(0);
    }
    const text = await metricsOf(rig);
    expect(text).toContain(`skein_forecast_p90_coverage{ahead_s="1"} ${quality[0]!.coverageP90}\n`);
    expect(text).toContain(
      `skein_forecast_loss_against_naive{ahead_s="8"} ${quality[1]!.lossAgainstNaive}\n`,
    );
  });

  it('forecasts the mix of handlers that nodes tell, beside a node of a build that tells none', async () => {
    const rig = await farFromItsUsers({ policy: 'predictive', mode: 'observe' });
    await rig.world.run(rig.world.nowMs + 20_000);
    const view = await rig.world.settle(rig.controller.engine.forecast('room/far'));
    expect(view!.mix!.map(({ handler }) => handler)).toEqual(['get', 'add']);
    expect(view!.mix![0]!.now).toBeCloseTo(0.7);
    expect(view!.mix![0]!.ahead[0]).toBeCloseTo(0.7, 1);
    expect(view!.p50[0]).toBeGreaterThan(0);
    const all = await rig.world.settle(rig.controller.engine.forecast(undefined));
    expect(all).not.toHaveProperty('mix');
  });

  it('prices the bytes of moves by what nodes measured of their copies, and shows it as a metric', async () => {
    const rig = await farFromItsUsers({ mode: 'observe' });
    rig.nodes.stateBytes = 50e6;
    const costs = async () => {
      await rig.world.run(rig.world.nowMs + 5_000);
      const insight = await rig.world.settle(rig.controller.engine.insight('room/far'));
      return insight!.alternatives.find(({ node }) => node === 'eu.1')!.costUsdPerHour;
    };
    const metrics = () => metricsOf(rig);
    const before = await costs();
    expect(await metrics()).toContain('skein_move_cpu_seconds_per_gb 0\n');
    // One node tells; the other is of a build that does not. Less than is enough says nothing.
    const out = { bytes: 12e6, cpuSeconds: 0.12 };
    rig.nodes.copies.set('us.1', { in: { bytes: 0, cpuSeconds: 0 }, out });
    expect(await costs()).toBe(before);
    expect(await metrics()).toContain('skein_move_cpu_seconds_per_gb 0\n');
    rig.nodes.copies.set('us.1', { in: out, out: { bytes: 40e6, cpuSeconds: 0.4 } });
    expect(await costs()).toBeGreaterThan(before * 1.01);
    expect(rig.controller.moveCpuSecondsPerGb).toBeCloseTo(10);
    expect(await metrics()).toMatch(/skein_move_cpu_seconds_per_gb (10|9\.99\d*|10\.00\d*)\n/);
  });

  it('prices the bytes of moves as it is told to, whatever nodes measured', async () => {
    const costs = async (change: Parameters<typeof makeRig>[0]) => {
      const rig = await farFromItsUsers({ mode: 'observe', ...change });
      rig.nodes.stateBytes = 50e6;
      const work = { bytes: 40e6, cpuSeconds: 0.4 };
      rig.nodes.copies.set('us.1', { in: work, out: work });
      await rig.world.run(rig.world.nowMs + 5_000);
      const insight = await rig.world.settle(rig.controller.engine.insight('room/far'));
      const cost = insight!.alternatives.find(({ node }) => node === 'eu.1')!.costUsdPerHour;
      return { cost, price: rig.controller.moveCpuSecondsPerGb };
    };
    const [measured, free, dear] = [
      await costs({}),
      await costs({ moveCpuSecondsPerGb: 0 }),
      await costs({ moveCpuSecondsPerGb: 40 }),
    ];
    expect([measured, free, dear].map(({ price }) => Math.round(price))).toEqual([10, 0, 40]);
    expect(free.cost).toBeLessThan(measured.cost);
    expect(dear.cost).toBeGreaterThan(measured.cost);
  });

  it('moves small states as freely where their bytes have a price', async () => {
    const rig = await farFromItsUsers();
    const work = { bytes: 100e6, cpuSeconds: 20 };
    for (const node of ['us.1', 'eu.1']) rig.nodes.copies.set(node, { in: work, out: work });
    await rig.world.run(rig.world.nowMs + 60_000);
    expect(rig.controller.moveCpuSecondsPerGb).toBeCloseTo(200);
    expect(rig.executor.started.map(({ shard, target }) => [shard, target])).toEqual([['room/far', 'eu.1']]);
  });

  it('in recommend shows the plan and starts nothing; in observe makes none', async () => {
    const recommend = await farFromItsUsers({ mode: 'recommend' });
    await recommend.world.run(recommend.world.nowMs + 10_000);
    expect(recommend.controller.decisions.some((d) => d.outcome === 'recommended' && d.plan)).toBe(true);
    expect(recommend.executor.started).toEqual([]);

    const observe = await farFromItsUsers({ mode: 'observe' });
    await observe.world.run(observe.world.nowMs + 10_000);
    expect(observe.controller.decisions.every((d) => d.plan === undefined)).toBe(true);
    expect(observe.controller.decisions.at(-1)?.forecastRequestsPerSecond?.p50).toBeGreaterThan(0);
    expect(observe.executor.started).toEqual([]);
  });

  it('marks a node that gives no samples instead of waiting for it', async () => {
    const rig = await farFromItsUsers({ policy: 'static' });
    rig.nodes.silent.add('eu');
    await rig.world.run(rig.world.nowMs + 5_000);
    expect(rig.controller.decisions.at(-1)?.reason).toMatch(/no samples from eu/);
  });

  it('gives a skipped decision when a tick comes before the last one is done', async () => {
    const rig = await makeRig();
    let release = () => {};
    const slow = makeController(
      rig,
      { processId: 'slow.1', name: 'slow' },
      {
        tick: () =>
          new Promise((resolve) => {
            release = () =>
              resolve({ outcome: 'still', reason: 'done', tookMs: { forecast: 0, placement: 0 } });
          }),
        insight: async () => undefined,
        forecast: async () => undefined,
        save: async () => new Uint8Array(),
        load: async () => true,
        close: async () => {},
      },
    );
    await rig.world.settle(slow.controller.start());
    await rig.world.run(rig.world.nowMs + 3_500);
    expect(slow.controller.decisions.map((d) => d.outcome)).toEqual(['skipped', 'skipped']);
    expect(slow.controller.decisions[0]?.reason).toMatch(/still being computed/);
    release();
    await rig.world.run(rig.world.nowMs + 10);
    expect(slow.controller.decisions.at(-1)).toMatchObject({ tick: 1, outcome: 'still' });
  });
});

describe('leadership', () => {
  it('lets one of two act; the other takes over when it resigns, and resumes what it left', async () => {
    const rig = await farFromItsUsers({ policy: 'static' });
    const second = makeController(rig, { policy: 'static', processId: 'controller.2', name: 'second' });
    await rig.world.settle(second.controller.start());
    await rig.world.run(rig.world.nowMs + 5_000);
    expect(rig.controller.election.leads).toBe(true);
    expect(second.controller.election.leads).toBe(false);
    expect(second.controller.election.leader?.processId).toBe('controller.1');
    expect(second.controller.decisions).toEqual([]);
    await rig.world.settle(rig.controller.stop());
    await rig.world.run(rig.world.nowMs + 3_000);
    expect(second.controller.election.leads).toBe(true);
    expect(second.executor.resumed).toBe(1);
    expect(second.controller.decisions.length).toBeGreaterThan(0);
  });

  it('stops acting when its lease is revoked, before anyone tells it to', async () => {
    const rig = await farFromItsUsers();
    await rig.world.run(rig.world.nowMs + 500);
    expect(rig.controller.election.leads).toBe(true);
    const key = await rig.world.settle(rig.control.get(CONTROL_KEYS.leader()));
    await rig.world.settle(rig.control.revokeLease(key!.lease!));
    // Another process takes the key: this one may not act until that one is gone.
    await rig.world.settle(
      rig.control.transact({
        compare: [],
        operations: [
          {
            put: CONTROL_KEYS.leader(),
            value: encodeRecord({ processId: 'x.1', name: 'x', address: '', httpAddress: '', sinceMs: 0 }),
          },
        ],
      }),
    );
    await rig.world.run(rig.world.nowMs + 6_000);
    expect(rig.controller.election.leads).toBe(false);
    const before = rig.controller.decisions.length;
    await rig.world.run(rig.world.nowMs + 5_000);
    expect(rig.controller.decisions.length).toBe(before);
    expect(rig.executor.stopped).toBeGreaterThan(0);
  });

  it('goes on from the state that the leader before it saved', async () => {
    const rig = await farFromItsUsers({ policy: 'predictive', stateFile: 'loop.state' });
    await rig.world.run(rig.world.nowMs + 40_000);
    await rig.world.settle(rig.controller.stop());
    const saved = await rig.world.settle(rig.io.disk.read('loop.state'));
    expect(saved?.byteLength).toBeGreaterThan(100);
    const second = makeController(rig, {
      policy: 'predictive',
      stateFile: 'loop.state',
      processId: 'controller.2',
    });
    await rig.world.settle(second.controller.start());
    await rig.world.run(rig.world.nowMs + 500);
    const view = await rig.world.settle(second.controller.engine.forecast(undefined));
    expect(view?.p50[0]).toBeGreaterThan(0);
  });
});

describe('nodes that leave', () => {
  it("opens a dead node's shards on healthy ones at once, in batches, not at the next tick", async () => {
    const rig = await makeRig({ policy: 'static', stepMs: 60_000 });
    const dead = await rig.world.settle(rig.nodes.join('us', 'us-east-1'));
    await rig.world.settle(rig.nodes.join('us2', 'us-east-1'));
    await rig.world.settle(rig.nodes.join('eu', 'eu-west-1'));
    for (let i = 0; i < 150; i++) await rig.world.settle(assign(rig.control, `room/r${i}`, 'us.1'));
    await rig.world.settle(rig.controller.start());
    await rig.world.run(rig.world.nowMs + 1_000);
    await rig.world.settle(rig.nodes.die(dead));
    await rig.world.run(rig.world.nowMs + 1_000);
    const { activated } = rig.nodes;
    expect(activated.flatMap((call) => call.shards).length).toBe(150);
    // The nearest region's healthy node; nothing goes abroad while one is left at home.
    expect(new Set(activated.map((call) => call.address))).toEqual(new Set(['us2:1']));
    expect(Math.max(...activated.map((call) => call.shards.length))).toBeLessThanOrEqual(64);
    expect(rig.controller.view.deadPrimaries()).toEqual([]);
    expect(rig.controller.repairs.at(-1)).toMatchObject({ shards: 150, activated: 150, left: {} });
  });

  it('leaves logs in their cells within the region, and spreads those that leave it over the cells there', async () => {
    const rig = await makeRig({ policy: 'static', mode: 'observe' });
    const us = await rig.world.settle(rig.nodes.join('us', 'us-east-1'));
    const us2 = await rig.world.settle(rig.nodes.join('us2', 'us-east-1'));
    await rig.world.settle(rig.nodes.join('eu', 'eu-west-1'));
    await rig.world.settle(addCell(rig.control, 'us-b', 'us-east-1'));
    await rig.world.settle(addCell(rig.control, 'eu-b', 'eu-west-1'));
    const begun = new Map(
      Array.from({ length: 20 }, (_, i) => [`room/r${i}`, i % 2 ? 'cell-us-east-1' : 'us-b']),
    );
    for (const [shard, cell] of begun) await rig.world.settle(assign(rig.control, shard, 'us.1', 1, cell));
    await rig.world.settle(rig.controller.start());
    await rig.world.run(rig.world.nowMs + 1_000);
    const cellsAfter = () => rig.executor.started.map(({ shard, cell }) => [shard, cell] as const);
    await rig.world.settle(rig.nodes.put({ ...us, state: 'draining' }));
    await rig.world.run(rig.world.nowMs + 5_000);
    expect(new Map(cellsAfter())).toEqual(begun);
    rig.executor.started.length = 0;
    await rig.world.settle(rig.nodes.put({ ...us2, state: 'draining' }));
    await rig.world.run(rig.world.nowMs + 5_000);
    expect(cellsAfter()).toHaveLength(20);
    expect(new Set(cellsAfter().map(([, cell]) => cell))).toEqual(new Set(['cell-eu-west-1', 'eu-b']));
  });

  it('moves the shards of a draining node away, in every mode', async () => {
    const rig = await makeRig({ policy: 'static', mode: 'observe' });
    const us = await rig.world.settle(rig.nodes.join('us', 'us-east-1'));
    await rig.world.settle(rig.nodes.join('us2', 'us-east-1'));
    for (let i = 0; i < 5; i++) await rig.world.settle(assign(rig.control, `room/r${i}`, 'us.1'));
    await rig.world.settle(rig.controller.start());
    await rig.world.run(rig.world.nowMs + 1_000);
    await rig.world.settle(rig.nodes.put({ ...us, state: 'draining' }));
    await rig.world.run(rig.world.nowMs + 2_000);
    expect(rig.executor.started.map((move) => move.priority)).toEqual(new Array(5).fill('drain'));
    expect(rig.controller.view.shardsOf('us.1').size).toBe(0);
    expect(rig.controller.view.shardsOf('us2.1').size).toBe(5);
  });
});
