/**
 * Offered load of shards and of the node over a measuring step (DESIGN §8).
 *
 * Only shards with a request since the last step are read. What a replica measured before it left is kept until the
 * next step. A step is the time between two readings.
 */
import type { Io } from '../io/io.ts';
import type { ShardId } from '../model/ids.ts';
import type { HandlerMix, LoadSample, NodeSample, OriginCounts } from '../model/load.ts';
import type { HandlerWork } from '../shard/contract.ts';
import { mixOf } from './handler-mix.ts';
import type { HostedReplica } from './replica.ts';

const LOOP_PROBE_MS = 50;
/** Probes kept: a minute's worth. */
const LOOP_PROBES_MAX = 1_200;
/** Beyond this share of one core the loop counts as saturated, and demand as a lower bound. */
const SATURATED_SHARE = 0.95;
const SATURATED_DELAY_MS = 250;
const LEFT_MAX = 200_000;

interface Left {
  load: ReturnType<HostedReplica['state']['takeLoad']>;
  stateBytes: number;
}

export class Metering {
  readonly #io: Io;
  readonly #speed: number;
  readonly #rssBytes: () => number;
  readonly #takeWork: (() => HandlerWork[]) | undefined;
  readonly #onProbe: () => void;
  #active: HostedReplica[] = [];
  #left = new Map<ShardId, Left[]>();
  #delaysMs: number[] = [];
  #probeDueMs = 0;
  #cancelProbe: () => void = () => {};
  #lastMs: number;
  #lastThreadMicros: number;
  #lastProcessMicros: number;

  constructor(options: {
    io: Io;
    speed: number;
    rssBytes: () => number;
    takeWork?: (() => HandlerWork[]) | undefined;
    /** Whenever the loop is looked at. */
    onProbe?: () => void;
  }) {
    this.#io = options.io;
    this.#takeWork = options.takeWork;
    this.#onProbe = options.onProbe ?? (() => {});
    this.#speed = options.speed;
    this.#rssBytes = options.rssBytes;
    this.#lastMs = options.io.clock.monotonicMs();
    this.#lastThreadMicros = options.io.threadCpuMicros();
    this.#lastProcessMicros = options.io.processCpuMicros();
  }

  start(): void {
    this.#probe();
  }

  stop(): void {
    this.#cancelProbe();
  }

  #probe(): void {
    this.#probeDueMs = this.#io.clock.monotonicMs() + LOOP_PROBE_MS;
    this.#cancelProbe = this.#io.clock.setTimer(LOOP_PROBE_MS, () => {
      const lateMs = Math.max(0, this.#io.clock.monotonicMs() - this.#probeDueMs);
      if (this.#delaysMs.length < LOOP_PROBES_MAX) this.#delaysMs.push(lateMs);
      this.#onProbe();
      this.#probe();
    });
  }

  /** First request of a replica in this step. */
  activate(replica: HostedReplica): void {
    replica.active = true;
    this.#active.push(replica);
  }

  /** The replica ends: keep what it measured. */
  leave(replica: HostedReplica): void {
    if (!replica.active || this.#left.size >= LEFT_MAX) return;
    replica.active = false;
    const left: Left = { load: replica.state.takeLoad(), stateBytes: replica.state.stateBytes };
    const known = this.#left.get(replica.shard);
    if (known) known.push(left);
    else this.#left.set(replica.shard, [left]);
  }

  take(replicas: number): { node: NodeSample; shards: LoadSample[]; mix?: HandlerMix } {
    const { clock } = this.#io;
    const nowMs = clock.monotonicMs();
    const atMs = clock.realtimeMs();
    const stepMs = nowMs - this.#lastMs;
    this.#lastMs = nowMs;
    const threadMicros = this.#io.threadCpuMicros();
    const processMicros = this.#io.processCpuMicros();
    const loopCpuSeconds = ((threadMicros - this.#lastThreadMicros) / 1e6) * this.#speed;
    const processCpuSeconds = ((processMicros - this.#lastProcessMicros) / 1e6) * this.#speed;
    this.#lastThreadMicros = threadMicros;
    this.#lastProcessMicros = processMicros;
    const delays = this.#delaysMs.sort((a, b) => a - b);
    this.#delaysMs = [];
    const eventLoopDelayMsP99 = delays[Math.min(delays.length - 1, Math.floor(delays.length * 0.99))] ?? 0;
    const share = stepMs > 0 ? loopCpuSeconds / this.#speed / (stepMs / 1000) : 0;
    const saturated = share > SATURATED_SHARE || eventLoopDelayMsP99 > SATURATED_DELAY_MS;
    const shards: LoadSample[] = [];
    const parts = this.#left;
    this.#left = new Map();
    const active = this.#active;
    this.#active = [];
    for (const replica of active) {
      if (!replica.active || replica.ended) continue;
      replica.active = false;
      const left: Left = { load: replica.state.takeLoad(), stateBytes: replica.state.stateBytes };
      const known = parts.get(replica.shard);
      if (known) known.push(left);
      else parts.set(replica.shard, [left]);
    }
    for (const [shard, loads] of parts) shards.push(this.#sample(shard, loads, atMs, stepMs, saturated));
    const node: NodeSample = {
      atMs,
      stepMs,
      loopCpuSeconds,
      processCpuSeconds,
      rssBytes: this.#rssBytes(),
      replicas,
      eventLoopDelayMsP99,
    };
    if (this.#takeWork === undefined) return { node, shards };
    return { node, shards, mix: { atMs, stepMs, handlers: mixOf(this.#takeWork(), this.#speed) } };
  }

  #sample(shard: ShardId, parts: Left[], atMs: number, stepMs: number, saturated: boolean): LoadSample {
    const byOrigin: Record<string, OriginCounts> = {};
    const sample: LoadSample = {
      shard,
      atMs,
      stepMs,
      commands: 0,
      queries: 0,
      rejected: 0,
      byOrigin,
      cpuSeconds: 0,
      stateBytes: 0,
      bytesIn: 0,
      bytesOut: 0,
      writeBytes: 0,
      censored: saturated,
    };
    for (const { load, stateBytes } of parts) {
      sample.commands += load.commands;
      sample.queries += load.queries;
      sample.rejected += load.rejected;
      sample.cpuSeconds += (load.cpuMicros / 1e6) * this.#speed;
      sample.stateBytes = stateBytes;
      sample.bytesIn += load.bytesIn;
      sample.bytesOut += load.bytesOut;
      sample.writeBytes += load.writeBytes;
      for (const [origin, [commands, queries]] of load.byOrigin) {
        byOrigin[origin] ??= { commands: 0, queries: 0 };
        const counts = byOrigin[origin];
        counts.commands += commands;
        counts.queries += queries;
      }
    }
    if (sample.rejected > 0) sample.censored = true;
    return sample;
  }
}
