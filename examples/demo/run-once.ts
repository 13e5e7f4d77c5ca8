/** One policy under the load, on a cluster of its own with an empty data directory. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type RemoteCluster, startRemoteCluster } from '../../src/supervisor/remote-cluster.ts';
import type { SupervisedProcess } from '../../src/supervisor/supervisor.ts';
import type { AcknowledgementRecord } from './acknowledgements.ts';
import { ControllerFeed } from './controller-feed.ts';
import { LoadFormula } from './load-formula.ts';
import type { LoadDone } from './load-generator.ts';
import { startLoad } from './load-process.ts';
import { policyArguments, STARTED_FILE } from './policy-arguments.ts';
import { RequestLog } from './request-log.ts';
import { ScreenDriver } from './screen-driver.ts';
import { DemoModel, type MigrationEvent } from './view.ts';

export const ROOMS_APP = fileURLToPath(new URL('../rooms/app.ts', import.meta.url));

export interface DemoOptions {
  seed: string;
  nodes: number;
  ratePerSecond: number;
  dayS: number;
  alpha: number;
  policy: string;
  trace?: string;
  /** Absent: until Ctrl-C. */
  forS?: number;
  dataDirectory: string;
  /** The gateways' ports, first region first, where they are free; 0: any. */
  httpPort: number;
  stepMs: number;
  /** The admin API's port where it is free; 0: any. */
  apiPort: number;
}

export interface UsageMark {
  cpuSeconds: number;
  bytesBetweenRegions: number;
}

export interface RunResult {
  policy: string;
  cluster: RemoteCluster;
  done: LoadDone;
  requests: RequestLog;
  acknowledged: AcknowledgementRecord;
  migrations: MigrationEvent[];
  /** From the first scored moment to the end of the load. */
  usage: UsageMark;
}

/** The running cluster is handed over: whoever asked for the run stops or kills it. */
export async function runOnce(
  options: DemoOptions & { forS: number; title: string; scoredFromS: number; signal: AbortSignal },
): Promise<RunResult> {
  const { dayS, forS, policy, title, signal } = options;
  const dataDirectory = join(options.dataDirectory, policy);
  rmSync(dataDirectory, { recursive: true, force: true });
  mkdirSync(dataDirectory, { recursive: true });
  const regions = new LoadFormula({ ...options, keys: 1 }).regions;
  const model = new DemoModel({
    title,
    regions,
    dayS,
    forS: Number.isFinite(forS) ? forS : undefined,
  });
  const cluster = await startRemoteCluster({
    app: ROOMS_APP,
    nodes: options.nodes,
    regions,
    dataDirectory,
    policy,
    stepMs: options.stepMs,
    extraArguments: { controller: policyArguments(policy, options, dataDirectory) },
    apiPort: options.apiPort === 0 ? undefined : options.apiPort,
    gatewayPorts: options.httpPort === 0 ? undefined : portsFrom(options.httpPort, regions),
    onEvent: (event) => model.onProcess(event),
  });
  let screen: ScreenDriver | undefined;
  let feed: ControllerFeed | undefined;
  let finished = false;
  try {
    signal.throwIfAborted();
    feed = new ControllerFeed(cluster.api, cluster.token, {
      onDecision: (decision) => model.onDecision(decision),
      onMigration: (migration) => model.onMigration(migration),
      onNodes: (nodes) => model.onNodes(nodes),
      onForecast: (forecast) => model.onForecast(forecast),
    });
    screen = new ScreenDriver(process.stdout, () => model.view());
    let atScoring: Promise<UsageMark> | undefined;
    const load = startLoad(
      {
        seed: options.seed,
        ratePerSecond: options.ratePerSecond,
        dayS,
        alpha: options.alpha,
        trace: options.trace,
        regions,
        forS: Math.min(forS, FOREVER_S),
        gateways: cluster.gateways,
        outDirectory: dataDirectory,
      },
      (report) => {
        model.onLoad(report);
        if (report.atS >= options.scoredFromS) atScoring ??= usageOf(cluster);
      },
    );
    void load.started.then((atMs) => writeFileSync(join(dataDirectory, STARTED_FILE), JSON.stringify(atMs)));
    const abort = () => void load.stop();
    signal.addEventListener('abort', abort);
    try {
      const done = await load.done;
      const before = (await atScoring) ?? { cpuSeconds: 0, bytesBetweenRegions: 0 };
      const after = await usageOf(cluster);
      for (const migration of await feed.migrations().catch(() => [])) model.onMigration(migration);
      finished = true;
      return {
        policy,
        cluster,
        done,
        requests: new RequestLog(readFileSync(join(dataDirectory, 'requests.bin'))),
        acknowledged: JSON.parse(
          readFileSync(join(dataDirectory, 'acknowledged.json'), 'utf8'),
        ) as AcknowledgementRecord,
        migrations: [...model.migrations.values()],
        usage: {
          cpuSeconds: after.cpuSeconds - before.cpuSeconds,
          bytesBetweenRegions: after.bytesBetweenRegions - before.bytesBetweenRegions,
        },
      };
    } finally {
      signal.removeEventListener('abort', abort);
      await load.stop();
    }
  } finally {
    screen?.close();
    await feed?.close();
    if (!finished) await cluster.stop();
  }
}

/** A demo without an end still has a last arrival: in a month. */
const FOREVER_S = 30 * 24 * 3600;

export function portsFrom(first: number, regions: string[]): Record<string, number> {
  return Object.fromEntries(regions.map((region, i) => [region, first + i]));
}

async function usageOf(cluster: RemoteCluster): Promise<UsageMark> {
  const processes: SupervisedProcess[] = await cluster.processes();
  return {
    cpuSeconds: processes.reduce((sum, { cpuSeconds }) => sum + cpuSeconds, 0),
    bytesBetweenRegions: processes.reduce((sum, { bytesBetweenRegions }) => sum + bytesBetweenRegions, 0),
  };
}
