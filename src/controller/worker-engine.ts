/**
 * The loop's engine in a worker thread, as a {@link LoopEngine}: the controller's event loop stays free for leases,
 * repairs and migrations while the worker thinks.
 *
 * A worker that dies takes its calls with it (they reject, and the tick says so) and is started again; it then begins
 * with what was saved last, at most half a minute old, and is told all assignments anew.
 */
import { Worker } from 'node:worker_threads';
import type { Log } from '../io/io.ts';
import type { ProcessId, ShardId } from '../model/ids.ts';
import type { ForecastQuery } from './forecast-view.ts';
import type {
  EngineConfig,
  EngineDecision,
  ForecastView,
  LoopEngine,
  RepairTargets,
  ShardInsight,
  TickInput,
} from './loop-engine.ts';
import type { WorkerCall, WorkerData, WorkerReply } from './worker-protocol.ts';

const FILE = new URL(import.meta.url.endsWith('.ts') ? './worker.ts' : './worker.js', import.meta.url);
/** Calls waiting for the worker; a controller makes one at a time, and the API a few. */
const CALLS_MAX = 64;
/** A worker that ends so often without one answer in between is not started again. */
const FAILURES_MAX = 3;

/** Resolves when the worker is ready; rejects where it cannot start (such as a missing oracle). */
export async function startWorkerEngine(config: EngineConfig, log: Log): Promise<WorkerEngine> {
  const engine = new WorkerEngine(config, log);
  await engine.ready();
  return engine;
}

export class WorkerEngine implements LoopEngine {
  readonly #config: EngineConfig;
  readonly #log: Log;
  readonly #calls = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>();
  #worker: Worker;
  #ready: Promise<void>;
  #nextId = 1;
  #failures = 0;
  #closed = false;
  /** For a worker that had to be started again. */
  #saved: Uint8Array | undefined;
  #fresh = false;

  constructor(config: EngineConfig, log: Log) {
    this.#log = log;
    // Only what the engine needs, since all of it is copied to the thread.
    const { policy, topology, stepMs, seed, leadS, movesPerPlan, learnS, halfLifeS } = config;
    const { oracleFile, network, modelFile, copiesGiveWay } = config;
    this.#config = {
      ...{ policy, topology, stepMs, seed, leadS, movesPerPlan, learnS, halfLifeS },
      ...{ oracleFile, network, modelFile, copiesGiveWay },
    };
    [this.#worker, this.#ready] = this.#start();
  }

  ready(): Promise<void> {
    return this.#ready;
  }

  tick(input: TickInput): Promise<EngineDecision> {
    // A worker started anew knows no assignment: until it is told all of them, it must not plan from a part.
    if (this.#fresh && !input.assignments.reset)
      return Promise.reject(new Error('the worker was started again and waits for all assignments'));
    this.#fresh = false;
    return this.#call({ method: 'tick', input }) as Promise<EngineDecision>;
  }

  /** True once after a restart: the caller then tells every assignment with the next tick. */
  get needsEverything(): boolean {
    return this.#fresh;
  }

  insight(shard: ShardId): Promise<ShardInsight | undefined> {
    return this.#call({ method: 'insight', shard }) as Promise<ShardInsight | undefined>;
  }

  forecast(shard: ShardId | undefined, query: ForecastQuery = {}): Promise<ForecastView | undefined> {
    return this.#call({ method: 'forecast', shard, query }) as Promise<ForecastView | undefined>;
  }

  repair(dead: ProcessId): Promise<RepairTargets | undefined> {
    return this.#call({ method: 'repair', dead }) as Promise<RepairTargets | undefined>;
  }

  async save(): Promise<Uint8Array> {
    const bytes = (await this.#call({ method: 'save' })) as Uint8Array;
    this.#saved = bytes;
    return bytes;
  }

  load(bytes: Uint8Array): Promise<boolean> {
    this.#saved = bytes;
    return this.#call({ method: 'load', bytes }) as Promise<boolean>;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#reject(new Error('the engine is closed'));
    await this.#worker.terminate();
  }

  #call(call: WorkerCall): Promise<unknown> {
    if (this.#closed) return Promise.reject(new Error('the engine is closed'));
    if (this.#calls.size >= CALLS_MAX)
      return Promise.reject(new Error(`${CALLS_MAX} calls wait for the worker already; try again shortly`));
    return new Promise((resolve, reject) => {
      const id = this.#nextId++;
      this.#calls.set(id, { resolve, reject });
      this.#worker.postMessage({ ...call, id });
    });
  }

  #start(): [Worker, Promise<void>] {
    const worker = new Worker(FILE, {
      workerData: { skeinEngine: true, config: this.#config } satisfies WorkerData,
      // Inherited flags would preload what is meant for the main thread; an app's oracle may import the package.
      execArgv: FILE.pathname.endsWith('.ts') ? ['--conditions=skein-source'] : [],
    });
    const ready = new Promise<void>((resolve, reject) => {
      worker.on('message', (reply: WorkerReply) => {
        if ('ready' in reply) resolve();
        else this.#settle(reply);
      });
      worker.on('error', (error: Error) => {
        this.#log.error({ error: error.stack }, "the loop's worker failed");
        reject(error);
      });
      worker.on('exit', () => {
        if (this.#worker !== worker || this.#closed) return;
        this.#reject(new Error("the loop's worker ended; it is started again"));
        this.#again();
      });
    });
    ready.catch(() => {});
    return [worker, ready];
  }

  #again(): void {
    if (++this.#failures > FAILURES_MAX) {
      this.#closed = true;
      this.#log.error(
        {},
        'the worker failed too often; this controller decides nothing until it is started again',
      );
      return;
    }
    [this.#worker, this.#ready] = this.#start();
    this.#fresh = true;
    const saved = this.#saved;
    if (saved) this.#call({ method: 'load', bytes: saved }).catch(() => {});
  }

  #settle(reply: Exclude<WorkerReply, { ready: true }>): void {
    const call = this.#calls.get(reply.id);
    if (!call) return;
    this.#calls.delete(reply.id);
    if ('error' in reply) call.reject(new Error(reply.error));
    else {
      this.#failures = 0;
      call.resolve(reply.value);
    }
  }

  #reject(error: Error): void {
    for (const call of this.#calls.values()) call.reject(error);
    this.#calls.clear();
  }
}
