/**
 * What starts, watches and restarts the processes of a cluster, whatever runs them: child processes of `skein dev`
 * here, a container platform elsewhere.
 *
 * A supervisor gives every start a process id of its own (OWNERSHIP rule 1), restarts what exits unasked, and hands
 * the exit of a process on at once, so that its lease need not run out.
 */
import type { ProcessId } from '../model/ids.ts';

export type Role = 'store' | 'controller' | 'node' | 'gateway';

/** What a process prints as one JSON line on its standard output when it serves. */
export interface ReadyLine {
  ready: true;
  role: string;
  address?: string;
  httpAddress?: string;
  processId?: string;
}

/** How to run one process; the same for every start of it. */
export interface ProcessSpec {
  role: Role;
  /** Unique in the cluster, the same after a restart: `us-east-1-n1`. */
  name: string;
  /** Arguments after the entry script; the process id differs at each start. */
  arguments: (processId: ProcessId) => string[];
  environment?: Record<string, string>;
  readyTimeoutMs?: number;
  /** From SIGTERM to SIGKILL. */
  stopTimeoutMs?: number;
}

export interface SupervisedProcess {
  role: Role;
  name: string;
  processId: ProcessId;
  /** Absent while it is between two starts. */
  pid?: number;
  state: 'starting' | 'serving' | 'waiting' | 'stopped';
  address?: string;
  httpAddress?: string;
  /** Starts after the first. */
  restarts: number;
  /** Of all starts together, core-seconds. */
  cpuSeconds: number;
  /** Of the running start. */
  rssBytes: number;
  /** Sent to processes of other regions by all starts together, where round trips are emulated. */
  bytesBetweenRegions: number;
  /** Where its output goes. */
  logFile: string;
}

export type SupervisorEvent =
  | { type: 'serving'; role: Role; name: string; processId: ProcessId; restarts: number }
  | { type: 'exited'; role: Role; name: string; processId: ProcessId; reason: string; logTail: string }
  | { type: 'blocked'; role: Role; name: string; processId: ProcessId; blockedMs: number }
  | { type: 'restart-failed'; role: Role; name: string; reason: string };

export interface Supervisor {
  /** Resolves when the process serves. Rejects, with the end of its output, when it exits or takes too long. */
  start(spec: ProcessSpec): Promise<ReadyLine>;
  processes(): SupervisedProcess[];
  /** Sends a signal to the running start; it is restarted after it exits unless `restart` is false. */
  kill(name: string, signal: NodeJS.Signals, options?: { restart?: boolean }): void;
  /** Starts a process again that was told to stay down. */
  restart(name: string): Promise<ReadyLine>;
  onEvent(listener: (event: SupervisorEvent) => void): () => void;
  /** Stops all, role after role; what does not end in time is killed. Resolves when no process is left. */
  stop(): Promise<void>;
  /** SIGKILL to all at once. */
  killAll(): Promise<void>;
}

/** Gateways stop taking requests first, stores end last: everyone else writes to them until then. */
export const STOP_ORDER: readonly Role[] = ['gateway', 'node', 'controller', 'store'];
