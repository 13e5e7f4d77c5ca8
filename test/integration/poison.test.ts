/**
 * Test plan: handlers that misbehave, on six nodes that people use over HTTP. What a throw or a time-out does is local;
 * a handler that loops for ever holds its whole process, which then dies, and must neither take a third node with it nor
 * any command of the people whose rooms were on those nodes. Their rooms are audited in the end.
 */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { auditRooms } from '../../examples/demo/audit.ts';
import { TestCluster } from './support/test-cluster.ts';
import { Users } from './support/users.ts';

const APP = fileURLToPath(new URL('./support/trap-app.ts', import.meta.url));
const BIN = fileURLToPath(new URL('../../bin/skein.mjs', import.meta.url));
const REGION = 'us-east-1';
const CASE_MS_MAX = 60_000;
const PEOPLE = 60;

let cluster: TestCluster;

beforeAll(async () => {
  cluster = await TestCluster.start({ app: APP, regions: [REGION], nodes: 6, policy: 'static' });
}, CASE_MS_MAX);

afterAll(() => cluster?.end());

interface Reply {
  status: number;
  body: unknown;
}

async function ask(shard: string, handler: string, method = 'POST'): Promise<Reply> {
  const reply = await fetch(`${cluster.running.gateways[REGION]}/trap/${shard}/${handler}`, {
    method,
    headers: { 'content-type': 'application/json' },
  });
  return { status: reply.status, body: await reply.json() };
}

async function shown(
  shard: string,
): Promise<{ quarantine?: { quarantined: boolean; handler: string; deaths: string[] } }> {
  const reply = await fetch(`${cluster.running.api}/v1/shards/trap/${shard}`);
  expect(reply.status).toBe(200);
  return reply.json() as Promise<Awaited<ReturnType<typeof shown>>>;
}

/** What a newcomer types. */
function skein(...args: string[]): Promise<{ status: number | null; output: string }> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [BIN, ...args], {
      env: { ...process.env, SKEIN_API: cluster.running.api },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    child.stdout.on('data', (chunk) => {
      output += chunk;
    });
    child.stderr.on('data', (chunk) => {
      output += chunk;
    });
    child.on('close', (status) => resolve({ status, output }));
  });
}

const nodeDeaths = () =>
  cluster.events.filter((event) => event.type === 'exited' && event.role === 'node').length;

describe('a handler that fails alone', () => {
  it.each([
    ['throwing', 500, 'handler-failed'],
    ['rejecting', 500, 'handler-failed'],
    ['neverEnding', 504, 'handler-timeout'],
  ])('%s is answered %i %s, and leaves the state as it was', async (handler, status, code) => {
    const shard = `alone-${handler}`;
    expect((await ask(shard, 'add')).body).toBe(1);
    expect(await ask(shard, handler)).toMatchObject({ status, body: { code } });
    expect(await ask(shard, 'get', 'GET')).toEqual({ status: 200, body: 1 });
    expect((await ask(shard, 'add')).body).toBe(2);
    expect(nodeDeaths()).toBe(0);
  });

  it('holds up only its own shard while it never ends', async () => {
    const stuck = ask('alone-stuck', 'neverEnding');
    expect((await ask('alone-other', 'add')).status).toBe(200);
    expect((await stuck).status).toBe(504);
  });
});

describe('a handler that loops for ever', () => {
  it(
    'kills two nodes of six, is answered as poisoned, and takes nobody else with it',
    async () => {
      const users = new Users({ gateways: cluster.running.gateways, people: PEOPLE, prefix: 'innocent' });
      await users.rounds(5);
      const hosts = [...users.served().values()].map((rooms) => rooms.size);
      expect(hosts.length, 'rooms are on all nodes, so on those that die as well').toBe(6);

      expect((await ask('loop', 'add')).body).toBe(1);
      const poisoned = await ask('loop', 'looping');
      expect(poisoned).toMatchObject({ status: 500, body: { code: 'command-poisoned', handler: 'looping' } });
      await users.rounds(5);
      await users.stop();
      await expect.poll(nodeDeaths, { timeout: 10_000 }).toBe(2);
      expect(users.failed, users.describeFailures()).toEqual([]);

      const audit = await auditRooms(cluster.running.gateways[REGION]!, users.acknowledgements.toJSON());
      expect(audit).toEqual({ acknowledged: users.acknowledgements.acknowledged, lost: 0, duplicated: 0 });
    },
    CASE_MS_MAX,
  );

  it('leaves its shard in quarantine: shown, asked, but not commanded', async () => {
    const { quarantine } = await shown('loop');
    expect(quarantine).toMatchObject({ quarantined: true, handler: 'looping' });
    expect(quarantine!.deaths).toHaveLength(2);
    expect(await ask('loop', 'get', 'GET')).toEqual({ status: 200, body: 1 });
    expect(await ask('loop', 'add')).toMatchObject({ status: 503, body: { code: 'shard-quarantined' } });
    expect(await ask('other', 'add')).toEqual({ status: 200, body: 1 });
    expect((await skein('shard', 'show', 'trap/loop')).output).toContain('quarantined');
  });

  it('`skein shard release` lets it take commands again', async () => {
    const released = await skein('shard', 'release', 'trap/loop');
    expect(released).toMatchObject({ status: 0, output: 'trap/loop takes commands again\n' });
    // The gateway and the node hear of it by their watch.
    await expect.poll(() => ask('loop', 'add').then(({ body }) => body), { timeout: 10_000 }).toBe(2);
    expect((await shown('loop')).quarantine).toBeUndefined();
  });

  it(
    'counts deaths afresh after a release',
    async () => {
      const before = nodeDeaths();
      expect(await ask('loop', 'looping')).toMatchObject({ status: 500, body: { code: 'command-poisoned' } });
      // The supervisor may tell of the second exit after the gateway has answered.
      await expect.poll(nodeDeaths, { timeout: 10_000 }).toBe(before + 2);
      expect((await shown('loop')).quarantine).toMatchObject({ quarantined: true });
    },
    CASE_MS_MAX,
  );
});
