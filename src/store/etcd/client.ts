/**
 * One process's way to one etcd cluster: calls with a deadline, streams, and the choice of the member.
 *
 * All calls go to one member, the preferred one, so that what a process sends takes one way; when that member fails,
 * the next one is preferred. Nothing is retried whose outcome is unknown: etcd3's own retries are switched off, since
 * a repeated transaction would compare with its own first success. A call that surely was never sent goes to the next
 * member at once.
 */
import { createRequire } from 'node:module';
import type {
  Etcd3,
  IDuplexStream,
  ILeaseKeepAliveRequest,
  ILeaseKeepAliveResponse,
  IRangeRequest,
  IRangeResponse,
  IStatusResponse,
  ITxnRequest,
  ITxnResponse,
  IWatchRequest,
  IWatchResponse,
} from 'etcd3';
import type { Io } from '../../io/io.ts';
import { StoreError } from '../store.ts';
import type { EtcdAddress, EtcdCredentials } from './access.ts';
import { memberFailed, neverSent, storeErrorOfEtcd } from './errors.ts';

/** A call without answer after this rejects with `unavailable`, and the next member is asked. */
export const CALL_TIMEOUT_MS_DEFAULT = 2_500;
/** etcd ends connections that ping more often than every 5 s. */
const PING_EVERY_MS = 6_000;
const PING_TIMEOUT_MS = 2_000;
/** Answers may hold whole snapshots and long logs. */
const ANSWER_BYTES_MAX = 512 * 1024 * 1024;

export interface EtcdClientOptions {
  io: Pick<Io, 'clock' | 'log'>;
  address: EtcdAddress;
  credentials?: EtcdCredentials;
  /** {@link CALL_TIMEOUT_MS_DEFAULT} where absent. */
  timeoutMs?: number;
}

/** A stream whose end, wanted or not, comes through `onEnd`, once. */
export interface EtcdStream<Request> {
  send(request: Request): void;
  close(): void;
}

/** Loaded on first use: who runs without etcd pays nothing for gRPC. */
let loaded: { Etcd3: typeof Etcd3 } | undefined;
function library(): { Etcd3: typeof Etcd3 } {
  loaded ??= createRequire(import.meta.url)('etcd3') as { Etcd3: typeof Etcd3 };
  return loaded;
}

export class EtcdClient {
  readonly address: EtcdAddress;
  /** Of a plain call. */
  readonly timeoutMs: number;
  readonly #io: Pick<Io, 'clock' | 'log'>;
  readonly #etcd: Etcd3;
  readonly #urls: string[];
  #preferred = 0;
  #closed = false;

  constructor(options: EtcdClientOptions) {
    const { address, credentials = {} } = options;
    this.address = address;
    this.#io = options.io;
    this.timeoutMs = options.timeoutMs ?? CALL_TIMEOUT_MS_DEFAULT;
    this.#urls = address.endpoints.map((endpoint) => `${address.tls ? 'https' : 'http'}://${endpoint}`);
    const pem = (text: string | undefined) => (text === undefined ? undefined : Buffer.from(text));
    this.#etcd = new (library().Etcd3)({
      hosts: this.#urls,
      ...(address.tls && credentials.caCertificate !== undefined
        ? {
            credentials: {
              rootCertificate: pem(credentials.caCertificate)!,
              privateKey: pem(credentials.clientKey),
              certChain: pem(credentials.clientCertificate),
            },
          }
        : {}),
      ...(credentials.user === undefined
        ? {}
        : { auth: { username: credentials.user, password: credentials.password ?? '' } }),
      defaultCallOptions: (context) =>
        context.isStream ? {} : { deadline: this.#io.clock.realtimeMs() + this.timeoutMs },
      grpcOptions: {
        'grpc.keepalive_time_ms': PING_EVERY_MS,
        'grpc.keepalive_timeout_ms': PING_TIMEOUT_MS,
        'grpc.max_receive_message_length': ANSWER_BYTES_MAX,
        'grpc.max_send_message_length': ANSWER_BYTES_MAX,
        'grpc.initial_reconnect_backoff_ms': 100,
        'grpc.min_reconnect_backoff_ms': 100,
        'grpc.max_reconnect_backoff_ms': 1_000,
        // A connection of its own: those of another client to the same member may carry other credentials.
        'grpc.use_local_subchannel_pool': 1,
      },
      // Policies of etcd3, reduced to what is used of them.
      faultHandling: { global: PASS, host: (url: string) => this.#onlyPreferred(url) } as never,
    });
  }

  /** @param timeoutMs shorter than the client's own, where given. */
  txn(request: ITxnRequest, timeoutMs = this.timeoutMs): Promise<ITxnResponse> {
    const options = () => ({ deadline: this.#io.clock.realtimeMs() + timeoutMs });
    return this.#call(() => this.#etcd.kv.txn(request, options()));
  }

  range(request: IRangeRequest): Promise<IRangeResponse> {
    return this.#call(() => this.#etcd.kv.range(request));
  }

  /** Compacting what is compacted already is success. */
  async compact(revision: number): Promise<void> {
    try {
      await this.#call(() => this.#etcd.kv.compact({ revision, physical: false }));
    } catch (error) {
      if (!/compacted/.test((error as Error).message)) throw error;
    }
  }

  /** Of the preferred member. */
  status(): Promise<IStatusResponse> {
    return this.#call(() => this.#etcd.maintenance.status());
  }

  memberCount(): Promise<number> {
    return this.#call(async () => (await this.#etcd.cluster.memberList({})).members.length);
  }

  leaseGrant(id: string, ttlS: number): Promise<{ ttlS: number }> {
    return this.#call(async () => {
      const { TTL } = await this.#etcd.leaseClient.leaseGrant({ ID: id, TTL: ttlS });
      return { ttlS: Number(TTL) };
    });
  }

  async leaseRevoke(id: string): Promise<void> {
    await this.#call(() => this.#etcd.leaseClient.leaseRevoke({ ID: id }));
  }

  /** `ttlS` is what was granted; undefined where there is no such lease. */
  leaseInfo(id: string, keys: boolean): Promise<{ grantedS: number; keys: Buffer[] } | undefined> {
    return this.#call(async () => {
      const answer = await this.#etcd.leaseClient.leaseTimeToLive({ ID: id, keys });
      if (Number(answer.TTL) < 0) return undefined;
      return { grantedS: Number(answer.grantedTTL), keys: answer.keys };
    });
  }

  watch(
    onItem: (item: IWatchResponse) => void,
    onEnd: (error: StoreError | undefined) => void,
  ): EtcdStream<IWatchRequest> {
    return this.#stream(() => this.#etcd.watchClient.watch(), onItem, onEnd);
  }

  leaseKeepAlive(
    onItem: (item: ILeaseKeepAliveResponse) => void,
    onEnd: (error: StoreError | undefined) => void,
  ): EtcdStream<ILeaseKeepAliveRequest> {
    return this.#stream(() => this.#etcd.leaseClient.leaseKeepAlive(), onItem, onEnd);
  }

  /** Makes the next call go to another member. */
  preferNext(): void {
    this.#preferred = (this.#preferred + 1) % this.#urls.length;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#etcd.close();
  }

  async #call<Result>(run: () => Promise<Result>): Promise<Result> {
    for (let attempt = 1; ; attempt++) {
      if (this.#closed) throw new StoreError('unavailable', 'the connection to etcd is closed');
      const preferred = this.#preferred;
      try {
        return await run();
      } catch (error) {
        if (memberFailed(error) && preferred === this.#preferred) this.preferNext();
        if (neverSent(error) && attempt < this.#urls.length) continue;
        throw storeErrorOfEtcd(error);
      }
    }
  }

  #stream<Request, Item>(
    open: () => Promise<IDuplexStream<Request, Item>>,
    onItem: (item: Item) => void,
    onEnd: (error: StoreError | undefined) => void,
  ): EtcdStream<Request> {
    let stream: (IDuplexStream<Request, Item> & { end(): void }) | undefined;
    let ended = false;
    const waiting: Request[] = [];
    const preferred = this.#preferred;
    const end = (error: unknown) => {
      if (ended) return;
      ended = true;
      const known = error === undefined ? undefined : storeErrorOfEtcd(error);
      if (known?.code === 'unavailable' && preferred === this.#preferred) this.preferNext();
      // An old token is replaced by the next plain call; a stream does not notice by itself.
      if (known?.code === 'unauthorized')
        void this.range({ key: Buffer.from('\0'), limit: 1 }).catch(() => {});
      onEnd(known);
    };
    open().then(
      (opened) => {
        stream = opened as typeof stream;
        opened.on('data', (item: Item) => {
          if (!ended) onItem(item);
        });
        // Cancelling makes an error too, which must have a listener after the end as well.
        opened.on('error', end);
        opened.on('end', () => end(undefined));
        if (ended) {
          opened.cancel();
          return;
        }
        for (const request of waiting.splice(0)) opened.write(request);
      },
      (error: unknown) => end(error),
    );
    return {
      send(request) {
        if (ended) return;
        if (stream) stream.write(request);
        else waiting.push(request);
      },
      close() {
        if (ended) return;
        ended = true;
        stream?.cancel();
      },
    };
  }

  #onlyPreferred(url: string) {
    return {
      execute: async <Result>(run: (context: object) => Result): Promise<Result> => {
        // A refusal without calling makes etcd3 go on to the next host, until it meets the preferred one.
        if (this.#urls[this.#preferred] !== url)
          throw new StoreError('unavailable', 'not the preferred member');
        return run({});
      },
    };
  }
}

const PASS = { execute: <Result>(run: (context: object) => Result): Result => run({}) };
