/**
 * One simulated run: a cluster, users, a schedule of faults drawn from the seed, and the checkers at the end.
 *
 *   boot -> users and faults side by side -> faults end, ways open -> users go on -> all comes to rest -> check
 *
 * Same seed and options, same run, to the last event.
 */
import type { ShardId } from '../model/ids.ts';
import { shardId } from '../model/ids.ts';
import type { Mutation } from '../model/mutations.ts';
import type { Topology } from '../model/topology.ts';
import type { App } from '../sdk/service.ts';
import { checkAgainstApp } from './app-model.ts';
import { SimCluster, type SimClusterOptions } from './cluster.ts';
import { idle, settle } from './convergence.ts';
import { Faults } from './faults.ts';
import { History, type Operation, type Violation } from './history.ts';
import { Observer } from './observer.ts';
import { RandomEngine } from './random-engine.ts';
import { drawSchedule, type Fault, type FaultName } from './schedule.ts';
import { checkTally, type TallyState, tallyApp, tallyWorkload } from './tally.ts';
import { GIVE_UP_MS, Users, type Workload, WorkloadError } from './workload.ts';
import { World } from './world.ts';

/** What is kept of a run when a failure is made small; see `shrink.ts`. */
export interface Kept {
  /** Numbers of faults. */
  faults?: readonly number[];
  /** Names of clients. */
  clients?: readonly string[];
  /** Requests a client. */
  operations?: number;
}

/** What a user's own invariant sees when the run is over. */
export interface FinishedRun {
  /** Everything that clients asked and were answered, probes at the end included. */
  operations: readonly Operation[];
  /** Shard id -> what the probe showed, parsed. */
  finals: ReadonlyMap<ShardId, unknown>;
}

export interface Invariant {
  name: string;
  /** A sentence a violation; none where all is well. */
  check(run: FinishedRun): string[];
}

export interface SimulationOptions {
  /** Decides everything that is random. */
  seed: string | number;
  /** What clients do. {@link simulate} needs it. */
  workload?: Workload;
  /** What must be true when the run is over, beside what always must. */
  invariants?: Invariant[];
  /**
   * Search an order of every shard's commands and queries that explains all replies, with the app as its own
   * specification. Default true; false for handlers that read the clock, draw random numbers or are asynchronous.
   */
  linearizable?: boolean;
  /** Virtual time under faults, milliseconds. Default 20,000. */
  faultsMs?: number;
  /** Mean pause between two faults, virtual milliseconds; 0: none. Default 1,200. */
  faultEveryMs?: number;
  /** Only faults of these names (`FAULTS`); all where absent. */
  faultNames?: readonly FaultName[];
  /** Faults by hand instead of drawn ones. */
  schedule?: readonly Fault[];
  /** A part of the run: what a shrunk failure prints. */
  keep?: Kept;
  /** Clients a region. Default 6. */
  users?: number;
  /** Regions, round trips and prices. Default: three regions of AWS. */
  topology?: Topology;
  /** Default 2. */
  nodesPerRegion?: number;
  /** Random moves of shards ordered a second of virtual time by the controller; 0: none. Default 2. */
  movesPerSecond?: number;
  /** Sees every log line of every process. */
  onLog?: (process: string, level: string, fields: object, message: string) => void;
}

/** For the tests of the simulated world itself. */
export interface InternalOptions extends SimulationOptions {
  /** Shards of the default workload. Default 8. */
  shards?: number;
  /** Cells of another make, such as one that lies: the checkers must find out. */
  cell?: SimClusterOptions['cell'];
  /** A rule taken out, to prove that the checkers notice. */
  mutations?: readonly Mutation[];
  /** More than a schedule can say: runs when users and faults begin. */
  script?: (cluster: SimCluster, observer: Observer) => void;
  /** Of nodes, virtual milliseconds. Default: the product's. */
  leaseTtlMs?: number;
  /** Faults outlast the run: what is cut stays cut while everything must come to rest. */
  lasting?: boolean;
}

export interface SimulationReport {
  seed: string;
  /** What is wrong; empty: nothing. */
  violations: Violation[];
  requests: number;
  acknowledged: number;
  /** Of those, answers of standbys that may have been out of date, as their users allowed. */
  stale: number;
  failed: number;
  /** Fault name -> how often it struck. */
  faults: Record<string, number>;
  /** All faults of the run, as drawn. */
  schedule: readonly Fault[];
  /** All clients of the run. */
  clients: readonly string[];
  migrations: { completed: number; rolledBack: number; failed: number };
  /** Shards whose linearizability could not be decided within the search's limits. */
  undecided: ShardId[];
  virtualMs: number;
  events: number;
  /** The last notable events, for reading a failure. */
  trace: string[];
}

const FAULTS_MS = 20_000;
const FAULT_EVERY_MS = 1_200;
const USERS = 6;
const SHARDS = 8;
/** Users go on for so long after the faults, and everything rests for so long after them. */
const AFTERWARDS_MS = 6_000;
const REST_MS = GIVE_UP_MS + 5_000;

/**
 * Runs your app on a simulated cluster under faults drawn from a seed, on virtual time: a minute takes a second.
 * What is wrong is in the report's `violations`; {@link simulateMany} runs many seeds and makes a failure small.
 *
 * @throws WorkloadError where workload and app do not fit.
 *
 * @example
 * const report = await simulate(app, {
 *   seed: 7,
 *   workload: {
 *     shards: [{ service: 'counter', key: 'apples' }],
 *     probe: { handler: 'get' },
 *     next: ({ random }) => ({ service: 'counter', key: 'apples', handler: random.next() < 0.5 ? 'add' : 'get' }),
 *   },
 * });
 * if (report.violations.length > 0) throw new Error(report.violations[0].text);
 */
export async function simulate(
  app: App,
  options: SimulationOptions & { workload: Workload },
): Promise<SimulationReport> {
  return run(app, options.workload, options, (history) =>
    options.linearizable === false
      ? { violations: [], unknown: [] }
      : checkAgainstApp(app, history.byShard()),
  );
}

/** A run of the simulated world's own app, whose state tells the order of its commands, so that checking is exact. */
export function simulateTally(options: InternalOptions): Promise<SimulationReport> {
  const workload = options.workload ?? tallyWorkload(options.shards ?? SHARDS);
  return run(tallyApp, workload, options, (history, finals) => ({
    violations: [...history.byShard()].flatMap(([shard, operations]) => {
      const final = finals.get(shard) as TallyState | undefined;
      return final ? checkTally(shard, operations, final) : [];
    }),
    unknown: [],
  }));
}

type Judge = (
  history: History,
  finals: ReadonlyMap<ShardId, unknown>,
) => { violations: Violation[]; unknown: ShardId[] };

async function run(
  app: App,
  workload: Workload,
  options: InternalOptions,
  judge: Judge,
): Promise<SimulationReport> {
  const world = new World(String(options.seed));
  let enginesMade = 0;
  let isMoving = true;
  const style = world.random.split('style');
  const observer: Observer = new Observer(
    world,
    (id) => cluster.slots.get(id.replace(/^cell-/, 'store-'))?.cell,
  );
  const cluster = new SimCluster({
    world,
    app,
    topology: options.topology,
    nodesPerRegion: options.nodesPerRegion,
    controllers: 2,
    engine: (name) =>
      new RandomEngine(
        world.random.split(`engine ${name} ${enginesMade++}`),
        options.movesPerSecond ?? 2,
        () => isMoving,
      ),
    cell: options.cell,
    leaseTtlMs: options.leaseTtlMs,
    mutations: options.mutations && new Set(options.mutations),
    onLog: options.onLog,
    // Short logs and short patience, so that snapshots, trims, passivation and owners that give up happen in seconds.
    nodeLimits: {
      snapshotLogBytesMin: 1_500,
      idleMs: 1_500 + style.next() * 10_000,
      cellSilenceMs: 2_000 + style.next() * 8_000,
    },
    // Some runs shift users step by step, the others hand off at once.
    migrations: { usersMin: style.next() < 0.6 ? 2 : 20, keepStandby: style.next() < 0.2 },
    runtime: (runtime, processId) => observer.watch(runtime, processId),
    onStoreCall: (call, result) => observer.saw(call, result),
  });
  const history = new History();
  const users = new Users({
    cluster,
    history,
    app,
    workload,
    random: world.random.split('users'),
    perRegion: options.users ?? USERS,
    only: options.keep?.clients,
    operationsMax: options.keep?.operations,
  });
  const faultsMs = options.faultsMs ?? FAULTS_MS;
  const schedule =
    options.schedule ??
    drawSchedule(world.random.split('faults'), {
      names: (role) => cluster.names(role),
      lengthMs: faultsMs,
      everyMs: options.faultEveryMs ?? FAULT_EVERY_MS,
      only: options.faultNames,
    });
  const kept = options.keep?.faults;
  const faults = new Faults(
    cluster,
    observer,
    kept ? schedule.filter(({ number }) => kept.includes(number)) : schedule,
  );
  const violations: Violation[] = [];
  const undecided: ShardId[] = [];
  const clients = users.names;
  const shards = workload.shards.map(({ service, key }) => shardId(service, key));
  try {
    await world.settle(cluster.start());
    users.start();
    faults.start();
    options.script?.(cluster, observer);
    await world.run(world.nowMs + faultsMs);
    if (!options.lasting) faults.stop();
    await world.run(world.nowMs + AFTERWARDS_MS);
    users.stop();
    if (users.failure !== undefined) throw users.failure;
    isMoving = false;
    await world.run(world.nowMs + REST_MS);
    const settled = await settle(cluster, app, workload, history);
    violations.push(...settled.violations, ...(await idle(cluster, shards)));
    const verdict = judge(history, settled.finals);
    violations.push(...history.check(), ...verdict.violations, ...observer.violations);
    undecided.push(...verdict.unknown);
    const finished: FinishedRun = { operations: history.operations, finals: settled.finals };
    for (const { name, check } of options.invariants ?? [])
      for (const text of check(finished)) violations.push({ rule: 'invariant', text: `${name}: ${text}` });
  } catch (error) {
    if (error instanceof WorkloadError) throw error;
    violations.push({
      rule: 'crashed',
      text: error instanceof Error ? (error.stack ?? error.message) : String(error),
    });
  }
  const answered = history.operations.filter((operation) => operation.status !== undefined);
  const acknowledged = answered.filter(({ status }) => status! < 300).length;
  const ended = cluster
    .names('controller')
    .flatMap((name) => cluster.slots.get(name)?.controller?.executor.list() ?? []);
  const count = (outcome: string) =>
    new Set(ended.filter((one) => one.outcome === outcome).map(({ id }) => id)).size;
  const report: SimulationReport = {
    seed: String(options.seed),
    violations,
    requests: history.operations.length,
    acknowledged,
    stale: answered.filter(({ stalenessMs = 0 }) => stalenessMs > 0).length,
    failed: answered.filter(({ status }) => status! >= 500).length,
    faults: faults.counts,
    schedule,
    clients,
    migrations: { completed: count('completed'), rolledBack: count('rolledBack'), failed: count('failed') },
    undecided,
    virtualMs: world.nowMs,
    events: world.events,
    trace: world.trace,
  };
  cluster.close();
  return report;
}
