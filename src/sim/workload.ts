/**
 * Simulated users: each sends one request after the other, through a gateway or straight to a node, and writes down
 * what it asked and what came back.
 *
 * Most never retry. A third repeat a command without an answer under its idempotency key, as the typed client does.
 * Each client draws from a stream of its own, so that leaving one out changes nothing for the others.
 */
import type { Random } from '../io/io.ts';
import type { Region, ShardId } from '../model/ids.ts';
import { hash32, shardId } from '../model/ids.ts';
import type { ShardReply, ShardRequest } from '../model/request.ts';
import type { App } from '../sdk/service.ts';
import type { SimCluster } from './cluster.ts';
import type { History, Operation } from './history.ts';

/** What a client does next. */
export interface PlannedRequest {
  service: string;
  key: string;
  handler: string;
  /** JSON; absent: no body. */
  input?: unknown;
  /** Virtual milliseconds before it is sent. */
  thinkMs?: number;
  /** A query that a standby may answer, from a state at most so old; see `staleReads` of a service. */
  staleMsMax?: number | undefined;
}

export interface WorkloadClient {
  readonly name: string;
  readonly region: Region;
  /** The client's own stream: draw from nothing else, or the run cannot be repeated. */
  readonly random: Random;
  /** Requests sent before this one. */
  readonly number: number;
}

/** What simulated users do. */
export interface Workload {
  /** Shards that are read at every gateway once the faults are over. */
  shards: { service: string; key: string }[];
  /** The query they are read with. It should show the whole state. */
  probe: { handler: string; input?: unknown };
  next(client: WorkloadClient): PlannedRequest;
}

/** After so long a user gives up waiting, virtual. */
export const GIVE_UP_MS = 15_000;
const RETRIES_MAX = 3;
const RETRY_AFTER_MS = 300;
/** So many people share a client: a shift splits them. */
const PEOPLE_A_CLIENT = 4;

export interface UsersOptions {
  cluster: SimCluster;
  history: History;
  app: App;
  workload: Workload;
  random: Random;
  /** Clients a region. */
  perRegion: number;
  /** Only these clients; all where absent. */
  only?: readonly string[] | undefined;
  /** Each stops after so many requests. */
  operationsMax?: number | undefined;
}

export class Users {
  readonly #o: UsersOptions;
  #stopped = false;
  /** What a client threw: the workload does not fit. */
  failure: unknown;

  constructor(options: UsersOptions) {
    this.#o = options;
  }

  /** Names of all clients there could be. */
  get names(): string[] {
    return this.#o.cluster.regions.flatMap((region) =>
      Array.from({ length: this.#o.perRegion }, (_, i) => `${region}-u${i}`),
    );
  }

  start(): void {
    const { cluster, perRegion, only } = this.#o;
    for (const region of cluster.regions) {
      const nodes = cluster.names('node').filter((name) => cluster.slots.get(name)!.region === region);
      for (let i = 0; i < perRegion; i++) {
        const name = `${region}-u${i}`;
        if (only && !only.includes(name)) continue;
        // Two thirds come through the gateway; the others hold on to one node, whatever has become of it.
        const isDirect = i % 3 === 2 && nodes.length > 0;
        this.#live(
          name,
          region,
          isDirect ? nodes[i % nodes.length]! : `gateway-${region}`,
          i % 3 === 0,
        ).catch((error) => {
          this.failure ??= error;
        });
      }
    }
  }

  stop(): void {
    this.#stopped = true;
  }

  async #live(name: string, region: Region, at: string, retries: boolean): Promise<void> {
    const { cluster, history, workload, operationsMax } = this.#o;
    const { world } = cluster;
    const random = this.#o.random.split(name);
    const plans = random.split('plans');
    for (let number = 0; !this.#stopped && number < (operationsMax ?? Number.POSITIVE_INFINITY); number++) {
      const planned = workload.next({ name, region, random: plans, number });
      const person = Math.floor(random.next() * PEOPLE_A_CLIENT);
      await world.sleep(planned.thinkMs ?? 100);
      if (this.#stopped) return;
      const shard = shardId(planned.service, planned.key);
      const isCommand = isCommandOf(this.#o.app, planned);
      const operation = history.invoke({
        shard,
        kind: isCommand ? 'command' : 'query',
        handler: planned.handler,
        input: planned.input,
        client: name,
        invokedMs: world.nowMs,
        staleMsMax: allowedStalenessMs(this.#o.app, planned),
      });
      const request = makeRequest(shard, planned, isCommand, region, hash32(`${name}/${person}`));
      if (planned.staleMsMax !== undefined) request.staleMsMax = planned.staleMsMax;
      if (isCommand && retries) request.idempotency = { kind: 'client', key: `${name}:${number}` };
      await this.#send(at, request, operation);
    }
  }

  async #send(at: string, request: ShardRequest, operation: Operation): Promise<void> {
    const { cluster } = this.#o;
    const { world } = cluster;
    const retries = request.idempotency === undefined ? 0 : RETRIES_MAX;
    for (let attempt = 0; attempt <= retries; attempt++) {
      const ageMs = world.nowMs - operation.invokedMs;
      const sent = attempt === 0 ? { ...request } : { ...request, idempotencyAgeMs: ageMs };
      const reply = await Promise.race([cluster.execute(at, sent), world.sleep(GIVE_UP_MS)]);
      if (reply && (reply.status < 500 || attempt === retries)) {
        record(operation, reply, world.nowMs);
        return;
      }
      if (attempt < retries) await world.sleep(RETRY_AFTER_MS);
    }
  }
}

export function record(operation: Operation, reply: ShardReply, nowMs: number): void {
  operation.returnedMs = nowMs;
  operation.status = reply.status;
  operation.seq = reply.seq;
  operation.epoch = reply.epoch;
  operation.servedBy = reply.servedBy;
  operation.replayed = reply.replayed;
  operation.stalenessMs = reply.stalenessMs;
  operation.output = parse(reply.body);
}

function parse(body: Uint8Array): unknown {
  const text = new TextDecoder().decode(body);
  return text === '' ? undefined : JSON.parse(text);
}

/** What was asked for, or less where the service allows less. */
function allowedStalenessMs(app: App, { service, staleMsMax }: PlannedRequest): number | undefined {
  if (staleMsMax === undefined) return undefined;
  const { staleReads } = app.services.find(({ name }) => name === service)!.options;
  return Math.min(staleMsMax, staleReads?.atMostMs ?? 0);
}

/** The workload and the app do not fit: a mistake of the test, not a violation. */
export class WorkloadError extends TypeError {
  override readonly name = 'WorkloadError';
}

export function isCommandOf(app: App, { service, handler }: { service: string; handler: string }): boolean {
  const found = app.services.find(({ name }) => name === service)?.handlers[handler];
  if (!found)
    throw new WorkloadError(`the workload asks for ${service}.${handler}, which the app does not have`);
  return found.kind === 'command';
}

export function makeRequest(
  shard: ShardId,
  { handler, input }: { handler: string; input?: unknown },
  isCommand: boolean,
  origin: Region,
  userHash: number,
): ShardRequest {
  return {
    shard,
    handler,
    input: input === undefined ? new Uint8Array() : new TextEncoder().encode(JSON.stringify(input)),
    method: isCommand ? 'post' : 'get',
    origin,
    userHash,
    hops: 0,
  };
}
