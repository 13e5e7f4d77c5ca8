/**
 * The outcomes of the table, each bound to what the machine does.
 */
import type { Event } from './events.ts';
import type { MigrationMachine } from './machine.ts';
import type { Outcome } from './table.ts';

/** Given only events of the types that the table lists under its outcome. */
export type Rule = (machine: MigrationMachine, event: never, nowMs: number) => void;
type Observed = Extract<Event, { type: 'observed' }>;
type Owner = Extract<Event, { type: 'assignment' }>;
type Failed = Extract<Event, { type: 'call-failed' }>;
type Gone = Extract<Event, { type: 'gone' }>;

/** What to say of an event that ends a migration. */
function saying(event: Event): string {
  if (event.type === 'gone') return `the ${event.side}'s process has ended`;
  return event.type === 'cancel' ? 'cancelled' : event.type;
}

export const RULES: Record<Outcome, Rule> = {
  ignore: () => {},
  resume: (machine, _event, nowMs) => machine.resume(nowMs),
  'check-time': (machine, _event, nowMs) => machine.checkTime(nowMs),
  'give-up': (machine, event: Event) => machine.giveUp(saying(event)),
  'check-plan': (machine, event: Owner, nowMs) => machine.checkPlan(event.assignment, nowMs),
  retry: (machine, event: Failed, nowMs) => machine.retry(event, nowMs),
  'watch-transfer': (machine, event: Observed, nowMs) => machine.watchTransfer(event, nowMs),
  'watch-lag': (machine, event: Observed, nowMs) => machine.watchLag(event, nowMs),
  'judge-warm-up': (machine, event: Extract<Event, { type: 'warmed' }>, nowMs) =>
    machine.judgeWarmUp(event.report, nowMs),
  'begin-step': (machine, event: Extract<Event, { type: 'recorded' }>, nowMs) =>
    machine.beginStep(event, nowMs),
  'judge-step': (machine, event: Observed, nowMs) => machine.judgeStep(event, nowMs),
  conclude: (machine, event: Extract<Event, { type: 'handed-off' }>, nowMs) => machine.conclude(event, nowMs),
  'ask-owner': (machine, event: Failed | Gone, nowMs) =>
    machine.askOwner(nowMs, event.type === 'gone' ? saying(event) : event.reason),
  'settle-owner': (machine, event: Owner, nowMs) => machine.settleOwner(event.assignment, nowMs),
  'note-cancel': (machine) => machine.noteCancel(),
  'roll-back': (machine, event: Event, nowMs) => machine.rollBack(saying(event), nowMs),
  'hand-back': (machine, event: Event, nowMs) => machine.handBack(saying(event), nowMs),
  overtaken: (machine, event: Gone, nowMs) => machine.goneAfterHandOff(event.side, nowMs),
  'count-drop': (machine, event: Extract<Event, { type: 'dropped' }>) => machine.countDrop(event.at),
  'note-gone': (machine, event: Gone) => machine.countDrop(event.side),
};
