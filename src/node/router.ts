/**
 * What a node does with a request: run it, bring its shard to life, or pass it on.
 *
 * The hot path, a resident primary, returns the replica's own promise with one reaction on it. Everything else goes
 * round a loop: find out whose the shard is, go there, and look again when that turns out to be wrong, within a budget
 * of time. A command that may have been executed is sent a second time only where it carries an idempotency key.
 */
import { type GatewayKey, GatewayKeys } from '../gateway/gateway-keys.ts';
import type { Io } from '../io/io.ts';
import type { ProcessId, Region } from '../model/ids.ts';
import type { Assignment, NodeRecord } from '../model/records.ts';
import { HOPS_MAX, type ShardReply, type ShardRequest } from '../model/request.ts';
import { Demoted, type ShardRuntime } from '../shard/contract.ts';
import { keyText } from '../shard/handlers.ts';
import { StoreError } from '../store/store.ts';
import { RpcError } from '../wire/rpc.ts';
import type { Assignments } from './assignments.ts';
import type { NodeLimits } from './config.ts';
import { FollowerReads } from './follower-reads.ts';
import type { Peers } from './peers.ts';
import { refuse } from './problems.ts';
import type { HostedReplica } from './replica.ts';
import type { Replicas } from './replicas.ts';

/** A handler may take this long at another node before its outcome counts as unknown. */
const FORWARD_TIMEOUT_MS = 60_000;
/** How much a gateway's news of a swap may be ahead of the word to the new primary. */
const PROMOTION_WAIT_MS = 50;
/** Passed on so often, a request makes the node look up what it believes: two nodes may each think it is the other. */
const DOUBT_HOPS = 2;
const RETRY_DELAY_MS_MIN = 10;
const RETRY_DELAY_MS_MAX = 160;
/** A command on this many nodes that died is not tried again. */
export const DEATHS_MAX = 2;

/** What one try came to: a reply, or go round again. */
type Attempt = ShardReply | 'again';

export interface RouterOptions {
  io: Io;
  self: ProcessId;
  region: Region;
  limits: NodeLimits;
  runtime: ShardRuntime;
  assignments: Assignments;
  replicas: Replicas;
  peers: Peers;
  onActive: (replica: HostedReplica) => void;
}

export class Router {
  readonly #o: RouterOptions;
  readonly #self: ProcessId;
  readonly #replicas: Replicas;
  readonly #runtime: ShardRuntime;
  readonly #assignments: Assignments;
  readonly #services: ReturnType<ShardRuntime['manifest']>;
  readonly #stamp: (reply: ShardReply) => ShardReply;
  /** Keys for commands that are passed on without one: so that a broken connection can be tried again. */
  readonly #keys: GatewayKeys;
  #passing = 0;
  readonly #reads: FollowerReads;

  constructor(options: RouterOptions) {
    this.#o = options;
    this.#self = options.self;
    this.#replicas = options.replicas;
    this.#runtime = options.runtime;
    this.#assignments = options.assignments;
    this.#services = options.runtime.manifest();
    this.#keys = new GatewayKeys(options.self);
    this.#reads = new FollowerReads({
      clock: options.io.clock,
      services: this.#services,
      assignments: options.assignments,
      peers: options.peers,
      onActive: options.onActive,
    });
    const self = options.self;
    this.#stamp = (reply) => {
      reply.servedBy ??= self;
      return reply;
    };
  }

  /** Requests that are looking for their shard or are under way at another node. */
  get passing(): number {
    return this.#passing;
  }

  /** Never rejects: every fault is a reply. */
  execute(request: ShardRequest): Promise<ShardReply> {
    let refusal: ReturnType<ShardRuntime['admission']>;
    try {
      refusal = this.#runtime.admission(request);
    } catch (error) {
      return Promise.resolve(this.#fault(request, error));
    }
    if (refusal === undefined && !this.#suspect(request)) {
      const replica = this.#replicas.get(request.shard);
      if (replica !== undefined && replica.role === 'primary') {
        if (!replica.active) this.#o.onActive(replica);
        return replica.state
          .execute(request)
          .then(this.#stamp, (error: unknown) => this.#afterFailure(request, error));
      }
    }
    return this.#executeSlowly(request, refusal);
  }

  /** The same for a request already admitted, such as one that a demoted replica still held. */
  route(request: ShardRequest): Promise<ShardReply> {
    return this.#executeSlowly(request, undefined);
  }

  async #executeSlowly(
    request: ShardRequest,
    admission: ReturnType<ShardRuntime['admission']>,
  ): Promise<ShardReply> {
    this.#passing++;
    try {
      const refusal = admission instanceof Promise ? await admission : admission;
      if (refusal !== undefined) return refusal;
      return this.#poisoned(request) ?? (await this.#loop(request));
    } catch (error) {
      return this.#fault(request, error);
    } finally {
      this.#passing--;
    }
  }

  /** Needs a closer look before it may run: it was on nodes that died, or some shard is quarantined. */
  #suspect(request: ShardRequest): boolean {
    return (request.deaths !== undefined && request.deaths >= DEATHS_MAX) || this.#assignments.anyQuarantined;
  }

  #fault(request: ShardRequest, error: unknown): ShardReply {
    if (error instanceof StoreError || error instanceof RpcError) {
      return refuse('unavailable', `${request.shard} cannot be reached: ${error.message}`);
    }
    this.#o.io.log.error(
      { shard: request.shard, error: describe(error) },
      'a request failed inside the node',
    );
    return refuse('internal', 'the node failed to handle the request; its log says why');
  }

  isCommand(request: ShardRequest): boolean {
    const service = this.#services[request.shard.slice(0, request.shard.indexOf('/'))];
    return service?.handlers[request.handler] !== 'query';
  }

  /** A command that killed nodes is answered, never run; its shard takes queries only. */
  #poisoned(request: ShardRequest): ShardReply | undefined {
    if (!this.#suspect(request) || !this.isCommand(request)) return undefined;
    const deaths = request.deaths ?? 0;
    if (deaths >= DEATHS_MAX) return poisoned(request, deaths);
    const record = this.#assignments.quarantine(request.shard);
    if (record === undefined || !record.quarantined) return undefined;
    const key = keyText(request.idempotency);
    if (key !== undefined && key === record.idempotencyKey && record.handler === request.handler) {
      return poisoned(request, record.deaths.length);
    }
    return refuse(
      'shard-quarantined',
      `${record.handler} of ${request.shard} was running when ${record.deaths.length} nodes died`,
      { handler: record.handler },
    );
  }

  async #loop(original: ShardRequest): Promise<ShardReply> {
    // The loop counts deaths and hops in a copy: the caller's request stays as it was.
    const request = { ...original };
    const { sawDead, believed, shard } = request;
    if (sawDead !== undefined) {
      this.#assignments.hearGone(sawDead);
      if (believed?.primary === sawDead) {
        this.#assignments.learn({ ...believed, standbys: [...(believed.standbys ?? [])], shard });
      }
    }
    try {
      let reply = await this.#goRound(request);
      // Given its key here, it may have run elsewhere under it: it goes on with that key, for its caller would begin anew.
      while (reply.moved !== undefined && request.idempotency !== original.idempotency)
        reply = await this.#goRound(request);
      return reply;
    } finally {
      const key = request.idempotency;
      if (original.idempotency === undefined && key !== undefined)
        this.#keys.done((key as GatewayKey).number);
    }
  }

  async #goRound(request: ShardRequest): Promise<ShardReply> {
    const { clock } = this.#o.io;
    const untilMs = clock.monotonicMs() + this.#o.limits.routeBudgetMs;
    let delayMs = RETRY_DELAY_MS_MIN;
    for (;;) {
      const attempt = await this.#attempt(request);
      if (attempt !== 'again') return attempt;
      if (clock.monotonicMs() > untilMs) {
        return refuse('unavailable', `the owner of ${request.shard} gave no answer in time; try again`);
      }
      await new Promise<void>((resolve) => {
        clock.setTimer(delayMs, resolve);
      });
      delayMs = Math.min(RETRY_DELAY_MS_MAX, delayMs * 2);
      const answer = this.#poisoned(request);
      if (answer !== undefined) return answer;
    }
  }

  async #attempt(request: ShardRequest): Promise<Attempt> {
    const { shard } = request;
    if (request.hops >= DOUBT_HOPS && !this.#replicas.get(shard)?.takesRequests) {
      await this.#assignments.lookUp(shard).catch(() => undefined);
    }
    const replica = this.#replicas.get(shard);
    if (replica !== undefined) {
      if (replica.takesRequests) return this.#runHere(replica, request);
      if (replica.role === 'opening') {
        await this.#replicas.promotion(shard)?.catch(() => undefined);
        const after = this.#replicas.get(shard);
        return after?.takesRequests ? this.#runHere(after, request) : 'again';
      }
      if (replica.role === 'follower') return this.#atFollower(replica, request);
    }
    const known = this.#assignments.assignment(shard);
    // The common case of a request at the wrong node costs no activation.
    if (
      known !== undefined &&
      known.primary !== this.#self &&
      this.#assignments.presence(known.primary) === 'present'
    ) {
      return this.#forward(request, known.primary);
    }
    if (known !== undefined && request.hops < DOUBT_HOPS) {
      const standby = this.#standbyOf(known);
      if (standby !== undefined) {
        request.sawDead = known.primary;
        request.believed = known;
        return this.#send(request, standby);
      }
    }
    return this.#activateAnd(request);
  }

  /** Where the primary is gone and this node has no copy: a process that has one and takes shards. */
  #standbyOf({ primary, standbys }: Assignment): NodeRecord | undefined {
    if (standbys.length === 0 || standbys.includes(this.#self)) return undefined;
    if (this.#assignments.presence(primary) !== 'gone') return undefined;
    for (const process of standbys) {
      const node = this.#assignments.node(process);
      if (node?.state === 'ready') return node;
    }
    return undefined;
  }

  async #activateAnd(request: ShardRequest): Promise<Attempt> {
    const { shard } = request;
    let activation: Awaited<ReturnType<Replicas['activate']>>;
    try {
      activation = await this.#replicas.activate(shard);
    } catch (error) {
      if (error instanceof StoreError && error.code === 'unavailable') return 'again';
      throw error;
    }
    switch (activation.kind) {
      case 'serving':
        return activation.replica.takesRequests ? this.#runHere(activation.replica, request) : 'again';
      case 'elsewhere':
        return this.#forward(request, activation.primary);
      case 'refused':
        return { ...activation.reply };
      case 'pass-on':
        return this.#passOn(request);
    }
  }

  async #runHere(replica: HostedReplica, request: ShardRequest): Promise<Attempt> {
    if (replica.sendsAhead(request)) return replica.ahead();
    if (!replica.active) this.#o.onActive(replica);
    try {
      return this.#stamp(await replica.state.execute(request));
    } catch (error) {
      return this.#afterDemotion(request, error);
    }
  }

  async #afterFailure(request: ShardRequest, error: unknown): Promise<ShardReply> {
    try {
      const attempt = this.#afterDemotion(request, error);
      return attempt === 'again' ? await this.route(request) : attempt;
    } catch (fault) {
      return this.#fault(request, fault);
    }
  }

  #afterDemotion(request: ShardRequest, error: unknown): Attempt {
    if (!(error instanceof Demoted)) throw error;
    // Run, with an unknown fate: the new owner's window tells a repeat from a first time.
    if (error.executed && this.isCommand(request) && request.idempotency === undefined) {
      return refuse(
        'unavailable',
        `${request.shard} changed its owner while the command ran: it may have happened`,
      );
    }
    return 'again';
  }

  // ---- followers

  async #atFollower(replica: HostedReplica, request: ShardRequest): Promise<Attempt> {
    const { assignment, source } = replica;
    const isCommand = this.isCommand(request);
    const stale = isCommand ? undefined : await this.#reads.stale(replica, request);
    if (stale !== undefined) return this.#stamp(stale);
    const takeOver = this.#replicas.takeOver(replica.shard);
    if (takeOver !== undefined) {
      await takeOver;
      return this.#attempt(request);
    }
    // Its gateway knows of a move whose word is still on its way to here: commands go to the primary alone.
    const isAhead = isCommand || (request.awaits ?? 0) > assignment.epoch;
    if (request.hops === 0 && replica.prepared && isAhead && assignment.primary !== this.#self) {
      if (await this.#replicas.promotionBegins(replica.shard, PROMOTION_WAIT_MS))
        return this.#attempt(request);
    }
    const address = this.#assignments.node(assignment.primary)?.address ?? source?.address;
    const gone = this.#assignments.presence(assignment.primary) === 'gone';
    if (!isCommand && replica.fed && address !== undefined && !gone) {
      const reply = await this.#reads.fresh(replica, request, address);
      if (reply !== undefined) return this.#stamp(reply);
    }
    if (assignment.primary === this.#self) return 'again';
    if (
      this.#assignments.presence(assignment.primary) !== 'present' &&
      (await this.#assignments.lookUpNode(assignment.primary)) === undefined
    ) {
      // The primary is gone: this copy takes over where it may, and lacks at most the end of the log.
      return this.#activateAnd(request);
    }
    return this.#forward(request, assignment.primary);
  }

  // ---- other nodes

  async #passOn(request: ShardRequest): Promise<Attempt> {
    const heir = this.#replicas.activator.heir(request.shard, this.#o.region);
    if (heir === undefined) {
      return refuse('unavailable', `no node takes ${request.shard} just now; start one or end the drain`);
    }
    return this.#send(request, heir);
  }

  async #forward(request: ShardRequest, primary: ProcessId): Promise<Attempt> {
    const node = this.#assignments.node(primary) ?? (await this.#assignments.lookUpNode(primary));
    if (node === undefined) {
      // Dead: the next look takes over, if the assignment still names it.
      this.#assignments.forget(request.shard);
      return 'again';
    }
    return this.#send(request, node);
  }

  async #send(request: ShardRequest, node: NodeRecord): Promise<Attempt> {
    if (request.hops + 1 > HOPS_MAX) {
      return refuse('too-many-hops', `${request.shard} was passed on ${request.hops} times`);
    }
    if (request.idempotency === undefined && this.isCommand(request)) request.idempotency = this.#keys.take();
    try {
      return await this.#o.peers
        .peer(node.address)
        .call('shard.execute', { ...request, hops: request.hops + 1 }, { timeoutMs: FORWARD_TIMEOUT_MS });
    } catch (error) {
      if (!(error instanceof RpcError)) throw error;
      this.#assignments.forget(request.shard);
      if (!error.maybeExecuted) {
        await this.#lookAgain(node.processId);
        return 'again';
      }
      const command = this.isCommand(request);
      if (error.code !== 'unavailable') throw error;
      const present = await this.#lookAgain(node.processId);
      // A key that is gone proves no death: keys of the living go when the control store was away.
      if (command && present === undefined && error.peerLeft) {
        const innocent = await this.#assignments.deathBlamedOnOther(node.processId, request.shard);
        if (!innocent) request.deaths = (request.deaths ?? 0) + 1;
      }
      request.sawDead = present === undefined ? node.processId : request.sawDead;
      if (command && request.idempotency === undefined) {
        return refuse('unavailable', `the node of ${request.shard} broke off: the command may have happened`);
      }
      return this.#poisoned(request) ?? 'again';
    }
  }

  /** Whether a node that did not answer still has its key; a silent store counts as yes. */
  async #lookAgain(process: ProcessId): Promise<NodeRecord | undefined> {
    try {
      return await this.#assignments.lookUpNode(process);
    } catch {
      return this.#assignments.node(process);
    }
  }
}

function poisoned(request: ShardRequest, deaths: number): ShardReply {
  return refuse(
    'command-poisoned',
    `${request.handler} of ${request.shard} was running when ${deaths} nodes died`,
    { handler: request.handler },
  );
}

function describe(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
