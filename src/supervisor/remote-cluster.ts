/** A local cluster whose supervisor is a process of its own: the same interface, and a way to kill everything. */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { ClusterFacts, ClusterMessage, ClusterRequest } from './cluster-process.ts';
import type { LocalCluster, LocalClusterOptions } from './local-cluster.ts';
import { isRunning } from './process-usage.ts';
import type { SupervisedProcess } from './supervisor.ts';

const SOURCE = import.meta.url.endsWith('.ts');
const ENTRY = fileURLToPath(
  new URL(SOURCE ? './cluster-process.ts' : './cluster-process.js', import.meta.url),
);

export interface RemoteCluster extends LocalCluster {
  /** The supervisor's. */
  readonly pid: number;
  /**
   * SIGKILL to the supervisor and to every process of the cluster, in one turn: nobody gets to say goodbye. Resolves
   * with the pids when all are gone.
   */
  killEverything(): Promise<number[]>;
}

type Omitting<T> = T extends unknown ? Omit<T, 'id'> : never;

/** Starts a supervisor process and, through it, a cluster. */
export async function startRemoteCluster(options: LocalClusterOptions): Promise<RemoteCluster> {
  const { onEvent, ...plain } = options;
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', ENTRY], {
    // The pipe at 3 ends with this process, however it ends; a process group of its own keeps Ctrl-C away.
    stdio: ['ignore', 'inherit', 'inherit', 'pipe', 'ipc'],
    detached: true,
    env: { ...process.env, SKEIN_SUPERVISED: '1' },
  });
  child.stdio[3]?.on('error', () => {});
  const waiting = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>();
  let nextId = 1;
  let end = '';
  const exited = new Promise<void>((resolve) => {
    const over = (reason: string) => {
      end ||= reason;
      for (const { reject } of waiting.values()) reject(new Error(`the supervisor ended: ${end}`));
      waiting.clear();
      resolve();
    };
    child.once('error', (error) => over(error.message));
    child.once('exit', (code, signal) => over(signal ?? `status ${code}`));
  });
  child.on('message', (message: ClusterMessage) => {
    if ('event' in message) {
      onEvent?.(message.event);
      return;
    }
    const waiter = waiting.get(message.id);
    waiting.delete(message.id);
    if ('error' in message) waiter?.reject(new Error(message.error));
    else waiter?.resolve(message.result);
  });

  function ask<Result>(request: Omitting<ClusterRequest>): Promise<Result> {
    return new Promise<Result>((resolve, reject) => {
      if (end !== '') {
        reject(new Error(`the supervisor ended: ${end}`));
        return;
      }
      const id = nextId++;
      waiting.set(id, { resolve: resolve as (value: unknown) => void, reject });
      child.send({ ...request, id });
    });
  }

  let facts: ClusterFacts;
  try {
    facts = await ask<ClusterFacts>({ method: 'start', options: plain });
  } catch (error) {
    child.kill('SIGKILL');
    await exited;
    throw error;
  }

  const finish = async (method: 'stop' | 'killAll') => {
    if (end !== '') return;
    await ask<void>({ method });
    child.kill('SIGTERM');
    await exited;
  };
  return {
    ...facts,
    pid: child.pid!,
    processes: () => ask<SupervisedProcess[]>({ method: 'processes' }),
    kill: (name, signal = 'SIGKILL', { restart = true } = {}) =>
      ask<void>({ method: 'kill', name, signal, restart }),
    restart: (name) => ask<void>({ method: 'restart', name }),
    stop: () => finish('stop'),
    killAll: () => finish('killAll'),
    async killEverything() {
      const processes = await ask<SupervisedProcess[]>({ method: 'processes' });
      const pids = [child.pid!, ...processes.flatMap(({ pid }) => (pid === undefined ? [] : [pid]))];
      for (const pid of pids) killQuietly(pid);
      await exited;
      // The others are not our children: they are gone when signals no longer reach them.
      while (pids.some(isRunning)) await new Promise((resolve) => setTimeout(resolve, 10));
      return pids;
    },
  };
}

function killQuietly(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // Gone already.
  }
}
