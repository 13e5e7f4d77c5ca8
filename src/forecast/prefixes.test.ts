/**
 * New shards take after their key prefix. Test plan: a service whose prefixes differ in rate and in where requests come
 * from; a shard of each is new, and is foreseen from its first minutes.
 */
import { describe, expect, it } from 'vitest';
import type { LoadStep } from '../metrics/step.ts';
import type { LoadSample } from '../model/load.ts';
import { ForecastEngine } from './engine.ts';
import { CANDIDATES_MAX, PREFIX_SHARDS_MIN, Prefixes, prefixOf } from './prefixes.ts';

const STEP_S = 1;

function sample(shard: string, number: number, byOrigin: Record<string, number>, cpu: number): LoadSample {
  const queries = Object.values(byOrigin).reduce((sum, count) => sum + count, 0);
  return {
    shard,
    atMs: number * 1000,
    stepMs: 1000,
    commands: 0,
    queries,
    rejected: 0,
    byOrigin: Object.fromEntries(
      Object.entries(byOrigin).map(([origin, count]) => [origin, { commands: 0, queries: count }]),
    ),
    cpuSeconds: cpu * queries,
    stateBytes: 100,
    bytesIn: 10 * queries,
    bytesOut: 20 * queries,
    writeBytes: 0,
    censored: false,
  };
}

/** Counts that look drawn, with the mean asked for. */
function counts(mean: number, seed: number): number {
  const phase = ((seed * 2_654_435_761) % 1000) / 1000;
  return Math.floor(mean + phase);
}

/** 30 busy shards of `game:eu:*` asked from eu, 30 quiet ones of `game:us:*` asked from us; `extra` come later. */
function step(number: number, extra: readonly { shard: string; busy: boolean }[] = []): LoadStep {
  const shards: LoadSample[] = [];
  const add = (shard: string, busy: boolean, seed: number) => {
    const requests = counts(busy ? 2 : 0.2, seed);
    if (requests > 0)
      shards.push(sample(shard, number, { [busy ? 'eu' : 'us']: requests }, busy ? 0.004 : 0.001));
  };
  for (let i = 0; i < 30; i++) {
    add(`room/game%3Aeu%3A${i}`, true, number * 61 + i);
    add(`room/game%3Aus%3A${i}`, false, number * 67 + i);
  }
  extra.forEach(({ shard, busy }, i) => {
    add(shard, busy, number * 71 + i);
  });
  return { number, atMs: number * 1000, stepS: STEP_S, shards, missingShare: 0 };
}

describe('key prefixes', () => {
  it('end before the last separator, percent-encoded ones among them', () => {
    expect(prefixOf('room/eu:lobby:7')).toBe('room/eu:lobby');
    expect(prefixOf('room/tenant-a-17')).toBe('room/tenant-a');
    expect(prefixOf('room/a%2Fb%3Ac')).toBe('room/a%2Fb');
    expect(prefixOf('room/lobby')).toBeUndefined();
    expect(prefixOf('room/-7')).toBeUndefined();
    expect(prefixOf('room')).toBeUndefined();
  });

  it('say something once enough shards share one, and stay bounded where none do', () => {
    const prefixes = new Prefixes();
    for (let i = 1; i < PREFIX_SHARDS_MIN; i++) expect(prefixes.join('room/a', 0, 4)).toBe(-1);
    expect(prefixes.join('room/a', 0, 4)).toBe(0);
    for (let i = 0; i < CANDIDATES_MAX + 5000; i++) expect(prefixes.join(`room/own-${i}`, 0, 4)).toBe(-1);
    expect(prefixes.join('room/a', 0, 4)).toBe(0);
    expect(prefixes.save()[0]!.shards).toBe(2);
  });
});

describe('a new shard', () => {
  const of = (engine: ForecastEngine, shard: string) => {
    const forecast = engine.forecast([shard], [5])[0]!;
    const total = (region: string) => forecast.byOrigin[region]?.queries[0] ?? 0;
    return {
      rate: forecast.metrics.requests.quantiles[0][0]!,
      cpu: forecast.metrics.cpu.quantiles[0][0]!,
      eu: total('eu'),
      us: total('us'),
    };
  };

  it('is foreseen as its prefix is before it was ever asked: rate, origins and cost of a request', () => {
    const engine = new ForecastEngine();
    for (let number = 1; number <= 300; number++) engine.observe(step(number));
    const busy = of(engine, 'room/game%3Aeu%3Anew');
    const quiet = of(engine, 'room/game%3Aus%3Anew');
    expect(Math.abs(busy.rate / 2 - 1)).toBeLessThan(0.3);
    expect(Math.abs(quiet.rate / 0.2 - 1)).toBeLessThan(0.6);
    expect(busy.eu / busy.rate).toBeGreaterThan(0.9);
    expect(quiet.us / quiet.rate).toBeGreaterThan(0.7);
    expect(busy.cpu / busy.rate / (quiet.cpu / quiet.rate)).toBeGreaterThan(2);
  });

  it('is followed in its first minute where it differs from its prefix', () => {
    const engine = new ForecastEngine();
    for (let number = 1; number <= 300; number++) engine.observe(step(number));
    // A busy one among the quiet ones' prefix, asked from eu.
    const shard = 'room/game%3Aus%3Astar';
    for (let number = 301; number <= 360; number++) engine.observe(step(number, [{ shard, busy: true }]));
    const star = of(engine, shard);
    expect(star.rate).toBeGreaterThan(1.2);
    expect(star.rate).toBeLessThan(3);
    expect(star.eu / star.rate).toBeGreaterThan(0.8);
  });

  it('goes on from a saved state', () => {
    const engine = new ForecastEngine();
    for (let number = 1; number <= 300; number++) engine.observe(step(number));
    const again = new ForecastEngine();
    again.load(JSON.parse(JSON.stringify(engine.save())));
    for (const one of [engine, again]) one.observe(step(301));
    const [a, b] = [of(engine, 'room/game%3Aeu%3Anew'), of(again, 'room/game%3Aeu%3Anew')];
    expect(Math.abs(a.rate / b.rate - 1)).toBeLessThan(0.02);
    expect(Math.abs(a.cpu / b.cpu - 1)).toBeLessThan(0.02);
  });
});
