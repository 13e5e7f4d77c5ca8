/**
 * Events that move a load. Test plan: a synthetic load with a known effect; a type seen before is expected again with its
 * shape, one never seen as declared, none otherwise; and hostile declarations, which cost nothing and break nothing.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SeriesStream } from '../stream.ts';
import { EventEffects } from './events.ts';

const STEP_S = 60;
/** A day of 96 steps, with a little noise. */
const usual = (t: number) => 100 + 40 * Math.sin((2 * Math.PI * t) / 96) + 3 * (((t * 7919) % 13) / 6 - 1);
/** A match: doubles the load at its start, five times at its peak from the fourth step on, ten steps long. */
const match = (since: number) => (since < 0 || since >= 10 ? 1 : since < 4 ? 2 : 5);

interface Occurrence {
  label: string;
  at: number;
  steps: number;
}

function played(
  events: readonly Occurrence[],
  steps: number,
  effect: (event: Occurrence, since: number) => number,
  declared = events,
): SeriesStream {
  const stream = new SeriesStream({ stepS: STEP_S, windows: [15] });
  for (const { label, at, steps: long } of declared)
    stream.declare({ label, from: at * STEP_S, to: (at + long) * STEP_S });
  for (let t = 0; t < steps; t++) {
    let value = usual(t);
    for (const event of events) value *= effect(event, t - event.at);
    stream.observe(value);
  }
  return stream;
}

function medians(stream: SeriesStream, count: number): number[] {
  const out = new Float64Array(3 * count);
  stream.forecast(
    Float64Array.from({ length: count }, (_, h) => h + 1),
    out,
  );
  return Array.from({ length: count }, (_, h) => out[3 * h]!);
}

const matches = [300, 500, 700, 905].map((at) => ({ label: 'match', at, steps: 10 }));

describe('events', () => {
  it('a type seen before acts again, with its shape', () => {
    const stream = played(matches, 900, ({ at }, since) => (at === 905 ? 1 : match(since)));
    const foreseen = medians(stream, 20);
    foreseen.forEach((value, h) => {
      const truth = usual(900 + h) * match(900 + h - 905);
      expect(Math.abs(value / truth - 1), `${h} steps ahead`).toBeLessThan(0.2);
    });
  });

  it('what acted is no new level, and the season after it is as before', () => {
    const stream = played(matches.slice(0, 3), 712, (_, since) => match(since));
    medians(stream, 30).forEach((value, h) => {
      expect(Math.abs(value / usual(712 + h) - 1)).toBeLessThan(0.1);
    });
  });

  it('a type that does nothing is expected to do nothing', () => {
    const stream = played(matches, 900, () => 1);
    const foreseen = medians(stream, 15);
    const without = medians(
      played([], 900, () => 1),
      15,
    );
    foreseen.forEach((value, h) => {
      expect(Math.abs(value / without[h]! - 1)).toBeLessThan(0.04);
    });
  });

  it('one never seen acts as declared, with room above; of no type, and undeclared, not at all', () => {
    const stream = played([], 900, () => 1);
    const before = new Float64Array(3);
    stream.forecast([6], before);
    const after = new Float64Array(3);
    const at = { from: 903 * STEP_S, to: 910 * STEP_S };
    stream.declare({ label: '', ...at });
    stream.declare({ label: 'new', ...at });
    stream.forecast([6], after);
    expect(after).toEqual(before);
    stream.declare({ label: 'sale', ...at, factor: 3 });
    stream.forecast([6], after);
    expect(after[0]! / before[0]!).toBeCloseTo(3);
    expect(after[1]! - after[0]!).toBeGreaterThan(0.25 * 2 * before[0]!);
    expect(after[2]!).toBeGreaterThan(after[1]!);
    stream.forecast([20], after);
    expect(after[0]! / before[0]!).toBeLessThan(1.6);
  });

  it('what was declared gives way to what is seen while it acts', () => {
    const stream = played([], 900, () => 1);
    stream.declare({ label: '', from: 900 * STEP_S, to: 960 * STEP_S, factor: 4 });
    stream.declare({ label: 'launch', from: 900 * STEP_S, to: 960 * STEP_S, factor: 4 });
    const first = medians(stream, 3)[2]!;
    expect(first / usual(903)).toBeGreaterThan(12);
    const single = played([], 900, () => 1);
    single.declare({ label: 'launch', from: 900 * STEP_S, to: 960 * STEP_S, factor: 4 });
    // It brings half as much again, not four times.
    for (let t = 900; t < 930; t++) single.observe(1.5 * usual(t));
    expect(Math.abs(medians(single, 3)[2]! / (1.5 * usual(932)) - 1)).toBeLessThan(0.2);
    for (let t = 930; t < 960; t++) single.observe(1.5 * usual(t));
    expect(Math.abs(medians(single, 3)[2]! / usual(962) - 1)).toBeLessThan(0.1);
  });

  it('two that overlap are told apart once each was seen alone', () => {
    const events = [
      { label: 'double', at: 300, steps: 20 },
      { label: 'triple', at: 400, steps: 20 },
      { label: 'double', at: 500, steps: 20 },
      { label: 'triple', at: 510, steps: 20 },
      { label: 'double', at: 602, steps: 8 },
      { label: 'triple', at: 602, steps: 8 },
    ];
    const factor = ({ label, steps }: Occurrence, since: number) =>
      since < 0 || since >= steps ? 1 : label === 'double' ? 2 : 3;
    const foreseen = medians(played(events, 600, factor), 6);
    expect(Math.abs(foreseen[4]! / (6 * usual(604)) - 1)).toBeLessThan(0.25);
  });

  it('the maximum of a window is that of the event in it', () => {
    const stream = played(matches, 900, ({ at }, since) => (at === 905 ? 1 : match(since)));
    const out = new Float64Array(3);
    stream.forecastMax(0, out);
    const truth = Math.max(...Array.from({ length: 15 }, (_, h) => usual(900 + h) * match(h - 5)));
    expect(out[0]! / truth).toBeGreaterThan(0.8);
    expect(out[0]! / truth).toBeLessThan(1.4);
    expect(out[2]!).toBeGreaterThanOrEqual(out[1]!);
  });

  it('what is declared over all of a life, or from its first step, leaves forecasts as they would be', () => {
    const whole = played([{ label: 'always', at: 0, steps: 2000 }], 900, () => 1);
    medians(whole, 10).forEach((value, h) => {
      expect(Math.abs(value / usual(900 + h) - 1)).toBeLessThan(0.2);
    });
  });

  it('thousands at once, backwards and overlapping, stay finite, ordered and bounded in time', () => {
    const events = Array.from({ length: 9000 }, (_, i) => ({
      label: i % 3 === 0 ? '' : `type-${i % 700}`,
      at: 2000 - (i % 1999),
      steps: 1 + ((i * 31) % 400),
    }));
    const stream = played(events, 600, () => 1);
    const out = new Float64Array(3 * 60);
    stream.forecast(
      Float64Array.from({ length: 60 }, (_, h) => h + 1),
      out,
    );
    for (let h = 0; h < 60; h++) {
      expect(out[3 * h]!).toBeGreaterThan(0);
      expect(out[3 * h + 2]!).toBeGreaterThanOrEqual(out[3 * h]!);
      expect(out[3 * h + 2]!).toBeLessThan(20 * 150);
    }
    expect(Object.keys(stream.events.types).length).toBeLessThanOrEqual(256);
  });

  it('refuses what ends before it begins, a factor that is none, and more than it keeps', () => {
    const effects = new EventEffects();
    const event = { label: 'a', fromStep: 5, toStep: 9, factor: 1 };
    expect(() => effects.declare({ ...event, toStep: 5 })).toThrow(/ends before it begins/);
    expect(() => effects.declare({ ...event, factor: 0 })).toThrow(/factor of 0/);
    expect(() => effects.declare({ ...event, factor: Number.NaN })).toThrow(/factor of NaN/);
    for (let i = 0; i < 10_000; i++) effects.declare(event);
    expect(() => effects.declare(event)).toThrow(/no more are kept/);
  });

  it('whatever comes while events act, what the series learns is finite or missing, and never negative', () => {
    const value = fc.oneof(
      fc.double({ min: -10, max: 1e12, noNaN: true }),
      fc.constantFrom(Number.NaN, Number.POSITIVE_INFINITY, 0),
    );
    fc.assert(
      fc.property(
        fc.array(fc.tuple(value, fc.double({ min: 0, max: 1e9 }), fc.nat(20)), { maxLength: 60 }),
        fc.array(fc.tuple(fc.constantFrom('a', 'b', ''), fc.nat(40), fc.integer({ min: 1, max: 30 })), {
          maxLength: 12,
        }),
        (steps, events) => {
          const effects = new EventEffects();
          for (const [label, fromStep, long] of events)
            effects.declare({ label, fromStep, toStep: fromStep + long, factor: 1 });
          for (const [seen, expected, known] of steps) {
            const clean = effects.without(seen, expected, known, Math.abs(expected));
            if (Number.isFinite(seen))
              expect(Number.isNaN(clean) || Math.abs(clean) <= 50 * Math.abs(seen)).toBe(true);
            else expect(Number.isFinite(clean)).toBe(false);
            const factor = effects.ahead(1);
            expect(factor).toBeGreaterThanOrEqual(0.02);
            expect(factor).toBeLessThanOrEqual(1000);
          }
        },
      ),
    );
  });

  it('goes on from a saved state', () => {
    const stream = played(matches, 900, ({ at }, since) => (at === 905 ? 1 : match(since)));
    const again = new SeriesStream({ stepS: STEP_S, windows: [15] });
    again.load(JSON.parse(JSON.stringify(stream.save())));
    expect(medians(again, 20)).toEqual(medians(stream, 20));
    expect(again.events.types).toEqual({ match: 3 });
  });
});
