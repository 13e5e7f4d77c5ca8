/**
 * One request on its way through a gateway: find the shard, choose a node, send, and judge what comes back, until there
 * is an answer or a bound is met. The judging is in `retry.ts` and `routing/choose.ts`; this drives it.
 *
 *   routing --route--> sent --reply--> answered
 *     ^  |               |
 *     |  +--wait--> parked/paused (news of node or shard, or time)
 *     +------------------+  (421, "not now", broken connection)
 *
 * Invariants:
 *   F1  it is answered once
 *   F2  it is on at most one node at a time, as far as this gateway can know
 *   F3  after two node deaths with it on board it is never sent again
 */
import { type ErrorCode, parseProblem, problem } from '../model/errors.ts';
import type { ProcessId, ShardId } from '../model/ids.ts';
import type { NodeRecord } from '../model/records.ts';
import type { Moved, ShardReply, ShardRequest } from '../model/request.ts';
import type { Topology } from '../model/topology.ts';
import { type Choice, choose, chooseNew, type NodesView, type Question } from '../routing/choose.ts';
import type { Route, RouteShift, RouteTable } from '../routing/route-table.ts';
import { RpcError } from '../wire/rpc.ts';
import type { NodePool, PooledNode, Waiter } from './node-pool.ts';
import { afterRefusal, mayTry, type RetryState, type Verdict } from './retry.ts';

/** A primary that does not answer but holds its lease is waited for so long, counted from its first failure. */
export const PRIMARY_WAIT_MS = 5_000;
/** Seconds in `Retry-After`. */
export const RETRY_AFTER_S = 1;
/** Replies that ask to come again; other 503 are the answer. */
const NOT_NOW: ReadonlySet<string> = new Set(['unavailable', 'too-many-hops']);

/** What a flight needs of its gateway. */
export interface FlightHost {
  readonly table: RouteTable;
  readonly pool: NodePool;
  readonly view: NodesView;
  readonly topology: Topology;
  /** Requests a node may have under way from here. */
  readonly nodeInFlightMax: number;
  monotonicMs(): number;
  random(): number;
  setTimer(delayMs: number, fire: () => void): () => void;
  lookUp(shard: ShardId, done: () => void): void;
  retried(): void;
  died(): void;
  overloaded(): void;
  /** The last thing a flight does. */
  landed(flight: Flight, reply: ShardReply): void;
}

export class Flight implements Waiter, Question {
  readonly request: ShardRequest;
  readonly service: string;
  readonly startedMs: number;
  readonly resolve: (reply: ShardReply) => void;
  /** Number of the gateway's own idempotency key, to be given back. */
  readonly keyNumber: number | undefined;
  /** Index in the gateway's list of flights; the gateway's alone. */
  place = 0;
  readonly #host: FlightHost;
  readonly #deadlineMs: number;
  #tries = 0;
  #pausedAfterTries = 0;
  #lookedUp = false;
  /** Processes whose connection broke with this request on it, not yet known to have died. */
  #suspects: ProcessId[] | undefined;
  #deaths: number;
  #node: PooledNode | undefined;
  #nodeBreaks = 0;
  #parkedFor: ProcessId | undefined;
  #cancelTimer: (() => void) | undefined;
  #answered = false;

  constructor(
    host: FlightHost,
    request: ShardRequest,
    service: string,
    budgetMs: number,
    keyNumber: number | undefined,
    resolve: (reply: ShardReply) => void,
  ) {
    this.#host = host;
    this.request = request;
    this.service = service;
    this.keyNumber = keyNumber;
    this.resolve = resolve;
    this.startedMs = host.monotonicMs();
    this.#deadlineMs = this.startedMs + budgetMs;
    this.#deaths = request.deaths ?? 0;
  }

  // ---------------------------------------------------------------- Question

  get shard(): ShardId {
    return this.request.shard;
  }
  get origin(): string {
    return this.request.origin;
  }
  get userHash(): number {
    return this.request.userHash;
  }
  /** One node answered at the first try: nothing was waited for on the way. */
  get straight(): boolean {
    return this.#tries === 1;
  }
  get command(): boolean {
    if (this.request.method === 'get') return false;
    return this.#host.table.manifest(this.service)?.handlers[this.request.handler] !== 'query';
  }
  /** Not again once a try came to nothing: the primary surely answers. */
  get mayBeStale(): boolean {
    if (this.request.staleMsMax === undefined || this.#tries > 0 || this.command) return false;
    return this.#host.table.manifest(this.service)?.staleReads !== undefined;
  }
  /** As last looked at by {@link go}. */
  route: Route | undefined;
  shift: RouteShift | undefined;

  // ---------------------------------------------------------------- routing

  /** Looks at the routes and goes on from there. Called first, and after every wait. */
  go(): void {
    if (this.#answered) return;
    if (this.#tries > 0 || this.#deaths > 0) {
      this.#countDeaths();
      const verdict = mayTry(this.#state());
      if (verdict.do === 'answer') {
        this.#refuse(verdict.code);
        return;
      }
    }
    const { table, view, topology } = this.#host;
    const { shard } = this.request;
    this.route = table.route(shard);
    this.shift = table.shift(shard);
    if (this.route === undefined && !this.#lookedUp && !table.complete) {
      this.#lookedUp = true;
      this.#host.lookUp(shard, () => this.go());
      return;
    }
    this.#follow(choose(this, view, topology));
  }

  #follow(choice: Choice): void {
    if ('node' in choice) {
      if (choice.why === 'none-healthy' && this.#tries > this.#pausedAfterTries) {
        this.#pausedAfterTries = this.#tries;
        this.#judge(afterRefusal(this.#state(), this.#host.random()), 'unavailable', 'no node answers');
        return;
      }
      // A hint for the node: it need not wait to see for itself. It still checks (OWNERSHIP rule 1).
      if (choice.why === 'primary-gone') {
        const { epoch, primary, cell, version, standbys } = this.route!;
        this.request.sawDead = primary;
        this.request.believed = cell === '' ? undefined : { epoch, primary, cell, version, standbys };
      }
      this.#send(choice.node);
    } else if ('wait' in choice) this.#waitFor(choice.wait);
    else this.#judge(afterRefusal(this.#state(), this.#host.random()), 'unavailable', 'no node is ready');
  }

  /** OWNERSHIP rule 1: while the primary's node key is there, nobody can take over; so wait for news of it. */
  #waitFor(process: ProcessId): void {
    const { pool, view, topology } = this.#host;
    const nowMs = this.#host.monotonicMs();
    const downSinceMs = pool.peek(process)?.downSinceMs ?? nowMs;
    const untilMs = Math.min(this.#deadlineMs, downSinceMs + PRIMARY_WAIT_MS);
    if (nowMs < untilMs) {
      this.#parkedFor = process;
      pool.park(this, process);
      this.#cancelTimer = this.#host.setTimer(untilMs - nowMs, () => this.wake());
      return;
    }
    // Only the way from here to it may be broken: another node can forward.
    const choice = chooseNew(this, view, topology, 'primary-gone', process);
    if ('node' in choice && choice.why !== 'none-healthy') {
      this.#send(choice.node);
      return;
    }
    this.#judge(
      afterRefusal(this.#state(), this.#host.random()),
      'unavailable',
      `${process} does not answer`,
    );
  }

  wake(): void {
    if (this.#parkedFor !== undefined) this.#host.pool.unpark(this, this.#parkedFor);
    this.#parkedFor = undefined;
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    this.go();
  }

  // ---------------------------------------------------------------- sending

  #send(record: NodeRecord): void {
    const { pool } = this.#host;
    const node = pool.get(record);
    if (node.inFlight >= this.#host.nodeInFlightMax) {
      this.#host.overloaded();
      this.#answerProblem('overloaded', `${node.inFlight} requests are under way at ${node.processId}`);
      return;
    }
    node.health.admit(this.#host.monotonicMs());
    this.#tries++;
    if (this.#tries > 1) this.#host.retried();
    if (this.#deaths > 0) this.request.deaths = this.#deaths;
    node.inFlight++;
    this.#node = node;
    this.#nodeBreaks = node.breaks;
    const leftMs = this.#tries === 1 ? this.#deadlineMs - this.startedMs : this.#leftMs();
    node.peer.execute(this.request, leftMs).then(
      (reply) => this.#replied(reply),
      (error) => this.#failed(error),
    );
  }

  #replied(reply: ShardReply): void {
    const node = this.#node!;
    node.inFlight--;
    this.#host.pool.succeeded(node);
    const { status } = reply;
    if (status < 300) {
      this.#learn(reply, node);
      this.#answer(reply);
    } else if (status === 421) this.#moved(reply);
    else if (status === 503) this.#notNow(reply);
    else this.#answer(reply);
  }

  /** Somebody else answered than we asked, with a newer epoch than we knew: go there directly from now on. */
  #learn(reply: ShardReply, node: PooledNode): void {
    const { servedBy, epoch } = reply;
    if (servedBy === undefined || epoch === undefined) return;
    if (servedBy === node.processId && this.route?.epoch === epoch) return;
    const { table } = this.#host;
    // A follower answers queries under the primary's epoch: only a command tells who the primary is.
    if (this.command) table.learn(this.request.shard, epoch, servedBy);
  }

  #moved(reply: ShardReply): void {
    const { table } = this.#host;
    const { moved } = reply;
    if (moved?.ahead) {
      this.#goAhead(moved);
      return;
    }
    if (moved) table.learn(this.request.shard, moved.epoch, moved.primary, moved.version);
    const route = table.route(this.request.shard);
    // It was held while the shard moved: at once to where it is now, a shift under way or not.
    const isNews = moved !== undefined && (route?.epoch ?? 0) > (this.route?.epoch ?? 0);
    const isElsewhere = moved !== undefined && route?.primary !== this.#node?.processId;
    // News that changes nothing here: ask the store, after a pause.
    if (!isNews && (!isElsewhere || this.shift !== undefined)) {
      table.forget(this.request.shard);
      this.#lookedUp = false;
      this.#judge(afterRefusal(this.#state(), this.#host.random()), 'unavailable', 'the shard is moving');
      return;
    }
    this.go();
  }

  /** To where the shard is about to be. That may come to nothing, so no route is learnt from it. */
  #goAhead({ primary, epoch }: Moved): void {
    const node = this.#host.table.node(primary);
    if (node === undefined) {
      this.#judge(afterRefusal(this.#state(), this.#host.random()), 'unavailable', 'the shard is moving');
      return;
    }
    this.request.awaits = epoch;
    this.#send(node);
  }

  #notNow(reply: ShardReply): void {
    const code = parseProblem(Buffer.from(reply.body).toString())?.code;
    if (code === undefined || !NOT_NOW.has(code)) {
      this.#answer(reply);
      return;
    }
    const verdict = afterRefusal(this.#state(), this.#host.random());
    if (verdict.do === 'pause') this.#pause(verdict.delayMs);
    else this.#answer(reply);
  }

  #failed(error: unknown): void {
    const node = this.#node!;
    const { pool } = this.#host;
    node.inFlight--;
    const failure = error instanceof RpcError ? error : undefined;
    if (failure?.code !== 'unavailable') {
      // The node answered, with a fault of its own: another try may meet a better one.
      pool.succeeded(node);
      const message = error instanceof Error ? error.message : String(error);
      this.#judge(afterRefusal(this.#state(), this.#host.random()), 'unavailable', message);
      return;
    }
    if (failure.maybeExecuted) {
      // A broken connection has been counted when it broke, once for all that were on it.
      if (node.breaks === this.#nodeBreaks) pool.failed(node);
      if (failure.peerLeft) {
        this.#suspects ??= [];
        if (!this.#suspects.includes(node.processId)) this.#suspects.push(node.processId);
      }
    } else if (node.breaks === this.#nodeBreaks) pool.failed(node);
    this.go();
  }

  /**
   * A suspect left under the request. When its node key is gone as well it has died; unless a command of another shard
   * is on record as the cause. A key alone proves nothing: keys of the living go when the control store was away.
   */
  #countDeaths(): void {
    const suspects = this.#suspects;
    if (suspects === undefined) return;
    const { table } = this.#host;
    for (let i = suspects.length - 1; i >= 0; i--) {
      const process = suspects[i]!;
      if (table.node(process) !== undefined) continue;
      suspects.splice(i, 1);
      if (table.deathBlamedOnOther(process, this.request.shard)) continue;
      this.#deaths++;
      this.#host.died();
    }
    if (suspects.length === 0) this.#suspects = undefined;
  }

  // ---------------------------------------------------------------- ending

  #state(): RetryState {
    return {
      tries: this.#tries,
      deaths: this.#deaths,
      nowMs: this.#host.monotonicMs(),
      deadlineMs: this.#deadlineMs,
    };
  }

  #leftMs(): number {
    // In steps of 100 ms, so that timers of many requests share a list.
    return Math.max(100, Math.ceil((this.#deadlineMs - this.#host.monotonicMs()) / 100) * 100);
  }

  #judge(verdict: Verdict, code: ErrorCode, detail: string): void {
    if (verdict.do === 'pause') this.#pause(verdict.delayMs);
    else if (verdict.do === 'again') this.go();
    else if (verdict.code === 'command-poisoned') this.#refuse(verdict.code);
    else this.#answerProblem(code, `${detail}; gave up after ${this.#tries} tries`);
  }

  #pause(delayMs: number): void {
    this.#cancelTimer = this.#host.setTimer(delayMs, () => this.wake());
  }

  #refuse(code: 'unavailable' | 'command-poisoned'): void {
    if (code === 'command-poisoned')
      this.#answerProblem(code, `${this.request.handler} was running when ${this.#deaths} nodes died`, {
        handler: this.request.handler,
      });
    else this.#answerProblem(code, `no answer after ${this.#tries} tries in the time for one request`);
  }

  #answerProblem(code: ErrorCode, detail: string, extensions?: Record<string, unknown>): void {
    const reply: ShardReply = problem(code, detail, extensions);
    if (reply.status === 503) reply.retryAfterS = RETRY_AFTER_S;
    this.#answer(reply);
  }

  #answer(reply: ShardReply): void {
    if (this.#answered) return;
    this.#answered = true;
    this.#host.landed(this, reply);
  }

  /** Ends a flight from outside: the gateway stops. */
  abort(): void {
    if (this.#parkedFor !== undefined) this.#host.pool.unpark(this, this.#parkedFor);
    this.#cancelTimer?.();
    this.#answerProblem('unavailable', 'the gateway stopped');
  }
}
