import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type PendingCall, PendingCalls } from './pending-calls.ts';

/** A clock that moves only when told, with the timers that are set on it. */
function manualClock() {
  let nowMs = 0;
  const timers = new Set<{ dueMs: number; fire: () => void }>();
  return {
    timers,
    monotonicMs: () => nowMs,
    setTimer(delayMs: number, fire: () => void) {
      const timer = { dueMs: nowMs + delayMs, fire };
      timers.add(timer);
      return () => timers.delete(timer);
    },
    advance(toMs: number) {
      for (;;) {
        const due = [...timers].sort((a, b) => a.dueMs - b.dueMs)[0];
        if (due === undefined || due.dueMs > toMs) break;
        nowMs = due.dueMs;
        timers.delete(due);
        due.fire();
      }
      nowMs = toMs;
    },
  };
}

function call(id: number, deadlineMs: number): PendingCall<Error> {
  return { id, method: 'm', timeoutMs: deadlineMs, deadlineMs, resolve: () => {}, reject: () => {} };
}

describe('pending calls', () => {
  it('behave as a Map by id, whatever the order of answers', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(200), { maxLength: 600 }), (picks) => {
        const calls = new PendingCalls<Error>(manualClock(), () => {});
        const model = new Map<number, PendingCall<Error>>();
        let next = 1;
        for (const pick of picks) {
          if (pick < 110) {
            const id = calls.freeId(next);
            expect(id).toBeGreaterThanOrEqual(next);
            next = id + 1;
            const added = call(id, 1_000);
            calls.add(added);
            model.set(id, added);
          } else {
            const id = [...model.keys()][pick % Math.max(1, model.size)] ?? pick;
            expect(calls.take(id)).toBe(model.get(id));
            model.delete(id);
            expect(calls.take(id)).toBeUndefined();
          }
          expect(calls.size).toBe(model.size);
        }
        expect(calls.takeAll()).toEqual([...model.values()]);
        expect(calls.size).toBe(0);
      }),
    );
  });

  it('give each call up at its own deadline, with one timer for all', () => {
    const clock = manualClock();
    const late: number[] = [];
    const calls = new PendingCalls<Error>(clock, ({ id }) => late.push(id));
    for (const [id, deadlineMs] of [
      [1, 500],
      [2, 100],
      [3, 900],
      [4, 100],
    ] as const)
      calls.add(call(id, deadlineMs));
    expect(clock.timers.size).toBe(1);
    clock.advance(99);
    expect(late).toEqual([]);
    clock.advance(100);
    expect(late).toEqual([2, 4]);
    calls.take(1);
    clock.advance(899);
    expect(late).toEqual([2, 4]);
    clock.advance(900);
    expect(late).toEqual([2, 4, 3]);
    expect(clock.timers.size).toBe(0);
  });

  it('rests without a timer when all were taken', () => {
    const clock = manualClock();
    const calls = new PendingCalls<Error>(clock, () => {});
    calls.add(call(1, 100));
    calls.takeAll();
    expect(clock.timers.size).toBe(0);
  });
});
