/**
 * Test plan: a cluster of real processes in two regions, their distance emulated, and people over real HTTP who never
 * retry. Rooms are moved between the regions by the admin API: once in peace, seen through 1 to 100 %, and once for
 * each process that can die on the way: the controller in the middle of a shift, the target before the hand-off, the
 * source after it. Each of those moves goes on or is undone, and nobody sees a failure. At the end the cluster is
 * started cold and every room is asked what it knows: nothing acknowledged lost, nothing done twice.
 */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Acknowledgements } from '../../examples/demo/acknowledgements.ts';
import { auditRooms } from '../../examples/demo/audit.ts';
import { ROOMS_APP } from '../../examples/demo/run-once.ts';
import { TestCluster } from './support/test-cluster.ts';
import { Users } from './support/users.ts';

/** Rests on no timing: only a hang ends it. */
const CASE_MS_MAX = 60_000;
/** More than enough for a shift: with fewer, a shard is handed off without one. */
const PEOPLE = 26;
const LOOK_MS = 15;
const ABSENT_LOOKS = 200;

interface Migration {
  id: string;
  shard: string;
  step: string;
  percent: number;
  outcome?: string;
  detail?: string;
}

const acknowledgements = new Acknowledgements();
let cluster: TestCluster;

beforeAll(async () => {
  cluster = await TestCluster.start({
    app: ROOMS_APP,
    regions: ['us-east-1', 'eu-west-1'],
    nodes: 4,
    policy: 'static',
    // Steps long enough to be seen from here, whatever else the machine does.
    extraArguments: { controller: ['--migration-dwell-ms', '300', '--migration-samples', '1000000'] },
  });
}, CASE_MS_MAX);

afterAll(() => cluster?.end());

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

async function api<Reply>(path: string, body?: object): Promise<Reply> {
  for (;;) {
    try {
      const reply = await fetch(`${cluster.running.api}${path}`, {
        method: body ? 'POST' : 'GET',
        body: body && JSON.stringify(body),
        headers: { 'content-type': 'application/json' },
      });
      if (reply.ok) return (await reply.json()) as Reply;
      // Not leading yet, or it has not heard of the shard: asked again.
      const text = await reply.text();
      if (![404, 503].includes(reply.status) && !text.includes('not-leading'))
        throw new RangeError(`${path}: ${reply.status} ${text}`);
    } catch (error) {
      if (error instanceof RangeError) throw error;
    }
    await pause(50);
  }
}

/** A node of the other region, and where the shard is. */
async function ends(shard: string): Promise<{ source: string; target: string }> {
  const { node: source, region } = await api<{ node: string; region: string }>(`/v1/shards/${shard}`);
  const { nodes } = await api<{ nodes: { name: string; region: string }[] }>('/v1/nodes');
  return { source, target: nodes.find((node) => node.region !== region)!.name };
}

/** Follows a move; `when` acts once on the first look that fits. Resolves when nothing of it is left. */
async function moved(
  shard: string,
  target: string,
  when?: { fits: (migration: Migration) => boolean; act: () => Promise<unknown> },
): Promise<{ seen: Migration[]; last: Migration | undefined }> {
  const { migration: id } = await api<{ migration: string }>(`/v1/shards/${shard}/move`, { node: target });
  const seen: Migration[] = [];
  let acted = when === undefined;
  let absent = 0;
  for (;;) {
    const { migrations } = await api<{ migrations: Migration[] }>('/v1/migrations');
    const now = migrations.find((one) => one.id === id);
    if (now) seen.push(now);
    if (now && !acted && when!.fits(now)) {
      acted = true;
      await when!.act();
    }
    absent = now === undefined ? absent + 1 : 0;
    // A controller that took over shows what it resumed, which takes a moment, and not what had ended before.
    if (absent >= ABSENT_LOOKS || now?.outcome !== undefined) return { seen, last: now };
    await pause(LOOK_MS);
  }
}

async function underLoad<Result>(prefix: string, act: (shard: string) => Promise<Result>): Promise<Result> {
  const users = new Users({
    gateways: cluster.running.gateways,
    people: PEOPLE,
    rooms: 1,
    prefix,
    thinkMs: 40,
    acknowledgements,
  });
  try {
    await users.rounds(3);
    const result = await act(`room/${prefix}-0`);
    await users.rounds(3);
    return result;
  } finally {
    await users.stop();
    console.info(`${prefix}: ${users.answers.length} requests, ${users.failed.length} failed`);
    expect(users.failed.length, users.describeFailures()).toBe(0);
  }
}

it(
  'a shift between regions goes from 1 to 100 % and no request fails',
  async () => {
    await underLoad('shift', async (shard) => {
      const { target } = await ends(shard);
      const { seen, last } = await moved(shard, target);
      expect(last?.outcome, last?.detail).toBe('completed');
      const percents = seen.map(({ percent }) => percent);
      expect(percents.filter((percent, i) => percent < (percents[i - 1] ?? 0))).toEqual([]);
      for (const percent of [1, 5, 25, 50, 100]) expect(percents).toContain(percent);
      expect((await ends(shard)).source).toBe(target);
    });
  },
  CASE_MS_MAX,
);

it(
  'a controller that dies in the middle of a shift is followed by one that goes on',
  async () => {
    await underLoad('controller', async (shard) => {
      const { source, target } = await ends(shard);
      const { last } = await moved(shard, target, {
        fits: ({ percent }) => percent >= 5,
        act: () => cluster.killed('controller'),
      });
      // Taken up from its record; what it had measured is gone with the old one, so it may also be undone.
      expect(['completed', 'rolledBack'], last?.detail).toContain(last?.outcome);
      expect((await ends(shard)).source).toBe(last?.outcome === 'completed' ? target : source);
    });
  },
  CASE_MS_MAX,
);

it(
  'a target that dies before the hand-off leaves the shard where it is',
  async () => {
    await underLoad('target', async (shard) => {
      const { source, target } = await ends(shard);
      const { last } = await moved(shard, target, {
        fits: ({ step, percent }) => step === 'shifting' && percent >= 1,
        act: () => cluster.killed(target),
      });
      expect(last?.outcome).not.toBe('completed');
      expect((await ends(shard)).source).toBe(source);
    });
  },
  CASE_MS_MAX,
);

it(
  'a source that dies after the hand-off leaves the shard where it went',
  async () => {
    await underLoad('source', async (shard) => {
      const { source, target } = await ends(shard);
      const { last } = await moved(shard, target, {
        fits: ({ step }) => step === 'shifting-after',
        act: () => cluster.killed(source),
      });
      expect(last?.outcome, last?.detail).toBe('completed');
      expect((await ends(shard)).source).toBe(target);
    });
  },
  CASE_MS_MAX,
);

it(
  'started cold, nothing acknowledged is lost and nothing happened twice',
  async () => {
    await cluster.running.killAll();
    await cluster.startAgain({ policy: 'none' });
    const audit = await auditRooms(cluster.running.gateways['eu-west-1']!, acknowledgements.toJSON());
    expect(audit).toEqual({ acknowledged: acknowledgements.acknowledged, lost: 0, duplicated: 0 });
    expect(acknowledgements.acknowledged).toBeGreaterThan(500);
  },
  CASE_MS_MAX,
);
