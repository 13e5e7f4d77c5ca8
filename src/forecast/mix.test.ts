/**
 * The mix of handlers. Test plan: rooms whose users read all day at one rate and export every evening, which takes forty
 * times as long: with the mix told, the CPU an hour ahead follows before the evening begins, and without it after. Then
 * what must change nothing (one handler, no mix, a mix of long ago), and mixes that no honest node would send.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  EXPORT,
  handlerLoad,
  MixLoad,
  type MixLoadOptions,
  READ,
  withoutMix,
} from '../../test/scenarios/mix-load.ts';
import type { HandlerLoad } from '../model/load.ts';
import {
  MIX_FACTOR_MAX,
  MIX_FORGET_S,
  MIX_HANDLERS_MAX,
  MIX_ROWS_MAX,
  MIX_SILENT_STEPS,
} from './defaults.ts';
import { ForecastEngine } from './engine.ts';
import { HandlerMixes } from './mix.ts';

const STEP_S = 600;
const DAY_STEPS = 86_400 / STEP_S;
const HOUR_S = 3600;
const ROOMS = 16;
/** Requests a step and room: below the rate at which a shard has models of its own. */
const RATE = 4;

function world(seed: string, options: Partial<MixLoadOptions> = {}): MixLoad {
  return new MixLoad({ seed, stepS: STEP_S, rooms: ROOMS, rate: RATE, ...options });
}

const rooms = world('names').ids;

/** Two engines that see the same load, one of them the mix as well. */
function both(seed: string, options: Partial<MixLoadOptions> = {}) {
  const load = world(seed, options);
  const told = new ForecastEngine();
  const untold = new ForecastEngine();
  return {
    told,
    untold,
    observe(number: number) {
      const one = load.step(number);
      told.observe(one);
      untold.observe(withoutMix(one));
    },
    load,
  };
}

describe('a mix that turns heavy every evening, at a level rate', () => {
  const { told, untold, observe, load } = both('evening');
  const ahead = HOUR_S / STEP_S;
  const errors = { told: 0, untold: 0, sum: 0 };
  const dusk: { told: number; untold: number; bytes: number; commands: number }[] = [];
  let below = 0;
  let asked = 0;
  for (let number = 1; number <= 7 * DAY_STEPS; number++) {
    observe(number);
    if (number <= 5 * DAY_STEPS) continue;
    const truth = load.total(number + ahead);
    const said = told.aggregate(rooms, [HOUR_S]);
    const [p50, p90] = said.metrics.cpu.quantiles;
    const before = untold.aggregate(rooms, [HOUR_S]).metrics.cpu.quantiles[0][0]!;
    errors.told += Math.abs(p50[0]! - truth);
    errors.untold += Math.abs(before - truth);
    errors.sum += truth;
    asked++;
    if (truth <= p90[0]!) below++;
    // From 17:30 to 17:50 the evening is what comes in an hour, and nothing of it has been seen.
    const hour = (number % DAY_STEPS) / (DAY_STEPS / 24);
    if (hour < 17.49 || hour > 17.9) continue;
    const { networkOut } = said.metrics;
    const { commands, queries } = said.byOrigin.here!;
    dusk.push({
      told: p50[0]! / truth,
      untold: before / truth,
      bytes:
        networkOut.quantiles[0][0]! /
        (ROOMS * (RATE / STEP_S) * (0.2 * EXPORT.bytesOut + 0.8 * READ.bytesOut)),
      commands: commands[0]! / (commands[0]! + queries[0]!),
    });
  }
  const mean = (of: (one: (typeof dusk)[number]) => number) =>
    dusk.reduce((sum, one) => sum + of(one), 0) / dusk.length;

  it('is foreseen an hour ahead, before it begins', () => {
    // A profile rounds the corner of a mix that turns within one step.
    expect(mean((one) => one.untold)).toBeLessThan(0.4);
    expect(mean((one) => one.told)).toBeGreaterThan(0.6);
    expect(mean((one) => one.told)).toBeLessThan(1.2);
  });

  it('and so are bytes out and the share of commands', () => {
    expect(mean((one) => one.bytes)).toBeGreaterThan(0.55);
    expect(mean((one) => one.bytes)).toBeLessThan(1.2);
    expect(mean((one) => one.commands)).toBeGreaterThan(0.1);
    expect(mean((one) => one.commands)).toBeLessThan(0.25);
  });

  it('at less than half the error over whole days, under a p90 that holds', () => {
    expect(errors.told / errors.sum).toBeLessThan(0.5 * (errors.untold / errors.sum));
    expect(below / asked).toBeGreaterThan(0.85);
  });

  it('is shown as shares', () => {
    const [read, exported, ...rest] = told.mix('room', [HOUR_S, 18.5 * HOUR_S]);
    expect(rest).toEqual([]);
    expect(read).toMatchObject({ handler: 'read' });
    expect(exported!.handler).toBe('export');
    expect(exported!.now + read!.now).toBeCloseTo(1, 6);
    // The last step ended at midnight.
    expect(exported!.ahead[0]).toBeLessThan(0.05);
    expect(exported!.ahead[1]).toBeGreaterThan(0.12);
    expect(untold.mix('room', [60])).toEqual([]);
    expect(told.mix('nobody', [60])).toEqual([]);
  });

  it('goes on from what was saved, and from what was saved before there were mixes', () => {
    const saved = JSON.parse(JSON.stringify(told.save()));
    const again = new ForecastEngine();
    again.load(saved);
    const horizons = [STEP_S, HOUR_S, 18.5 * HOUR_S];
    const cpu = (engine: ForecastEngine) => engine.aggregate(rooms, horizons).metrics.cpu.quantiles[0];
    cpu(again).forEach((value, h) => {
      expect(Math.abs(value / cpu(told)[h]! - 1)).toBeLessThan(0.01);
    });
    const { mix: _mix, digest: _digest, ...older } = saved;
    const from = new ForecastEngine();
    from.load(older);
    expect(from.mix('room', [60])).toEqual([]);
    cpu(from).forEach((value, h) => {
      expect(Math.abs(value / cpu(untold)[h]! - 1)).toBeLessThan(0.01);
    });
  });
});

describe('tenants that differ', () => {
  const EXPORTERS = 4;
  const { told, observe, load } = both('tenants', { exporters: EXPORTERS });
  const ahead = HOUR_S / STEP_S;
  const errors = [0, 0];
  const truths = [0, 0];
  for (let number = 1; number <= 6 * DAY_STEPS; number++) {
    observe(number);
    if (number <= 5 * DAY_STEPS) continue;
    told.forecast(rooms, [HOUR_S]).forEach(({ metrics }, room) => {
      const truth = load.cpu(room, number + ahead);
      const kind = room < EXPORTERS ? 0 : 1;
      errors[kind]! += Math.abs(metrics.cpu.quantiles[0][0]! - truth);
      truths[kind]! += truth;
    });
  }

  it('follow their service’s mix as far as they did: some far more, those never asked for exports not at all', () => {
    // Without the mix the first are off by more than all they take.
    expect(errors[0]! / truths[0]!).toBeLessThan(0.5);
    expect(errors[1]! / truths[1]!).toBeLessThan(0.15);
  });
});

describe('a mix that says nothing new', () => {
  const ask = (engine: ForecastEngine) => [
    engine.forecast(rooms, [STEP_S, HOUR_S]),
    engine.aggregate(rooms, [STEP_S, HOUR_S]),
  ];

  it('of one handler changes nothing, to the last bit', () => {
    const load = world('one', { shareOf: () => 0 });
    const told = new ForecastEngine();
    const untold = new ForecastEngine();
    for (let number = 1; number <= DAY_STEPS; number++) {
      const one = load.step(number);
      expect(one.mix).toHaveLength(1);
      told.observe(one);
      untold.observe(withoutMix(one));
    }
    expect(ask(told)).toEqual(ask(untold));
  });

  it('that nobody tells any more changes nothing after a while', () => {
    const { told, untold, observe } = both('silent');
    const load = world('later');
    for (let number = 1; number <= DAY_STEPS; number++) observe(number);
    expect(ask(told)).not.toEqual(ask(untold));
    for (let number = DAY_STEPS + 1; number <= DAY_STEPS + MIX_SILENT_STEPS + 1; number++) {
      const one = withoutMix(load.step(number));
      told.observe(one);
      untold.observe(one);
    }
    expect(ask(told)).toEqual(ask(untold));
  });

  it('that stays as it is leaves the CPU as it is, with a handler that is asked once in six steps and takes most', () => {
    const dear = { cpuSeconds: 1000 * READ.cpuSeconds, bytesOut: 0 };
    const { told, untold, observe } = both('steady', {
      shareOf: () => 1 / (6 * ROOMS * RATE),
      export: dear,
    });
    for (let number = 1; number <= 3 * DAY_STEPS; number++) observe(number);
    const cpu = (engine: ForecastEngine) =>
      engine.aggregate(rooms, [STEP_S, HOUR_S]).metrics.cpu.quantiles[0];
    cpu(told).forEach((value, h) => {
      expect(Math.abs(value / cpu(untold)[h]! - 1)).toBeLessThan(0.1);
    });
  });
});

describe('rows of handlers', () => {
  /** Every service is one that the engine tells apart. */
  const known = (service: string) => service.length;

  it('are few, whatever is declared: the rest are one', () => {
    const mixes = new HandlerMixes(60);
    for (let step = 0; step < 3; step++)
      mixes.observe(
        Array.from({ length: 3000 }, (_, i) => handlerLoad(`h${i}`, 1 + (i % 7))),
        known,
      );
    const shares = mixes.shares('room', [60]);
    expect(shares).toHaveLength(MIX_HANDLERS_MAX + 1);
    expect(shares[0]!.handler).toBe('*');
    expect(shares.reduce((sum, { now }) => sum + now, 0)).toBeCloseTo(1, 6);
    for (let service = 0; service < 9; service++)
      mixes.observe(
        Array.from({ length: MIX_HANDLERS_MAX }, (_, i) => handlerLoad(`h${i}`, 1, READ, `s${service}`)),
        known,
      );
    const saved = mixes.save()!;
    const named = saved.services.flatMap(({ handlers }) => handlers).filter(({ name }) => name !== '*');
    expect(named).toHaveLength(MIX_ROWS_MAX);
  });

  it('of services that the engine does not tell apart are none', () => {
    const mixes = new HandlerMixes(60);
    mixes.observe(
      [handlerLoad('a', 1), handlerLoad('b', 1), handlerLoad('a', 1, READ, 'other')],
      (service) => (service === 'other' ? 0 : -1),
    );
    expect(mixes.save()!.services.map(({ service }) => service)).toEqual(['other']);
  });

  it('are forgotten after two weeks without a request, and their service with the last', () => {
    const stepS = 6 * 3600;
    const mixes = new HandlerMixes(stepS);
    const steps = MIX_FORGET_S / stepS;
    mixes.observe([handlerLoad('read', 9), handlerLoad('export', 1)], known);
    for (let step = 0; step < steps; step++) mixes.observe([handlerLoad('read', 9)], known);
    expect(mixes.save()!.services[0]!.handlers.map(({ name }) => name)).toEqual(['read', 'export']);
    mixes.observe([handlerLoad('read', 9)], known);
    expect(mixes.save()!.services[0]!.handlers.map(({ name }) => name)).toEqual(['read']);
    for (let step = 0; step <= steps; step++) mixes.observe([], known);
    expect(mixes.save()).toBeUndefined();
    mixes.observe([handlerLoad('read', 9), handlerLoad('export', 1)], known);
    expect(mixes.shares('room', [1]).map(({ now }) => now)).toEqual([0.9, 0.1]);
  });
});

describe('mixes that no honest node would send', () => {
  const odd = fc.oneof(
    fc.constantFrom(Number.NaN, Number.POSITIVE_INFINITY, -1, 0, 1e-300, 1e17, 1e308, undefined as never),
    fc.double({ min: 0, max: 1e6, noNaN: true }),
  );
  const name = fc.oneof(
    fc.constantFrom('read', 'export', '*', '__proto__', 'constructor', ''),
    fc.string({ maxLength: 6 }),
  );
  const entry: fc.Arbitrary<HandlerLoad> = fc.record({
    service: fc.oneof({ weight: 6, arbitrary: fc.constant('room') }, { weight: 1, arbitrary: name }),
    handler: name,
    requests: odd,
    commands: odd,
    cpuSeconds: odd,
    bytesIn: odd,
    bytesOut: odd,
    writeBytes: odd,
  });

  it('leave every forecast finite, in order and within bounds of what it was', () => {
    fc.assert(
      fc.property(fc.array(fc.option(fc.array(entry, { maxLength: 8 })), { maxLength: 24 }), (mixes) => {
        const load = world('odd', { shareOf: () => 0.1 });
        const told = new ForecastEngine();
        const untold = new ForecastEngine();
        mixes.forEach((mix, i) => {
          const one = withoutMix(load.step(i + 1));
          told.observe(mix === null ? one : { ...one, mix });
          untold.observe(one);
        });
        const horizons = [STEP_S, HOUR_S];
        const shards = rooms.slice(0, 3);
        const before = untold.forecast(shards, horizons);
        told.forecast(shards, horizons).forEach(({ metrics, byOrigin }, s) => {
          expect(metrics.memory).toEqual(before[s]!.metrics.memory);
          for (const metric of ['requests', 'cpu', 'networkIn', 'networkOut'] as const) {
            const { quantiles, max } = metrics[metric];
            horizons.forEach((_, h) => {
              const [p50, p90, p99] = quantiles.map((values) => values[h]!) as [number, number, number];
              const was = before[s]!.metrics[metric].quantiles[0][h]!;
              const most = metric === 'requests' ? 1 : MIX_FACTOR_MAX;
              expect(p50).toBeGreaterThanOrEqual((was / most) * 0.999_999);
              expect(p50).toBeLessThanOrEqual(was * most * 1.000_001);
              expect(p90).toBeGreaterThanOrEqual(p50);
              expect(p99).toBeGreaterThanOrEqual(p90);
              expect(max[0]).toBeGreaterThanOrEqual(p50 * 0.999_999);
              expect(Number.isFinite(max[2])).toBe(true);
            });
          }
          for (const { commands, queries } of Object.values(byOrigin))
            for (const counts of [...commands, ...queries]) expect(counts).toBeGreaterThanOrEqual(0);
        });
        for (const { now, ahead } of told.mix('room', horizons))
          for (const share of [now, ...ahead]) expect(share >= 0 && share <= 1.000_001).toBe(true);
        const again = new ForecastEngine();
        again.load(JSON.parse(JSON.stringify(told.save())));
        expect(again.mix('room', horizons)).toHaveLength(told.mix('room', horizons).length);
      }),
      { numRuns: 30 },
    );
  });
});
