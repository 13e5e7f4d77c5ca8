import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import {
  command,
  createClient,
  defineApp,
  InMemory,
  ProblemError,
  query,
  Refusal,
  service,
} from './index.ts';

const counter = service(
  'counter',
  { state: () => ({ value: 0 }) },
  {
    add: command((ctx, amount: number) => {
      ctx.state.value += amount;
      return ctx.state.value;
    }),
    get: query((ctx) => ctx.state.value),
    set: command(z.object({ to: z.number() }), (ctx, { to }) => {
      ctx.state.value = to;
    }),
    refuse: command(() => {
      throw new Refusal('too-late', 'the sale is over', { status: 410, extensions: { since: 3 } });
    }),
  },
);
const app = defineApp([counter]);

/** A world whose network answers as told and whose time passes at once. */
function world(answers: (Response | TypeError | 'pass')[], inner = new InMemory(app)) {
  const sent: { url: string; headers: Record<string, string>; body: unknown }[] = [];
  const waitedMs: number[] = [];
  let nowMs = 0;
  return {
    sent,
    waitedMs,
    io: {
      fetch: (async (url: string, init: RequestInit) => {
        sent.push({ url, headers: { ...(init.headers as Record<string, string>) }, body: init.body });
        const answer = answers.shift() ?? 'pass';
        if (answer instanceof TypeError) throw answer;
        return answer === 'pass' ? inner.fetch(url, init) : answer;
      }) as unknown as typeof fetch,
      uniqueKey: () => 'key-1',
      random: () => 0.5,
      monotonicMs: () => nowMs,
      setTimer(delayMs: number, fire: () => void) {
        waitedMs.push(delayMs);
        nowMs += delayMs;
        queueMicrotask(fire);
        return () => {};
      },
    },
  };
}

const busy = (retryAfterS: number) =>
  new Response('{"code":"overloaded","status":503,"detail":"busy","title":"t","type":"x"}', {
    status: 503,
    headers: { 'retry-after': String(retryAfterS) },
  });

describe('the client', () => {
  it('calls handlers and says which state a reply saw', async () => {
    const client = new InMemory(app).client();
    expect(await client.counter('k/1 é').add(2)).toBe(2);
    expect(await client.counter('k/1 é').set({ to: 7 })).toBeUndefined();
    expect(await client.counter('k/1 é').get.detailed(undefined, { minSeq: 2 })).toEqual({
      value: 7,
      epoch: 1,
      stalenessMs: 0,
      seq: 2,
      replayed: false,
    });
    expect(await client.counter('other').get()).toBe(0);
  });

  it('repeats one key, with its age, over broken connections and 503, and takes effect once', async () => {
    const { io, sent, waitedMs } = world([new TypeError('fetch failed'), busy(2), 'pass']);
    const client = createClient<typeof app>('http://somewhere/', { io });
    expect(await client.counter('k').add(1)).toBe(1);
    expect(sent.map(({ headers }) => headers['idempotency-key'])).toEqual(['"key-1"', '"key-1"', '"key-1"']);
    expect(sent.map(({ headers }) => headers['idempotency-key-age'])).toEqual([undefined, '50', '2050']);
    expect(waitedMs).toEqual([50, 2_000]);
    expect(sent[0]).toMatchObject({ url: 'http://somewhere/counter/k/add', body: '1' });
    const again = await client.counter('k').add.detailed(1);
    expect(again).toMatchObject({ value: 1, replayed: true });
  });

  it('asks for answers that may be late, and says how late one may be', async () => {
    const { io, sent } = world([
      new Response('5', { status: 200, headers: { 'skein-seq': '9', 'skein-staleness': '120' } }),
    ]);
    const client = createClient<typeof app>('http://x', { io });
    expect(await client.counter('k').get.detailed(undefined, { atMostStaleMs: 250.9 })).toMatchObject({
      value: 5,
      seq: 9,
      stalenessMs: 120,
    });
    expect(sent[0]!.headers['skein-max-staleness']).toBe('250');
  });

  it('gives up after the retries it was given', async () => {
    const none = world([busy(1)]);
    const once = createClient<typeof app>('http://x', { io: none.io, retries: 0 }).counter('k').add(1);
    await expect(once).rejects.toMatchObject({ code: 'overloaded', status: 503 });
    expect(none.sent).toHaveLength(1);
    const broken = world([new TypeError('a'), new TypeError('b'), new TypeError('c')]);
    const call = createClient<typeof app>('http://x', { io: broken.io, retries: 2 }).counter('k').get();
    await expect(call).rejects.toThrow('c');
  });

  it('throws errors by code, refusals included, and never retries them', async () => {
    const { io, sent } = world([]);
    const client = createClient<typeof app>('http://x', { io });
    const refused = await client
      .counter('k')
      .refuse()
      .catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(ProblemError);
    expect(refused).toMatchObject({
      code: 'too-late',
      status: 410,
      detail: 'the sale is over',
      extensions: { since: 3 },
    });
    // @ts-expect-error refused by the compiler, and by the server
    await expect(client.counter('k').set({ to: 'x' })).rejects.toMatchObject({ code: 'input-invalid' });
    // @ts-expect-error no such handler
    await expect(client.counter('k').missing()).rejects.toMatchObject({
      code: 'handler-unknown',
      status: 404,
    });
    expect(sent).toHaveLength(3);
  });

  it('names what answered without a problem document', async () => {
    const { io } = world([new Response('<html>', { status: 502 })]);
    const call = createClient<typeof app>('http://x', { io }).counter('k').get();
    await expect(call).rejects.toMatchObject({ code: 'internal', status: 502 });
  });

  it('stops waiting when its signal says so', async () => {
    const { io } = world([busy(1)]);
    const aborting = new AbortController();
    const client = createClient<typeof app>('http://x', {
      io: { ...io, setTimer: () => () => queueMicrotask(() => {}) },
    });
    const call = client.counter('k').add(1, { signal: aborting.signal });
    await Promise.resolve();
    aborting.abort(new Error('enough'));
    await expect(call).rejects.toThrow('enough');
  });

  it('is no promise, and refuses keys that cannot be', () => {
    const client = createClient<typeof app>('http://x');
    expect((client as { then?: unknown }).then).toBeUndefined();
    expect(() => client.counter('..')).toThrow(RangeError);
  });
});

describe('declaring', () => {
  it('refuses names and versions that are not allowed', () => {
    const state = () => ({ a: 1 });
    expect(() => service('V1', { state }, {})).toThrow(RangeError);
    expect(() => service('metrics', { state }, {})).toThrow(RangeError);
    // biome-ignore lint/suspicious/noThenProperty: that is the point
    expect(() => service('ok', { state }, { then: query(() => 1) })).toThrow(RangeError);
    expect(() => service('ok', { state, version: 0 }, {})).toThrow(RangeError);
    expect(() => service('ok', { state, version: 1, upgrade: { 1: () => 1 } }, {})).toThrow(RangeError);
    expect(() => service('ok', { state }, { a: {} as never })).toThrow(TypeError);
    expect(() => defineApp([service('a', { state }, {}), service('a', { state }, {})])).toThrow(RangeError);
  });
});
