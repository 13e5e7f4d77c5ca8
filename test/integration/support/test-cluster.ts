/**
 * A local cluster of real processes whose supervisor is a process as well, and ways to wait for what happens to it.
 * Whatever a test does, `end` leaves no process and no file behind.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { LocalClusterOptions } from '../../../src/supervisor/local-cluster.ts';
import { isRunning } from '../../../src/supervisor/process-usage.ts';
import { type RemoteCluster, startRemoteCluster } from '../../../src/supervisor/remote-cluster.ts';
import type { SupervisedProcess, SupervisorEvent } from '../../../src/supervisor/supervisor.ts';

const WAIT_MS_MAX = 30_000;

export class TestCluster {
  readonly options: LocalClusterOptions;
  readonly events: SupervisorEvent[] = [];
  #running: RemoteCluster | undefined;
  #waiting: (() => void)[] = [];

  private constructor(options: LocalClusterOptions) {
    this.options = options;
  }

  static async start(options: Omit<LocalClusterOptions, 'dataDirectory'>): Promise<TestCluster> {
    const dataDirectory = mkdtempSync(join(tmpdir(), 'skein-failures-'));
    const cluster = new TestCluster({ ...options, dataDirectory });
    try {
      await cluster.startAgain();
      return cluster;
    } catch (error) {
      rmSync(dataDirectory, { recursive: true, force: true });
      throw error;
    }
  }

  get running(): RemoteCluster {
    return this.#running!;
  }

  /** From the files of an earlier run, if any. */
  async startAgain(changed: Partial<LocalClusterOptions> = {}): Promise<void> {
    this.#running = await startRemoteCluster({
      ...this.options,
      ...changed,
      onEvent: (event) => {
        this.events.push(event);
        for (const wake of this.#waiting.splice(0)) wake();
      },
    });
  }

  /** Does something, and resolves with the first event it caused that fits. */
  async causing(
    act: () => Promise<unknown>,
    fits: (event: SupervisorEvent) => boolean,
  ): Promise<SupervisorEvent> {
    let seen = this.events.length;
    await act();
    const deadlineMs = performance.now() + WAIT_MS_MAX;
    for (;;) {
      for (; seen < this.events.length; seen++) if (fits(this.events[seen]!)) return this.events[seen]!;
      if (performance.now() > deadlineMs) {
        throw new Error(
          `did not happen in ${WAIT_MS_MAX} ms; what did: ${JSON.stringify(this.events.slice(-5))}`,
        );
      }
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 500);
        this.#waiting.push(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
  }

  /** Ends a process and resolves when it serves again. */
  killed(name: string, signal: NodeJS.Signals = 'SIGKILL'): Promise<SupervisorEvent> {
    return this.causing(
      () => this.running.kill(name, signal),
      (event) => event.type === 'serving' && event.name === name,
    );
  }

  /** Ends a process for good and resolves when it is gone. */
  ended(name: string, signal: NodeJS.Signals = 'SIGKILL'): Promise<SupervisorEvent> {
    return this.causing(
      () => this.running.kill(name, signal, { restart: false }),
      (event) => event.type === 'exited' && event.name === name,
    );
  }

  async process(name: string): Promise<SupervisedProcess> {
    return (await this.running.processes()).find((process) => process.name === name)!;
  }

  /** Kills what is left. */
  async end(): Promise<void> {
    try {
      await this.#running?.killAll();
    } finally {
      rmSync(this.options.dataDirectory, { recursive: true, force: true });
    }
  }
}

/** Resolves when none of the processes is left; rejects when one stays. */
export async function allGone(pids: readonly number[], withinMs: number): Promise<void> {
  const deadlineMs = performance.now() + withinMs;
  for (;;) {
    const left = pids.filter(isRunning);
    if (left.length === 0) return;
    if (performance.now() > deadlineMs) throw new Error(`processes ${left.join(', ')} are still there`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
