/**
 * Leases named by their callers, on etcd's numbered ones.
 *
 * A name's number is a hash of it, so that everyone who knows the name finds the lease: one of two numbers, because
 * etcd cannot change the length of a lease; a new length goes to the other number, and the keys with it.
 *
 * A keep-alive counts only if it reached the present leader: one that was deposed while it was paused or cut off still
 * answers for a moment (etcd before 3.5.13), though its successor may have ended the lease. So a linearizable reading
 * follows each keep-alive, and both must have been answered in the same Raft term. etcd counts whole seconds, at least
 * about 1.5 times its election timeout: a lease may live longer than asked for, never shorter (OWNERSHIP rule 4).
 */
import { createHash } from 'node:crypto';
import type { ILeaseKeepAliveRequest, ILeaseKeepAliveResponse } from 'etcd3';
import type { Clock } from '../../io/io.ts';
import { StoreError } from '../store.ts';
import { CALL_TIMEOUT_MS_DEFAULT, type EtcdClient, type EtcdStream } from './client.ts';
import { storeErrorOfEtcd } from './errors.ts';
import { nested } from './keys.ts';

const TERM_CHANGES_MAX = 3;
const KEYS_PER_TRANSACTION_MAX = 40;

export class EtcdLeases {
  readonly #client: EtcdClient;
  readonly #clock: Clock;
  readonly #root: string;
  /** Numbers this process found a name at. */
  readonly #numbers = new Map<string, string>();
  #stream: KeepAliveStream | undefined;

  constructor(client: EtcdClient, clock: Clock) {
    this.#client = client;
    this.#clock = clock;
    this.#root = client.address.root;
  }

  async grant(name: string, ttlMs: number): Promise<void> {
    const ttlS = Math.ceil(ttlMs / 1_000);
    const [held, other] = await this.#find(name);
    if (held) {
      const info = await this.#client.leaseInfo(held, false);
      // What etcd granted may be more than was asked for; asking again for the same gives the same.
      if (info && (info.grantedS === ttlS || (info.grantedS > ttlS && ttlS < MIN_TTL_S_PLAUSIBLE))) {
        await this.keepAlive(name);
        return;
      }
    }
    const free = other ?? numbersOf(this.#root, name)[0]!;
    let existed = false;
    try {
      await this.#client.leaseGrant(free, ttlS);
    } catch (error) {
      // Granted by an earlier call without an answer, or by another at the same moment: as good as ours.
      if (!/lease already exists/.test((error as Error).message)) throw error;
      existed = true;
    }
    this.#numbers.set(name, free);
    if (held && held !== free) await this.#moveKeys(held, free);
    if (existed) await this.keepAlive(name);
  }

  async keepAlive(name: string): Promise<void> {
    for (let attempt = 0; attempt < TERM_CHANGES_MAX; attempt++) {
      const number = this.#numbers.get(name) ?? (await this.#find(name))[0];
      if (!number) throw leaseGone(name);
      const kept = await this.#renew(number);
      if (kept.ttlS <= 0) {
        const known = this.#numbers.delete(name);
        // It may have moved to its other number by another process's hand.
        if (known && (await this.#find(name))[0]) continue;
        throw leaseGone(name);
      }
      const { header } = await this.#client.range({ key: Buffer.from(`${this.#root}/k`), count_only: true });
      if (header.raft_term === kept.term) return;
    }
    throw new StoreError(
      'unavailable',
      'etcd changes its leader; the lease may or may not have been renewed',
    );
  }

  async revoke(name: string): Promise<void> {
    this.#numbers.delete(name);
    await Promise.all(
      numbersOf(this.#root, name).map(async (number) => {
        try {
          await this.#client.leaseRevoke(number);
        } catch (error) {
          if ((error as StoreError).code !== 'lease-gone') throw error;
        }
      }),
    );
  }

  /** The number to put keys under. @throws StoreError `lease-gone` */
  async number(name: string): Promise<string> {
    const number = this.#numbers.get(name) ?? (await this.#find(name))[0];
    if (!number) throw leaseGone(name);
    return number;
  }

  /** A transaction was refused for one of these leases: look for them anew. */
  forget(names: Iterable<string>): void {
    for (const name of names) this.#numbers.delete(name);
  }

  close(): void {
    this.#stream?.close();
    this.#stream = undefined;
  }

  /** The number in use, and the free one; the first is undefined where there is no such lease. */
  async #find(name: string): Promise<[string | undefined, string | undefined]> {
    const [first, second] = numbersOf(this.#root, name) as [string, string];
    const [firstInfo, secondInfo] = await Promise.all([
      this.#client.leaseInfo(first, false),
      this.#client.leaseInfo(second, false),
    ]);
    if (!firstInfo && !secondInfo) return [undefined, undefined];
    const found: [string, string] = firstInfo ? [first, second] : [second, first];
    this.#numbers.set(name, found[0]);
    return found;
  }

  /** Values stay; versions change, as by any put. The old lease ends when nothing is left under it. */
  async #moveKeys(from: string, to: string): Promise<void> {
    const { keys } = (await this.#client.leaseInfo(from, true)) ?? { keys: [] };
    for (let first = 0; first < keys.length; first += KEYS_PER_TRANSACTION_MAX) {
      await this.#client.txn({
        success: keys.slice(first, first + KEYS_PER_TRANSACTION_MAX).map((key) =>
          // Only while it still is under the old one: a put in between says better where it belongs.
          nested(
            [{ result: 'Equal', target: 'Lease', key, lease: from }],
            [{ request_put: { key, ignore_value: true, lease: to } }],
          ),
        ),
      });
    }
    await this.#client.leaseRevoke(from).catch((error: StoreError) => {
      if (error.code !== 'lease-gone') throw error;
    });
  }

  #renew(number: string): Promise<{ ttlS: number; term: string }> {
    if (!this.#stream || this.#stream.ended) this.#stream = new KeepAliveStream(this.#client, this.#clock);
    return this.#stream.renew(number);
  }
}

/** etcd raises shorter ones to its minimum; 10 s covers any sensible election timeout. */
const MIN_TTL_S_PLAUSIBLE = 10;

/** Requests and answers of one stream, in order. */
class KeepAliveStream {
  readonly #clock: Clock;
  readonly #stream: EtcdStream<ILeaseKeepAliveRequest>;
  readonly #client: EtcdClient;
  readonly #waiting: {
    resolve: (answer: { ttlS: number; term: string }) => void;
    reject: (error: StoreError) => void;
    cancelTimer: () => void;
  }[] = [];
  ended = false;

  constructor(client: EtcdClient, clock: Clock) {
    this.#clock = clock;
    this.#client = client;
    this.#stream = client.leaseKeepAlive(
      (item: ILeaseKeepAliveResponse) => {
        const waiter = this.#waiting.shift();
        waiter?.cancelTimer();
        waiter?.resolve({ ttlS: Number(item.TTL), term: item.header.raft_term });
      },
      (error) => this.#end(error ?? new StoreError('unavailable', 'etcd ended the stream of keep-alives')),
    );
  }

  renew(number: string): Promise<{ ttlS: number; term: string }> {
    return new Promise((resolve, reject) => {
      const cancelTimer = this.#clock.setTimer(CALL_TIMEOUT_MS_DEFAULT, () => {
        this.close();
        this.#client.preferNext();
        this.#end(new StoreError('unavailable', 'no answer to a keep-alive'));
      });
      this.#waiting.push({ resolve, reject, cancelTimer });
      this.#stream.send({ ID: number });
    });
  }

  close(): void {
    this.#stream.close();
    this.#end(new StoreError('unavailable', 'the connection to etcd is closed'));
  }

  #end(error: StoreError): void {
    this.ended = true;
    for (const waiter of this.#waiting.splice(0)) {
      waiter.cancelTimer();
      waiter.reject(storeErrorOfEtcd(error));
    }
  }
}

/** Two positive numbers that belong to a name: below 2^53, since not every way of loading gRPC keeps more. */
function numbersOf(root: string, name: string): string[] {
  const hash = createHash('sha256').update(`${root}\0${name}`).digest().readUIntBE(0, 6);
  return [String(2 * hash + 2), String(2 * hash + 3)];
}

function leaseGone(name: string): StoreError {
  return new StoreError(
    'lease-gone',
    `lease ${name} is not there: it expired or was revoked; grant it again`,
  );
}
