/** ONNX models: the shipped network answers the same in the native runtime, and a user's model joins or is refused. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { networkExpert } from './expert.ts';
import { nativeNetworkExpert, onnxExpert } from './onnx.ts';
import { onnxBytes } from './onnx-bytes.ts';

const example = new URL('../../../training/example/', import.meta.url);
const path = fileURLToPath(new URL('own-model.onnx', example));
const recorded = JSON.parse(readFileSync(new URL('recorded.json', example), 'utf8')) as {
  contextSteps: number;
  horizonSteps: number[];
  quantiles: number[];
  count: number;
  contexts: number[];
  features: number[];
  answers: number[];
};
const shape = {
  contextSteps: recorded.contextSteps,
  horizonSteps: recorded.horizonSteps,
  quantiles: recorded.quantiles,
};
const closing: (() => Promise<void>)[] = [];
afterAll(async () => {
  for (const close of closing) await close();
});

describe('the shipped network in the native runtime', () => {
  it('answers what the network in WebAssembly answers', async () => {
    const horizons = [1, 6, 30, 200];
    const native = await nativeNetworkExpert({ horizonSteps: horizons });
    closing.push(() => native.close());
    const own = networkExpert({ horizonSteps: horizons });
    const count = 70;
    const contexts = new Float32Array(count * own.contextSteps);
    const features = new Float32Array(count * own.featureWidth);
    for (let row = 0; row < count; row++) {
      const at = (age: number) => 10 + row + 5 * Math.sin((age + row) / 9) + ((age * 7919 + row) % 5);
      own.write({ at, length: 20 + 30 * row, stepS: 300, atS: 0, periods: [57] }, row, contexts, features);
    }
    const expected = new Float32Array(count * horizons.length * 4);
    const answered = new Float32Array(expected.length);
    own.forecast(contexts, features, count, expected);
    native.forecast(contexts, features, count, answered);
    answered.forEach((value, i) => {
      expect(value).toBeCloseTo(expected[i]!, 4);
    });
    expect(expected.every(Number.isFinite)).toBe(true);
    // A few are answered without the thread, and one of them as it is among many.
    answered.fill(0);
    native.forecast(contexts, features, 3, answered);
    expect(answered.subarray(0, 48)).toEqual(expected.subarray(0, 48));
  });
});

describe('a model of your own', () => {
  it('answers as PyTorch did, in batches larger than one call too', async () => {
    const expert = await onnxExpert({ model: path, ...shape });
    closing.push(() => expert.close());
    const times = 300;
    const many = (row: number[]) => Float32Array.from(Array.from({ length: times }, () => row).flat());
    const out = new Float32Array(times * recorded.answers.length);
    expert.forecast(many(recorded.contexts), many(recorded.features), times * recorded.count, out);
    out.forEach((value, i) => {
      expect(value).toBeCloseTo(recorded.answers[i % recorded.answers.length]!, 5);
    });
  });

  it('may be given as bytes', async () => {
    const expert = await onnxExpert({ model: readFileSync(path), name: 'mine', ...shape });
    closing.push(() => expert.close());
    expect(expert.name).toBe('mine');
    const out = new Float32Array(9);
    expert.forecast(new Float32Array(16), new Float32Array(16), 1, out);
    expect(out.every(Number.isFinite)).toBe(true);
  });

  it('is refused where it is missing, no model, or of other shapes, with what was found and what is needed', async () => {
    await expect(onnxExpert({ model: '/nonexistent/a.onnx', ...shape })).rejects.toThrow(/a\.onnx/);
    await expect(onnxExpert({ model: new Uint8Array([1, 2, 3]), ...shape })).rejects.toThrow('no model');
    await expect(onnxExpert({ model: path, ...shape, contextSteps: 17 })).rejects.toThrow(
      'contexts has the shape [count, 16]; [count, 17] is needed',
    );
    await expect(onnxExpert({ model: path, ...shape, horizonSteps: [1, 2] })).rejects.toThrow('features');
    const other = onnxBytes({
      name: 'other',
      inputs: [{ name: 'x', shape: ['count', 4] }],
      outputs: [{ name: 'y', shape: ['count', 4] }],
      tensors: [],
      nodes: [{ operator: 'Relu', inputs: ['x'], output: 'y' }],
    });
    await expect(onnxExpert({ model: other, ...shape })).rejects.toThrow('no input contexts');
  });

  it.each([
    [{ contextSteps: undefined as never }, /"contextSteps" is not a whole number above zero/],
    [{ contextSteps: -1 }, /"contextSteps"/],
    [{ horizonSteps: [] }, /"horizonSteps" is not an ascending list/],
    [{ horizonSteps: [15, 1] }, /"horizonSteps"/],
    [{ quantiles: [0.5, 2] }, /"quantiles"/],
    [{ quantiles: [0.9] }, /"quantiles" .* holds 0\.5/],
  ])('is refused with the shape %j', async (other, reason) => {
    await expect(onnxExpert({ model: path, ...shape, ...other })).rejects.toThrow(reason);
  });

  it('that fails, or answers another number of values, says so, and the session can be asked again', async () => {
    // Adds the features to the context: shapes that agree for one horizon only by chance of the data.
    const model = onnxBytes({
      name: 'broken',
      inputs: [
        { name: 'contexts', shape: ['count', 'any'] },
        { name: 'features', shape: ['count', 'other'] },
      ],
      outputs: [{ name: 'quantiles', shape: ['a', 'b', 'c'] }],
      tensors: [{ name: 'axes', shape: [1], values: BigInt64Array.of(2n) }],
      nodes: [
        { operator: 'Add', inputs: ['contexts', 'features'], output: 'sum' },
        { operator: 'Unsqueeze', inputs: ['sum', 'axes'], output: 'quantiles' },
      ],
    });
    const failing = await onnxExpert({ model, contextSteps: 5, horizonSteps: [1], quantiles: [0.5] });
    closing.push(() => failing.close());
    for (let i = 0; i < 2; i++)
      expect(() =>
        failing.forecast(new Float32Array(5), new Float32Array(12), 1, new Float32Array(1)),
      ).toThrow('the ONNX model failed');
    const wide = await onnxExpert({ model, contextSteps: 12, horizonSteps: [1], quantiles: [0.5] });
    closing.push(() => wide.close());
    expect(() => wide.forecast(new Float32Array(12), new Float32Array(12), 1, new Float32Array(1))).toThrow(
      'answered 12 numbers where 1 were expected',
    );
    await wide.close();
    expect(() => wide.forecast(new Float32Array(12), new Float32Array(12), 1, new Float32Array(1))).toThrow(
      'closed',
    );
  });
});
