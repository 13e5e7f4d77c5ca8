import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { NODE_IN_FLIGHT_MAX_DEFAULT } from '../../src/gateway/gateway.ts';
import { TRIES_MAX } from '../../src/gateway/retry.ts';
import { type ErrorCode, parseProblem, problem } from '../../src/model/errors.ts';
import { CONTROL_KEYS } from '../../src/model/records.ts';
import type { ShardReply } from '../../src/model/request.ts';
import { GatewayWorld, MemoryControl, request } from './gateway-world.ts';

let world: GatewayWorld;
beforeEach(() => {
  world = new GatewayWorld();
});
afterEach(() => world.stop());

const codeOf = (reply: ShardReply) => parseProblem(Buffer.from(reply.body).toString())?.code;
const refusal = (code: ErrorCode): ShardReply => ({ ...problem(code, 'test'), retryAfterS: 1 });

describe('routing', () => {
  it('sends to the primary, and splits the queries of users by the percent of a shift', async () => {
    const [a, b] = [await world.node('a.1'), await world.node('b.1', 'us-east-1')];
    world.own('room/x', a);
    const gateway = await world.gateway();
    expect((await gateway.execute(request('room/x'))).servedBy).toBe('a.1');
    const users = Array.from({ length: 200 }, (_, u) => u * 50);
    const sides = async () => {
      const replies = await Promise.all(
        users.map((userHash) =>
          gateway.execute(request('room/x', { userHash, method: 'get', handler: 'get' })),
        ),
      );
      return replies.map((reply) => reply.servedBy);
    };
    let before: (string | undefined)[] = users.map(() => 'a.1');
    for (const percent of [1, 25, 50, 100]) {
      const shift = { migration: 'm', from: 'a.1', to: 'b.1', percent };
      world.control.put(CONTROL_KEYS.shift('room/x'), shift);
      const now = await sides();
      expect(now.filter((side) => side === 'b.1')).toHaveLength(users.length * (percent / 100));
      now.forEach((side, u) => {
        if (before[u] === 'b.1') expect(side).toBe('b.1');
      });
      before = now;
      // Commands have one place at every percent.
      expect((await gateway.execute(request('room/x', { userHash: 0 }))).servedBy).toBe('a.1');
    }
    world.control.remove(CONTROL_KEYS.shift('room/x'));
    expect(new Set(await sides())).toEqual(new Set(['a.1']));
    expect(b.got.length).toBeGreaterThan(0);
  });

  it('chooses the same node for an unknown shard at every gateway of a region', async () => {
    for (const id of ['a.1', 'b.1', 'c.1']) await world.node(id);
    await world.node('far.1', 'us-east-1');
    const [one, other] = [await world.gateway(), await world.gateway()];
    const used = new Set<string>();
    for (let k = 0; k < 30; k++) {
      const replies = await Promise.all([one, other].map((gateway) => gateway.execute(request(`room/${k}`))));
      expect(replies[0]!.servedBy).toBe(replies[1]!.servedBy);
      used.add(replies[0]!.servedBy!);
    }
    expect([...used].sort()).toEqual(['a.1', 'b.1', 'c.1']);
  });

  it('looks a miss up once, however many wait for it, and not at all where it knows every assignment', async () => {
    const [a, b] = [await world.node('a.1'), await world.node('b.1')];
    for (let k = 0; k < 5; k++) world.own(`room/${k}`, b);
    const small = await world.gateway({ assignmentsMax: 2 });
    world.own('room/late', a);
    const replies = await Promise.all(Array.from({ length: 20 }, () => small.execute(request('room/late'))));
    expect(new Set(replies.map((reply) => reply.servedBy))).toEqual(new Set(['a.1']));
    expect(world.control.reads).toEqual([CONTROL_KEYS.own('room/late')]);
    const roomy = await world.gateway();
    await expect.poll(() => roomy.table.complete).toBe(true);
    await roomy.execute(request('room/unknown'));
    expect(world.control.reads).toHaveLength(1);
  });

  it('follows 421 and goes there directly afterwards', async () => {
    const [a, b] = [await world.node('a.1'), await world.node('b.1')];
    world.own('room/x', a);
    const gateway = await world.gateway();
    a.script = () => ({
      ...refusal('moved'),
      moved: { primary: 'b.1', epoch: 2, version: 99 },
    });
    b.script = () => b.reply({ epoch: 2 });
    expect((await gateway.execute(request('room/x'))).servedBy).toBe('b.1');
    expect((await gateway.execute(request('room/x'))).servedBy).toBe('b.1');
    expect(a.got).toHaveLength(1);
  });

  it('goes ahead of a move where a 421 tells it to, and learns no route from that', async () => {
    const [a, b] = [await world.node('a.1'), await world.node('b.1')];
    world.own('room/x', a);
    const gateway = await world.gateway();
    a.script = () => ({
      ...refusal('moved'),
      moved: { primary: 'b.1', epoch: 2, version: 99, ahead: true },
    });
    // The move comes to nothing: b passes the request back to a, which answers.
    b.script = () => b.reply({ servedBy: 'a.1', epoch: 1 });
    expect((await gateway.execute(request('room/x'))).servedBy).toBe('a.1');
    expect(b.got).toMatchObject([{ awaits: 2, hops: 0, idempotency: a.got[0]!.idempotency }]);
    a.script = () => a.reply();
    expect((await gateway.execute(request('room/x'))).servedBy).toBe('a.1');
    expect([a.got.length, b.got.length]).toEqual([2, 1]);
  });

  it('learns a new owner from a forwarded command, but nothing from a query', async () => {
    const [a, b] = [await world.node('a.1'), await world.node('b.1')];
    world.own('room/x', a);
    const gateway = await world.gateway();
    a.script = () => a.reply({ servedBy: 'b.1', epoch: 2 });
    await gateway.execute(request('room/x', { method: 'get', handler: 'list' }));
    await gateway.execute(request('room/x'));
    await gateway.execute(request('room/x'));
    expect([a.got.length, b.got.length]).toEqual([2, 1]);
  });

  it('answers by quarantine before anything is sent', async () => {
    const a = await world.node('a.1');
    world.own('room/x', a);
    const record = { shard: 'room/x', handler: 'loop', deaths: ['p', 'q'], quarantined: true, sinceMs: 0 };
    world.control.put(CONTROL_KEYS.quarantine('room/x'), record);
    const gateway = await world.gateway();
    expect(codeOf(await gateway.execute(request('room/x')))).toBe('shard-quarantined');
    expect((await gateway.execute(request('room/x', { handler: 'list', method: 'get' }))).status).toBe(200);
    expect(a.got).toHaveLength(1);
  });
});

describe('failures', () => {
  it('repeats a command under the same key where a node dies, once its lease is gone', async () => {
    const [a, b] = [await world.node('a.1'), await world.node('b.1')];
    world.own('room/x', a);
    const gateway = await world.gateway();
    a.hang();
    const arrived = a.arrival();
    const pending = gateway.execute(request('room/x'));
    await arrived;
    await a.kill();
    a.revokeLease();
    expect((await pending).servedBy).toBe('b.1');
    expect(b.got[0]).toMatchObject({ idempotency: a.got[0]!.idempotency, deaths: 1, sawDead: 'a.1' });
    expect(a.got[0]!.idempotency).toMatchObject({ kind: 'gateway', gateway: 'gw.0', number: 1, lowWater: 1 });
  });

  it('waits for news of a silent primary instead of hammering, then goes where the news says', async () => {
    const [a, b] = [await world.node('a.1'), await world.node('b.1')];
    world.own('room/x', a);
    const gateway = await world.gateway();
    await a.kill();
    const pending = Promise.all(Array.from({ length: 100 }, () => gateway.execute(request('room/x'))));
    await expect.poll(async () => waiting(await gateway.metrics())).toBe(100);
    expect(b.got).toHaveLength(0);
    world.own('room/x', b, 2);
    for (const reply of await pending) expect(reply.servedBy).toBe('b.1');
    // A refused connection executed nothing: no death may be counted.
    for (const sent of b.got) expect(sent.deaths).toBeUndefined();
  });

  it('finds a primary that comes back, by probes', async () => {
    const a = await world.node('a.1');
    world.own('room/x', a);
    const gateway = await world.gateway();
    await a.kill();
    const pending = Promise.all(Array.from({ length: 50 }, () => gateway.execute(request('room/x'))));
    await expect.poll(async () => waiting(await gateway.metrics())).toBe(50);
    await a.start();
    for (const reply of await pending) expect(reply.status).toBe(200);
    expect(a.got).toHaveLength(50);
  });

  it('answers command-poisoned after two deaths and never sends a third time', async () => {
    const nodes = [await world.node('a.1'), await world.node('b.1'), await world.node('c.1')];
    world.own('room/x', nodes[0]!);
    const gateway = await world.gateway();
    for (const node of nodes) node.hang();
    const pending = gateway.execute(request('room/x'));
    for (let death = 0; death < 2; death++) {
      await expect.poll(() => nodes.filter((node) => node.got.length > 0).length).toBe(death + 1);
      const running = nodes.find((node) => node.got.length > 0 && world.control.keys.has(`node/${node.id}`))!;
      await running.kill();
      running.revokeLease();
    }
    const reply = await pending;
    expect([reply.status, codeOf(reply)]).toEqual([500, 'command-poisoned']);
    expect(nodes.filter((node) => node.got.length > 0)).toHaveLength(2);
  });

  it('takes no key that is gone for a death: a living node loses its own while the control store is away', async () => {
    const [a, b] = [await world.node('a.1'), await world.node('b.1')];
    world.own('room/x', a);
    const gateway = await world.gateway();
    a.hang();
    const arrived = a.arrival();
    const pending = gateway.execute(request('room/x'));
    await arrived;
    a.revokeLease();
    expect((await pending).servedBy).toBe('b.1');
    expect(b.got[0]!.idempotency).toEqual(a.got[0]!.idempotency);
    expect(b.got[0]!.deaths).toBeUndefined();
  });

  it('does not count a death that another shard is on record for', async () => {
    const [a, b] = [await world.node('a.1'), await world.node('b.1')];
    world.own('room/x', a);
    const gateway = await world.gateway();
    a.hang();
    const arrived = a.arrival();
    const pending = gateway.execute(request('room/x'));
    await arrived;
    const record = { shard: 'room/other', handler: 'loop', deaths: ['a.1'], quarantined: false, sinceMs: 0 };
    world.control.put(CONTROL_KEYS.quarantine('room/other'), record);
    await a.kill();
    a.revokeLease();
    await pending;
    expect(b.got[0]!.deaths).toBeUndefined();
  });

  it('tries "not now" again and passes other refusals on', async () => {
    const a = await world.node('a.1');
    world.own('room/x', a);
    const gateway = await world.gateway();
    a.script = () => (a.got.length < 3 ? refusal('unavailable') : a.reply());
    expect((await gateway.execute(request('room/x'))).status).toBe(200);
    expect(a.got).toHaveLength(3);
    a.script = () => refusal('overloaded');
    expect(codeOf(await gateway.execute(request('room/x')))).toBe('overloaded');
    expect(a.got).toHaveLength(4);
  });

  it('gives up within its bounds of tries and time', async () => {
    const a = await world.node('a.1');
    world.own('room/x', a);
    const gateway = await world.gateway({ requestBudgetMs: 700 });
    a.script = () => refusal('unavailable');
    const refused = await gateway.execute(request('room/x'));
    expect([refused.status, refused.retryAfterS]).toEqual([503, 1]);
    expect(a.got.length).toBeLessThanOrEqual(TRIES_MAX);
    a.hang();
    const silent = await gateway.execute(request('room/x'));
    expect([silent.status, codeOf(silent), silent.retryAfterS]).toEqual([503, 'unavailable', 1]);
    expect(gateway.inFlight).toBe(0);
  });

  it('answers 503 beyond its bounds instead of queueing', async () => {
    const a = await world.node('a.1');
    world.own('room/x', a);
    expect(NODE_IN_FLIGHT_MAX_DEFAULT).toBeGreaterThan(0);
    const gateway = await world.gateway({ inFlightMax: 8, nodeInFlightMax: 5 });
    const held: (() => void)[] = [];
    a.script = () => new Promise((resolve) => held.push(() => resolve(a.reply())));
    const pending = Array.from({ length: 20 }, () => gateway.execute(request('room/x')));
    await expect.poll(() => held.length).toBe(5);
    const refused = await Promise.all(pending.slice(5));
    for (const reply of refused)
      expect([reply.status, codeOf(reply), reply.retryAfterS]).toEqual([503, 'overloaded', 1]);
    for (const release of held) release();
    for (const reply of await Promise.all(pending.slice(0, 5))) expect(reply.status).toBe(200);
  });

  it('ends what is under way when it stops', async () => {
    const a = await world.node('a.1');
    world.own('room/x', a);
    const gateway = await world.gateway();
    a.hang();
    const arrived = a.arrival();
    const pending = gateway.execute(request('room/x'));
    await arrived;
    await gateway.stop();
    expect((await pending).status).toBe(503);
  });
});

describe('a restart', () => {
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'skein-gateway-'));
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  it('serves at once from disk while the control store is away', async () => {
    const routeFile = join(directory, 'gw.routes');
    const [a, b] = [await world.node('a.1'), await world.node('b.1')];
    for (let k = 0; k < 50; k++) world.own(`room/${k}`, k % 2 ? a : b);
    const first = await world.gateway({ routeFile });
    await expect.poll(() => first.table.size).toBe(50);
    await first.stop();
    const away = new MemoryControl();
    away.away = true;
    const second = await world.gateway({ routeFile }, away);
    expect(second.ready).toBe(true);
    for (let k = 0; k < 50; k++)
      expect((await second.execute(request(`room/${k}`))).servedBy).toBe(k % 2 ? 'a.1' : 'b.1');
    // A shard the file does not know: rendezvous, without the look-up.
    expect((await second.execute(request('room/new'))).status).toBe(200);
  });

  it('starts without a damaged file, when the store has told of the nodes', async () => {
    const routeFile = join(directory, 'gw.routes');
    writeFileSync(routeFile, 'garbage');
    const a = await world.node('a.1');
    world.own('room/x', a);
    const gateway = await world.gateway({ routeFile });
    expect((await gateway.execute(request('room/x'))).servedBy).toBe('a.1');
  });
});

function waiting(metrics: string): number {
  return Number(/^skein_gateway_requests_waiting (\d+)$/m.exec(metrics)?.[1]);
}
