/**
 * The node's lease: registration, keep-alive, and the one question the rest asks, "is it valid now?".
 *
 * OWNERSHIP rule 1: `node/<processId>` is created only if absent, and this process counts itself valid only by the
 * lease which that key names. OWNERSHIP rule 4: validity is counted on the monotonic clock from when the successful
 * keep-alive was *sent*, less a margin.
 *
 *   registering --created--> catching up --read all assignments--> valid (until validUntilMs)
 *        ^                                                          |
 *        +---- lease-gone (under a new lease, a new generation) ----+
 *
 * A silent store loses nothing: validity runs out, keep-alives are tried on, and answers go through fence checks.
 */
import type { Io } from '../io/io.ts';
import type { Mutations } from '../model/mutations.ts';
import { CONTROL_KEYS, decodeRecord, encodeRecord, type NodeRecord } from '../model/records.ts';
import { type ControlStore, StoreError } from '../store/store.ts';

const RETRY_DELAY_MS = 150;

export interface NodeLeaseOptions {
  io: Pick<Io, 'clock' | 'log'>;
  control: ControlStore;
  ttlMs: number;
  /** The record to publish, without its lease. */
  record: Omit<NodeRecord, 'leaseId' | 'state'>;
  /**
   * After a registration that was not the first: read every assignment held here at or after `revision` and demote
   * what is no longer ours. Until it resolves no query is answered by the lease.
   */
  catchUp: (revision: number) => Promise<void>;
  mutations?: Mutations | undefined;
}

export class NodeLease {
  readonly #io: Pick<Io, 'clock' | 'log'>;
  readonly #control: ControlStore;
  readonly #ttlMs: number;
  readonly #marginMs: number;
  readonly #record: Omit<NodeRecord, 'leaseId' | 'state'>;
  readonly #catchUp: (revision: number) => Promise<void>;
  readonly #key: string;
  readonly #mutations: Mutations | undefined;
  #leaseId = '';
  #version = 0;
  #generation = 0;
  #caughtUp = false;
  #validUntilMs = 0;
  #registeredAgainMs = Number.NEGATIVE_INFINITY;
  #state: NodeRecord['state'] = 'ready';
  #stopped = false;
  #cancelTimer: () => void = () => {};
  #registering = false;

  constructor(options: NodeLeaseOptions) {
    this.#io = options.io;
    this.#control = options.control;
    this.#ttlMs = options.ttlMs;
    // Clocks of two machines run apart by far less than a tenth.
    this.#marginMs = options.mutations?.has('no-lease-margin') ? 0 : options.ttlMs / 10;
    this.#mutations = options.mutations;
    this.#record = options.record;
    this.#catchUp = options.catchUp;
    this.#key = CONTROL_KEYS.node(options.record.processId);
  }

  /** Grows with each registration: what was learnt under an older one must be read again. */
  get generation(): number {
    return this.#generation;
  }

  /** May queries be answered by the lease alone (OWNERSHIP rule 4)? */
  valid(): boolean {
    return this.#caughtUp && !this.#stopped && this.#io.clock.monotonicMs() < this.#validUntilMs;
  }

  get state(): NodeRecord['state'] {
    return this.#state;
  }

  /**
   * It was lost, or is about to be, and that is no longer than a TTL ago: others may have lost theirs for the same
   * reason, and should get the time to register again before anybody takes over from them.
   */
  get unsettled(): boolean {
    return !this.valid() || this.#io.clock.monotonicMs() < this.#registeredAgainMs + this.#ttlMs;
  }

  get ttlMs(): number {
    return this.#ttlMs;
  }

  record(): NodeRecord {
    return { ...this.#record, leaseId: this.#leaseId, state: this.#state };
  }

  /** Registers for the first time, trying until the store answers, and keeps alive from then on. */
  async start(): Promise<void> {
    while (!this.#stopped) {
      if (await this.#register()) break;
      await this.#pause();
    }
    this.#arm(this.#ttlMs / 3);
  }

  /** Publishes `draining` (or `ready` again). Retried until written. */
  async setState(state: NodeRecord['state']): Promise<void> {
    this.#state = state;
    while (!this.#stopped) {
      try {
        if (await this.#writeRecord()) return;
      } catch (error) {
        this.#io.log.warn({ error: String(error) }, 'the node record could not be written; trying again');
      }
      await this.#pause();
    }
  }

  async #writeRecord(): Promise<boolean> {
    const { succeeded, revision, read } = await this.#control.transact({
      compare: [{ key: this.#key, version: this.#version }],
      operations: [{ put: this.#key, value: encodeRecord(this.record()), lease: this.#leaseId }],
      read: [this.#key],
    });
    if (succeeded) {
      this.#version = revision;
      return true;
    }
    const entry = read[0];
    // Ours, by an earlier try whose answer was lost: the next try compares its version.
    if (entry && entry.lease === this.#leaseId) {
      this.#version = entry.version;
      return decodeRecord<NodeRecord>(entry.value).state === this.#state;
    }
    // The key is gone with its lease: registering again, which the next keep-alive starts, writes the state as well.
    return false;
  }

  /** Gives the lease back, so that others may take over at once. */
  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#cancelTimer();
    try {
      await this.#control.revokeLease(this.#leaseId);
    } catch {
      // The TTL does it then.
    }
  }

  /** Stops without giving the lease back: what a crash looks like to the others. */
  abandon(): void {
    this.#stopped = true;
    this.#cancelTimer();
  }

  #arm(delayMs: number): void {
    if (this.#stopped) return;
    this.#cancelTimer();
    this.#cancelTimer = this.#io.clock.setTimer(delayMs, () => this.#beat());
  }

  /** One keep-alive; the next is due a third of the TTL later whether or not this one is answered. */
  #beat(): void {
    this.#arm(this.#ttlMs / 3);
    if (this.#registering) return;
    const sentMs = this.#io.clock.monotonicMs();
    const leaseId = this.#leaseId;
    this.#control.keepAlive(leaseId).then(
      () => {
        if (leaseId === this.#leaseId) this.#extend(sentMs);
      },
      (error) => {
        if (leaseId !== this.#leaseId || this.#stopped) return;
        if (error instanceof StoreError && error.code === 'lease-gone') void this.#registerAgain();
        // Unknown: the lease may live on. Try again well before it ends.
        else this.#arm(RETRY_DELAY_MS);
      },
    );
  }

  async #registerAgain(): Promise<void> {
    if (this.#registering) return;
    this.#registering = true;
    this.#caughtUp = false;
    this.#io.log.warn({ leaseId: this.#leaseId }, 'the lease is gone; registering again');
    try {
      while (!this.#stopped && !(await this.#register())) await this.#pause();
    } finally {
      this.#registering = false;
    }
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => {
      this.#io.clock.setTimer(RETRY_DELAY_MS, resolve);
    });
  }

  #extend(sentMs: number): void {
    if (this.#mutations?.has('no-lease-margin')) sentMs = this.#io.clock.monotonicMs();
    this.#validUntilMs = Math.max(this.#validUntilMs, sentMs + this.#ttlMs - this.#marginMs);
  }

  /**
   * OWNERSHIP rule 1: grants a lease of a new name and creates the key, only if absent. If the key is there, it names
   * an earlier lease of this very process whose write was slow: that lease is the one to live by.
   */
  async #register(): Promise<boolean> {
    const generation = this.#generation + 1;
    const leaseId = `${this.#record.processId}.${generation}`;
    const sentMs = this.#io.clock.monotonicMs();
    this.#caughtUp = false;
    try {
      await this.#control.grantLease(leaseId, this.#ttlMs);
      const value = encodeRecord({ ...this.#record, leaseId, state: this.#state } satisfies NodeRecord);
      const { succeeded, revision, read } = await this.#control.transact({
        compare: this.#mutations?.has('registration-overwrites') ? [] : [{ key: this.#key, version: 0 }],
        operations: [{ put: this.#key, value, lease: leaseId }],
        read: [this.#key],
      });
      let validFromMs = sentMs;
      let version = revision;
      let named = leaseId;
      if (!succeeded) {
        const entry = read[0];
        if (entry?.lease === undefined) return false;
        named = entry.lease;
        version = entry.version;
        validFromMs = this.#io.clock.monotonicMs();
        await this.#control.keepAlive(named);
      }
      const first = this.#generation === 0;
      this.#generation = generation;
      this.#leaseId = named;
      this.#version = version;
      this.#validUntilMs = 0;
      if (!first && !this.#mutations?.has('no-catch-up')) await this.#catchUp(revision);
      if (this.#generation !== generation) return false;
      this.#extend(validFromMs);
      if (!first) this.#registeredAgainMs = this.#io.clock.monotonicMs();
      this.#caughtUp = true;
      return true;
    } catch (error) {
      this.#io.log.warn({ error: String(error), leaseId }, 'registration did not succeed; trying again');
      return false;
    }
  }
}
