/**
 * Emptying a node: the controller moves its shards live; without a controller, or where that makes no progress or would
 * take too long (whoever sent SIGTERM sends SIGKILL some time later), the node gives them away one by one. No request fails: what a sealed shard held goes to its new owner.
 */
import type { Io } from '../io/io.ts';
import { CONTROL_KEYS } from '../model/records.ts';
import type { ControlStore } from '../store/store.ts';
import type { NodeLease } from './lease.ts';
import type { Peers } from './peers.ts';
import type { Replicas } from './replicas.ts';

const POLL_MS = 50;
/** Shards given away at once. */
const RELEASES_AT_ONCE = 32;
const ACTIVATE_TIMEOUT_MS = 2_000;

/** Whether the controller's pace so far leaves shards here at `drainMsMax`. Judged from `graceMs` on. Pure. */
export function paceTooSlow(drain: {
  total: number;
  left: number;
  elapsedMs: number;
  graceMs: number;
  drainMsMax: number;
}): boolean {
  const { total, left, elapsedMs, graceMs, drainMsMax } = drain;
  if (elapsedMs < graceMs) return false;
  return left * elapsedMs > (total - left) * (drainMsMax - elapsedMs);
}

export class Drain {
  readonly #io: Io;
  readonly #control: ControlStore;
  readonly #lease: NodeLease;
  readonly #replicas: Replicas;
  readonly #peers: Peers;
  readonly #graceMs: number;
  readonly #drainMsMax: number;
  #running: Promise<void> | undefined;
  #ends = false;
  #stopped = false;

  constructor(options: {
    io: Io;
    control: ControlStore;
    lease: NodeLease;
    replicas: Replicas;
    peers: Peers;
    graceMs: number;
    drainMsMax: number;
  }) {
    this.#io = options.io;
    this.#control = options.control;
    this.#lease = options.lease;
    this.#replicas = options.replicas;
    this.#peers = options.peers;
    this.#graceMs = options.graceMs;
    this.#drainMsMax = options.drainMsMax;
  }

  /** `ends`: the process ends afterwards, and somebody waits for it; a drain on order may take its time. */
  run(options: { ends?: boolean } = {}): Promise<void> {
    this.#ends ||= options.ends === true;
    this.#running ??= this.#run();
    return this.#running;
  }

  stop(): void {
    this.#stopped = true;
  }

  async #run(): Promise<void> {
    await this.#lease.setState('draining');
    const total = this.#primaries();
    const startMs = this.#io.clock.monotonicMs();
    let left = total;
    let progressMs = startMs;
    while (left > 0 && !this.#stopped) {
      // The whole cluster goes: there is nobody to give anything to, and everything acknowledged is in the cells.
      if (!this.#replicas.activator.anyOther()) return;
      const now = this.#primaries();
      const nowMs = this.#io.clock.monotonicMs();
      if (now < left) progressMs = nowMs;
      left = now;
      const stuck = nowMs - progressMs >= this.#graceMs;
      const elapsedMs = nowMs - startMs;
      const [graceMs, drainMsMax] = [this.#graceMs, this.#drainMsMax];
      if (
        stuck ||
        (this.#ends && paceTooSlow({ total, left, elapsedMs, graceMs, drainMsMax })) ||
        !(await this.#controllerLives())
      ) {
        if ((await this.#giveAway()) === 0) {
          // Nobody may take what is left, or it could not be given yet: serve on, and look again.
          await this.#pause(POLL_MS * 10);
        }
      } else await this.#pause(POLL_MS);
    }
  }

  #primaries(): number {
    let count = 0;
    for (const replica of this.#replicas.all()) if (replica.role !== 'follower') count++;
    return count;
  }

  async #controllerLives(): Promise<boolean> {
    try {
      return (await this.#control.get(CONTROL_KEYS.leader())) !== undefined;
    } catch {
      return false;
    }
  }

  /** How many left. */
  async #giveAway(): Promise<number> {
    const queue = [...this.#replicas.all()].filter((replica) => replica.role === 'primary');
    let released = 0;
    const work = async () => {
      for (let replica = queue.pop(); replica !== undefined && !this.#stopped; replica = queue.pop()) {
        const { shard } = replica;
        const heir = this.#replicas.activator.heir(shard, this.#replicas.self.region);
        if (heir === undefined) return;
        try {
          if (await this.#replicas.release(shard, heir)) {
            released++;
            // So that the next request finds it open; if this fails, that request opens it.
            void this.#peers
              .peer(heir.address)
              .call('shard.activate', { shards: [shard] }, { timeoutMs: ACTIVATE_TIMEOUT_MS })
              .catch(() => undefined);
          }
        } catch (error) {
          this.#io.log.info({ shard, error: String(error) }, 'a shard could not be given away yet');
        }
      }
    };
    await Promise.all(Array.from({ length: RELEASES_AT_ONCE }, work));
    return released;
  }

  #pause(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      this.#io.clock.setTimer(delayMs, resolve);
    });
  }
}
