/**
 * HTTP in, as fetch requests and responses: for surfaces that people and tools call (the admin API), where streaming
 * and a router matter more than throughput. The request path has `http-server.ts`.
 */
import type { Server } from 'node:http';
import { createAdaptorServer } from '@hono/node-server';
import type { Listener } from './io.ts';
import { parseAddress } from './tcp-network.ts';

/** Slow senders may not hold connections for ever. */
const HEADERS_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 30_000;
export const FETCH_CONNECTIONS_MAX = 512;

/** Starts a server on `host:port` (port 0 picks one). Rejects when the address is taken. */
export async function serveFetch(options: {
  address: string;
  fetch: (request: Request) => Response | Promise<Response>;
}): Promise<Listener> {
  const { host, port } = parseAddress(options.address);
  const server = createAdaptorServer({ fetch: options.fetch, hostname: host }) as Server;
  server.headersTimeout = HEADERS_TIMEOUT_MS;
  server.requestTimeout = REQUEST_TIMEOUT_MS;
  server.maxConnections = FETCH_CONNECTIONS_MAX;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port, exclusive: true }, () => {
      server.off('error', reject);
      resolve();
    });
  });
  const bound = server.address();
  return {
    address: `${host}:${typeof bound === 'object' && bound ? bound.port : port}`,
    // Event streams never end by themselves: connections are cut after idle ones were closed.
    close: () =>
      new Promise((done) => {
        server.close(() => done());
        server.closeAllConnections();
      }),
  };
}
