/**
 * The thread that holds an ONNX session: opens the model, then answers what the channel asks, one call at a time.
 *
 * It sleeps between calls without an event loop, so it can be ended at any time and keeps no process alive.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { ASKED, Channel, type ChannelMemory, CLOSING, DONE, FAILED, STATE } from './onnx-channel.ts';

export interface OnnxThreadData {
  skeinOnnx: true;
  memory: ChannelMemory;
  model: string | Uint8Array;
  inputs: readonly string[];
  output: string;
  threads: number;
}

/** Sizes may be names. */
export interface OnnxShape {
  name: string;
  shape: readonly (number | string)[];
}

export type OnnxThreadReady =
  | { ready: true; inputs: OnnxShape[]; outputs: OnnxShape[] }
  | { ready: false; missing: boolean; error: string };

async function serve(data: OnnxThreadData, say: (message: OnnxThreadReady) => void): Promise<void> {
  const channel = new Channel(data.memory);
  const { control } = channel;
  let ort: typeof import('onnxruntime-node');
  try {
    ort = await import('onnxruntime-node');
  } catch (error) {
    say({ ready: false, missing: true, error: String(error) });
    return;
  }
  // What goes wrong is told to the caller; the runtime's own log would say it twice.
  const options = { intraOpNumThreads: data.threads, interOpNumThreads: 1, logSeverityLevel: 4 as const };
  let session: import('onnxruntime-node').InferenceSession;
  try {
    session =
      typeof data.model === 'string'
        ? await ort.InferenceSession.create(data.model, options)
        : await ort.InferenceSession.create(data.model, options);
  } catch (error) {
    say({ ready: false, missing: false, error: error instanceof Error ? error.message : String(error) });
    return;
  }
  const shapes = (values: typeof session.inputMetadata): OnnxShape[] =>
    values.map((one) => ({ name: one.name, shape: one.isTensor ? one.shape : [] }));
  say({ ready: true, inputs: shapes(session.inputMetadata), outputs: shapes(session.outputMetadata) });
  for (;;) {
    while (Atomics.load(control, STATE) !== ASKED) {
      const state = Atomics.load(control, STATE);
      if (state === CLOSING) {
        await session.release();
        return;
      }
      Atomics.wait(control, STATE, state);
    }
    let state = DONE;
    try {
      const feeds: Record<string, InstanceType<typeof ort.Tensor>> = {};
      channel.readFeeds().forEach(({ values, shape }, i) => {
        feeds[data.inputs[i]!] = new ort.Tensor('float32', values, shape);
      });
      const answer = (await session.run(feeds, [data.output]))[data.output]!;
      if (!(answer.data instanceof Float32Array))
        throw new Error(`the output ${data.output} is of type ${answer.type}; float32 is expected`);
      channel.writeOutput(answer.data);
    } catch (error) {
      channel.writeError(error instanceof Error ? error.message : String(error));
      state = FAILED;
    }
    // A close meanwhile stays a close.
    if (Atomics.compareExchange(control, STATE, ASKED, state) === ASKED) Atomics.notify(control, STATE);
  }
}

const data = workerData as OnnxThreadData | null;
if (parentPort !== null && data?.skeinOnnx === true) {
  const port = parentPort;
  void serve(data, (message) => port.postMessage(message));
}
