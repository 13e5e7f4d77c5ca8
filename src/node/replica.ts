/**
 * One replica on this node: the {@link ShardHost} its state asks, and what the migration participant sees of it.
 *
 * It ties a shard's state to the append batcher of its cell and to the lease. It decides nothing about ownership: when
 * an append is refused or a fence check fails it tells the table, which demotes it.
 *
 *   opening -> primary <-> sealed -> (demoted) -> follower
 *                   \________________________________ ended
 */
import type { CpuSegments } from '../io/cpu-segments.ts';
import type { HttpClient, Io } from '../io/io.ts';
import { problem } from '../model/errors.ts';
import type { Epoch, ProcessId, Seq, ShardId } from '../model/ids.ts';
import type { Mutations } from '../model/mutations.ts';
import type { Assignment } from '../model/records.ts';
import type { ShardReply, ShardRequest } from '../model/request.ts';
import type { ShardHost, ShardReplica } from '../shard/contract.ts';
import type { CellStore, LogEntry, Opening } from '../store/store.ts';
import type { AppendBatcher, Appender, UndurableBytes } from './append-batcher.ts';
import type { DeltaReader, LocalReplica } from './participant.ts';
import { STANDBY } from './protocol.ts';
import { Freshness } from './standby/freshness.ts';
import type { HandlerWatch } from './watchdog.ts';

/** How long a fence check keeps trying a cell that gives no answer. */
const FENCE_CHECK_MS_MAX = 5_000;
const FENCE_CHECK_RETRY_MS = 100;

const DELTA_BYTES_GUESS = 128;

export type ReplicaRole = 'primary' | 'follower' | 'opening' | 'sealed';

/** What a replica needs of its node; one object for all replicas. */
export interface ReplicaEnvironment {
  readonly io: Io;
  readonly undurable: UndurableBytes;
  readonly watch: HandlerWatch;
  readonly mutations: Mutations | undefined;
  /** See `NodeLimits`. */
  readonly snapshotLogBytesMin: number;
  /** Unique and growing within the process: the id of an append. */
  nextAppendId(): string;
  leaseValid(): boolean;
  leaseGeneration(): number;
  random(): number;
  /** Read the assignment: does it still name this process? Sets {@link HostedReplica.confirmedGeneration}. */
  confirm(replica: HostedReplica): void;
  /** Refused by the cell, or (`cutOff`) out of its reach: stop being primary. */
  deposed(replica: HostedReplica, reason: string, cutOff?: boolean): void;
  snapshotWanted(replica: HostedReplica): void;
}

export class HostedReplica implements LocalReplica, ShardHost, Appender {
  readonly shard: ShardId;
  readonly environment: ReplicaEnvironment;
  role: ReplicaRole;
  assignment: Assignment;
  cell: CellStore;
  batcher: AppendBatcher;
  /** Set as soon as the runtime has opened it. */
  state!: ShardReplica;
  /** The lease generation under which the assignment was last known to name this process; -1: not known. */
  confirmedGeneration = -1;
  confirming = false;
  ended = false;
  passivating = false;
  /** A follower that gets deltas: only then may it wait for a seq. */
  fed = false;
  /** A follower that was filled for a move, and has not been primary since. */
  prepared = false;
  /** Sealed, and the target was asked to take over: those who can go there themselves are sent ahead. */
  movingTo: { primary: ProcessId; epoch: Epoch } | undefined;
  /** Had a request since the last measuring step. */
  active = false;
  /** Deltas up to here were trimmed from the log. */
  trimmedSeq: Seq = 0;
  snapshotQueued = false;
  /** Bytes of deltas since the last snapshot, and size of that snapshot. */
  logBytes = 0;
  snapshotBytes = 0;
  appendCount = 0;
  /** A follower's source, and its durable seq as last heard. */
  source: { processId: string; address: string } | undefined;
  sourceSeq: Seq | undefined;
  migration: string | undefined;
  #freshness: Freshness | undefined;
  #durableBeforeOpen: Seq = 0;
  /** Serves before its opening is confirmed: what became durable meanwhile, and who waits. */
  #unconfirmed: { durableSeq: Seq; settled: Promise<boolean>; settle: (opened: boolean) => void } | undefined;
  /** Appended and not durable, in order; kept for those who follow. */
  #undurable: LogEntry[] = [];
  #durableListeners: Map<(entries: LogEntry[], durableSeq: Seq) => void, DeltaReader | undefined> | undefined;
  #endListeners: Set<(reason: string) => void> | undefined;
  #checkUnderWay: Promise<boolean> | undefined;
  #nextCheck: Promise<boolean> | undefined;

  constructor(options: {
    environment: ReplicaEnvironment;
    assignment: Assignment;
    role: ReplicaRole;
    cell: CellStore;
    batcher: AppendBatcher;
  }) {
    this.environment = options.environment;
    this.assignment = options.assignment;
    this.shard = options.assignment.shard;
    this.role = options.role;
    this.cell = options.cell;
    this.batcher = options.batcher;
  }

  get epoch(): Epoch {
    return this.assignment.epoch;
  }

  /** Its commands run, and nothing that they or queries read has left yet: see {@link serveUnconfirmed}. */
  get unconfirmed(): boolean {
    return this.#unconfirmed !== undefined;
  }

  /**
   * A promoted follower that is known to have the whole log runs commands while its opening is on the way. OWNERSHIP
   * rule 2 holds for all that can be seen: no reply, no read index and no delta for others leaves before
   * {@link openingConfirmed}, and the cell gets the raise of the fence before the first append.
   */
  serveUnconfirmed(): void {
    let settle: (opened: boolean) => void = () => {};
    const settled = new Promise<boolean>((resolve) => {
      settle = resolve;
    });
    this.#unconfirmed = { durableSeq: 0, settled, settle };
  }

  /** The fence is this epoch's and the log ends where it should: what was held back leaves. */
  openingConfirmed(): void {
    const unconfirmed = this.#unconfirmed;
    if (unconfirmed === undefined || this.ended) return;
    this.#unconfirmed = undefined;
    if (unconfirmed.durableSeq > 0) this.appended(unconfirmed.durableSeq);
    unconfirmed.settle(true);
  }

  /** Serves, or will again when its seal is lifted: requests go to its state. */
  get takesRequests(): boolean {
    return this.role === 'primary' || this.role === 'sealed';
  }

  // ---- ShardHost

  monotonicMs(): number {
    return this.environment.io.clock.monotonicMs();
  }

  realtimeMs(): number {
    return this.environment.io.clock.realtimeMs();
  }

  setTimer(delayMs: number, fire: () => void): () => void {
    return this.environment.io.clock.setTimer(delayMs, fire);
  }

  defer(run: () => void): void {
    this.environment.io.clock.defer(run);
  }

  get mutations(): Mutations | undefined {
    return this.environment.mutations;
  }

  get cpu(): CpuSegments | undefined {
    return this.environment.io.cpu;
  }

  threadCpuMicros(): number {
    return this.environment.io.threadCpuMicros();
  }

  random(): number {
    return this.environment.random();
  }

  append(seq: Seq, delta: Uint8Array): void {
    if (!this.appending) return;
    const id = this.environment.nextAppendId();
    this.appendCount++;
    this.#undurable.push({ seq, id, delta });
    this.logBytes += delta.byteLength;
    this.batcher.add(this, this.assignment.epoch, seq, id, delta);
    if (this.mutations?.has('stream-before-durable')) this.#stream([{ seq, id, delta }], seq);
  }

  mayAnswer(): true | Promise<boolean> {
    // OWNERSHIP rule 5: sealed, it answers nothing.
    if (this.ended || this.role === 'follower' || this.role === 'sealed') return Promise.resolve(false);
    if (this.#unconfirmed !== undefined)
      return this.#unconfirmed.settled.then((opened) => opened && this.mayAnswer());
    // OWNERSHIP rule 4: by a valid lease, under which the assignment is known to name this process ...
    if (this.mutations?.has('answer-unproven')) return true;
    if (this.environment.leaseValid()) {
      if (this.mutations?.has('no-catch-up')) return true;
      if (this.confirmedGeneration === this.environment.leaseGeneration()) return true;
      if (!this.confirming) this.environment.confirm(this);
    }
    // ... or by a fence check that begins after the question: whoever asks while one is under way gets the next.
    if (this.#checkUnderWay === undefined) return this.#startCheck();
    this.#nextCheck ??= this.#checkUnderWay.then(() => {
      this.#nextCheck = undefined;
      return this.#startCheck();
    });
    return this.#nextCheck;
  }

  admit(bytes: number): boolean {
    // A cell near its limit takes no new work: what is under way, snapshots and trims have the rest.
    return !this.cell.pressure?.()?.high && this.environment.undurable.admit(bytes);
  }

  enterHandler(shard: ShardId, handler: string, idempotencyKey: string | undefined): void {
    this.environment.watch.enter(shard, handler, idempotencyKey);
  }

  leaveHandler(): void {
    this.environment.watch.leave();
  }

  get http(): HttpClient | undefined {
    return this.environment.io.http;
  }

  effectFailed(shard: ShardId, handler: string, what: 'failed' | 'dropped', error: unknown): void {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    this.environment.io.log.warn(
      { shard, handler, error: text },
      `a callback after the commit ${what === 'failed' ? 'failed' : 'was dropped'}`,
    );
  }

  snapshotWanted(): void {
    if (!this.ended && !this.snapshotQueued) this.environment.snapshotWanted(this);
  }

  #startCheck(): Promise<boolean> {
    const check = this.#fenceCheck().then((answer) => {
      if (this.#checkUnderWay === check) this.#checkUnderWay = undefined;
      return answer;
    });
    this.#checkUnderWay = check;
    return check;
  }

  async #fenceCheck(): Promise<boolean> {
    const untilMs = this.monotonicMs() + FENCE_CHECK_MS_MAX;
    while (!this.ended) {
      try {
        const fence = await this.cell.raiseFence(this.shard, this.epoch);
        // Sealed or handed over meanwhile: the answer is no longer this replica's to give.
        if (this.ended || this.role === 'sealed' || this.role === 'follower') return false;
        if (fence === this.epoch) return true;
        this.environment.deposed(this, `fenced by epoch ${fence}`);
        return false;
      } catch {
        if (this.monotonicMs() > untilMs) return false;
        await new Promise<void>((resolve) => {
          this.setTimer(FENCE_CHECK_RETRY_MS, resolve);
        });
      }
    }
    return false;
  }

  // ---- Appender

  get appending(): boolean {
    return !this.ended && this.role !== 'follower';
  }

  appended(seq: Seq): void {
    if (this.#unconfirmed !== undefined) {
      this.#unconfirmed.durableSeq = seq;
      return;
    }
    const queue = this.#undurable;
    let count = 0;
    while (count < queue.length && queue[count]!.seq <= seq) count++;
    const entries = queue.splice(0, count);
    if (this.state === undefined) this.#durableBeforeOpen = seq;
    else this.state.durable(seq);
    // The log has outgrown what replaces it.
    if (this.logBytes > this.environment.snapshotLogBytesMin && this.logBytes > this.snapshotBytes)
      this.snapshotWanted();
    // OWNERSHIP rule 7: only durable deltas go to others.
    if (entries.length > 0) this.#stream(entries, seq);
  }

  #stream(entries: LogEntry[], seq: Seq): void {
    const listeners = this.#durableListeners;
    if (listeners !== undefined) for (const listener of [...listeners.keys()]) listener(entries, seq);
  }

  appendFailed(reason: string, cutOff: boolean): void {
    this.environment.deposed(this, reason, cutOff);
  }

  /** What the log holds, from its opening; `knownSeq` where that left out what comes before it. */
  measureLog(opening: Opening, knownSeq: Seq = 0): void {
    const { snapshot, snapshotLeftOut } = opening;
    this.trimmedSeq = snapshot?.seq ?? snapshotLeftOut?.seq ?? 0;
    this.snapshotBytes = snapshot?.bytes.byteLength ?? snapshotLeftOut?.bytes ?? 0;
    // Guessed, so that a shard which moves often is still trimmed some day.
    this.logBytes = snapshot ? 0 : Math.max(0, knownSeq - this.trimmedSeq) * DELTA_BYTES_GUESS;
    for (const { delta } of opening.entries) this.logBytes += delta.byteLength;
  }

  /** The runtime has opened it. */
  opened(state: ShardReplica): void {
    this.state = state;
    if (this.#durableBeforeOpen > 0) state.durable(this.#durableBeforeOpen);
  }

  // ---- LocalReplica

  onDurable(listener: (entries: LogEntry[], durableSeq: Seq) => void, reader?: DeltaReader): () => void {
    this.#durableListeners ??= new Map();
    this.#durableListeners.set(listener, reader);
    return () => this.#durableListeners?.delete(listener);
  }

  onEnd(listener: (reason: string) => void): () => void {
    this.#endListeners ??= new Set();
    this.#endListeners.add(listener);
    return () => this.#endListeners?.delete(listener);
  }

  /** A migration streams its deltas; standbys do not count, they end with their primary. */
  get followed(): boolean {
    if (this.#durableListeners === undefined) return false;
    for (const reader of this.#durableListeners.values()) if (reader?.migration !== STANDBY) return true;
    return false;
  }

  /** Whether the process follows as a standby. */
  standsBy(process: ProcessId): boolean {
    if (this.#durableListeners === undefined) return false;
    for (const reader of this.#durableListeners.values())
      if (reader?.process === process && reader.migration === STANDBY) return true;
    return false;
  }

  /** How old a follower's state is at most. */
  get freshness(): Freshness {
    this.#freshness ??= new Freshness();
    return this.#freshness;
  }

  /** Stops appending and tells those who follow; the state is the caller's to demote or close. */
  end(reason: string): void {
    if (this.ended) return;
    this.ended = true;
    this.#unconfirmed?.settle(false);
    this.#unconfirmed = undefined;
    this.#announceEnd(reason);
  }

  /** Sealed, with the target asked to take over, and whoever asks can go there itself. */
  sendsAhead(request: ShardRequest): boolean {
    return this.movingTo !== undefined && request.redirects === true && request.hops === 0;
  }

  /** The answer to those. */
  ahead(): ShardReply {
    const { primary, epoch } = this.movingTo!;
    const { version } = this.assignment;
    return {
      ...problem('moved', `${primary} is about to run it`),
      moved: { primary, epoch, version, ahead: true },
    };
  }

  /** Was primary, is a follower now: streams to others end, appends are no more. */
  becomeFollower(next: Assignment, source: { processId: string; address: string }): void {
    this.role = 'follower';
    this.movingTo = undefined;
    this.assignment = next;
    this.source = source;
    this.prepared = false;
    this.#unconfirmed?.settle(false);
    this.#unconfirmed = undefined;
    this.#announceEnd('handed over');
  }

  #announceEnd(reason: string): void {
    this.#undurable = [];
    const listeners = this.#endListeners;
    this.#endListeners = undefined;
    this.#durableListeners = undefined;
    if (listeners) for (const listener of listeners) listener(reason);
  }
}
