/**
 * A whole cluster on this machine: per region a store process with the region's cell, nodes and a gateway; the control
 * store in the first region's store process; one controller. Every one is a process of its own.
 *
 * The library behind `skein dev`, the tests and the benches.
 */
import { mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Io, randomId } from '../io/io.ts';
import { realIo } from '../io/real.ts';
import type { Region } from '../model/ids.ts';
import { AWS_THREE_REGIONS } from '../model/topology.ts';
import type { EtcdCredentials } from '../store/etcd/access.ts';
import { connectControlStore } from './control.ts';
import { LocalSupervisor } from './local-supervisor.ts';
import { PortPicker } from './ports.ts';
import { revokeLeaseOf } from './revoke.ts';
import type { ProcessSpec, ReadyLine, Role, SupervisedProcess, SupervisorEvent } from './supervisor.ts';

export interface LocalClusterOptions {
  /** Module whose default export is the app; absolute or relative to the working directory. */
  app: string;
  /** One store, one cell and one gateway each; the first holds the control store. Default: the three of the demo. */
  regions?: Region[];
  /** Nodes in all, dealt out to the regions in turn. Default: two a region. */
  nodes?: number;
  /** Databases and logs. */
  dataDirectory: string;
  /** What the controller decides by. Default: `predictive`. Absent controller: `none`. */
  policy?: string;
  /** An ONNX model of one's own beside the forecaster's experts. */
  modelFile?: string;
  mode?: 'observe' | 'recommend' | 'auto';
  stepMs?: number;
  /** Round trips between regions are emulated. Default: true. */
  emulateRtt?: boolean;
  /** Default: a random one. */
  token?: string;
  logLevel?: string;
  /** Added to every process's environment. */
  environment?: Record<string, string>;
  /** Ports of the gateways and of the admin API where they are free; others otherwise. */
  gatewayPorts?: Record<Region, number>;
  apiPort?: number;
  /** Extra arguments a role gets. */
  extraArguments?: Partial<Record<Role, string[]>>;
  /** Stores that are there already, instead of store processes of the cluster's own. */
  stores?: GivenStores;
  onEvent?: (event: SupervisorEvent) => void;
}

/** Stores of other programs, as etcd clusters are. */
export interface GivenStores {
  controlAddress: string;
  /** The file that `--stores` of every role names. */
  file: string;
  etcd?: EtcdCredentials;
}

export interface LocalCluster {
  readonly regions: Region[];
  /** Region -> `http://127.0.0.1:port`. */
  readonly gateways: Record<Region, string>;
  /** Node name -> its plain HTTP address. */
  readonly nodes: Record<string, string>;
  /** The admin API: `http://127.0.0.1:port`. Empty without a controller. */
  readonly api: string;
  /** `host:port` of the control store. */
  readonly control: string;
  readonly token: string;
  readonly dataDirectory: string;
  processes(): Promise<SupervisedProcess[]>;
  /** Ends a process with a signal; it is started again unless `restart` is false. */
  kill(name: string, signal?: NodeJS.Signals, options?: { restart?: boolean }): Promise<void>;
  /** Starts a process again that was killed with `restart: false`. */
  restart(name: string): Promise<void>;
  /** Gateways and nodes drain, then controller and stores end. No process is left when it resolves. */
  stop(): Promise<void>;
  /** SIGKILL to all at once: what is on disk is what is left. */
  killAll(): Promise<void>;
}

/** Longest time of one step of a traffic shift: a local day lasts a minute or less. */
const SHIFT_STEP_MS = 250;

const SOURCE = import.meta.url.endsWith('.ts');
const ENTRY = fileURLToPath(new URL(SOURCE ? '../cli/main.ts' : '../cli/main.js', import.meta.url));
/** Sources resolve the package's own name to sources, so that an app and its host share one module. */
const NODE_FLAGS = [
  '--disable-warning=ExperimentalWarning',
  ...(SOURCE ? ['--conditions=skein-source'] : []),
];

/** Which node goes where: `us-east-1-n1`, `eu-west-1-n1`, ..., zones in turn within a region. */
export function placeNodes(
  regions: Region[],
  nodes: number,
): { name: string; region: Region; zone: string }[] {
  return Array.from({ length: nodes }, (_, i) => {
    const region = regions[i % regions.length]!;
    const number = Math.floor(i / regions.length) + 1;
    return { name: `${region}-n${number}`, region, zone: `${region}${'abc'[(number - 1) % 3]}` };
  });
}

/**
 * Starts a cluster and resolves when every process serves. When one does not, all are killed and the error says
 * which, why, and what its output ended with.
 *
 * @example
 * const cluster = await startLocalCluster({ app: 'app.ts', dataDirectory: '.skein/dev' });
 * await fetch(`${cluster.gateways['eu-west-1']}/room/r1/say`, { method: 'POST', body: '{}' });
 * await cluster.stop();
 */
export async function startLocalCluster(options: LocalClusterOptions): Promise<LocalCluster> {
  const io = realIo({ log: { role: 'supervisor' }, logLevel: options.logLevel ?? 'warn' });
  return new Starter(io, options).start();
}

class Starter {
  readonly #io: Io;
  readonly #options: LocalClusterOptions;
  readonly #regions: Region[];
  readonly #token: string;
  readonly #data: string;
  readonly #ports: PortPicker;
  readonly #supervisor: LocalSupervisor;
  #control = '';
  #controlStore: ReturnType<typeof connectControlStore> | undefined;

  constructor(io: Io, options: LocalClusterOptions) {
    this.#io = io;
    this.#options = options;
    this.#regions = options.regions ?? AWS_THREE_REGIONS.regions;
    this.#token = options.token ?? randomId(io.random) + randomId(io.random);
    this.#data = resolve(options.dataDirectory);
    mkdirSync(this.#data, { recursive: true });
    this.#ports = new PortPicker({ start: process.pid * 61 });
    this.#supervisor = new LocalSupervisor({
      clock: io.clock,
      random: io.random,
      log: io.log,
      entry: ENTRY,
      nodeFlags: NODE_FLAGS,
      logDirectory: join(this.#data, 'logs'),
      environment: {
        // A process that is started again finds its code compiled: half of what a start takes.
        NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE ?? join(this.#data, 'compile-cache'),
        ...options.environment,
        SKEIN_CLUSTER_TOKEN: this.#token,
      },
      onExit: ({ spec, processId }) => this.#revoke(spec, processId),
    });
    if (options.onEvent) this.#supervisor.onEvent(options.onEvent);
  }

  async start(): Promise<LocalCluster> {
    try {
      return await this.#startAll();
    } catch (error) {
      await this.#supervisor.killAll();
      this.#controlStore?.close();
      throw error;
    }
  }

  async #startAll(): Promise<LocalCluster> {
    const [first, ...others] = this.#regions;
    if (first === undefined) throw new RangeError('a cluster has at least one region');
    const { stores } = this.#options;
    if (stores) this.#control = stores.controlAddress;
    else this.#control = (await this.#start(await this.#store(first, true))).address!;
    this.#controlStore = connectControlStore({
      io: this.#io,
      address: this.#control,
      token: this.#token,
      emulatedRegion: (this.#options.emulateRtt ?? true) ? first : undefined,
      etcd: stores?.etcd,
    });
    if (!stores)
      await this.#startTogether(await Promise.all(others.map((region) => this.#store(region, false))));

    const placed = placeNodes(this.#regions, this.#options.nodes ?? this.#regions.length * 2);
    const gateways: Record<Region, string> = {};
    const nodes: Record<string, string> = {};
    const specs: ProcessSpec[] = [];
    for (const node of placed) specs.push(await this.#node(node));
    for (const region of this.#regions) specs.push(await this.#gateway(region));
    let api = '';
    if (this.#options.policy !== 'none') {
      const apiAddress = await this.#address(this.#options.apiPort);
      api = `http://${apiAddress}`;
      specs.push(await this.#controller(first, apiAddress));
    }
    const ready = await this.#startTogether(specs);
    for (const [i, spec] of specs.entries()) {
      const httpAddress = `http://${ready[i]!.httpAddress}`;
      if (spec.role === 'gateway') gateways[spec.name.replace(/-gateway$/, '')] = httpAddress;
      if (spec.role === 'node') nodes[spec.name] = httpAddress;
    }
    return this.#cluster({ gateways, nodes, api });
  }

  #cluster(found: Pick<LocalCluster, 'gateways' | 'nodes' | 'api'>): LocalCluster {
    const supervisor = this.#supervisor;
    return {
      ...found,
      regions: this.#regions,
      control: this.#control,
      token: this.#token,
      dataDirectory: this.#data,
      processes: async () => {
        supervisor.readUsage();
        return supervisor.processes();
      },
      kill: async (name, signal = 'SIGKILL', options = {}) => supervisor.kill(name, signal, options),
      restart: async (name) => {
        await supervisor.restart(name);
      },
      stop: async () => {
        await supervisor.stop();
        this.#controlStore?.close();
      },
      killAll: async () => {
        await supervisor.killAll();
        this.#controlStore?.close();
      },
    };
  }

  async #revoke(spec: ProcessSpec, processId: string): Promise<void> {
    if (!this.#controlStore || spec.role === 'store') return;
    await revokeLeaseOf(this.#controlStore, { role: spec.role, name: spec.name, processId });
  }

  #start(spec: ProcessSpec): Promise<ReadyLine> {
    return this.#supervisor.start(spec);
  }

  #startTogether(specs: ProcessSpec[]): Promise<ReadyLine[]> {
    return Promise.all(specs.map((spec) => this.#start(spec)));
  }

  #common(role: Role, name: string, region: Region, processId: string): string[] {
    const { emulateRtt = true, logLevel = 'info', extraArguments } = this.#options;
    return [
      role,
      '--name',
      name,
      '--region',
      region,
      '--process-id',
      processId,
      '--log-level',
      logLevel,
      ...(emulateRtt ? ['--emulate-rtt'] : []),
      ...(role !== 'store' && this.#options.stores ? ['--stores', this.#options.stores.file] : []),
      ...(role === 'controller' ? ['--migration-dwell-ms', String(SHIFT_STEP_MS)] : []),
      // Last, so that they win.
      ...(extraArguments?.[role] ?? []),
    ];
  }

  async #address(wanted?: number): Promise<string> {
    return `127.0.0.1:${await (wanted === undefined ? this.#ports.pick() : this.#ports.prefer(wanted))}`;
  }

  async #store(region: Region, withControl: boolean): Promise<ProcessSpec> {
    const name = `${region}-store`;
    const listen = await this.#address();
    const data = join(this.#data, region);
    return {
      role: 'store',
      name,
      arguments: (processId) => [
        ...this.#common('store', name, region, processId),
        '--cell',
        `cell-${region}`,
        '--listen',
        listen,
        '--data',
        data,
        ...(withControl ? ['--control-store'] : ['--control', this.#control]),
      ],
    };
  }

  async #node(node: { name: string; region: Region; zone: string }): Promise<ProcessSpec> {
    const [listen, http] = [await this.#address(), await this.#address()];
    return {
      role: 'node',
      name: node.name,
      arguments: (processId) => [
        ...this.#common('node', node.name, node.region, processId),
        '--zone',
        node.zone,
        '--control',
        this.#control,
        '--listen',
        listen,
        '--http',
        http,
        '--app',
        resolve(this.#options.app),
      ],
    };
  }

  async #gateway(region: Region): Promise<ProcessSpec> {
    const name = `${region}-gateway`;
    const http = await this.#address(this.#options.gatewayPorts?.[region]);
    return {
      role: 'gateway',
      name,
      arguments: (processId) => [
        ...this.#common('gateway', name, region, processId),
        '--control',
        this.#control,
        '--http',
        http,
        '--data',
        join(this.#data, region),
      ],
    };
  }

  async #controller(region: Region, apiAddress: string): Promise<ProcessSpec> {
    const { policy = 'predictive', mode = 'auto', stepMs = 1000, modelFile } = this.#options;
    return {
      role: 'controller',
      name: 'controller',
      arguments: (processId) => [
        ...this.#common('controller', 'controller', region, processId),
        '--control',
        this.#control,
        '--api',
        apiAddress,
        '--policy',
        policy,
        '--mode',
        mode,
        '--step-ms',
        String(stepMs),
        ...(modelFile === undefined ? [] : ['--model', modelFile]),
        // The loop's state: a controller that died goes on from what it had learnt.
        '--data',
        join(this.#data, region),
      ],
    };
  }
}
