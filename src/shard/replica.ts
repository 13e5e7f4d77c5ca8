/**
 * One replica of a shard: commands in order on drafts, deltas, the output gate, roles.
 *
 *             open()            seal()            demote()           follow()
 *   primary  --------> serving --------> sealed ------------> ended ---------> follower
 *                         ^  unseal()      |                                     |
 *                         +----------------+            promote(epoch)           |
 *                         +------------------------------------------------------+
 *
 * The next command already runs while earlier deltas are not durable; nothing that read them leaves before they are
 * (OWNERSHIP rule 4). A synchronous handler runs, commits and appends within the call of `execute`; an asynchronous one
 * holds the shard until it settles or its time is up.
 *
 * Invariants: states are immutable, so what a query, a snapshot or a draft started from never changes under it;
 * `durableSeq` <= `appliedSeq`; after `seal` resolved nothing is answered.
 */
import { ProblemError, problem } from '../model/errors.ts';
import { parseShardId, type ShardId } from '../model/ids.ts';
import type { IdempotencyKey, ShardReply, ShardRequest } from '../model/request.ts';
import type { RecentQuery, ReplicaStatus } from '../node/protocol.ts';
import type { LogEntry, StoredSnapshot } from '../store/store.ts';
import {
  Demoted,
  type HeldRequest,
  type ReplicaLoad,
  type ShardHost,
  type ShardReplica,
} from './contract.ts';
import { decodeDelta, encodeDelta } from './delta.ts';
import { type Draft, openDraft } from './draft.ts';
import { type Committed, OutputGate } from './gate.ts';
import {
  failure,
  HandlerContext,
  inputText,
  isThenable,
  keyText,
  type LoadedHandler,
  type LoadedService,
  resultText,
  validInput,
} from './handlers.ts';
import { IdempotencyWindow, requestHash, type WindowSnapshot } from './idempotency.ts';
import {
  DELTA_BYTES_MAX,
  HELD_REQUESTS_MAX,
  PENDING_BYTES_MAX,
  PENDING_COMMANDS_MAX,
  RETRY_AFTER_S,
  SLICE_MS_MAX,
  STATE_BYTES_MAX,
  WINDOW_AGE_MS_MAX,
} from './limits.ts';
import { ReplicaMeter } from './metering.ts';
import { Applier, Diff, type Json } from './patch.ts';
import { SeqWaiters } from './seq-waiters.ts';
import { encodeSnapshot, type SnapshotContent } from './snapshot.ts';
import { initialState, upgradedState } from './upgrade.ts';

type Role = 'primary' | 'follower' | 'ended';

/** A command or query whose handler (or validation) is asynchronous and has not settled. */
interface AsyncRun {
  held: HeldRequest;
  handler: LoadedHandler;
  draft: Draft | undefined;
  startedMs: number;
  /** Settled, timed out or abandoned: what comes later is ignored. */
  over: boolean;
  cancelTimer: () => void;
}

const EMPTY_WINDOW: WindowSnapshot = { rows: [], marks: [], forgottenMs: Number.NEGATIVE_INFINITY };

export class Replica implements ShardReplica {
  readonly shard: ShardId;
  epoch: number;
  lastUsedMs: number;

  readonly #loaded: LoadedService;
  readonly #host: ShardHost;
  readonly #key: string;
  #role: Role;
  #sealed = false;
  /** The last command's state, durable or not; what handlers see. */
  #applied: Committed;
  /** The last durable state: what snapshots hold and followers may have. */
  #durable: Committed;
  #window: IdempotencyWindow | undefined;
  #gate: OutputGate | undefined;
  #undurableCommands = 0;
  #undurableBytes = 0;
  /** Commands behind an asynchronous one. */
  #queue: HeldRequest[] | undefined;
  #queueBytes = 0;
  #running: AsyncRun | undefined;
  #asyncQueries: Set<AsyncRun> | undefined;
  /** Requests that came while sealed. */
  #heldWhileSealed: HeldRequest[] | undefined;
  /** Replies that wait for the host to confirm that they may leave. */
  #confirming = 0;
  #sealWaiters: { resolve: () => void; reject: (error: unknown) => void }[] | undefined;
  #seqWaiters: SeqWaiters | undefined;
  readonly #meter = new ReplicaMeter();

  constructor(options: {
    shard: ShardId;
    epoch: number;
    role: 'primary' | 'follower';
    loaded: LoadedService;
    host: ShardHost;
    /** Undefined: nothing was ever written. */
    content: SnapshotContent | undefined;
    seq: number;
  }) {
    this.shard = options.shard;
    this.epoch = options.epoch;
    this.#role = options.role;
    this.#loaded = options.loaded;
    this.#host = options.host;
    this.#key = parseShardId(options.shard).key;
    this.lastUsedMs = options.host.monotonicMs();
    const { content } = options;
    this.#applied = {
      seq: options.seq,
      state: content?.state ?? initialState(options.loaded),
      stateBytes: content?.stateBytes ?? 0,
      version: content?.version ?? options.loaded.version,
      timeMs: content?.timeMs ?? 0,
    };
    this.#durable = this.#applied;
    if (content !== undefined && (content.window.rows.length > 0 || content.window.marks.length > 0)) {
      this.#window = IdempotencyWindow.fromSnapshot(content.window);
    }
  }

  get appliedSeq(): number {
    return this.#applied.seq;
  }

  get durableSeq(): number {
    return this.#durable.seq;
  }

  get stateBytes(): number {
    return this.#applied.stateBytes;
  }

  get pendingCommands(): number {
    return this.#undurableCommands + (this.#queue?.length ?? 0) + (this.#running === undefined ? 0 : 1);
  }

  // ------------------------------------------------------------------ requests

  execute(request: ShardRequest): Promise<ShardReply> {
    return new Promise((resolve, reject) => {
      this.#offer({ request, resolve, reject });
    });
  }

  #offer(held: HeldRequest): void {
    const { request } = held;
    if (this.#role !== 'primary') {
      held.reject(new Demoted(false));
      return;
    }
    const handler = this.#loaded.handlers.get(request.handler);
    if (handler === undefined) {
      held.resolve(this.#stamp(unknownHandler(this.#loaded, request)));
      return;
    }
    this.lastUsedMs = this.#host.monotonicMs();
    this.#meter.offered(request, handler.isCommand, this.lastUsedMs);
    this.#start(held, handler);
  }

  #start(held: HeldRequest, handler: LoadedHandler): void {
    if (this.#sealed) {
      this.#hold(held);
    } else if (!handler.isCommand) {
      this.#query(held, handler);
    } else if (this.#running !== undefined || (this.#queue !== undefined && this.#queue.length > 0)) {
      this.#enqueue(held);
    } else {
      this.#command(held, handler);
    }
  }

  #hold(held: HeldRequest): void {
    this.#heldWhileSealed ??= [];
    if (this.#heldWhileSealed.length >= HELD_REQUESTS_MAX) this.#overloaded(held);
    else this.#heldWhileSealed.push(held);
  }

  #enqueue(held: HeldRequest): void {
    if (this.#isFull(held.request.input.length)) {
      this.#overloaded(held);
      return;
    }
    this.#queue ??= [];
    this.#queue.push(held);
    this.#queueBytes += held.request.input.length;
  }

  #isFull(bytes: number): boolean {
    return (
      this.pendingCommands >= PENDING_COMMANDS_MAX ||
      this.#undurableBytes + this.#queueBytes + bytes > PENDING_BYTES_MAX
    );
  }

  /** Nothing was executed and nothing read: this reply needs no gate. */
  #overloaded(held: HeldRequest): void {
    this.#meter.rejected();
    const detail = `${this.pendingCommands} commands of ${this.shard} wait to become durable`;
    held.resolve(this.#stamp({ ...problem('overloaded', detail), retryAfterS: RETRY_AFTER_S }));
  }

  #stamp(reply: ShardReply): ShardReply {
    reply.epoch = this.epoch;
    reply.seq = this.appliedSeq;
    return reply;
  }

  /** Runs what waits, until a command holds the shard again or a slice of time is used up. */
  #pump(): void {
    const startMs = this.#host.monotonicMs();
    let at = 0;
    const queue = this.#queue;
    if (queue === undefined) {
      this.#settleSeal();
      return;
    }
    while (at < queue.length && this.#running === undefined && !this.#sealed && this.#role === 'primary') {
      const held = queue[at++]!;
      this.#queueBytes -= held.request.input.length;
      this.#command(held, this.#loaded.handlers.get(held.request.handler)!);
      if (at % 16 === 0 && this.#host.monotonicMs() - startMs >= SLICE_MS_MAX) break;
    }
    queue.splice(0, at);
    if (queue.length > 0 && this.#running === undefined && !this.#sealed)
      this.#host.defer(() => this.#pump());
    this.#settleSeal();
  }

  // ------------------------------------------------------------------ commands

  #command(held: HeldRequest, handler: LoadedHandler): void {
    const { request } = held;
    const { idempotency } = request;
    const nowMs = Math.max(this.#applied.timeMs, Math.floor(this.#host.realtimeMs()));
    let hash = 0;
    if (idempotency !== undefined) {
      hash = requestHash(handler.name, request.input);
      if (this.#answerRepeated(held, idempotency, hash, nowMs)) return;
    }
    if (this.#isFull(request.input.length) || !this.#host.admit(request.input.length)) {
      this.#overloaded(held);
      return;
    }
    let input: unknown;
    try {
      input = validInput(handler, inputText(request.input));
    } catch (error) {
      // The state was neither read nor changed: no gate.
      held.resolve(this.#stamp(failure(error)));
      return;
    }
    if (isThenable(input) && handler.schema !== undefined) {
      this.#commandAfterValidation(held, handler, input, nowMs, hash);
      return;
    }
    this.#runCommand(held, handler, input, nowMs, hash, undefined);
  }

  /** True if the window answers for the handler. */
  #answerRepeated(held: HeldRequest, key: IdempotencyKey, hash: number, nowMs: number): boolean {
    const ageMs = held.request.idempotencyAgeMs;
    const found =
      this.#window?.lookup(key, nowMs, ageMs) ??
      (ageMs !== undefined && ageMs > WINDOW_AGE_MS_MAX ? 'expired' : 'unknown');
    if (found === 'unknown') return false;
    if (found === 'expired') {
      const detail =
        'the key is older than what this shard remembers; the command may or may not have happened';
      this.#answer(held, problem('idempotency-key-expired', detail), this.appliedSeq);
    } else if (found.hash !== hash) {
      const detail = 'the key came before with another handler or body';
      this.#answer(held, problem('idempotency-key-reused', detail), this.appliedSeq);
    } else {
      // OWNERSHIP rule 4: a retry is answered from the window only when the first attempt's delta is durable.
      const reply: ShardReply = { status: 200, body: Buffer.from(found.result), replayed: true };
      this.#answer(held, reply, found.seq);
    }
    return true;
  }

  #commandAfterValidation(
    held: HeldRequest,
    handler: LoadedHandler,
    input: PromiseLike<unknown>,
    nowMs: number,
    hash: number,
  ): void {
    const run = this.#beginAsync(held, handler, undefined);
    this.#running = run;
    input.then(
      (value) => {
        if (run.over) return;
        this.#runCommand(held, handler, value, nowMs, hash, run);
      },
      (error) => {
        if (!this.#endAsync(run)) return;
        held.resolve(this.#stamp(failure(error)));
        this.#pump();
      },
    );
  }

  /** `run` is given where validation was asynchronous and the shard is held already. */
  #runCommand(
    held: HeldRequest,
    handler: LoadedHandler,
    input: unknown,
    nowMs: number,
    hash: number,
    run: AsyncRun | undefined,
  ): void {
    const draft = openDraft(this.#applied.state as object);
    const context = new HandlerContext(draft.state, held.request, this.#key, nowMs, this.#host);
    let result: unknown;
    try {
      result = this.#invoke(handler, context, input, held.request);
      if (!isThenable(result)) {
        // First: the host may demote from within the append, and the command has run by then.
        if (run !== undefined) this.#endAsync(run);
        this.#finishCommand(held, handler, draft, result, nowMs, hash);
        if (run !== undefined) this.#pump();
        return;
      }
    } catch (error) {
      draft.discard();
      if (run !== undefined) this.#endAsync(run);
      this.#failed(held, handler, error, this.#meter.handlerMs);
      if (run !== undefined) this.#pump();
      return;
    }
    const pending = run ?? this.#beginAsync(held, handler, draft);
    pending.draft = draft;
    this.#running = pending;
    result.then(
      (value) => {
        if (!this.#endAsync(pending)) return;
        const handlerMs = this.#host.monotonicMs() - pending.startedMs;
        try {
          this.#meter.handlerMs = handlerMs;
          this.#finishCommand(held, handler, draft, value, nowMs, hash);
        } catch (error) {
          draft.discard();
          this.#failed(held, handler, error, handlerMs);
        }
        this.#pump();
      },
      (error) => {
        if (!this.#endAsync(pending)) return;
        draft.discard();
        this.#failed(held, handler, error, this.#host.monotonicMs() - pending.startedMs);
        this.#pump();
      },
    );
  }

  /** Commits, makes the delta and hands it to the host. Throws, with nothing changed, where a limit or JSON forbids. */
  #finishCommand(
    held: HeldRequest,
    handler: LoadedHandler,
    draft: Draft,
    result: unknown,
    nowMs: number,
    hash: number,
  ): void {
    // Before the commit: a handler may return a part of its draft.
    const text = resultText(result);
    const next = draft.commit();
    const isFirst = this.appliedSeq === 0;
    const changed = next !== this.#applied.state;
    const diff = changed ? (isFirst ? Diff.whole(next) : Diff.between(this.#applied.state, next)) : undefined;
    if (diff === undefined || diff.operations.length === 0) {
      this.#meter.executed(handler.isCommand, false, this.#meter.handlerMs);
      // OWNERSHIP rule 4: without a delta there is no append to prove ownership, so it is answered as a query.
      this.#answer(held, { status: 200, body: Buffer.from(text) }, this.appliedSeq);
      return;
    }
    const stateBytes = this.stateBytes + diff.bytesDelta;
    if (stateBytes > STATE_BYTES_MAX) {
      throw new ProblemError('state-too-large', `the state would take ${stateBytes} bytes`);
    }
    const { idempotency, input } = held.request;
    const delta = encodeDelta(this.#loaded.version, nowMs, diff.operations, idempotency, hash, text);
    if (delta.length > DELTA_BYTES_MAX) {
      throw new ProblemError('delta-too-large', `the changes take ${delta.length} bytes`);
    }
    this.#meter.executed(handler.isCommand, false, this.#meter.handlerMs);
    const seq = this.appliedSeq + 1;
    if (idempotency !== undefined) {
      this.#window ??= new IdempotencyWindow();
      this.#window.record(idempotency, { hash, atMs: nowMs, seq, result: text });
    }
    const reply: ShardReply = { status: 200, body: Buffer.from(text), epoch: this.epoch, seq };
    this.#commit(seq, next as Json, nowMs, stateBytes, delta, held, reply, input.length);
  }

  #commit(
    seq: number,
    state: Json,
    nowMs: number,
    stateBytes: number,
    delta: Uint8Array,
    held: HeldRequest | undefined,
    reply: ShardReply | undefined,
    inputBytes: number,
  ): void {
    this.#applied = { seq, state, stateBytes, version: this.#loaded.version, timeMs: nowMs };
    const bytes = inputBytes + delta.length;
    this.#undurableCommands++;
    this.#undurableBytes += bytes;
    this.#gate ??= new OutputGate();
    this.#gate.push({ seq, held, reply, after: this.#applied, bytes });
    this.#meter.wrote(delta.length);
    // Last: the host may answer `durable` or demote from within.
    this.#host.append(seq, delta);
  }

  #failed(held: HeldRequest, handler: LoadedHandler, error: unknown, handlerMs: number): void {
    const reply = failure(error);
    // A refusal, with a status below 500, is the service's own answer and no sign of a bad node.
    this.#meter.executed(handler.isCommand, reply.status >= 500, handlerMs);
    this.#answer(held, reply, this.appliedSeq);
  }

  /** The synchronous part of a handler, metered and under the watchdog. */
  #invoke(handler: LoadedHandler, context: HandlerContext, input: unknown, request: ShardRequest): unknown {
    const host = this.#host;
    host.enterHandler(this.shard, handler.name, keyText(request.idempotency));
    const cpuStart = host.threadCpuMicros();
    const startMs = host.monotonicMs();
    try {
      return handler.run(context, input);
    } finally {
      this.#meter.ran(host.monotonicMs() - startMs, cpuStart, host);
      host.leaveHandler();
    }
  }

  #beginAsync(held: HeldRequest, handler: LoadedHandler, draft: Draft | undefined): AsyncRun {
    const run: AsyncRun = {
      held,
      handler,
      draft,
      startedMs: this.#host.monotonicMs(),
      over: false,
      cancelTimer: () => {},
    };
    run.cancelTimer = this.#host.setTimer(this.#loaded.handlerMsMax, () => this.#timeOut(run));
    return run;
  }

  /** False if the run was given up before: whatever it brings is too late. */
  #endAsync(run: AsyncRun): boolean {
    if (run.over) return false;
    run.over = true;
    run.cancelTimer();
    if (this.#running === run) this.#running = undefined;
    else this.#asyncQueries?.delete(run);
    return true;
  }

  #timeOut(run: AsyncRun): void {
    if (!this.#endAsync(run)) return;
    run.draft?.discard();
    const detail = `${run.handler.name} did not finish within ${this.#loaded.handlerMsMax} ms`;
    this.#meter.executed(run.handler.isCommand, true, this.#loaded.handlerMsMax);
    this.#answer(run.held, problem('handler-timeout', detail), this.appliedSeq);
    this.#pump();
    this.#settleSeal();
  }

  // ------------------------------------------------------------------ queries

  #query(held: HeldRequest, handler: LoadedHandler): void {
    const { request } = held;
    if (request.minSeq !== undefined && request.minSeq > this.appliedSeq) {
      const detail = `the shard is at ${this.appliedSeq}, the query asks for ${request.minSeq}`;
      this.#answer(
        held,
        { ...problem('seq-not-reached', detail), retryAfterS: RETRY_AFTER_S },
        this.appliedSeq,
      );
      return;
    }
    const seq = this.appliedSeq;
    let text: string;
    try {
      text = inputText(request.input);
      const input = validInput(handler, text);
      const isInputPending = isThenable(input) && handler.schema !== undefined;
      const result = isInputPending
        ? input.then((value) => this.#runQuery(handler, request, value))
        : this.#runQuery(handler, request, input);
      if (isThenable(result)) {
        this.#awaitQuery(held, handler, result, seq);
        return;
      }
      this.#finishQuery(held, handler, result, seq, text);
    } catch (error) {
      this.#failed(held, handler, error, this.#meter.handlerMs);
    }
  }

  #runQuery(handler: LoadedHandler, request: ShardRequest, input: unknown): unknown {
    const nowMs = Math.max(this.#applied.timeMs, Math.floor(this.#host.realtimeMs()));
    return this.#invoke(
      handler,
      new HandlerContext(this.#applied.state, request, this.#key, nowMs, this.#host),
      input,
      request,
    );
  }

  #awaitQuery(held: HeldRequest, handler: LoadedHandler, result: PromiseLike<unknown>, seq: number): void {
    const run = this.#beginAsync(held, handler, undefined);
    this.#asyncQueries ??= new Set();
    this.#asyncQueries.add(run);
    const finish = (value: unknown, error: unknown, failed: boolean) => {
      if (!this.#endAsync(run)) return;
      this.#meter.handlerMs = this.#host.monotonicMs() - run.startedMs;
      try {
        if (failed) throw error;
        // What an asynchronous validation let wait read a later state: the gate waits for whichever is newer.
        this.#finishQuery(held, handler, value, Math.max(seq, this.appliedSeq), undefined);
      } catch (thrown) {
        this.#failed(held, handler, thrown, this.#meter.handlerMs);
      }
      this.#settleSeal();
    };
    result.then(
      (value) => finish(value, undefined, false),
      (error) => finish(undefined, error, true),
    );
  }

  /** `input` is given for synchronous handlers only: they can be rehearsed elsewhere. */
  #finishQuery(
    held: HeldRequest,
    handler: LoadedHandler,
    result: unknown,
    seq: number,
    input: string | undefined,
  ): void {
    const text = resultText(result);
    this.#meter.executed(handler.isCommand, false, this.#meter.handlerMs);
    if (input !== undefined) {
      this.#meter.remember(handler.name, input, text, seq);
    }
    this.#answer(held, { status: 200, body: Buffer.from(text) }, seq);
  }

  async queryAt(request: ShardRequest, atLeastSeq: number, waitMs: number): Promise<ShardReply | undefined> {
    const wanted = Math.max(atLeastSeq, request.minSeq ?? 0);
    if (this.appliedSeq < wanted && !(await this.#reached(wanted, waitMs))) return undefined;
    // Handlers of this build know only their own version's state; the primary answers until it has upgraded.
    if (this.#role !== 'follower' || this.#applied.version !== this.#loaded.version) return undefined;
    const handler = this.#loaded.handlers.get(request.handler);
    if (handler === undefined) return this.#stamp(unknownHandler(this.#loaded, request));
    if (handler.isCommand) return undefined;
    return new Promise((resolve, reject) => {
      const held = { request, resolve, reject };
      this.lastUsedMs = this.#host.monotonicMs();
      this.#meter.offered(request, false, this.lastUsedMs);
      this.#query(held, handler);
    });
  }

  #reached(seq: number, waitMs: number): Promise<boolean> {
    this.#seqWaiters ??= new SeqWaiters();
    return this.#seqWaiters.wait(seq, waitMs, this.#host);
  }

  // ------------------------------------------------------------------ the gate (OWNERSHIP rule 4)

  /** A reply that read the state up to `seq` and carries no delta: leaves when that is durable and the host agrees. */
  #answer(held: HeldRequest, reply: ShardReply, seq: number): void {
    reply.epoch = this.epoch;
    reply.seq = seq;
    if (this.#role === 'follower') {
      // A follower holds durable deltas only (rule 7), and its caller has asked the primary for the seq to reach.
      this.#deliver(held, reply);
    } else if (seq <= this.durableSeq) {
      this.#confirm(held, reply);
    } else {
      this.#gate ??= new OutputGate();
      this.#gate.push({ seq, held, reply, after: undefined, bytes: 0 });
    }
  }

  #confirm(held: HeldRequest, reply: ShardReply): void {
    if (this.#role !== 'primary') {
      held.reject(new Demoted(false));
      return;
    }
    // OWNERSHIP rule 5: sealed, it answers nothing. What only read runs again when unsealed, or wherever it is sent.
    if (this.#sealed) {
      this.#hold(held);
      return;
    }
    const may = this.#host.mayAnswer();
    if (may === true) {
      this.#deliver(held, reply);
      return;
    }
    this.#confirming++;
    may.then(
      (isPrimary) => {
        this.#confirming--;
        if (this.#role === 'primary' && this.#sealed) this.#hold(held);
        else if (isPrimary && this.#role === 'primary') this.#deliver(held, reply);
        else held.reject(new Demoted(false));
        this.#settleSeal();
      },
      (error) => {
        this.#confirming--;
        held.reject(error);
        this.#settleSeal();
      },
    );
  }

  #deliver(held: HeldRequest, reply: ShardReply): void {
    this.#meter.delivered(reply.body.length);
    held.resolve(reply);
  }

  durable(seq: number): void {
    if (seq <= this.durableSeq) return;
    if (seq > this.appliedSeq)
      throw new RangeError(`${this.shard}: ${seq} cannot be durable before it is applied`);
    const gate = this.#gate;
    for (let item = gate?.next(seq); item !== undefined; item = gate?.next(seq)) {
      if (item.after === undefined) {
        this.#confirm(item.held!, item.reply!);
        continue;
      }
      // A reply with a delta needs no lease: the append that was accepted is the proof.
      this.#durable = item.after;
      this.#undurableCommands--;
      this.#undurableBytes -= item.bytes;
      if (item.held !== undefined) this.#deliver(item.held, item.reply!);
    }
    this.#settleSeal();
  }

  // ------------------------------------------------------------------ roles

  seal(): Promise<void> {
    this.#sealed = true;
    return new Promise((resolve, reject) => {
      this.#sealWaiters ??= [];
      this.#sealWaiters.push({ resolve, reject });
      this.#settleSeal();
    });
  }

  /** OWNERSHIP rule 5: sealed means that no handler runs, every delta is durable and every reply is out. */
  #settleSeal(): void {
    if (this.#sealWaiters === undefined || !this.#sealed) return;
    const isBusy =
      this.#running !== undefined ||
      (this.#asyncQueries?.size ?? 0) > 0 ||
      (this.#gate?.size ?? 0) > 0 ||
      this.#confirming > 0;
    if (isBusy || this.durableSeq !== this.appliedSeq) return;
    const waiters = this.#sealWaiters;
    this.#sealWaiters = undefined;
    for (const { resolve } of waiters) resolve();
  }

  #failSeal(error: unknown): void {
    const waiters = this.#sealWaiters;
    this.#sealWaiters = undefined;
    for (const { reject } of waiters ?? []) reject(error);
  }

  unseal(): void {
    if (!this.#sealed) return;
    this.#sealed = false;
    this.#failSeal(new Error(`${this.shard} was unsealed before it was quiet`));
    this.#pump();
    const held = this.#heldWhileSealed;
    this.#heldWhileSealed = undefined;
    for (const request of held ?? []) {
      this.#start(request, this.#loaded.handlers.get(request.request.handler)!);
    }
  }

  demote(): HeldRequest[] {
    if (this.#role !== 'primary') return [];
    this.#role = 'ended';
    const back: HeldRequest[] = [];
    for (const run of [
      ...(this.#running === undefined ? [] : [this.#running]),
      ...(this.#asyncQueries ?? []),
    ]) {
      if (!this.#endAsync(run)) continue;
      // Its draft dies with it, so it can run again elsewhere.
      run.draft?.discard();
      back.push(run.held);
    }
    const gate = this.#gate;
    for (let item = gate?.next(this.appliedSeq); item !== undefined; item = gate?.next(this.appliedSeq)) {
      if (item.held === undefined) continue;
      if (item.after === undefined) back.push(item.held);
      else item.held.reject(new Demoted(true));
    }
    back.push(...(this.#queue ?? []), ...(this.#heldWhileSealed ?? []));
    this.#queue = undefined;
    this.#heldWhileSealed = undefined;
    this.#failSeal(new Demoted(false));
    return back;
  }

  follow(): void {
    if (this.#role !== 'ended' || this.appliedSeq !== this.durableSeq) {
      throw new Error(`${this.shard} can follow only after it was sealed and demoted`);
    }
    this.#role = 'follower';
    this.#sealed = false;
    this.#queueBytes = 0;
  }

  apply(entries: readonly LogEntry[]): void {
    if (this.#role !== 'follower') throw new Error(`${this.shard} is no follower and applies nothing`);
    const applier = new Applier();
    let { seq, state, version: lastVersion, timeMs: lastTimeMs } = this.#applied;
    let isWhole = true;
    try {
      for (const entry of entries) {
        if (entry.seq <= seq) continue;
        if (entry.seq !== seq + 1) {
          throw new RangeError(`${this.shard} has applied ${seq} and cannot apply ${entry.seq}`);
        }
        const { version, timeMs, operations, identity } = decodeDelta(entry.delta);
        if (version > this.#loaded.version) throw newerState(this.shard, version, this.#loaded.version);
        isWhole = false;
        state = applier.apply(seq === 0 ? undefined : state, operations);
        isWhole = true;
        lastVersion = version;
        lastTimeMs = timeMs;
        if (identity !== undefined) {
          this.#window ??= new IdempotencyWindow();
          const { key, hash, result } = identity;
          this.#window.record(key, { hash, atMs: timeMs, seq: entry.seq, result });
        }
        seq = entry.seq;
      }
    } finally {
      // A delta that fits only in part leaves a state that never was: this replica serves nobody any more.
      if (!isWhole) this.#role = 'ended';
      applier.freeze();
      const stateBytes = this.stateBytes + applier.bytesDelta;
      this.#applied = { seq, state, stateBytes, version: lastVersion, timeMs: lastTimeMs };
      this.#durable = this.#applied;
    }
    this.#seqWaiters?.reached(this.appliedSeq);
  }

  promote(epoch: number): void {
    if (this.#role !== 'follower') throw new Error(`${this.shard} is no follower and cannot be promoted`);
    this.#role = 'primary';
    this.epoch = epoch;
    this.#sealed = false;
    this.upgrade();
    this.#seqWaiters?.giveUp();
  }

  /** On a primary: brings older state to this build's version, as a delta of its own. Throws ProblemError. */
  upgrade(): void {
    if (this.appliedSeq === 0 || this.#applied.version >= this.#loaded.version) return;
    const next = upgradedState(this.#loaded, this.#applied.state, this.#applied.version);
    const nowMs = Math.max(this.#applied.timeMs, Math.floor(this.#host.realtimeMs()));
    const diff = Diff.between(this.#applied.state, next);
    const delta = encodeDelta(this.#loaded.version, nowMs, diff.operations, undefined, 0, '');
    const stateBytes = this.stateBytes + diff.bytesDelta;
    this.#commit(this.appliedSeq + 1, next, nowMs, stateBytes, delta, undefined, undefined, 0);
  }

  // ------------------------------------------------------------------ maintenance

  async snapshot(): Promise<StoredSnapshot> {
    // All taken in this turn, from immutable parts: later commands do not show.
    const { seq, state, stateBytes, version, timeMs } = this.#durable;
    const window = this.#window?.toSnapshot(seq) ?? EMPTY_WINDOW;
    const bytes = await encodeSnapshot(
      { version, timeMs, state: seq === 0 ? undefined : state, stateBytes, window },
      this.#host,
    );
    return { seq, bytes };
  }

  recentQueries(limit: number): RecentQuery[] {
    return this.#meter.recentQueries(limit);
  }

  async warmUp(): Promise<void> {
    await this.#loaded.service.options.warmUp?.({ key: this.#key, state: this.#applied.state });
  }

  rehearse(query: RecentQuery): { status: number; body: Uint8Array; handlerMs: number } {
    const handler = this.#loaded.handlers.get(query.handler);
    const request: ShardRequest = {
      shard: this.shard,
      handler: query.handler,
      input: query.input,
      method: 'get',
      origin: '',
      userHash: 0,
      hops: 0,
    };
    if (handler === undefined || handler.isCommand)
      return { ...unknownHandler(this.#loaded, request), handlerMs: 0 };
    const host = this.#host;
    const startMs = host.monotonicMs();
    const context = new HandlerContext(
      this.#applied.state,
      request,
      this.#key,
      this.#applied.timeMs,
      this.#host,
    );
    host.enterHandler(this.shard, handler.name, undefined);
    try {
      const result = handler.run(context, validInput(handler, inputText(query.input)));
      const handlerMs = host.monotonicMs() - startMs;
      return { status: 200, body: Buffer.from(resultText(result)), handlerMs };
    } catch (error) {
      return { ...failure(error), handlerMs: host.monotonicMs() - startMs };
    } finally {
      host.leaveHandler();
    }
  }

  takeLoad(): ReplicaLoad {
    if (this.#gate?.size === 0) this.#gate = undefined;
    return this.#meter.takeLoad(this.#host.monotonicMs());
  }

  executed(): ReplicaStatus['executed'] {
    return this.#meter.executions();
  }

  resetExecuted(): void {
    this.#meter.resetExecutions();
  }

  users(): number {
    return this.#meter.users(this.#host.monotonicMs());
  }

  close(): void {
    for (const held of this.demote()) held.reject(new Demoted(false));
    this.#role = 'ended';
    this.#seqWaiters?.giveUp();
  }
}

export function newerState(shard: ShardId, state: number, build: number): ProblemError {
  const detail = `${shard} was written by version ${state} of its service; this build has version ${build}`;
  return new ProblemError('state-version-newer', detail, { stateVersion: state, buildVersion: build });
}

export function unknownHandler(loaded: LoadedService, request: ShardRequest): ShardReply {
  const known = [...loaded.handlers.keys()].join(', ');
  return problem(
    'handler-unknown',
    `${loaded.service.name} has no handler ${request.handler}; it has ${known}`,
  );
}
