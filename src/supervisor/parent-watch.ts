/**
 * Preloaded into every child of a supervisor (`--import`): ends the child when its parent is gone, however the parent
 * ended, and tells the parent when the child's event loop is blocked.
 *
 * A thread of its own holds the pipe to the parent, because the main thread may be the one that hangs. The end of the
 * pipe is the end of the parent: the child then kills itself with SIGKILL. That is abrupt but certain, and losing a
 * process loses no acknowledged write. Without SKEIN_SUPERVISED=1 nothing happens.
 *
 *   child, main thread --counts up a shared number--> child, watch thread --"blocked"--> supervisor
 *                                                                        <---end of pipe--- (parent died)
 */
import { Socket } from 'node:net';
import { isMainThread, Worker, workerData } from 'node:worker_threads';

/** The descriptor both sides agreed on. */
export const PARENT_PIPE_DESCRIPTOR = 3;
const BEAT_MS = 250;

interface WatchData {
  skeinParentWatch: true;
  beats: SharedArrayBuffer;
}

let watching = false;

/** Ends this process when its parent ends. Called twice, it does nothing the second time. */
export function exitWithParent(): void {
  if (watching || !isMainThread || process.env.SKEIN_SUPERVISED !== '1') return;
  watching = true;
  const beats = new SharedArrayBuffer(4);
  const counter = new Int32Array(beats);
  // Inherited flags would preload this file into the watch thread as well.
  const worker = new Worker(new URL(import.meta.url), {
    execArgv: [],
    workerData: { skeinParentWatch: true, beats } satisfies WatchData,
  });
  worker.unref();
  setInterval(() => Atomics.add(counter, 0, 1), BEAT_MS).unref();
}

/** In the watch thread. */
function watch(data: WatchData): void {
  const pipe = new Socket({ fd: PARENT_PIPE_DESCRIPTOR, readable: true, writable: true });
  const end = () => process.kill(process.pid, 'SIGKILL');
  pipe.on('end', end);
  pipe.on('close', end);
  pipe.on('error', end);
  pipe.resume();
  const counter = new Int32Array(data.beats);
  let seen = -1;
  let stalls = 0;
  setInterval(() => {
    const now = Atomics.load(counter, 0);
    // Before the first beat the process is loading its code, which blocks and is no fault.
    stalls = now === seen && now > 0 ? stalls + 1 : 0;
    seen = now;
    // Counted in turns of this thread, not by a clock: a stopped or starved process is not a blocked one.
    if (stalls > 0) pipe.write(`${JSON.stringify({ blockedMs: stalls * BEAT_MS })}\n`);
  }, BEAT_MS);
}

const data = workerData as WatchData | null;
if (!isMainThread && data?.skeinParentWatch === true) watch(data);
else exitWithParent();
