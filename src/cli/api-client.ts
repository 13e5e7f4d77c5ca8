/** Calls of the admin API. Follows a standby to its leader once; turns every failure into a {@link CliError}. */
import { parseProblem } from '../model/errors.ts';
import { CliError, errorOfProblem } from './errors.ts';

export const API_URL_DEFAULT = 'http://127.0.0.1:7460';
const TIMEOUT_MS = 15_000;

export class ApiClient {
  #url: string;
  readonly #token: string | undefined;

  constructor(options: { url?: string; token?: string }) {
    this.#url = (options.url ?? process.env.SKEIN_API ?? API_URL_DEFAULT).replace(/\/+$/, '');
    if (!/^https?:\/\//.test(this.#url))
      throw new CliError(`${JSON.stringify(this.#url)} is not the address of an API`, {
        next: `give one like ${API_URL_DEFAULT} with --api or SKEIN_API`,
        exitCode: 2,
      });
    this.#token = options.token ?? process.env.SKEIN_TOKEN;
  }

  get<T>(path: string, query: Record<string, string | number | undefined> = {}): Promise<T> {
    const search = new URLSearchParams();
    for (const [name, value] of Object.entries(query))
      if (value !== undefined) search.set(name, String(value));
    return this.#call<T>('GET', search.size > 0 ? `${path}?${search}` : path, undefined, true);
  }

  post<T>(path: string, body?: object): Promise<T> {
    return this.#call<T>('POST', path, body, true);
  }

  put<T>(path: string, body: object): Promise<T> {
    return this.#call<T>('PUT', path, body, true);
  }

  async #call<T>(method: string, path: string, body: object | undefined, follow: boolean): Promise<T> {
    let response: Response;
    let text: string;
    try {
      response = await fetch(this.#url + path, {
        method,
        headers: {
          ...(body ? { 'content-type': 'application/json' } : {}),
          ...(this.#token ? { authorization: `Bearer ${this.#token}` } : {}),
        },
        body: body ? JSON.stringify(body) : undefined,
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
      text = await response.text();
    } catch (error) {
      throw this.#unreachable(error);
    }
    if (response.ok) {
      try {
        return JSON.parse(text) as T;
      } catch (cause) {
        throw new CliError(`${this.#url} answered ${method} ${path} with something that is not JSON`, {
          next: 'check --api: it must be the address of a controller, not of a gateway or node',
          cause,
        });
      }
    }
    const problem = parseProblem(text);
    if (!problem)
      throw new CliError(`${this.#url} answered ${method} ${path} with status ${response.status}`, {
        next: 'check --api: it must be the address of a controller, not of a gateway or node',
      });
    if (problem.code === 'not-leading' && follow && typeof problem.leader === 'string') {
      this.#url = problem.leader;
      return this.#call<T>(method, path, body, false);
    }
    throw errorOfProblem(problem);
  }

  #unreachable(error: unknown): CliError {
    const cause = (error as { cause?: { code?: string; message?: string } }).cause;
    return new CliError(`no controller answers at ${this.#url}`, {
      why: cause?.code ?? cause?.message ?? (error as Error).message,
      next: 'start a cluster with `skein dev`, or name a controller with --api URL or SKEIN_API',
      cause: error,
    });
  }
}
