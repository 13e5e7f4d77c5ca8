/**
 * A store that is slow, fails, or lies about when: what stands between the calls of one simulated store and its engine.
 *
 * It never changes what a call does, only whether and when it is run and answered. So everything it does can happen
 * with a real store: the caller hears nothing, or `unavailable`, which means that the outcome is unknown.
 *
 * `cell.raiseFence` and `cell.open` are never held back behind later calls of the same caller: they share a channel,
 * which keeps order, and the node counts on it (`CellCopy.precopy`, `HostedReplica.serveUnconfirmed`).
 */
import type { Random } from '../io/io.ts';
import type { StoreCall, StoreFilter } from '../store/server.ts';
import { StoreError } from '../store/store.ts';
import type { SimProcess } from './process.ts';

/** Writes that may happen long after they were sent. */
const WRITES = new Set([
  'control.transact',
  'control.grantLease',
  'control.keepAlive',
  'cell.append',
  'cell.putSnapshot',
  'cell.trim',
  'cell.deleteLog',
]);
const FAILING_SHARE = 0.5;
const LATE_SHARE = 1 / 3;
const ANSWER_LATE_MS_MAX = 8_000;
const WRITE_LATE_MS = [500, 12_000] as const;

/** How a store misbehaves now; one object a store, over its restarts. */
export interface Mischief {
  slowMs: number;
  failing: boolean;
  lateAnswers: boolean;
  lateWrites: boolean;
  watchLateMs: number;
}

export const NO_MISCHIEF: Readonly<Mischief> = {
  slowMs: 0,
  failing: false,
  lateAnswers: false,
  lateWrites: false,
  watchLateMs: 0,
};

/** Sees a call before it runs; a returned function runs in its place and is given the way to run it after all. */
export type StoreCallHook = (store: string, call: StoreCall) => ((run: () => unknown) => unknown) | undefined;

export function mischievous(options: {
  process: SimProcess;
  random: Random;
  mischief: Mischief;
  hook: StoreCallHook;
  /** Told of every call that was carried out. */
  done: (call: StoreCall, answer: unknown) => void;
}): StoreFilter {
  const { process, random, mischief } = options;
  let newsDueMs = 0;
  const after = (delayMs: number) =>
    new Promise<void>((resolve) => {
      process.schedule(delayMs, resolve);
    });
  const later = async (delayMs: number, run: () => unknown): Promise<unknown> => {
    await after(delayMs);
    return run();
  };
  return {
    call(call, carryOut) {
      const run = () => {
        const answer = carryOut();
        if (answer instanceof Promise)
          answer.then(
            (value) => options.done(call, value),
            () => {},
          );
        else options.done(call, answer);
        return answer;
      };
      const replaced = options.hook(process.name, call);
      if (replaced) return replaced(run);
      if (mischief.lateWrites && WRITES.has(call.method) && random.next() < LATE_SHARE)
        return later(WRITE_LATE_MS[0] + random.next() * (WRITE_LATE_MS[1] - WRITE_LATE_MS[0]), run);
      if (mischief.failing && random.next() < FAILING_SHARE) {
        const happened = random.next() < 0.5 ? Promise.resolve(run()) : Promise.resolve();
        const refuse = () => {
          throw new StoreError('unavailable', 'the simulated store fails');
        };
        return happened.then(refuse, refuse);
      }
      if (mischief.lateAnswers && random.next() < LATE_SHARE) {
        const lateMs = random.next() * ANSWER_LATE_MS_MAX;
        const isNever = random.next() < 0.3;
        const done = Promise.resolve(run());
        done.catch(() => {});
        return isNever ? new Promise(() => {}) : after(lateMs).then(() => done);
      }
      return mischief.slowMs > 0 ? later(mischief.slowMs, run) : run();
    },
    emit(send) {
      const nowMs = process.io.clock.monotonicMs();
      // News keep their order, also when the store is punctual again.
      newsDueMs = Math.max(newsDueMs, nowMs + mischief.watchLateMs);
      if (newsDueMs > nowMs) process.schedule(newsDueMs - nowMs, send);
      else send();
    },
  };
}
