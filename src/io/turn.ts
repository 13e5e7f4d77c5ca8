/**
 * One turn of the event loop: what it brought is worked on together, and leaves together.
 *
 *   sockets are read -> what waits to leave, leaves -> deferred work runs -> what that made leaves, still in this turn
 *
 * Without the last step an answer made by deferred work (a group commit's) waits for another whole turn, and under load
 * a turn takes as long as everything that meanwhile came in.
 *
 * Boundary: real time only; the simulated world has its own clock and network.
 */

export interface Flushable {
  /** Hands what has gathered to the operating system. Never throws. */
  flush(): void;
}

let runs: (() => void)[] = [];
let waiting: Flushable[] = [];
let armed = false;
/** Deferred work of this turn has run, and the promises it settled have not all been heard. */
let settling = false;

/** Calls `run` after the events already queued. What `run` defers comes in the next turn. */
export function defer(run: () => void): void {
  runs.push(run);
  arm();
}

/** Calls `flush` once, before this turn ends. */
export function flushThisTurn(flushable: Flushable): void {
  waiting.push(flushable);
  if (!settling) arm();
}

function arm(): void {
  if (armed) return;
  armed = true;
  setImmediate(turn);
}

function turn(): void {
  armed = false;
  flushAll();
  if (runs.length === 0) return;
  settling = true;
  process.nextTick(hearPromises);
  const now = runs;
  runs = [];
  let done = 0;
  try {
    while (done < now.length) now[done++]!();
  } finally {
    // One threw: the others are not to suffer.
    if (done < now.length) {
      runs = now.slice(done).concat(runs);
      arm();
    }
  }
}

/** Microtasks run to their end between two ticks: however long a chain of promises is, it has been followed then. */
function hearPromises(): void {
  queueMicrotask(() => process.nextTick(settled));
}

function settled(): void {
  settling = false;
  flushAll();
}

function flushAll(): void {
  if (waiting.length === 0) return;
  const now = waiting;
  waiting = [];
  for (const flushable of now) flushable.flush();
}
