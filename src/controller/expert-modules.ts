/**
 * The forecasters that the engine asks beside its own experts: the trained network unless it is left out, and an ONNX
 * model of the user's own, described by `<file>.json` as for `skein forecast run --model`.
 */
import { basename, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type BatchExpert, networkExpert } from '../forecast/index.ts';

/** @throws {Error} naming the model, where it or its description cannot be read */
export async function loadExperts(options: {
  network?: boolean;
  modelFile?: string;
}): Promise<BatchExpert[]> {
  const experts: BatchExpert[] = options.network === false ? [] : [networkExpert()];
  const { modelFile } = options;
  if (modelFile === undefined) return experts;
  try {
    const { onnxExpert } = await import('../forecast/network/onnx.ts');
    const file = pathToFileURL(resolve(`${modelFile}.json`)).href;
    const { default: described } = (await import(file, { with: { type: 'json' } })) as {
      default: { contextSteps: number; horizonSteps: number[]; quantiles: number[] };
    };
    experts.push(await onnxExpert({ ...described, model: modelFile, name: basename(modelFile) }));
  } catch (error) {
    throw new Error(
      `the model ${modelFile} cannot be used: ${(error as Error).message}; ${modelFile}.json holds {"contextSteps", "horizonSteps", "quantiles"}, and onnxruntime-node must be installed`,
      { cause: error },
    );
  }
  return experts;
}
