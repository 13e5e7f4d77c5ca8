/**
 * What a replica measures of itself: offered load, CPU, who its users are, how its handlers do, recent queries.
 *
 * Everything is made on first use and dropped when read or stale: an idle replica pays for none of it.
 */
import type { CpuOwner } from '../io/cpu-segments.ts';
import type { ShardRequest } from '../model/request.ts';
import type { ExecutionStats, RecentQuery, ReplicaStatus } from '../node/protocol.ts';
import type { ReplicaLoad, ShardHost } from './contract.ts';
import type { LoadedHandler } from './handlers.ts';
import { RECENT_QUERIES_MAX, RECENT_QUERY_CHARS_MAX, USER_MS, USERS_MAX } from './limits.ts';

/** Weight of the newest stretch in what a handler is expected to take. */
const EXPECTATION_WEIGHT = 1 / 16;

/** For hosts whose CPU time is not real (simulated ones): the clock's readings at both ends. */
class PlainSegments {
  wallMs = 0;
  #host: ShardHost | undefined;
  #startMs = 0;
  #startMicros = 0;

  begin(host: ShardHost): void {
    this.#host = host;
    this.#startMs = host.monotonicMs();
    this.#startMicros = host.threadCpuMicros();
  }

  end(): number {
    const host = this.#host;
    if (host === undefined) return 0;
    this.#host = undefined;
    this.wallMs = host.monotonicMs() - this.#startMs;
    return host.threadCpuMicros() - this.#startMicros;
  }
}

// One is enough: a stretch is synchronous, so no other of this thread begins before it ends.
const plainSegments = new PlainSegments();

/** Charges an asynchronous call's later stretches to its replica. */
class LaterStretches implements CpuOwner {
  readonly #meter: ReplicaMeter;
  readonly #handler: LoadedHandler;

  constructor(meter: ReplicaMeter, handler: LoadedHandler) {
    this.#meter = meter;
    this.#handler = handler;
  }

  get expectedMicros(): number {
    return this.#handler.expectedMicros;
  }

  usedCpu(micros: number): void {
    this.#meter.used(this.#handler, micros);
  }
}

function emptyLoad(): ReplicaLoad {
  return {
    commands: 0,
    queries: 0,
    rejected: 0,
    byOrigin: new Map(),
    cpuMicros: 0,
    bytesIn: 0,
    bytesOut: 0,
    writeBytes: 0,
  };
}

function countOrigin(load: ReplicaLoad, origin: string, isCommand: boolean): void {
  let counts = load.byOrigin.get(origin);
  if (counts === undefined) {
    counts = [0, 0];
    load.byOrigin.set(origin, counts);
  }
  counts[isCommand ? 0 : 1]++;
}

/** Users of about the last ten seconds, up to {@link USERS_MAX}. */
class RecentUsers {
  readonly #seenMs = new Map<number, number>();

  saw(user: number, nowMs: number): void {
    if (this.#seenMs.size >= USERS_MAX && !this.#seenMs.has(user)) {
      this.#forget(nowMs);
      if (this.#seenMs.size >= USERS_MAX) return;
    }
    this.#seenMs.set(user, nowMs);
  }

  count(nowMs: number): number {
    this.#forget(nowMs);
    return this.#seenMs.size;
  }

  #forget(nowMs: number): void {
    for (const [user, seenMs] of this.#seenMs) if (nowMs - seenMs > USER_MS) this.#seenMs.delete(user);
  }
}

// Buckets a factor of 2^(1/4) apart, from 1 µs: the p99 is right within 10 %.
const BUCKETS_A_DOUBLING = 4;
const BUCKETS = 30 * BUCKETS_A_DOUBLING;
// Fewer executions than this are kept as they are: a histogram would be larger.
const EXACT_MAX = 32;

/** Count, errors and handler times of one kind of work. */
export class Executions {
  #count = 0;
  #errors = 0;
  #msSum = 0;
  #exact: number[] | undefined;
  #histogram: Uint32Array | undefined;

  add(handlerMs: number, isError: boolean): void {
    this.#count++;
    if (isError) this.#errors++;
    this.#msSum += handlerMs;
    if (this.#histogram !== undefined) {
      this.#histogram[bucketOfMs(handlerMs)]!++;
    } else if (this.#exact === undefined) {
      // A literal takes one slot where a push would take seventeen: most replicas are idle after one command.
      this.#exact = [handlerMs];
    } else {
      this.#exact.push(handlerMs);
      if (this.#exact.length < EXACT_MAX) return;
      this.#histogram = new Uint32Array(BUCKETS);
      for (const ms of this.#exact) this.#histogram[bucketOfMs(ms)]!++;
      this.#exact = undefined;
    }
  }

  stats(): ExecutionStats {
    return {
      count: this.#count,
      errors: this.#errors,
      handlerMsSum: this.#msSum,
      handlerMsP99: this.#p99(),
    };
  }

  #p99(): number {
    const rank = Math.ceil(0.99 * this.#count);
    if (this.#exact !== undefined) return this.#exact.toSorted((a, b) => a - b)[rank - 1] ?? 0;
    if (this.#histogram === undefined) return 0;
    let seen = 0;
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      seen += this.#histogram[bucket]!;
      if (seen >= rank) return 0.001 * 2 ** ((bucket + 0.5) / BUCKETS_A_DOUBLING);
    }
    return 0;
  }
}

function bucketOfMs(ms: number): number {
  const bucket = Math.floor(Math.log2(Math.max(ms, 0.001) * 1000) * BUCKETS_A_DOUBLING);
  return Math.min(BUCKETS - 1, bucket);
}

const NO_EXECUTIONS: ExecutionStats = { count: 0, errors: 0, handlerMsSum: 0, handlerMsP99: 0 };

interface Kept {
  handler: string;
  input: string;
  body: string;
  seq: number;
  handlerMs: number;
}

/** The last few queries with their answers: a new home of the shard is warmed up and checked with them. */
class RecentQueries {
  #kept: Kept[] | undefined;
  #next = 0;

  add(handler: string, input: string, body: string, seq: number, handlerMs: number): void {
    if (input.length + body.length > RECENT_QUERY_CHARS_MAX) return;
    const slot = this.#kept?.[this.#next];
    if (this.#kept === undefined) this.#kept = [{ handler, input, body, seq, handlerMs }];
    else if (slot === undefined) this.#kept.push({ handler, input, body, seq, handlerMs });
    else {
      slot.handler = handler;
      slot.input = input;
      slot.body = body;
      slot.seq = seq;
      slot.handlerMs = handlerMs;
    }
    this.#next = (this.#next + 1) % RECENT_QUERIES_MAX;
  }

  /** Newest first. */
  list(limit: number): RecentQuery[] {
    const all = this.#kept ?? [];
    const newestFirst: RecentQuery[] = [];
    for (let i = 1; i <= Math.min(limit, all.length); i++) {
      const kept = all[(this.#next - i + RECENT_QUERIES_MAX) % RECENT_QUERIES_MAX];
      if (kept === undefined) break;
      newestFirst.push({
        handler: kept.handler,
        input: Buffer.from(kept.input),
        status: 200,
        body: Buffer.from(kept.body),
        seq: kept.seq,
        handlerMs: kept.handlerMs,
      });
    }
    return newestFirst;
  }
}

/** All measurements of one replica. */
export class ReplicaMeter {
  /** Wall time of the call measured last, milliseconds. */
  handlerMs = 0;
  #load: ReplicaLoad | undefined;
  #users: RecentUsers | undefined;
  #recent: RecentQueries | undefined;
  #commands: Executions | undefined;
  #queries: Executions | undefined;

  offered(request: ShardRequest, handler: LoadedHandler, nowMs: number): void {
    const { isCommand, work } = handler;
    work.requests++;
    work.bytesIn += request.input.length;
    this.#load ??= emptyLoad();
    if (isCommand) this.#load.commands++;
    else this.#load.queries++;
    this.#load.bytesIn += request.input.length;
    countOrigin(this.#load, request.origin, isCommand);
    this.#users ??= new RecentUsers();
    this.#users.saw(request.userHash, nowMs);
  }

  rejected(): void {
    this.#load ??= emptyLoad();
    this.#load.rejected++;
  }

  /** @param handler absent: an upgrade of the state, which nobody asked for */
  wrote(bytes: number, handler?: LoadedHandler): void {
    this.#load ??= emptyLoad();
    this.#load.writeBytes += bytes;
    if (handler !== undefined) handler.work.writeBytes += bytes;
  }

  delivered(bytes: number, handler: LoadedHandler | undefined): void {
    this.#load ??= emptyLoad();
    this.#load.bytesOut += bytes;
    if (handler !== undefined) handler.work.bytesOut += bytes;
  }

  /**
   * A stretch of the shard's own work begins. For a command that is: check the input, run the handler on a draft, make
   * the delta; for a query: check the input, run the handler, write the result.
   */
  begin(host: ShardHost, handler: LoadedHandler): void {
    if (host.cpu === undefined) plainSegments.begin(host);
    else host.cpu.begin(handler.expectedMicros);
  }

  /** Harmless where nothing was begun. */
  end(host: ShardHost, handler: LoadedHandler): void {
    const segments = host.cpu ?? plainSegments;
    this.used(handler, segments.end());
    this.handlerMs = segments.wallMs;
  }

  used(handler: LoadedHandler, micros: number): void {
    if (micros === 0) return;
    handler.expectedMicros += (micros - handler.expectedMicros) * EXPECTATION_WEIGHT;
    handler.work.cpuMicros += micros;
    this.#load ??= emptyLoad();
    this.#load.cpuMicros += micros;
  }

  /** Runs `call`, of an asynchronous handler, so that what it does after its first await is charged as well. */
  follow<Arguments extends unknown[]>(
    host: ShardHost,
    handler: LoadedHandler,
    call: (...values: Arguments) => unknown,
    ...values: Arguments
  ): unknown {
    if (host.cpu === undefined) return call(...values);
    return host.cpu.follow(new LaterStretches(this, handler), call, ...values);
  }

  executed(isCommand: boolean, isError: boolean, handlerMs: number): void {
    if (isCommand) {
      this.#commands ??= new Executions();
      this.#commands.add(handlerMs, isError);
    } else {
      this.#queries ??= new Executions();
      this.#queries.add(handlerMs, isError);
    }
  }

  remember(handler: string, input: string, body: string, seq: number): void {
    this.#recent ??= new RecentQueries();
    this.#recent.add(handler, input, body, seq, this.handlerMs);
  }

  recentQueries(limit: number): RecentQuery[] {
    return this.#recent?.list(limit) ?? [];
  }

  takeLoad(nowMs: number): ReplicaLoad {
    const load = this.#load ?? emptyLoad();
    this.#load = undefined;
    // An idle replica gives back what only a busy one needs.
    if (this.#users?.count(nowMs) === 0) this.#users = undefined;
    return load;
  }

  executions(): ReplicaStatus['executed'] {
    return {
      commands: this.#commands?.stats() ?? NO_EXECUTIONS,
      queries: this.#queries?.stats() ?? NO_EXECUTIONS,
    };
  }

  resetExecutions(): void {
    this.#commands = undefined;
    this.#queries = undefined;
  }

  users(nowMs: number): number {
    return this.#users?.count(nowMs) ?? 0;
  }
}
