import { describe, expect, it } from 'vitest';
import { command, defineApp, query, Refusal, service } from '../sdk/index.ts';
import { Demoted, type ShardReplica } from './contract.ts';
import { encodeDelta } from './delta.ts';
import { bodyOf, FakeHost, peek, request } from './fake-host.ts';
import { loadApp } from './runtime.ts';

const SHARD = 'box/k1';
const gates: { open: (value: unknown) => void; late: (() => void) | undefined }[] = [];

const box = service(
  'box',
  { state: () => ({ value: 0, items: [] as string[] }), handlerMsMax: 100 },
  {
    add: command((ctx, amount: number) => {
      ctx.state.value += amount;
      return ctx.state.value;
    }),
    get: query((ctx) => ctx.state.value),
    nothing: command((ctx) => ctx.state.value),
    fail: command((ctx) => {
      ctx.state.value = 99;
      throw new Error('no luck');
    }),
    refuse: command((ctx) => {
      ctx.state.value = 99;
      throw new Refusal('full', 'the box is full', { status: 409 });
    }),
    date: command((ctx) => {
      (ctx.state as { at?: unknown }).at = new Date();
    }),
    mutateInQuery: query((ctx) => {
      (ctx.state as { value: number }).value = 5;
    }),
    slow: command(async (ctx, amount: number) => {
      ctx.state.value += amount;
      await new Promise((resolve) => {
        gates.push({
          open: resolve,
          late: () => {
            ctx.state.value = -1;
          },
        });
      });
      ctx.state.value += amount;
      return ctx.state.value;
    }),
    slowFail: command(async (ctx) => {
      ctx.state.value = 77;
      await null;
      throw new Error('later');
    }),
    fill: command((ctx, length: number) => {
      ctx.state.items.push('x'.repeat(length));
    }),
  },
);
const runtime = loadApp(defineApp([box]));

async function open(
  host = new FakeHost(),
  role: 'primary' | 'follower' = 'primary',
): Promise<{ host: FakeHost; replica: ShardReplica }> {
  const opening = { entries: host.log };
  const replica = await runtime.open({ shard: SHARD, epoch: 3, role, opening, host });
  host.replica = replica;
  return { host, replica };
}

describe('commands', () => {
  it('run in order, the next before the last is durable, and nothing leaves before it is', async () => {
    const { host, replica } = await open();
    const replies = [1, 2, 3].map((n) => replica.execute(request(SHARD, 'add', n)));
    const seen = replica.execute(request(SHARD, 'get'));
    expect(replica.appliedSeq).toBe(3);
    expect(replica.durableSeq).toBe(0);
    expect(host.log.map((entry) => entry.seq)).toEqual([1, 2, 3]);
    for (const reply of [...replies, seen]) expect(await peek(reply)).toBeUndefined();
    replica.durable(2);
    expect(bodyOf(await replies[0]!)).toBe(1);
    expect(await replies[1]).toMatchObject({ status: 200, epoch: 3, seq: 2 });
    expect(await peek(replies[2]!)).toBeUndefined();
    expect(await peek(seen)).toBeUndefined();
    replica.durable(3);
    expect(bodyOf(await replies[2]!)).toBe(6);
    expect(bodyOf(await seen)).toBe(6);
  });

  it('that throw are rolled back and answered by message; only refusals choose their status', async () => {
    const { host, replica } = await open();
    host.isEager = true;
    await replica.execute(request(SHARD, 'add', 1));
    const failed = await replica.execute(request(SHARD, 'fail'));
    expect(failed.status).toBe(500);
    expect(bodyOf(failed)).toMatchObject({ code: 'handler-failed', detail: 'no luck' });
    expect(JSON.stringify(bodyOf(failed))).not.toContain('.ts:');
    expect(bodyOf(await replica.execute(request(SHARD, 'refuse')))).toMatchObject({
      code: 'full',
      status: 409,
    });
    expect((await replica.execute(request(SHARD, 'slowFail'))).status).toBe(500);
    expect(bodyOf(await replica.execute(request(SHARD, 'date')))).toMatchObject({ code: 'state-not-json' });
    expect(bodyOf(await replica.execute(request(SHARD, 'get')))).toBe(1);
    expect(host.log).toHaveLength(1);
  });

  it('without a delta, and errors, wait like queries: for durability and for the lease', async () => {
    const { host, replica } = await open();
    replica.execute(request(SHARD, 'add', 1));
    const replies = ['nothing', 'fail', 'get'].map((handler) => replica.execute(request(SHARD, handler)));
    for (const reply of replies) expect(await peek(reply)).toBeUndefined();
    host.lease = Promise.resolve(false);
    replica.durable(1);
    for (const reply of replies) await expect(reply).rejects.toEqual(new Demoted(false));
  });

  it('with a delta need no lease', async () => {
    const { host, replica } = await open();
    host.lease = Promise.resolve(false);
    const reply = replica.execute(request(SHARD, 'add', 1));
    replica.durable(1);
    expect((await reply).status).toBe(200);
  });

  it('that await hold their shard, not its queries, and see their own draft only', async () => {
    const { host, replica } = await open();
    host.isEager = true;
    gates.length = 0;
    const slow = replica.execute(request(SHARD, 'slow', 5));
    const next = replica.execute(request(SHARD, 'add', 1));
    expect(bodyOf(await replica.execute(request(SHARD, 'get')))).toBe(0);
    expect(await peek(next)).toBeUndefined();
    gates[0]!.open(undefined);
    expect(bodyOf(await slow)).toBe(10);
    expect(bodyOf(await next)).toBe(11);
  });

  it('that never end are answered 504, leave nothing, and cannot write any more', async () => {
    const { host, replica } = await open();
    host.isEager = true;
    gates.length = 0;
    const slow = replica.execute(request(SHARD, 'slow', 5));
    const next = replica.execute(request(SHARD, 'add', 1));
    host.advance(100);
    expect(bodyOf(await slow)).toMatchObject({ code: 'handler-timeout', status: 504 });
    expect(bodyOf(await next)).toBe(1);
    expect(gates[0]!.late).toThrow(TypeError);
    gates[0]!.open(undefined);
    expect(bodyOf(await replica.execute(request(SHARD, 'get')))).toBe(1);
  });

  it('refuse what is too large or too much, and change nothing', async () => {
    const { host, replica } = await open();
    const tooLarge = replica.execute(request(SHARD, 'fill', 1_100_000));
    expect(bodyOf(await tooLarge)).toMatchObject({ code: 'delta-too-large' });
    host.isEager = true;
    for (let i = 0; i < 16; i++) await replica.execute(request(SHARD, 'fill', 1_000_000));
    expect(replica.stateBytes).toBeGreaterThan(16_000_000);
    expect(bodyOf(await replica.execute(request(SHARD, 'fill', 1_000_000)))).toMatchObject({
      code: 'state-too-large',
    });
    host.isEager = false;
    const waiting = Array.from({ length: 1_001 }, () => replica.execute(request(SHARD, 'add', 1)));
    expect(await waiting.at(-1)!).toMatchObject({ status: 503, retryAfterS: 1 });
    expect(replica.pendingCommands).toBe(1_000);
    expect(replica.takeLoad()).toMatchObject({ rejected: 1, commands: 1_019 });
    replica.durable(replica.appliedSeq);
    host.admits = false;
    expect(bodyOf(await replica.execute(request(SHARD, 'add', 1)))).toMatchObject({ code: 'overloaded' });
  });

  it('refuse input that is not JSON', async () => {
    const { replica } = await open();
    const input = new TextEncoder().encode('{oops');
    expect(bodyOf(await replica.execute(request(SHARD, 'add', 0, { input })))).toMatchObject({
      code: 'input-invalid',
    });
    const bytes = new Uint8Array([0x22, 0xff, 0x22]);
    expect(bodyOf(await replica.execute(request(SHARD, 'add', 0, { input: bytes })))).toMatchObject({
      status: 400,
    });
  });

  it('take effect once a key, answered again only when durable; another body is a mistake', async () => {
    const { replica } = await open();
    const idempotency = { kind: 'client', key: 'k' } as const;
    const first = replica.execute(request(SHARD, 'add', 2, { idempotency }));
    const again = replica.execute(request(SHARD, 'add', 2, { idempotency }));
    const other = replica.execute(request(SHARD, 'add', 3, { idempotency }));
    for (const reply of [first, again, other]) expect(await peek(reply)).toBeUndefined();
    replica.durable(1);
    expect(bodyOf(await first)).toBe(2);
    expect(await again).toMatchObject({ replayed: true, seq: 1 });
    expect(bodyOf(await again)).toBe(2);
    expect(bodyOf(await other)).toMatchObject({ code: 'idempotency-key-reused', status: 422 });
    const old = request(SHARD, 'add', 2, {
      idempotency: { kind: 'client', key: 'other' },
      idempotencyAgeMs: 25 * 3_600_000,
    });
    expect(bodyOf(await replica.execute(old))).toMatchObject({ code: 'idempotency-key-expired' });
    expect(replica.appliedSeq).toBe(1);
  });
});

describe('queries', () => {
  it('cannot change the state', async () => {
    const { host, replica } = await open();
    host.isEager = true;
    await replica.execute(request(SHARD, 'add', 1));
    expect((await replica.execute(request(SHARD, 'mutateInQuery'))).status).toBe(500);
    expect(bodyOf(await replica.execute(request(SHARD, 'get')))).toBe(1);
  });

  it('may ask for a seq that the shard must have', async () => {
    const { host, replica } = await open();
    host.isEager = true;
    await replica.execute(request(SHARD, 'add', 1));
    expect((await replica.execute(request(SHARD, 'get', undefined, { minSeq: 1 }))).status).toBe(200);
    const early = await replica.execute(request(SHARD, 'get', undefined, { minSeq: 2 }));
    expect(bodyOf(early)).toMatchObject({ code: 'seq-not-reached' });
  });

  it('are remembered for warm-up and give the same answer when rehearsed on a follower', async () => {
    const { host, replica } = await open();
    host.isEager = true;
    await replica.execute(request(SHARD, 'add', 4));
    await replica.execute(request(SHARD, 'get'));
    const recent = replica.recentQueries(10);
    expect(recent).toMatchObject([{ handler: 'get', status: 200, seq: 1 }]);
    const other = await open(Object.assign(new FakeHost(), { log: [...host.log] }), 'follower');
    const rehearsed = other.replica.rehearse(recent[0]!);
    expect(Buffer.from(rehearsed.body)).toEqual(Buffer.from(recent[0]!.body));
    expect(other.replica.takeLoad().queries).toBe(0);
  });
});

describe('roles', () => {
  it('sealed: waits for what runs, holds what comes, and serves it again when unsealed', async () => {
    const { replica } = await open();
    const reply = replica.execute(request(SHARD, 'add', 1));
    const sealed = replica.seal();
    const held = replica.execute(request(SHARD, 'get'));
    expect(await peek(sealed)).toBeUndefined();
    replica.durable(1);
    await sealed;
    expect((await reply).status).toBe(200);
    expect(await peek(held)).toBeUndefined();
    replica.unseal();
    expect(bodyOf(await held)).toBe(1);
  });

  it('sealed: what only read is not answered any more but held, and runs again after', async () => {
    const { host, replica } = await open();
    replica.execute(request(SHARD, 'add', 1));
    const reads = ['get', 'nothing', 'fail'].map((handler) => replica.execute(request(SHARD, handler)));
    let allow: (isPrimary: boolean) => void = () => {};
    host.lease = new Promise((resolve) => {
      allow = resolve;
    });
    replica.durable(1);
    const sealed = replica.seal();
    expect(await peek(sealed)).toBeUndefined();
    allow(true);
    await sealed;
    for (const read of reads) expect(await peek(read)).toBeUndefined();
    host.lease = true;
    replica.unseal();
    expect((await Promise.all(reads)).map(({ status }) => status)).toEqual([200, 200, 500]);
  });

  it('sealed: gives back those it holds that are asked for, and they never run here', async () => {
    const { host, replica } = await open();
    host.isEager = true;
    gates.length = 0;
    const running = replica.execute(request(SHARD, 'slow', 1));
    const queued = replica.execute(request(SHARD, 'add', 10, { redirects: true }));
    const sealed = replica.seal();
    const held = replica.execute(request(SHARD, 'get', undefined, { redirects: true }));
    const stays = replica.execute(request(SHARD, 'add', 5));
    expect(replica.release(() => false)).toEqual([]);
    gates[0]!.open(undefined);
    await sealed;
    expect((await running).status).toBe(200);
    const back = replica.release((one) => one.redirects === true);
    expect(back.map(({ request }) => request.handler)).toEqual(['add', 'get']);
    for (const [index, { resolve }] of back.entries())
      resolve({ status: 421, body: new Uint8Array([index]) });
    expect([(await queued).status, (await held).status]).toEqual([421, 421]);
    const before = host.log.length;
    replica.unseal();
    expect((await stays).status).toBe(200);
    expect(host.log).toHaveLength(before + 1);
  });

  it('demoted: hands back what did not run and disowns what ran undurably', async () => {
    const { replica } = await open();
    gates.length = 0;
    const ran = replica.execute(request(SHARD, 'add', 1));
    const read = replica.execute(request(SHARD, 'get'));
    replica.execute(request(SHARD, 'slow', 1));
    replica.execute(request(SHARD, 'add', 2));
    const back = replica.demote();
    expect(back.map(({ request }) => request.handler).toSorted()).toEqual(['add', 'get', 'slow']);
    await expect(ran).rejects.toEqual(new Demoted(true));
    expect(await peek(read)).toBeUndefined();
    gates[0]!.open(undefined);
    await expect(replica.execute(request(SHARD, 'get'))).rejects.toEqual(new Demoted(false));
  });

  it('a hand-off: the source seals and follows, the target applies and is promoted, keys included', async () => {
    const source = await open();
    source.host.isEager = true;
    const idempotency = { kind: 'gateway', gateway: 'g', number: 4, lowWater: 3 } as const;
    await source.replica.execute(request(SHARD, 'add', 1, { idempotency }));
    const snapshot = await source.replica.snapshot();
    const host = new FakeHost();
    const target = await runtime.open({
      shard: SHARD,
      epoch: 3,
      role: 'follower',
      opening: { snapshot, entries: [] },
      host,
    });
    host.replica = target;
    await source.replica.execute(request(SHARD, 'add', 1));
    const waiting = target.queryAt(request(SHARD, 'get'), 2, 50);
    target.apply(source.host.log);
    expect(bodyOf((await waiting)!)).toBe(2);
    await source.replica.seal();
    const [held] = [source.replica.execute(request(SHARD, 'add', 1))];
    expect(source.replica.demote()).toHaveLength(1);
    source.replica.follow();
    target.promote(4);
    host.isEager = true;
    expect(await target.execute(request(SHARD, 'add', 1, { idempotency }))).toMatchObject({ replayed: true });
    expect(bodyOf(await target.execute(request(SHARD, 'add', 1)))).toBe(3);
    source.replica.apply(host.log);
    expect(source.replica.appliedSeq).toBe(3);
    expect(() => source.replica.apply([{ seq: 9, id: '', delta: new Uint8Array() }])).toThrow(RangeError);
    expect(await peek(held)).toBeUndefined();
  });

  it('a follower given a damaged delta serves and becomes nothing any more; a gap it survives', async () => {
    const { replica } = await open(new FakeHost(), 'follower');
    const set = {
      seq: 1,
      id: '',
      delta: encodeDelta(1, 1, [[0, '', { value: 1, items: [] }]], undefined, 0, ''),
    };
    expect(() => replica.apply([{ ...set, seq: 2 }])).toThrow(RangeError);
    replica.apply([set]);
    const damaged = encodeDelta(
      1,
      2,
      [
        [0, '/value', 9],
        [1, '/nothing'],
      ],
      undefined,
      0,
      '',
    );
    expect(() => replica.apply([{ seq: 2, id: '', delta: damaged }])).toThrow(RangeError);
    expect(() => replica.promote(5)).toThrow();
    expect(await replica.queryAt(request(SHARD, 'get'), 0, 1)).toBeUndefined();
  });

  it('a follower that is not there in time says so', async () => {
    const { host, replica } = await open(new FakeHost(), 'follower');
    const waiting = replica.queryAt(request(SHARD, 'get'), 1, 50);
    host.advance(50);
    expect(await waiting).toBeUndefined();
  });
});
