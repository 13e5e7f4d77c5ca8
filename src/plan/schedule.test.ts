/** Moves laid out in time: budgets hold at every moment, long moves start early or are named late, nothing is lost. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Schedule, type ScheduleBudgets, scheduleMoves, type WantedMove } from './schedule.ts';

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

  it('starts what is needed later when it must, and of many that are needed at one moment so many earlier as budgets ask for', () => {
    const later = { neededAtS: 10, earliestAtS: 0 };
    expect(starts([move('s/a', later)])).toEqual([['s/a', 8]]);
    // Two starts a tick, five needed at once: two at 8, two at 7, one at 6; those wanted most last.
    const five = ['a', 'b', 'c', 'd', 'e'].map((name) => move(`s/${name}`, later));
    expect(starts(five, { startedPerTick: 2 })).toEqual([
      ['s/e', 6],
      ['s/c', 7],
      ['s/d', 7],
      ['s/a', 8],
      ['s/b', 8],
    ]);
    // What is worth it at once does not wait for them; long ones start before short ones.
    const long = move('s/long', { ...later, durationS: 6 });
    expect(starts([long, move('s/now'), move('s/a', later)], { inFlightMax: 1 })).toEqual([
      ['s/now', 0],
      ['s/long', 2],
      ['s/a', 8],
    ]);
  });

  it('starts nothing before it is worth it: then it is late, and says so', () => {
    const both = ['a', 'b'].map((name) => move(`s/${name}`, { neededAtS: 10, earliestAtS: 8 }));
    const { moves } = scheduleMoves(both, [], { ...BUDGETS, startedPerTick: 1 });
    expect(moves.map(({ move: { shard }, startAtS, late }) => [shard, startAtS, late])).toEqual([
      ['s/a', 8, false],
      ['s/b', 9, true],
    ]);
  });

  const later = fc.record({
    source: fc.constantFrom('a', 'b', 'c'),
    target: fc.constantFrom('d', 'e', 'f'),
    bytes: fc.integer({ min: 0, max: 20 }),
    durationS: fc.double({ min: 0.1, max: 9, noNaN: true }),
    neededAtS: fc.double({ min: 0, max: 70, noNaN: true }),
    earliestAtS: fc.option(fc.double({ min: 0, max: 30, noNaN: true }), { nil: undefined }),
  });

  it('is what a slow twin finds that asks every budget anew at every moment', () => {
    fc.assert(
      fc.property(
        fc.array(later, { maxLength: 30 }),
        fc.integer({ min: 1, max: 5 }),
        fc.integer({ min: 1, max: 3 }),
        (all, inFlightMax, startedPerTick) => {
          const wanted = all.map((one, i) => move(`s/${i}`, one));
          const budgets = { ...BUDGETS, inFlightMax, startedPerTick, bytesInFlightMax: 30 };
          const { moves } = scheduleMoves(wanted, [], { ...budgets, perNodeInFlightMax: 2 });
          const starting = new Map(moves.map(({ move: { shard }, startAtS }) => [shard, startAtS]));
          expect([...starting].sort()).toEqual(
            [...slowStarts(wanted, { ...budgets, perNodeInFlightMax: 2 })].sort(),
          );
        },
      ),
      { numRuns: 100 },
    );
  });

  it('has all in time wherever any order of starts would: moves of one tick, so many a tick', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 12 }), { maxLength: 24 }),
        fc.integer({ min: 1, max: 4 }),
        (needs, startedPerTick) => {
          const wanted = needs.map((neededAtS, i) =>
            move(`s/${i}`, { neededAtS, durationS: 1, earliestAtS: 0 }),
          );
          const budgets = { ...BUDGETS, startedPerTick, inFlightMax: 1e6, perNodeInFlightMax: 1e6 };
          const { moves }: Schedule = scheduleMoves(wanted, [], budgets);
          // No more are needed by a moment than can have been started until then: necessary, and enough.
          const possible = needs.every(
            (by) => needs.filter((other) => other <= by).length <= by * startedPerTick,
          );
          expect(moves.every(({ late }) => !late)).toBe(possible);
        },
      ),
      { numRuns: 200 },
    );
  });
});

/** Starts by shard: for each move in turn, every tick it might start at, each budget summed over all moves laid out so far. */
function slowStarts(wanted: WantedMove[], budgets: ScheduleBudgets): Map<string, number> {
  const laid: { move: WantedMove; from: number; until: number }[] = [];
  const fits = (move: WantedMove, tick: number) => {
    if (laid.filter(({ from }) => from === tick).length >= budgets.startedPerTick) return false;
    for (let at = tick; at < Math.min(budgets.horizonS, tick + Math.ceil(move.durationS - 1e-9)); at++) {
      const running = laid.filter(({ from, until }) => from <= at && at < until).map((one) => one.move);
      const bytes = running.reduce((sum, one) => sum + one.bytes, 0);
      const at1 = (node: string) =>
        running.filter(({ source, target }) => source === node || target === node);
      if (running.length >= budgets.inFlightMax) return false;
      if (bytes > 0 && bytes + move.bytes > budgets.bytesInFlightMax) return false;
      if (at1(move.source).length >= budgets.perNodeInFlightMax) return false;
      if (at1(move.target).length >= budgets.perNodeInFlightMax) return false;
    }
    return true;
  };
  const lay = (move: WantedMove, ticks: number[]) => {
    const tick = ticks.find((candidate) => candidate < budgets.horizonS && fits(move, candidate));
    if (tick !== undefined) laid.push({ move, from: tick, until: tick + Math.ceil(move.durationS - 1e-9) });
  };
  const all = Array.from({ length: budgets.horizonS }, (_, tick) => tick);
  for (const move of wanted) if (move.earliestAtS === undefined) lay(move, all);
  const dueS = (move: WantedMove) => Math.max(0, move.neededAtS - move.durationS);
  const order = wanted.filter(({ earliestAtS }) => earliestAtS !== undefined);
  order.sort((a, b) => b.neededAtS - b.durationS - (a.neededAtS - a.durationS));
  for (const move of order) {
    const worth = all.filter((tick) => tick >= move.earliestAtS! - 1e-9);
    const inTime = worth.filter((tick) => tick <= dueS(move) + 1e-9).reverse();
    // Of what is due after what is laid out, nothing is decided.
    if (dueS(move) >= budgets.horizonS) continue;
    lay(move, [...inTime, ...worth.filter((tick) => tick > dueS(move) + 1e-9)]);
  }
  return new Map(laid.map(({ move, from }) => [move.shard, from]));
}
