/** The worker thread of a controller: runs a {@link LocalEngine}, one call at a time, in the order they came. */
import { parentPort, workerData } from 'node:worker_threads';
import { realClock } from '../io/real.ts';
import { loadExperts } from './expert-modules.ts';
import { LocalEngine } from './local-engine.ts';
import { loadOracle } from './oracle-module.ts';
import type { WorkerData, WorkerReply, WorkerRequest } from './worker-protocol.ts';

const { config } = workerData as WorkerData;
const port = parentPort!;
const oracle = config.oracleFile === undefined ? undefined : await loadOracle(config.oracleFile);
const experts = config.policy === 'predictive' ? await loadExperts(config) : [];
const engine = new LocalEngine({ config, oracle, experts, monotonicMs: () => realClock.monotonicMs() });

function run(request: WorkerRequest): Promise<unknown> {
  if (request.method === 'tick') return engine.tick(request.input);
  if (request.method === 'insight') return engine.insight(request.shard);
  if (request.method === 'forecast') return engine.forecast(request.shard, request.query);
  if (request.method === 'repair') return engine.repair(request.dead);
  if (request.method === 'save') return engine.save();
  return engine.load(request.bytes);
}

// The engine computes synchronously, so calls cannot overlap.
port.on('message', (request: WorkerRequest) => {
  run(request).then(
    (value) => port.postMessage({ id: request.id, value } satisfies WorkerReply),
    (error) =>
      port.postMessage({
        id: request.id,
        error: error instanceof Error ? (error.stack ?? error.message) : String(error),
      } satisfies WorkerReply),
  );
});
port.postMessage({ id: 0, ready: true } satisfies WorkerReply);
