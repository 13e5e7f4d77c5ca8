/**
 * What to do with a request after each thing that can happen to it. Pure.
 *
 * A try is repeated only where that is safe: nothing was sent, or the request is a query, or it carries an idempotency
 * key (every command does, the gateway's own where the client sent none). Tries, time and node deaths are bounded.
 */

/** Sends of one request, the first included. */
export const TRIES_MAX = 12;
/** From the request's arrival to the last moment of its answer. */
export const REQUEST_BUDGET_MS = 10_000;
/** A request that was running when this many nodes died is not tried again. */
export const DEATHS_MAX = 2;
/** The first pause after a reply that says "not now"; it doubles. */
export const PAUSE_MS_MIN = 25;
export const PAUSE_MS_MAX = 1_000;

export type Verdict =
  /** Look at the routes again, at once. */
  | { do: 'again' }
  /** The same after a pause. */
  | { do: 'pause'; delayMs: number }
  /** Out of tries, time or lives. */
  | { do: 'answer'; code: 'unavailable' | 'command-poisoned' };

export interface RetryState {
  tries: number;
  /** Nodes that died with this request on them. */
  deaths: number;
  nowMs: number;
  deadlineMs: number;
}

const AGAIN: Verdict = { do: 'again' };
const UNAVAILABLE: Verdict = { do: 'answer', code: 'unavailable' };
const POISONED: Verdict = { do: 'answer', code: 'command-poisoned' };

/** May the request be sent (again)? Asked before every send. */
export function mayTry(state: RetryState): Verdict {
  if (state.deaths >= DEATHS_MAX) return POISONED;
  if (state.tries >= TRIES_MAX || state.nowMs >= state.deadlineMs) return UNAVAILABLE;
  return AGAIN;
}

/**
 * After a reply that asks to come again, or a try that reached nobody. `random` in [0, 1) spreads those who failed
 * together.
 */
export function afterRefusal(state: RetryState, random: number): Verdict {
  const verdict = mayTry(state);
  if (verdict.do !== 'again') return verdict;
  const fullMs = Math.min(PAUSE_MS_MAX, PAUSE_MS_MIN * 2 ** Math.max(0, state.tries - 1));
  const delayMs = fullMs * (0.5 + random / 2);
  return state.nowMs + delayMs >= state.deadlineMs ? UNAVAILABLE : { do: 'pause', delayMs };
}
