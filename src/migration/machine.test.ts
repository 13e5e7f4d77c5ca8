import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Action, Event } from './events.ts';
import { MigrationMachine } from './machine.ts';
import { FINAL_STATES, STATES, type State } from './record.ts';
import { RULES } from './rules.ts';
import { SETTINGS_DEFAULT, type SettingsChange, withSettings } from './settings.ts';
import { EVENTS, type EventType, OUTCOMES, TABLE } from './table.ts';
import { aRecord, aStatus, play, stats } from './testing.ts';

const FAST: SettingsChange = { stepDwellMsMax: 500 };

describe('a move that goes well', () => {
  it('shifts 1, 5, 25, hands off before 50, and ends with the old copy dropped', () => {
    const played = play({ settings: FAST });
    expect(played.record.state).toBe('done');
    expect([...new Set(played.percents)]).toEqual([0, 1, 5, 25, 50, 100]);
    expect(played.handOffs).toEqual({ forward: 1, back: 0 });
    const handOffAt = played.actions.findIndex((action) => action.type === 'hand-off');
    const percentsBefore = played.actions
      .slice(0, handOffAt)
      .flatMap((action) => (action.type === 'record' ? [action.record.percent] : []));
    expect(Math.max(...percentsBefore)).toBe(25);
  });

  it('takes one per cent a second with the linear profile', () => {
    const played = play({ settings: { profile: 'linear', linearStepMs: 1_000 } });
    expect(played.record.state).toBe('done');
    expect(new Set(played.percents).size).toBe(101);
    expect(played.tookMs).toBeGreaterThan(99_000);
    expect(played.tookMs).toBeLessThan(115_000);
  });

  it.each([
    ['first', 0],
    ['middle', 25],
    ['last', 50],
  ] as const)('hands off at the %s step, after at most %d per cent', (handOffAt, percent) => {
    const played = play({ settings: { ...FAST, handOffAt } });
    const index = played.actions.findIndex((action) => action.type === 'hand-off');
    const before = played.actions
      .slice(0, index)
      .flatMap((action) => (action.type === 'record' ? [action.record.percent] : []));
    expect(Math.max(...before)).toBe(percent);
    expect(played.record.state).toBe('done');
  });

  it('goes to the hand-off at once with too few users to split', () => {
    const played = play({ world: { users: 5 } });
    expect(played.states).not.toContain('shifting');
    expect(played.states).not.toContain('shifting-after');
    expect(played.record.state).toBe('done');
    // Six answers from elsewhere beside the writes: assignment, prepare, warm-up, hand-off, drop.
    expect(played.actions.filter((action) => action.type !== 'record')).toHaveLength(6);
  });

  it('waits in a step for 30 samples or its longest dwell, whichever is first', () => {
    const busy = play({ world: { queriesPerSecond: 100_000 }, settings: { stepDwellMsMax: 10_000 } });
    const idle = play({ world: { queriesPerSecond: 0.001 }, settings: { stepDwellMsMax: 10_000 } });
    expect(busy.tookMs).toBeLessThan(3_000);
    expect(idle.tookMs).toBeGreaterThan(50_000);
    expect(idle.record.state).toBe('done');
  });
});

describe('a move that goes badly', () => {
  it('rolls back before the hand-off when the target errs', () => {
    const played = play({ world: { targetErrorShare: 0.5 }, settings: FAST });
    expect(played.record.state).toBe('rolled-back');
    expect(played.record.detail).toMatch(/failed at the target/);
    expect(played.record.percent).toBe(0);
    expect(played.handOffs).toEqual({ forward: 0, back: 0 });
  });

  it('rolls back when the target slows', () => {
    const played = play({ world: { targetMs: 60 }, settings: FAST });
    expect(played.record.state).toBe('rolled-back');
    expect(played.record.detail).toMatch(/60\.0 ms at the target/);
  });

  it('does not roll back when the target is merely far away', () => {
    const played = play({ world: { distanceMs: 150 }, settings: FAST });
    expect(played.record.state).toBe('done');
  });

  it('hands back by a hand-off the other way when it errs after the hand-off', () => {
    // Too few queries reach the target before 50 % to convict it; its commands do.
    const played = play({
      world: { targetErrorShare: 0.5, queriesPerSecond: 20 },
      settings: { ...FAST, profile: [1, 50, 100] },
    });
    expect(played.handOffs).toEqual({ forward: 1, back: 1 });
    expect(played.record.state).toBe('rolled-back');
    expect(played.record.handedOff).toBe(false);
  });

  it('tries a refused hand-off again, then gives up and tidies', () => {
    expect(play({ world: { refusals: 2 }, settings: FAST }).record.state).toBe('done');
    const never = play({ world: { refusals: 1_000 }, settings: FAST });
    expect(never.record.state).toBe('rolled-back');
    expect(never.actions.filter((action) => action.type === 'drop')).toHaveLength(2);
  });

  it('tidies up when somebody else has become primary', () => {
    const played = play({
      world: { refusals: 1_000 },
      settings: FAST,
      inject: {
        when: (record) => record.state === 'handing-off',
        event: {
          type: 'assignment',
          assignment: {
            shard: 'room/a',
            epoch: 9,
            primary: 'n9.z',
            cell: 'cell-2',
            standbys: [],
            version: 3,
          },
        },
      },
    });
    expect(played.record.state).toBe('rolled-back');
    expect(played.record.detail).toMatch(/n9\.z/);
  });

  it('undoes what is asked to be cancelled, also while handing off', () => {
    for (const state of ['transferring', 'warming', 'shifting', 'handing-off', 'shifting-after'] as const) {
      const played = play({
        settings: FAST,
        inject: { when: (record) => record.state === state, event: { type: 'cancel' } },
      });
      expect(played.record.state, state).toBe('rolled-back');
      expect(played.record.handedOff, state).toBe(false);
      expect(played.handOffs.forward, state).toBe(played.handOffs.back);
    }
  });

  it('is a failure, and says so, when the target dies after the hand-off', () => {
    const played = play({
      settings: FAST,
      inject: {
        when: (record) => record.state === 'shifting-after',
        event: { type: 'gone', side: 'target' },
      },
    });
    expect(played.record.state).toBe('failed');
    expect(played.record.detail).toMatch(/target's process has ended/);
  });

  it('completes when the source dies after the hand-off', () => {
    const played = play({
      settings: FAST,
      inject: {
        when: (record) => record.state === 'shifting-after',
        event: { type: 'gone', side: 'source' },
      },
    });
    expect(played.record.state).toBe('done');
  });
});

describe('a promise to users', () => {
  const promise = { 'eu-west-1': { share: 1, nowMs: 80, thenMs: 1 } };
  const settings = FAST;

  it('that is kept ends the move, with what was measured in its record', () => {
    const played = play({ record: { promise }, settings });
    expect(played.record.state).toBe('done');
    expect(played.record.measured?.['eu-west-1']?.meanMs).toBe(5);
    expect(played.record.measured?.['eu-west-1']?.count).toBeGreaterThanOrEqual(30);
  });

  it('that is clearly missed, and worse than before, hands the shard back', () => {
    const played = play({ record: { promise }, world: { usersMsAfter: 300 }, settings });
    expect(played.handOffs).toEqual({ forward: 1, back: 1 });
    expect(played.record.state).toBe('rolled-back');
    expect(played.record.detail).toBe(
      'users in eu-west-1 wait 300.0 ms, 1.0 were promised; all wait 300.0 ms, 80.0 before',
    );
    expect(played.record.measured?.['eu-west-1']?.meanMs).toBe(300);
  });

  it('that is missed sends nobody back to where it was worse', () => {
    const played = play({ record: { promise }, world: { usersMsAfter: 70 }, settings });
    expect(played.record.state).toBe('done');
  });

  it('never undoes a move that was not made for the users', () => {
    for (const priority of ['drain', 'emergency', 'manual'] as const) {
      const played = play({ record: { promise, priority }, world: { usersMsAfter: 300 }, settings });
      expect(played.record.state, priority).toBe('done');
      expect(played.record.measured?.['eu-west-1']?.meanMs).toBe(300);
    }
  });

  it('is judged until enough was measured or the longest dwell, which ends the move', () => {
    const dwell = { stepDwellMsMax: 10_000 };
    const soon = play({ record: { promise }, settings: dwell });
    const never = play({
      record: { promise },
      world: { measuredShare: 0, usersMsAfter: 300 },
      settings: dwell,
    });
    expect(soon.record.state).toBe('done');
    expect(never.record.state).toBe('done');
    expect(never.record.measured).toEqual({});
    expect(never.tookMs - soon.tookMs).toBeGreaterThan(5_000);
    expect(never.tookMs - soon.tookMs).toBeLessThan(11_000);
  });

  it('is judged for a shard with commands only, which has one step after the hand-off', () => {
    const good = play({ record: { promise }, world: { onlyCommands: true }, settings });
    expect(good.states).not.toContain('shifting');
    expect(good.states).toContain('shifting-after');
    expect([...new Set(good.percents)]).toEqual([0, 100]);
    expect(good.record.state).toBe('done');
    const bad = play({ record: { promise }, world: { onlyCommands: true, usersMsAfter: 300 }, settings });
    expect(bad.record.state).toBe('rolled-back');
  });

  it('of another migration is none of its own', () => {
    const played = play({ record: { promise, id: 'm-2' }, world: { usersMsAfter: 300 }, settings });
    expect(played.record.state).toBe('done');
    expect(played.record.measured).toBeUndefined();
  });
});

describe('an executor that dies', () => {
  it.each([
    ['a whole shift', { settings: FAST }],
    ['an express move', { world: { users: 3 } }],
    [
      'a hand-back for a missed promise',
      {
        record: { promise: { 'eu-west-1': { share: 1, nowMs: 80, thenMs: 1 } } },
        world: { usersMsAfter: 300 },
        settings: FAST,
      },
    ],
    ['a roll-back', { world: { targetErrorShare: 0.5 }, settings: FAST }],
    [
      'a hand-back',
      {
        world: { targetErrorShare: 0.5, queriesPerSecond: 20 },
        settings: { ...FAST, profile: [1, 50, 100] },
      },
    ],
  ])('at any action of %s is succeeded from the record', (_name, options) => {
    const undisturbed = play(options);
    for (let crashAt = 0; crashAt < undisturbed.actions.length; crashAt++) {
      const played = play({ ...options, crashAt });
      expect(FINAL_STATES.has(played.record.state), `crash at action ${crashAt}`).toBe(true);
      expect(played.record.state, `crash at action ${crashAt}`).toBe(undisturbed.record.state);
      expect(played.handOffs.forward).toBeLessThanOrEqual(1);
      expect(played.handOffs.back).toBeLessThanOrEqual(1);
    }
  });
});

describe('any order of events', () => {
  const counts = fc.record({
    count: fc.nat(200),
    errors: fc.nat(50),
    handlerMsSum: fc.nat(10_000),
    handlerMsP99: fc.nat(100),
  });
  const sums = fc.record({ count: fc.nat(200), msSum: fc.nat(50_000) });
  const promise = { 'eu-west-1': { share: 0.7, nowMs: 80, thenMs: 1 } };
  const status = fc.record({
    role: fc.constantFrom('none', 'primary', 'follower', 'opening', 'sealed' as const),
    phase: fc.constantFrom(undefined, 'transferring', 'applying', 'following', 'failed' as const),
    appliedSeq: fc.nat(1_000),
    sourceSeq: fc.nat(1_000),
    bytesTransferred: fc.nat(5),
    users: fc.nat(64),
    latency: fc.option(
      fc.record({
        migration: fc.constantFrom('m-1', 'm-2'),
        byOrigin: fc.dictionary(
          fc.constantFrom('eu-west-1', 'us-east-1'),
          fc.record({ before: sums, after: sums }),
        ),
      }),
      { nil: undefined },
    ),
    executed: fc.record({ commands: counts, queries: counts }),
  });
  const side = fc.constantFrom('source' as const, 'target' as const);
  const direction = fc.constantFrom('forward' as const, 'back' as const);
  const event: fc.Arbitrary<Event> = fc.oneof(
    fc.constant({ type: 'start' } as const),
    fc.record({
      type: fc.constant('recorded' as const),
      state: fc.constantFrom(...STATES),
      step: fc.nat(5),
    }),
    fc.record({
      type: fc.constant('observed' as const),
      target: fc.option(status.map(aStatus), { nil: undefined }),
      source: fc.option(status.map(aStatus), { nil: undefined }),
    }),
    fc.record({
      type: fc.constant('warmed' as const),
      report: fc.record({
        hookMs: fc.nat(10),
        replayed: fc.nat(30),
        mismatches: fc.nat(3),
        failures: fc.constantFrom(0, 0, 0, 1),
        sourceMsMean: fc.nat(5),
        targetMsMean: fc.nat(50),
      }),
    }),
    fc.record({
      type: fc.constant('handed-off' as const),
      direction,
      result: fc.oneof(
        fc.constant({
          outcome: 'swapped' as const,
          epoch: 8,
          version: 1,
          sealedMs: 1,
          bytesCopied: 0,
        }),
        fc.constant({ outcome: 'refused' as const, reason: 'no' }),
        fc.constant({ outcome: 'already' as const, epoch: 8 }),
      ),
    }),
    fc.record({
      type: fc.constant('assignment' as const),
      assignment: fc.option(
        fc.constantFrom('n1.a', 'n2.b', 'n3.c').map((primary) => ({
          shard: 'room/a',
          epoch: 7,
          primary,
          cell: 'cell-2',
          standbys: [],
          version: 1,
        })),
        { nil: undefined },
      ),
    }),
    fc.record({ type: fc.constant('dropped' as const), at: side }),
    fc.record({
      type: fc.constant('call-failed' as const),
      call: fc.constantFrom<Action['type'][]>(
        'read-assignment',
        'prepare',
        'observe',
        'warm-up',
        'hand-off',
        'drop',
      ),
      at: fc.option(side, { nil: undefined }),
      reason: fc.constant('lost'),
    }),
    fc.record({ type: fc.constant('gone' as const), side }),
  );
  const timed = fc.array(fc.tuple(event, fc.nat(3_000)), { maxLength: 60 });

  it('ends in time, shifts monotonically but for a roll-back, and hands off at most once each way', () => {
    fc.assert(
      fc.property(timed, (events) => {
        const machine = new MigrationMachine(aRecord({ promise }), withSettings(SETTINGS_DEFAULT, {}));
        let nowMs = 0;
        let forward = 0;
        let back = 0;
        let percent = 0;
        const deliver = (next: Event) => {
          const { handedOff } = machine.record;
          const step = machine.step(next, nowMs);
          const { record } = machine;
          if (!handedOff && record.handedOff) forward++;
          if (handedOff && !record.handedOff) back++;
          if (record.state !== 'rolling-back' && !FINAL_STATES.has(record.state))
            expect(record.percent).toBeGreaterThanOrEqual(percent);
          percent = record.percent;
          return step;
        };
        let { wakeAtMs } = deliver({ type: 'start' });
        for (const [next, delayMs] of events) {
          nowMs += delayMs;
          ({ wakeAtMs } = deliver(next));
        }
        // Then nobody answers any more: time alone must end it.
        for (let ticks = 0; !machine.ended && ticks < 1_000; ticks++) {
          expect(wakeAtMs).toBeDefined();
          nowMs = Math.max(nowMs, wakeAtMs!);
          ({ wakeAtMs } = deliver({ type: 'tick' }));
        }
        expect(machine.ended).toBe(true);
        expect(forward).toBeLessThanOrEqual(1);
        expect(back).toBeLessThanOrEqual(1);
        expect(deliver({ type: 'tick' }).actions).toEqual([]);
      }),
      { numRuns: 500 },
    );
  });

  it('does nothing at a tick that comes early', () => {
    fc.assert(
      fc.property(timed, (events) => {
        const machine = new MigrationMachine(aRecord({ promise }), SETTINGS_DEFAULT);
        let nowMs = 0;
        machine.step({ type: 'start' }, nowMs);
        for (const [next, delayMs] of events) {
          nowMs += delayMs;
          const { wakeAtMs } = machine.step(next, nowMs);
          const before = { ...machine.record };
          if (wakeAtMs === undefined || wakeAtMs <= nowMs) continue;
          const early = machine.step({ type: 'tick' }, nowMs);
          expect(early.actions).toEqual([]);
          expect(early.wakeAtMs).toBe(wakeAtMs);
          expect(machine.record).toEqual(before);
        }
      }),
      { numRuns: 300 },
    );
  });

  it('is not driven on by an event that comes twice', () => {
    const twice = (record: Partial<ReturnType<typeof aRecord>>, event: Event, state: State) => {
      const machine = new MigrationMachine(aRecord(record), SETTINGS_DEFAULT);
      machine.step({ type: 'start' }, 0);
      machine.step(event, 1);
      expect(machine.record.state).toBe(state);
      machine.step(event, 1);
      expect(machine.record.state).toBe(state);
    };
    const swapped = {
      type: 'handed-off' as const,
      direction: 'forward' as const,
      result: { outcome: 'swapped' as const, epoch: 8, version: 2, sealedMs: 1, bytesCopied: 0 },
    };
    twice({ state: 'handing-off', express: true }, swapped, 'decommissioning');
    twice({ state: 'handing-off', step: 3 }, swapped, 'shifting-after');
    twice({ state: 'decommissioning' }, { type: 'dropped', at: 'source' }, 'done');
    twice({ state: 'rolling-back' }, { type: 'dropped', at: 'target' }, 'rolling-back');
    twice(
      { state: 'shifting-after', step: 3, handedOff: true },
      { type: 'observed', target: aStatus({ executed: { commands: stats(0), queries: stats(0) } }) },
      'shifting-after',
    );
  });
});

describe('the table', () => {
  it('leaves no cell and no rule out', () => {
    const used = new Set<string>();
    for (const state of STATES)
      for (const event of EVENTS) used.add(TABLE[state as State][event as EventType]);
    expect([...used].sort()).toEqual([...OUTCOMES].sort());
    expect(Object.keys(RULES).sort()).toEqual([...OUTCOMES].sort());
  });

  it('changes the state only where it says more than ignore', () => {
    for (const state of STATES)
      for (const event of EVENTS) {
        if (TABLE[state][event] !== 'ignore') continue;
        const machine = new MigrationMachine(aRecord({ state }), SETTINGS_DEFAULT);
        expect(machine.step({ type: event } as unknown as Event, 0).actions).toEqual([]);
        expect(machine.record.state).toBe(state);
      }
  });
});
