import { afterEach, describe, expect, it } from 'vitest';
import { EmulatedNetwork } from '../io/emulated-network.ts';
import type { Listener, Network } from '../io/io.ts';
import { realClock } from '../io/real.ts';
import { TcpNetwork } from '../io/tcp-network.ts';
import { AWS_THREE_REGIONS } from '../model/topology.ts';
import {
  RpcClient,
  RpcError,
  type RpcHandlers,
  SILENCE_MS_MAX,
  type StreamContext,
  serveRpc,
} from './rpc.ts';

const open: { close(): unknown }[] = [];
afterEach(async () => {
  for (const resource of open.splice(0).reverse()) await resource.close();
});

async function serve(handlers: RpcHandlers, network: Network = new TcpNetwork()): Promise<Listener> {
  const listener = await serveRpc({ network, address: '127.0.0.1:0', token: 'secret', handlers });
  open.push(listener);
  return listener;
}

function connect(
  address: string,
  options: { token?: string; network?: Network; timeoutMs?: number } = {},
): RpcClient {
  const client = new RpcClient({
    network: options.network ?? new TcpNetwork(),
    clock: realClock,
    address,
    token: options.token ?? 'secret',
    identity: 'test',
    timeoutMs: options.timeoutMs,
  });
  open.push(client);
  return client;
}

describe('calls', () => {
  it('carry structures, bytes and the caller', async () => {
    const { address } = await serve({
      calls: { echo: (payload: unknown, context) => ({ payload, from: context.identity }) },
    });
    const payload = { a: [1, 2.5, null, 'x'], bytes: new Uint8Array([1, 2, 3]), nested: { b: true } };
    const client = connect(address);
    for (let i = 0; i < 3; i++) {
      const result = await client.call<{ payload: typeof payload; from: string }>('echo', payload);
      expect({ ...result.payload, bytes: [...result.payload.bytes] }).toEqual({
        ...payload,
        bytes: [1, 2, 3],
      });
      expect(result.from).toBe('test');
    }
  });

  it('run side by side and may answer in any order', async () => {
    const waiting: (() => void)[] = [];
    const { address } = await serve({
      calls: {
        wait: () => new Promise<string>((resolve) => waiting.push(() => resolve('waited'))),
        release: () => {
          for (const resolve of waiting) resolve();
          return 'released';
        },
      },
    });
    const client = connect(address);
    const first = client.call('wait', {});
    expect(await client.call('release', {})).toBe('released');
    expect(await first).toBe('waited');
  });

  it('pass on the code, message and data of an error', async () => {
    const { address } = await serve({
      calls: {
        fail: () => {
          throw Object.assign(new Error('no'), { code: 'refused', data: { why: 1 } });
        },
      },
    });
    const error = await connect(address)
      .call('fail', {})
      .catch((e: unknown) => e as RpcError);
    expect(error).toMatchObject({ code: 'refused', message: 'no', data: { why: 1 } });
    await expect(connect(address).call('missing', {})).rejects.toMatchObject({ code: 'no-such-method' });
  });

  it('are unavailable when nobody listens, and when no answer comes in time', async () => {
    const { address } = await serve({ calls: { never: () => new Promise(() => {}) } });
    await expect(connect('127.0.0.1:1').call('x', {})).rejects.toMatchObject({ code: 'unavailable' });
    await expect(connect(address, { timeoutMs: 20 }).call('never', {})).rejects.toMatchObject({
      code: 'unavailable',
    });
  });

  it('are refused without the token', async () => {
    const { address } = await serve({ calls: { x: () => 1 } });
    await expect(connect(address, { token: 'wrong' }).call('x', {})).rejects.toThrow(/token/);
  });

  it('connect again after the server came back', async () => {
    const first = await serve({ calls: { x: () => 1 } });
    const client = connect(first.address);
    expect(await client.call('x', {})).toBe(1);
    await first.close();
    await expect(client.call('x', {})).rejects.toBeInstanceOf(RpcError);
    const second = await serveRpc({
      network: new TcpNetwork(),
      address: first.address,
      token: 'secret',
      handlers: { calls: { x: () => 2 } },
    });
    open.push(second);
    let result: unknown;
    while (result === undefined) result = await client.call('x', {}).catch(() => undefined);
    expect(result).toBe(2);
  });
});

describe('streams', () => {
  it('deliver items in order, then end; a cancel reaches the server', async () => {
    let context: StreamContext | undefined;
    let cancelled: () => void;
    const cancellation = new Promise<void>((resolve) => {
      cancelled = resolve;
    });
    const { address } = await serve({
      streams: {
        count: async (payload: { to: number }, stream) => {
          for (let i = 0; i < payload.to; i++) stream.emit(i);
          return 'done';
        },
        forever: (_payload: never, stream) => {
          context = stream;
          stream.onCancel = () => cancelled();
          stream.emit('first');
          return new Promise(() => {});
        },
      },
    });
    const client = connect(address);
    const items: number[] = [];
    await new Promise<void>((resolve) =>
      client.open<number>(
        'count',
        { to: 5 },
        (item) => items.push(item),
        (error) => {
          expect(error).toBeUndefined();
          resolve();
        },
      ),
    );
    expect(items).toEqual([0, 1, 2, 3, 4]);
    await new Promise<void>((resolve) => {
      const stream = client.open(
        'forever',
        {},
        () => {
          stream.cancel();
          resolve();
        },
        () => {},
      );
    });
    await cancellation;
    expect(() => context?.emit('after the end')).not.toThrow();
  });

  it('end with an error when the connection breaks', async () => {
    const listener = await serve({ streams: { forever: () => new Promise(() => {}) } });
    const client = connect(listener.address);
    const ended = new Promise<RpcError | undefined>((resolve) =>
      client.open('forever', {}, () => {}, resolve),
    );
    await client.call('none', {}).catch(() => undefined);
    await listener.close();
    expect(await ended).toMatchObject({ code: 'unavailable' });
  });
});

it('a server that is silent but alive is not given up', async () => {
  const clock = {
    ...realClock,
    // A hundred times as fast: the silence of six seconds passes in sixty milliseconds.
    monotonicMs: () => realClock.monotonicMs() * 100,
    setTimer: (delayMs: number, fire: () => void) => realClock.setTimer(delayMs / 100, fire),
  };
  let answer: (value: string) => void = () => {};
  const { address } = await serve({
    calls: { slow: () => new Promise((resolve) => (answer = resolve)), now: () => 1 },
  });
  const client = new RpcClient({
    network: new TcpNetwork(),
    clock,
    address,
    token: 'secret',
    identity: 'test',
  });
  open.push(client);
  await client.call('now', {}, { timeoutMs: 1e9 });
  const slow = client.call('slow', {}, { timeoutMs: 1e9 });
  await new Promise((resolve) => realClock.setTimer((SILENCE_MS_MAX / 100) * 3, () => resolve(undefined)));
  answer('after a long silence');
  expect(await slow).toBe('after a long silence');
});

it('a connection on which nothing is heard any more is given up long before its calls time out', async () => {
  const clock = {
    ...realClock,
    monotonicMs: () => realClock.monotonicMs() * 100,
    setTimer: (delayMs: number, fire: () => void) => realClock.setTimer(delayMs / 100, fire),
  };
  // A listener that accepts and never says anything, as a host that vanished after the handshake.
  const mute = await new TcpNetwork().listen('127.0.0.1:0', () => {});
  open.push(mute);
  const client = new RpcClient({
    network: new TcpNetwork(),
    clock,
    address: mute.address,
    token: 'secret',
    identity: 'test',
  });
  open.push(client);
  await expect(client.call('x', {}, { timeoutMs: 1e9 })).rejects.toThrow(/nothing heard/);
});

it('a hostile peer is cut off and harms nobody', async () => {
  const { address } = await serve({ calls: { x: () => 1 } });
  const channel = new TcpNetwork().connect(address);
  const closed = new Promise((resolve) => {
    channel.onClose = resolve;
  });
  channel.send(new Uint8Array([0xc1, 0xff, 0x00]));
  await closed;
  expect(await connect(address).call('x', {})).toBe(1);
});

it('an emulated network takes the published round trip', async () => {
  const network = (region: string) =>
    new EmulatedNetwork({ inner: new TcpNetwork(), clock: realClock, region, topology: AWS_THREE_REGIONS });
  const far = network('eu-west-1');
  const { address } = await serve({ calls: { x: () => 1 } }, far);
  const near = network('us-east-1');
  const client = connect(address, { network: near });
  await client.call('x', {});
  const startMs = performance.now();
  await client.call('x', {});
  const tookMs = performance.now() - startMs;
  expect(tookMs).toBeGreaterThan(84);
  expect(near.bytesTo['eu-west-1']).toBeGreaterThan(0);
  expect(far.bytesTo['us-east-1']).toBeGreaterThan(0);
});
