/**
 * Who leads, as a machine: one controller acts at a time, and one that cannot prove it leads does not act.
 *
 * The leader holds `leader/controller`, created only if absent under a lease (compare-and-create). Leadership counts
 * on this process's monotonic clock from when the last successful grant or keep-alive was *sent*, less a margin, so it
 * ends here before the lease can end at the store. Acting twice is still harmless: every change a controller causes is
 * a compare-and-swap or a hint (OWNERSHIP rule 5); leadership only saves work and keeps plans consistent.
 *
 *   standby --campaign won--> leading --keep-alive refused, or too long unheard--> standby
 *      ^ campaign lost: again when the key goes, or after `retryMs`
 *   stop: resigns (the lease is revoked, so that a standby takes over at once)
 */
import type { Machine, Step } from '../machine/machine.ts';

/** `leader/controller`: who leads and where its API and wire listeners are. */
export interface LeaderRecord {
  processId: string;
  name: string;
  /** Wire address: standbys pull the loop's state from it. */
  address: string;
  /** Admin API. */
  httpAddress: string;
  sinceMs: number;
}

export type LeadershipEvent =
  | { type: 'tick' }
  | { type: 'campaignEnded'; sentAtMs: number; won: boolean }
  /** `gone`: the store says so; `unknown`: no answer. */
  | { type: 'keepAliveEnded'; sentAtMs: number; outcome: 'ok' | 'gone' | 'unknown' }
  /** The watched key disappeared: the leader resigned or its lease ended. */
  | { type: 'leaderGone' }
  | { type: 'stop' };

export type LeadershipAction =
  /** Grant a new lease, then create the key under it if it is absent; report `campaignEnded`. */
  | { type: 'campaign'; number: number }
  | { type: 'keepAlive'; number: number }
  | { type: 'gain' }
  | { type: 'lose'; reason: string }
  /** Revoke the lease of this campaign: also ends what a campaign with unknown outcome may have left. */
  | { type: 'resign'; number: number };

export interface LeadershipTimes {
  ttlMs: number;
  /** Subtracted from the lease: clocks drift and timers are late. */
  marginMs: number;
  /** Between keep-alives. */
  renewMs: number;
  /** Between campaigns of a standby that hears nothing. */
  retryMs: number;
}

/** A third for renewing leaves two more tries before the lease ends. */
export function leadershipTimes(ttlMs: number): LeadershipTimes {
  return { ttlMs, marginMs: ttlMs / 5, renewMs: ttlMs / 4, retryMs: ttlMs / 2 };
}

export class Leadership implements Machine<LeadershipEvent, LeadershipAction> {
  readonly #times: LeadershipTimes;
  #state: 'standby' | 'leading' | 'stopped' = 'standby';
  #campaign = 0;
  #busy = false;
  #nextCampaignMs = 0;
  #nextRenewMs = 0;
  #validUntilMs = 0;

  constructor(times: LeadershipTimes) {
    this.#times = times;
  }

  /** The one question to ask before acting. */
  leads(nowMs: number): boolean {
    return this.#state === 'leading' && nowMs < this.#validUntilMs;
  }

  step(event: LeadershipEvent, nowMs: number): Step<LeadershipAction> {
    const actions: LeadershipAction[] = [];
    if (this.#state === 'stopped') {
      // A campaign that was on its way when we stopped may have created the key: give it back.
      if (event.type === 'campaignEnded') actions.push({ type: 'resign', number: this.#campaign });
      return { actions };
    }
    if (event.type === 'stop') {
      if (this.#state === 'leading') actions.push({ type: 'lose', reason: 'stopped' });
      if (this.#campaign > 0) actions.push({ type: 'resign', number: this.#campaign });
      this.#state = 'stopped';
      return { actions };
    }
    if (event.type === 'campaignEnded') {
      this.#busy = false;
      this.#nextCampaignMs = nowMs + this.#times.retryMs;
      const validUntilMs = this.#validUntil(event.sentAtMs);
      if (event.won && validUntilMs > nowMs) {
        this.#state = 'leading';
        this.#validUntilMs = validUntilMs;
        this.#nextRenewMs = nowMs + this.#times.renewMs;
        actions.push({ type: 'gain' });
      } else actions.push({ type: 'resign', number: this.#campaign });
    } else if (event.type === 'keepAliveEnded') {
      this.#busy = false;
      if (this.#state === 'leading') {
        if (event.outcome === 'gone') this.#lose('the lease is gone from the store', nowMs, actions);
        else if (event.outcome === 'ok') {
          this.#validUntilMs = Math.max(this.#validUntilMs, this.#validUntil(event.sentAtMs));
          this.#nextRenewMs = event.sentAtMs + this.#times.renewMs;
        } else this.#nextRenewMs = nowMs + this.#times.renewMs / 4;
      }
    } else if (event.type === 'leaderGone') {
      // While leading, the key's end is proof enough; a lease may have been revoked by the supervisor.
      if (this.#state === 'leading') this.#lose('the leader key is gone', nowMs, actions);
      this.#nextCampaignMs = nowMs;
    }
    if (this.#state === 'leading' && nowMs >= this.#validUntilMs)
      this.#lose('the store was out of reach for longer than the lease', nowMs, actions);
    if (!this.#busy) {
      if (this.#state === 'standby' && nowMs >= this.#nextCampaignMs) {
        this.#busy = true;
        actions.push({ type: 'campaign', number: ++this.#campaign });
      } else if (this.#state === 'leading' && nowMs >= this.#nextRenewMs) {
        this.#busy = true;
        actions.push({ type: 'keepAlive', number: this.#campaign });
      }
    }
    return { actions, wakeAtMs: this.#wakeAtMs() };
  }

  #wakeAtMs(): number | undefined {
    if (this.#state === 'leading')
      return this.#busy ? this.#validUntilMs : Math.min(this.#validUntilMs, this.#nextRenewMs);
    return this.#busy ? undefined : this.#nextCampaignMs;
  }

  #validUntil(sentAtMs: number): number {
    return sentAtMs + this.#times.ttlMs - this.#times.marginMs;
  }

  #lose(reason: string, nowMs: number, actions: LeadershipAction[]): void {
    this.#state = 'standby';
    this.#nextCampaignMs = nowMs;
    actions.push({ type: 'lose', reason }, { type: 'resign', number: this.#campaign });
  }
}
