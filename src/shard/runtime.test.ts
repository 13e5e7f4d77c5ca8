import fc from 'fast-check';
import * as v from 'valibot';
import { describe, expect, it } from 'vitest';
import { command, defineApp, query, Refusal, service } from '../sdk/index.ts';
import { bodyOf, FakeHost, peek, request } from './fake-host.ts';
import { loadApp } from './runtime.ts';

const SHARD = 'book/k';
interface BookState {
  entries: number[];
  byName: Record<string, number>;
}
const book = service(
  'book',
  { state: (): BookState => ({ entries: [], byName: {} }), allowedRegions: ['eu-west-1'] },
  {
    write: command((ctx, n: number) => {
      ctx.state.entries.push(n);
      if (ctx.state.entries.length > 5) ctx.state.entries.shift();
      ctx.state.byName[`n${n % 4}`] = n;
      return ctx.state.entries.length;
    }),
    skip: command((ctx) => ctx.state.entries.length),
    fail: command((ctx) => {
      ctx.state.entries = [];
      throw new Error('no');
    }),
    later: command(async (ctx, n: number) => {
      await null;
      ctx.state.entries.push(n);
      return n;
    }),
    read: query((ctx) => ctx.state),
  },
);
const runtime = loadApp(defineApp([book]));
const open = (
  host: FakeHost,
  opening: Parameters<typeof runtime.open>[0]['opening'],
  role: 'primary' | 'follower',
) => runtime.open({ shard: SHARD, epoch: 1, role, opening, host });

describe('a log', () => {
  const step = fc.record({
    handler: fc.constantFrom('write', 'write', 'write', 'skip', 'fail', 'later', 'read'),
    n: fc.nat(20),
    key: fc.option(fc.nat(5)),
    durable: fc.nat(3),
  });

  it('replayed from any snapshot is the live state; no reply leaves before what it read is durable', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 30 }), fc.nat(29), async (steps, cut) => {
        const host = new FakeHost();
        const live = await open(host, { entries: [] }, 'primary');
        host.replica = live;
        let snapshot: { seq: number; bytes: Uint8Array } | undefined;
        const replies: Promise<void>[] = [];
        for (const [i, { handler, n, key, durable }] of steps.entries()) {
          const idempotency =
            key === null ? {} : { idempotency: { kind: 'client' as const, key: `${handler}-${n}-${key}` } };
          const reply = live.execute(request(SHARD, handler, n, idempotency));
          // The gate: what a reply says it saw must be durable when it arrives.
          replies.push(reply.then((r) => expect(r.seq).toBeLessThanOrEqual(live.durableSeq)));
          await peek(reply);
          live.durable(Math.min(live.appliedSeq, live.durableSeq + durable));
          if (i === cut) {
            snapshot = await live.snapshot();
            expect(snapshot.seq).toBe(live.durableSeq);
          }
        }
        while (live.durableSeq < live.appliedSeq || live.pendingCommands > 0) {
          live.durable(live.appliedSeq);
          await peek(Promise.resolve());
        }
        await Promise.all(replies);
        const state = bodyOf(await live.execute(request(SHARD, 'read')));
        for (const from of [undefined, snapshot]) {
          const entries = host.log.filter((entry) => entry.seq > (from?.seq ?? 0));
          const replayed = await open(
            new FakeHost(),
            { entries, ...(from && { snapshot: from }) },
            'primary',
          );
          expect(replayed.appliedSeq).toBe(live.appliedSeq);
          expect(bodyOf(await replayed.execute(request(SHARD, 'read')))).toEqual(state);
          expect(replayed.stateBytes).toBe(live.stateBytes);
          expect((await replayed.snapshot()).bytes).toEqual((await live.snapshot()).bytes);
        }
      }),
      { numRuns: 80 },
    );
  });

  it('that is damaged or has a gap does not open', async () => {
    const host = new FakeHost();
    host.isEager = true;
    const live = await open(host, { entries: [] }, 'primary');
    host.replica = live;
    for (const n of [1, 2, 3]) await live.execute(request(SHARD, 'write', n));
    const gap = [host.log[0]!, host.log[2]!];
    const damaged = [host.log[0]!, { ...host.log[1]!, delta: new Uint8Array([0xc1]) }];
    for (const entries of [gap, damaged]) {
      await expect(open(new FakeHost(), { entries }, 'primary')).rejects.toMatchObject({
        code: 'state-unreadable',
      });
    }
  });
});

describe('versions', () => {
  const v1 = service(
    'book',
    { state: () => ({ n: 0 }) },
    {
      set: command((ctx, n: number) => {
        ctx.state.n = n;
      }),
    },
  );
  const v3 = service(
    'book',
    {
      version: 3,
      state: () => ({ total: { n: 0 } }),
      upgrade: {
        1: (old: { n: number }) => ({ sum: old.n }),
        2: (old: { sum: number }) => ({ total: { n: old.sum } }),
      },
    },
    {
      get: query((ctx) => ctx.state.total.n),
      set: command((ctx, n: number) => {
        ctx.state.total.n = n;
      }),
    },
  );
  const written = async () => {
    const host = new FakeHost();
    host.isEager = true;
    host.replica = await loadApp(defineApp([v1])).open({
      shard: SHARD,
      epoch: 1,
      role: 'primary',
      opening: { entries: [] },
      host,
    });
    await host.replica.execute(request(SHARD, 'set', 7));
    return host;
  };

  it('older state is upgraded when it opens, as a delta that replies wait for', async () => {
    const host = await written();
    host.isEager = false;
    const options = { shard: SHARD, epoch: 2, opening: { entries: [...host.log] }, host };
    const replica = await loadApp(defineApp([v3])).open({ ...options, role: 'primary' });
    expect(host.log).toHaveLength(2);
    const reply = replica.execute(request(SHARD, 'get'));
    expect(await peek(reply)).toBeUndefined();
    replica.durable(2);
    expect(bodyOf(await reply)).toBe(7);
    // Once upgraded, the log replays as it is, and an older build refuses it.
    const again = await loadApp(defineApp([v3])).open({
      ...options,
      opening: { entries: host.log },
      role: 'primary',
    });
    expect(again.appliedSeq).toBe(2);
    await expect(
      loadApp(defineApp([v1])).open({ ...options, opening: { entries: host.log }, role: 'primary' }),
    ).rejects.toMatchObject({ code: 'state-version-newer' });
  });

  it('a follower of a newer build lets the primary answer until it has upgraded', async () => {
    const host = await written();
    const follower = await loadApp(defineApp([v3])).open({
      shard: SHARD,
      epoch: 1,
      role: 'follower',
      opening: { entries: [...host.log] },
      host: new FakeHost(),
    });
    expect(await follower.queryAt(request(SHARD, 'get'), 1, 10)).toBeUndefined();
  });

  it('a missing step is an error that says which', async () => {
    const host = await written();
    const v2 = service('book', { version: 2, state: () => ({ n: 1 }) }, {});
    await expect(
      loadApp(defineApp([v2])).open({
        shard: SHARD,
        epoch: 2,
        role: 'primary',
        opening: { entries: host.log },
        host,
      }),
    ).rejects.toMatchObject({ code: 'state-unreadable', detail: 'book has no upgrade from version 1' });
  });
});

describe('admission', () => {
  const guarded = service(
    'guarded',
    { state: () => ({ a: 1 }) },
    { act: command(() => 1), look: query(() => 2) },
  );
  const app = defineApp([guarded, book], {
    authorize: async (who, shard) => {
      if (who.headers.authorization === undefined)
        throw new Refusal('who-are-you', 'log in', { status: 401 });
      if (who.headers.authorization === 'broken') throw new Error('secret internals');
      return shard.key === who.headers.authorization;
    },
  });
  const guard = loadApp(app);
  const ask = async (shard: string, handler: string, more = {}) =>
    (await guard.admission(request(shard, handler, 1, more)))?.status;

  it('refuses what cannot be, before anything is looked up', async () => {
    const headers = { authorization: 'k' };
    expect(await ask('guarded/k', 'act', { headers })).toBeUndefined();
    expect(await ask('nobody/k', 'act', { headers })).toBe(404);
    expect(await ask('guarded/k', 'nothing', { headers })).toBe(404);
    expect(await ask('guarded/k', 'act', { headers, method: 'get' })).toBe(405);
    expect(await ask('guarded/k', 'look', { headers, method: 'get' })).toBeUndefined();
    expect(await ask('guarded/a b', 'act', { headers })).toBe(400);
    expect(await ask('guarded/k', 'act', { headers, input: new Uint8Array((1 << 20) + 1) })).toBe(413);
  });

  it('asks the app, closed on failure and silent about why', async () => {
    expect(await ask('guarded/k', 'act')).toBe(401);
    expect(await ask('guarded/k', 'act', { headers: { authorization: 'other' } })).toBe(403);
    const broken = await guard.admission(
      request('guarded/k', 'act', 1, { headers: { authorization: 'broken' } }),
    );
    expect(broken?.status).toBe(500);
    expect(JSON.stringify(bodyOf(broken!))).not.toContain('secret');
  });

  it('tells gateways and placement what the build can serve', () => {
    expect(guard.manifest().book).toMatchObject({
      version: 1,
      authorize: true,
      allowedRegions: ['eu-west-1'],
    });
    expect(guard.manifest().guarded?.handlers).toEqual({ act: 'command', look: 'query' });
  });
});

describe('input', () => {
  it('is validated and changed by any Standard Schema, synchronous or not, with the fields at fault named', async () => {
    const sized = v.object({
      size: v.pipe(
        v.number(),
        v.minValue(1),
        v.transform((n) => n * 2),
      ),
    });
    const slow = v.objectAsync({
      size: v.pipeAsync(
        v.number(),
        v.checkAsync(async (n) => n > 0, 'too small'),
      ),
    });
    const store = service(
      'store',
      { state: () => ({ size: 0 }) },
      {
        set: command(sized, (ctx, { size }) => {
          ctx.state.size = size;
          return size;
        }),
        setSlowly: command(slow, (ctx, { size }) => {
          ctx.state.size = size;
          return size;
        }),
        look: query(slow, (ctx, input) => ctx.state.size + input.size),
      },
    );
    const host = new FakeHost();
    host.isEager = true;
    const replica = await loadApp(defineApp([store])).open({
      shard: 'store/a',
      epoch: 1,
      role: 'primary',
      opening: { entries: [] },
      host,
    });
    host.replica = replica;
    const call = async (handler: string, input: unknown) =>
      bodyOf(await replica.execute(request('store/a', handler, input)));
    expect(await call('set', { size: 2 })).toBe(4);
    expect(await call('set', { size: 0 })).toMatchObject({
      code: 'input-invalid',
      issues: [{ path: ['size'] }],
    });
    expect(await call('set', undefined)).toMatchObject({ code: 'input-invalid' });
    const both = Promise.all([call('setSlowly', { size: 5 }), call('set', { size: 3 })]);
    expect(await both).toEqual([5, 6]);
    expect(await call('setSlowly', { size: -1 })).toMatchObject({ code: 'input-invalid', status: 400 });
    expect(await call('look', { size: 1 })).toBe(7);
    expect(await call('look', { size: -1 })).toMatchObject({ code: 'input-invalid' });
  });
});
