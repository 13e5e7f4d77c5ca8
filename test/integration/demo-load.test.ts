/** The demo's load: what docs/demo.md states, checked against the one implementation. */
import { writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type Arrival,
  AWAKE_MEAN,
  awake,
  flashProfile,
  LoadFormula,
  NIGHT_FLOOR,
  USERS_PER_KEY_AND_ORIGIN,
} from '../../examples/demo/load-formula.ts';
import { fillGaps, readTrace, traceShape } from '../../examples/demo/trace.ts';

const options = { seed: '1', ratePerSecond: 200, dayS: 20, alpha: 1 };
const short = ({ atMs, origin, key, user, command }: Arrival) =>
  `${atMs.toFixed(3)} o${origin} k${key} u${user} ${command ? 'command' : 'query'}`;
const seeds = fc.string({ minLength: 1, maxLength: 8 });

describe('arrivals', () => {
  it('of seed 1 are these, on every machine and for every policy', () => {
    const first = [...new LoadFormula(options).arrivals(1)].slice(0, 6).map(short);
    expect(first).toMatchInlineSnapshot(`
      [
        "12.573 o2 k1898 u22 command",
        "14.109 o2 k12 u12 query",
        "18.133 o2 k1846 u16 query",
        "22.403 o2 k169 u28 query",
        "23.997 o2 k10 u14 query",
        "31.589 o1 k2 u14 query",
      ]
    `);
  });

  it('are the same again for the same seed, and others for another', () => {
    fc.assert(
      fc.property(seeds, (seed) => {
        const draw = (of: string) => [...new LoadFormula({ ...options, keys: 50, seed: of }).arrivals(1)];
        expect(draw(seed)).toEqual(draw(seed));
        expect(draw(seed).map(short)).not.toEqual(draw(`${seed}+`).map(short));
      }),
      { numRuns: 20 },
    );
  });

  it('are in order, within the time asked for, and name what exists', () => {
    fc.assert(
      fc.property(seeds, fc.double({ min: 0.05, max: 20, noNaN: true }), (seed, alpha) => {
        const formula = new LoadFormula({ ...options, seed, alpha, keys: 30 });
        let before = 0;
        for (const arrival of formula.arrivals(3)) {
          expect(arrival.atMs).toBeGreaterThanOrEqual(before);
          expect(arrival.atMs).toBeLessThan(3000);
          expect(arrival.key).toBeLessThan(30);
          expect(arrival.origin).toBeLessThan(3);
          expect(arrival.user).toBeLessThan(USERS_PER_KEY_AND_ORIGIN);
          before = arrival.atMs;
        }
      }),
      { numRuns: 20 },
    );
  });

  it('of a longer run begin with those of a shorter one', () => {
    const formula = new LoadFormula(options);
    const longer = [...formula.arrivals(8)].filter(({ atMs }) => atMs < 4000);
    expect(longer).toEqual([...formula.arrivals(4)]);
  });

  it('come at the stated rate, three in ten of them commands', () => {
    const formula = new LoadFormula({ ...options, keys: 200 });
    const days = 5;
    const arrivals = [...formula.arrivals(days * options.dayS)].length;
    let expected = 0;
    for (let s = 0; s < days * options.dayS; s++) {
      for (let k = 0; k < 200; k++) for (let r = 0; r < 3; r++) expected += formula.rate(k, r, s + 0.5);
    }
    // Flash crowds add to it: at most 15 % of the rate for a tenth of a day each.
    expect(arrivals / expected).toBeGreaterThan(0.97);
    expect(arrivals / expected).toBeLessThan(1.15);
    const commands = [...formula.arrivals(100)].filter(({ command }) => command).length;
    expect(commands / arrivals).toBeCloseTo(0.3, 1);
  });

  it('follow the sun: most of a region come around 14:00 of its own time', () => {
    const formula = new LoadFormula({ ...options, ratePerSecond: 2000 });
    const byHour = Array.from({ length: 3 }, () => new Array<number>(24).fill(0));
    for (const { atMs, origin } of formula.arrivals(20)) byHour[origin]![Math.floor((atMs / 20_000) * 24)]!++;
    const busiest = byHour.map((hours) => hours.indexOf(Math.max(...hours)));
    // 14:00 in New York, Dublin and Tokyo, in hours UTC, give or take two.
    for (const [i, utc] of [19, 14, 5].entries()) expect(Math.abs(busiest[i]! - utc)).toBeLessThanOrEqual(2);
  });
});

describe('the formula', () => {
  it('has Zipf shares of keys and Dirichlet shares of origins, each summing to 1', () => {
    fc.assert(
      fc.property(seeds, fc.constantFrom(0.1, 1, 10), (seed, alpha) => {
        const formula = new LoadFormula({ ...options, seed, alpha, keys: 40 });
        expect(formula.keyShares.reduce((a, b) => a + b)).toBeCloseTo(1, 9);
        expect(formula.keyShares[0]! / formula.keyShares[9]!).toBeCloseTo(10 ** 0.9, 9);
        for (let k = 0; k < 40; k++) {
          const shares = formula.originShares.subarray(k * 3, k * 3 + 3);
          expect(shares.reduce((a, b) => a + b)).toBeCloseTo(1, 9);
        }
      }),
      { numRuns: 20 },
    );
  });

  it('sends nearly all of a key from one region when alpha is small, and equal parts when it is large', () => {
    const largest = (alpha: number) => {
      const { originShares, keys } = new LoadFormula({ ...options, alpha });
      let sum = 0;
      for (let k = 0; k < keys; k++) sum += Math.max(...originShares.subarray(k * 3, k * 3 + 3));
      return sum / keys;
    };
    expect(largest(0.1)).toBeGreaterThan(0.85);
    expect(largest(10)).toBeLessThan(0.5);
  });

  it('leaves a night floor of five hundredths of the peak', () => {
    expect(awake(14 / 24, 0)).toBeCloseTo(1, 9);
    expect(awake(2 / 24, 0)).toBeCloseTo(NIGHT_FLOOR, 9);
    expect(awake(5 / 24, 9)).toBeCloseTo(1, 9);
    const mean = Array.from({ length: 1000 }, (_, i) => awake(i / 1000, -5)).reduce((a, b) => a + b) / 1000;
    expect(mean).toBeCloseTo(AWAKE_MEAN, 6);
  });

  it('lets a flash crowd rise, stay and fall', () => {
    expect([-0.01, 0, 0.01, 0.02, 0.05, 0.1, 0.12, 1].map((d) => Number(flashProfile(d).toFixed(3)))).toEqual(
      [0, 0, 0.5, 1, 1, 0.5, 0, 0],
    );
  });

  it('refuses what makes no load', () => {
    for (const wrong of [{ ratePerSecond: 0 }, { dayS: -1 }, { alpha: 0 }]) {
      expect(() => new LoadFormula({ ...options, ...wrong })).toThrow(RangeError);
    }
  });
});

describe('a trace', () => {
  it('fills gaps on the line between their neighbours', () => {
    expect(fillGaps([null, 1, null, null, 4, null])).toEqual([1, 1, 2, 3, 4, 4]);
    expect(() => fillGaps([null, null])).toThrow(/no value/);
  });

  it('keeps its shape and gets mean 1, one real day in one day of the demo', () => {
    const v = Array.from({ length: 24 }, (_, hour) => (hour === 12 ? 48 : 12));
    const shape = traceShape({ id: 'a', step_s: 3600, t0: 0, v });
    expect(shape.at(0.5) / shape.at(0)).toBeCloseTo(4, 9);
    expect(shape.at(1.5)).toBeCloseTo(shape.at(0.5), 9);
    const mean = Array.from({ length: 2400 }, (_, i) => shape.at(i / 2400)).reduce((a, b) => a + b) / 2400;
    expect(mean).toBeCloseTo(1, 6);
    expect(shape.max).toBeCloseTo(shape.at(0.5), 9);
  });

  it('is read from JSON Lines, gzipped or not, the first series or the one asked for', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'skein-trace-'));
    try {
      const lines = ['a', 'b']
        .map((id) => JSON.stringify({ id, step_s: 300, t0: 0, v: [1, null, 3] }))
        .join('\n');
      const file = join(directory, 't.jsonl.gz');
      writeFileSync(file, gzipSync(lines));
      expect(readTrace(file).id).toBe('a');
      expect(readTrace(`${file}#b`).id).toBe('b');
      expect(() => readTrace(`${file}#c`)).toThrow(/no series c; it holds a, b/);
      writeFileSync(file, '{"id":"a"}');
      expect(() => readTrace(file)).toThrow(/without id, step_s/);
      expect(() => readTrace(join(directory, 'none'))).toThrow(/cannot read the trace/);
    } finally {
      await rm(directory, { recursive: true });
    }
  });
});
