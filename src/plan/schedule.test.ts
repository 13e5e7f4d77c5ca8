/** Moves laid out in time: budgets hold at every moment, long moves start early or are named late, nothing is lost. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type ScheduleBudgets, scheduleMoves, type WantedMove } from './schedule.ts';

const BUDGETS: ScheduleBudgets = {
  tickS: 1,
  horizonS: 60,
  startedPerTick: 4,
  inFlightMax: 8,
  bytesInFlightMax: 1e12,
  perNodeInFlightMax: 8,
};
const move = (shard: string, some: Partial<WantedMove> = {}): WantedMove => ({
  shard,
  source: 'a',
  target: 'b',
  bytes: 1000,
  durationS: 2,
  neededAtS: 10,
  ...some,
});
const starts = (wanted: WantedMove[], some: Partial<ScheduleBudgets> = {}) =>
  scheduleMoves(wanted, [], { ...BUDGETS, ...some }).moves.map(({ move: { shard }, startAtS }) => [
    shard,
    startAtS,
  ]);

describe('a schedule', () => {
  it('says when a move must start to be done before the need, and which comes too late', () => {
    const { moves } = scheduleMoves([move('s/slow', { durationS: 12 }), move('s/soon')], [], BUDGETS);
    expect(moves.map(({ move: { shard }, dueAtS, late }) => [shard, dueAtS, late])).toEqual([
      ['s/slow', -2, true],
      ['s/soon', 8, false],
    ]);
  });

  it('starts so many a tick, in the order in which they are wanted, and names what held the others back', () => {
    const wanted = Array.from({ length: 6 }, (_, i) => move(`s/${i}`));
    const { moves } = scheduleMoves(wanted, [], BUDGETS);
    expect(moves.map(({ startAtS }) => startAtS)).toEqual([0, 0, 0, 0, 1, 1]);
    expect(moves.map(({ heldBy }) => heldBy).slice(3)).toEqual([
      undefined,
      'moves started per tick',
      'moves started per tick',
    ]);
  });

  it('counts what is under way until it is done, and moves nothing twice', () => {
    const under = [{ shard: 's/0', source: 'a', target: 'b', bytes: 1, leftS: 3 }];
    const { moves, leftOut } = scheduleMoves([move('s/0'), move('s/1'), move('s/1')], under, {
      ...BUDGETS,
      inFlightMax: 1,
    });
    expect(moves.map(({ move: { shard }, startAtS, heldBy }) => [shard, startAtS, heldBy])).toEqual([
      ['s/1', 3, 'moves in flight'],
    ]);
    expect(leftOut.map(({ because }) => because)).toEqual([
      'a move of the shard is under way',
      'a move of the shard is planned',
    ]);
  });

  it('lets a shard larger than the bytes in flight go alone', () => {
    const big = { bytes: 9e9, durationS: 5 };
    expect(starts([move('s/a', big), move('s/b', big)], { bytesInFlightMax: 1e9 })).toEqual([
      ['s/a', 0],
      ['s/b', 5],
    ]);
  });

  it('starts no move without those that make room for it', () => {
    const after = move('s/in', { after: ['s/out'], source: 'c', target: 'a' });
    expect(starts([move('s/out'), after])).toEqual([
      ['s/out', 0],
      ['s/in', 0],
    ]);
    expect(starts([move('s/x'), move('s/out'), after], { startedPerTick: 1 })).toEqual([
      ['s/x', 0],
      ['s/out', 1],
      ['s/in', 2],
    ]);
    const { leftOut } = scheduleMoves([after], [], BUDGETS);
    expect(leftOut[0]!.because).toMatch(/room for it is made by moves that wait/);
  });

  it('keeps every budget at every moment, loses no move, and is the same for the same input', () => {
    const some = fc.record({
      source: fc.constantFrom('a', 'b', 'c'),
      target: fc.constantFrom('d', 'e', 'f'),
      bytes: fc.integer({ min: 0, max: 20 }),
      durationS: fc.double({ min: 0.1, max: 9, noNaN: true }),
    });
    fc.assert(
      fc.property(
        fc.array(some, { maxLength: 40 }),
        fc.integer({ min: 1, max: 6 }),
        fc.integer({ min: 1, max: 3 }),
        (all, atOnce, perTick) => {
          const wanted = all.map((one, i) => move(`s/${i}`, one));
          const budgets = {
            ...BUDGETS,
            inFlightMax: atOnce,
            startedPerTick: perTick,
            bytesInFlightMax: 30,
            perNodeInFlightMax: 2,
          };
          const schedule = scheduleMoves(wanted, [], budgets);
          expect(scheduleMoves(wanted, [], budgets)).toEqual(schedule);
          expect(schedule.moves.length + schedule.leftOut.length).toBe(wanted.length);
          for (let at = 0; at < budgets.horizonS; at++) {
            const running = schedule.moves.filter(({ startAtS, doneAtS }) => startAtS <= at && at < doneAtS);
            expect(running.length).toBeLessThanOrEqual(atOnce);
            expect(running.filter(({ startAtS }) => startAtS === at).length).toBeLessThanOrEqual(perTick);
            const bytes = running.reduce((sum, { move: { bytes } }) => sum + bytes, 0);
            expect(bytes <= 30 || running.length === 1).toBe(true);
            for (const node of ['a', 'b', 'c', 'd', 'e', 'f'])
              expect(
                running.filter(({ move: { source, target } }) => source === node || target === node).length,
              ).toBeLessThanOrEqual(2);
          }
        },
      ),
      { numRuns: 60 },
    );
  });
});
