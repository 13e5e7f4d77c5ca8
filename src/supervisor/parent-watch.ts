/**
 * Preloaded into every child of a supervisor (`--import`): ends the child when its parent is gone, however the parent
 * ended, and tells the parent when the child's event loop is blocked and what it sent to other regions.
 *
 * A thread of its own holds the pipe to the parent, because the main thread may be the one that hangs. The end of the
 * pipe is the end of the parent: the child then kills itself with SIGKILL. That is abrupt but certain, and losing a
 * process loses no acknowledged write. Without SKEIN_SUPERVISED=1 nothing happens.
 *
 *   child, main thread --beats and bytes, in shared memory--> child, watch thread --PipeReport--> supervisor
 *                                                                                <--end of pipe-- (parent died)
 */
import { Socket } from 'node:net';
import { isMainThread, Worker, workerData } from 'node:worker_threads';
import { bytesBetweenRegions } from '../io/emulated-network.ts';

/** The descriptor both sides agreed on. */
export const PARENT_PIPE_DESCRIPTOR = 3;
const BEAT_MS = 250;

const REPORT_EVERY_BEATS = 2;

/** One line of JSON on the pipe. */
export interface PipeReport {
  /** How long the main thread has stood still; 0 where it does not. */
  blockedMs: number;
  bytesBetweenRegions: number;
}

interface WatchData {
  skeinParentWatch: true;
  /** An Int32 that counts beats; behind it, at 8, a Float64 of bytes. */
  shared: SharedArrayBuffer;
}

let watching = false;

/** Ends this process when its parent ends. Called twice, it does nothing the second time. */
export function exitWithParent(): void {
  if (watching || !isMainThread || process.env.SKEIN_SUPERVISED !== '1') return;
  watching = true;
  const shared = new SharedArrayBuffer(16);
  const counter = new Int32Array(shared, 0, 1);
  const bytes = new Float64Array(shared, 8, 1);
  // Inherited flags would preload this file into the watch thread as well.
  const worker = new Worker(new URL(import.meta.url), {
    execArgv: [],
    workerData: { skeinParentWatch: true, shared } satisfies WatchData,
  });
  worker.unref();
  setInterval(() => {
    bytes[0] = bytesBetweenRegions();
    Atomics.add(counter, 0, 1);
  }, BEAT_MS).unref();
}

/** In the watch thread. */
function watch(data: WatchData): void {
  const pipe = new Socket({ fd: PARENT_PIPE_DESCRIPTOR, readable: true, writable: true });
  const end = () => process.kill(process.pid, 'SIGKILL');
  pipe.on('end', end);
  pipe.on('close', end);
  pipe.on('error', end);
  pipe.resume();
  const counter = new Int32Array(data.shared, 0, 1);
  const bytes = new Float64Array(data.shared, 8, 1);
  let beats = 0;
  let seen = -1;
  let stalls = 0;
  setInterval(() => {
    const now = Atomics.load(counter, 0);
    // Before the first beat the process is loading its code, which blocks and is no fault.
    stalls = now === seen && now > 0 ? stalls + 1 : 0;
    seen = now;
    // Counted in turns of this thread, not by a clock: a stopped or starved process is not a blocked one.
    if (stalls === 0 && beats++ % REPORT_EVERY_BEATS !== 0) return;
    const report: PipeReport = { blockedMs: stalls * BEAT_MS, bytesBetweenRegions: bytes[0]! };
    pipe.write(`${JSON.stringify(report)}\n`);
  }, BEAT_MS);
}

const data = workerData as WatchData | null;
if (!isMainThread && data?.skeinParentWatch === true) watch(data);
else exitWithParent();
