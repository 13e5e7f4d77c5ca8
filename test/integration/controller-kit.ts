/** A controller among fakes: virtual time, a control store in memory, nodes and a migration driver that only record. */

import { CONTROLLER_DEFAULTS, type ControllerConfig } from '../../src/controller/config.ts';
import { Controller } from '../../src/controller/controller.ts';
import type { MigrationView, MoveExecutor } from '../../src/controller/executor.ts';
import { LocalEngine } from '../../src/controller/local-engine.ts';
import type { LoopEngine } from '../../src/controller/loop-engine.ts';
import type { Clock, Io, Log } from '../../src/io/io.ts';
import type { CopiesWork, HandlerLoad, LoadSample } from '../../src/model/load.ts';
import type { Move } from '../../src/model/loop.ts';
import { CONTROL_KEYS, encodeRecord, type NodeRecord } from '../../src/model/records.ts';
import { AWS_THREE_REGIONS } from '../../src/model/topology.ts';
import type { NodePeer } from '../../src/node/participant.ts';
import { SimDisk } from '../../src/sim/process.ts';
import { World } from '../../src/sim/world.ts';
import { LocalControlStore } from '../../src/store/local.ts';
import { SqliteControl } from '../../src/store/sqlite/control-engine.ts';
import type { ControlStore } from '../../src/store/store.ts';

const silent: Log = { debug() {}, info() {}, warn() {}, error() {}, child: () => silent };
export const REALTIME_AT_START_MS = 1_800_000_000_000;

export function virtualIo(world: World): Io {
  const clock: Clock = {
    monotonicMs: () => world.nowMs,
    realtimeMs: () => REALTIME_AT_START_MS + world.nowMs,
    setTimer: (delayMs, fire) => world.after(delayMs, fire),
    defer: (run) => {
      world.after(0, run);
    },
  };
  return {
    clock,
    random: world.random.split('io'),
    network: {
      listen: () => Promise.reject(new Error('no network here')),
      connect: () => {
        throw new Error('no network here');
      },
    },
    disk: new SimDisk(),
    log: silent,
    threadCpuMicros: () => 0,
    processCpuMicros: () => 0,
    loopBusyMs: () => 0,
  };
}

export function memoryControl(io: Io): LocalControlStore {
  return new LocalControlStore(
    new SqliteControl({ path: ':memory:', now: () => io.clock.monotonicMs() }),
    io,
  );
}

/** Moves at once: a move is done when it is started, and the assignment says so. */
export class FakeExecutor implements MoveExecutor {
  readonly started: Move[] = [];
  readonly migrations: MigrationView[] = [];
  readonly #control: ControlStore;
  readonly #now: () => number;
  /** False: moves stay under way. */
  finish = true;
  resumed = 0;
  stopped = 0;

  constructor(control: ControlStore, now: () => number) {
    this.#control = control;
    this.#now = now;
  }

  start(move: Move): string {
    if (this.migrations.some((m) => m.shard === move.shard && !m.outcome)) throw new Error('moving already');
    this.started.push(move);
    const migration: MigrationView = {
      id: `m-${this.started.length}`,
      shard: move.shard,
      source: move.source,
      target: move.target,
      cell: move.cell,
      step: 'transferring',
      percent: 0,
      reason: move.reason.text,
      priority: move.priority,
      startedAtMs: this.#now(),
      bytesTransferred: 0,
      bytesTotal: move.bytes,
    };
    this.migrations.push(migration);
    if (this.finish) void this.#finish(move, migration);
    return migration.id;
  }

  async #finish(move: Move, migration: MigrationView): Promise<void> {
    await assign(this.#control, move.shard, move.target, move.epoch + 1, move.cell);
    Object.assign(migration, { step: 'done', percent: 100, outcome: 'completed', endedAtMs: this.#now() });
  }

  cancel(id: string): boolean {
    const found = this.migrations.find((m) => m.id === id && !m.outcome);
    if (found) Object.assign(found, { outcome: 'rolledBack', step: 'rolled-back' });
    return found !== undefined;
  }

  async resumeAll(): Promise<void> {
    this.resumed++;
  }

  list(): MigrationView[] {
    return this.migrations;
  }

  stop(): void {
    this.stopped++;
  }
}

export async function assign(
  control: ControlStore,
  shard: string,
  primary: string,
  epoch = 1,
  cell = 'cell-us-east-1',
): Promise<void> {
  await control.transact({
    compare: [],
    operations: [
      { put: CONTROL_KEYS.own(shard), value: encodeRecord({ epoch, primary, cell, standbys: [] }) },
    ],
  });
}

export async function addCell(control: ControlStore, id: string, region: string): Promise<void> {
  await control.transact({
    compare: [],
    operations: [{ put: CONTROL_KEYS.cell(id), value: encodeRecord({ region, address: id }) }],
  });
}

/** What nodes answer: the load that a test sets, and a note of what they were asked. */
export class FakeNodes {
  readonly activated: { address: string; shards: string[] }[] = [];
  readonly drained: string[] = [];
  /** Shard -> requests a second by origin; reported by its primary. */
  readonly load = new Map<string, Record<string, number>>();
  readonly silent = new Set<string>();
  /** What each node tells of its copies; one that is not here is of a build that tells nothing. */
  readonly copies = new Map<string, CopiesWork>();
  stateBytes = 1_000;
  readonly #control: ControlStore;
  readonly #io: Io;
  primaryOf: (shard: string) => string | undefined = () => undefined;

  constructor(control: ControlStore, io: Io) {
    this.#control = control;
    this.#io = io;
  }

  async join(name: string, region: string, change: Partial<NodeRecord> = {}): Promise<NodeRecord> {
    const record: NodeRecord = {
      processId: `${name}.1`,
      name,
      region,
      zone: `${region}a`,
      address: `${name}:1`,
      httpAddress: `${name}:2`,
      leaseId: `lease-${name}`,
      state: 'ready',
      capacity: { cpu: 1, memoryBytes: 1e9, networkBytesPerSecond: 1e8 },
      usdPerHour: 0.1,
      services: { room: { version: 1, handlers: {}, authorize: false } },
      startedAtMs: this.#io.clock.realtimeMs(),
      ...change,
    };
    await this.put(record);
    return record;
  }

  async put(record: NodeRecord): Promise<void> {
    await this.#control.transact({
      compare: [],
      operations: [{ put: CONTROL_KEYS.node(record.processId), value: encodeRecord(record) }],
    });
  }

  async die(record: NodeRecord): Promise<void> {
    await this.#control.transact({
      compare: [],
      operations: [{ delete: CONTROL_KEYS.node(record.processId) }],
    });
  }

  readonly peer = (address: string): NodePeer => ({
    call: async (method: string, payload: unknown) => {
      const name = address.slice(0, address.indexOf(':'));
      if (this.silent.has(name)) throw new Error('no answer');
      if (method === 'node.samples') return this.#samples(`${name}.1`) as never;
      if (method === 'node.drain') {
        this.drained.push(name);
        return { replicas: 0 } as never;
      }
      const { shards } = payload as { shards: string[] };
      this.activated.push({ address, shards });
      for (const shard of shards) await assign(this.#control, shard, `${name}.1`, 2);
      return { activated: shards.length, refused: {} } as never;
    },
    open: () => {
      throw new Error('no streams here');
    },
  });

  #samples(processId: string) {
    const atMs = this.#io.clock.realtimeMs();
    const shards: LoadSample[] = [];
    for (const [shard, origins] of this.load) {
      if (this.primaryOf(shard) !== processId) continue;
      const total = Object.values(origins).reduce((a, b) => a + b, 0);
      shards.push({
        shard,
        atMs,
        stepMs: 1_000,
        commands: total * 0.3,
        queries: total * 0.7,
        rejected: 0,
        byOrigin: Object.fromEntries(
          Object.entries(origins).map(([region, rate]) => [
            region,
            { commands: rate * 0.3, queries: rate * 0.7 },
          ]),
        ),
        cpuSeconds: total * 1e-4,
        stateBytes: this.stateBytes,
        bytesIn: total * 100,
        bytesOut: total * 100,
        writeBytes: total * 30,
        censored: false,
      });
    }
    const node = {
      atMs,
      stepMs: 1_000,
      loopCpuSeconds: 0.05,
      processCpuSeconds: 0.06,
      rssBytes: 1e8,
      replicas: shards.length,
      eventLoopDelayMsP99: 1,
    };
    const copies = this.copies.get(processId);
    const report = { node, shards, ...(copies === undefined ? {} : { copies }) };
    // A node of a build before the mix is among them.
    if (processId.startsWith('eu')) return report;
    return { ...report, mix: { atMs, stepMs: 1_000, handlers: mixOf(shards) } };
  }
}

/** Commands are `add`, queries `get`. */
function mixOf(shards: readonly LoadSample[]): HandlerLoad[] {
  const handlers: HandlerLoad[] = [];
  for (const { shard, commands, queries, cpuSeconds, bytesIn, bytesOut, writeBytes } of shards) {
    const service = shard.slice(0, shard.indexOf('/'));
    const half = { cpuSeconds: cpuSeconds / 2, bytesIn: bytesIn / 2, bytesOut: bytesOut / 2 };
    handlers.push(
      { service, handler: 'add', requests: commands, commands, ...half, writeBytes },
      { service, handler: 'get', requests: queries, commands: 0, ...half, writeBytes: 0 },
    );
  }
  return handlers;
}

export interface Rig {
  world: World;
  io: Io;
  control: LocalControlStore;
  nodes: FakeNodes;
  controller: Controller;
  executor: FakeExecutor;
}

export function makeController(
  shared: { io: Io; control: ControlStore; nodes: FakeNodes },
  change: Partial<ControllerConfig> = {},
  engine?: LoopEngine,
): { controller: Controller; executor: FakeExecutor } {
  const { io, control, nodes } = shared;
  const executor = new FakeExecutor(control, () => io.clock.realtimeMs());
  const config: ControllerConfig = {
    ...CONTROLLER_DEFAULTS,
    topology: AWS_THREE_REGIONS,
    processId: 'controller.1',
    name: 'controller',
    address: 'controller:1',
    httpAddress: '127.0.0.1:7460',
    policy: 'reactive',
    ...change,
  };
  const controller = new Controller({
    io,
    config,
    control,
    engine: engine ?? new LocalEngine({ config, monotonicMs: () => io.clock.monotonicMs() }),
    peer: nodes.peer,
    makeExecutor: () => executor,
  });
  nodes.primaryOf = (shard) => controller.view.assignment(shard)?.primary;
  return { controller, executor };
}

export async function putCells(control: ControlStore): Promise<void> {
  await control.transact({
    compare: [],
    operations: AWS_THREE_REGIONS.regions.map((region) => ({
      put: CONTROL_KEYS.cell(`cell-${region}`),
      value: encodeRecord({ region, address: 'store:1' }),
    })),
  });
}

export async function makeRig(change: Partial<ControllerConfig> = {}): Promise<Rig> {
  const world = new World('controller');
  const io = virtualIo(world);
  const control = memoryControl(io);
  const nodes = new FakeNodes(control, io);
  await world.settle(putCells(control));
  return { world, io, control, nodes, ...makeController({ io, control, nodes }, change) };
}
