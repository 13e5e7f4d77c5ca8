/**
 * One migration as a pure machine: events in, actions out, no clock of its own.
 *
 * Boundary: it decides; `driver.ts` performs. It dispatches through {@link TABLE} alone. Invariants are numbered in
 * `SPEC.md` (M1..): every action is idempotent (M1); the record is durable before what outlives this process (M2);
 * one time-out a phase (M7). An early tick or an event that comes twice changes nothing (M8).
 */
import type { Machine, Step } from '../machine/machine.ts';
import type { Assignment } from '../model/records.ts';
import type { ReplicaStatus, WarmUpReport } from '../node/protocol.ts';
import type { Action, Direction, Event, Side } from './events.ts';
import { warmUpObjection } from './gates.ts';
import { FINAL_STATES, type MigrationRecord, type State } from './record.ts';
import { retryDelayMs, retryOf } from './retries.ts';
import { RULES } from './rules.ts';
import { handOffStep, type MigrationSettings, percentsOf, pollMsOf } from './settings.ts';
import { ShiftStep } from './shift-step.ts';
import { TABLE } from './table.ts';

/** While bytes move there is nothing to decide: look rarely. */
const TRANSFER_POLL_MS = 200;

export class MigrationMachine implements Machine<Event, Action> {
  readonly record: MigrationRecord;
  readonly #settings: MigrationSettings;
  readonly #percents: number[];
  readonly #handOffStep: number;
  readonly #pollMs: number;
  readonly #shift: ShiftStep;
  #actions: Action[] = [];
  /** The phase's one time-out, and what is waited for beside it. */
  #deadlineMs: number | undefined;
  #retryAtMs: number | undefined;
  #retry: Action[] = [];
  #pollAtMs: number | undefined;
  #attempts = 0;
  #target: ReplicaStatus | undefined;
  #source: ReplicaStatus | undefined;
  #pendingDrops = new Set<Side>();

  constructor(record: MigrationRecord, settings: MigrationSettings) {
    this.record = { ...record };
    this.#settings = settings;
    this.#percents = percentsOf(settings);
    this.#handOffStep = handOffStep(settings);
    this.#pollMs = pollMsOf(settings);
    this.#shift = new ShiftStep(settings);
  }

  /** The target's last status: for showing progress. */
  get targetStatus(): ReplicaStatus | undefined {
    return this.#target;
  }

  get ended(): boolean {
    return FINAL_STATES.has(this.record.state);
  }

  step(event: Event, nowMs: number): Step<Action> {
    this.#actions = [];
    const outcome = TABLE[this.record.state][event.type];
    (RULES[outcome] as (machine: MigrationMachine, event: Event, nowMs: number) => void)(this, event, nowMs);
    const actions = this.#actions;
    this.#actions = [];
    return { actions, wakeAtMs: this.ended ? undefined : this.#wakeAtMs() };
  }

  // ---- rules, one an outcome of the table

  resume(nowMs: number): void {
    const { state } = this.record;
    // What the target held may be gone with the time that passed; preparing again finds out and costs nothing.
    this.enter(state === 'following' || state === 'warming' ? 'transferring' : state, nowMs);
  }

  checkTime(nowMs: number): void {
    if (this.#deadlineMs !== undefined && nowMs >= this.#deadlineMs) {
      this.#timeOut(nowMs);
      return;
    }
    if (this.#retryAtMs !== undefined && nowMs >= this.#retryAtMs) {
      this.#retryAtMs = undefined;
      this.#actions.push(...this.#retry);
    }
    if (this.#pollAtMs !== undefined && nowMs >= this.#pollAtMs) {
      this.#pollAtMs = undefined;
      this.#actions.push({ type: 'observe' });
    }
    if (this.#isShifting()) this.#judge(nowMs);
  }

  checkPlan(assignment: Assignment | undefined, nowMs: number): void {
    const { record } = this;
    if (assignment?.primary !== record.source) {
      const owner = assignment ? `${assignment.primary} is its primary` : 'nobody owns it';
      this.giveUp(`the plan is out of date: ${owner}`);
      return;
    }
    record.epoch = assignment.epoch;
    record.sourceCell = assignment.cell;
    this.enter('transferring', nowMs);
  }

  giveUp(detail: string): void {
    this.record.detail = detail;
    this.#end('rolled-back');
  }

  retry(event: Extract<Event, { type: 'call-failed' }>, nowMs: number): void {
    if (event.call === 'observe') {
      this.#pollAtMs = nowMs + this.#pollMs;
      return;
    }
    const action = retryOf(event, this.record.state, this.#pendingDrops);
    if (!action || this.#retryAtMs !== undefined) return;
    if (++this.#attempts >= this.#settings.attemptsMax) {
      this.#exhausted(event, nowMs);
      return;
    }
    this.#later(action, nowMs);
  }

  watchTransfer(event: Extract<Event, { type: 'observed' }>, nowMs: number): void {
    const before = this.#target;
    this.#note(event);
    const target = event.target;
    if (!target) return;
    if (target.role === 'primary' || target.role === 'sealed' || target.role === 'opening') {
      this.#actions.push({ type: 'read-assignment' });
      return;
    }
    if (target.phase === 'failed') {
      this.rollBack(target.error ?? 'the transfer failed', nowMs);
      return;
    }
    if (target.phase === 'following') {
      this.enter('following', nowMs);
      return;
    }
    if (target.bytesTransferred !== before?.bytesTransferred || target.phase !== before.phase)
      this.#deadlineMs = nowMs + this.#settings.transferStallMsMax;
    this.#pollAtMs = nowMs + Math.max(TRANSFER_POLL_MS, this.#settings.pollMs);
  }

  watchLag(event: Extract<Event, { type: 'observed' }>, nowMs: number): void {
    this.#note(event);
    this.#judgeLag(nowMs);
  }

  judgeWarmUp(report: WarmUpReport, nowMs: number): void {
    const worse = warmUpObjection(report, this.#settings.gates);
    if (worse !== undefined) this.rollBack(worse, nowMs);
    else {
      const source = this.#source;
      const onlyCommands = source?.executed.queries.count === 0 && report.replayed === 0;
      this.record.express = source !== undefined && source.users < this.#settings.usersMin;
      // Nothing to split, but enough to be judged: only the step after the hand-off is left.
      const whole = !this.record.express && onlyCommands;
      this.record.step = whole ? this.#percents.length - 1 : 0;
      if (this.record.express || whole || this.#handOffStep === 0) this.enter('handing-off', nowMs);
      else this.enter('shifting', nowMs);
    }
  }

  beginStep(event: Extract<Event, { type: 'recorded' }>, nowMs: number): void {
    const { state, step } = this.record;
    if (event.state !== state || event.step !== step || this.#shift.runs) return;
    this.#shift.begin(nowMs);
    this.#deadlineMs = nowMs + this.#settings.blindMsMax;
    this.#actions.push({ type: 'observe' });
  }

  judgeStep(event: Extract<Event, { type: 'observed' }>, nowMs: number): void {
    this.#note(event);
    this.#pollAtMs = nowMs + this.#pollMs;
    const target = event.target;
    if (!target || !this.#shift.runs) return;
    this.#deadlineMs = this.#shift.see(target, nowMs);
    if (!this.record.handedOff) {
      if (target.role === 'primary') {
        this.enter('handing-off', nowMs);
        return;
      }
      if (target.role !== 'follower' || target.phase === 'failed') {
        this.rollBack(target.error ?? `the target is ${target.role}, not a follower`, nowMs);
        return;
      }
    }
    this.#judge(nowMs);
  }

  conclude(event: Extract<Event, { type: 'handed-off' }>, nowMs: number): void {
    if (event.direction !== this.#direction()) return;
    const { result } = event;
    if (result.outcome === 'refused') {
      this.record.detail = result.reason;
      this.#actions.push({ type: 'read-assignment' });
      return;
    }
    this.#concluded(result.epoch, nowMs);
  }

  askOwner(nowMs: number, reason: string | undefined): void {
    if (reason !== undefined) this.record.detail = reason;
    if (this.#retryAtMs === undefined) this.#later({ type: 'read-assignment' }, nowMs);
  }

  settleOwner(assignment: Assignment | undefined, nowMs: number): void {
    const { record } = this;
    const back = record.state === 'handing-back';
    const wanted = back ? record.source : record.target;
    const present = back ? record.target : record.source;
    if (assignment?.primary === wanted) {
      this.#concluded(assignment.epoch, nowMs);
      return;
    }
    if (assignment?.primary !== present) {
      this.overtaken(
        assignment ? `${assignment.primary} has become primary` : 'the assignment is gone',
        nowMs,
      );
      return;
    }
    // The primary may have renewed its own epoch; the next order names the one that holds.
    record.epoch = assignment.epoch;
    if (this.#retryAtMs !== undefined) return;
    if (++this.#attempts >= this.#settings.attemptsMax) {
      const detail = record.detail || 'the order was not followed';
      if (back) {
        record.verdict = 'failed';
        this.rollBack(`could not hand back: ${detail}`, nowMs);
      } else this.rollBack(`no hand-off: ${detail}`, nowMs);
      return;
    }
    this.#later(
      record.state === 'transferring' ? { type: 'prepare' } : this.#handOffAction(this.#attempts + 1),
      nowMs,
    );
  }

  noteCancel(): void {
    this.record.cancelled = true;
  }

  rollBack(detail: string, nowMs: number): void {
    this.record.detail = detail;
    this.enter('rolling-back', nowMs);
  }

  handBack(detail: string, nowMs: number): void {
    this.record.detail = detail;
    this.enter('handing-back', nowMs);
  }

  /** Ownership went another way than this migration wanted; it only tidies up. */
  overtaken(detail: string, nowMs: number): void {
    this.record.verdict = this.record.handedOff ? 'failed' : 'rolled-back';
    this.rollBack(detail, nowMs);
  }

  goneAfterHandOff(side: Side, nowMs: number): void {
    if (side === 'source' && this.record.state === 'shifting-after') this.enter('decommissioning', nowMs);
    else this.overtaken(`the ${side}'s process has ended`, nowMs);
  }

  countDrop(at: Side): void {
    this.#pendingDrops.delete(at);
    if (this.#pendingDrops.size > 0) return;
    this.#end(this.record.state === 'decommissioning' ? 'done' : this.record.verdict);
  }

  // ---- entering states

  enter(state: State, nowMs: number): void {
    const { record } = this;
    const settings = this.#settings;
    record.state = state;
    this.#attempts = 0;
    this.#retryAtMs = undefined;
    this.#retry = [];
    this.#pollAtMs = undefined;
    this.#shift.end();
    switch (state) {
      case 'planned':
        this.#deadlineMs = nowMs + settings.rollBackMsMax;
        this.#actions.push({ type: 'read-assignment' });
        break;
      case 'transferring':
        this.#deadlineMs = nowMs + settings.transferStallMsMax;
        this.#record(true);
        this.#actions.push({ type: 'prepare' });
        break;
      case 'following':
        this.#deadlineMs = nowMs + settings.followMsMax;
        this.#record(false);
        this.#judgeLag(nowMs);
        break;
      case 'warming':
        this.#deadlineMs = nowMs + settings.warmUpMsMax;
        this.#record(false);
        this.#actions.push({ type: 'warm-up' });
        break;
      case 'shifting':
      case 'shifting-after':
        record.percent = this.#percents[record.step]!;
        // Until the shift is durable the driver tries by itself; then the step's own clock begins.
        this.#deadlineMs = nowMs + settings.blindMsMax;
        this.#record(true);
        break;
      case 'handing-off':
        this.#deadlineMs = nowMs + settings.handOffMsMax;
        this.#record(true);
        this.#actions.push(this.#handOffAction(1));
        break;
      case 'handing-back':
        this.#deadlineMs = nowMs + settings.handBackMsMax;
        this.#record(true);
        this.#actions.push(this.#handOffAction(1));
        break;
      case 'decommissioning':
        record.percent = 100;
        this.#deadlineMs = nowMs + settings.decommissionMsMax;
        this.#record(false);
        if (settings.keepStandby) this.#end('done');
        else this.#drop(['source']);
        break;
      case 'rolling-back':
        record.percent = 0;
        this.#deadlineMs = nowMs + settings.rollBackMsMax;
        this.#record(true);
        this.#drop(['target', 'source']);
        break;
      default:
        this.#deadlineMs = undefined;
    }
  }

  #drop(sides: Side[]): void {
    this.#pendingDrops = new Set(sides);
    for (const at of sides) this.#actions.push({ type: 'drop', at });
  }

  #end(state: 'done' | 'rolled-back' | 'failed'): void {
    this.record.state = state;
    this.#deadlineMs = undefined;
    this.#retryAtMs = undefined;
    this.#pollAtMs = undefined;
    this.#actions.push({ type: 'finish', record: { ...this.record } });
  }

  #record(ahead: boolean): void {
    this.#actions.push({ type: 'record', record: { ...this.record }, ahead });
  }

  #concluded(epoch: number, nowMs: number): void {
    const { record } = this;
    record.epoch = epoch;
    record.handedOff = record.state !== 'handing-back';
    if (record.state === 'handing-back') {
      this.enter('rolling-back', nowMs);
      return;
    }
    record.detail = '';
    if (record.cancelled) this.handBack('cancelled', nowMs);
    else if (record.express || record.state === 'transferring') this.enter('decommissioning', nowMs);
    else {
      record.step = Math.max(record.step, this.#handOffStep);
      this.enter('shifting-after', nowMs);
    }
  }

  // ---- judging

  #note(event: Extract<Event, { type: 'observed' }>): void {
    if (event.target) this.#target = event.target;
    if (event.source) this.#source = event.source;
  }

  #judgeLag(nowMs: number): void {
    const target = this.#target;
    if (target?.phase === 'failed') {
      this.rollBack(target.error ?? 'the follower failed', nowMs);
      return;
    }
    if (target?.phase === 'following') {
      const end = Math.max(target.sourceSeq ?? 0, this.#source?.durableSeq ?? 0);
      if (end - target.appliedSeq <= this.#settings.lagDeltasMax) {
        this.enter('warming', nowMs);
        return;
      }
    }
    this.#pollAtMs = nowMs + this.#pollMs;
  }

  #judge(nowMs: number): void {
    const target = this.#target;
    if (!target || !this.#shift.isSeen) return;
    const worse = this.#shift.objection(this.record, target, this.#source);
    if (worse !== undefined) {
      if (this.record.handedOff) this.handBack(worse, nowMs);
      else this.rollBack(worse, nowMs);
    } else if (this.#shift.isOver(this.record, target, nowMs)) this.#advance(nowMs);
  }

  #advance(nowMs: number): void {
    const { record } = this;
    if (record.step >= this.#percents.length - 1) {
      this.enter('decommissioning', nowMs);
      return;
    }
    record.step++;
    const handOffNow = !record.handedOff && record.step >= this.#handOffStep;
    this.enter(handOffNow ? 'handing-off' : record.state, nowMs);
  }

  // ---- time and failures

  #timeOut(nowMs: number): void {
    const { record } = this;
    const what = `${record.state} took too long`;
    switch (record.state) {
      case 'planned':
        this.giveUp(what);
        break;
      case 'shifting-after':
        this.handBack('nothing was heard of the target', nowMs);
        break;
      case 'handing-off':
      case 'handing-back':
        // Called off at the source by the drop; should it have swapped unheard, ownership is still one.
        record.verdict = 'failed';
        this.rollBack(`the outcome of ${record.state} is not known`, nowMs);
        break;
      case 'decommissioning':
        record.detail = 'the old copy could not be dropped; it drops itself';
        this.#end('done');
        break;
      case 'rolling-back':
        record.detail = `${record.detail}; the copies could not be dropped, they drop themselves`;
        this.#end('failed');
        break;
      default:
        this.rollBack(record.state === 'shifting' ? 'nothing was heard of the target' : what, nowMs);
    }
  }

  #exhausted(event: Extract<Event, { type: 'call-failed' }>, nowMs: number): void {
    if (this.record.state === 'planned') this.giveUp(event.reason);
    else if (event.call === 'drop' && event.at) {
      // An unreachable follower drops itself (node/migration/follower.ts).
      this.countDrop(event.at);
    } else this.rollBack(`${event.call}: ${event.reason}`, nowMs);
  }

  #later(action: Action, nowMs: number): void {
    this.#retry = [action];
    this.#retryAtMs = nowMs + retryDelayMs(this.#attempts);
  }

  #handOffAction(attempt: number): Action {
    return { type: 'hand-off', direction: this.#direction(), attempt };
  }

  #direction(): Direction {
    return this.record.state === 'handing-back' ? 'back' : 'forward';
  }

  #isShifting(): boolean {
    return this.record.state === 'shifting' || this.record.state === 'shifting-after';
  }

  #wakeAtMs(): number | undefined {
    let wakeAtMs = Number.POSITIVE_INFINITY;
    for (const atMs of [this.#deadlineMs, this.#retryAtMs, this.#pollAtMs])
      if (atMs !== undefined && atMs < wakeAtMs) wakeAtMs = atMs;
    const overAtMs = this.#isShifting() ? this.#shift.overAtMs(this.record, this.#target) : undefined;
    if (overAtMs !== undefined) wakeAtMs = Math.min(wakeAtMs, overAtMs);
    return wakeAtMs === Number.POSITIVE_INFINITY ? undefined : wakeAtMs;
  }
}
