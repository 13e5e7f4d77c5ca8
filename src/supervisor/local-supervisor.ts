/**
 * A {@link Supervisor} whose processes are its children on this machine.
 *
 *   start -> starting --ready line--> serving --exit--> waiting --delay--> starting ...
 *                 \--exit or time-out--> rejected (first start) or waiting (restart)
 *
 * Invariants: every start has a process id of its own (OWNERSHIP rule 1); each exit is told to `onExit` before the
 * next start; a child is the leader of its own process group, so that Ctrl-C in a terminal reaches only the
 * supervisor's side, which then stops the children in order; a child ends when this process ends, however it does
 * (`parent-watch.ts`).
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, fstatSync, mkdirSync, openSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { fileURLToPath } from 'node:url';
import type { Clock, Log, Random } from '../io/io.ts';
import { randomId } from '../io/io.ts';
import type { ProcessId } from '../model/ids.ts';
import { Backoff } from './backoff.ts';
import type { PipeReport } from './parent-watch.ts';
import { processUsage } from './process-usage.ts';
import {
  type ProcessSpec,
  type ReadyLine,
  STOP_ORDER,
  type SupervisedProcess,
  type Supervisor,
  type SupervisorEvent,
} from './supervisor.ts';

export const READY_TIMEOUT_MS_DEFAULT = 30_000;
export const STOP_TIMEOUT_MS_DEFAULT = 10_000;
/**
 * A child whose event loop stood still for this long is killed: nothing else would end a handler that loops. Not a
 * store: it stands still while its disk does not answer, and a start would only come on top of that.
 */
export const BLOCKED_MS_MAX = 3_000;
const USAGE_EVERY_MS = 1_000;
const LOG_TAIL_BYTES = 2_000;
const OUTPUT_LINE_BYTES_MAX = 64 * 1024;

const thisFile = fileURLToPath(import.meta.url);
const PARENT_WATCH = new URL(
  thisFile.endsWith('.ts') ? './parent-watch.ts' : './parent-watch.js',
  import.meta.url,
).href;

export interface LocalSupervisorOptions {
  clock: Clock;
  random: Random;
  log: Log;
  /** The script every child runs, and flags of Node before it. */
  entry: string;
  nodeFlags?: string[];
  logDirectory: string;
  /** Added to each child's environment, such as the cluster's token. */
  environment?: Record<string, string>;
  /** Called at once when a process ended, asked or not; the supervisor revokes its lease here. */
  onExit?: (exited: { spec: ProcessSpec; processId: ProcessId }) => Promise<void>;
  blockedMsMax?: number;
}

interface Child {
  spec: ProcessSpec;
  backoff: Backoff;
  processId: ProcessId;
  process?: ChildProcess;
  state: SupervisedProcess['state'];
  ready?: ReadyLine;
  servingSinceMs?: number;
  starts: number;
  cpuSecondsOfEarlierStarts: number;
  bytesOfEarlierStarts: number;
  bytesBetweenRegions: number;
  cpuSeconds: number;
  rssBytes: number;
  logFile: string;
  stayDown: boolean;
  cancelRestart?: () => void;
  exited: Promise<void>;
}

export class LocalSupervisor implements Supervisor {
  readonly #options: LocalSupervisorOptions;
  readonly #children = new Map<string, Child>();
  readonly #listeners = new Set<(event: SupervisorEvent) => void>();
  #stopping = false;
  #cancelUsage: () => void = () => {};

  constructor(options: LocalSupervisorOptions) {
    this.#options = options;
    mkdirSync(options.logDirectory, { recursive: true });
    this.#watchUsage();
  }

  start(spec: ProcessSpec): Promise<ReadyLine> {
    if (this.#stopping) return Promise.reject(new Error('the supervisor is stopping'));
    if (this.#children.has(spec.name)) {
      return Promise.reject(new Error(`there is already a process named ${spec.name}`));
    }
    const child: Child = {
      spec,
      backoff: new Backoff(),
      processId: '',
      state: 'starting',
      starts: 0,
      cpuSecondsOfEarlierStarts: 0,
      bytesOfEarlierStarts: 0,
      bytesBetweenRegions: 0,
      cpuSeconds: 0,
      rssBytes: 0,
      logFile: join(this.#options.logDirectory, `${spec.name}.log`),
      stayDown: false,
      exited: Promise.resolve(),
    };
    this.#children.set(spec.name, child);
    return this.#launch(child);
  }

  processes(): SupervisedProcess[] {
    return [...this.#children.values()].map((child) => ({
      role: child.spec.role,
      name: child.spec.name,
      processId: child.processId,
      pid: child.process?.pid,
      state: child.state,
      address: child.ready?.address,
      httpAddress: child.ready?.httpAddress,
      restarts: Math.max(0, child.starts - 1),
      cpuSeconds: child.cpuSecondsOfEarlierStarts + child.cpuSeconds,
      rssBytes: child.process ? child.rssBytes : 0,
      bytesBetweenRegions: child.bytesOfEarlierStarts + child.bytesBetweenRegions,
      logFile: child.logFile,
    }));
  }

  kill(name: string, signal: NodeJS.Signals, options: { restart?: boolean } = {}): void {
    const child = this.#child(name);
    if (options.restart === false) child.stayDown = true;
    child.process?.kill(signal);
  }

  async restart(name: string): Promise<ReadyLine> {
    const child = this.#child(name);
    await child.exited;
    child.stayDown = false;
    child.cancelRestart?.();
    return this.#launch(child);
  }

  onEvent(listener: (event: SupervisorEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async stop(): Promise<void> {
    this.#beginStop();
    for (const role of STOP_ORDER) {
      await Promise.all(
        [...this.#children.values()].filter(({ spec }) => spec.role === role).map((c) => this.#end(c)),
      );
    }
    this.#cancelUsage();
  }

  async killAll(): Promise<void> {
    this.#beginStop();
    for (const child of this.#children.values()) child.process?.kill('SIGKILL');
    await Promise.all([...this.#children.values()].map((child) => child.exited));
    this.#cancelUsage();
  }

  #beginStop(): void {
    this.#stopping = true;
    for (const child of this.#children.values()) child.cancelRestart?.();
  }

  #child(name: string): Child {
    const child = this.#children.get(name);
    if (!child) {
      throw new Error(`no process is named ${name}; there are ${[...this.#children.keys()].join(', ')}`);
    }
    return child;
  }

  async #end(child: Child): Promise<void> {
    if (!child.process) return;
    child.process.kill('SIGTERM');
    const timeoutMs = child.spec.stopTimeoutMs ?? STOP_TIMEOUT_MS_DEFAULT;
    const cancel = this.#options.clock.setTimer(timeoutMs, () => {
      this.#options.log.warn({ name: child.spec.name, timeoutMs }, 'does not end after SIGTERM: killed');
      child.process?.kill('SIGKILL');
    });
    await child.exited;
    cancel();
  }

  #launch(child: Child): Promise<ReadyLine> {
    const { clock, random, entry, nodeFlags = [], environment } = this.#options;
    const { spec } = child;
    const processId = `${spec.name}.${randomId(random)}`;
    child.processId = processId;
    child.state = 'starting';
    child.starts++;
    child.ready = undefined;
    child.servingSinceMs = undefined;
    child.cpuSecondsOfEarlierStarts += child.cpuSeconds;
    child.cpuSeconds = 0;
    child.bytesOfEarlierStarts += child.bytesBetweenRegions;
    child.bytesBetweenRegions = 0;
    const logDescriptor = openSync(child.logFile, 'a');
    const process_ = spawn(
      process.execPath,
      [...nodeFlags, `--import=${PARENT_WATCH}`, entry, ...spec.arguments(processId)],
      {
        detached: true,
        stdio: ['ignore', 'pipe', logDescriptor, 'pipe'],
        env: { ...process.env, ...environment, ...spec.environment, SKEIN_SUPERVISED: '1' },
      },
    );
    child.process = process_;
    this.#watchPipe(child, process_);

    return new Promise<ReadyLine>((resolve, reject) => {
      const timeoutMs = spec.readyTimeoutMs ?? READY_TIMEOUT_MS_DEFAULT;
      let failure: string | undefined;
      const cancelTimeout = clock.setTimer(timeoutMs, () => {
        failure = `did not say that it serves within ${timeoutMs} ms`;
        process_.kill('SIGKILL');
      });
      this.#readOutput(process_, logDescriptor, (ready) => {
        cancelTimeout();
        child.ready = ready;
        child.state = 'serving';
        child.servingSinceMs = clock.monotonicMs();
        this.#emit({
          type: 'serving',
          role: spec.role,
          name: spec.name,
          processId,
          restarts: child.starts - 1,
        });
        resolve(ready);
      });
      child.exited = new Promise((done) => {
        let ended = false;
        const onEnd = (reason: string) => {
          if (ended) return;
          ended = true;
          cancelTimeout();
          child.process = undefined;
          const why = failure ?? reason;
          const logTail = tailOf(child.logFile);
          const wasServing = child.servingSinceMs !== undefined;
          void this.#ended(child, why, logTail);
          if (!wasServing) {
            reject(
              new Error(
                `${spec.role} ${spec.name} ${why}. The end of ${child.logFile}:\n${logTail || '(nothing)'}`,
              ),
            );
          }
          done();
        };
        process_.once('error', (error) => onEnd(`could not be started: ${error.message}`));
        // After its last output, which may come later than its exit.
        process_.once('close', () => closeSync(logDescriptor));
        process_.once('exit', (code, signal) =>
          onEnd(signal ? `was ended by ${signal}` : `exited with status ${code}`),
        );
      });
    });
  }

  /** The exit of one start: its lease goes at once, then the next start is due. */
  async #ended(child: Child, reason: string, logTail: string): Promise<void> {
    const { spec, processId } = child;
    const { clock, log, onExit } = this.#options;
    const first = child.starts === 1 && child.servingSinceMs === undefined;
    const servedMs = child.servingSinceMs === undefined ? 0 : clock.monotonicMs() - child.servingSinceMs;
    child.state = 'stopped';
    // A store that is being stopped with everyone else leaves nobody to ask.
    if (!this.#stopping)
      this.#emit({ type: 'exited', role: spec.role, name: spec.name, processId, reason, logTail });
    const restart = !this.#stopping && !child.stayDown && !first;
    if (restart) {
      child.state = 'waiting';
      const delayMs = child.backoff.nextDelayMs(servedMs);
      child.cancelRestart = clock.setTimer(delayMs, () => {
        child.cancelRestart = undefined;
        if (this.#stopping || child.stayDown) return;
        this.#launch(child).catch((error: Error) => {
          this.#emit({
            type: 'restart-failed',
            role: spec.role,
            name: spec.name,
            reason: error.message,
          });
        });
      });
    }
    if (this.#stopping || !onExit) return;
    try {
      await onExit({ spec, processId });
    } catch (error) {
      // The lease then runs out by itself: slower, not wrong.
      log.warn({ processId, error: String(error) }, 'could not revoke the lease of a process that exited');
    }
  }

  /** Lines of standard output: the first ready line counts, all go to the log file. */
  #readOutput(process_: ChildProcess, logDescriptor: number, onReady: (ready: ReadyLine) => void): void {
    let pending = '';
    let seen = false;
    process_.stdout?.setEncoding('utf8');
    process_.stdout?.on('data', (chunk: string) => {
      writeSync(logDescriptor, chunk);
      if (seen) return;
      pending += chunk;
      const lines = pending.split('\n');
      pending = (lines.pop() ?? '').slice(-OUTPUT_LINE_BYTES_MAX);
      for (const line of lines) {
        const ready = parseReadyLine(line);
        if (!ready || seen) continue;
        seen = true;
        onReady(ready);
      }
    });
  }

  /** The child's watch thread says when the event loop stands still, and what was sent to other regions. */
  #watchPipe(child: Child, process_: ChildProcess): void {
    const pipe = process_.stdio[3] as Duplex;
    const processId = child.processId;
    const maxMs = this.#options.blockedMsMax ?? BLOCKED_MS_MAX;
    pipe.on('error', () => {});
    pipe.on('data', (chunk: Buffer) => {
      const report = parsePipeReport(chunk.toString('utf8').trim().split('\n').at(-1) ?? '');
      if (!report || child.processId !== processId) return;
      child.bytesBetweenRegions = report.bytesBetweenRegions;
      const { blockedMs } = report;
      if (blockedMs < maxMs || child.state !== 'serving' || child.spec.role === 'store') return;
      this.#emit({ type: 'blocked', role: child.spec.role, name: child.spec.name, processId, blockedMs });
      process_.kill('SIGKILL');
    });
  }

  #watchUsage(): void {
    this.#cancelUsage = this.#options.clock.setTimer(USAGE_EVERY_MS, () => {
      this.readUsage();
      this.#watchUsage();
    });
  }

  /** Reads CPU and memory of all children now; it also happens once a second. */
  readUsage(): void {
    for (const child of this.#children.values()) {
      const usage = child.process?.pid === undefined ? undefined : processUsage(child.process.pid);
      if (!usage) continue;
      child.cpuSeconds = usage.cpuSeconds;
      child.rssBytes = usage.rssBytes;
    }
  }

  #emit(event: SupervisorEvent): void {
    for (const listener of this.#listeners) listener(event);
  }
}

export function parseReadyLine(line: string): ReadyLine | undefined {
  if (!line.startsWith('{')) return undefined;
  try {
    const parsed = JSON.parse(line) as Partial<ReadyLine>;
    return parsed.ready === true ? (parsed as ReadyLine) : undefined;
  } catch {
    return undefined;
  }
}

function parsePipeReport(line: string): PipeReport | undefined {
  try {
    return JSON.parse(line) as PipeReport;
  } catch {
    return undefined;
  }
}

function tailOf(file: string): string {
  try {
    const descriptor = openSync(file, 'r');
    try {
      const bytes = Buffer.alloc(LOG_TAIL_BYTES);
      const position = Math.max(0, fstatSync(descriptor).size - LOG_TAIL_BYTES);
      return bytes.toString('utf8', 0, readSync(descriptor, bytes, 0, LOG_TAIL_BYTES, position)).trim();
    } finally {
      closeSync(descriptor);
    }
  } catch {
    return '';
  }
}
