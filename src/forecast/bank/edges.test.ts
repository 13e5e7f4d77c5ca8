/** Loads with sharp edges: what begins at the same minute every day is foreseen before it begins, and noise is no edge. */
import { describe, expect, it } from 'vitest';
import { SeriesBank } from './bank.ts';
import { bankLayout, F, type Row } from './layout.ts';
import { overCycles, pushValue } from './rings.ts';

const DAY = 288;
const WIDTH = DAY / 64;

function draws(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 16_807) % 2_147_483_647;
    return state / 2_147_483_647;
  };
}

function rowOf(values: ArrayLike<number>): Row {
  const layout = bankLayout({
    ...{ stepS: 300, slots: 1, windows: [], externals: 0, outside: 0, regression: false },
    history: { values: [2048], steps: [1] },
  });
  const bytes = new Uint8Array(layout.bytes);
  const row: Row = {
    layout,
    ...{ floats: new Float32Array(layout.floats), f: 0, codes: new Uint16Array(layout.codes), c: 0 },
    ...{ bytes, words: new Int32Array(bytes.buffer), b: 0 },
  };
  for (let i = 0; i < values.length; i++) {
    row.floats[F.length]! += 1;
    pushValue(row, values[i]!);
  }
  return row;
}

/** One a step: 1, and 5 for four steps from step 100 of each day; a tenth of noise. */
function withJob(days: number, jobFrom = (_day: number) => 100): Float64Array {
  const random = draws(7);
  return Float64Array.from({ length: days * DAY }, (_, i) => {
    const from = jobFrom(Math.floor(i / DAY));
    const busy = i % DAY >= from && i % DAY < from + 4;
    return (busy ? 5 : 1) * (0.9 + 0.2 * random());
  });
}

describe('a profile over cycles', () => {
  it('keeps a job that comes at the same step every day, and what is quiet beside it', () => {
    const row = rowOf(withJob(6));
    const at = (step: number) => overCycles(row, DAY, DAY - 1 - step, WIDTH);
    expect(at(100)).toBeGreaterThan(4.5);
    expect(at(103)).toBeGreaterThan(4.5);
    expect(at(99)).toBeLessThan(1.3);
    expect(at(104)).toBeLessThan(1.3);
  });

  it('smooths one that comes at another step each day', () => {
    const row = rowOf(withJob(6, (day) => 100 + 7 * (day % 3)));
    const found = Array.from({ length: 40 }, (_, i) => overCycles(row, DAY, DAY - 1 - (90 + i), WIDTH));
    expect(Math.max(...found)).toBeLessThan(3.5);
  });

  it('takes noise for no edge: it is as near to the truth as the smoothed mean, to a few percent', () => {
    const random = draws(3);
    const row = rowOf(Float64Array.from({ length: 6 * DAY }, () => 0.5 + random()));
    let own = 0;
    let sharp = 0;
    for (let step = 0; step < DAY; step++) {
      own += Math.abs(overCycles(row, DAY, DAY - 1 - step, WIDTH) - 1);
      sharp += Math.abs(overCycles(row, DAY, DAY - 1 - step, 0) - 1);
    }
    expect(own / DAY).toBeLessThan(0.09);
    expect(own).toBeLessThan(0.8 * sharp);
  });

  it('of one cycle is that cycle smoothed', () => {
    const row = rowOf(withJob(1));
    expect(overCycles(row, DAY, DAY - 1 - 100, WIDTH)).toBeLessThan(4);
  });
});

describe('a row', () => {
  it('foresees a daily job in full before it begins, and its end before it ends', () => {
    const bank = new SeriesBank({ stepS: 300, history: { values: [2048], steps: [1] } });
    const row = bank.add();
    const values = withJob(7);
    const said = new Float64Array(3);
    let before = 0;
    let after = 0;
    values.forEach((value, i) => {
      bank.observe(row, value);
      if (i < 6 * DAY) return;
      bank.forecast(row, [3], said);
      if (i % DAY === 98) before = said[0]!;
      if (i % DAY === 102) after = said[0]!;
    });
    expect(before).toBeGreaterThan(3.5);
    expect(after).toBeLessThan(2);
  });

  it('foresees what comes every hour, whatever the period it was told', () => {
    const bank = new SeriesBank({ stepS: 300, history: { values: [2048], steps: [1] } });
    const row = bank.add();
    const random = draws(5);
    const said = new Float64Array(3);
    let off = 0;
    let last = 0;
    let counted = 0;
    let before = 0;
    for (let i = 0; i < 3 * DAY; i++) {
      const value = (i % 12 === 0 ? 4 : 1) * (0.9 + 0.2 * random());
      if (i > 2 * DAY && i % 12 === 0) {
        off += Math.abs(value - said[0]!);
        last += Math.abs(value - before);
        counted++;
      }
      bank.observe(row, value);
      bank.forecast(row, [1], said);
      before = value;
    }
    expect(counted).toBeGreaterThan(20);
    expect(off).toBeLessThan(0.4 * last);
  });
});
