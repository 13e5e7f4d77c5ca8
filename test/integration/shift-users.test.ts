/**
 * Test plan: real processes, two gateways in two regions, one shard that moves between two nodes. A step of its shift
 * ends after so many requests executed at the target, so the test holds each step for as long as it looks: six hundred
 * users ask, twice, at both gateways, which process answered them. In every step each user is always on the same side,
 * at both gateways and both times; who was on the new side stays there; and the share is what the percent says. After
 * the hand-off, what the gateways measured of users' latency has come to the migration's record.
 */
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { hash32 } from '../../src/model/ids.ts';
import { isShifted } from '../../src/routing/choose.ts';
import { TestCluster } from './support/test-cluster.ts';

const CASE_MS_MAX = 180_000;
const USERS = 600;
/** More than a look takes at 25 %, so that no step ends while it is looked at. */
const STEP_SAMPLES = 720;
const AT_ONCE = 48;
const SHARD = 'where/a';
const users = Array.from({ length: USERS }, (_, i) => `user-${i}`);

interface Migration {
  percent: number;
  outcome?: string;
  measured?: Record<string, { count: number; meanMs: number }>;
}

let cluster: TestCluster;

beforeAll(async () => {
  cluster = await TestCluster.start({
    app: fileURLToPath(new URL('./support/where-app.ts', import.meta.url)),
    regions: ['us-east-1', 'eu-west-1'],
    nodes: 4,
    policy: 'static',
    extraArguments: {
      controller: ['--migration-dwell-ms', '60000', '--migration-samples', String(STEP_SAMPLES)],
    },
  });
}, CASE_MS_MAX);

afterAll(() => cluster?.end());

/** Asks for every user, some at once; the pid of the process that answered each. */
async function ask(gateway: string, asking: readonly string[]): Promise<number[]> {
  const answers: number[] = new Array(asking.length);
  let next = 0;
  const work = async () => {
    for (let at = next++; at < asking.length; at = next++) {
      const reply = await fetch(`${gateway}/${SHARD}/who`, { headers: { 'skein-user': asking[at]! } });
      expect(reply.status).toBe(200);
      answers[at] = Number(await reply.text());
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return answers;
}

async function api<Reply>(path: string, body?: object): Promise<Reply> {
  const reply = await fetch(`${cluster.running.api}${path}`, {
    method: body ? 'POST' : 'GET',
    body: body && JSON.stringify(body),
    headers: { 'content-type': 'application/json' },
  });
  if (!reply.ok) throw new Error(`${path}: ${reply.status} ${await reply.text()}`);
  return (await reply.json()) as Reply;
}

async function until<Value>(look: () => Promise<Value | undefined>): Promise<Value> {
  for (;;) {
    const found = await look().catch(() => undefined);
    if (found !== undefined) return found;
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
}

it(
  'keeps every user on one side of a step, the share of users is the percent, and nobody goes back',
  async () => {
    const gateways = Object.values(cluster.running.gateways);
    expect(gateways).toHaveLength(2);
    await ask(gateways[0]!, users.slice(0, 60));
    const shard = await until(() => api<{ node: string; region: string }>(`/v1/shards/${SHARD}`));
    const { nodes } = await api<{ nodes: { name: string; region: string }[] }>('/v1/nodes');
    const target = nodes.find(({ name, region }) => region === shard.region && name !== shard.node)!.name;
    const sourcePid = (await cluster.process(shard.node)).pid;
    const targetPid = (await cluster.process(target)).pid;
    await api(`/v1/shards/${SHARD}/move`, { node: target });

    let shiftedBefore = new Set<string>();
    for (const percent of [1, 5, 25]) {
      const expected = users.filter((user) => isShifted(hash32(user), percent));
      const beyond = users.filter((user) => !isShifted(hash32(user), percent));
      // Both gateways have heard of the step when the user last let in is answered by the target.
      const newest = expected.filter((user) => !shiftedBefore.has(user)).slice(0, 1);
      for (const gateway of gateways)
        await until(async () => ((await ask(gateway, newest))[0] === targetPid ? true : undefined));
      for (const gateway of [...gateways, ...gateways]) {
        const answers = await ask(gateway, users);
        const shifted = new Set(users.filter((_, i) => answers[i] === targetPid));
        expect(answers.filter((pid) => pid !== targetPid && pid !== sourcePid)).toEqual([]);
        expect(shifted).toEqual(new Set(expected));
      }
      const now = new Set(expected);
      expect([...shiftedBefore].filter((user) => !now.has(user))).toEqual([]);
      // Six standard deviations of a binomial: a share that is off by more is no accident.
      const share = percent / 100;
      const spread = 6 * Math.sqrt(USERS * share * (1 - share));
      expect(Math.abs(expected.length - USERS * share)).toBeLessThan(spread);
      expect(beyond.length + expected.length).toBe(USERS);
      shiftedBefore = now;
      const { migrations } = await api<{ migrations: { percent: number }[] }>('/v1/migrations');
      expect(migrations[0]?.percent).toBe(percent);
      // The step ends when the target has executed enough.
      const rest = Array.from({ length: STEP_SAMPLES }, (_, i) => expected[i % expected.length]!);
      await ask(gateways[0]!, rest);
    }
    // At 50 % the target becomes primary. What both gateways then measure comes to the migration, by origin, in peace:
    // the step stays for as long as only these few ask.
    const few = users.filter((user) => isShifted(hash32(user), 50)).slice(0, 10);
    const measured = await until(async () => {
      for (const gateway of gateways) await ask(gateway, few);
      const { migrations } = await api<{ migrations: Migration[] }>('/v1/migrations');
      const found = migrations[0]?.measured ?? {};
      return Object.keys(found).length === 2 ? found : undefined;
    });
    const far = Object.keys(measured).find((region) => region !== shard.region)!;
    expect(measured[shard.region]!.count).toBeGreaterThan(0);
    // The distance between the regions is emulated: 85 ms.
    expect(measured[far]!.meanMs).toBeGreaterThan(80);
    // In the end every user is there.
    const last = await until(async () => {
      await ask(gateways[0]!, users.slice(0, 400));
      const { migrations } = await api<{ migrations: { outcome?: string }[] }>('/v1/migrations');
      return migrations[0]?.outcome;
    });
    expect(last).toBe('completed');
    expect(new Set(await ask(gateways[1]!, users))).toEqual(new Set([targetPid]));
  },
  CASE_MS_MAX,
);
