/**
 * Does to a cluster what a schedule says (`schedule.ts`), and undoes what lasts.
 *
 * Nothing is drawn here: two runs of one schedule hurt the cluster in the same way at the same virtual times.
 */
import type { SimCluster } from './cluster.ts';
import type { Observer } from './observer.ts';
import { CLOCK_DRIFT_MAX, type Fault, formatFault } from './schedule.ts';

const JUMP_MS_MAX = 3_600_000;

export class Faults {
  /** How often each struck. */
  readonly counts: Record<string, number> = {};
  readonly #cluster: SimCluster;
  readonly #observer: Observer;
  readonly #schedule: readonly Fault[];
  readonly #cancels: (() => void)[] = [];
  /** Faults that wait for their moment, and would wait on after the faults have ended. */
  readonly #armed = new Set<() => void>();
  #over = false;

  constructor(cluster: SimCluster, observer: Observer, schedule: readonly Fault[]) {
    this.#cluster = cluster;
    this.#observer = observer;
    this.#schedule = schedule;
  }

  start(): void {
    for (const fault of this.#schedule) {
      this.#cancels.push(
        this.#cluster.world.after(fault.atMs, () => {
          this.counts[fault.name] = (this.counts[fault.name] ?? 0) + 1;
          this.#cluster.world.note(formatFault(fault));
          this.#strike(fault);
        }),
      );
    }
  }

  /** No further fault, every way open, every store well. What a clock has drifted it stays. */
  stop(): void {
    this.#over = true;
    for (const cancel of this.#cancels) cancel();
    for (const disarm of this.#armed) disarm();
    const { fabric, slots } = this.#cluster;
    fabric.slowness = 1;
    fabric.jitterMs = 1;
    for (const { mischief } of slots.values())
      Object.assign(mischief, {
        slowMs: 0,
        failing: false,
        lateAnswers: false,
        lateWrites: false,
        watchLateMs: 0,
      });
    this.#cluster.heal();
  }

  #strike(fault: Fault): void {
    const cluster = this.#cluster;
    const { name, on, other, forMs, grade } = fault;
    const slot = cluster.slots.get(on);
    switch (name) {
      case 'node crash':
      case 'store crash':
      case 'gateway crash':
      case 'controller crash':
        cluster.crash(on);
        break;
      case 'host lost':
        cluster.crash(on, { silently: true });
        break;
      case 'everything crashes':
        for (const each of [...cluster.slots.keys()]) if (each !== 'supervisor') cluster.crash(each);
        break;
      case 'hand-off crash':
        this.#crashInHandOff(fault);
        break;
      case 'short pause':
      case 'pause beyond the lease':
      case 'store pause':
      case 'controller pause':
        cluster.pause(on, forMs);
        break;
      case 'partition':
        cluster.partition(on, other);
        this.#healLater(on, other, forMs);
        break;
      case 'one-way partition':
        cluster.partitionOneWay(on, other);
        this.#healLater(on, other, forMs);
        break;
      case 'isolation':
        cluster.isolate(on);
        for (const each of cluster.slots.keys()) if (each !== on) this.#healLater(on, each, forMs);
        break;
      case 'connections break':
        cluster.fabric.breakConnections(on);
        break;
      case 'slow network':
        cluster.fabric.slowness = 1 + grade * 3;
        cluster.fabric.jitterMs = 1 + grade * 100;
        this.#later(forMs, () => {
          cluster.fabric.slowness = 1;
          cluster.fabric.jitterMs = 1;
        });
        break;
      case 'slow store':
        this.#mischief(fault, { slowMs: 50 + grade * 1_450 }, { slowMs: 0 });
        break;
      case 'failing store':
        this.#mischief(fault, { failing: true }, { failing: false });
        break;
      case 'late answers':
        this.#mischief(fault, { lateAnswers: true }, { lateAnswers: false });
        break;
      case 'late writes':
        this.#mischief(fault, { lateWrites: true }, { lateWrites: false });
        break;
      case 'late watch':
        this.#mischief(fault, { watchLateMs: 500 + grade * 4_500 }, { watchLateMs: 0 });
        break;
      case 'clock drift':
        slot?.process?.drift(1 + (grade * 2 - 1) * CLOCK_DRIFT_MAX);
        break;
      case 'clock jump':
        slot?.process?.jump((grade * 2 - 1) * JUMP_MS_MAX);
        break;
      case 'two leaders': {
        // Whoever leads: cut off from the control store and from nothing else, it goes on ordering nodes.
        const leader = cluster
          .names('controller')
          .find((each) => cluster.slots.get(each)?.controller === cluster.leader());
        const store = cluster.names('store')[0]!;
        cluster.partition(leader ?? on, store);
        this.#healLater(leader ?? on, store, forMs);
        break;
      }
      case 'another controller':
        cluster.addController();
        break;
    }
  }

  #mischief(fault: Fault, begin: object, end: object): void {
    const slot = this.#cluster.slots.get(fault.on)!;
    Object.assign(slot.mischief, begin);
    this.#later(fault.forMs, () => Object.assign(slot.mischief, end));
  }

  #healLater(a: string, b: string, afterMs: number): void {
    this.#later(afterMs, () => {
      this.#cluster.fabric.heal(a, b);
      this.#cluster.fabric.heal(b, a);
    });
  }

  #later(afterMs: number, run: () => void): void {
    this.#cluster.world.after(afterMs, () => {
      if (!this.#over) run();
    });
  }

  /** Waits for a source to raise a new cell's fence, which begins a hand-off between cells, and ends one of the parties. */
  #crashInHandOff({ forMs, grade }: Fault): void {
    const cluster = this.#cluster;
    const { world, storeHooks } = cluster;
    const hook = (
      store: string,
      { method, payload, identity }: { method: string; payload: unknown; identity: string },
    ) => {
      if (method !== 'cell.raiseFence') return undefined;
      const { shard } = payload as { shard: string };
      const assignment = this.#observer.assignment(shard);
      const cell = `cell-${cluster.slots.get(store)!.region}`;
      if (!assignment || assignment.cell === cell || assignment.primary !== identity) return undefined;
      disarm();
      const source = identity.slice(0, identity.lastIndexOf('.'));
      const leader = cluster
        .names('controller')
        .find((each) => cluster.slots.get(each)?.controller === cluster.leader());
      const target = cluster.replicasOf(shard).find(({ role }) => role === 'follower')?.node;
      const parties = [
        source,
        target ?? source,
        store,
        `store-${assignment.cell.slice('cell-'.length)}`,
        cluster.names('store')[0]!,
        leader ?? source,
      ];
      const victim = parties[Math.floor(grade * parties.length)]!;
      const delayMs = ((grade * parties.length) % 1) * 600;
      world.note(`${shard} is being handed to ${cell}: ${victim} dies in ${Math.round(delayMs)} ms`);
      world.after(delayMs, () => cluster.crash(victim));
      return undefined;
    };
    const disarm = () => {
      const at = storeHooks.indexOf(hook);
      if (at >= 0) storeHooks.splice(at, 1);
      this.#armed.delete(disarm);
    };
    storeHooks.push(hook);
    this.#armed.add(disarm);
    this.#later(forMs, disarm);
  }
}
