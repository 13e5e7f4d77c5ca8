/**
 * Samples in, closed steps out.
 *
 * Job: bring what nodes report (irregular, late, doubled, from two nodes during a migration, broken) onto one grid of
 * steps, and keep a short window of each shard's active steps for people and reasons.
 * Boundary: reads no clock; the caller says up to when steps are complete.
 * Invariants: a count enters exactly one step; a closed step never changes; an idle shard costs nothing a step; memory is
 * bounded by {@link SHARDS_MAX} times {@link WINDOW_STEPS} entries.
 */
import type { ProcessId, Region, ShardId } from '../model/ids.ts';
import type { HandlerLoad, HandlerMix, LoadSample } from '../model/load.ts';
import { CumulativeSamples } from './cumulative.ts';
import { cleanMix, mergeMix } from './handler-mix.ts';
import type { LoadStep } from './step.ts';

/** Active steps kept per shard: enough to show a rate over the last seconds, small enough for 100,000 shards. */
export const WINDOW_STEPS = 8;
/** Shards kept; beyond it the one idle for longest is forgotten. */
export const SHARDS_MAX = 200_000;
/** A sample later than this many closed steps is dropped: it would tell a wrong story about now. */
export const LATE_STEPS_MAX = 3;
/** Open steps held for samples ahead of the caller's clock; further ahead is refused as a broken clock. */
export const AHEAD_STEPS_MAX = 4;
/** A silent node's share is carried as missing for this many steps; then it counts as gone. */
export const SILENT_STEPS_MAX = 10;
/** Steps that nothing was heard in are closed one by one as far as this; in a longer silence numbers skip. */
export const CATCH_UP_STEPS_MAX = 4096;
/** Share of a node's load that the newest step contributes to its remembered share. */
const SOURCE_SMOOTHING = 0.3;

/** What was wrong with samples, since the start. */
export interface WindowProblems {
  duplicates: number;
  late: number;
  lateDropped: number;
  ahead: number;
  /** Cumulative samples that fell: counted from zero. Negative numbers: taken as zero. */
  resets: number;
  /** NaN or infinite numbers. Taken as zero. */
  notNumbers: number;
  /** Samples without a shard, a time or a length; mixes likewise; handlers without a name or beyond their bound. */
  malformed: number;
}

interface OpenStep {
  shards: Map<ShardId, LoadSample>;
  seen: Set<string>;
  bySource: Map<ProcessId, number>;
  /** By service and handler; absent while no node told its mix. */
  mix?: Map<string, HandlerLoad>;
}

/** Recent activity of one shard. */
export interface ShardWindow {
  shard: ShardId;
  /** Newest last. */
  steps: {
    number: number;
    commands: number;
    queries: number;
    cpuSeconds: number;
    bytesIn: number;
    bytesOut: number;
  }[];
}

const FIELDS = 5;

/**
 * @example
 * const windows = new LoadWindows({ stepMs: 1000 });
 * windows.ingest(samples, 'us-east-1-n1.k3f9x0');
 * for (const step of windows.close(nowMs)) engine.observe(step);
 */
export class LoadWindows {
  readonly stepMs: number;
  readonly problems: WindowProblems = {
    duplicates: 0,
    late: 0,
    lateDropped: 0,
    ahead: 0,
    resets: 0,
    notNumbers: 0,
    malformed: 0,
  };
  readonly #cumulative = new CumulativeSamples();
  readonly #open = new Map<number, OpenStep>();
  readonly #sources = new Map<ProcessId, { rate: number; lastStep: number }>();
  readonly #index = new Map<ShardId, number>();
  readonly #free: number[] = [];
  #next = 0;
  #numbers = new Float64Array(0);
  #values = new Float32Array(0);
  #heads = new Uint8Array(0);
  #closedUpTo: number | undefined;
  #regions = new Map<Region, { commands: number; queries: number }>();

  constructor(options: { stepMs: number }) {
    if (!(options.stepMs > 0)) throw new RangeError('stepMs must be above zero');
    this.stepMs = options.stepMs;
  }

  /** Shards with a window. */
  get shardCount(): number {
    return this.#index.size;
  }

  /**
   * Takes a node's report. An empty one counts too: it says the node is there and idle.
   *
   * @param mix its work by handler: on the grid by the rules of samples
   */
  ingest(
    samples: readonly LoadSample[],
    source: ProcessId = '',
    reportAtMs?: number,
    mix?: HandlerMix,
  ): void {
    if (reportAtMs !== undefined && Number.isFinite(reportAtMs) && samples.length === 0) {
      const open = this.#stepFor(this.#numberOf(reportAtMs, this.stepMs));
      if (open !== undefined && !open.bySource.has(source)) open.bySource.set(source, 0);
    }
    for (const sample of samples) this.#take(sample, source);
    if (mix !== undefined) this.#takeMix(mix, source);
  }

  /**
   * Closes every step that ended at or before `completeToMs`, oldest first. A step nobody reported on is returned as
   * empty with all of its load missing, so that consumers keep their place on the grid. A gap of more than
   * {@link SILENT_STEPS_MAX} steps is skipped: step numbers tell.
   */
  close(completeToMs: number): LoadStep[] {
    const last = Math.floor(completeToMs / this.stepMs + 1e-9);
    if (!Number.isFinite(last)) return [];
    if (this.#closedUpTo === undefined) {
      if (this.#open.size === 0) return [];
      this.#closedUpTo = Math.min(...this.#open.keys()) - 1;
    }
    const steps: LoadStep[] = [];
    let number = this.#closedUpTo + 1;
    if (last - number > SILENT_STEPS_MAX) {
      let oldest = last - SILENT_STEPS_MAX;
      for (const open of this.#open.keys()) oldest = Math.min(oldest, open);
      number = Math.max(number, oldest);
    }
    for (; number <= last; number++) {
      // A clock that jumps a year ahead would be millions of empty steps.
      const next = this.#nextOpen(number, last);
      if (next - number > CATCH_UP_STEPS_MAX) number = next - SILENT_STEPS_MAX;
      steps.push(this.#closeOne(number));
      this.#closedUpTo = number;
    }
    return steps;
  }

  /** The next step that something was heard in; the last to be closed where there is none. */
  #nextOpen(number: number, last: number): number {
    let next = last;
    for (const open of this.#open.keys()) if (open >= number && open < next) next = open;
    return next;
  }

  /** Requests of the last closed step by origin, a second. */
  ratesByOrigin(): Record<Region, { commands: number; queries: number }> {
    const rates: Record<Region, { commands: number; queries: number }> = {};
    for (const [region, sum] of this.#regions) rates[region] = { ...sum };
    return rates;
  }

  /** The last active steps of a shard; undefined when it was never active or has been forgotten. */
  window(shard: ShardId): ShardWindow | undefined {
    const index = this.#index.get(shard);
    if (index === undefined) return undefined;
    const steps: ShardWindow['steps'] = [];
    for (let i = 0; i < WINDOW_STEPS; i++) {
      const slot = index * WINDOW_STEPS + ((this.#heads[index]! + i) % WINDOW_STEPS);
      const number = this.#numbers[slot]!;
      if (number === 0) continue;
      const at = slot * FIELDS;
      const [commands, queries, cpuSeconds, bytesIn, bytesOut] = this.#values.subarray(at, at + FIELDS);
      steps.push({
        number,
        commands: commands!,
        queries: queries!,
        cpuSeconds: cpuSeconds!,
        bytesIn: bytesIn!,
        bytesOut: bytesOut!,
      });
    }
    return { shard, steps };
  }

  /** Requests a second of a shard over the last `steps` closed steps; idle steps count as zero. */
  recentRate(shard: ShardId, steps: number): number {
    const window = this.window(shard);
    if (window === undefined || this.#closedUpTo === undefined) return 0;
    let sum = 0;
    for (const step of window.steps)
      if (step.number > this.#closedUpTo - steps) sum += step.commands + step.queries;
    return (sum * 1000) / (steps * this.stepMs);
  }

  #numberOf(atMs: number, stepMs: number): number {
    // A node's step is not aligned with ours: it belongs where its middle lies.
    return Math.floor((atMs - stepMs / 2) / this.stepMs) + 1;
  }

  #stepFor(number: number): OpenStep | undefined {
    let target = number;
    if (this.#closedUpTo !== undefined) {
      if (number <= this.#closedUpTo - LATE_STEPS_MAX) {
        this.problems.lateDropped++;
        return undefined;
      }
      if (number <= this.#closedUpTo) {
        // Late, but real: it is counted where there is still room, so that shares stay right.
        this.problems.late++;
        target = this.#closedUpTo + 1;
      } else if (number > this.#closedUpTo + AHEAD_STEPS_MAX + SILENT_STEPS_MAX) {
        this.problems.ahead++;
        // A long pause of ours looks the same as a broken clock; believe it only when nothing is open.
        if (this.#open.size > 0) return undefined;
      }
    }
    let open = this.#open.get(target);
    if (open === undefined) {
      open = { shards: new Map(), seen: new Set(), bySource: new Map() };
      this.#open.set(target, open);
    }
    return open;
  }

  #take(sample: LoadSample, source: ProcessId): void {
    if (!sample?.shard || !Number.isFinite(sample.atMs) || !(sample.stepMs > 0)) {
      this.problems.malformed++;
      return;
    }
    if (sample.kind === 'counter') {
      const found = this.#cumulative.increase(sample, source);
      if (found === 'late') this.problems.duplicates++;
      if (typeof found === 'string') return;
      if (found.reset) this.problems.resets++;
      this.#take({ ...found.sample, kind: 'gauge' }, source);
      return;
    }
    const key = `${sample.shard}\u0000${source}\u0000${sample.atMs}`;
    if (this.#isDouble(key)) return;
    const clean = this.#clean(sample);
    this.#spread(sample, key, (open, share) => {
      merge(open.shards, clean, share);
      const requests = (clean.commands + clean.queries) * share;
      open.bySource.set(source, (open.bySource.get(source) ?? 0) + requests);
    });
  }

  #takeMix(mix: HandlerMix, source: ProcessId): void {
    if (!mix || !Number.isFinite(mix.atMs) || !(mix.stepMs > 0) || !Array.isArray(mix.handlers)) {
      this.problems.malformed++;
      return;
    }
    // No sample's: those begin with a shard.
    const key = `\u0000${source}\u0000${mix.atMs}`;
    if (this.#isDouble(key)) return;
    const { loads, refused } = cleanMix(mix.handlers, (value) => this.#number(value));
    this.problems.malformed += refused;
    this.#spread(mix, key, (open, share) => {
      open.mix ??= new Map();
      this.problems.malformed += mergeMix(open.mix, loads, share);
    });
  }

  /** Checked where the last piece lands: later steps remember what earlier ones saw. */
  #isDouble(key: string): boolean {
    for (const open of this.#open.values())
      if (open.seen.has(key)) {
        this.problems.duplicates++;
        return true;
      }
    return false;
  }

  /** Puts what was measured up to `atMs` over `stepMs` into the steps that it covers, a share each. */
  #spread(
    { atMs, stepMs }: Pick<LoadSample, 'atMs' | 'stepMs'>,
    key: string,
    into: (open: OpenStep, share: number) => void,
  ): void {
    const pieces = Math.min(
      AHEAD_STEPS_MAX,
      Math.max(1, stepMs > 1.5 * this.stepMs ? Math.round(stepMs / this.stepMs) : 1),
    );
    const pieceMs = stepMs / pieces;
    for (let piece = 0; piece < pieces; piece++) {
      const open = this.#stepFor(
        this.#numberOf(atMs - (pieces - 1 - piece) * pieceMs, Math.min(pieceMs, this.stepMs)),
      );
      if (open === undefined) continue;
      open.seen.add(key);
      into(open, 1 / pieces);
    }
  }

  #clean(sample: LoadSample): LoadSample {
    const byOrigin: LoadSample['byOrigin'] = {};
    let commandsByOrigin = 0;
    let queriesByOrigin = 0;
    for (const [origin, counts] of Object.entries(sample.byOrigin ?? {})) {
      const clean = { commands: this.#number(counts?.commands), queries: this.#number(counts?.queries) };
      commandsByOrigin += clean.commands;
      queriesByOrigin += clean.queries;
      byOrigin[origin] = clean;
    }
    return {
      shard: sample.shard,
      atMs: sample.atMs,
      stepMs: sample.stepMs,
      commands: Math.max(this.#number(sample.commands), commandsByOrigin),
      queries: Math.max(this.#number(sample.queries), queriesByOrigin),
      rejected: this.#number(sample.rejected),
      byOrigin,
      cpuSeconds: this.#number(sample.cpuSeconds),
      stateBytes: this.#number(sample.stateBytes),
      bytesIn: this.#number(sample.bytesIn),
      bytesOut: this.#number(sample.bytesOut),
      writeBytes: this.#number(sample.writeBytes),
      censored: sample.censored === true,
    };
  }

  #number(value: number | undefined): number {
    if (value === undefined) return 0;
    if (!Number.isFinite(value)) {
      this.problems.notNumbers++;
      return 0;
    }
    if (value < 0) {
      this.problems.resets++;
      return 0;
    }
    return value;
  }

  #closeOne(number: number): LoadStep {
    const open = this.#open.get(number);
    this.#open.delete(number);
    const missingShare = this.#missing(number, open);
    this.#regions = new Map();
    const shards: LoadSample[] = [];
    const perSecond = 1000 / this.stepMs;
    if (open !== undefined) {
      // What arrives twice may arrive twice a little later as well.
      const next = this.#open.get(number + 1);
      if (next !== undefined) for (const key of open.seen) next.seen.add(key);
      for (const sample of open.shards.values()) {
        sample.atMs = number * this.stepMs;
        sample.stepMs = this.stepMs;
        shards.push(sample);
        this.#remember(number, sample);
        for (const [origin, counts] of Object.entries(sample.byOrigin)) {
          let sum = this.#regions.get(origin);
          if (sum === undefined) {
            sum = { commands: 0, queries: 0 };
            this.#regions.set(origin, sum);
          }
          sum.commands += counts.commands * perSecond;
          sum.queries += counts.queries * perSecond;
        }
      }
    }
    const step: LoadStep = {
      number,
      atMs: number * this.stepMs,
      stepS: this.stepMs / 1000,
      shards,
      missingShare,
    };
    if (open?.mix !== undefined) step.mix = [...open.mix.values()];
    return step;
  }

  #missing(number: number, open: OpenStep | undefined): number {
    for (const [source, requests] of open?.bySource ?? []) {
      const known = this.#sources.get(source);
      if (known === undefined) this.#sources.set(source, { rate: requests, lastStep: number });
      else {
        known.rate += SOURCE_SMOOTHING * (requests - known.rate);
        known.lastStep = number;
      }
    }
    let total = 0;
    let silent = 0;
    for (const [source, { rate, lastStep }] of this.#sources) {
      if (number - lastStep > SILENT_STEPS_MAX) this.#sources.delete(source);
      else {
        total += rate;
        if (lastStep < number) silent += rate;
      }
    }
    return total > 0 ? silent / total : 0;
  }

  #remember(number: number, sample: LoadSample): void {
    let index = this.#index.get(sample.shard);
    if (index === undefined) {
      if (this.#index.size >= SHARDS_MAX) this.#forgetOldest();
      index = this.#free.pop() ?? this.#next++;
      this.#grow(index + 1);
      this.#index.set(sample.shard, index);
    } else {
      // Most recently active last: the map's order is the order of forgetting.
      this.#index.delete(sample.shard);
      this.#index.set(sample.shard, index);
    }
    const slot = index * WINDOW_STEPS + this.#heads[index]!;
    this.#heads[index] = (this.#heads[index]! + 1) % WINDOW_STEPS;
    this.#numbers[slot] = number;
    const at = slot * FIELDS;
    this.#values[at] = sample.commands;
    this.#values[at + 1] = sample.queries;
    this.#values[at + 2] = sample.cpuSeconds;
    this.#values[at + 3] = sample.bytesIn;
    this.#values[at + 4] = sample.bytesOut;
  }

  #forgetOldest(): void {
    const oldest = this.#index.entries().next().value;
    if (oldest === undefined) return;
    this.#index.delete(oldest[0]);
    this.#numbers.fill(0, oldest[1] * WINDOW_STEPS, (oldest[1] + 1) * WINDOW_STEPS);
    this.#free.push(oldest[1]);
  }

  #grow(shards: number): void {
    const capacity = this.#heads.length;
    if (shards <= capacity) return;
    const next = Math.max(1024, capacity * 2, shards);
    const numbers = new Float64Array(next * WINDOW_STEPS);
    numbers.set(this.#numbers);
    const values = new Float32Array(next * WINDOW_STEPS * FIELDS);
    values.set(this.#values);
    const heads = new Uint8Array(next);
    heads.set(this.#heads);
    this.#numbers = numbers;
    this.#values = values;
    this.#heads = heads;
  }
}

function merge(into: Map<ShardId, LoadSample>, sample: LoadSample, share: number): void {
  let sum = into.get(sample.shard);
  if (sum === undefined) {
    sum = {
      ...sample,
      commands: 0,
      queries: 0,
      rejected: 0,
      byOrigin: {},
      cpuSeconds: 0,
      stateBytes: 0,
      bytesIn: 0,
      bytesOut: 0,
      writeBytes: 0,
      censored: false,
    };
    into.set(sample.shard, sum);
  }
  sum.commands += sample.commands * share;
  sum.queries += sample.queries * share;
  sum.rejected += sample.rejected * share;
  sum.cpuSeconds += sample.cpuSeconds * share;
  sum.bytesIn += sample.bytesIn * share;
  sum.bytesOut += sample.bytesOut * share;
  sum.writeBytes += sample.writeBytes * share;
  // Two nodes of one migration hold the same state: it is not there twice.
  sum.stateBytes = Math.max(sum.stateBytes, sample.stateBytes);
  sum.censored ||= sample.censored;
  for (const [origin, counts] of Object.entries(sample.byOrigin)) {
    let known = sum.byOrigin[origin];
    if (known === undefined) {
      known = { commands: 0, queries: 0 };
      sum.byOrigin[origin] = known;
    }
    known.commands += counts.commands * share;
    known.queries += counts.queries * share;
  }
}
