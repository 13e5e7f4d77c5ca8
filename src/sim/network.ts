/**
 * Simulated channels between simulated processes.
 *
 * A channel is what TCP gives: ordered and reliable while it lives, and silent about when it is not. Each frame takes
 * half the round trip between both regions plus jitter. A cut link holds frames; they arrive, late, when it heals,
 * unless the connection was reset meanwhile: so packets may come after everything they were sent before is over.
 */
import type { Channel, Listener, Network } from '../io/io.ts';
import type { Region } from '../model/ids.ts';
import { rttMs, type Topology } from '../model/topology.ts';
import type { SimProcess } from './process.ts';
import type { World } from './world.ts';

/** A link cut for longer than this resets the connections over it, as TCP's retransmission time-out would. */
const RESET_AFTER_MS = 20_000;

export class SimNetworkFabric {
  readonly #world: World;
  readonly #topology: Topology;
  readonly #listeners = new Map<string, { owner: SimProcess; accept: (channel: Channel) => void }>();
  readonly #links = new Set<Link>();
  /** `from>to` process names whose frames do not pass. */
  readonly #cuts = new Set<string>();
  /** Factor on all delays, and its jitter in milliseconds. */
  slowness = 1;
  jitterMs = 1;
  /** Who runs under a name now. */
  readonly #current = new Map<string, SimProcess>();
  #nextPort = 20_000;

  constructor(world: World, topology: Topology) {
    this.#world = world;
    this.#topology = topology;
  }

  networkOf(owner: SimProcess): Network {
    this.#current.set(owner.name, owner);
    return {
      listen: (address, accept) => this.#listen(owner, address, accept),
      connect: (address) => this.#connect(owner, address),
    };
  }

  /** Frames from one process (by name) to another do not pass until {@link heal}. One way only. */
  cut(from: string, to: string): void {
    this.#cuts.add(`${from}>${to}`);
  }

  heal(from?: string, to?: string): void {
    if (from !== undefined && to !== undefined) this.#cuts.delete(`${from}>${to}`);
    else this.#cuts.clear();
    for (const link of this.#links) link.flush();
  }

  isCut(from: string, to: string): boolean {
    return this.#cuts.has(`${from}>${to}`);
  }

  /** Every connection of a process ends at both sides; what was on the way may arrive before the end, or not. */
  breakConnections(name: string): void {
    for (const link of [...this.#links]) if (link.isOf(name)) link.reset();
  }

  /** The process is gone: its listeners too; peers hear of it, unless its host vanished with it. */
  drop(owner: SimProcess, silently: boolean): void {
    for (const [address, listener] of this.#listeners)
      if (listener.owner === owner) this.#listeners.delete(address);
    for (const link of [...this.#links]) link.endOf(owner)?.crash(silently);
  }

  /** Whether another life of a dead process answers at its host: it resets connections of the former one. */
  isBack(dead: SimProcess): boolean {
    const now = this.#current.get(dead.name);
    return now !== undefined && now !== dead && now.alive;
  }

  /** One-way delay between two processes right now. */
  delayMs(from: Region, to: Region): number {
    const base = rttMs(this.#topology, from, to) / 2;
    return base * this.slowness + this.#world.random.next() * this.jitterMs;
  }

  get world(): World {
    return this.#world;
  }

  forget(link: Link): void {
    this.#links.delete(link);
  }

  async #listen(owner: SimProcess, address: string, accept: (channel: Channel) => void): Promise<Listener> {
    if (!owner.alive) throw new Error(`${owner.name} is dead`);
    const bound = address.endsWith(':0') ? `${address.slice(0, -1)}${this.#nextPort++}` : address;
    if (this.#listeners.has(bound)) throw new Error(`${bound} is taken`);
    this.#listeners.set(bound, { owner, accept });
    return {
      address: bound,
      close: async () => {
        if (this.#listeners.get(bound)?.owner === owner) this.#listeners.delete(bound);
      },
    };
  }

  #connect(owner: SimProcess, address: string): Channel {
    const target = this.#listeners.get(address);
    const link = new Link(this, owner, target?.owner);
    if (!owner.alive) {
      // Code of a dead process may run to its next await; nothing of it reaches the world.
      link.near.closed = true;
      return link.near;
    }
    this.#links.add(link);
    if (!target) {
      owner.schedule(this.jitterMs, () => link.near.close('refused'));
      return link.near;
    }
    link.onArrival(() => target.accept(link.far));
    return link.near;
  }
}

/** One connection: two ends, two directions. */
class Link {
  readonly near: End;
  readonly far: End;
  readonly #fabric: SimNetworkFabric;
  #arrival: (() => void) | undefined;

  constructor(fabric: SimNetworkFabric, from: SimProcess, to: SimProcess | undefined) {
    this.#fabric = fabric;
    this.near = new End(fabric, from, to, () => this.#ended());
    this.far = new End(fabric, to ?? from, from, () => this.#ended());
    this.near.peer = this.far;
    this.far.peer = this.near;
    this.far.beforeFirst = () => {
      this.#arrival?.();
      this.#arrival = undefined;
    };
  }

  /** What happens at the far side when the first frame arrives there: the accept. */
  onArrival(accept: () => void): void {
    this.#arrival = accept;
  }

  endOf(process: SimProcess): End | undefined {
    if (this.near.owner === process) return this.near;
    return this.far.owner === process ? this.far : undefined;
  }

  isOf(name: string): boolean {
    return this.near.owner.name === name || this.far.owner.name === name;
  }

  reset(): void {
    this.near.reset();
    this.far.reset();
  }

  flush(): void {
    this.near.flush();
    this.far.flush();
  }

  #ended(): void {
    if (this.near.closed && this.far.closed) this.#fabric.forget(this);
  }
}

class End implements Channel {
  onFrame: (frame: Uint8Array) => void = () => {};
  onClose: (reason: string) => void = () => {};
  beforeFirst: (() => void) | undefined;
  peer!: End;
  closed = false;
  readonly owner: SimProcess;
  readonly #fabric: SimNetworkFabric;
  readonly #other: SimProcess | undefined;
  readonly #onEnd: () => void;
  /** Frames on a cut link, waiting for it to heal. */
  readonly #held: (Uint8Array | 'close')[] = [];
  #heldSinceMs = 0;
  #arrivesMs = 0;

  constructor(fabric: SimNetworkFabric, owner: SimProcess, other: SimProcess | undefined, onEnd: () => void) {
    this.#fabric = fabric;
    this.owner = owner;
    this.#other = other;
    this.#onEnd = onEnd;
  }

  get bufferedBytes(): number {
    return this.#held.reduce((sum, frame) => sum + (frame === 'close' ? 0 : frame.byteLength), 0);
  }

  send(frame: Uint8Array): void {
    if (this.closed) return;
    // A copy: the sender may reuse its buffer, and nothing is shared between processes.
    this.#pass(frame.slice());
  }

  /** Orderly close: what was sent before still arrives. */
  close(reason?: string): void {
    if (this.closed) return;
    this.#finish();
    this.#pass('close');
    if (reason !== undefined) this.onClose(reason);
  }

  /** The owner died: its frames on the way still arrive; the peer hears of the end unless the host vanished. */
  crash(silently: boolean): void {
    if (this.closed) return;
    this.#finish();
    this.#held.length = 0;
    if (!silently) this.#pass('close');
  }

  /** The connection breaks. Each side hears of it at a time of its own: until then frames on the way still arrive. */
  reset(): void {
    if (this.closed) return;
    this.#held.length = 0;
    const other = this.#other ?? this.owner;
    const hearsAfterMs =
      this.#fabric.delayMs(other.region, this.owner.region) * this.#fabric.world.random.next() * 2;
    this.owner.schedule(hearsAfterMs, () => {
      if (this.closed) return;
      this.#finish();
      this.onClose('connection reset');
    });
  }

  flush(): void {
    if (this.#held.length === 0 || this.#cut()) return;
    const reset = this.#fabric.world.nowMs - this.#heldSinceMs > RESET_AFTER_MS;
    const frames = this.#held.splice(0);
    if (reset) {
      this.#pass('close');
      return;
    }
    for (const frame of frames) this.#pass(frame);
  }

  #cut(): boolean {
    return this.#other !== undefined && this.#fabric.isCut(this.owner.name, this.#other.name);
  }

  #finish(): void {
    this.closed = true;
    this.#onEnd();
  }

  #pass(frame: Uint8Array | 'close'): void {
    const { world } = this.#fabric;
    if (this.#held.length > 0 || this.#cut()) {
      if (this.#held.length === 0) this.#heldSinceMs = world.nowMs;
      this.#held.push(frame);
      return;
    }
    const to = this.#other ?? this.owner;
    this.#arrivesMs = Math.max(
      this.#arrivesMs,
      world.nowMs + this.#fabric.delayMs(this.owner.region, to.region),
    );
    const { peer } = this;
    world.at(this.#arrivesMs, () => {
      if (!to.alive && frame !== 'close' && this.#fabric.isBack(to)) {
        this.owner.schedule(this.#fabric.delayMs(to.region, this.owner.region), () => this.#receive('close'));
      } else to.deliver(() => peer.#receive(frame));
    });
  }

  #receive(frame: Uint8Array | 'close'): void {
    if (this.closed) return;
    this.beforeFirst?.();
    this.beforeFirst = undefined;
    if (frame === 'close') {
      this.#finish();
      this.onClose('closed by the other side');
    } else this.onFrame(frame);
  }
}
