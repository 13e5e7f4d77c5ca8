import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { FetchHttpClient } from './http-client.ts';
import { type HttpSend, ResponseTooLarge } from './io.ts';

let server: Server | undefined;
afterEach(() => {
  server?.closeAllConnections();
  server?.close();
  server = undefined;
});

async function serve(answer: Parameters<typeof createServer>[1]): Promise<string> {
  server = createServer(answer as never);
  await new Promise<void>((resolve) => server!.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
}

const client = new FetchHttpClient();
const send = (url: string, change: Partial<HttpSend> = {}) =>
  client.send({
    method: 'GET',
    url,
    headers: [],
    body: undefined,
    responseBytesMax: 1_000,
    signal: new AbortController().signal,
    ...change,
  });

describe('HTTP to the outside', () => {
  it('sends method, headers and body, and gives status, headers and body', async () => {
    const url = await serve((request, response) => {
      request.toArray().then((parts) => {
        response.writeHead(418, { 'x-method': request.method, 'x-key': request.headers['idempotency-key'] });
        response.end(Buffer.concat([Buffer.from('got '), ...parts]));
      });
    });
    const answer = await send(url, {
      method: 'PUT',
      headers: [['idempotency-key', 'k']],
      body: Buffer.from('tea'),
    });
    expect(answer.status).toBe(418);
    expect(Object.fromEntries(answer.headers)).toMatchObject({ 'x-method': 'PUT', 'x-key': 'k' });
    expect(Buffer.from(answer.body).toString()).toBe('got tea');
  });

  it('follows no redirect: where it leads may be somewhere that is not allowed', async () => {
    let asked = 0;
    const url = await serve((_request, response) => {
      asked++;
      response.writeHead(302, { location: '/elsewhere' }).end();
    });
    const answer = await send(url);
    expect(answer.status).toBe(302);
    expect(Object.fromEntries(answer.headers).location).toBe('/elsewhere');
    expect(asked).toBe(1);
  });

  it('stops reading where the answer outgrows its limit, however long it goes on', async () => {
    const closed = Promise.withResolvers<void>();
    const url = await serve((_request, response) => {
      response.on('close', () => closed.resolve());
      const more = () => {
        while (!response.destroyed && response.write('x'.repeat(10_000)));
      };
      response.on('drain', more);
      more();
    });
    await expect(send(url)).rejects.toThrow(ResponseTooLarge);
    await closed.promise;
  });

  it('ends when it is aborted, and rejects where nobody listens', async () => {
    const arrived = Promise.withResolvers<void>();
    const url = await serve(() => arrived.resolve());
    const controller = new AbortController();
    const sent = send(url, { signal: controller.signal });
    await arrived.promise;
    controller.abort(new Error('enough'));
    await expect(sent).rejects.toThrow('enough');
    server!.closeAllConnections();
    await new Promise((resolve) => server!.close(resolve));
    await expect(send(url)).rejects.toThrow();
  });

  it('digests texts to short names', () => {
    expect(client.digest('a\n1')).toMatch(/^[0-9a-f]{32}$/);
    expect(client.digest('a\n1')).not.toBe(client.digest('a\n2'));
  });
});
