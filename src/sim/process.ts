/**
 * A simulated process: its own clock, randomness, disk and network, and a life that can end or pause at any event.
 *
 * A crash forgets timers and everything in memory; the disk of its host stays. A pause (SIGSTOP, a long garbage
 * collection, a suspended virtual machine) holds all its timers and frames and lets them come late.
 */
import type { Disk, Io, Log } from '../io/io.ts';
import type { Region } from '../model/ids.ts';
import type { SimNetworkFabric } from './network.ts';
import { BEGINNING_REALTIME_MS, type World } from './world.ts';

/** Timers fire this late. */
const TIMER_LATE_MS = 0.001;

export class SimProcess {
  /** Stable over restarts: what cuts and traces name. */
  readonly name: string;
  /** Grows with each start of the same name. */
  readonly incarnation: number;
  readonly region: Region;
  readonly io: Io;
  readonly #world: World;
  readonly #fabric: SimNetworkFabric;
  readonly #late: (() => void)[] = [];
  #alive = true;
  #paused = false;
  #cpuMicros = 0;
  /** The monotonic clock: it showed `clockMs` when the world was at `clockSetMs`, and runs at `clockRate`. */
  #clockMs = 0;
  #clockSetMs: number;
  #clockRate = 1;
  #skewMs: number;

  constructor(options: {
    world: World;
    fabric: SimNetworkFabric;
    name: string;
    incarnation: number;
    region: Region;
    disk: Disk;
    /** Offset of the wall clock, milliseconds: clocks disagree. */
    skewMs?: number;
    onLog?: (level: string, fields: object, message: string) => void;
  }) {
    const { world, fabric } = options;
    this.#world = world;
    this.#fabric = fabric;
    this.name = options.name;
    this.incarnation = options.incarnation;
    this.region = options.region;
    this.#clockSetMs = world.nowMs;
    this.#skewMs = options.skewMs ?? 0;
    this.io = {
      clock: {
        monotonicMs: () => this.#monotonicMs(),
        realtimeMs: () => BEGINNING_REALTIME_MS + world.nowMs + this.#skewMs,
        setTimer: (delayMs, fire) => this.schedule(delayMs, fire),
        defer: (run) => {
          this.schedule(0, run);
        },
      },
      random: world.random.split(`${options.name}#${options.incarnation}`),
      network: fabric.networkOf(this),
      disk: options.disk,
      log: simLog((level, fields, message) => options.onLog?.(level, fields, message), {}),
      // Each reading costs: so handlers have a CPU time that does not depend on this machine.
      threadCpuMicros: () => {
        this.#cpuMicros += 10;
        return this.#cpuMicros;
      },
      processCpuMicros: () => this.#cpuMicros,
      loopBusyMs: () => this.#cpuMicros / 1_000,
    };
  }

  get alive(): boolean {
    return this.#alive;
  }

  get paused(): boolean {
    return this.#paused;
  }

  #monotonicMs(): number {
    return this.#clockMs + (this.#world.nowMs - this.#clockSetMs) * this.#clockRate;
  }

  /** From now on the monotonic clock runs at this many times the speed of the world's. It never goes back. */
  drift(rate: number): void {
    this.#clockMs = this.#monotonicMs();
    this.#clockSetMs = this.#world.nowMs;
    this.#clockRate = rate;
  }

  /** The wall clock is set, as an administrator or a time service would. */
  jump(byMs: number): void {
    this.#skewMs += byMs;
  }

  /** A timer of this process, by its own clock: it fires late under a pause and never after a crash. */
  schedule(delayMs: number, fire: () => void): () => void {
    let cancelled = false;
    // A real clock has moved on when a timer fires; so does this one, also where floating point would round it away.
    const cancel = this.#world.after(delayMs > 0 ? delayMs / this.#clockRate + TIMER_LATE_MS : 0, () =>
      this.deliver(() => {
        if (!cancelled) fire();
      }),
    );
    return () => {
      cancelled = true;
      cancel();
    };
  }

  /** Something happens to this process: now, when it is resumed, or never. */
  deliver(happen: () => void): void {
    if (!this.#alive) return;
    // What was held comes first, also while it is still being worked off.
    if (this.#paused || this.#late.length > 0) this.#late.push(happen);
    else happen();
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    if (this.#late.length > 0) this.#world.after(0, () => this.#catchUp());
  }

  #catchUp(): void {
    if (!this.#alive || this.#paused) return;
    this.#late[0]?.();
    this.#late.shift();
    if (this.#late.length > 0) this.#world.after(0, () => this.#catchUp());
  }

  /** The process ends at once. `silently`: with its host, so that no peer hears of it. */
  crash(silently = false): void {
    if (!this.#alive) return;
    this.#alive = false;
    this.#late.length = 0;
    this.#fabric.drop(this, silently);
  }
}

/** Files of a simulated host; they survive its processes. */
export class SimDisk implements Disk {
  readonly #files = new Map<string, Uint8Array>();

  async read(path: string): Promise<Uint8Array | undefined> {
    return this.#files.get(path)?.slice();
  }

  async write(path: string, bytes: Uint8Array): Promise<void> {
    this.#files.set(path, bytes.slice());
  }
}

function simLog(write: (level: string, fields: object, message: string) => void, bound: object): Log {
  const at = (level: string) => (fields: object, message: string) =>
    write(level, { ...bound, ...fields }, message);
  return {
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    child: (fields) => simLog(write, { ...bound, ...fields }),
  };
}
