/**
 * A gateway as a process: the gateway, its HTTP front, its connection to the control store, its registration.
 */
import { join } from 'node:path';
import { type Io, randomId, sleep } from '../io/io.ts';
import type { Region } from '../model/ids.ts';
import type { Topology } from '../model/topology.ts';
import { connectControl } from '../store/connect.ts';
import type { EtcdCredentials } from '../store/etcd/access.ts';
import type { CorsConfig } from './cors.ts';
import { Gateway } from './gateway.ts';
import { serveFront } from './http-front.ts';
import { GatewayRegistration } from './registration.ts';

/** How long `drain` waits for requests under way. */
export const DRAIN_MS_MAX = 15_000;
const DRAIN_STEP_MS = 20;
/** How long a draining gateway still takes requests, so that load balancers and kept connections notice. */
export const DRAIN_NOTICE_MS_DEFAULT = 1_000;

export interface GatewayProcessOptions {
  io: Io;
  /** Stable: `gw-eu-west-1`. */
  name: string;
  region: Region;
  /** Where it takes HTTP; port 0 picks a free one. */
  httpAddress: string;
  /** Where the control store listens. */
  controlAddress: string;
  /** Where that is an etcd. */
  etcd?: EtcdCredentials;
  /** Shared by all processes of the cluster. */
  token: string;
  /** Folder for the file of routes. */
  dataDirectory: string;
  topology: Topology;
  trustedProxies?: readonly string[];
  cors?: CorsConfig;
  bodyBytesMax?: number;
  assignmentsMax?: number;
  inFlightMax?: number;
  nodeInFlightMax?: number;
  requestBudgetMs?: number;
  /** {@link DRAIN_NOTICE_MS_DEFAULT} where absent. */
  drainNoticeMs?: number;
}

export interface GatewayProcess {
  /** Where it takes HTTP, with the real port. */
  readonly httpAddress: string;
  /** Unique per start. */
  readonly identity: string;
  readonly gateway: Gateway;
  /** `/readyz` turns 503 and clients are asked to go elsewhere; resolves when no request is under way. */
  drain(): Promise<void>;
  /** Ends it: open connections get {@link CLOSE_GRACE_MS} for their replies. */
  close(): Promise<void>;
}

/**
 * Starts a gateway. HTTP is taken at once; `/readyz` answers 503 until routes are known, from the control store or from
 * the file of an earlier run. Rejects when the HTTP address is taken.
 */
export async function runGatewayProcess(options: GatewayProcessOptions): Promise<GatewayProcess> {
  const { io, name, region, token, topology } = options;
  const identity = `${name}.${randomId(io.random.split('process-id'))}`;
  const control = connectControl(io, options.controlAddress, { token, identity, etcd: options.etcd });
  const gateway = new Gateway({
    io,
    control,
    config: {
      name,
      identity,
      region,
      token,
      topology,
      routeFile: join(options.dataDirectory, `${name}.routes`),
      assignmentsMax: options.assignmentsMax,
      inFlightMax: options.inFlightMax,
      nodeInFlightMax: options.nodeInFlightMax,
      requestBudgetMs: options.requestBudgetMs,
    },
  });
  const front = await serveFront({
    io,
    address: options.httpAddress,
    region,
    execute: (request) => gateway.execute(request),
    trustedProxies: options.trustedProxies,
    cors: options.cors,
    bodyBytesMax: options.bodyBytesMax,
    needsHeaders: (service) => gateway.needsHeaders(service),
    ready: () => gateway.ready,
    metrics: () => gateway.metrics(),
  });
  const registration = new GatewayRegistration({
    io,
    control,
    identity,
    record: { name, region, httpAddress: front.address, startedAtMs: io.clock.realtimeMs() },
  });
  registration.start();
  const started = gateway.start();
  started.then(() => io.log.info({ httpAddress: front.address, region }, 'the gateway routes'));

  let drained: Promise<void> | undefined;
  const drain = async () => {
    gateway.drain();
    front.drain();
    const noticeMs = options.drainNoticeMs ?? DRAIN_NOTICE_MS_DEFAULT;
    if (noticeMs > 0) await sleep(io.clock, noticeMs);
    for (let waitedMs = 0; gateway.inFlight > 0 && waitedMs < DRAIN_MS_MAX; waitedMs += DRAIN_STEP_MS)
      await sleep(io.clock, DRAIN_STEP_MS);
  };
  let closed: Promise<void> | undefined;
  const close = async () => {
    gateway.drain();
    await front.close();
    await gateway.stop();
    await registration.stop();
    control.close();
  };
  return {
    httpAddress: front.address,
    identity,
    gateway,
    drain: () => (drained ??= drain()),
    close: () => (closed ??= close()),
  };
}
