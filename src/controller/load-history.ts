/**
 * What was measured lately, for people and for what placement asks beside forecasts: a ring of rates a shard, its mix of
 * origins, its bytes. Pure; bounded by {@link SHARDS_KEPT_MAX} shards, the one idle for longest forgotten first.
 */
import type { LoadStep } from '../metrics/index.ts';
import type { Region, ShardId } from '../model/ids.ts';
import type { LoadSample } from '../model/load.ts';

/** Steps kept a shard and for the whole cluster. */
export const HISTORY_STEPS = 120;
export const SHARDS_KEPT_MAX = 50_000;
/** A shard without a request for so many steps is no longer placed by forecast; it stays where it is. */
export const IDLE_STEPS_MAX = 3_600;
/** Weight of the newest step in means: about the last twenty steps count. */
const SMOOTHING = 0.05;

export interface ShardRecent {
  /** Number of the last step with activity. */
  lastStep: number;
  /** Requests a second by step modulo {@link HISTORY_STEPS}; `ringFrom` is the oldest step that it holds. */
  ring: Float32Array;
  ringFrom: number;
  byOrigin: Record<Region, number>;
  stateBytes: number;
  writeBytesPerSecond: number;
  bytesPerRequest: number;
}

export class LoadHistory {
  /** In order of last activity: a Map keeps insertion order. */
  readonly #shards = new Map<ShardId, ShardRecent>();
  readonly #total = new Float32Array(HISTORY_STEPS);
  readonly #foreseen = new Float32Array(HISTORY_STEPS).fill(Number.NaN);
  readonly #foreseenFor = new Float64Array(HISTORY_STEPS);
  #firstStep: number | undefined;
  #lastStep = 0;
  #atMs = 0;

  get atMs(): number {
    return this.#atMs;
  }

  get lastStep(): number {
    return this.#lastStep;
  }

  observe(step: LoadStep): void {
    const since = this.#lastStep;
    this.#firstStep ??= step.number;
    this.#lastStep = step.number;
    this.#atMs = step.atMs;
    for (let n = Math.max(since + 1, step.number - HISTORY_STEPS + 1); n <= step.number; n++)
      this.#total[n % HISTORY_STEPS] = 0;
    let total = 0;
    for (const sample of step.shards) {
      const requests = sample.commands + sample.queries;
      total += requests;
      this.#learn(step, sample, requests / step.stepS);
    }
    this.#total[step.number % HISTORY_STEPS] = total / step.stepS;
    for (const [shard, recent] of this.#shards) {
      const idle = step.number - recent.lastStep;
      if (idle <= IDLE_STEPS_MAX && this.#shards.size <= SHARDS_KEPT_MAX) break;
      this.#shards.delete(shard);
    }
  }

  /** What was foreseen for a step to come, requests a second of the whole cluster. */
  foresee(step: number, rate: number): void {
    this.#foreseen[step % HISTORY_STEPS] = rate;
    this.#foreseenFor[step % HISTORY_STEPS] = step;
  }

  recent(shard: ShardId): ShardRecent | undefined {
    return this.#shards.get(shard);
  }

  get shards(): IterableIterator<[ShardId, ShardRecent]> {
    return this.#shards.entries();
  }

  /** Requests a second of the last steps, oldest first. */
  series(shard: ShardId | undefined): { history: number[]; foreseen: (number | null)[] } {
    const history: number[] = [];
    const foreseen: (number | null)[] = [];
    if (this.#firstStep === undefined) return { history, foreseen };
    const recent = shard === undefined ? undefined : this.#shards.get(shard);
    const first = Math.max(this.#firstStep, this.#lastStep - HISTORY_STEPS + 1);
    for (let step = first; step <= this.#lastStep; step++) {
      const slot = step % HISTORY_STEPS;
      if (shard !== undefined) {
        const held = recent && step >= recent.ringFrom && step <= recent.lastStep;
        history.push(held ? recent.ring[slot]! : 0);
        foreseen.push(null);
        continue;
      }
      history.push(this.#total[slot]!);
      foreseen.push(this.#foreseenFor[slot] === step ? this.#foreseen[slot]! : null);
    }
    return { history, foreseen };
  }

  /** Requests a second by origin of late, faded by the steps without activity. */
  ratesByOrigin(shard: ShardId): Record<Region, number> {
    const recent = this.#shards.get(shard);
    if (!recent) return {};
    const keep = (1 - SMOOTHING) ** (this.#lastStep - recent.lastStep);
    return Object.fromEntries(Object.entries(recent.byOrigin).map(([region, rate]) => [region, rate * keep]));
  }

  #learn(step: LoadStep, sample: LoadSample, rate: number): void {
    let recent = this.#shards.get(sample.shard);
    if (!recent) {
      recent = {
        lastStep: step.number,
        ring: new Float32Array(HISTORY_STEPS),
        ringFrom: step.number,
        byOrigin: {},
        stateBytes: 0,
        writeBytesPerSecond: 0,
        bytesPerRequest: 0,
      };
      for (const [region, counts] of Object.entries(sample.byOrigin))
        recent.byOrigin[region] = (counts.commands + counts.queries) / step.stepS;
    }
    const gap = step.number - recent.lastStep;
    for (let n = Math.max(recent.lastStep + 1, step.number - HISTORY_STEPS); n < step.number; n++)
      recent.ring[n % HISTORY_STEPS] = 0;
    recent.ring[step.number % HISTORY_STEPS] = rate;
    if (gap > 0) {
      const keep = (1 - SMOOTHING) ** gap;
      for (const region of Object.keys(recent.byOrigin)) recent.byOrigin[region]! *= keep;
      for (const [region, counts] of Object.entries(sample.byOrigin))
        recent.byOrigin[region] =
          (recent.byOrigin[region] ?? 0) + (SMOOTHING * (counts.commands + counts.queries)) / step.stepS;
      recent.writeBytesPerSecond =
        recent.writeBytesPerSecond * keep + (SMOOTHING * sample.writeBytes) / step.stepS;
    } else recent.writeBytesPerSecond = sample.writeBytes / step.stepS;
    const requests = sample.commands + sample.queries;
    if (requests > 0) {
      const bytes = (sample.bytesIn + sample.bytesOut) / requests;
      recent.bytesPerRequest =
        recent.bytesPerRequest === 0
          ? bytes
          : recent.bytesPerRequest + SMOOTHING * (bytes - recent.bytesPerRequest);
    }
    recent.stateBytes = sample.stateBytes;
    recent.lastStep = step.number;
    // Taken out and put in again: the order is that of last activity.
    this.#shards.delete(sample.shard);
    this.#shards.set(sample.shard, recent);
  }
}
