/** Maxima of a batch expert beside the row's own: believed where they were right, never worse than silence. */
import { describe, expect, it } from 'vitest';
import { Voices } from './bank/voices.ts';
import type { BatchExpert } from './batch-expert.ts';
import { answersMaxima, BatchMaxima, type MaximaExpert } from './batch-maxima.ts';

const values = Float64Array.from({ length: 400 }, (_, t) => 10 + ((t * 7919) % 90));

/** Says a share of the true maximum as all three quantiles. */
function knowing(share: number): MaximaExpert {
  const made = (horizonSteps: readonly number[]): MaximaExpert => ({
    name: 'knowing',
    contextSteps: 1,
    featureWidth: 1,
    horizonSteps,
    quantiles: [0.5],
    write({ length }, row, contexts) {
      contexts[row] = length;
      return 1;
    },
    forecast: () => {},
    forecastMax(contexts, _features, count, out) {
      for (let row = 0; row < count; row++)
        horizonSteps.forEach((ahead, h) => {
          const most = Math.max(...values.subarray(contexts[row]!, contexts[row]! + ahead));
          out.fill(
            Math.asinh(share * most),
            (row * horizonSteps.length + h) * 3,
            (row * horizonSteps.length + h + 1) * 3,
          );
        });
    },
    withHorizons: made,
  });
  return made([1]);
}

const windows = [20, 5];
const own = () => Float64Array.of(40, 60, 80);

function learnt(expert: MaximaExpert): BatchMaxima {
  const maxima = new BatchMaxima(expert, { values, stepS: 60, t0: 0 }, windows);
  const origins = [20, 60, 100, 140, 180, 220, 260];
  maxima.ask(origins, undefined);
  for (const origin of origins) for (const w of windows.keys()) maxima.keep(origin, w, own());
  maxima.settle(300);
  maxima.ask([300], undefined);
  return maxima;
}

describe('maxima from outside', () => {
  it('have a say before they were held against anything, and the window that was asked for', () => {
    const maxima = new BatchMaxima(knowing(1), { values, stepS: 60, t0: 0 }, windows);
    maxima.ask([300], undefined);
    for (const [w, window] of windows.entries()) {
      const most = Math.max(...values.subarray(300, 300 + window));
      const mixed = own();
      maxima.mix(300, w, mixed);
      expect(mixed[1]).toBeGreaterThan(Math.min(60, most));
      expect(mixed[1]).toBeLessThan(Math.max(60, most));
    }
  });

  it('are believed where they were right, and not where they were wrong', () => {
    const most = Math.max(...values.subarray(300, 320));
    const right = own();
    learnt(knowing(1)).mix(300, 0, right);
    expect(Math.abs(right[1]! - most)).toBeLessThan(0.1 * Math.abs(60 - most));
    const wrong = own();
    learnt(knowing(50)).mix(300, 0, wrong);
    expect(wrong[0]! - 40).toBeLessThan(10);
    expect(wrong[2]).toBeLessThan(4 * 80);
  });

  it('that are not finite, or of an origin that was not asked, change nothing; quantiles ascend', () => {
    const mute = own();
    learnt(knowing(Number.NaN)).mix(300, 0, mute);
    expect(mute).toEqual(own());
    const unasked = own();
    learnt(knowing(1)).mix(299, 0, unasked);
    expect(unasked).toEqual(own());
    const mixed = own();
    learnt(knowing(0.1)).mix(300, 1, mixed);
    expect([...mixed]).toEqual([...mixed].sort((a, b) => a - b));
  });

  it('are heard where they are mixed, and only there', () => {
    const voices = new Voices(2);
    const heard = (expert: MaximaExpert) => {
      voices.clear();
      voices.hear(40, 1);
      const maxima = new BatchMaxima(expert, { values, stepS: 60, t0: 0 }, windows);
      maxima.ask([300], undefined);
      maxima.mix(300, 0, own(), voices);
      return voices.deviation();
    };
    const most = Math.max(...values.subarray(300, 320));
    expect(heard(knowing(40 / most))).toBeCloseTo(0, 4);
    expect(heard(knowing(1))).toBeGreaterThan((most - 40) / 4);
    expect(heard(knowing(Number.NaN))).toBe(0);
  });

  it('are asked only of an expert that has them for any window', () => {
    const plain: BatchExpert = { ...knowing(1), forecastMax: undefined };
    expect(answersMaxima(plain)).toBe(false);
    expect(answersMaxima(knowing(1))).toBe(true);
  });
});
