import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { HandlerLoad, LoadSample } from '../model/load.ts';
import { HANDLERS_TAKEN_MAX } from './handler-mix.ts';
import type { LoadStep } from './step.ts';
import { LATE_STEPS_MAX, LoadWindows, WINDOW_STEPS } from './windows.ts';

function sample(shard: string, atMs: number, counts: Partial<LoadSample> = {}): LoadSample {
  const queries = counts.queries ?? 10;
  return {
    shard,
    atMs,
    stepMs: 1000,
    commands: 0,
    queries,
    rejected: 0,
    byOrigin: { eu: { commands: counts.commands ?? 0, queries } },
    cpuSeconds: 0.001,
    stateBytes: 100,
    bytesIn: 0,
    bytesOut: 0,
    writeBytes: 0,
    censored: false,
    ...counts,
  };
}

const requestsOf = (steps: { shards: LoadSample[] }[]) =>
  steps.flatMap((step) => step.shards).reduce((sum, s) => sum + s.commands + s.queries, 0);

describe('LoadWindows', () => {
  it('closes steps in order, each once, with merged samples', () => {
    const windows = new LoadWindows({ stepMs: 1000 });
    windows.ingest([sample('room/a', 5000)], 'n1');
    windows.ingest([sample('room/a', 5000)], 'n2');
    const [step, ...rest] = windows.close(5500);
    expect(rest).toEqual([]);
    expect(step!.number).toBe(5);
    expect(step!.shards).toHaveLength(1);
    expect(step!.shards[0]!.queries).toBe(20);
    expect(step!.shards[0]!.stateBytes).toBe(100);
    expect(windows.close(5900)).toEqual([]);
  });

  it('closes no million of empty steps where a clock jumps ahead', () => {
    const windows = new LoadWindows({ stepMs: 1000 });
    windows.ingest([sample('room/a', 5000)], 'n');
    const steps = windows.close(1e13);
    expect(steps.length).toBeLessThan(20);
    expect(requestsOf(steps)).toBe(10);
    expect(steps[0]!.number).toBe(5);
    expect(steps.at(-1)!.number).toBe(1e10);
  });

  it('takes a node’s own grid: a sample belongs where its middle lies', () => {
    const windows = new LoadWindows({ stepMs: 1000 });
    windows.ingest([sample('room/a', 5400), sample('room/b', 5600)], 'n1');
    const steps = windows.close(7000);
    expect(steps.map(({ number, shards }) => [number, shards.map(({ shard }) => shard)])).toEqual([
      [5, ['room/a']],
      [6, ['room/b']],
      [7, []],
    ]);
  });

  it('spreads a long sample over the steps it covers', () => {
    const windows = new LoadWindows({ stepMs: 1000 });
    windows.ingest([sample('room/a', 6000, { stepMs: 3000, queries: 30 })], 'n1');
    expect(windows.close(6000).map((step) => requestsOf([step]))).toEqual([10, 10, 10]);
  });

  it('counts what arrives twice once, also when the second comes late', () => {
    const windows = new LoadWindows({ stepMs: 1000 });
    windows.ingest([sample('room/a', 5000)], 'n1');
    windows.ingest([sample('room/a', 5000)], 'n1');
    windows.ingest([sample('room/b', 6000)], 'n1');
    expect(requestsOf(windows.close(5000))).toBe(10);
    windows.ingest([sample('room/a', 5000)], 'n1');
    expect(requestsOf(windows.close(6000))).toBe(10);
    expect(windows.problems.duplicates).toBe(2);
  });

  it('counts a late sample in the next open step and drops one that is too late', () => {
    const windows = new LoadWindows({ stepMs: 1000 });
    windows.ingest([sample('room/a', 10_000)], 'n1');
    windows.close(10_000);
    windows.ingest([sample('room/b', 9000)], 'n1');
    windows.ingest([sample('room/c', (10 - LATE_STEPS_MAX) * 1000)], 'n1');
    const [step] = windows.close(11_000);
    expect(step!.shards.map(({ shard }) => shard)).toEqual(['room/b']);
    expect(windows.problems).toMatchObject({ late: 1, lateDropped: 1 });
  });

  it('takes negative and not-a-number fields as zero and counts them', () => {
    const windows = new LoadWindows({ stepMs: 1000 });
    windows.ingest([sample('room/a', 5000, { cpuSeconds: Number.NaN, bytesIn: -5 })], 'n1');
    windows.ingest([sample('room/b', Number.NaN)], 'n1');
    const [step] = windows.close(5000);
    expect(step!.shards[0]).toMatchObject({ cpuSeconds: 0, bytesIn: 0, queries: 10 });
    expect(windows.problems).toMatchObject({ notNumbers: 1, resets: 1, malformed: 1 });
  });

  it('takes cumulative samples as what was counted since the last, through resets, gaps, doubles and nonsense', () => {
    const windows = new LoadWindows({ stepMs: 1000 });
    const reading = (atMs: number, queries: number, fields: Partial<LoadSample> = {}) =>
      windows.ingest(
        [sample('room/a', atMs, { kind: 'counter', queries, cpuSeconds: queries / 100, ...fields })],
        'n1',
      );
    reading(1000, 500);
    reading(2000, 520);
    reading(2000, 520);
    reading(1500, 510);
    // It started anew, and counted 7 since.
    reading(3000, 7);
    // Two steps at once, the first of them unheard of.
    reading(5000, 27, { bytesIn: Number.NaN });
    expect(windows.close(5000).map((step) => requestsOf([step]))).toEqual([20, 7, 10, 10]);
    expect(windows.problems).toMatchObject({ duplicates: 2, resets: 1, notNumbers: 0 });
  });

  it('knows a silent node’s load as missing, not as zero, until the node is gone', () => {
    const windows = new LoadWindows({ stepMs: 1000 });
    for (let t = 1; t <= 20; t++) {
      windows.ingest([sample('room/a', t * 1000, { queries: 30 })], 'n1');
      if (t <= 5) windows.ingest([sample('room/b', t * 1000, { queries: 10 })], 'n2');
    }
    const missing = windows.close(20_000).map((step) => step.missingShare);
    expect(missing[4]).toBe(0);
    expect(missing[5]).toBeCloseTo(0.25);
    expect(missing[19]).toBe(0);
  });

  it('counts an empty report of an idle node as heard', () => {
    const windows = new LoadWindows({ stepMs: 1000 });
    windows.ingest([sample('room/a', 1000)], 'n1');
    windows.ingest([], 'n1', 2000);
    expect(windows.close(2000)[1]).toMatchObject({ missingShare: 0, shards: [] });
  });

  it('keeps a short window per shard and rates by origin', () => {
    const windows = new LoadWindows({ stepMs: 1000 });
    for (let t = 1; t <= WINDOW_STEPS + 3; t++) {
      windows.ingest([sample('room/a', t * 1000, { queries: t })], 'n1');
      windows.close(t * 1000);
    }
    const { steps } = windows.window('room/a')!;
    expect(steps.map(({ number }) => number)).toEqual(Array.from({ length: WINDOW_STEPS }, (_, i) => i + 4));
    expect(windows.ratesByOrigin()).toEqual({ eu: { commands: 0, queries: WINDOW_STEPS + 3 } });
    expect(windows.recentRate('room/a', 2)).toBeCloseTo((WINDOW_STEPS + 2 + WINDOW_STEPS + 3) / 2);
  });

  it('every request that is not refused enters exactly one step, in whatever order and doubling', () => {
    const arrivals = fc.array(
      fc.record({
        shard: fc.constantFrom('room/a', 'room/b', 'room/c'),
        at: fc.integer({ min: 100, max: 112 }),
        node: fc.constantFrom('n1', 'n2'),
        close: fc.boolean(),
      }),
      { maxLength: 60 },
    );
    fc.assert(
      fc.property(arrivals, (events) => {
        const windows = new LoadWindows({ stepMs: 1000 });
        // The slow, obvious twin: a set of what was sent.
        const sent = new Set<string>();
        let counted = 0;
        for (const { shard, at, node, close } of events) {
          windows.ingest([sample(shard, at * 1000, { queries: 1 })], node);
          sent.add(`${shard} ${node} ${at}`);
          if (close) counted += requestsOf(windows.close(at * 1000));
        }
        counted += requestsOf(windows.close(130_000));
        expect(counted).toBeLessThanOrEqual(events.length);
        // Doubles across more than one closed step cannot be told; whatever else was sent is counted.
        expect(counted + windows.problems.lateDropped + windows.problems.duplicates).toBe(events.length);
        expect(counted + windows.problems.lateDropped).toBeGreaterThanOrEqual(sent.size);
      }),
    );
  });
});

describe('mixes of handlers', () => {
  const load = (handler: string, requests: number, fields: Partial<HandlerLoad> = {}): HandlerLoad => ({
    service: 'room',
    handler,
    requests,
    commands: 0,
    cpuSeconds: requests / 1000,
    bytesIn: 0,
    bytesOut: 0,
    writeBytes: 0,
    ...fields,
  });
  const mix = (atMs: number, handlers: HandlerLoad[], stepMs = 1000) => ({ atMs, stepMs, handlers });
  const asked = (steps: LoadStep[]) =>
    steps.map((step) => step.mix?.map(({ handler, requests }) => `${handler} ${requests}`));

  it('of several nodes are one, and a step of which none told has none', () => {
    const windows = new LoadWindows({ stepMs: 1000 });
    windows.ingest([sample('room/a', 5000)], 'n1', 5000, mix(5000, [load('get', 3), load('add', 1)]));
    windows.ingest([sample('room/b', 5000)], 'n2', 5000, mix(5000, [load('get', 4)]));
    windows.ingest([sample('room/b', 6000)], 'n3', 6000);
    const steps = windows.close(6000);
    expect(asked(steps)).toEqual([['get 7', 'add 1'], undefined]);
    expect(steps[0]!.mix![0]!.cpuSeconds).toBeCloseTo(0.007);
    expect(steps[1]).not.toHaveProperty('mix');
  });

  it('are spread, late, double and too late as samples are', () => {
    const windows = new LoadWindows({ stepMs: 1000 });
    windows.ingest([], 'n1', 6000, mix(6000, [load('get', 30)], 3000));
    windows.ingest([], 'n1', 6000, mix(6000, [load('get', 30)], 3000));
    expect(asked(windows.close(6000))).toEqual([['get 10'], ['get 10'], ['get 10']]);
    windows.ingest([], 'n2', 5000, mix(5000, [load('get', 1)]));
    windows.ingest([], 'n3', 2000, mix(2000, [load('get', 1)]));
    expect(asked(windows.close(7000))).toEqual([['get 1']]);
    expect(windows.problems.duplicates).toBe(1);
    // Once each for the report and for its mix.
    expect(windows.problems).toMatchObject({ late: 2, lateDropped: 2 });
  });

  it('hold no numbers but finite ones from zero up, no names beyond measure, and a bounded count', () => {
    const windows = new LoadWindows({ stepMs: 1000 });
    const many = Array.from({ length: 5000 }, (_, i) => load(`h${i}`, 1));
    windows.ingest([], 'n1', 5000, mix(5000, many));
    windows.ingest(
      [],
      'n2',
      5000,
      mix(5000, [load('one-more', 1), load('h0', Number.NaN, { cpuSeconds: -1 })]),
    );
    windows.ingest([], 'n3', 5000, mix(5000, [load('', 1), load('x'.repeat(65), 1), null as never]));
    windows.ingest([], 'n4', 5000, mix(5000, undefined as never));
    windows.ingest([], 'n5', 5000, mix(Number.NaN, []));
    const [step] = windows.close(5000);
    expect(step!.mix).toHaveLength(HANDLERS_TAKEN_MAX);
    expect(step!.mix![0]).toMatchObject({ handler: 'h0', requests: 1, cpuSeconds: 0.001 });
    expect(windows.problems).toMatchObject({
      malformed: 5000 - HANDLERS_TAKEN_MAX + 1 + 3 + 2,
      notNumbers: 1,
      resets: 1,
    });
  });

  it('enter exactly one step each, in whatever order and doubling', () => {
    const arrivals = fc.array(
      fc.record({
        at: fc.integer({ min: 100, max: 112 }),
        node: fc.constantFrom('n1', 'n2', 'n3'),
        close: fc.boolean(),
      }),
      { maxLength: 60 },
    );
    fc.assert(
      fc.property(arrivals, (events) => {
        const windows = new LoadWindows({ stepMs: 1000 });
        let counted = 0;
        const count = (steps: LoadStep[]) => {
          for (const step of steps) for (const { requests } of step.mix ?? []) counted += requests;
        };
        // Without samples or the time of a report only mixes are counted as late or double.
        for (const { at, node, close } of events) {
          windows.ingest([], node, undefined, mix(at * 1000, [load('get', 1)]));
          if (close) count(windows.close(at * 1000));
        }
        count(windows.close(130_000));
        expect(counted + windows.problems.lateDropped + windows.problems.duplicates).toBe(events.length);
      }),
    );
  });
});
