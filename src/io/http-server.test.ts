import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import {
  addressList,
  DISCARD_BYTES_MAX,
  type HttpRequest,
  type HttpServer,
  serveHttpServer,
} from './http-server.ts';
import { parseAddress } from './tcp-network.ts';

const BODY_BYTES_MAX = 1_000;
let server: HttpServer | undefined;
const seen: { method: string; target: string; body: string }[] = [];

async function serve(answer?: (request: HttpRequest) => Uint8Array): Promise<string> {
  seen.length = 0;
  server = await serveHttpServer({
    address: '127.0.0.1:0',
    bodyBytesMax: BODY_BYTES_MAX,
    handle(request, responder) {
      const { method, target } = request;
      if (target === '/throw') throw new Error('a bug');
      seen.push({ method, target, body: Buffer.from(request.body).toString() });
      responder.respond(200, ['content-type', 'text/plain'], answer?.(request) ?? Buffer.from(`${target}\n`));
      responder.respond(500, [], Buffer.from('twice'));
    },
  });
  return server.address;
}

afterEach(async () => {
  await server?.close();
  server = undefined;
});

/** Sends raw bytes and gives back all that comes until the server closes, or until `until` has come. */
async function raw(address: string, text: string, until?: string): Promise<string> {
  const socket: Socket = connect(parseAddress(address));
  let all = '';
  socket.setEncoding('latin1');
  const ended = new Promise<void>((resolve) => {
    socket.on('data', (chunk: string) => {
      all += chunk;
      if (until !== undefined && all.includes(until)) resolve();
    });
    socket.on('close', () => resolve());
    socket.on('error', () => resolve());
  });
  await once(socket, 'connect');
  socket.write(text, 'latin1');
  await ended;
  socket.destroy();
  return all;
}

describe('the HTTP server', () => {
  it('hands on whole requests and answers once, with the length', async () => {
    const address = await serve();
    const reply = await fetch(`http://${address}/a?b=c`, { method: 'POST', body: 'hello' });
    expect(reply.headers.get('content-length')).toBe('7');
    expect(await reply.text()).toBe('/a?b=c\n');
    expect(seen).toEqual([{ method: 'POST', target: '/a?b=c', body: 'hello' }]);
  });

  it('returns bytes as they are, small and large', async () => {
    for (const bytes of [256, 100_000]) {
      const body = Uint8Array.from({ length: bytes }, (_, i) => i % 256);
      const address = await serve(() => body);
      const reply = await fetch(`http://${address}/`);
      expect(new Uint8Array(await reply.arrayBuffer())).toEqual(body);
      await server!.close();
    }
  });

  it('puts chunked bodies together, and keeps the connection for the next request', async () => {
    const address = await serve();
    const text =
      'POST /1 HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n' +
      'GET /2 HTTP/1.1\r\nhost: x\r\n\r\n';
    const all = await raw(address, text, '/2\n');
    expect(all.match(/HTTP\/1.1 200/g)).toHaveLength(2);
    // Pipelined requests may run side by side; their replies keep the order.
    expect(all.indexOf('/1\n')).toBeLessThan(all.indexOf('/2\n'));
    expect(seen.find((request) => request.target === '/1')?.body).toBe('abcde');
  });

  it('does not normalise the target', async () => {
    const address = await serve();
    await raw(address, 'GET /room/../add HTTP/1.1\r\nhost: x\r\n\r\n', 'add\n');
    expect(seen[0]?.target).toBe('/room/../add');
  });

  it('answers 413 before reading a body that is declared too large', async () => {
    const address = await serve();
    const all = await raw(
      address,
      `POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\nabc`,
      'code"',
    );
    expect(all).toContain('HTTP/1.1 413');
    expect(all).toContain('"code":"body-too-large"');
    expect(seen).toEqual([]);
  });

  it('answers 413 to a client that writes all of its body first', async () => {
    const address = await serve();
    const reply = await fetch(`http://${address}/a`, {
      method: 'POST',
      body: 'x'.repeat(DISCARD_BYTES_MAX / 2),
    });
    expect(reply.status).toBe(413);
    expect(reply.headers.get('content-type')).toBe('application/problem+json');
  });

  it('answers 413 to chunks that grow too large, and cuts one that never ends', async () => {
    const address = await serve();
    const chunk = `${(500).toString(16)}\r\n${'x'.repeat(500)}\r\n`;
    const head = 'POST /a HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n';
    const all = await raw(address, head + chunk.repeat(3), 'code"');
    expect(all).toContain('HTTP/1.1 413');
    // The server must end it: `raw` waits for the close.
    await raw(address, head + chunk.repeat(DISCARD_BYTES_MAX / 500 + 100));
    expect(seen).toEqual([]);
  });

  it('does not ask for a body it will refuse', async () => {
    const address = await serve();
    const head = (bytes: number) =>
      `POST /a HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: ${bytes}\r\n\r\n`;
    expect(await raw(address, head(5_000), 'code"')).toMatch(/^HTTP\/1.1 413/);
    expect(await raw(address, head(5), 'Continue')).toMatch(/^HTTP\/1.1 100/);
  });

  it('answers problems to what is not HTTP and to headers beyond the limit', async () => {
    const address = await serve();
    expect(await raw(address, 'hello\r\n\r\n')).toMatch(/^HTTP\/1.1 400.*"code":"http-malformed"/s);
    const long = `GET / HTTP/1.1\r\nhost: x\r\nx-long: ${'y'.repeat(20_000)}\r\n\r\n`;
    expect(await raw(address, long)).toMatch(/^HTTP\/1.1 431.*"code":"headers-too-large"/s);
  });

  it('answers 500 where the handler throws, and lives on', async () => {
    const address = await serve();
    expect((await fetch(`http://${address}/throw`)).status).toBe(500);
    expect((await fetch(`http://${address}/fine`)).status).toBe(200);
  });

  it('forgets a client that leaves in the middle of its body', async () => {
    const address = await serve();
    const socket = connect(parseAddress(address));
    await once(socket, 'connect');
    socket.write('POST /gone HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nabc');
    socket.destroy();
    expect((await fetch(`http://${address}/next`)).status).toBe(200);
    expect(seen.map((request) => request.target)).toEqual(['/next']);
  });

  it('asks clients to leave once it listens no more, not before: they would come back', async () => {
    const address = await serve();
    const connection = async (path: string) =>
      (await fetch(`http://${address}${path}`)).headers.get('connection');
    expect(await connection('/a')).not.toBe('close');
    server!.drain();
    expect(await connection('/b')).not.toBe('close');
    const closed = server!.close(5_000);
    expect(await connection('/c')).toBe('close');
    await closed;
    await expect(connection('/d')).rejects.toThrow();
  });
});

describe('lists of addresses', () => {
  it('hold addresses and ranges of both families', () => {
    const listed = addressList(['10.0.0.0/8', '192.0.2.7', '2001:db8::/32']);
    expect(['10.9.9.9', '192.0.2.7', '2001:db8::1', '::ffff:10.1.1.1'].map(listed)).toEqual([
      true,
      true,
      true,
      true,
    ]);
    expect(['11.0.0.1', '192.0.2.8', '2001:db9::1', '', 'x'].map(listed)).toEqual([
      false,
      false,
      false,
      false,
      false,
    ]);
    for (const bad of ['10.0.0.0/33', 'example.org', '10.0.0.0/x'])
      expect(() => addressList([bad])).toThrow(RangeError);
  });
});
