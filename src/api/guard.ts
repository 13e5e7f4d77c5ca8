/**
 * Who may speak to the admin API.
 *
 * Without a token it serves this machine alone, and even there a web page must not reach it: requests whose Host is
 * not a loopback name (DNS rebinding) or that carry another site's Origin are refused. With a token every request
 * outside health checks carries it as a bearer token, compared in constant time.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { ProblemError } from '../model/errors.ts';

const LOOPBACK_HOSTS = new Set(['127.0.0.1', 'localhost', '[::1]', '::1']);
const OPEN_PATHS = new Set(['/healthz', '/readyz']);

export function isLoopback(host: string): boolean {
  return LOOPBACK_HOSTS.has(host) || /^127(\.\d{1,3}){3}$/.test(host);
}

/**
 * @throws ProblemError `unauthorized` where the address is reachable from elsewhere and there is no token.
 */
export function checkBinding(address: string, token: string | undefined): void {
  const host = address.slice(0, address.lastIndexOf(':'));
  if (isLoopback(host) || token !== undefined) return;
  throw new ProblemError(
    'unauthorized',
    `the admin API will not listen on ${host} without a token, since whoever reaches it can move every shard. ` +
      'Set SKEIN_TOKEN (or --api-token-file), or listen on 127.0.0.1.',
  );
}

export class Guard {
  readonly #digest: Buffer | undefined;

  constructor(token: string | undefined) {
    if (token === '') throw new RangeError('an empty token protects nothing');
    this.#digest = token === undefined ? undefined : digestOf(token);
  }

  /** @throws ProblemError `unauthorized` or `forbidden`. */
  check(request: { path: string; header: (name: string) => string | undefined }): void {
    const origin = request.header('origin');
    const host = request.header('host') ?? '';
    if (origin !== undefined && origin !== `http://${host}` && origin !== `https://${host}`)
      throw new ProblemError('forbidden', `pages of ${origin} may not call this API`);
    if (OPEN_PATHS.has(request.path)) return;
    if (this.#digest === undefined) {
      if (!isLoopback(host.replace(/:\d+$/, '')))
        throw new ProblemError(
          'forbidden',
          `without a token this API answers to 127.0.0.1 only, not to ${host}`,
        );
      return;
    }
    const [scheme, token] = (request.header('authorization') ?? '').split(' ', 2);
    // Digests have one length, so the comparison tells nothing of the token's.
    if (scheme?.toLowerCase() !== 'bearer' || !timingSafeEqual(digestOf(token ?? ''), this.#digest))
      throw new ProblemError(
        'unauthorized',
        'the token is missing or wrong; send `Authorization: Bearer <token>`, or set SKEIN_TOKEN for the CLI',
      );
  }
}

function digestOf(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}
