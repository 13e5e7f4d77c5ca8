/** The decisions of late-calls.ts, told as stories in virtual time. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  LATE_MS_MAX,
  LATE_MS_MIN,
  LateCalls,
  type LateCallsAction,
  type LateCallsEvent,
  LEADERLESS_LOOKS_MAX,
  LOOK_EVERY_MS,
  SILENT_MS_MAX,
  SILENT_MS_MIN,
} from './late-calls.ts';

/** A member of the story, what it says when looked at, and the calls to it. */
class Story {
  readonly machine = new LateCalls();
  nowMs = 0;
  wakeAtMs: number | undefined;
  readonly actions: LateCallsAction[] = [];

  tell(event: LateCallsEvent): LateCallsAction[] {
    const { actions, wakeAtMs } = this.machine.step(event, this.nowMs);
    this.wakeAtMs = wakeAtMs;
    this.actions.push(...actions);
    return actions;
  }

  sent(call: number, member = 0): void {
    this.tell({ type: 'sent', call, member });
  }

  answered(call: number, term = 1, member = 0): void {
    this.tell({ type: 'ended', call, member, answered: true, term });
  }

  /** Time goes on to the moment the machine asked for. */
  wait(): LateCallsAction[] {
    expect(this.wakeAtMs).toBeDefined();
    this.nowMs = this.wakeAtMs!;
    return this.tell({ type: 'tick' });
  }

  looked(term: number, led = true, member = 0): LateCallsAction[] {
    return this.tell({ type: 'looked', member, term, led });
  }
}

/** A client that has heard of term 1 and of quick answers. */
function quickStory(): Story {
  const story = new Story();
  for (let call = 1; call <= 30; call++) {
    story.sent(call);
    story.nowMs += 5;
    story.answered(call);
  }
  expect(story.actions).toEqual([]);
  return story;
}

const LOOK = { type: 'look', timeoutMs: SILENT_MS_MIN };

describe('a late call', () => {
  it('is looked after, and given up as soon as another leader is there: no sooner, no later', () => {
    const story = quickStory();
    const sentMs = story.nowMs;
    story.sent(100);
    expect(story.wait()).toEqual([LOOK]);
    expect(story.nowMs - sentMs).toBe(LATE_MS_MIN);
    // The leader has died; the members do not know yet, then have none, then another.
    expect(story.looked(1)).toEqual([]);
    expect(story.wait()).toEqual([LOOK]);
    expect(story.looked(1, false)).toEqual([]);
    expect(story.wait()).toEqual([LOOK]);
    expect(story.looked(2, false)).toEqual([]);
    expect(story.wait()).toEqual([LOOK]);
    expect(story.looked(2, true)).toEqual([
      { type: 'give-up', call: 100, why: 'another leader was elected (term 2)' },
    ]);
    // Four looks, three pauses: the wait ends with the election, whatever time-outs say.
    expect(story.nowMs - sentMs).toBe(LATE_MS_MIN + 3 * LOOK_EVERY_MS);
    expect(story.wakeAtMs).toBeUndefined();
  });

  it('is left alone however long it takes while the leader is the same: etcd is slow, not dead', () => {
    const story = quickStory();
    story.sent(100);
    while (story.nowMs < 60_000) {
      expect(story.wait()).toEqual([LOOK]);
      expect(story.looked(1)).toEqual([]);
    }
    story.answered(100);
    expect(story.wakeAtMs).toBeUndefined();
  });

  it('is looked after at once when another call fails: an election may have ended both', () => {
    const story = quickStory();
    story.sent(100);
    story.sent(101);
    story.wait();
    story.looked(1);
    story.nowMs += 1;
    expect(story.tell({ type: 'ended', call: 101, member: 0, answered: false })).toEqual([LOOK]);
    expect(story.looked(2)).toMatchObject([{ type: 'give-up', call: 100 }]);
  });

  it('asked of the new leader is not given up for the election before it', () => {
    const story = quickStory();
    story.sent(100);
    story.wait();
    expect(story.looked(2)).toMatchObject([{ type: 'give-up', call: 100 }]);
    story.sent(101);
    story.wait();
    expect(story.looked(2)).toEqual([]);
  });

  it('of a client that never heard of a term learns it first', () => {
    const story = new Story();
    story.sent(1);
    story.wait();
    expect(story.looked(7)).toEqual([]);
    story.wait();
    expect(story.looked(8)).toMatchObject([{ type: 'give-up', call: 1 }]);
  });

  it('of a member that gives no sign of life is given up, and so are its others; the next member is preferred', () => {
    const story = quickStory();
    story.sent(100);
    story.sent(101);
    story.wait();
    expect(story.tell({ type: 'unseen', member: 0, refused: false })).toEqual([
      { type: 'give-up', call: 100, why: 'its member gives no sign of life' },
      { type: 'give-up', call: 101, why: 'its member gives no sign of life' },
      { type: 'leave', member: 0 },
    ]);
    // And the next look waits longer: it may be this machine that is slow.
    story.sent(102, 1);
    expect(story.wait()).toEqual([{ type: 'look', timeoutMs: 2 * SILENT_MS_MIN }]);
  });

  it('waits on where its member answered another call while the look was under way', () => {
    const story = quickStory();
    story.sent(100);
    story.sent(101);
    story.wait();
    story.answered(101);
    expect(story.tell({ type: 'unseen', member: 0, refused: false })).toEqual([]);
  });

  it('waits on where its member lives, but does not let this user look', () => {
    const story = quickStory();
    story.sent(100);
    for (let look = 0; look < 20; look++) {
      expect(story.wait()).toEqual([LOOK]);
      expect(story.tell({ type: 'alive', member: 0 })).toEqual([]);
    }
  });

  it('of a member cut off from the leader is given up when another member has one, in the same term', () => {
    const story = quickStory();
    story.sent(100);
    for (let look = 1; look <= LEADERLESS_LOOKS_MAX; look++) {
      story.wait();
      expect(story.looked(1, false, 0)).toEqual(
        look < LEADERLESS_LOOKS_MAX ? [] : [{ type: 'leave', member: 0 }],
      );
    }
    story.wait();
    expect(story.looked(1, true, 1)).toMatchObject([{ type: 'give-up', call: 100 }]);
  });
});

it('looks late where answers are slow, and waits long for a look, within bounds', () => {
  fc.assert(
    fc.property(fc.double({ min: 1, max: 20_000, noNaN: true }), (tookMs) => {
      const story = new Story();
      for (let call = 1; call <= 50; call++) {
        story.sent(call);
        story.nowMs += tookMs;
        story.answered(call);
      }
      const sentMs = story.nowMs;
      story.sent(100);
      const [look] = story.wait();
      const lateMs = story.nowMs - sentMs;
      expect(lateMs).toBeGreaterThanOrEqual(Math.min(LATE_MS_MAX, Math.max(LATE_MS_MIN, tookMs)) - 1e-6);
      expect(lateMs).toBeLessThanOrEqual(LATE_MS_MAX + 1e-6);
      const { timeoutMs } = look as { timeoutMs: number };
      expect(timeoutMs).toBeGreaterThanOrEqual(
        Math.min(SILENT_MS_MAX, Math.max(SILENT_MS_MIN, tookMs)) - 1e-6,
      );
      expect(timeoutMs).toBeLessThanOrEqual(SILENT_MS_MAX);
    }),
  );
});

it('calling early is harmless: a tick before its time does nothing', () => {
  const story = quickStory();
  story.sent(100);
  const { wakeAtMs } = story;
  for (let i = 0; i < 5; i++) expect(story.tell({ type: 'tick' })).toEqual([]);
  expect(story.wakeAtMs).toBe(wakeAtMs);
});
