/** Drives {@link Leadership} against the control store: performs campaigns and keep-alives, watches the leader key. */
import { type Clock, type Log, sleep } from '../io/io.ts';
import { MachineDriver } from '../machine/machine.ts';
import { CONTROL_KEYS, decodeRecord, encodeRecord } from '../model/records.ts';
import { type ControlStore, StoreError, type Subscription } from '../store/store.ts';
import {
  type LeaderRecord,
  Leadership,
  type LeadershipAction,
  type LeadershipEvent,
  leadershipTimes,
} from './leadership.ts';

export interface ElectionOptions {
  control: ControlStore;
  clock: Clock;
  log: Log;
  /** What is written when this process wins; `sinceMs` is filled in. */
  record: () => Omit<LeaderRecord, 'sinceMs'>;
  ttlMs: number;
  onGain: () => void;
  onLose: (reason: string) => void;
}

export class Election {
  readonly #options: ElectionOptions;
  readonly #machine: Leadership;
  readonly #driver: MachineDriver<LeadershipEvent, LeadershipAction>;
  #watch: Subscription | undefined;
  #leader: LeaderRecord | undefined;
  #resigned: Promise<void> = Promise.resolve();
  #stopped = false;

  constructor(options: ElectionOptions) {
    this.#options = options;
    this.#machine = new Leadership(leadershipTimes(options.ttlMs));
    this.#driver = new MachineDriver({
      machine: this.#machine,
      clock: options.clock,
      tick: { type: 'tick' },
      perform: (action) => this.#perform(action),
    });
  }

  /** Whether this process may act now. Ask before every act, not once. */
  get leads(): boolean {
    return this.#machine.leads(this.#options.clock.monotonicMs());
  }

  /** The leader as last seen, this process or another; absent while nobody leads. */
  get leader(): LeaderRecord | undefined {
    return this.#leader;
  }

  start(): void {
    this.#driver.deliver({ type: 'tick' });
    void this.#follow();
  }

  /** Watches the key from a revision just listed; a campaign that lost reads the key itself, so nothing hangs on this. */
  async #follow(): Promise<void> {
    const { control, clock, ttlMs } = this.#options;
    const key = CONTROL_KEYS.leader();
    while (!this.#stopped) {
      try {
        const { entries, revision } = await control.list(key);
        if (this.#stopped) return;
        this.#leader = entries[0] ? decodeRecord<LeaderRecord>(entries[0].value) : undefined;
        this.#watch = control.watch([key], revision, (event) => {
          if (event.type === 'put') this.#leader = decodeRecord<LeaderRecord>(event.entry.value);
          else this.#confirmGone();
        });
        return;
      } catch {
        await sleep(clock, ttlMs / 4);
      }
    }
  }

  /** Resigns, so that a standby takes over at once instead of after the lease. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#driver.deliver({ type: 'stop' });
    this.#watch?.close();
    await this.#resigned;
    this.#driver.stop();
  }

  /** Events may be late or lost in a reset: what counts is what the key says now. */
  #confirmGone(): void {
    this.#options.control.get(CONTROL_KEYS.leader()).then(
      (entry) => {
        this.#leader = entry ? decodeRecord<LeaderRecord>(entry.value) : undefined;
        const mine = this.#leader?.processId === this.#options.record().processId;
        if (!entry || (this.leads && !mine)) this.#driver.deliver({ type: 'leaderGone' });
      },
      () => {},
    );
  }

  #perform(action: LeadershipAction): void {
    const { log } = this.#options;
    if (action.type === 'campaign') void this.#campaign(action.number);
    else if (action.type === 'keepAlive') void this.#keepAlive(action.number);
    else if (action.type === 'gain') {
      log.info({}, 'leading');
      this.#options.onGain();
    } else if (action.type === 'lose') {
      log.warn({ reason: action.reason }, 'no longer leading');
      this.#options.onLose(action.reason);
    } else {
      this.#resigned = this.#options.control.revokeLease(this.#leaseId(action.number)).catch((error) => {
        log.debug({ error: String(error) }, 'a lease was not revoked and ends by its own time');
      });
    }
  }

  #leaseId(number: number): string {
    return `controller-${this.#options.record().processId}-${number}`;
  }

  async #campaign(number: number): Promise<void> {
    const { control, clock, record, ttlMs } = this.#options;
    const sentAtMs = clock.monotonicMs();
    let won = false;
    try {
      const key = CONTROL_KEYS.leader();
      const present = await control.get(key);
      if (present) this.#leader = decodeRecord<LeaderRecord>(present.value);
      else {
        const lease = this.#leaseId(number);
        const mine: LeaderRecord = { ...record(), sinceMs: clock.realtimeMs() };
        await control.grantLease(lease, ttlMs);
        const result = await control.transact({
          compare: [{ key, version: 0 }],
          operations: [{ put: key, value: encodeRecord(mine), lease }],
          read: [key],
        });
        won = result.read[0]?.lease === lease;
        if (result.read[0]) this.#leader = decodeRecord<LeaderRecord>(result.read[0].value);
      }
    } catch (error) {
      this.#options.log.debug({ error: String(error) }, 'a campaign for leadership ended without an answer');
    }
    this.#driver.deliver({ type: 'campaignEnded', sentAtMs, won });
  }

  async #keepAlive(number: number): Promise<void> {
    const { control, clock } = this.#options;
    const sentAtMs = clock.monotonicMs();
    let outcome: 'ok' | 'gone' | 'unknown' = 'ok';
    try {
      await control.keepAlive(this.#leaseId(number));
    } catch (error) {
      outcome = error instanceof StoreError && error.code === 'lease-gone' ? 'gone' : 'unknown';
    }
    this.#driver.deliver({ type: 'keepAliveEnded', sentAtMs, outcome });
  }
}
