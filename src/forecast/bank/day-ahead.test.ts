/** A day ahead in short steps: far beyond the 200 steps at which weights are learnt. */
import { describe, expect, it } from 'vitest';
import { SeriesStream } from '../stream.ts';

const DAY_S = 86_400;

/** A load with a daily profile that is no sine, a fifth of noise, and days that differ by a tenth. */
function load(stepS: number, days: number): Float64Array {
  let seed = 11;
  const random = () => {
    seed = (seed * 16_807) % 2_147_483_647;
    return seed / 2_147_483_647;
  };
  const perDay = DAY_S / stepS;
  const level = Array.from({ length: days }, () => 0.95 + 0.1 * random());
  return Float64Array.from({ length: days * perDay }, (_, i) => {
    const hour = (24 * (i % perDay)) / perDay;
    const wave = 20 + 80 * Math.exp(-(((hour - 14) / 3) ** 2)) + 40 * Math.exp(-(((hour - 20) / 1.5) ** 2));
    return level[Math.floor(i / perDay)]! * wave * (0.8 + 0.4 * random());
  });
}

// 10 s pass as well, in seven times the time.
describe.each([60])('steps of %i s, a day ahead', (stepS) => {
  it('keep the daily profile, with bands that hold', () => {
    const perDay = DAY_S / stepS;
    const values = load(stepS, 4);
    const stream = new SeriesStream({ stepS });
    for (let i = 0; i < 3 * perDay; i++) stream.observe(values[i]!);
    const horizons = Float64Array.from({ length: 96 }, (_, i) => ((i + 1) * perDay) / 96);
    const out = new Float64Array(3 * horizons.length);
    stream.forecast(horizons, out);
    const last = values[3 * perDay - 1]!;
    let off = 0;
    let offLast = 0;
    let below90 = 0;
    let above = 0;
    horizons.forEach((ahead, h) => {
      const truth = values[3 * perDay - 1 + ahead]!;
      off += Math.abs(out[3 * h]! - truth);
      offLast += Math.abs(last - truth);
      if (truth <= out[3 * h + 1]!) below90++;
      above += (out[3 * h + 2]! - out[3 * h]!) / truth;
    });
    expect(off).toBeLessThan(0.45 * offLast);
    expect(below90 / horizons.length).toBeGreaterThan(0.75);
    expect(above / horizons.length).toBeLessThan(3);
  }, 30_000);
});
