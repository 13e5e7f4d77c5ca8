/**
 * Look-ups of routes that are not in the cache: one a shard at a time, shared by all who wait, bounded in number and
 * time. A look-up that fails is no fault: the caller then goes by rendezvous, and the node looks itself.
 */
import type { Clock } from '../io/io.ts';
import type { ShardId } from '../model/ids.ts';
import { CONTROL_KEYS } from '../model/records.ts';
import type { RouteTable } from '../routing/route-table.ts';
import type { ControlStore } from '../store/store.ts';

/** Look-ups at once; further misses go by rendezvous. */
export const LOOK_UPS_MAX = 1_000;
/** A control store slower than this is as good as away for one request. */
export const LOOK_UP_MS_MAX = 1_500;

export class LookUps {
  readonly #control: ControlStore;
  readonly #clock: Clock;
  readonly #table: RouteTable;
  readonly #underWay = new Map<ShardId, (() => void)[]>();
  count = 0;

  constructor(options: { control: ControlStore; clock: Clock; table: RouteTable }) {
    this.#control = options.control;
    this.#clock = options.clock;
    this.#table = options.table;
  }

  /** Calls `done` once, when the table holds what the store has, or that cannot be learnt in time. */
  lookUp(shard: ShardId, done: () => void): void {
    const waiting = this.#underWay.get(shard);
    if (waiting) {
      waiting.push(done);
      return;
    }
    if (this.#underWay.size >= LOOK_UPS_MAX) {
      done();
      return;
    }
    this.count++;
    const callers = [done];
    this.#underWay.set(shard, callers);
    const release = this.#table.expect(shard);
    let ended = false;
    const end = () => {
      if (ended) return;
      ended = true;
      cancelTimer();
      release();
      this.#underWay.delete(shard);
      for (const caller of callers) caller();
    };
    const cancelTimer = this.#clock.setTimer(LOOK_UP_MS_MAX, end);
    this.#control.get(CONTROL_KEYS.own(shard)).then((entry) => {
      if (entry && !ended) this.#table.load(entry);
      end();
    }, end);
  }
}
