/**
 * Test plan: real processes in two regions whose control store and whose cells are three etcd clusters of their own.
 * People write over real HTTP and never retry, while rooms are moved from region to region and back: with each move the
 * shard's home cell follows it (OWNERSHIP rule 9), so its log leaves one etcd and goes on in the other. Nobody sees a
 * failure. At the end a member is killed and started, the processes are started cold, and every room is asked what it
 * knows: nothing acknowledged lost, nothing done twice.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Acknowledgements } from '../../examples/demo/acknowledgements.ts';
import { auditRooms } from '../../examples/demo/audit.ts';
import { ROOMS_APP } from '../../examples/demo/run-once.ts';
import { type AssignmentRecord, CONTROL_KEYS, decodeRecord } from '../../src/model/records.ts';
import { EtcdCellStore } from '../../src/store/etcd/cell-store.ts';
import { EtcdControlStore } from '../../src/store/etcd/control-store.ts';
import { etcdIo, startEtcd, type TestEtcd } from './support/etcd.ts';
import { TestCluster } from './support/test-cluster.ts';
import { Users } from './support/users.ts';

/** Rests on no timing: only a hang ends it. */
const CASE_MS_MAX = 90_000;
const REGIONS = ['us-east-1', 'eu-west-1'];
const ROOMS = 4;
const PEOPLE = 12;
const LOOK_MS = 20;

const acknowledgements = new Acknowledgements();
const etcds: Record<string, TestEtcd> = {};
let cluster: TestCluster;
let control: EtcdControlStore;
const cells = new Map<string, EtcdCellStore>();

beforeAll(async () => {
  const names = ['control', ...REGIONS.map((region) => `cell-${region}`)];
  await Promise.all(
    names.map(async (name) => {
      etcds[name] = await startEtcd();
    }),
  );
  const controlAddress = etcds.control!.cluster.address();
  const file = join(etcds.control!.directory, 'stores.json');
  const records = REGIONS.map((region) => [
    `cell-${region}`,
    { region, address: etcds[`cell-${region}`]!.cluster.address() },
  ]);
  writeFileSync(file, JSON.stringify({ control: controlAddress, cells: Object.fromEntries(records) }));
  cluster = await TestCluster.start({
    app: ROOMS_APP,
    regions: REGIONS,
    nodes: 2,
    policy: 'static',
    emulateRtt: false,
    stores: { controlAddress, file },
    extraArguments: { controller: ['--migration-dwell-ms', '50'] },
  });
  control = new EtcdControlStore({ io: etcdIo, client: etcds.control!.client(), upkeep: false });
  for (const region of REGIONS) {
    const cell = `cell-${region}`;
    cells.set(cell, new EtcdCellStore({ io: etcdIo, client: etcds[cell]!.client(), cell, upkeep: false }));
  }
}, CASE_MS_MAX);

afterAll(async () => {
  await cluster?.end();
  control?.close();
  for (const cell of cells.values()) cell.close();
  await Promise.all(Object.values(etcds).map((etcd) => etcd.stop()));
});

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

async function api<Reply>(path: string, body?: object): Promise<Reply> {
  for (;;) {
    const reply = await fetch(`${cluster.running.api}${path}`, {
      method: body ? 'POST' : 'GET',
      body: body && JSON.stringify(body),
      headers: { 'content-type': 'application/json' },
    });
    if (reply.ok) return (await reply.json()) as Reply;
    const text = await reply.text();
    // Not leading yet, or it has not heard of the shard: asked again.
    if (![404, 503].includes(reply.status) && !text.includes('not-leading'))
      throw new RangeError(`${path}: ${reply.status} ${text}`);
    await pause(50);
  }
}

async function assignment(shard: string): Promise<AssignmentRecord> {
  return decodeRecord<AssignmentRecord>((await control.get(CONTROL_KEYS.own(shard)))!.value);
}

async function move(shard: string, region: string): Promise<void> {
  const { migration: id } = await api<{ migration: string }>(`/v1/shards/${shard}/move`, { region });
  for (;;) {
    const { migrations } = await api<{ migrations: { id: string; outcome?: string; detail?: string }[] }>(
      '/v1/migrations',
    );
    const now = migrations.find((one) => one.id === id);
    if (now?.outcome !== undefined) {
      expect(now.outcome, now.detail).toBe('completed');
      return;
    }
    await pause(LOOK_MS);
  }
}

it(
  'logs follow their shards from cell to cell and back under writes, and no request fails',
  async () => {
    const users = new Users({
      gateways: cluster.running.gateways,
      people: PEOPLE,
      rooms: ROOMS,
      prefix: 'cells',
      thinkMs: 30,
      acknowledgements,
    });
    const shards = Array.from({ length: ROOMS }, (_, i) => `room/cells-${i}`);
    try {
      await users.rounds(3);
      const first = await Promise.all(shards.map(assignment));
      for (let round = 0; round < 2; round++) {
        await Promise.all(
          shards.map(async (shard) => {
            const before = await assignment(shard);
            const target = REGIONS.find((region) => before.cell !== `cell-${region}`)!;
            await move(shard, target);
            const after = await assignment(shard);
            expect(after.cell).toBe(`cell-${target}`);
            expect(after.epoch).toBeGreaterThan(before.epoch);
            // The old cell keeps the fence, and in the end nothing else.
            const old = cells.get(before.cell)!;
            while ((await old.listShards()).includes(shard)) await pause(LOOK_MS);
            expect(await old.raiseFence(shard, 0)).toBe(before.epoch);
            expect(await cells.get(after.cell)!.listShards()).toContain(shard);
          }),
        );
        await users.rounds(2);
      }
      expect((await Promise.all(shards.map(assignment))).map(({ cell }) => cell)).toEqual(
        first.map(({ cell }) => cell),
      );
    } finally {
      await users.stop();
    }
    console.info(`${users.answers.length} requests, ${users.failed.length} failed`);
    expect(users.failed.length, users.describeFailures()).toBe(0);
  },
  CASE_MS_MAX,
);

it(
  'nodes show how full the cells they use and the control store are',
  async () => {
    const shown = async (http: string) => (await fetch(`${http}/metrics`)).text();
    for (const http of Object.values(cluster.running.nodes)) {
      // Each is looked at every second or ten.
      let text = await shown(http);
      while (!/skein_cell_database_bytes\{[^}]*cell="control"/.test(text)) {
        await pause(LOOK_MS);
        text = await shown(http);
      }
      expect(text).toMatch(/skein_cell_database_bytes\{[^}]*cell="cell-(us-east|eu-west)-1"[^}]*\} [1-9]/);
      expect(text).toMatch(/skein_cell_limit_bytes\{[^}]*cell="control"[^}]*\} 1610612736/);
      for (const name of ['back_pressure', 'full'])
        expect(text).toMatch(new RegExp(`skein_cell_${name}\\{[^}]*cell="control"[^}]*\\} 0`));
    }
  },
  CASE_MS_MAX,
);

it(
  'after the death of every process and of a member, nothing acknowledged is lost and nothing happened twice',
  async () => {
    await cluster.running.killAll();
    const [member] = etcds['cell-eu-west-1']!.cluster.members;
    await member!.kill('SIGKILL');
    member!.start();
    await member!.untilHealthy();
    await cluster.startAgain({ policy: 'none' });
    const audit = await auditRooms(cluster.running.gateways['eu-west-1']!, acknowledgements.toJSON());
    expect(audit).toEqual({ acknowledged: acknowledgements.acknowledged, lost: 0, duplicated: 0 });
    expect(acknowledgements.acknowledged).toBeGreaterThan(50);
  },
  CASE_MS_MAX,
);
