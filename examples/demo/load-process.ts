/** Runs `load-generator.ts` as a process of its own and hands on what it reports. */
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { LoadDone, LoadMessage, LoadOrder, LoadReport } from './load-generator.ts';

export interface LoadRun {
  /** Rejects when the process ends before its load does. */
  readonly done: Promise<LoadDone>;
  /** Resolves with the wall clock of the first arrival's time zero. */
  readonly started: Promise<number>;
  /** Ends the load at once; `done` then rejects. */
  stop(): Promise<void>;
}

export function startLoad(order: LoadOrder, onReport: (report: LoadReport) => void): LoadRun {
  const child = fork(fileURLToPath(new URL('./load-generator.ts', import.meta.url)), {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    execArgv: ['--disable-warning=ExperimentalWarning'],
    // A process group of its own: Ctrl-C must not end the load before the screen says so.
    detached: true,
  });
  let finished: LoadDone | undefined;
  let onStarted: (atMs: number) => void = () => {};
  const started = new Promise<number>((resolve) => {
    onStarted = resolve;
  });
  const exited = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('exit', (code, signal) => resolve(signal ? `ended by ${signal}` : `exit status ${code}`));
  });
  child.on('message', (message: LoadMessage) => {
    if (message.type === 'report') onReport(message);
    else if (message.type === 'started') onStarted(message.startedAtMs);
    else finished = message;
  });
  child.send(order);
  const done = exited.then((reason) => {
    if (finished) return finished;
    throw new Error(`the load generator ended early: ${reason}`);
  });
  done.catch(() => {});
  return {
    done,
    started,
    async stop() {
      child.kill('SIGKILL');
      await exited;
    },
  };
}
