/** The network: the same function as was trained, in every runtime, and never an absurd answer. */
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { BatchWindowInput } from '../batch-expert.ts';
import { DenseWorkspace, plainProduct } from './dense.ts';
import { type NetworkExpert, networkExpert } from './expert.ts';
import {
  ANSWERS,
  CANDIDATES,
  CONTEXT_FEATURES,
  CONTEXT_WIDTH,
  HORIZON_FEATURES,
  HORIZON_WIDTH,
} from './layout.ts';
import { QuantileNetwork } from './network.ts';
import { readWeights, type WeightsFile } from './weights.ts';

const file = JSON.parse(readFileSync(new URL('weights.json', import.meta.url), 'utf8')) as WeightsFile;
const weights = readWeights(file);

interface Recorded {
  count: number;
  horizons: number;
  context: number[];
  horizon: number[];
  answers: number[];
}

/** Rows as the writer lays them out, from what PyTorch was given. */
function rowsOf({ count, horizons, context, horizon }: Recorded) {
  const contexts = new Float32Array(count * CONTEXT_WIDTH);
  const features = new Float32Array(count * horizons * HORIZON_WIDTH);
  for (let row = 0; row < count; row++)
    contexts.set(context.slice(row * CONTEXT_FEATURES, (row + 1) * CONTEXT_FEATURES), row * CONTEXT_WIDTH);
  for (let row = 0; row < count * horizons; row++) {
    const own = horizon.slice(row * HORIZON_FEATURES, (row + 1) * HORIZON_FEATURES);
    features.set(own, row * HORIZON_WIDTH);
    features.set(own.slice(0, CANDIDATES).map(Math.sinh), row * HORIZON_WIDTH + HORIZON_FEATURES);
  }
  return { contexts, features };
}

function asked(
  expert: NetworkExpert,
  series: readonly (readonly number[])[],
  input: Partial<BatchWindowInput> = {},
) {
  const count = series.length;
  const horizons = expert.horizonSteps.length;
  const contexts = new Float32Array(count * expert.contextSteps);
  const features = new Float32Array(count * expert.featureWidth);
  const levels = series.map((values, row) => {
    const at = (age: number) => values[values.length - 1 - age] ?? Number.NaN;
    return expert.write({ at, length: values.length, stepS: 300, atS: 0, ...input }, row, contexts, features);
  });
  const out = new Float32Array(count * horizons * 4);
  expert.forecast(contexts, features, count, out);
  return series.map((_, row) =>
    Array.from({ length: horizons }, (_, h) =>
      [...out.subarray((row * horizons + h) * 4, (row * horizons + h) * 4 + 4)].map(
        (u) => levels[row]! * Math.sinh(u),
      ),
    ),
  );
}

describe('the product', () => {
  it('in WebAssembly is bit for bit its plain twin', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 9 }),
        fc.integer({ min: 1, max: 21 }),
        fc.integer({ min: 1, max: 75 }),
        fc.boolean(),
        fc.infiniteStream(fc.double({ min: -3, max: 3, noNaN: true })),
        (rows, depth, columns, positive, numbers) => {
          const space = new DenseWorkspace(8192, 'wasm');
          const matrix = Float32Array.from({ length: depth * columns }, () => numbers.next().value!);
          const packed = space.pack(matrix, depth, columns);
          const input = space.rows(rows, packed.depth);
          const output = space.rows(rows, packed.columns);
          for (let row = 0; row < rows; row++) {
            for (let i = 0; i < depth; i++)
              space.values[input.at + row * input.width + i] = numbers.next().value!;
            for (let i = 0; i < columns; i++)
              space.values[output.at + row * output.width + i] = numbers.next().value!;
          }
          const twin = space.values.slice();
          space.multiply(input, packed, output, rows, positive);
          plainProduct(
            twin,
            input.at,
            packed.at,
            output.at,
            rows,
            packed.depth,
            packed.columns / 8,
            positive ? 1 : 0,
          );
          expect([...space.values]).toEqual([...twin]);
        },
      ),
      { numRuns: 40 },
    );
  });
});

describe('the network', () => {
  it('is under a megabyte and within 90,000 to 200,000 weights', () => {
    const size = readFileSync(new URL('weights.json', import.meta.url)).length;
    expect(size).toBeLessThan(1_000_000);
    const count = Object.values(file.shapes).reduce(
      (sum, shape) => sum + shape.reduce((a, b) => a * b, 1),
      0,
    );
    expect(count).toBeGreaterThan(90_000);
    expect(count).toBeLessThan(200_000);
  });

  it.each(['wasm', 'plain'] as const)('answers as PyTorch did on recorded rows (%s)', (runtime) => {
    const recorded = JSON.parse(readFileSync(new URL('recorded.json', import.meta.url), 'utf8')) as Recorded;
    const { contexts, features } = rowsOf(recorded);
    const out = new Float32Array(recorded.count * recorded.horizons * ANSWERS);
    new QuantileNetwork(weights, runtime).answer(contexts, features, recorded.count, recorded.horizons, out);
    out.forEach((answer, i) => {
      const expected = recorded.answers[i]!;
      expect(Math.abs(answer - expected) / (1 + Math.abs(expected))).toBeLessThan(1e-4);
    });
  });

  it('answers a series the same alone and in a batch, and a horizon the same among any others', () => {
    const series = Array.from({ length: 37 }, (_, i) =>
      Array.from({ length: 3 + 11 * i }, (_, t) => 5 + ((i * 31 + t * 17) % 23)),
    );
    const horizons = [1, 2, 3, 5, 8, 13, 21, 34, 55, 89];
    const expert = networkExpert({ horizonSteps: horizons });
    const together = asked(expert, series);
    const five = expert.withHorizons([5, 55]);
    series.forEach((values, i) => {
      expect(asked(expert, [values])[0]).toEqual(together[i]);
      expect(asked(five, [values])[0]).toEqual([together[i]![3], together[i]![8]]);
    });
  });

  it('never crosses quantiles, goes below zero or explodes, whatever the series holds', () => {
    const expert = networkExpert({ horizonSteps: [1, 12, 500, 5000] });
    const value = fc.oneof(
      fc.double({ min: 0, max: 1e5, noNaN: true }),
      fc.constantFrom(0, 1, 1e9, 1e-9, Number.NaN),
    );
    fc.assert(
      fc.property(fc.array(value, { minLength: 1, maxLength: 60 }), (values) => {
        const known = values.filter(Number.isFinite);
        const [rows] = asked(expert, [values]);
        for (const quantiles of rows!) {
          if (known.length === 0) {
            expect(quantiles.every(Number.isNaN)).toBe(true);
            continue;
          }
          const most = Math.max(...known);
          quantiles.forEach((quantile, q) => {
            expect(quantile).toBeGreaterThanOrEqual(q === 0 ? -1e-6 * most : quantiles[q - 1]!);
            expect(quantile).toBeLessThanOrEqual(1000 * most);
          });
        }
      }),
      { numRuns: 300 },
    );
  });

  it('sees a season: tomorrow looks like the days before, not like tonight', () => {
    const day = 288;
    const load = (t: number) => 100 + 80 * Math.sin((2 * Math.PI * t) / day);
    const values = Array.from({ length: 6 * day }, (_, t) => load(t) * (1 + 0.02 * Math.sin(t * 12.9898)));
    const horizons = [72, 144, 216];
    const [rows] = asked(networkExpert({ horizonSteps: horizons }), [values]);
    horizons.forEach((ahead, h) => {
      const truth = load(6 * day - 1 + ahead);
      expect(Math.abs(rows![h]![1]! - truth)).toBeLessThan(12);
    });
  });

  it('says more for the largest value up to a horizon than for the value at it', () => {
    const expert = networkExpert({ horizonSteps: [1, 60] });
    const values = Array.from({ length: 400 }, (_, t) => 20 + ((t * 7919) % 17));
    const contexts = new Float32Array(expert.contextSteps);
    const features = new Float32Array(expert.featureWidth);
    const at = (age: number) => values[values.length - 1 - age] ?? Number.NaN;
    const level = expert.write({ at, length: values.length, stepS: 60, atS: 0 }, 0, contexts, features);
    const out = new Float32Array(2 * 3);
    const single = new Float32Array(2 * 4);
    expert.forecastMax(contexts, features, 1, out);
    expert.forecast(contexts, features, 1, single);
    const p50 = level * Math.sinh(out[3]!);
    expect(p50).toBeGreaterThan(level * Math.sinh(single[5]!) + 3);
    expect(p50).toBeGreaterThan(31);
    expect(p50).toBeLessThan(42);
  });
});

describe('a file of weights', () => {
  it('of another format, cut short, too long, or of other shapes is refused with what is wrong', () => {
    expect(() => readWeights({ ...file, format: 'skein-network-0' })).toThrow('skein-network-1');
    expect(() => readWeights({ ...file, half: file.half.slice(0, 4000) })).toThrow('the weights end within');
    expect(() => readWeights({ ...file, half: `${file.half.replace(/=+$/, '')}AAAA` })).toThrow(
      'follow the last',
    );
    const shapes = { ...file.shapes, 'encode1.weight': [10, file.shapes['encode1.weight']![1]!] };
    expect(() => readWeights({ ...file, shapes })).toThrow();
  });

  it('steps ahead that do not ascend are refused', () => {
    for (const horizonSteps of [[], [0], [2, 2], [5, 3], [Number.NaN]])
      expect(() => networkExpert({ horizonSteps })).toThrow(/ahead/);
  });
});
