/**
 * The whole state x event table of a migration. The machine dispatches through it: there is no transition beside it,
 * and `SPEC.md` shows the same table (a test compares them).
 *
 *   planned -> transferring -> following -> warming -> shifting -> handing-off -> shifting-after -> decommissioning -> done
 *                  |               |           |          |  \________^  |              |
 *                  +---------------+-----------+----------+--------------+        handing-back
 *                                            |                                          |
 *                                            v                                          v
 *                                       rolling-back <----------------------------------+
 *                                            |-> rolled-back | failed
 */
import type { State } from './record.ts';

export const EVENTS = [
  /** Begin, or take up again after another executor. */
  'start',
  'tick',
  /** The record (and with it the shift) is durable. */
  'recorded',
  /** A look at one or both replicas. */
  'observed',
  'warmed',
  /** Result of a hand-off, in either direction. */
  'handed-off',
  /** The assignment as read from the control store. */
  'assignment',
  'dropped',
  /** An action gave an error or no answer. */
  'call-failed',
  'cancel',
  /** The source's or target's process is gone. */
  'gone',
] as const;
export type EventType = (typeof EVENTS)[number];

/** Names of the rules in `machine.ts`; what each does is in `SPEC.md`. */
export const OUTCOMES = [
  'ignore',
  'resume',
  'check-time',
  'give-up',
  'check-plan',
  'retry',
  'watch-transfer',
  'watch-lag',
  'judge-warm-up',
  'begin-step',
  'judge-step',
  'conclude',
  'ask-owner',
  'settle-owner',
  'note-cancel',
  'roll-back',
  'hand-back',
  'overtaken',
  'count-drop',
  'note-gone',
] as const;
export type Outcome = (typeof OUTCOMES)[number];

const ENDED: Record<EventType, Outcome> = {
  start: 'ignore',
  tick: 'ignore',
  recorded: 'ignore',
  observed: 'ignore',
  warmed: 'ignore',
  'handed-off': 'ignore',
  assignment: 'ignore',
  dropped: 'ignore',
  'call-failed': 'ignore',
  cancel: 'ignore',
  gone: 'ignore',
};

export const TABLE: Record<State, Record<EventType, Outcome>> = {
  planned: {
    start: 'resume',
    tick: 'check-time',
    recorded: 'ignore',
    observed: 'ignore',
    warmed: 'ignore',
    'handed-off': 'ignore',
    assignment: 'check-plan',
    dropped: 'ignore',
    'call-failed': 'retry',
    cancel: 'give-up',
    gone: 'give-up',
  },
  transferring: {
    start: 'resume',
    tick: 'check-time',
    recorded: 'ignore',
    observed: 'watch-transfer',
    warmed: 'ignore',
    'handed-off': 'ignore',
    assignment: 'settle-owner',
    dropped: 'ignore',
    'call-failed': 'retry',
    cancel: 'roll-back',
    gone: 'roll-back',
  },
  following: {
    start: 'resume',
    tick: 'check-time',
    recorded: 'ignore',
    observed: 'watch-lag',
    warmed: 'ignore',
    'handed-off': 'ignore',
    assignment: 'ignore',
    dropped: 'ignore',
    'call-failed': 'retry',
    cancel: 'roll-back',
    gone: 'roll-back',
  },
  warming: {
    start: 'resume',
    tick: 'check-time',
    recorded: 'ignore',
    observed: 'ignore',
    warmed: 'judge-warm-up',
    'handed-off': 'ignore',
    assignment: 'ignore',
    dropped: 'ignore',
    'call-failed': 'retry',
    cancel: 'roll-back',
    gone: 'roll-back',
  },
  shifting: {
    start: 'resume',
    tick: 'check-time',
    recorded: 'begin-step',
    observed: 'judge-step',
    warmed: 'ignore',
    'handed-off': 'ignore',
    assignment: 'ignore',
    dropped: 'ignore',
    'call-failed': 'retry',
    cancel: 'roll-back',
    gone: 'roll-back',
  },
  'handing-off': {
    start: 'resume',
    tick: 'check-time',
    recorded: 'ignore',
    observed: 'ignore',
    warmed: 'ignore',
    'handed-off': 'conclude',
    assignment: 'settle-owner',
    dropped: 'ignore',
    'call-failed': 'ask-owner',
    cancel: 'note-cancel',
    gone: 'ask-owner',
  },
  'shifting-after': {
    start: 'resume',
    tick: 'check-time',
    recorded: 'begin-step',
    observed: 'judge-step',
    warmed: 'ignore',
    'handed-off': 'ignore',
    assignment: 'ignore',
    dropped: 'ignore',
    'call-failed': 'retry',
    cancel: 'hand-back',
    gone: 'overtaken',
  },
  decommissioning: {
    start: 'resume',
    tick: 'check-time',
    recorded: 'ignore',
    observed: 'ignore',
    warmed: 'ignore',
    'handed-off': 'ignore',
    assignment: 'ignore',
    dropped: 'count-drop',
    'call-failed': 'retry',
    cancel: 'ignore',
    gone: 'note-gone',
  },
  'handing-back': {
    start: 'resume',
    tick: 'check-time',
    recorded: 'ignore',
    observed: 'ignore',
    warmed: 'ignore',
    'handed-off': 'conclude',
    assignment: 'settle-owner',
    dropped: 'ignore',
    'call-failed': 'ask-owner',
    cancel: 'ignore',
    gone: 'overtaken',
  },
  'rolling-back': {
    start: 'resume',
    tick: 'check-time',
    recorded: 'ignore',
    observed: 'ignore',
    warmed: 'ignore',
    'handed-off': 'ignore',
    assignment: 'ignore',
    dropped: 'count-drop',
    'call-failed': 'retry',
    cancel: 'ignore',
    gone: 'note-gone',
  },
  done: ENDED,
  'rolled-back': ENDED,
  failed: ENDED,
};
