import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ResponseTooLarge } from '../io/io.ts';
import { type AppOptions, command, defineApp, query, service } from '../sdk/index.ts';
import type { AfterCommitContext, FetchInit } from '../sdk/service.ts';
import type { ShardReplica } from './contract.ts';
import { answerOf, bodyOf, FakeHost, peek, request } from './fake-host.ts';
import { AFTER_COMMIT_MAX, AFTER_COMMIT_MS_MAX, AFTER_COMMITS_AT_ONCE_MAX } from './limits.ts';
import { loadApp } from './runtime.ts';

const SHARD = 'order/k1';
const PAY = 'https://pay.example.com/charges';

/** What handlers told the test, in order. */
let told: unknown[] = [];
let finish: (() => void)[] = [];

const order = service(
  'order',
  { state: () => ({ paid: 0, notes: 0 }), handlerMsMax: 20_000 },
  {
    add: command((ctx, amount: number) => {
      ctx.state.paid += amount;
    }),
    pay: command(async (ctx, input: { amount: number; url?: string; init?: FetchInit }) => {
      const answer = await ctx.fetch(input.url ?? PAY, input.init ?? { method: 'POST', body: 'charge' });
      ctx.state.paid += input.amount;
      return { status: answer.status, text: await answer.text(), id: answer.headers.get('x-id') };
    }),
    payTwice: command(async (ctx) => {
      await Promise.all([ctx.fetch(PAY, { method: 'POST' }), ctx.fetch(PAY, { method: 'POST' })]);
      ctx.state.paid++;
    }),
    payThenFail: command(async (ctx) => {
      await ctx.fetch(PAY, { method: 'POST' });
      throw new Error('no luck');
    }),
    payForgotten: command((ctx) => {
      ctx.fetch(PAY, { method: 'POST' }).catch((error) => told.push(error.extensions?.reason ?? error.code));
      ctx.state.paid++;
    }),
    payOrNote: command(async (ctx) => {
      try {
        await ctx.fetch(PAY, { method: 'POST', timeoutMs: 500, responseBytesMax: 10 });
      } catch (error) {
        ctx.state.notes++;
        return (error as { extensions: { reason: string } }).extensions.reason;
      }
      return 'paid';
    }),
    note: command((ctx, input: { change: boolean; fail?: boolean; callbacks?: number }) => {
      if (input.change) ctx.state.notes++;
      for (let i = 0; i < (input.callbacks ?? 1); i++)
        ctx.afterCommit(({ key, seq }) => told.push(`committed ${key} ${seq}`));
      if (input.fail) throw new Error('no luck');
      return ctx.state.notes;
    }),
    noteWith: command((ctx, how: string) => {
      ctx.state.notes++;
      ctx.afterCommit(callbacks[how]!);
    }),
    price: query(async (ctx, init: FetchInit | null) => {
      const answer = await ctx.fetch('https://prices.example.com/', init ?? {});
      return `${ctx.state.paid} ${await answer.text()}`;
    }),
    bad: query((ctx) => (ctx as never as { afterCommit(callback: () => void): void }).afterCommit(() => {})),
  },
);

const callbacks: Record<string, (context: AfterCommitContext) => unknown> = {
  throws: () => {
    throw new Error('callback threw');
  },
  rejects: async () => {
    throw new Error('callback rejected');
  },
  hangs: ({ signal }) => {
    signal.addEventListener('abort', () => told.push('aborted'));
    return new Promise<void>((resolve) => finish.push(resolve));
  },
  fetches: async ({ fetch }) => {
    const answer = await fetch('https://hooks.example.com/', { method: 'POST', body: 'x' });
    told.push(answer.status);
    await fetch('https://hooks.example.com/again', { method: 'POST' });
  },
};

async function open(
  options: { host?: FakeHost; role?: 'primary' | 'follower'; app?: AppOptions } = {},
): Promise<{ host: FakeHost; replica: ShardReplica }> {
  told = [];
  finish = [];
  const host = options.host ?? new FakeHost();
  const runtime = loadApp(defineApp([order], options.app));
  const replica = await runtime.open({
    shard: SHARD,
    epoch: 3,
    role: options.role ?? 'primary',
    opening: { entries: [] },
    host,
  });
  host.replica = replica;
  return { host, replica };
}

const keyOf = (host: FakeHost, at: number) =>
  host.sent[at]!.headers.find(([name]) => name === 'idempotency-key')?.[1];
const client = (key: string) => ({ idempotency: { kind: 'client' as const, key } });
/** Several rounds: the fetch, the answer, reading its body. */
async function settle(): Promise<void> {
  for (let i = 0; i < 10; i++) await new Promise((resolve) => setImmediate(resolve));
}

describe('ctx.fetch in a command', () => {
  it('sends once and gives the whole answer', async () => {
    const { host, replica } = await open();
    host.isEager = true;
    host.outside = () => answerOf(201, 'charged', [['x-id', '7']]);
    const reply = await replica.execute(request(SHARD, 'pay', { amount: 5 }));
    expect(bodyOf(reply)).toEqual({ status: 201, text: 'charged', id: '7' });
    expect(host.sent).toHaveLength(1);
    expect(host.sent[0]).toMatchObject({ method: 'POST', url: PAY });
    expect(Buffer.from(host.sent[0]!.body!).toString()).toBe('charge');
    expect(replica.durableSeq).toBe(1);
  });

  it('waits until everything the command has seen is durable (OWNERSHIP rule 4)', async () => {
    const { host, replica } = await open();
    const added = replica.execute(request(SHARD, 'add', 1));
    const paid = replica.execute(request(SHARD, 'pay', { amount: 5 }));
    await settle();
    // The amount of the first command is what the second one has seen: nothing has left.
    expect(host.sent).toEqual([]);
    replica.durable(1);
    await settle();
    expect(host.sent).toHaveLength(1);
    await added;
    replica.durable(2);
    expect((await paid).status).toBe(200);
  });

  it('waits for the right to answer, and sends nothing from a deposed primary', async () => {
    const { host, replica } = await open();
    let decide: (may: boolean) => void = () => {};
    host.lease = new Promise((resolve) => {
      decide = resolve;
    });
    const paid = replica.execute(request(SHARD, 'payOrNote'));
    await settle();
    expect(host.sent).toEqual([]);
    decide(false);
    host.isEager = true;
    expect(bodyOf(await paid)).toBe('not-primary');
    expect(host.sent).toEqual([]);
  });

  it('sends nothing for a command that lost its shard while it waited', async () => {
    const { host, replica } = await open();
    void replica.execute(request(SHARD, 'add', 1)).catch(() => {});
    void replica.execute(request(SHARD, 'pay', { amount: 5 })).catch(() => {});
    await settle();
    expect(replica.demote()).toHaveLength(1);
    await settle();
    expect(host.sent).toEqual([]);
  });

  it('goes out while the shard is being sealed, as the seal waits for it', async () => {
    const { host, replica } = await open();
    void replica.execute(request(SHARD, 'add', 1));
    const paid = replica.execute(request(SHARD, 'pay', { amount: 5 }));
    await settle();
    const sealed = replica.seal();
    replica.durable(1);
    await settle();
    expect(host.sent).toHaveLength(1);
    replica.durable(2);
    await sealed;
    expect((await paid).status).toBe(200);
  });

  it('repeats its keys when the command is repeated, also at another seq and on another node', async () => {
    const first = await open();
    const held = client('c-1');
    void first.replica.execute(request(SHARD, 'payTwice', undefined, held)).catch(() => {});
    await settle();
    // It dies before the delta is durable; elsewhere another command comes first.
    const second = await open();
    second.host.isEager = true;
    await second.replica.execute(request(SHARD, 'add', 1));
    await second.replica.execute(request(SHARD, 'payTwice', undefined, held));
    const keys = [0, 1].map((at) => keyOf(first.host, at));
    expect([0, 1].map((at) => keyOf(second.host, at))).toEqual(keys);
    expect(new Set(keys).size).toBe(2);
  });

  it('never gives two commands one key, also where the first one failed and left its seq to the second', async () => {
    const { host, replica } = await open();
    host.isEager = true;
    const random = [0.1, 0.2, 0.3, 0.4];
    host.random = () => random.shift()!;
    await replica.execute(request(SHARD, 'payThenFail'));
    await replica.execute(request(SHARD, 'payThenFail'));
    await replica.execute(request(SHARD, 'payThenFail', undefined, client('a')));
    await replica.execute(request(SHARD, 'payThenFail', undefined, client('b')));
    const gateway = { kind: 'gateway' as const, gateway: 'g', number: 1, lowWater: 0 };
    await replica.execute(request(SHARD, 'payThenFail', undefined, { idempotency: gateway }));
    expect(new Set(host.sent.map((_, at) => keyOf(host, at))).size).toBe(5);
  });

  it('keeps a key of the handler’s own', async () => {
    const { host, replica } = await open();
    host.isEager = true;
    const init = { method: 'POST', headers: { 'Idempotency-Key': 'mine' } };
    await replica.execute(request(SHARD, 'pay', { amount: 1, init }));
    expect(keyOf(host, 0)).toBe('mine');
  });

  it('a command without a key keeps its keys when it is held and runs again', async () => {
    const { host, replica } = await open();
    const keyless = request(SHARD, 'pay', { amount: 1 });
    void replica.execute(keyless).catch(() => {});
    await settle();
    const [back] = replica.demote();
    const other = await open();
    other.host.random = () => 0.9;
    other.host.isEager = true;
    await other.replica.execute(back?.request ?? keyless);
    expect(keyOf(other.host, 0)).toBe(keyOf(host, 0));
  });

  it.each([
    ['timeout', (): undefined => undefined],
    ['too-large', () => Promise.reject(new ResponseTooLarge('11 bytes'))],
    ['network', () => Promise.reject(new TypeError('fetch failed'))],
  ] as const)('tells the handler of a failure: %s', async (reason, outside) => {
    const { host, replica } = await open();
    host.isEager = true;
    host.outside = outside as never;
    const reply = replica.execute(request(SHARD, 'payOrNote'));
    await settle();
    host.advance(500);
    expect(bodyOf(await reply)).toBe(reason);
  });

  it('uncaught, becomes 502 fetch-failed without addresses inside, and changes nothing', async () => {
    const { host, replica } = await open();
    host.outside = () => Promise.reject(new Error('connect ECONNREFUSED 10.0.0.7:80'));
    const reply = await replica.execute(request(SHARD, 'pay', { amount: 5 }));
    expect(reply.status).toBe(502);
    expect(bodyOf(reply)).toMatchObject({ code: 'fetch-failed', reason: 'network' });
    expect(JSON.stringify(bodyOf(reply))).not.toContain('10.0.0.7');
    expect(replica.appliedSeq).toBe(0);
  });

  it('ends with its handler: by time, and by returning without awaiting', async () => {
    const { host, replica } = await open();
    host.isEager = true;
    host.outside = () => undefined;
    const init = { method: 'POST', timeoutMs: 30_000 };
    const late = replica.execute(request(SHARD, 'pay', { amount: 5, init }));
    await settle();
    host.advance(20_000);
    expect(bodyOf(await late)).toMatchObject({ code: 'handler-timeout' });
    expect(host.sent[0]!.signal.aborted).toBe(true);
    await replica.execute(request(SHARD, 'payForgotten'));
    await settle();
    expect(told).toHaveLength(1);
    expect(['ended', 'fetch-refused']).toContain(told[0]);
    expect(host.sent.filter(({ signal }) => !signal.aborted)).toEqual([]);
  });

  it('is waiting, not work: neither in the handler’s time nor in its CPU', async () => {
    const { host, replica } = await open();
    host.isEager = true;
    const answers: (() => void)[] = [];
    host.outside = () => new Promise((resolve) => answers.push(() => resolve(answerOf(200, ''))));
    const paid = replica.execute(request(SHARD, 'payTwice'));
    await settle();
    host.nowMs += 700;
    answers[0]!();
    await settle();
    host.nowMs += 300;
    answers[1]!();
    await paid;
    const { count, handlerMsSum } = replica.executed().commands;
    expect(count).toBe(1);
    expect(handlerMsSum).toBe(0);
    expect(replica.takeLoad().cpuMicros).toBe(0);
  });

  it.each([
    ['ftp://pay.example.com/', {}],
    ['/charges', {}],
    ['http://ann:secret@pay.example.com/', {}],
    [PAY, { method: 'CONNECT' }],
    [PAY, { method: 'GET', body: 'x' }],
    [PAY, { method: 'POST', body: { a: 1 } }],
    [PAY, { method: 'POST', body: 'x'.repeat((1 << 20) + 1) }],
    [PAY, { headers: { host: 'internal' } }],
    [PAY, { headers: { 'bad name': 'x' } }],
    [PAY, { timeoutMs: 0 }],
    [PAY, { timeoutMs: 31_000 }],
    [PAY, { responseBytesMax: 1e9 }],
  ])('refuses %s %o before anything leaves', async (url, init) => {
    const host = new FakeHost();
    const own = loadApp(
      defineApp([
        service('order', { state: () => ({}) }, { go: command((ctx) => ctx.fetch(url, init as FetchInit)) }),
      ]),
    );
    const bare = await own.open({ shard: SHARD, epoch: 1, role: 'primary', opening: { entries: [] }, host });
    expect(bodyOf(await bare.execute(request(SHARD, 'go')))).toMatchObject({ code: 'fetch-refused' });
    expect(host.sent).toEqual([]);
  });

  it('is bounded in number', async () => {
    const host = new FakeHost();
    host.isEager = true;
    const many = service(
      'many',
      { state: () => ({}) },
      {
        go: command(async (ctx, count: number) => {
          for (let i = 0; i < count; i++) await ctx.fetch(PAY);
        }),
      },
    );
    const runtime = loadApp(defineApp([many]));
    const replica = await runtime.open({
      shard: 'many/a',
      epoch: 1,
      role: 'primary',
      opening: { entries: [] },
      host,
    });
    expect((await replica.execute(request('many/a', 'go', 64))).status).toBe(200);
    expect(bodyOf(await replica.execute(request('many/a', 'go', 65)))).toMatchObject({
      code: 'fetch-refused',
    });
    expect(runtime.effects!()).toMatchObject({ fetchesSent: 128, fetchesFailed: 0 });
  });
});

describe('allowFetch', () => {
  it.each([
    [['https://pay.example.com'], 'https://pay.example.com/a?b', true],
    [['https://pay.example.com'], 'https://pay.example.com:443/', true],
    [['https://pay.example.com'], 'http://pay.example.com/', false],
    [['https://pay.example.com'], 'https://pay.example.com:8443/', false],
    [['https://pay.example.com'], 'https://pay.example.com.evil.net/', false],
    [['https://pay.example.com'], 'https://evil.net/#https://pay.example.com', false],
    [['https://*.example.com'], 'https://pay.example.com/', true],
    [['https://*.example.com'], 'https://a.b.example.com/', true],
    [['https://*.example.com'], 'https://example.com/', false],
    [['https://*.example.com'], 'https://evilexample.com/', false],
    [['http://127.0.0.1:9000'], 'http://127.0.0.1:9000/', true],
    [['http://127.0.0.1:9000'], 'http://2130706433:9000/', true],
    [['http://[::1]:9000'], 'http://[0:0::1]:9000/', true],
    [[], 'https://pay.example.com/', false],
  ] as const)('%o: may %s be asked? %s', async (allowFetch, url, expected) => {
    const { host, replica } = await open({ app: { allowFetch } });
    host.isEager = true;
    const reply = await replica.execute(request(SHARD, 'pay', { amount: 1, url }));
    expect(reply.status).toBe(expected ? 200 : 500);
    expect(host.sent).toHaveLength(expected ? 1 : 0);
  });

  it('may be a function; only true lets through', async () => {
    const allowFetch = (url: URL) => (url.pathname === '/charges' ? true : (1 as never));
    const { host, replica } = await open({ app: { allowFetch } });
    host.isEager = true;
    expect((await replica.execute(request(SHARD, 'pay', { amount: 1 }))).status).toBe(200);
    const url = 'https://pay.example.com/other';
    expect((await replica.execute(request(SHARD, 'pay', { amount: 1, url }))).status).toBe(500);
  });

  it('that lists anything but origins is refused when the app is defined', () => {
    for (const wrong of ['pay.example.com', 'https://pay.example.com/path', '*', 'https://*'])
      expect(() => defineApp([order], { allowFetch: [wrong] })).toThrow(RangeError);
  });
});

describe('ctx.fetch in a query', () => {
  it('reads only: safe methods, no key, and waits like any reply', async () => {
    const { host, replica } = await open();
    void replica.execute(request(SHARD, 'add', 5));
    host.outside = () => answerOf(200, 'EUR');
    const price = replica.execute(request(SHARD, 'price'));
    await settle();
    expect(host.sent).toEqual([]);
    replica.durable(1);
    expect(bodyOf(await price)).toBe('5 EUR');
    expect(keyOf(host, 0)).toBeUndefined();
    const post = await replica.execute(request(SHARD, 'price', { method: 'POST' }));
    expect(bodyOf(post)).toMatchObject({ code: 'fetch-refused' });
    expect(host.sent).toHaveLength(1);
  });

  it('works on a follower, whose state is durable', async () => {
    const { replica } = await open({ role: 'follower' });
    const reply = await replica.queryAt(request(SHARD, 'price'), 0, 100);
    expect(bodyOf(reply!)).toBe('0 ok');
  });

  it('has no afterCommit', async () => {
    const { replica } = await open();
    expect((await replica.execute(request(SHARD, 'bad'))).status).toBe(500);
  });

  it('sends nothing in a rehearsal', async () => {
    const { host, replica } = await open({ role: 'follower' });
    replica.rehearse({
      handler: 'price',
      input: new Uint8Array(),
      status: 200,
      body: new Uint8Array(),
      seq: 0,
      handlerMs: 1,
    });
    await settle();
    expect(host.sent).toEqual([]);
  });
});

describe('ctx.afterCommit', () => {
  const callbacksOf = async (host: FakeHost) => {
    await settle();
    host.runDeferred();
    await settle();
  };

  it('runs once the delta is durable, after the reply, and not before', async () => {
    const { host, replica } = await open();
    const reply = replica.execute(request(SHARD, 'note', { change: true }));
    await callbacksOf(host);
    expect(told).toEqual([]);
    replica.durable(1);
    expect(told).toEqual([]);
    expect(await peek(reply)).toMatchObject({ value: { status: 200 } });
    await callbacksOf(host);
    expect(told).toEqual(['committed k1 1']);
  });

  it('runs when the reply of a command that changed nothing leaves', async () => {
    const { host, replica } = await open();
    void replica.execute(request(SHARD, 'add', 1));
    void replica.execute(request(SHARD, 'note', { change: false }));
    await callbacksOf(host);
    expect(told).toEqual([]);
    replica.durable(1);
    await callbacksOf(host);
    expect(told).toEqual(['committed k1 1']);
  });

  it('does not run when the command threw', async () => {
    const { host, replica } = await open();
    host.isEager = true;
    await replica.execute(request(SHARD, 'note', { change: true, fail: true }));
    await callbacksOf(host);
    expect(told).toEqual([]);
  });

  it('does not run when the shard was lost before the delta was durable', async () => {
    const { host, replica } = await open();
    const reply = replica.execute(request(SHARD, 'note', { change: true }));
    replica.demote();
    await expect(reply).rejects.toThrow();
    await callbacksOf(host);
    expect(told).toEqual([]);
  });

  it('does not run again for a retry that is answered from memory', async () => {
    const { host, replica } = await open();
    host.isEager = true;
    const input = { change: true };
    await replica.execute(request(SHARD, 'note', input, client('c')));
    const again = await replica.execute(request(SHARD, 'note', input, client('c')));
    expect(again.replayed).toBe(true);
    await callbacksOf(host);
    expect(told).toEqual(['committed k1 1']);
  });

  it('runs once for a command that was held while sealed and ran again', async () => {
    const { host, replica } = await open();
    void replica.execute(request(SHARD, 'add', 1));
    const reply = replica.execute(request(SHARD, 'note', { change: false }));
    const sealed = replica.seal();
    replica.durable(1);
    await sealed;
    await callbacksOf(host);
    expect(told).toEqual([]);
    replica.unseal();
    expect((await reply).status).toBe(200);
    await callbacksOf(host);
    expect(told).toEqual(['committed k1 1']);
  });

  it.each([
    ['throws', 'callback threw'],
    ['rejects', 'callback rejected'],
  ])('a callback that %s is counted and told to the host, not to the caller', async (how, message) => {
    const { host, replica } = await open();
    host.isEager = true;
    expect((await replica.execute(request(SHARD, 'noteWith', how))).status).toBe(200);
    await callbacksOf(host);
    expect(host.effectErrors).toMatchObject([{ what: 'failed', error: { message } }]);
  });

  it('is given up after its time, and holds no shard meanwhile', async () => {
    const { host, replica } = await open();
    host.isEager = true;
    await replica.execute(request(SHARD, 'noteWith', 'hangs'));
    await callbacksOf(host);
    expect((await replica.execute(request(SHARD, 'add', 1))).status).toBe(200);
    await replica.seal();
    host.advance(AFTER_COMMIT_MS_MAX);
    expect(told).toEqual(['aborted']);
    expect(host.effectErrors).toHaveLength(1);
    // What it does later no longer counts.
    finish[0]!();
    await settle();
    expect(host.effectErrors).toHaveLength(1);
  });

  it('fetches with keys of its own, the same when the command is repeated', async () => {
    const keys: (string | undefined)[][] = [];
    for (let round = 0; round < 2; round++) {
      const { host, replica } = await open();
      host.isEager = true;
      await replica.execute(request(SHARD, 'noteWith', 'fetches', client('c')));
      await callbacksOf(host);
      expect(told).toEqual([200]);
      keys.push([keyOf(host, 0), keyOf(host, 1)]);
    }
    expect(keys[0]).toEqual(keys[1]);
    expect(keys[0]![0]).not.toBe(keys[0]![1]);
  });

  it('is bounded per command and in how many run at once', async () => {
    const { host, replica } = await open();
    host.isEager = true;
    const tooMany = { change: true, callbacks: AFTER_COMMIT_MAX + 1 };
    expect((await replica.execute(request(SHARD, 'note', tooMany))).status).toBe(500);
    for (let i = 0; i <= AFTER_COMMITS_AT_ONCE_MAX; i++)
      await replica.execute(request(SHARD, 'noteWith', 'hangs'));
    await callbacksOf(host);
    expect(finish).toHaveLength(AFTER_COMMITS_AT_ONCE_MAX);
    finish[0]!();
    await callbacksOf(host);
    expect(finish).toHaveLength(AFTER_COMMITS_AT_ONCE_MAX + 1);
  });

  it('runs exactly for the commands whose replies said that they took effect, whatever becomes durable', async () => {
    const step = fc.oneof(
      fc.record({ do: fc.constant('note' as const), change: fc.boolean(), fail: fc.boolean() }),
      fc.record({ do: fc.constant('durable' as const) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 20 }), fc.boolean(), async (steps, demoted) => {
        const { host, replica } = await open();
        let acknowledged = 0;
        for (const each of steps) {
          if (each.do === 'durable') replica.durable(replica.appliedSeq);
          else
            replica.execute(request(SHARD, 'note', { change: each.change, fail: each.fail })).then(
              ({ status }) => {
                if (status === 200) acknowledged++;
              },
              () => {},
            );
        }
        if (demoted) for (const held of replica.demote()) held.reject(new Error('elsewhere'));
        await callbacksOf(host);
        expect(told).toHaveLength(acknowledged);
      }),
      { numRuns: 60 },
    );
  });
});
