/** Listens for the admin API, or refuses to where that would be open to the world. */
import { serveFetch } from '../io/fetch-server.ts';
import type { Listener } from '../io/io.ts';
import { type ApiOptions, makeApi } from './app.ts';
import { checkBinding } from './guard.ts';

/** @throws ProblemError `unauthorized` for an address beyond this machine without a token. */
export async function serveApi(options: ApiOptions & { address: string }): Promise<Listener> {
  checkBinding(options.address, options.token);
  const api = makeApi(options);
  return serveFetch({ address: options.address, fetch: (request) => api.fetch(request) });
}
