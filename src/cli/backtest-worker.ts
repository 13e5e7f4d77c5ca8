/** A thread of {@link PartPool}: runs parts of seeds, one at a time, in the order they came. */
import { parentPort, workerData } from 'node:worker_threads';
import { SeedRun } from '../backtest/index.ts';
import type { PartAsked, PartReply, PoolData } from './backtest-threads.ts';

const { scenario, model, series } = workerData as PoolData;
const port = parentPort!;
/** Parts told of between two words of progress, milliseconds. */
const PROGRESS_MS = 200;

/** The load of the seed that was asked for last: parts come seed by seed as a rule. */
let run: SeedRun | undefined;

port.on('message', ({ id, seed, part }: PartAsked) => {
  if (run?.seed !== seed) run = new SeedRun(scenario, model, seed, series);
  const steps = run.run(part);
  let toldMs = performance.now();
  let next = steps.next();
  for (; !next.done; next = steps.next()) {
    if (performance.now() - toldMs < PROGRESS_MS) continue;
    toldMs = performance.now();
    port.postMessage({ id, share: next.value } satisfies PartReply);
  }
  port.postMessage({ id, runs: next.value } satisfies PartReply);
});
