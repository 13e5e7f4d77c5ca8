/** Moves laid out in time: budgets hold at every moment, what is due first starts first, what is left out says why. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  MOVE_FIXED_S,
  moveDurationS,
  type ScheduleBudgets,
  scheduleMoves,
  type WantedMove,
} from './schedule.ts';

const BUDGETS: ScheduleBudgets = {
  movesMax: 100,
  bytesMax: 1e12,
  horizonS: 3600,
  atOnceMax: 8,
  perNodeAtOnceMax: 2,
};
const move = (shard: string, some: Partial<WantedMove> = {}): WantedMove => ({
  shard,
  source: 'a',
  target: 'b',
  bytes: 1e9,
  bandwidthBps: 50e6,
  gainUsdPerHour: 1,
  costUsd: 0.01,
  neededAtS: 600,
  ...some,
});

describe('a schedule', () => {
  it('starts a move early enough to be done before the need, and says when it is too late', () => {
    expect(moveDurationS(move('s'))).toBe(MOVE_FIXED_S + 20);
    const { moves } = scheduleMoves(
      [move('s/slow', { bytes: 50e9, neededAtS: 300 }), move('s/soon')],
      [],
      BUDGETS,
    );
    expect(moves.map(({ shard, dueAtS, late }) => [shard, dueAtS, late])).toEqual([
      ['s/slow', 300 - 1002, true],
      ['s/soon', 578, false],
    ]);
  });

  it('takes the most gain per cost where a budget does not allow all, and says what was left out', () => {
    const wanted = [
      move('s/1', { gainUsdPerHour: 1 }),
      move('s/2', { gainUsdPerHour: 9 }),
      move('s/3', { gainUsdPerHour: 0.001 }),
    ];
    const { moves, leftOut } = scheduleMoves(wanted, [], { ...BUDGETS, movesMax: 1 });
    expect(moves.map(({ shard }) => shard)).toEqual(['s/2']);
    expect(leftOut.map(({ because }) => because)).toEqual(['budget of 1 moves', 'budget of 1 moves']);
    const poor = scheduleMoves([wanted[2]!], [], BUDGETS);
    expect(poor.leftOut[0]!.because).toMatch(/does not pay for itself/);
  });

  it('gives what is due first the first slot, and waits for moves under way', () => {
    const under = [{ shard: 's/0', source: 'a', target: 'b', bytes: 1, leftS: 100 }];
    const one = { ...BUDGETS, perNodeAtOnceMax: 1 };
    const { moves } = scheduleMoves([move('s/late'), move('s/first', { neededAtS: 150 })], under, one);
    expect(moves.map(({ shard, startAtS }) => [shard, startAtS])).toEqual([
      ['s/first', 100],
      ['s/late', 122],
    ]);
    expect(scheduleMoves([move('s/0')], under, one).leftOut[0]!.because).toMatch(/under way/);
  });

  it('keeps every budget at every moment, loses no move, and is the same for the same input', () => {
    const some = fc.record({
      source: fc.constantFrom('a', 'b', 'c'),
      target: fc.constantFrom('d', 'e', 'f'),
      bytes: fc.integer({ min: 0, max: 20e9 }),
      gainUsdPerHour: fc.double({ min: 0, max: 5, noNaN: true }),
      neededAtS: fc.integer({ min: 0, max: 3600 }),
      must: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(some, { maxLength: 40 }), fc.integer({ min: 1, max: 6 }), (all, atOnce) => {
        const wanted = all.map((one, i) => move(`s/${i}`, one));
        const budgets = { ...BUDGETS, atOnceMax: atOnce, movesMax: 30, bytesMax: 100e9 };
        const schedule = scheduleMoves(wanted, [], budgets);
        expect(scheduleMoves([...wanted].reverse(), [], budgets)).toEqual(schedule);
        expect(schedule.moves.length + schedule.leftOut.length).toBe(wanted.length);
        expect(schedule.moves.length).toBeLessThanOrEqual(30);
        for (const at of schedule.moves.map(({ startAtS }) => startAtS)) {
          const running = schedule.moves.filter(({ startAtS, doneAtS }) => startAtS <= at && at < doneAtS);
          expect(running.length).toBeLessThanOrEqual(atOnce);
          for (const node of ['a', 'b', 'c', 'd', 'e', 'f'])
            expect(
              running.filter(({ source, target }) => source === node || target === node).length,
            ).toBeLessThanOrEqual(2);
        }
      }),
      { numRuns: 60 },
    );
  });
});
