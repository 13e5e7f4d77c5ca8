/**
 * The shipped network as an ONNX file, made from its weights: what a native runtime executes, without a second copy of
 * the weights in the package. Also a small writer of the ONNX format (protocol buffers), enough for dense networks.
 *
 * Inputs `context` [count, CONTEXT_FEATURES] and `horizon` [count, horizons, HORIZON_FEATURES]; output `heads`
 * [count, horizons, HEADS], from which `writeAnswers` makes quantiles.
 */
import { CONTEXT_FEATURES, HEADS, HORIZON_FEATURES } from './layout.ts';
import type { NetworkWeights } from './weights.ts';

/** ONNX file format and operator set, both of 2021: every runtime in use reads them. */
const IR_VERSION = 7;
const OPERATOR_SET = 13;
const FLOAT = 1;
const INT64 = 7;
const ATTRIBUTE_INT = 2;

type Bytes = Uint8Array[];
const text = new TextEncoder();

function varint(value: number): Uint8Array {
  const bytes: number[] = [];
  let rest = value;
  while (rest >= 0x80) {
    bytes.push((rest % 0x80) | 0x80);
    rest = Math.floor(rest / 0x80);
  }
  bytes.push(rest);
  return Uint8Array.from(bytes);
}

const number = (field: number, value: number): Bytes => [varint(field * 8), varint(value)];
function bytes(field: number, content: Bytes | string): Bytes {
  const parts = typeof content === 'string' ? [text.encode(content)] : content;
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  return [varint(field * 8 + 2), varint(length), ...parts];
}

function joined(parts: Bytes): Uint8Array {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** A tensor of 32-bit floats that is part of the model. */
export interface OnnxTensor {
  name: string;
  shape: readonly number[];
  values: Float32Array | BigInt64Array;
}

export interface OnnxNode {
  operator: string;
  inputs: readonly string[];
  output: string;
  /** Whole numbers only. */
  attributes?: Record<string, number>;
}

/** Inputs and outputs: a size that may vary is a name. */
export interface OnnxValue {
  name: string;
  shape: readonly (number | string)[];
}

export interface OnnxGraph {
  name: string;
  inputs: readonly OnnxValue[];
  outputs: readonly OnnxValue[];
  tensors: readonly OnnxTensor[];
  nodes: readonly OnnxNode[];
}

/** Encodes a graph as an ONNX file. */
export function onnxBytes(graph: OnnxGraph): Uint8Array {
  const tensor = ({ name, shape, values }: OnnxTensor): Bytes => [
    ...shape.flatMap((size) => number(1, size)),
    ...number(2, values instanceof Float32Array ? FLOAT : INT64),
    ...bytes(8, name),
    ...bytes(9, [new Uint8Array(values.buffer, values.byteOffset, values.byteLength)]),
  ];
  const node = ({ operator, inputs, output, attributes = {} }: OnnxNode): Bytes => [
    ...inputs.flatMap((name) => bytes(1, name)),
    ...bytes(2, output),
    ...bytes(3, output),
    ...bytes(4, operator),
    ...Object.entries(attributes).flatMap(([name, value]) =>
      bytes(5, [...bytes(1, name), ...number(3, value), ...number(20, ATTRIBUTE_INT)]),
    ),
  ];
  const value = ({ name, shape }: OnnxValue): Bytes => {
    const sizes = shape.flatMap((size) =>
      bytes(1, typeof size === 'number' ? number(1, size) : bytes(2, size)),
    );
    return [...bytes(1, name), ...bytes(2, bytes(1, [...number(1, FLOAT), ...bytes(2, sizes)]))];
  };
  const body: Bytes = [
    ...graph.nodes.flatMap((one) => bytes(1, node(one))),
    ...bytes(2, graph.name),
    ...graph.tensors.flatMap((one) => bytes(5, tensor(one))),
    ...graph.inputs.flatMap((one) => bytes(11, value(one))),
    ...graph.outputs.flatMap((one) => bytes(12, value(one))),
  ];
  return joined([
    ...number(1, IR_VERSION),
    ...bytes(2, 'skein'),
    ...bytes(7, body),
    ...bytes(8, [...bytes(1, ''), ...number(2, OPERATOR_SET)]),
  ]);
}

/** The network up to its heads. */
export function networkOnnxBytes(weights: NetworkWeights): Uint8Array {
  const { hidden, decoder, last } = weights;
  const tensors: OnnxTensor[] = [];
  const nodes: OnnxNode[] = [];
  const add = (name: string, shape: readonly number[], values: Float32Array | BigInt64Array) => {
    tensors.push({ name, shape, values });
    return name;
  };
  const layer = (name: keyof NetworkWeights & string, input: string, inputs: number, outputs: number) => {
    const { weight, bias } = weights[name] as { weight: Float32Array; bias?: Float32Array };
    const product = `${name}-product`;
    nodes.push({
      operator: 'MatMul',
      inputs: [input, add(`${name}.weight`, [inputs, outputs], weight)],
      output: product,
    });
    if (bias === undefined) return product;
    nodes.push({ operator: 'Add', inputs: [product, add(`${name}.bias`, [outputs], bias)], output: name });
    return name;
  };
  const one = (operator: string, inputs: readonly string[], output: string) => {
    nodes.push({ operator, inputs, output });
    return output;
  };
  const first = one('Relu', [layer('encode1', 'context', CONTEXT_FEATURES, hidden)], 'encoded-1');
  const second = one('Relu', [layer('encode2', first, hidden, hidden)], 'encoded-2');
  const shared = layer('join', one('Add', [first, second], 'encoded'), hidden, decoder);
  const axes = add('axes', [1], BigInt64Array.of(1n));
  const wide = one('Unsqueeze', [shared, axes], 'shared');
  const own = layer('horizon', 'horizon', HORIZON_FEATURES, decoder);
  const joinedUp = one('Relu', [one('Add', [wide, own], 'joined')], 'decoded-1');
  const decoded = one('Relu', [layer('decode', joinedUp, decoder, last)], 'decoded-2');
  layer('heads', decoded, last, HEADS);
  return onnxBytes({
    name: 'skein-network',
    inputs: [
      { name: 'context', shape: ['count', CONTEXT_FEATURES] },
      { name: 'horizon', shape: ['count', 'horizons', HORIZON_FEATURES] },
    ],
    outputs: [{ name: 'heads', shape: ['count', 'horizons', HEADS] }],
    tensors,
    nodes,
  });
}
