/**
 * Cross-origin rules of the HTTP front (the Fetch standard's CORS protocol), as configuration. Pure.
 *
 * Without configuration no other site may read a reply, and a POST that a browser marks as cross-site is refused.
 */

export interface CorsConfig {
  /** Origins such as `https://app.example`, or `*` for every one. */
  origins: readonly string[] | '*';
  /** Whether cookies may be sent along. Not with `*`. */
  credentials?: boolean;
  /** Request headers beyond those of Skein itself. */
  headers?: readonly string[];
  /** How long a browser may remember a preflight, seconds. */
  maxAgeS?: number;
}

const OWN_REQUEST_HEADERS = [
  'content-type',
  'idempotency-key',
  'idempotency-key-age',
  'skein-min-seq',
  'skein-max-staleness',
  'skein-user',
];
const EXPOSED_HEADERS =
  'skein-epoch, skein-seq, skein-staleness, skein-replayed, skein-served-by, retry-after';
const MAX_AGE_S_DEFAULT = 600;

type Headers = Readonly<Record<string, string | string[] | undefined>>;

export class Cors {
  readonly #config: CorsConfig | undefined;
  readonly #allowed: ReadonlySet<string>;
  readonly #preflight: readonly string[];

  /** @throws RangeError for credentials with `*`: browsers refuse it, and it would open every user's session. */
  constructor(config: CorsConfig | undefined) {
    if (config?.credentials && config.origins === '*')
      throw new RangeError('cors: credentials need a list of origins, not "*"');
    this.#config = config;
    this.#allowed = new Set(config && config.origins !== '*' ? config.origins : []);
    this.#preflight = [
      'access-control-allow-methods',
      'GET, POST',
      'access-control-allow-headers',
      [...OWN_REQUEST_HEADERS, ...(config?.headers ?? [])].join(', '),
      'access-control-max-age',
      String(config?.maxAgeS ?? MAX_AGE_S_DEFAULT),
    ];
  }

  /** Whether pages of this origin may use the replies. */
  allows(origin: string): boolean {
    return this.#config !== undefined && (this.#config.origins === '*' || this.#allowed.has(origin));
  }

  /** Adds the headers of a reply to a page of another origin; nothing where there is no `Origin` or no rule. */
  addTo(reply: string[], headers: Headers): void {
    const config = this.#config;
    if (config === undefined) return;
    if (config.origins !== '*') reply.push('vary', 'Origin');
    const { origin } = headers;
    if (typeof origin !== 'string' || !this.allows(origin)) return;
    reply.push('access-control-allow-origin', config.origins === '*' ? '*' : origin);
    if (config.credentials) reply.push('access-control-allow-credentials', 'true');
    reply.push('access-control-expose-headers', EXPOSED_HEADERS);
  }

  /** Headers of the answer to a preflight, which says what may be sent. */
  preflight(headers: Headers): string[] {
    const reply: string[] = [];
    this.addTo(reply, headers);
    const { origin } = headers;
    if (typeof origin === 'string' && this.allows(origin)) reply.push(...this.#preflight);
    return reply;
  }

  /**
   * Whether a browser sent this on behalf of a page that no rule allows. A form or `no-cors` fetch of another site needs
   * no preflight, so a command without a body would otherwise run with the user's cookies.
   */
  refuses(headers: Headers): boolean {
    if (headers['sec-fetch-site'] !== 'cross-site') return false;
    const { origin } = headers;
    return typeof origin !== 'string' || !this.allows(origin);
  }
}
