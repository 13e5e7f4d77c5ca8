/**
 * A typed connection to one store process. Turns RpcErrors into StoreErrors and makes a new connection where the
 * present one stays silent: a call without answer, or a watch without heartbeat, must not wait for TCP to notice.
 */
import type { Io } from '../io/io.ts';
import { type ClientStream, RpcClient, RpcError } from '../wire/rpc.ts';
import type { EtcdCredentials } from './etcd/access.ts';
import type { StoreCalls, StoreStreams } from './protocol.ts';
import { StoreError, type StoreErrorCode } from './store.ts';

export const STORE_CALL_TIMEOUT_MS_DEFAULT = 5_000;

export interface StoreConnectionOptions {
  token: string;
  /** What this process calls itself: its process id. */
  identity: string;
  /** A call without an answer after this rejects with `unavailable`; {@link STORE_CALL_TIMEOUT_MS_DEFAULT} where absent. */
  timeoutMs?: number;
  /** What this process shows where an address is one of etcd. */
  etcd?: EtcdCredentials;
}

const STORE_CODES: ReadonlySet<string> = new Set<StoreErrorCode>([
  'unavailable',
  'lease-gone',
  'too-large',
  'invalid',
  'unauthorized',
]);

export class StoreConnection {
  readonly address: string;
  readonly #io: Pick<Io, 'network' | 'clock'>;
  readonly #options: StoreConnectionOptions;
  #client: RpcClient;
  /** Connections that ended: tells a call that timed out from one whose connection broke. */
  #ended = 0;
  #closed = false;

  constructor(io: Pick<Io, 'network' | 'clock'>, address: string, options: StoreConnectionOptions) {
    this.address = address;
    this.#io = io;
    this.#options = options;
    this.#client = this.#connect();
  }

  async call<Method extends keyof StoreCalls>(
    method: Method,
    payload: StoreCalls[Method][0],
  ): Promise<StoreCalls[Method][1]> {
    const client = this.#client;
    const ended = this.#ended;
    try {
      return await client.call<StoreCalls[Method][1]>(method, payload);
    } catch (error) {
      const timedOut = error instanceof RpcError && error.code === 'unavailable' && error.maybeExecuted;
      if (timedOut && ended === this.#ended && client === this.#client) this.reconnect();
      throw asStoreError(error);
    }
  }

  open<Stream extends keyof StoreStreams>(
    stream: Stream,
    payload: StoreStreams[Stream][0],
    onItem: (item: StoreStreams[Stream][1]) => void,
    onEnd: (error: RpcError | undefined) => void,
  ): ClientStream {
    return this.#client.open(stream, payload, onItem, onEnd);
  }

  /** Gives the present connection up; what was under way rejects with `unavailable`. */
  reconnect(): void {
    if (this.#closed) return;
    const old = this.#client;
    this.#client = this.#connect();
    old.close();
  }

  close(): void {
    this.#closed = true;
    this.#client.close();
  }

  #connect(): RpcClient {
    const client = new RpcClient({
      network: this.#io.network,
      clock: this.#io.clock,
      address: this.address,
      token: this.#options.token,
      identity: this.#options.identity,
      timeoutMs: this.#options.timeoutMs ?? STORE_CALL_TIMEOUT_MS_DEFAULT,
    });
    client.onDown = () => {
      this.#ended++;
    };
    return client;
  }
}

export function asStoreError(error: unknown): StoreError {
  if (error instanceof StoreError) return error;
  if (!(error instanceof RpcError)) return new StoreError('unavailable', String(error), { cause: error });
  if (STORE_CODES.has(error.code))
    return new StoreError(error.code as StoreErrorCode, error.message, { cause: error });
  if (error.code === 'no-such-method')
    return new StoreError('invalid', `${error.message}: this store process does not hold that store`, {
      cause: error,
    });
  return new StoreError('unavailable', error.message, { cause: error });
}
