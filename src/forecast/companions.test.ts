/** Shards of a prefix that surge together, apart, or too seldom to tell. */
import { describe, expect, it } from 'vitest';
import { SeededRandom } from '../io/random.ts';
import type { LoadSample } from '../model/load.ts';
import { Companions } from './companions.ts';
import { engineForecaster, type LoadStep } from './index.ts';

function normal(random: SeededRandom): number {
  return Math.sqrt(-2 * Math.log(1 - random.next())) * Math.cos(2 * Math.PI * random.next());
}

/** Surprises of `count` shards over `steps`, of which `shared` of the variance is the same. */
function heard(steps: number, count: number, shared: number, seed = 'c1'): Companions {
  const random = new SeededRandom(seed);
  const companions = new Companions();
  for (let step = 0; step < steps; step++) {
    const all = Math.sqrt(shared) * normal(random);
    for (let s = 0; s < count; s++)
      companions.hear(`room/t:${s}`, all + Math.sqrt(1 - shared) * normal(random));
    companions.endStep();
  }
  return companions;
}

describe('shards of a prefix', () => {
  it.each([0, 0.3, 0.8])('are as correlated as what came of them: %f', (shared) => {
    const found = heard(4000, 6, shared).correlation('room/t');
    expect(found).toBeGreaterThanOrEqual(Math.max(0, 0.85 * shared - 0.05));
    expect(found).toBeLessThan(shared + 0.08);
  });

  it('are taken for each their own while little is known, without a second one, and under another prefix', () => {
    expect(heard(5, 4, 0.9).correlation('room/t')).toBeLessThan(0.2);
    expect(heard(500, 1, 0.9).correlation('room/t')).toBe(0);
    expect(heard(500, 4, 0.9).correlation('room/v')).toBe(0);
  });

  it('that go against each other are not less than unrelated; a wild step, nothing foreseen and no prefix teach little or nothing', () => {
    const companions = new Companions();
    for (let step = 0; step < 500; step++) {
      companions.hear('room/w:1', step % 2 === 0 ? 1 : -1);
      companions.hear('room/w:2', step % 2 === 0 ? -1 : 1);
      companions.hear('room/w:3', Number.NaN);
      companions.hear('room/alone', 1e300);
      companions.endStep();
    }
    expect(companions.correlation('room/w')).toBe(0);
    const before = heard(1000, 4, 0);
    for (let s = 0; s < 4; s++) before.hear(`room/t:${s}`, 1e300);
    before.endStep();
    expect(before.correlation('room/t')).toBeLessThan(0.1);
  });

  it('are known as well after a restart', () => {
    const before = heard(600, 4, 0.7);
    const after = new Companions();
    after.load(JSON.parse(JSON.stringify(before.save())));
    expect(after.correlation('room/t')).toBe(before.correlation('room/t'));
  });
});

describe('shards of several prefixes, and of none', () => {
  /** `room/t:` has three shards, `cart/u-` one, `lone/x` no prefix; they surge together every twenty steps, `other/y` by itself. */
  function told(steps: number): Companions {
    const random = new SeededRandom('c2');
    const companions = new Companions();
    for (let step = 0; step < steps; step++) {
      const isOn = step % 20 === 0;
      for (const shard of ['room/t:1', 'room/t:2', 'room/t:3', 'cart/u-1', 'lone/x'])
        companions.hear(shard, isOn ? 3 : 0.3 * normal(random));
      companions.hear('other/y', step % 20 === 10 ? 3 : 0.3 * normal(random));
      companions.endStep();
    }
    return companions;
  }

  it('that surge together are one group under one name', () => {
    const companions = told(1600);
    const said = ['room/t:1', 'room/t:3', 'cart/u-1', 'lone/x'].map((shard) => companions.of(shard));
    for (const one of said) {
      expect(one?.group).toBe('cart/u');
      expect(one?.correlation).toBeGreaterThan(0.5);
      expect(one?.correlation).toBeLessThanOrEqual(0.95);
    }
    expect(companions.of('other/y')).toBeUndefined();
  });

  it('find their place however many shards without a prefix were there before', () => {
    const companions = new Companions();
    for (let i = 0; i < 5000; i++) companions.hear(`lone/x${i}`, 0.5);
    companions.endStep();
    const random = new SeededRandom('c3');
    for (let step = 0; step < 800; step++) {
      const all = normal(random);
      for (const shard of ['room/t:1', 'room/t:2']) companions.hear(shard, all);
      companions.endStep();
    }
    expect(companions.of('room/t:1')?.correlation).toBeGreaterThan(0.5);
  });

  it('are known as well after a restart, and what was saved before groups had several names still loads', () => {
    const before = told(1600);
    const after = new Companions();
    after.load(JSON.parse(JSON.stringify(before.save())));
    for (const shard of ['room/t:1', 'cart/u-1', 'lone/x', 'other/y'])
      expect(after.of(shard)?.correlation ?? 0).toBeCloseTo(before.of(shard)?.correlation ?? 0, 9);
    const old = new Companions();
    old.load([['room/t', 0.6, 1, 900]]);
    expect(old.of('room/t:1')).toEqual({ group: 'room/t', correlation: old.correlation('room/t') });
  });
});

describe('an engine', () => {
  const keys = ['t:1', 't:2', 't:3', 't:4', 'u:1', 'u:2', 'u:3', 'u:4', 'alone'];

  /** Shards of `t:` have one crowd that nobody could foresee, those of `u:` and the last each its own. */
  function steps(count: number): LoadStep[] {
    const random = new SeededRandom('companions');
    return Array.from({ length: count }, (_, i) => {
      const number = 1000 + i;
      const crowd = 20 * random.next() ** 3;
      const shards = keys.map((key): LoadSample => {
        const requests = 20 + (key.startsWith('t') ? crowd : 20 * random.next() ** 3);
        return {
          ...{
            shard: `room/${key}`,
            atMs: number * 1000,
            stepMs: 1000,
            commands: requests,
            queries: 0,
            rejected: 0,
          },
          ...{
            byOrigin: { eu: { commands: requests, queries: 0 } },
            cpuSeconds: 0.01 * requests,
            stateBytes: 1000,
          },
          ...{ bytesIn: 1, bytesOut: 1, writeBytes: 0, censored: false },
        };
      });
      return { number, atMs: number * 1000, stepS: 1, shards, missingShare: 0 };
    });
  }

  it('tells who surges together and how much, and of nobody who does not; a restart knows it too', () => {
    const engine = engineForecaster();
    for (const step of steps(500)) engine.observe(step);
    const ids = keys.map((key) => `room/${key}`);
    const found = engine.forecast(ids, [1, 4]).map(({ together }) => together);
    for (const together of found.slice(0, 4)) {
      expect(together?.group).toBe('room/t');
      expect(together!.correlation).toBeGreaterThan(0.5);
    }
    for (const together of found.slice(4, 8)) expect(together?.correlation ?? 0).toBeLessThan(0.2);
    expect(found[8]).toBeUndefined();
    const after = engineForecaster();
    after.load(JSON.parse(JSON.stringify(engine.save())));
    expect(after.forecast(ids, [1, 4]).map(({ together }) => together)).toEqual(found);
  });
});
