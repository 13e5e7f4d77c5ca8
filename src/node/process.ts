/**
 * A node as an operating system process: loads the user's app, connects the stores, serves wire and HTTP, and starts
 * the watchdog. Signals are the command line's: it calls `drain()` on SIGTERM.
 */
import { resolve as resolvePath } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import { Gauge, Registry } from 'prom-client';
import { type Front, serveFront } from '../gateway/http-front.ts';
import { type Io, sleep } from '../io/io.ts';
import type { CellId } from '../model/ids.ts';
import type { CellRecord } from '../model/records.ts';
import type { Topology } from '../model/topology.ts';
import { appOf } from '../sdk/service.ts';
import type { EffectCounts } from '../shard/effects.ts';
import { loadApp } from '../shard/runtime.ts';
import { connectStores } from '../store/connect.ts';
import type { EtcdCredentials } from '../store/etcd/access.ts';
import { registerCells } from '../store/register.ts';
import { type RpcHandlers, serveRpc } from '../wire/rpc.ts';
import { cellMetrics } from './cell-metrics.ts';
import type { NodeConfig } from './config.ts';
import { migrationParticipant } from './migration/participant.ts';
import { SkeinNode } from './node.ts';
import {
  ENDING_ASKED,
  HANDLER_BLOCK_MS_MAX,
  readRunning,
  SharedHandlerWatch,
  setEnding,
  waitRecorded,
} from './watchdog.ts';
import type { WatchdogData } from './watchdog-thread.ts';

/** After its key is gone a drained node still answers for so long: routes elsewhere take a moment to follow. */
const LINGER_MS = 500;
const PASSING_POLL_MS = 20;
const PASSING_MS_MAX = 10_000;
const EXIT_RECORD_MS_MAX = 1_200;

export interface NodeProcessOptions {
  io: Io;
  /** `address` and `httpAddress` may have port 0; an empty `httpAddress` serves no HTTP. */
  config: NodeConfig;
  /** The module that exports the app as `app` or as default. */
  appFile: string;
  controlAddress: string;
  /** Where stores are etcd clusters. */
  etcd?: EtcdCredentials;
  /** Cells that this process puts into the control store, where they are not there yet: etcd does not do it itself. */
  cells?: Record<CellId, CellRecord>;
  /** Absent or true: a handler that blocks the event loop ends the process. False: for tests in one process. */
  watchdog?: boolean;
  handlerBlockMsMax?: number;
  /** Where `io.network` emulates round trips: the watchdog's own connection must do so as well. */
  topology?: Topology;
  /** Addresses and CIDR ranges whose origin headers count. */
  trustedProxies?: readonly string[];
}

export interface NodeProcess {
  readonly node: SkeinNode;
  /** Wire address with the real port. */
  readonly address: string;
  /** HTTP address with the real port; empty where none is served. */
  readonly httpAddress: string;
  /** Gives all shards away, answers what is under way, leaves the cluster, and closes. */
  drain(): Promise<void>;
  /** Closes at once; shards are taken over by others. */
  close(): Promise<void>;
}

/**
 * Starts a node. Rejects when the app cannot be loaded or an address is taken.
 *
 * @example
 * const running = await runNodeProcess({ io: realIo(), config, appFile: './app.ts', controlAddress: '127.0.0.1:20001' });
 * process.once('SIGTERM', () => running.drain().then(() => process.exit(0)));
 */
export async function runNodeProcess(options: NodeProcessOptions): Promise<NodeProcess> {
  const { io, appFile, controlAddress } = options;
  const { token, processId } = options.config;
  const module = (await import(pathToFileURL(resolvePath(appFile)).href)) as Record<string, unknown>;
  const runtime = loadApp(appOf(module));
  const stores = connectStores(io, {
    token,
    identity: processId,
    controlAddress,
    etcd: options.etcd,
  });
  const watch = new SharedHandlerWatch();

  // Both servers stand before the node, so that its record names their real ports.
  const handlers: RpcHandlers = {};
  let node: SkeinNode | undefined;
  const wire = await serveRpc({ network: io.network, address: options.config.address, token, handlers });
  let front: Front | undefined;
  try {
    if (options.config.httpAddress !== '') {
      const manifest = runtime.manifest();
      front = await serveFront({
        io,
        address: options.config.httpAddress,
        region: options.config.region,
        trustedProxies: options.trustedProxies,
        execute: (request) => node!.execute(request),
        needsHeaders: (service) => manifest[service]?.authorize ?? false,
        ready: () => node?.ready ?? false,
        metrics: () => registry.metrics(),
      });
    }
  } catch (error) {
    await wire.close();
    stores.close();
    throw error;
  }
  const config = { ...options.config, address: wire.address, httpAddress: front?.address ?? '' };
  const running = new SkeinNode({
    io,
    config,
    runtime,
    control: stores.control,
    cells: stores.cells,
    participant: migrationParticipant,
    watch,
    rssBytes: () => process.memoryUsage.rss(),
  });
  node = running;
  const registry = nodeMetrics(running, () => runtime.effects?.());
  cellMetrics(registry, () => {
    const control = stores.control.pressure?.();
    return [...stores.cells.pressures(), ...(control ? [['control', control] as const] : [])];
  });
  handlers.calls = running.handlers().calls;
  handlers.streams = running.handlers().streams;
  const endWatchdog = options.watchdog === false ? () => {} : startWatchdog(options, watch);
  await registerCells(io, stores.control, options.cells ?? {});
  await stores.ready;
  await running.start();
  io.log.info({ process: processId, address: config.address, http: config.httpAddress }, 'the node serves');

  let closing: Promise<void> | undefined;
  const close = async () => {
    await front?.close();
    await wire.close();
    await running.stop();
    endWatchdog();
    stores.close();
  };
  return {
    node: running,
    address: config.address,
    httpAddress: config.httpAddress,
    async drain() {
      // `/readyz` says 503 from here on; connections stay, so that no client finds one closed under its request.
      await running.drain();
      // Nothing is owned here any more: leave the cluster, and pass on what still comes by old routes.
      await running.leave();
      await sleep(io.clock, LINGER_MS);
      front?.drain();
      const untilMs = io.clock.monotonicMs() + PASSING_MS_MAX;
      const isBusy = () => running.passingRequests > 0 || (runtime.effects?.().callbacksUnderWay ?? 0) > 0;
      while (isBusy() && io.clock.monotonicMs() < untilMs) {
        await sleep(io.clock, PASSING_POLL_MS);
      }
      closing ??= close();
      await closing;
    },
    close() {
      closing ??= close();
      return closing;
    },
  };
}

function startWatchdog(options: NodeProcessOptions, watch: SharedHandlerWatch): () => void {
  const { io, config } = options;
  const data: WatchdogData = {
    shared: watch.shared,
    processId: config.processId,
    region: config.region,
    controlAddress: options.controlAddress,
    etcd: options.etcd,
    token: config.token,
    handlerBlockMsMax: options.handlerBlockMsMax ?? HANDLER_BLOCK_MS_MAX,
    topology: options.topology,
  };
  // Sources run by type stripping, the package as built JavaScript.
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  const worker = new Worker(new URL(`./watchdog-thread.${extension}`, import.meta.url), { workerData: data });
  worker.unref();
  worker.on('error', (error) => io.log.error({ error: String(error) }, 'the watchdog ended'));
  // `process.exit` in a handler: the mark still names it, and the watchdog's thread still runs.
  const onExit = () => {
    if (readRunning(watch.shared) === undefined) return;
    setEnding(watch.shared, ENDING_ASKED);
    waitRecorded(watch.shared, EXIT_RECORD_MS_MAX);
  };
  const onException = (error: unknown) => {
    io.log.error(
      { error: error instanceof Error ? error.stack : String(error) },
      'uncaught; the process ends',
    );
    process.exit(1);
  };
  // A handler's forgotten promise is the handler's fault and no reason to lose a node.
  const onRejection = (error: unknown) => {
    io.log.error(
      { error: error instanceof Error ? error.stack : String(error) },
      'a promise was rejected and nobody listened; await it in the handler',
    );
  };
  process.on('exit', onExit);
  process.on('uncaughtException', onException);
  process.on('unhandledRejection', onRejection);
  return () => {
    process.off('exit', onExit);
    process.off('uncaughtException', onException);
    process.off('unhandledRejection', onRejection);
    void worker.terminate();
  };
}

/** What `/metrics` of a node shows beside the process's own. */
function nodeMetrics(node: SkeinNode, effects: () => EffectCounts | undefined): Registry {
  const registry = new Registry();
  registry.setDefaultLabels({ node: node.config.name, region: node.config.region });
  const gauge = (name: string, help: string, read: () => number) =>
    new Gauge({
      name,
      help,
      registers: [registry],
      collect() {
        this.set(read());
      },
    });
  gauge('skein_node_replicas', 'Replicas in memory.', () => node.replicaCount);
  gauge('skein_node_undurable_bytes', 'Bytes of deltas not yet durable.', () => node.undurableBytes);
  gauge(
    'skein_node_passing_requests',
    'Requests looking for their shard or under way to other nodes.',
    () => {
      return node.passingRequests;
    },
  );
  gauge('skein_node_fetches_sent_total', 'Requests that handlers sent by ctx.fetch.', () => {
    return effects()?.fetchesSent ?? 0;
  });
  gauge(
    'skein_node_fetches_failed_total',
    'Of those and of what was not sent: without a whole answer.',
    () => {
      return effects()?.fetchesFailed ?? 0;
    },
  );
  gauge('skein_node_callbacks_total', 'Callbacks of ctx.afterCommit that ran.', () => {
    return effects()?.callbacksRun ?? 0;
  });
  gauge('skein_node_callbacks_failed_total', 'Of those: threw, rejected or ran out of time.', () => {
    return effects()?.callbacksFailed ?? 0;
  });
  gauge('skein_node_callbacks_dropped_total', 'Callbacks that never ran, as too many waited.', () => {
    return effects()?.callbacksDropped ?? 0;
  });
  gauge('skein_node_callbacks_waiting', 'Callbacks that run or wait.', () => {
    return effects()?.callbacksUnderWay ?? 0;
  });
  gauge('skein_node_standby_primaries', 'Primaries here that should have standbys.', () => {
    return node.standbys.primaries;
  });
  gauge(
    'skein_node_standbys_lacking',
    'Primaries here whose standbys are not all named and following.',
    () => {
      return node.standbys.lacking;
    },
  );
  gauge('skein_node_standby_delta_bytes', 'Bytes of deltas for standbys since the start, as logged.', () => {
    return node.standbyTraffic?.deltaBytes ?? 0;
  });
  gauge('skein_node_standby_wire_bytes', 'The same as they left, batched and compressed.', () => {
    return node.standbyTraffic?.wireBytes ?? 0;
  });
  gauge('skein_node_copies', 'Bulk copies of shards under way, in and out.', () => node.copies.count);
  gauge('skein_node_request_share', 'Share of the event loop that requests took over a second.', () => {
    return node.copies.requestShare;
  });
  gauge('skein_node_copy_share', 'Share of the event loop that copies may take together.', () => {
    return node.copies.copyShare;
  });
  const ways = {
    in: 'opened here, all received',
    out: 'encoded here, all handed out',
  } as const;
  for (const way of ['in', 'out'] as const) {
    const of = `large copies ${ways[way]}, since the start.`;
    gauge(`skein_node_copies_${way}_bytes`, `Bytes of ${of}`, () => node.copiesWork[way].bytes);
    gauge(`skein_node_copies_${way}_cpu_seconds`, `Core-seconds of ${of}`, () => {
      return node.copiesWork[way].cpuSeconds;
    });
  }
  gauge('skein_node_lease_valid', '1 while the lease is valid.', () => (node.leaseValid() ? 1 : 0));
  gauge('skein_node_ready', '1 while new shards are taken.', () => (node.ready ? 1 : 0));
  gauge('process_resident_memory_bytes', 'Resident memory.', () => process.memoryUsage.rss());
  gauge('process_cpu_seconds_total', 'CPU time of the process.', () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e6;
  });
  return registry;
}
