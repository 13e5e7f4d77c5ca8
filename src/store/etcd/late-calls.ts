/**
 * What becomes of a call to etcd that is not answered: a machine that decides when to look at a member, when a call is
 * given up, and when the next member is preferred.
 *
 * A proposal that a follower passed on to a leader which then died is never answered, and nothing tells of it. A fixed
 * time is wrong both ways: after a death it waits longer than the election takes; where etcd is merely slow it is too
 * short, and repeating what is slow adds to the load until nothing is answered in time any more. So no call is given up
 * for being late. When one is, its member is asked who leads, in which Raft term: it answers that by itself, without a
 * leader and ahead of what waits for the disk.
 *
 *   quiet --a call is late--> looking --no call is late--> quiet
 *
 *   while looking   a leader of a later term than the call knew   the call may be lost: given up, to be asked again
 *                   no leader here, several times                  the next look goes to the next member
 *                   no answer to the look, nor to any call         its calls are given up, the next member is preferred
 *
 * A call that was given up may have happened, and may yet happen (OWNERSHIP rule 3: it is asked again unchanged).
 */
import type { Machine, Step } from '../../machine/machine.ts';
import { AnswerTime } from './answer-time.ts';

/** Below it an ordinary slow sync would look like a death. */
export const LATE_MS_MIN = 150;
/** However slow answers are, so long after a death somebody looks. */
export const LATE_MS_MAX = 1_000;
export const LOOK_EVERY_MS = 50;
/**
 * So many looks in a row without a leader, and the next goes to the next member: in an election this one knows the new
 * leader as soon as any, and another may have to be connected to; one that is cut off never will.
 */
export const LEADERLESS_LOOKS_MAX = 4;
/** A member that gives no sign of life for so long is left for the next one. */
export const SILENT_MS_MIN = 700;
export const SILENT_MS_MAX = 5_000;

export type LateCallsEvent =
  | { type: 'sent'; call: number; member: number }
  /** Over, answered or not; `tookMs` where the cluster itself answered, `term` where it said one. */
  | { type: 'ended'; call: number; member: number; answered: boolean; term?: number }
  | { type: 'looked'; member: number; term: number; led: boolean }
  /** An answer that says nothing of leaders, such as that of a member that does not let this user look. */
  | { type: 'alive'; member: number }
  /** A look without an answer. `refused`: the member said so at once, there is nobody. */
  | { type: 'unseen'; member: number; refused: boolean }
  | { type: 'tick' };

export type LateCallsAction =
  | { type: 'look'; timeoutMs: number }
  | { type: 'give-up'; call: number; why: string }
  | { type: 'leave'; member: number };

interface Call {
  member: number;
  sentMs: number;
  /** The latest term that was known when it was sent; undefined where none was. */
  term: number | undefined;
}

export class LateCalls implements Machine<LateCallsEvent, LateCallsAction> {
  readonly answerTime = new AnswerTime();
  /** In the order of sending. */
  readonly #calls = new Map<number, Call>();
  readonly #leaderless = new Set<number>();
  #leaderlessLooks = 0;
  #term: number | undefined;
  #looking = false;
  #nextLookMs = 0;
  #lookSentMs = 0;
  /** When a member last gave a sign of life. */
  readonly #heardMs = new Map<number, number>();

  step(event: LateCallsEvent, nowMs: number): Step<LateCallsAction> {
    const actions: LateCallsAction[] = [];
    switch (event.type) {
      case 'sent':
        this.#calls.set(event.call, { member: event.member, sentMs: nowMs, term: this.#term });
        break;
      case 'ended':
        this.#ended(event, nowMs);
        break;
      case 'looked':
        this.#looking = false;
        this.#nextLookMs = nowMs + LOOK_EVERY_MS;
        this.#heardMs.set(event.member, nowMs);
        this.#looked(event, actions);
        break;
      case 'alive':
        this.#looking = false;
        this.#nextLookMs = nowMs + LOOK_EVERY_MS;
        this.#heardMs.set(event.member, nowMs);
        break;
      case 'unseen':
        this.#looking = false;
        this.#nextLookMs = nowMs + LOOK_EVERY_MS;
        this.#unseen(event, actions);
        break;
      case 'tick':
        break;
    }
    const wakeAtMs = this.#lookAtMs();
    if (wakeAtMs === undefined || wakeAtMs > nowMs)
      return wakeAtMs === undefined ? { actions } : { actions, wakeAtMs };
    this.#looking = true;
    this.#lookSentMs = nowMs;
    actions.push({ type: 'look', timeoutMs: this.answerTime.waitMs(SILENT_MS_MIN, SILENT_MS_MAX) });
    return { actions };
  }

  /** Undefined while there is nothing to look after, or a look is under way. */
  #lookAtMs(): number | undefined {
    if (this.#looking) return undefined;
    const [oldest] = this.#calls.values();
    if (!oldest) return undefined;
    const lateMs = Math.min(LATE_MS_MAX, Math.max(LATE_MS_MIN, this.answerTime.usualMs ?? 0));
    return Math.max(oldest.sentMs + lateMs, this.#nextLookMs);
  }

  #ended({ call, member, answered, term }: LateCallsEvent & { type: 'ended' }, nowMs: number): void {
    const known = this.#calls.get(call);
    this.#calls.delete(call);
    if (term !== undefined) this.#term = Math.max(this.#term ?? 0, term);
    if (!answered) {
      // What ended this one, such as an election, may have taken the late ones along: no pause before the next look.
      this.#nextLookMs = Math.min(this.#nextLookMs, nowMs);
      return;
    }
    this.#heardMs.set(member, nowMs);
    if (known) this.answerTime.answered(nowMs - known.sentMs);
  }

  #looked({ member, term, led }: LateCallsEvent & { type: 'looked' }, actions: LateCallsAction[]): void {
    if (!led) {
      this.#leaderless.add(member);
      if (++this.#leaderlessLooks < LEADERLESS_LOOKS_MAX) return;
      this.#leaderlessLooks = 0;
      actions.push({ type: 'leave', member });
      return;
    }
    this.#leaderlessLooks = 0;
    for (const [id, call] of this.#calls) {
      call.term ??= term;
      const passedOver = call.term < term;
      const cutOff = call.member !== member && this.#leaderless.has(call.member);
      if (!passedOver && !cutOff) continue;
      const why = passedOver
        ? `another leader was elected (term ${term})`
        : 'its member has lost the leader, another one has not';
      this.#giveUp(id, why, actions);
    }
    this.#leaderless.clear();
    this.#term = Math.max(this.#term ?? 0, term);
  }

  #unseen({ member, refused }: LateCallsEvent & { type: 'unseen' }, actions: LateCallsAction[]): void {
    const heard = (this.#heardMs.get(member) ?? Number.NEGATIVE_INFINITY) >= this.#lookSentMs;
    if (heard && !refused) return;
    for (const [id, call] of this.#calls)
      if (call.member === member && call.sentMs <= this.#lookSentMs)
        this.#giveUp(id, 'its member gives no sign of life', actions);
    if (!refused) this.answerTime.silent();
    actions.push({ type: 'leave', member });
  }

  #giveUp(call: number, why: string, actions: LateCallsAction[]): void {
    this.#calls.delete(call);
    actions.push({ type: 'give-up', call, why });
  }
}
