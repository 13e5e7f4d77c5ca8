/**
 * What a migration asks again after a failed call, and how long it waits first.
 *
 * Pure. A call is asked again only in the state that wants its answer; a hand-off is not
 * among them, since who owns the shard is read first. How often is the machine's to count.
 */
import type { Action, Event, Side } from './events.ts';
import type { State } from './record.ts';

const RETRY_DELAY_MS = 100;
const RETRY_DELAY_MS_MAX = 2_000;

/** Doubles with every attempt before it. */
export function retryDelayMs(attempts: number): number {
  return Math.min(RETRY_DELAY_MS_MAX, RETRY_DELAY_MS * 2 ** attempts);
}

/** The action to try again; undefined where nobody waits for it any more. */
export function retryOf(
  event: Extract<Event, { type: 'call-failed' }>,
  state: State,
  pendingDrops: ReadonlySet<Side>,
): Action | undefined {
  if (event.call === 'read-assignment' && (state === 'planned' || state === 'transferring'))
    return { type: 'read-assignment' };
  if (event.call === 'prepare' && state === 'transferring') return { type: 'prepare' };
  if (event.call === 'warm-up' && state === 'warming') return { type: 'warm-up' };
  if (event.call === 'drop' && event.at && pendingDrops.has(event.at)) return { type: 'drop', at: event.at };
  return undefined;
}
