/**
 * `skein dev`: a whole cluster on this machine. Without `--app`, in a clone of the repository, it runs the demo: three
 * regions under load, a live screen, and with `--report` a comparison with an audit. With `--app` it serves an app.
 *
 * Ctrl-C stops everything in order and leaves no process behind; a second one kills.
 */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { realIo } from '../io/real.ts';
import { POLICIES } from '../model/loop.ts';
import { AWS_THREE_REGIONS } from '../model/topology.ts';
import type { StoresConfig } from '../store/etcd/stores.ts';
import {
  type EtcdCluster,
  NEAR_ELECTION_MS,
  NEAR_HEARTBEAT_MS,
  startEtcdCluster,
} from '../supervisor/etcd-cluster.ts';
import type { GivenStores } from '../supervisor/local-cluster.ts';
import { type RemoteCluster, startRemoteCluster } from '../supervisor/remote-cluster.ts';
import { positive, wholeNumber } from './numbers.ts';
import { chooseStores } from './stores.ts';

const HTTP_PORT_DEFAULT = 8080;
/** Where the other commands look for it by themselves. */
const API_PORT_DEFAULT = 7460;
const REGIONS_DEFAULT = 'us-east-1,eu-west-1,ap-northeast-1';
const DEMO = fileURLToPath(new URL('../../examples/demo/main.ts', import.meta.url));

interface DevFlags {
  app?: string;
  load: boolean;
  seed: string;
  nodes: number;
  rate: number;
  day: number;
  alpha: number;
  policy: string;
  model?: string;
  trace?: string;
  for?: number;
  report?: string;
  data?: string;
  port: number;
  apiPort: number;
  regions: string;
  stepMs: number;
  store: 'process' | 'etcd';
  stores?: string;
}

/** The part of `examples/demo/main.ts` that is used here; the published package does not hold it. */
interface DemoModule {
  runDemo(options: object, signal: AbortSignal): Promise<number>;
  defaultDataDirectory(): string;
}

/** Adds the command to the program. Its action sets `process.exitCode`. */
export function addDevCommand(program: Command): void {
  program
    .command('dev')
    .description('run a cluster on this machine: the demo, or your app with --app')
    .option('--app <file>', 'module that exports your app')
    .option('--no-load', 'start the cluster without the demo’s load')
    .option('--seed <text>', 'seed of the load', '1')
    .option('--nodes <number>', 'nodes in all, dealt out to three regions', wholeNumber(1, 64), 6)
    .option('--rate <number>', 'mean requests a second', positive, 300)
    .option('--day <duration>', 'how long a day of the load lasts', duration, 60)
    .option('--alpha <number>', 'how evenly a key is asked for from all regions', positive, 1)
    .addOption(
      new Option('--policy <name>', 'what the controller decides by').choices(POLICIES).default('predictive'),
    )
    .option(
      '--model <file>',
      'with --app: an ONNX model of your own for the forecaster, described by <file>.json',
    )
    .option('--trace <file>', 'take the rate from a series (JSON Lines, may be gzipped; FILE#id picks one)')
    .option('--for <duration>', 'end by itself, such as 180s or 3m', duration)
    .option('--report <file>', 'compare static with predictive, audit, and write JSON')
    .option('--data <directory>', 'where databases and logs go (default: .skein)')
    .option(
      '--port <number>',
      'HTTP port of the first gateway; 0: any',
      wholeNumber(0, 65_000),
      HTTP_PORT_DEFAULT,
    )
    .option('--api-port <number>', 'port of the admin API; 0: any', wholeNumber(0, 65_000), API_PORT_DEFAULT)
    .option('--regions <names>', 'regions for your app, the first holds the control store', REGIONS_DEFAULT)
    .addOption(
      new Option('--store <kind>', 'store processes, or etcd members that it starts (needs etcd in PATH)')
        .choices(['process', 'etcd'])
        .default('process'),
    )
    .option('--stores <file>', 'etcd clusters that are there already (docs/operations.md)')
    .option('--step-ms <number>', 'measuring step of the controller', positive, 1000)
    .action(async (flags: DevFlags) => {
      process.exitCode = await dev(flags);
    });
}

/** Returns the exit status. */
export async function dev(flags: DevFlags): Promise<number> {
  const interrupted = interruption();
  try {
    if (flags.app !== undefined || !flags.load) return await serveApp(flags, interrupted.signal);
    if (flags.store === 'etcd' || flags.stores !== undefined) {
      process.stderr.write(
        'skein dev: the demo runs on store processes. With etcd, give your app (--app FILE) or --no-load\n',
      );
      return 2;
    }
    if (!existsSync(DEMO)) {
      process.stderr.write(
        'skein dev: the demo is part of the repository only. Give your app: skein dev --app FILE\n',
      );
      return 2;
    }
    const demo = (await import(pathToFileURL(DEMO).href)) as DemoModule;
    return await demo.runDemo(
      {
        seed: flags.seed,
        nodes: flags.nodes,
        ratePerSecond: flags.rate,
        dayS: flags.day,
        alpha: flags.alpha,
        policy: flags.policy,
        trace: flags.trace,
        forS: flags.for,
        report: flags.report,
        dataDirectory: flags.data ?? demo.defaultDataDirectory(),
        httpPort: flags.port,
        apiPort: flags.apiPort,
        stepMs: flags.stepMs,
      },
      interrupted.signal,
    );
  } catch (error) {
    process.stderr.write(`skein dev: ${error instanceof Error ? error.message : String(error)}\n`);
    return 1;
  } finally {
    interrupted.end();
  }
}

/** A cluster for an app, its data kept between starts, until Ctrl-C or `--for`. */
async function serveApp(flags: DevFlags, signal: AbortSignal): Promise<number> {
  const app = resolve(flags.app ?? fileURLToPath(new URL('../../examples/rooms/app.ts', import.meta.url)));
  if (!existsSync(app)) {
    process.stderr.write(
      `skein dev: there is no file ${app}. Give the module that exports your app: skein dev --app FILE\n`,
    );
    return 2;
  }
  const dataDirectory = resolve(flags.data ?? join('.skein', 'dev'));
  mkdirSync(dataDirectory, { recursive: true });
  const regions = flags.regions.split(',').map((region) => region.trim());
  const unknown = regions.filter((region) => !AWS_THREE_REGIONS.regions.includes(region));
  if (unknown.length > 0 || new Set(regions).size !== regions.length) {
    process.stderr.write(
      `skein dev: --regions takes some of ${REGIONS_DEFAULT}, each once; not ${unknown.join(', ') || flags.regions}\n`,
    );
    return 2;
  }
  const etcd = await devStores(flags, regions, dataDirectory);
  const cluster: RemoteCluster = await startRemoteCluster({
    app,
    regions,
    stores: etcd?.stores,
    nodes: flags.nodes,
    dataDirectory,
    policy: flags.policy,
    modelFile: flags.model === undefined ? undefined : resolve(flags.model),
    stepMs: flags.stepMs,
    apiPort: flags.apiPort === 0 ? undefined : flags.apiPort,
    gatewayPorts:
      flags.port === 0 ? undefined : Object.fromEntries(regions.map((region, i) => [region, flags.port + i])),
    onEvent: (event) => {
      if (event.type === 'serving' && event.restarts === 0) return;
      const why = 'reason' in event ? `: ${event.reason}` : '';
      process.stdout.write(`${event.name} ${event.type}${why}\n`);
    },
  }).catch(async (error: unknown) => {
    await etcd?.stop();
    throw error;
  });
  for (const [region, address] of Object.entries(cluster.gateways)) {
    process.stdout.write(`${region.padEnd(16)} ${address}\n`);
  }
  process.stdout.write(
    `admin API        ${cluster.api}\ndata and logs    ${dataDirectory}\nCtrl-C ends it\n`,
  );
  await new Promise<void>((done) => {
    if (signal.aborted) done();
    signal.addEventListener('abort', () => done());
    if (flags.for !== undefined) setTimeout(done, flags.for * 1000);
  });
  await cluster.stop();
  await etcd?.stop();
  return 0;
}

/** Etcd clusters of `--stores`, or new ones: one for control, one a region for its cell, a member each. */
async function devStores(
  flags: DevFlags,
  regions: string[],
  dataDirectory: string,
): Promise<{ stores: GivenStores; stop(): Promise<void> } | undefined> {
  if (flags.stores !== undefined) {
    const chosen = await chooseStores({ stores: flags.stores });
    const stores = { controlAddress: chosen.controlAddress, file: resolve(flags.stores), etcd: chosen.etcd };
    return { stores, stop: async () => {} };
  }
  if (flags.store !== 'etcd') return undefined;
  const { random } = realIo({ logLevel: 'silent' });
  const started: EtcdCluster[] = [];
  const stop = async () => {
    await Promise.all(started.map((cluster) => cluster.stop()));
  };
  const start = async (name: string) => {
    const cluster = await startEtcdCluster({
      random,
      dataDirectory: join(dataDirectory, 'etcd', name),
      heartbeatMs: NEAR_HEARTBEAT_MS,
      electionMs: NEAR_ELECTION_MS,
    });
    started.push(cluster);
    return cluster.address();
  };
  try {
    const control = await start('control');
    const cells: StoresConfig['cells'] = {};
    for (const region of regions)
      cells[`cell-${region}`] = { region, address: await start(`cell-${region}`) };
    const file = join(dataDirectory, 'stores.json');
    writeFileSync(file, `${JSON.stringify({ control, cells }, null, 2)}\n`);
    return { stores: { controlAddress: control, file }, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** The first Ctrl-C or SIGTERM asks for an orderly end; the second ends this process, and with it all others. */
function interruption(): { signal: AbortSignal; end(): void } {
  const controller = new AbortController();
  const onSignal = () => {
    if (controller.signal.aborted) process.exit(130);
    process.stderr.write('\nstopping everything in order; Ctrl-C again kills\n');
    controller.abort(new Error('interrupted'));
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  return {
    signal: controller.signal,
    end() {
      process.off('SIGINT', onSignal);
      process.off('SIGTERM', onSignal);
    },
  };
}

/** Seconds from `90`, `90s`, `3m`, `500ms`. */
export function duration(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h)?$/.exec(text);
  const seconds = match ? Number(match[1]) * { ms: 0.001, s: 1, m: 60, h: 3600 }[match[2] ?? 's']! : 0;
  if (!(seconds > 0)) throw new InvalidArgumentError('write a duration such as 180s, 3m or 500ms');
  return seconds;
}
