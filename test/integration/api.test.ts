import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeApi } from '../../src/api/app.ts';
import { serveApi } from '../../src/api/server.ts';
import { Operations } from '../../src/controller/operations.ts';
import { isErrorCode } from '../../src/model/errors.ts';
import { CONTROL_KEYS, encodeRecord } from '../../src/model/records.ts';
import { addCell, assign, makeController, makeRig, type Rig } from './controller-kit.ts';

let rig: Rig;
let api: ReturnType<typeof makeApi>;

beforeAll(async () => {
  rig = await makeRig({ policy: 'reactive' });
  await rig.world.settle(rig.nodes.join('us', 'us-east-1'));
  await rig.world.settle(rig.nodes.join('eu', 'eu-west-1'));
  for (const shard of ['room/a', 'room/b', 'room/c%2Fd', 'room/50%25'])
    await rig.world.settle(assign(rig.control, shard, 'us.1'));
  rig.nodes.load.set('room/a', { 'us-east-1': 10 });
  rig.executor.finish = false;
  await rig.world.settle(rig.controller.start());
  await rig.world.run(rig.world.nowMs + 10_000);
  api = makeApi({ operations: new Operations(rig.controller), version: '1.2.3', ready: () => true });
});

afterAll(() => rig.world.settle(rig.controller.stop()));

async function call(
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
): Promise<{ status: number; body: Record<string, unknown>; type: string }> {
  const response = await api.fetch(
    new Request(`http://127.0.0.1:7460${path}`, {
      method,
      headers: {
        host: '127.0.0.1:7460',
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      body: body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body),
    }),
  );
  return {
    status: response.status,
    body: (await response.json()) as Record<string, unknown>,
    type: response.headers.get('content-type') ?? '',
  };
}

/** The same where the answer waits for the control store, which lives in virtual time. */
function order(...request: Parameters<typeof call>): ReturnType<typeof call> {
  return rig.world.settle(call(...request));
}

/** Every error is a problem document with a documented code. */
async function refused(...request: Parameters<typeof call>): Promise<Record<string, unknown>> {
  const { status, body, type } = await call(...request);
  expect(type).toContain('application/problem+json');
  expect(isErrorCode(String(body.code)), String(body.code)).toBe(true);
  expect(body.status).toBe(status);
  return body;
}

describe('reading', () => {
  it('shows the cluster, its shards a page at a time, and its nodes', async () => {
    expect((await call('GET', '/v1/status')).body).toMatchObject({ leads: true, shards: 4, mode: 'auto' });
    const first = await call('GET', '/v1/shards?limit=3');
    expect(first.body).toMatchObject({ next: 'room/b' });
    const rest = await call('GET', `/v1/shards?limit=3&after=${encodeURIComponent(String(first.body.next))}`);
    expect((rest.body.shards as { shard: string }[]).map((s) => s.shard)).toEqual(['room/c%2Fd']);
    expect((await call('GET', '/v1/shards?region=eu-west-1')).body).toEqual({ shards: [] });
    expect((await call('GET', '/v1/shards?node=us&service=room')).body.shards).toHaveLength(4);
    expect((await call('GET', '/v1/nodes')).body.nodes).toMatchObject([
      { name: 'eu' },
      { name: 'us', shards: 4 },
    ]);
  });

  it('takes keys in their percent-encoding, once', async () => {
    expect((await call('GET', '/v1/shards/room/c%2Fd')).body).toMatchObject({ key: 'c/d' });
    expect((await call('GET', '/v1/shards/room/50%25')).body).toMatchObject({
      key: '50%',
      shard: 'room/50%25',
    });
  });

  it('shows decisions, plan, forecast, explanation and migrations', async () => {
    const { decisions } = (await call('GET', '/v1/decisions?limit=3')).body;
    expect(decisions).toHaveLength(3);
    expect((await call('GET', '/v1/plan')).status).toBe(200);
    const forecast = (await call('GET', '/v1/forecast')).body;
    expect((forecast.history as number[]).at(-1)).toBeCloseTo(10);
    expect((forecast.p50 as number[]).length).toBe((forecast.horizonsS as number[]).length);
    expect((await call('GET', '/v1/forecast/room/a')).body).toMatchObject({ shard: 'room/a' });
    const cpu = (await call('GET', '/v1/forecast?node=us&metric=cpu&aheadS=86400')).body;
    expect(cpu).toMatchObject({ node: 'us', metric: 'cpu' });
    expect((cpu.horizonsS as number[]).at(-1)).toBe(86_400);
    expect((await call('GET', '/v1/forecast?region=us-east-1')).body.region).toBe('us-east-1');
    expect((await refused('GET', '/v1/forecast?node=mars')).code).toBe('not-found');
    expect((await refused('GET', '/v1/forecast?metric=luck')).code).toBe('input-invalid');
    expect((await refused('GET', '/v1/forecast?aheadS=90000')).code).toBe('input-invalid');
    const explained = (await call('GET', '/v1/shards/room/a/explain')).body;
    expect(explained).toMatchObject({ node: 'us', region: 'us-east-1' });
    expect((explained.because as string[])[0]).toMatch(/first request put it/);
    expect((explained.alternatives as { name: string }[]).map((a) => a.name)).toContain('eu');
    expect((await call('GET', '/v1/migrations')).status).toBe(200);
  });

  it('describes itself: every path it answers is in the OpenAPI document', async () => {
    const { body } = await call('GET', '/v1/openapi.json');
    expect(body.info).toMatchObject({ version: '1.2.3' });
    expect(Object.keys(body.paths as object).sort()).toEqual([
      '/v1/decisions',
      '/v1/events',
      '/v1/forecast',
      '/v1/forecast/{service}/{key}',
      '/v1/migrations',
      '/v1/migrations/{id}/cancel',
      '/v1/mode',
      '/v1/nodes',
      '/v1/nodes/{name}/cordon',
      '/v1/nodes/{name}/drain',
      '/v1/nodes/{name}/uncordon',
      '/v1/plan',
      '/v1/shards',
      '/v1/shards/{service}/{key}',
      '/v1/shards/{service}/{key}/explain',
      '/v1/shards/{service}/{key}/move',
      '/v1/shards/{service}/{key}/release',
      '/v1/signals',
      '/v1/status',
    ]);
  });

  it('answers health checks and metrics', async () => {
    expect((await call('GET', '/healthz')).status).toBe(200);
    expect((await call('GET', '/readyz')).body).toEqual({ ready: true, leads: true });
    const metrics = await api.fetch(
      new Request('http://127.0.0.1:7460/metrics', { headers: { host: '127.0.0.1' } }),
    );
    expect(await metrics.text()).toMatch(/^skein_shards 4$/m);
  });
});

describe('ordering', () => {
  it('moves a shard to a node or a region, once at a time, and can cancel it', async () => {
    const moved = await call('POST', '/v1/shards/room/b/move', { region: 'eu-west-1' });
    expect(moved).toMatchObject({ status: 202, body: { target: 'eu' } });
    expect((await refused('POST', '/v1/shards/room/b/move', { node: 'eu' })).code).toBe('conflict');
    expect((await call('GET', '/v1/shards/room/b')).body.migration).toMatchObject({ target: 'eu' });
    expect((await call('POST', `/v1/migrations/${moved.body.migration}/cancel`)).status).toBe(202);
    expect((await refused('POST', `/v1/migrations/${moved.body.migration}/cancel`)).code).toBe('conflict');
    expect((await refused('POST', '/v1/migrations/none/cancel')).code).toBe('not-found');
    expect((await refused('POST', '/v1/shards/room/a/move', { node: 'us' })).detail).toMatch(/already/);
  });

  it('moves the log to another cell with the shard, if it is of the region that the shard is to be in', async () => {
    await rig.world.settle(addCell(rig.control, 'eu-b', 'eu-west-1'));
    await rig.world.run(rig.world.nowMs + 1_000);
    const to = (cell: string) => refused('POST', '/v1/shards/room/c%2Fd/move', { node: 'eu', cell });
    expect(await to('eu-c')).toMatchObject({
      code: 'conflict',
      detail: 'there is no cell eu-c; eu-west-1 has cell-eu-west-1, eu-b',
    });
    expect((await to('cell-us-east-1')).detail).toBe(
      'cell-us-east-1 is in us-east-1, not in eu-west-1, which has cell-eu-west-1, eu-b',
    );
    for (const cell of ['cell-eu-west-1', 'eu-b']) {
      const moved = await call('POST', '/v1/shards/room/c%2Fd/move', { region: 'eu-west-1', cell });
      expect(moved.status).toBe(202);
      expect(rig.executor.started.at(-1)).toMatchObject({ shard: 'room/c%2Fd', cell });
      await call('POST', `/v1/migrations/${moved.body.migration}/cancel`);
    }
  });

  it('cordons, drains, sets the mode, releases and takes signals; all of it outlives this controller', async () => {
    expect((await order('POST', '/v1/nodes/eu/cordon', { reason: 'disk' })).body).toEqual({
      node: 'eu',
      cordoned: true,
    });
    await rig.world.run(rig.world.nowMs + 100);
    expect((await call('GET', '/v1/nodes')).body.nodes).toMatchObject([{ name: 'eu', cordoned: true }, {}]);
    expect((await order('POST', '/v1/nodes/eu/uncordon')).body).toEqual({ node: 'eu', cordoned: false });
    expect((await call('POST', '/v1/nodes/us/drain')).body).toEqual({ node: 'us', shards: 4 });
    expect(rig.nodes.drained).toEqual(['us']);
    expect((await order('PUT', '/v1/mode', { mode: 'observe' })).body).toMatchObject({ mode: 'observe' });
    await rig.world.run(rig.world.nowMs + 100);
    expect(rig.controller.mode).toBe('observe');
    await rig.world.settle(
      rig.control.transact({
        compare: [],
        operations: [
          {
            put: CONTROL_KEYS.quarantine('room/a'),
            value: encodeRecord({
              shard: 'room/a',
              handler: 'loop',
              deaths: [],
              quarantined: true,
              sinceMs: 0,
            }),
          },
        ],
      }),
    );
    await rig.world.run(rig.world.nowMs + 100);
    expect((await order('POST', '/v1/shards/room/a/release')).body).toEqual({
      shard: 'room/a',
      released: true,
    });
    const nowMs = rig.io.clock.realtimeMs();
    const signal = {
      name: 'final',
      scope: { service: 'room' },
      fromMs: nowMs,
      toMs: nowMs + 60_000,
      factor: 3,
    };
    expect((await order('POST', '/v1/signals', signal)).status).toBe(201);
    await rig.world.run(rig.world.nowMs + 100);
    expect((await call('GET', '/v1/signals')).body.signals).toMatchObject([signal]);
    const { factor, ...labelled } = { ...signal, label: 'final', fromMs: nowMs + 1, toMs: nowMs + 60_000 };
    expect((await order('POST', '/v1/signals', labelled)).body).toMatchObject({ label: 'final', factor: 1 });
    expect((await refused('POST', '/v1/signals', { ...labelled, label: 'a\u0000b' })).code).toBe(
      'input-invalid',
    );
  });
});

describe('refusing', () => {
  it('explains bad input', async () => {
    expect((await refused('POST', '/v1/shards/room/a/move', { nowhere: 1 })).code).toBe('input-invalid');
    expect((await refused('POST', '/v1/shards/room/a/move', '{not json')).code).toBe('input-invalid');
    expect((await refused('POST', '/v1/shards/room/a/move', { node: 'mars' })).detail).toMatch(/eu, us/);
    expect((await refused('POST', '/v1/shards/room/a/move', { region: 'mars' })).detail).toMatch(/eu-west-1/);
    expect((await refused('GET', '/v1/shards?limit=0')).code).toBe('input-invalid');
    expect((await refused('GET', '/v1/shards/Room/a')).code).toBe('input-invalid');
    expect((await refused('GET', '/v1/shards/room/none')).code).toBe('not-found');
    expect((await refused('PUT', '/v1/mode', { mode: 'wild' })).code).toBe('input-invalid');
    expect((await refused('POST', '/v1/signals', { name: 'x' })).code).toBe('input-invalid');
    expect((await refused('GET', '/v1/nothing')).code).toBe('not-found');
    expect((await refused('POST', '/v1/signals', JSON.stringify({ name: 'x'.repeat(70_000) }))).code).toBe(
      'body-too-large',
    );
  });

  it('keeps web pages and other hosts out where there is no token', async () => {
    expect((await refused('GET', '/v1/status', undefined, { origin: 'https://evil.example' })).code).toBe(
      'forbidden',
    );
    expect((await refused('GET', '/v1/status', undefined, { host: 'evil.example' })).code).toBe('forbidden');
    expect((await call('GET', '/v1/status', undefined, { origin: 'http://127.0.0.1:7460' })).status).toBe(
      200,
    );
  });

  it('with a token wants it everywhere but on health checks', async () => {
    const options = {
      operations: new Operations(rig.controller),
      token: 'sesame',
      version: '1',
      ready: () => true,
    };
    const guarded = makeApi(options);
    const status = async (path: string, authorization?: string) =>
      (
        await guarded.fetch(
          new Request(`http://skein.internal${path}`, { headers: authorization ? { authorization } : {} }),
        )
      ).status;
    expect(await status('/v1/status')).toBe(401);
    expect(await status('/metrics')).toBe(401);
    expect(await status('/v1/status', 'Bearer wrong')).toBe(401);
    expect(await status('/v1/status', 'Bearer sesame')).toBe(200);
    expect(await status('/healthz')).toBe(200);
  });

  it('will not listen beyond this machine without a token', async () => {
    const options = { operations: new Operations(rig.controller), version: '1', ready: () => true };
    await expect(serveApi({ ...options, address: '0.0.0.0:0' })).rejects.toMatchObject({
      code: 'unauthorized',
    });
    await expect(serveApi({ ...options, address: '192.0.2.1:0' })).rejects.toThrow(/SKEIN_TOKEN/);
  });

  it('on a standby says who leads, and still reads', async () => {
    const standby = makeController(rig, { processId: 'controller.2', name: 'second', policy: 'static' });
    await rig.world.settle(standby.controller.start());
    await rig.world.run(rig.world.nowMs + 3_000);
    const own = makeApi({ operations: new Operations(standby.controller), version: '1', ready: () => true });
    const get = (path: string) =>
      own.fetch(new Request(`http://127.0.0.1${path}`, { headers: { host: '127.0.0.1' } }));
    expect((await get('/v1/shards')).status).toBe(200);
    const response = await get('/v1/migrations');
    expect(response.status).toBe(409);
    expect(await response.json()).toMatchObject({ code: 'not-leading', leader: 'http://127.0.0.1:7460' });
    await rig.world.settle(standby.controller.stop());
  });
});

describe('events', () => {
  it('come with ids, and a client that comes back gets what it missed, or is told that it cannot', async () => {
    const open = (headers: Record<string, string> = {}) =>
      api.fetch(
        new Request('http://127.0.0.1/v1/events?types=decision', {
          headers: { host: '127.0.0.1', ...headers },
        }),
      );
    const reader = (await open()).body!.getReader();
    await rig.world.run(rig.world.nowMs + 2_100);
    const first = await readUntil(reader, (text) => text.split('event: decision').length > 2);
    await reader.cancel();
    const id = /id: (\S+)/.exec(first)![1]!;
    expect(first).toMatch(/"reason":/);
    const again = (await open({ 'last-event-id': id })).body!.getReader();
    const missed = await readUntil(again, (text) => text.includes('event: decision'));
    expect(missed).not.toContain(`id: ${id}\n`);
    expect(missed).not.toContain('event: reset');
    await again.cancel();
    const stranger = (await open({ 'last-event-id': 'another:7' })).body!.getReader();
    expect(await readUntil(stranger, (text) => text.includes('event: reset'))).toContain('event: reset');
    await stranger.cancel();
  });
});

async function readUntil(
  reader: ReadableStreamDefaultReader<Uint8Array>,
  enough: (text: string) => boolean,
): Promise<string> {
  let text = '';
  while (!enough(text)) {
    const { value, done } = await reader.read();
    if (done) break;
    text += new TextDecoder().decode(value);
  }
  return text;
}
