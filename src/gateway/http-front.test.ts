import { afterEach, describe, expect, it } from 'vitest';
import { realIo } from '../io/real.ts';
import { problem } from '../model/errors.ts';
import type { ShardReply, ShardRequest } from '../model/request.ts';
import { GatewayKeys } from './gateway-keys.ts';
import { type Front, type FrontOptions, serveFront } from './http-front.ts';

let front: Front | undefined;
const got: ShardRequest[] = [];
const fine: ShardReply = { status: 200, body: Buffer.from('{"n":1}'), epoch: 3, seq: 7, servedBy: 'a.1' };

async function serve(
  options: Partial<FrontOptions> = {},
  answer: () => ShardReply | Promise<ShardReply> = () => fine,
) {
  got.length = 0;
  front = await serveFront({
    io: realIo({ logLevel: 'silent' }),
    address: '127.0.0.1:0',
    region: 'eu-west-1',
    execute: async (request) => {
      got.push(request);
      return answer();
    },
    ready: () => true,
    metrics: async () => 'a_metric 1\n',
    ...options,
  });
  const base = `http://${front.address}`;
  return (path: string, init?: RequestInit) => fetch(base + path, init);
}
const json = (body: string, headers: Record<string, string> = {}): RequestInit => ({
  method: 'POST',
  body,
  headers: { 'content-type': 'application/json', ...headers },
});

afterEach(async () => {
  await front?.close(0);
  front = undefined;
});

describe('the HTTP front', () => {
  it('hands a command on and tells where and when it was answered', async () => {
    const call = await serve();
    const reply = await call('/room/a%2fb/add', json('{"by":1}', { 'idempotency-key': 'k1' }));
    expect(await reply.json()).toEqual({ n: 1 });
    expect(Object.fromEntries(reply.headers)).toMatchObject({
      'content-type': 'application/json',
      'cache-control': 'no-store',
      'skein-epoch': '3',
      'skein-seq': '7',
      'skein-served-by': 'a.1',
    });
    expect(got[0]).toMatchObject({
      shard: 'room/a%2Fb',
      handler: 'add',
      idempotency: { kind: 'client', key: 'k1' },
    });
    expect(Buffer.from(got[0]!.input).toString()).toBe('{"by":1}');
  });

  it('sends problems as problems, with Retry-After', async () => {
    const call = await serve({}, () => ({ ...problem('overloaded', 'test'), retryAfterS: 2 }));
    const reply = await call('/room/a/add', json('1'));
    expect([reply.status, reply.headers.get('content-type'), reply.headers.get('retry-after')]).toEqual([
      503,
      'application/problem+json',
      '2',
    ]);
  });

  it('answers 500 where the executor rejects, telling nothing of the fault', async () => {
    const call = await serve({}, () => Promise.reject(new Error('secret')));
    const reply = await call('/room/a/add', json('1'));
    expect(reply.status).toBe(500);
    expect(await reply.text()).not.toContain('secret');
  });

  it('refuses other methods with Allow, and bodies over the limit', async () => {
    const call = await serve({ bodyBytesMax: 10 });
    const put = await call('/room/a/add', { method: 'PUT' });
    expect([put.status, put.headers.get('allow')]).toEqual([405, 'GET, POST, OPTIONS']);
    expect((await call('/room/a/add', json('x'.repeat(11)))).status).toBe(413);
    expect(got).toHaveLength(0);
  });

  it('answers health, readiness and metrics', async () => {
    let ready = true;
    const call = await serve({ ready: () => ready });
    expect((await call('/healthz')).status).toBe(200);
    expect((await call('/readyz')).status).toBe(200);
    ready = false;
    expect((await call('/readyz')).status).toBe(503);
    expect((await call('/healthz', { method: 'HEAD' })).status).toBe(200);
    expect(await (await call('/metrics')).text()).toBe('a_metric 1\n');
    expect((await call('/healthz', { method: 'POST' })).status).toBe(404);
  });

  it('answers preflights by configuration and refuses commands of pages no rule allows', async () => {
    const call = await serve({ cors: { origins: ['https://a.example'] } });
    const preflight = await call('/room/a/add', {
      method: 'OPTIONS',
      headers: { origin: 'https://a.example', 'access-control-request-method': 'POST' },
    });
    expect(preflight.status).toBe(204);
    expect(preflight.headers.get('access-control-allow-origin')).toBe('https://a.example');
    expect(preflight.headers.get('access-control-allow-headers')).toContain('idempotency-key');
    const command = await call('/room/a/add', json('1', { origin: 'https://a.example' }));
    expect(command.headers.get('access-control-expose-headers')).toContain('skein-seq');
    const problemReply = await call('/room/a/then', json('1', { origin: 'https://a.example' }));
    expect(problemReply.headers.get('access-control-allow-origin')).toBe('https://a.example');
  });

  it('gives keys to commands without one where it has a source, and gives them back', async () => {
    const idempotency = new GatewayKeys('node.1');
    const call = await serve({ idempotency });
    await call('/room/a/add', json('1'));
    await call('/room/a/add', json('1', { 'idempotency-key': 'mine' }));
    await call('/room/a/list?input=1');
    expect(got.map((request) => request.idempotency)).toEqual([
      { kind: 'gateway', gateway: 'node.1', number: 1, lowWater: 1 },
      { kind: 'client', key: 'mine' },
      undefined,
    ]);
    expect(idempotency.underWay).toBe(0);
  });
});
