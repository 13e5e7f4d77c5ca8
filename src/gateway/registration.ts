/**
 * `gateway/<name>` in the control store, under a lease: so that operators and the API see which gateways there are.
 * Nothing depends on it: a gateway whose lease lapsed serves on and registers again.
 */
import { type Io, sleep } from '../io/io.ts';
import { CONTROL_KEYS, encodeRecord, type GatewayRecord } from '../model/records.ts';
import type { ControlStore } from '../store/store.ts';

export const GATEWAY_LEASE_TTL_MS = 10_000;
const RENEWALS_PER_TTL = 3;
const RETRY_MS = 1_000;
/** How long stopping waits for the store. */
const REVOKE_MS_MAX = 500;

export class GatewayRegistration {
  readonly #io: Pick<Io, 'clock' | 'log'>;
  readonly #control: ControlStore;
  readonly #record: GatewayRecord;
  readonly #leaseId: string;
  #registered = false;
  #stopped = false;
  #cancelTimer: () => void = () => {};

  /** `identity` is unique per start and names the lease. */
  constructor(options: {
    io: Pick<Io, 'clock' | 'log'>;
    control: ControlStore;
    record: GatewayRecord;
    identity: string;
  }) {
    this.#io = options.io;
    this.#control = options.control;
    this.#record = options.record;
    this.#leaseId = options.identity;
  }

  /** Begins, and goes on in the background for as long as the store takes. */
  start(): void {
    this.#step().then(
      () => this.#again(GATEWAY_LEASE_TTL_MS / RENEWALS_PER_TTL),
      (error) => {
        // Gone, or not known whether it is there: registering again is harmless.
        this.#registered = false;
        this.#io.log.debug({ err: error }, 'the gateway is not registered; trying again');
        this.#again(RETRY_MS);
      },
    );
  }

  /** Takes the record away, or leaves that to the lease's end where the store does not answer soon. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancelTimer();
    const revoked = this.#control.revokeLease(this.#leaseId).catch(() => {});
    await Promise.race([revoked, sleep(this.#io.clock, REVOKE_MS_MAX)]);
  }

  async #step(): Promise<void> {
    if (this.#registered) {
      await this.#control.keepAlive(this.#leaseId);
      return;
    }
    await this.#control.grantLease(this.#leaseId, GATEWAY_LEASE_TTL_MS);
    const put = CONTROL_KEYS.gateway(this.#record.name);
    const value = encodeRecord(this.#record);
    // No compare: of two processes of one name the later start is the one to show.
    await this.#control.transact({ compare: [], operations: [{ put, value, lease: this.#leaseId }] });
    this.#registered = true;
  }

  #again(delayMs: number): void {
    if (!this.#stopped) this.#cancelTimer = this.#io.clock.setTimer(delayMs, () => this.start());
  }
}
