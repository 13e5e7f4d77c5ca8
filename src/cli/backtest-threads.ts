/**
 * An experiment's parts on worker threads: seeds, policies and, of those whose forecasts cost little, headrooms beside each other.
 *
 * What comes of it does not depend on how many threads there are, nor on who is done first: parts know nothing of each other
 * and are put together in their own order. A thread that fails fails the experiment.
 */
import { Worker } from 'node:worker_threads';
import {
  type ClusterModel,
  type Part,
  type PartResult,
  type Progress,
  partText,
  type Report,
  type RunResult,
  reportOf,
  type Scenario,
  type SeedReport,
  SeedRun,
  type Series,
} from '../backtest/index.ts';

const FILE = new URL(
  import.meta.url.endsWith('.ts') ? './backtest-worker.ts' : './backtest-worker.js',
  import.meta.url,
);

/** What every thread is given at its start. */
export interface PoolData {
  scenario: Scenario;
  model: ClusterModel;
  series: readonly Series[] | undefined;
}

export interface PartAsked {
  id: number;
  seed: string;
  part: Part;
}

export type PartReply = { id: number } & ({ share: number } | { runs: RunResult[] });

interface Job extends PartAsked {
  resolve: (runs: RunResult[]) => void;
  reject: (error: Error) => void;
  work: number;
  share: number;
}

export class PartPool {
  readonly #threads: { worker: Worker; job?: Job }[];
  readonly #waiting: Job[] = [];
  readonly #progress: (progress: Progress) => void;
  readonly #workAll: number;
  #workDone = 0;
  #nextId = 1;
  #failed: Error | undefined;

  /** @param workAll of all parts that will be asked for (`SeedRun.work`): what progress is measured in */
  constructor(
    data: PoolData,
    threads: number,
    workAll: number,
    progress: (progress: Progress) => void = () => {},
  ) {
    this.#workAll = workAll;
    this.#progress = progress;
    this.#threads = Array.from({ length: threads }, () => {
      const worker = new Worker(FILE, {
        workerData: data,
        // Inherited flags would preload what is meant for the main thread.
        execArgv: FILE.pathname.endsWith('.ts') ? ['--conditions=skein-source'] : [],
      });
      const thread: { worker: Worker; job?: Job } = { worker };
      worker.on('message', (reply: PartReply) => this.#heard(thread, reply));
      worker.on('error', (error: Error) => this.#fail(error));
      return thread;
    });
  }

  /** All parts of a seed; several seeds may be asked for at once. */
  async seed(run: SeedRun): Promise<SeedReport> {
    // The longest goes first: its forecaster's learning cannot be cut in pieces. Only `reactive` waits for the tuning.
    const ask = (part: Part) => this.#part(run, part);
    const parts = run.scored(0);
    const first = parts.filter(({ policy }) => policy === 'predictive').map(ask);
    const tuning = run.tuning().map(ask);
    const rest = parts.filter(({ policy }) => policy !== 'predictive' && policy !== 'reactive').map(ask);
    const reactive = Promise.all(tuning).then(async (tuned) => {
      const scored = run.scored(run.tunedHalfLifeS(tuned)).filter(({ policy }) => policy === 'reactive');
      return { tuned, results: await Promise.all(scored.map(ask)) };
    });
    const [{ tuned, results: last }, ...others] = await Promise.all([reactive, ...first, ...rest]);
    return run.report(tuned, [...last, ...others]);
  }

  async close(): Promise<void> {
    await Promise.all(this.#threads.map(({ worker }) => worker.terminate()));
  }

  /**
   * A part, in as many pieces as keep the threads busy: what a forecaster sees and says is worked out once a piece, and that of
   * `predictive` learns for all of its headrooms.
   */
  async #part(run: SeedRun, part: Part): Promise<PartResult> {
    const count = part.policy === 'predictive' ? 1 : Math.ceil(this.#threads.length / 2);
    const size = Math.ceil(part.headrooms.length / count);
    const pieces: Part[] = [];
    for (let from = 0; from < part.headrooms.length; from += size)
      pieces.push({ ...part, headrooms: part.headrooms.slice(from, from + size) });
    const runs = await Promise.all(
      pieces.map((piece) => this.#run(run, piece, run.workOf(part) / pieces.length)),
    );
    return { part, runs: runs.flat() };
  }

  #run({ seed }: SeedRun, part: Part, work: number): Promise<RunResult[]> {
    if (this.#failed !== undefined) return Promise.reject(this.#failed);
    return new Promise((resolve, reject) => {
      this.#waiting.push({ id: this.#nextId++, seed, part, resolve, reject, work, share: 0 });
      this.#pump();
    });
  }

  #pump(): void {
    for (const thread of this.#threads) {
      if (thread.job !== undefined) continue;
      const job = this.#waiting.shift();
      if (job === undefined) return;
      thread.job = job;
      const { id, seed, part } = job;
      thread.worker.postMessage({ id, seed, part } satisfies PartAsked);
    }
  }

  #heard(thread: { job?: Job }, reply: PartReply): void {
    const job = thread.job!;
    if ('share' in reply) job.share = reply.share;
    else {
      this.#workDone += job.work;
      delete thread.job;
      job.resolve(reply.runs);
      this.#pump();
    }
    let done = this.#workDone;
    for (const one of this.#threads) if (one.job !== undefined) done += one.job.work * one.job.share;
    this.#progress({ share: done / this.#workAll, text: `seed ${job.seed}, ${partText(job.part)}` });
  }

  #fail(error: Error): void {
    this.#failed = error;
    for (const { job } of this.#threads) job?.reject(error);
    for (const job of this.#waiting.splice(0)) job.reject(error);
  }
}

/** As `experiment`, on threads. */
export async function experimentOnThreads(
  data: PoolData,
  threads: number,
  progress: (progress: Progress) => void,
): Promise<Report> {
  const { scenario, model, series } = data;
  const runs = Array.from(
    { length: scenario.seeds },
    (_, k) => new SeedRun(scenario, model, String(k + 1), series),
  );
  const work = runs.reduce((sum, run) => sum + run.work, 0);
  const pool = new PartPool(data, threads, work, progress);
  try {
    const reports = await Promise.all(runs.map((run) => pool.seed(run)));
    return reportOf(scenario, model, reports, series);
  } finally {
    await pool.close();
  }
}
