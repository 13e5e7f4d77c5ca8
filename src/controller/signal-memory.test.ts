/**
 * Declared signals with a label learn from their past. Test plan: shards with a steady load and a signal whose true effect
 * differs from what was declared; the second time it is expected as it was, everywhere, and nothing is counted twice.
 */
import { describe, expect, it } from 'vitest';
import { ForecastEngine } from '../forecast/engine.ts';
import type { LoadStep } from '../metrics/index.ts';
import type { LoadSample } from '../model/load.ts';
import { concerns, SignalMemory } from './signal-memory.ts';
import type { DeclaredSignal } from './signals.ts';

const STEP_MS = 1000;
const usual = (shard: string) => (shard === 'room/a' ? 40 : shard === 'room/b' ? 20 : 10);
const SHARDS = ['room/a', 'room/b', 'cart/c'];

function stepOf(number: number, factor: (shard: string) => number): LoadStep {
  const shards = SHARDS.map((shard, i): LoadSample => {
    const queries = Math.round(usual(shard) * factor(shard) * (1 + (((number * 7 + i) % 5) - 2) / 40));
    return {
      shard,
      atMs: number * STEP_MS,
      stepMs: STEP_MS,
      commands: 0,
      queries,
      rejected: 0,
      byOrigin: { eu: { commands: 0, queries } },
      cpuSeconds: queries * 0.001,
      stateBytes: 10,
      bytesIn: queries,
      bytesOut: queries,
      writeBytes: 0,
      censored: false,
    };
  });
  return { number, atMs: number * STEP_MS, stepS: 1, shards, missingShare: 0 };
}

const signal = (id: string, fromStep: number, fields: Partial<DeclaredSignal> = {}): DeclaredSignal => ({
  id,
  scope: { service: 'room' },
  name: 'final',
  label: 'final',
  fromMs: fromStep * STEP_MS,
  toMs: (fromStep + 20) * STEP_MS,
  factor: 1,
  declaredAtMs: 0,
  ...fields,
});

class Rig {
  readonly engine = new ForecastEngine();
  readonly memory = new SignalMemory(STEP_MS);
  number = 0;

  play(steps: number, signals: readonly DeclaredSignal[], effect: (shard: string, number: number) => number) {
    for (let i = 0; i < steps; i++) {
      const number = ++this.number;
      const step = stepOf(number, (shard) => effect(shard, number));
      const open = signals.filter(({ toMs }) => toMs > (number - 1) * STEP_MS);
      const clean = this.memory.without(step, open, (scope) => {
        if ('all' in scope) return this.engine.total([1]).p50[0]!;
        if ('service' in scope) return this.engine.service(scope.service, [1]).p50[0]!;
        return this.engine.forecast([scope.shard], [1])[0]!.metrics.requests.quantiles[0][0]!;
      });
      this.engine.observe(clean);
    }
  }

  factorAt(signals: readonly DeclaredSignal[], shard: string, inS: number): number {
    return this.memory
      .declaredFor(signals, shard, this.number * STEP_MS)
      .filter(({ fromS, toS }) => inS >= fromS && inS < toS)
      .reduce((all, { factor }) => all * factor, 1);
  }

  rate(shard: string): number {
    return this.engine.forecast([shard], [5])[0]!.metrics.requests.quantiles[0][0]!;
  }
}

/** A final makes rooms four times as busy. */
const during = (from: number) => (shard: string, number: number) =>
  shard.startsWith('room/') && number > from && number <= from + 20 ? 4 : 1;

describe('a declared signal with a label', () => {
  const first = signal('s1', 100);
  const rig = new Rig();
  rig.play(140, [first], during(100));

  it('teaches no level: after it the load is foreseen as before', () => {
    expect(rig.rate('room/a') / 40).toBeGreaterThan(0.8);
    expect(rig.rate('room/a') / 40).toBeLessThan(1.2);
    expect(rig.memory.labels).toEqual({ final: 1 });
  });

  it('is expected to act again as it did, in place of what is declared, wherever it is', () => {
    const again = signal('s2', 160);
    const elsewhere = signal('s3', 160, { scope: { shard: 'cart/c' } });
    rig.play(10, [again, elsewhere], () => 1);
    for (const inS of [12, 25]) {
      expect(rig.factorAt([again], 'room/a', inS)).toBeGreaterThan(2.5);
      expect(rig.factorAt([again], 'room/a', inS)).toBeLessThan(4.8);
      expect(rig.factorAt([elsewhere], 'cart/c', inS)).toBeGreaterThan(2.5);
    }
    expect(rig.factorAt([again], 'cart/c', 20)).toBe(1);
    expect(rig.factorAt([again], 'room/a', 5)).toBe(1);
    expect(rig.factorAt([again], 'room/a', 31)).toBe(1);
  });

  it('is kept for the next leader', () => {
    const next = new SignalMemory(STEP_MS);
    next.load(JSON.parse(JSON.stringify(rig.memory.save())));
    expect(next.labels).toEqual({ final: 1 });
    next.load(undefined);
    expect(new SignalMemory(STEP_MS).labels).toEqual({});
  });
});

describe('a signal that is under way', () => {
  it('without a label acts as declared, is not counted twice, and gives way to what is seen', () => {
    const rig = new Rig();
    const declared = signal('s1', 100, { label: undefined, factor: 4, toMs: 160 * STEP_MS });
    rig.play(130, [declared], (shard, number) => (shard.startsWith('room/') && number > 100 ? 4 : 1));
    // 160 requests a second: the forecast without it times its factor.
    const foreseen = rig.rate('room/a') * rig.factorAt([declared], 'room/a', 5);
    expect(foreseen / 160).toBeGreaterThan(0.75);
    expect(foreseen / 160).toBeLessThan(1.35);
    const wrong = new Rig();
    wrong.play(130, [declared], () => 1);
    const after = wrong.rate('room/a') * wrong.factorAt([declared], 'room/a', 5);
    expect(after / 40).toBeGreaterThan(0.7);
    expect(after / 40).toBeLessThan(1.6);
    expect(wrong.memory.labels).toEqual({});
  });

  it('hostile ones cost nothing: overlapping, of shards never seen, thousands, over before they began', () => {
    const rig = new Rig();
    const many = Array.from({ length: 1000 }, (_, i) =>
      signal(`m${i}`, 10 + (i % 37), {
        label: i % 2 ? `l${i % 300}` : undefined,
        scope: i % 3 ? { all: true } : { shard: i % 2 ? 'ghost/x' : 'room/a' },
        toMs: (11 + (i % 37) + (i % 50)) * STEP_MS,
      }),
    );
    rig.play(60, many, () => 1);
    expect(rig.rate('room/a')).toBeGreaterThan(10);
    expect(rig.rate('room/a')).toBeLessThan(160);
    for (const { factor } of rig.memory.declaredFor(many, 'room/a', rig.number * STEP_MS)) {
      expect(factor).toBeGreaterThan(0);
      expect(factor).toBeLessThanOrEqual(1000);
    }
  });

  it('concerns its scope and nothing else', () => {
    expect(concerns({ all: true }, 'room/a')).toBe(true);
    expect(concerns({ all: true }, undefined)).toBe(true);
    expect(concerns({ service: 'room' }, 'rooms/a')).toBe(false);
    expect(concerns({ service: 'room' }, 'room/a')).toBe(true);
    expect(concerns({ shard: 'room/a' }, undefined)).toBe(false);
  });
});
