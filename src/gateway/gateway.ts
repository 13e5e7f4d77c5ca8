/**
 * The smart load balancer's data plane: takes requests for shards and gets each to a node that answers it.
 *
 * It routes by a table that follows the control store (`route-feed.ts`), looks up what is not in it, keeps it on disk,
 * and works on without store and controller. It owns nothing: nodes decide ownership, and a wrong route costs a hop.
 * Everything of the world comes from `io`, so the simulated world runs this very class.
 *
 * Bounds: requests under way, in total and per node; tries, time and node deaths per request; routes in memory.
 */
import type { Io } from '../io/io.ts';
import { problem } from '../model/errors.ts';
import type { ProcessId, Region, ShardId } from '../model/ids.ts';
import type { ShardReply, ShardRequest } from '../model/request.ts';
import type { Topology } from '../model/topology.ts';
import type { NodesView } from '../routing/choose.ts';
import { type RouteChange, RouteTable } from '../routing/route-table.ts';
import type { ControlStore } from '../store/store.ts';
import { Flight, type FlightHost, RETRY_AFTER_S } from './flight.ts';
import { GatewayKeys } from './gateway-keys.ts';
import { GatewayMetrics } from './gateway-metrics.ts';
import { HandOffLatency, REPORT_MS } from './hand-off-latency.ts';
import { LookUps } from './look-ups.ts';
import { NodePool, type PeerFactory, wirePeers } from './node-pool.ts';
import { REQUEST_BUDGET_MS } from './retry.ts';
import { RouteFeed } from './route-feed.ts';
import { decodeRoutes, encodeRoutes } from './route-file.ts';

/** Requests under way at once; more are answered 503. */
export const IN_FLIGHT_MAX_DEFAULT = 10_000;
/** The same for one node. */
export const NODE_IN_FLIGHT_MAX_DEFAULT = 4_000;
/** How often changed routes are written to disk: the more there are, the longer apart, so that it costs little. */
export const SAVE_INTERVAL_MS_MIN = 1_000;
export const SAVE_INTERVAL_MS_MAX = 15_000;
const SAVE_ROUTES_PER_MS = 10;

export interface GatewayConfig {
  name: string;
  /** Unique per start: `gw-eu-west-1.k3f9x0`. Names the gateway's idempotency keys. */
  identity: string;
  region: Region;
  /** Shared by all processes of the cluster. */
  token: string;
  topology: Topology;
  /** Where routes survive a restart; absent: nowhere. */
  routeFile?: string;
  assignmentsMax?: number;
  inFlightMax?: number;
  nodeInFlightMax?: number;
  /** Total time of one request, tries and waits included. */
  requestBudgetMs?: number;
}

export interface GatewayOptions {
  io: Io;
  config: GatewayConfig;
  control: ControlStore;
  /** Absent: over the wire. */
  peers?: PeerFactory;
}

/**
 * @example
 * const gateway = new Gateway({ io, control, config: { name: 'gw-1', identity: 'gw-1.k3f9x0', region: 'eu-west-1',
 *   token, topology: AWS_THREE_REGIONS, routeFile: '/var/lib/skein/gw-1.routes' } });
 * await gateway.start();
 * const reply = await gateway.execute(request);
 */
export class Gateway {
  readonly table: RouteTable;
  readonly #io: Io;
  readonly #config: GatewayConfig;
  readonly #control: ControlStore;
  readonly #pool: NodePool;
  readonly #keys: GatewayKeys;
  readonly #metrics: GatewayMetrics;
  readonly #lookUps: LookUps;
  readonly #host: FlightHost;
  /** In no order; each knows its place. A Set in such churn keeps dead flights alive (see `wire/pending-calls.ts`). */
  readonly #flights: Flight[] = [];
  readonly #inFlightMax: number;
  readonly #budgetMs: number;
  #feed: RouteFeed | undefined;
  #inFlight = 0;
  #knowsNodes = false;
  #onNodes: (() => void)[] = [];
  #changedSinceSave = false;
  #saving: Promise<void> | undefined;
  #cancelSave: () => void = () => {};
  readonly #latency = new HandOffLatency();
  #cancelReport: (() => void) | undefined;
  #draining = false;
  #stopped = false;

  constructor(options: GatewayOptions) {
    const { io, config, control } = options;
    this.#io = io;
    this.#config = config;
    this.#control = control;
    this.#inFlightMax = config.inFlightMax ?? IN_FLIGHT_MAX_DEFAULT;
    this.#budgetMs = config.requestBudgetMs ?? REQUEST_BUDGET_MS;
    const table = new RouteTable({ assignmentsMax: config.assignmentsMax });
    this.table = table;
    const peers = options.peers ?? wirePeers({ io, token: config.token, identity: config.identity });
    const pool = new NodePool(io.clock, peers);
    this.#pool = pool;
    this.#keys = new GatewayKeys(config.identity);
    const lookUps = new LookUps({ control, clock: io.clock, table });
    this.#lookUps = lookUps;
    this.#metrics = new GatewayMetrics(() => ({
      inFlight: this.#inFlight,
      waiting: pool.waiting,
      routes: table.size,
      shifts: table.shiftCount,
      nodes: table.nodes().length,
      nodesUnhealthy: pool.unhealthy(),
    }));
    const { counts } = this.#metrics;
    const view: NodesView = {
      nodes: () => table.nodes(),
      node: (process: ProcessId) => table.node(process),
      healthy: (process: ProcessId) => pool.usable(process),
    };
    const random = io.random.split('gateway-retries');
    this.#host = {
      table,
      pool,
      view,
      topology: config.topology,
      nodeInFlightMax: config.nodeInFlightMax ?? NODE_IN_FLIGHT_MAX_DEFAULT,
      monotonicMs: () => io.clock.monotonicMs(),
      random: () => random.next(),
      setTimer: (delayMs, fire) => io.clock.setTimer(delayMs, fire),
      lookUp: (shard: ShardId, done: () => void) => lookUps.lookUp(shard, done),
      retried: () => {
        counts.retries++;
      },
      died: () => {
        counts.deaths++;
      },
      overloaded: () => {
        counts.overloaded++;
      },
      landed: (flight, reply) => this.#landed(flight, reply),
    };
  }

  /**
   * Resolves when requests can be routed: at once from the file of an earlier run, else when the control store has told
   * of the nodes. Never rejects; it waits for a store that is not there yet.
   */
  async start(): Promise<void> {
    await this.#load();
    if (this.#stopped) return;
    this.#feed = new RouteFeed({
      table: this.table,
      control: this.#control,
      clock: this.#io.clock,
      onChange: (change) => this.#changed(change),
      onSynced: () => this.#nodesKnown(),
    });
    this.#armSave();
    if (!this.#knowsNodes) await new Promise<void>((resolve) => this.#onNodes.push(resolve));
  }

  /** False while starting, draining and stopped: load balancers in front then go elsewhere. */
  get ready(): boolean {
    return this.#knowsNodes && !this.#draining && !this.#stopped;
  }

  /** Requests under way. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** Not ready from now on; requests are still served. */
  drain(): void {
    this.#draining = true;
  }

  /** Whether the headers of requests to a service must travel with them; also where the service is not known yet. */
  needsHeaders(service: string): boolean {
    return this.table.manifest(service)?.authorize ?? true;
  }

  /** Prometheus text. */
  metrics(): Promise<string> {
    this.#metrics.counts.lookUps = this.#lookUps.count;
    return this.#metrics.text();
  }

  /**
   * Gets a request answered. Always resolves; the request is this gateway's from now on (it adds an idempotency key and
   * the count of node deaths).
   */
  execute(request: ShardRequest): Promise<ShardReply> {
    if (this.#inFlight >= this.#inFlightMax || this.#stopped) {
      this.#metrics.counts.overloaded++;
      return Promise.resolve(this.#refuse('overloaded', `${this.#inFlight} requests are under way here`));
    }
    const service = request.shard.slice(0, request.shard.indexOf('/'));
    let keyNumber: number | undefined;
    if (request.method === 'post' && this.table.manifest(service)?.handlers[request.handler] !== 'query') {
      const quarantine = this.table.quarantined(request.shard);
      if (quarantine) {
        const { handler, deaths } = quarantine;
        const detail = `${handler} was running when ${deaths.length} nodes died`;
        return Promise.resolve(this.#refuse('shard-quarantined', detail, { handler }));
      }
      if (request.idempotency === undefined) {
        const key = this.#keys.take();
        if (key === undefined)
          return Promise.resolve(this.#refuse('overloaded', 'a command under way is too far behind'));
        request.idempotency = key;
        keyNumber = key.number;
      }
    }
    this.#inFlight++;
    request.redirects = true;
    return new Promise((resolve) => {
      const flight = new Flight(this.#host, request, service, this.#budgetMs, keyNumber, resolve);
      flight.place = this.#flights.push(flight) - 1;
      flight.go();
    });
  }

  /** Answers what is under way with 503, saves the routes and lets go of everything. */
  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#cancelSave();
    this.#cancelReport?.();
    this.#feed?.close();
    for (const flight of [...this.#flights]) flight.abort();
    this.#pool.close();
    for (const resolve of this.#onNodes.splice(0)) resolve();
    await this.#saving;
    await this.#save();
  }

  #landed(flight: Flight, reply: ShardReply): void {
    const last = this.#flights.pop()!;
    if (last !== flight) {
      this.#flights[flight.place] = last;
      last.place = flight.place;
    }
    this.#inFlight--;
    if (flight.keyNumber !== undefined) this.#keys.done(flight.keyNumber);
    const nowMs = this.#io.clock.monotonicMs();
    const latencyMs = nowMs - flight.startedMs;
    this.#metrics.answered(reply.status, latencyMs, nowMs);
    const { shift, route } = flight;
    if (shift !== undefined && route !== undefined && reply.servedBy !== undefined && flight.straight) {
      if (reply.status < 400)
        this.#latency.answered(flight.shard, shift, route.primary, reply.servedBy, flight.origin, latencyMs);
      if (this.#cancelReport === undefined) this.#armReport();
    }
    flight.resolve(reply);
  }

  /** Runs only while something is measured. */
  #armReport(): void {
    if (this.#stopped) return;
    this.#cancelReport = this.#io.clock.setTimer(REPORT_MS, () => {
      this.#cancelReport = undefined;
      for (const [process, reports] of this.#latency.take((shard) => this.table.shift(shard))) {
        const node = this.table.node(process);
        if (node !== undefined) this.#pool.get(node).peer.report(this.#config.identity, reports);
      }
      if (this.#latency.size > 0) this.#armReport();
    });
  }

  #refuse(
    code: 'overloaded' | 'shard-quarantined',
    detail: string,
    extensions?: Record<string, unknown>,
  ): ShardReply {
    const reply: ShardReply = problem(code, detail, extensions);
    reply.retryAfterS = RETRY_AFTER_S;
    this.#metrics.counts.byClass[5]!++;
    return reply;
  }

  #changed(change: RouteChange): void {
    this.#changedSinceSave = true;
    if (change.type === 'node-gone') this.#pool.gone(change.process);
    else if (change.type === 'node-ready') this.#pool.ready(change.process);
    else this.#pool.shardChanged(change.shard);
  }

  #nodesKnown(): void {
    this.#knowsNodes = true;
    for (const resolve of this.#onNodes.splice(0)) resolve();
  }

  // ---------------------------------------------------------------- the file

  async #load(): Promise<void> {
    const { routeFile } = this.#config;
    if (routeFile === undefined) return;
    let savedAtMs: number | undefined;
    try {
      const bytes = await this.#io.disk.read(routeFile);
      if (bytes === undefined) return;
      savedAtMs = decodeRoutes(bytes, this.table);
    } catch (error) {
      this.#io.log.warn({ err: error, routeFile }, 'the saved routes cannot be read; starting without');
      return;
    }
    if (savedAtMs === undefined) {
      this.#io.log.warn({ routeFile }, 'the saved routes are damaged; starting without');
      return;
    }
    if (this.table.nodes().length > 0) this.#nodesKnown();
    this.#io.log.info(
      { routes: this.table.size, savedAtMs },
      'serving by saved routes until the store answers',
    );
  }

  #armSave(): void {
    if (this.#config.routeFile === undefined) return;
    const dueMs = Math.max(SAVE_INTERVAL_MS_MIN, this.table.size / SAVE_ROUTES_PER_MS);
    this.#cancelSave = this.#io.clock.setTimer(Math.min(SAVE_INTERVAL_MS_MAX, dueMs), () => {
      this.#saving = this.#save().finally(() => {
        if (!this.#stopped) this.#armSave();
      });
    });
  }

  async #save(): Promise<void> {
    const { routeFile } = this.#config;
    if (routeFile === undefined || !this.#changedSinceSave || this.table.nodes().length === 0) return;
    this.#changedSinceSave = false;
    try {
      const { table } = this;
      const pieces: Buffer[] = [];
      const encoded = encodeRoutes(table.routes(), table.nodes(), this.#io.clock.realtimeMs());
      for (let next = encoded.next(); !next.done; next = encoded.next()) {
        pieces.push(next.value);
        await new Promise<void>((resolve) => this.#io.clock.defer(resolve));
      }
      await this.#io.disk.write(routeFile, Buffer.concat(pieces));
    } catch (error) {
      this.#changedSinceSave = true;
      this.#io.log.warn({ err: error, routeFile }, 'the routes could not be saved; trying again later');
    }
  }
}
