import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Leadership, type LeadershipEvent, leadershipTimes } from './leadership.ts';

const times = leadershipTimes(5_000);

function leading(): Leadership {
  const machine = new Leadership(times);
  machine.step({ type: 'tick' }, 0);
  machine.step({ type: 'campaignEnded', sentAtMs: 0, won: true }, 10);
  return machine;
}

describe('leadership', () => {
  it('campaigns at once, leads when it won, and counts from when the grant was sent', () => {
    const machine = new Leadership(times);
    expect(machine.step({ type: 'tick' }, 0).actions).toEqual([{ type: 'campaign', number: 1 }]);
    expect(machine.step({ type: 'campaignEnded', sentAtMs: 0, won: true }, 900).actions).toEqual([
      { type: 'gain' },
    ]);
    expect(machine.leads(3_999)).toBe(true);
    expect(machine.leads(4_000)).toBe(false);
  });

  it('does not lead by an answer that comes after the lease', () => {
    const machine = new Leadership(times);
    machine.step({ type: 'tick' }, 0);
    expect(machine.step({ type: 'campaignEnded', sentAtMs: 0, won: true }, 4_500).actions[0]).toEqual({
      type: 'resign',
      number: 1,
    });
    expect(machine.leads(4_500)).toBe(false);
  });

  it('loses at the end of its own count when the store is silent, and when the store says the lease is gone', () => {
    const silent = leading();
    expect(silent.step({ type: 'tick' }, 1_300).actions).toEqual([{ type: 'keepAlive', number: 1 }]);
    expect(silent.step({ type: 'tick' }, 4_000).actions[0]).toMatchObject({ type: 'lose' });

    const told = leading();
    told.step({ type: 'tick' }, 1_300);
    const { actions } = told.step({ type: 'keepAliveEnded', sentAtMs: 1_300, outcome: 'gone' }, 1_310);
    expect(actions[0]).toMatchObject({ type: 'lose' });
    expect(told.leads(1_311)).toBe(false);
  });

  it('gives back a key that a campaign under way creates after it was told to stop', () => {
    const machine = new Leadership(times);
    machine.step({ type: 'tick' }, 0);
    machine.step({ type: 'stop' }, 5);
    expect(machine.step({ type: 'campaignEnded', sentAtMs: 0, won: true }, 20).actions).toEqual([
      { type: 'resign', number: 1 },
    ]);
    expect(machine.leads(20)).toBe(false);
  });

  it('never leads longer than the lease of its last answered call, whatever comes', () => {
    const event = fc.oneof(
      fc.constant({ type: 'tick' as const }),
      fc.constant({ type: 'leaderGone' as const }),
      fc.record({ type: fc.constant('campaignEnded' as const), won: fc.boolean() }),
      fc.record({
        type: fc.constant('keepAliveEnded' as const),
        outcome: fc.constantFrom('ok' as const, 'gone' as const, 'unknown' as const),
      }),
    );
    fc.assert(
      fc.property(fc.array(fc.tuple(event, fc.integer({ min: 1, max: 3_000 }))), (run) => {
        const machine = new Leadership(times);
        let nowMs = 0;
        let sentAtMs: number | undefined;
        let heardMs = Number.NEGATIVE_INFINITY;
        for (const [raw, delayMs] of run) {
          nowMs += delayMs;
          const answers = raw.type === 'campaignEnded' || raw.type === 'keepAliveEnded';
          // An answer comes only to a call that was made.
          if (answers && sentAtMs === undefined) continue;
          const given = answers ? ({ ...raw, sentAtMs } as LeadershipEvent) : (raw as LeadershipEvent);
          if (answers) {
            const good = raw.type === 'campaignEnded' ? raw.won : raw.outcome === 'ok';
            if (good) heardMs = Math.max(heardMs, sentAtMs!);
            sentAtMs = undefined;
          }
          const { actions } = machine.step(given, nowMs);
          if (actions.some((action) => action.type === 'campaign' || action.type === 'keepAlive'))
            sentAtMs = nowMs;
          if (machine.leads(nowMs)) expect(nowMs).toBeLessThan(heardMs + times.ttlMs);
          // Calling early is harmless: the same moment again changes nothing.
          const again = machine.step({ type: 'tick' }, nowMs);
          expect(again.actions).toEqual([]);
        }
      }),
    );
  });
});
