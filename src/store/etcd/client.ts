/**
 * One process's way to one etcd cluster: calls with a deadline, streams, and the choice of the member.
 *
 * All calls go to one member, the preferred one, so that what a process sends takes one way; when that member fails,
 * the next one is preferred. Nothing is retried whose outcome is unknown: etcd3's own retries are switched off, since
 * a repeated transaction would compare with its own first success. A call that surely was never sent goes to the next
 * member at once; one that surely was not proposed, for want of a leader, when there is one. Calls that are not
 * answered are looked after by late-calls.ts.
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
import { type Io, sleep } from '../../io/io.ts';
import { MachineDriver } from '../../machine/machine.ts';
import { StoreError } from '../store.ts';
import type { EtcdAddress, EtcdCredentials } from './access.ts';
import { Distance } from './distance.ts';
import { memberFailed, neverProposed, neverSent, storeErrorOfEtcd } from './errors.ts';
import { LateCalls, type LateCallsAction, type LateCallsEvent, LOOK_EVERY_MS } from './late-calls.ts';

/**
 * A call without answer after this rejects with `unavailable`, and the next member is asked. Where answers take long,
 * calls get more, up to {@link TIMEOUT_STRETCH_MAX} times: a limit below what the cluster takes would repeat everything
 * and get nothing done.
 */
export const CALL_TIMEOUT_MS_DEFAULT = 2_500;
export const TIMEOUT_STRETCH_MAX = 4;
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
  /** Emulated: so long every call takes on its way there and back. Default: 0. */
  roundTripMs?: number;
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
  readonly #distance: Distance | undefined;
  readonly #late = new LateCalls();
  readonly #watcher: MachineDriver<LateCallsEvent, LateCallsAction>;
  /** Rejects a call under way. */
  readonly #giveUps = new Map<number, (error: StoreError) => void>();
  #lastCall = 0;
  #preferred = 0;
  #led: Promise<void> | undefined;
  #closed = false;

  constructor(options: EtcdClientOptions) {
    const { address, credentials = {}, roundTripMs = 0 } = options;
    this.address = address;
    this.#io = options.io;
    if (roundTripMs > 0) this.#distance = new Distance(options.io.clock, roundTripMs);
    this.#watcher = new MachineDriver({
      machine: this.#late,
      clock: options.io.clock,
      tick: { type: 'tick' },
      perform: (action) => this.#perform(action),
    });
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
        context.isStream ? {} : { deadline: this.#io.clock.realtimeMs() + this.#waitMs() },
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

  txn(request: ITxnRequest): Promise<ITxnResponse> {
    return this.#watched(() => this.#etcd.kv.txn(request));
  }

  range(request: IRangeRequest): Promise<IRangeResponse> {
    return this.#watched(() => this.#etcd.kv.range(request));
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

  /** Endpoint of the member that the next call goes to. */
  get preferred(): string {
    return this.address.endpoints[this.#preferred]!;
  }

  /** Makes the next call go to another member. */
  preferNext(): void {
    this.#preferred = (this.#preferred + 1) % this.#urls.length;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#watcher.stop();
    this.#etcd.close();
  }

  async #call<Result>(run: () => Promise<Result>): Promise<Result> {
    for (let attempt = 1; ; attempt++) {
      if (this.#closed) throw new StoreError('unavailable', 'the connection to etcd is closed');
      const preferred = this.#preferred;
      try {
        return await (this.#distance ? this.#distance.there(run) : run());
      } catch (error) {
        if (memberFailed(error)) this.#leave(preferred);
        if (neverSent(error) && attempt < this.#urls.length) continue;
        throw storeErrorOfEtcd(error);
      }
    }
  }

  /** Of the log itself: looked after while it is late, and held back while the cluster has no leader. */
  async #watched<Result extends { header: { raft_term: string } }>(
    run: () => Promise<Result>,
  ): Promise<Result> {
    const untilMs = this.#io.clock.monotonicMs() + this.timeoutMs;
    for (;;) {
      try {
        return await this.#watchedOnce(run);
      } catch (error) {
        if (!neverProposed(error) || this.#closed || this.#io.clock.monotonicMs() >= untilMs) throw error;
        this.#led ??= this.#untilLed(untilMs).finally(() => {
          this.#led = undefined;
        });
        await this.#led;
      }
    }
  }

  #watchedOnce<Result extends { header: { raft_term: string } }>(
    run: () => Promise<Result>,
  ): Promise<Result> {
    const call = ++this.#lastCall;
    const member = this.#preferred;
    return new Promise((resolve, reject) => {
      this.#giveUps.set(call, reject);
      this.#watcher.deliver({ type: 'sent', call, member });
      // One that was given up has left the map: what still comes of it is nobody's.
      const over = (ended: Omit<LateCallsEvent & { type: 'ended' }, 'type' | 'call' | 'member'>) => {
        if (this.#giveUps.delete(call)) this.#watcher.deliver({ type: 'ended', call, member, ...ended });
      };
      this.#call(() =>
        run().catch((error: unknown) => {
          // Late, and not missed any more: its member may be well again, and is not left for it.
          if (!this.#giveUps.has(call)) throw new StoreError('unavailable', 'given up before');
          throw error;
        }),
      ).then(
        (result) => {
          over({ answered: true, term: Number(result.header.raft_term) });
          resolve(result);
        },
        (error: StoreError) => {
          if (deadlineExceeded(error) && this.#giveUps.has(call)) this.#late.answerTime.silent();
          over({ answered: false });
          reject(error);
        },
      );
    });
  }

  #perform(action: LateCallsAction): void {
    switch (action.type) {
      case 'look':
        void this.#look(action.timeoutMs);
        return;
      case 'give-up': {
        const reject = this.#giveUps.get(action.call);
        this.#giveUps.delete(action.call);
        reject?.(new StoreError('unavailable', `etcd: ${action.why}; the call may or may not have happened`));
        return;
      }
      case 'leave':
        this.#leave(action.member);
    }
  }

  async #look(timeoutMs: number): Promise<void> {
    const member = this.#preferred;
    try {
      const options = { deadline: this.#io.clock.realtimeMs() + timeoutMs };
      const look = () => this.#etcd.maintenance.status(options);
      const { leader, raftTerm } = await (this.#distance ? this.#distance.there(look) : look());
      this.#watcher.deliver({ type: 'looked', member, term: Number(raftTerm), led: leader !== '0' });
    } catch (error) {
      const isSilent = storeErrorOfEtcd(error).code === 'unavailable';
      this.#watcher.deliver(
        isSilent ? { type: 'unseen', member, refused: neverSent(error) } : { type: 'alive', member },
      );
    }
  }

  /** Resolves when a member says that there is a leader, and in any case after a while. */
  async #untilLed(untilMs: number): Promise<void> {
    while (!this.#closed && this.#io.clock.monotonicMs() < untilMs) {
      await sleep(this.#io.clock, LOOK_EVERY_MS);
      try {
        const { leader } = await this.#call(() => this.#etcd.maintenance.status());
        if (leader !== '0') return;
      } catch {
        // The next member, then.
      }
      this.preferNext();
    }
  }

  #leave(member: number): void {
    if (member === this.#preferred) this.preferNext();
  }

  #waitMs(): number {
    return this.#late.answerTime.waitMs(this.timeoutMs, TIMEOUT_STRETCH_MAX * this.timeoutMs);
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
    const distance = this.#distance;
    const hear = (item: Item) => {
      if (!ended) onItem(item);
    };
    const onData = distance ? distance.line('back', hear) : hear;
    const write = (request: Request) => {
      if (ended) return;
      if (stream) stream.write(request);
      else waiting.push(request);
    };
    const send = distance ? distance.line('out', write) : write;
    const end = (error: unknown) => {
      if (ended) return;
      ended = true;
      const known = error === undefined ? undefined : storeErrorOfEtcd(error);
      if (known?.code === 'unavailable') this.#leave(preferred);
      // An old token is replaced by the next plain call; a stream does not notice by itself.
      if (known?.code === 'unauthorized')
        void this.range({ key: Buffer.from('\0'), limit: 1 }).catch(() => {});
      onEnd(known);
    };
    open().then(
      (opened) => {
        stream = opened as typeof stream;
        opened.on('data', onData);
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
      send,
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

function deadlineExceeded(error: StoreError): boolean {
  return /DEADLINE_EXCEEDED|Deadline exceeded/.test(String((error.cause as Error | undefined)?.message));
}

const PASS = { execute: <Result>(run: (context: object) => Result): Result => run({}) };
