/**
 * The trained weights as they are shipped: half-precision numbers, base64, with the shape of every tensor, in a JSON
 * file that travels with the sources. Written by `training/train.py`.
 *
 * Invariant: a file of another format, layout or size is refused with what is wrong; never half read.
 */
import { CONTEXT_FEATURES, HEADS, HORIZON_FEATURES } from './layout.ts';

const FORMAT = 'skein-network-1';

/** As in the file. */
export interface WeightsFile {
  format: string;
  shapes: Record<string, number[]>;
  /** Little-endian half-precision numbers, tensor after tensor in the order of `shapes`, base64. */
  half: string;
}

/** Matrices are `inputs x outputs`, row-major. */
export interface NetworkWeights {
  hidden: number;
  decoder: number;
  last: number;
  encode1: { weight: Float32Array; bias: Float32Array };
  encode2: { weight: Float32Array; bias: Float32Array };
  join: { weight: Float32Array; bias: Float32Array };
  horizon: { weight: Float32Array };
  decode: { weight: Float32Array; bias: Float32Array };
  heads: { weight: Float32Array; bias: Float32Array };
}

/** Reads a weights file. Throws where it is not one that this version understands. */
export function readWeights(file: WeightsFile): NetworkWeights {
  if (file.format !== FORMAT)
    throw new Error(`weights of format ${JSON.stringify(file.format)}; this version reads ${FORMAT}`);
  const bytes = Buffer.from(file.half, 'base64');
  const tensors = new Map<string, { shape: number[]; values: Float32Array }>();
  let at = 0;
  for (const [name, shape] of Object.entries(file.shapes)) {
    const count = shape.reduce((product, size) => product * size, 1);
    if (at + 2 * count > bytes.length)
      throw new Error(`the weights end within ${name}: ${bytes.length} bytes, ${at + 2 * count} needed`);
    const values = new Float32Array(count);
    for (let i = 0; i < count; i++) values[i] = fromHalf(bytes.readUInt16LE(at + 2 * i));
    at += 2 * count;
    tensors.set(name, { shape, values });
  }
  if (at !== bytes.length) throw new Error(`${bytes.length - at} bytes follow the last of the weights`);
  const matrix = (name: string, inputs?: number, outputs?: number) => {
    const tensor = tensors.get(`${name}.weight`);
    const [rows, columns] = tensor?.shape ?? [];
    if (tensor === undefined || rows !== (inputs ?? rows) || columns !== (outputs ?? columns))
      throw new Error(`weights ${name} are ${rows} x ${columns}; ${inputs} x ${outputs} are needed`);
    return tensor;
  };
  const layer = (name: string, inputs?: number, outputs?: number) => {
    const { shape, values } = matrix(name, inputs, outputs);
    const bias = tensors.get(`${name}.bias`);
    if (bias === undefined || bias.values.length !== shape[1])
      throw new Error(`the bias of ${name} does not fit its weights`);
    return { weight: values, bias: bias.values };
  };
  const hidden = matrix('encode1').shape[1]!;
  const decoder = matrix('join').shape[1]!;
  const last = matrix('decode').shape[1]!;
  return {
    hidden,
    decoder,
    last,
    encode1: layer('encode1', CONTEXT_FEATURES, hidden),
    encode2: layer('encode2', hidden, hidden),
    join: layer('join', hidden, decoder),
    horizon: { weight: matrix('horizon', HORIZON_FEATURES, decoder).values },
    decode: layer('decode', decoder, last),
    heads: layer('heads', last, HEADS),
  };
}

/** IEEE 754 half precision. */
function fromHalf(bits: number): number {
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  const sign = (bits & 0x8000) !== 0 ? -1 : 1;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction !== 0 ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
