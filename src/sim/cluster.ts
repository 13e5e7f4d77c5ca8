/**
 * A whole cluster on virtual time: stores, nodes, gateways and a controller, each the product's own class in a process
 * of its own, and a supervisor that does what the real one does.
 *
 * What survives a crash is what survives one in the world: databases and disks. Everything in memory is made anew, and
 * a restarted process has a new id (OWNERSHIP rule 1).
 */
import type { DatabaseSync } from 'node:sqlite';
import { CONTROLLER_DEFAULTS } from '../controller/config.ts';
import { Controller } from '../controller/controller.ts';
import type { LoopEngine } from '../controller/loop-engine.ts';
import { Gateway } from '../gateway/gateway.ts';
import { MigrationExecutor } from '../migration/driver.ts';
import type { MigrationSettings } from '../migration/settings.ts';
import type { ProcessId, Region, ShardId } from '../model/ids.ts';
import type { Mutations } from '../model/mutations.ts';
import {
  type CellRecord,
  CONTROL_KEYS,
  decodeRecord,
  encodeRecord,
  type NodeRecord,
} from '../model/records.ts';
import type { ShardReply, ShardRequest } from '../model/request.ts';
import { AWS_THREE_REGIONS, type Topology } from '../model/topology.ts';
import type { NodeLimits } from '../node/config.ts';
import { migrationParticipant } from '../node/migration/participant.ts';
import { SkeinNode } from '../node/node.ts';
import { Peers } from '../node/peers.ts';
import type { App } from '../sdk/service.ts';
import type { ShardRuntime } from '../shard/contract.ts';
import { loadApp } from '../shard/runtime.ts';
import { connectStores } from '../store/connect.ts';
import { type StoreCall, serveStore } from '../store/server.ts';
import { SqliteCell } from '../store/sqlite/cell-engine.ts';
import { SqliteControl } from '../store/sqlite/control-engine.ts';
import { openDatabase } from '../store/sqlite/database.ts';
import { serveRpc } from '../wire/rpc.ts';
import { SimNetworkFabric } from './network.ts';
import { SimDisk, SimProcess } from './process.ts';
import { type Mischief, mischievous, NO_MISCHIEF, type StoreCallHook } from './store-mischief.ts';
import type { World } from './world.ts';

const TOKEN = 'simulated';
/** What a supervisor takes to see an exit, and to start a process again. */
const SEES_EXIT_MS = 5;
const RESTARTS_AFTER_MS = 400;
/** Routes a gateway keeps: its cache is made at its full size, with every start. */
const ROUTES_MAX = 2_000;

export type Role = 'store' | 'node' | 'gateway' | 'controller' | 'supervisor';

export interface Slot {
  name: string;
  role: Role;
  region: Region;
  zone: string;
  incarnations: number;
  disk: SimDisk;
  process: SimProcess | undefined;
  /** What runs in the process now. */
  node?: SkeinNode;
  gateway?: Gateway;
  controller?: Controller;
  /** Of a store: how it misbehaves, and what it holds. */
  mischief: Mischief;
  cell?: SqliteCell;
}

export interface SimClusterOptions {
  world: World;
  app: App;
  topology?: Topology;
  nodesPerRegion?: number;
  /** Controllers, for elections; each with an engine of its own. */
  controllers?: number;
  engine: (name: string) => LoopEngine;
  leaseTtlMs?: number;
  /** Cells of another make, such as one that lies: the checkers must find out. */
  cell?: (database: DatabaseSync) => SqliteCell;
  /** Rules taken out, to prove that the checkers notice. */
  mutations?: Mutations;
  nodeLimits?: Partial<NodeLimits>;
  migrations?: Partial<MigrationSettings>;
  /** Stands before the app of every node: for observers. */
  runtime?: (runtime: ShardRuntime, processId: ProcessId) => ShardRuntime;
  /** Sees every call that a store has carried out, with its answer. */
  onStoreCall?: (call: StoreCall, answer: unknown) => void;
  onLog?: (process: string, level: string, fields: object, message: string) => void;
}

export class SimCluster {
  readonly world: World;
  readonly fabric: SimNetworkFabric;
  readonly topology: Topology;
  readonly slots = new Map<string, Slot>();
  /** Asked about every call that reaches a store, before it runs; the first that answers has it. */
  readonly storeHooks: StoreCallHook[] = [];
  readonly #options: SimClusterOptions;
  readonly #databases = new Map<string, { cell: DatabaseSync; control?: DatabaseSync }>();

  constructor(options: SimClusterOptions) {
    this.#options = options;
    this.world = options.world;
    this.topology = options.topology ?? AWS_THREE_REGIONS;
    this.fabric = new SimNetworkFabric(this.world, this.topology);
    const { regions } = this.topology;
    for (const [index, region] of regions.entries()) {
      this.#addSlot(`store-${region}`, 'store', region);
      this.#databases.set(`store-${region}`, {
        cell: openDatabase(':memory:'),
        control: index === 0 ? openDatabase(':memory:') : undefined,
      });
      for (let i = 1; i <= (options.nodesPerRegion ?? 2); i++)
        this.#addSlot(`${region}-n${i}`, 'node', region, `${region}${'abc'[i - 1]}`);
      this.#addSlot(`gateway-${region}`, 'gateway', region);
    }
    for (let i = 1; i <= (options.controllers ?? 1); i++)
      this.#addSlot(`controller-${i}`, 'controller', regions[0]!);
    this.#addSlot('supervisor', 'supervisor', regions[0]!);
  }

  get controlAddress(): string {
    return `store-${this.topology.regions[0]}:1`;
  }

  get regions(): Region[] {
    return this.topology.regions;
  }

  names(role: Role): string[] {
    return [...this.slots.values()].filter((slot) => slot.role === role).map((slot) => slot.name);
  }

  /** Starts everything; run the world until it resolves. */
  async start(): Promise<void> {
    await Promise.all(this.names('store').map((name) => this.#boot(name)));
    await Promise.all(this.names('supervisor').map((name) => this.#boot(name)));
    await Promise.all(this.names('node').map((name) => this.#boot(name)));
    await Promise.all(
      [...this.names('gateway'), ...this.names('controller')].map((name) => this.#boot(name)),
    );
  }

  /** A user's request at the gateway of a region, or straight at a node. Never settles when that process dies. */
  execute(at: string, request: ShardRequest): Promise<ShardReply> {
    const { gateway, node, process } = this.slots.get(at)!;
    const entry = gateway ?? node;
    if (!entry || !process?.alive || process.paused) return new Promise(() => {});
    return entry.execute(request);
  }

  /** `kill -9`. Restarted by its supervisor unless `forGood`; a silent crash takes the host, so nobody hears of it. */
  crash(name: string, options: { silently?: boolean; forGood?: boolean } = {}): void {
    const slot = this.slots.get(name)!;
    const { process } = slot;
    if (!process?.alive) return;
    this.world.note(`${options.silently ? 'host of ' : ''}${name}#${process.incarnation} crashes`);
    process.crash(options.silently);
    const processId = this.#processIdOf(slot);
    slot.node?.abandon();
    slot.node = undefined;
    slot.gateway = undefined;
    slot.controller = undefined;
    if (slot.role === 'node' && !options.silently) this.#revokeLater(processId);
    if (!options.forGood) this.world.after(RESTARTS_AFTER_MS, () => void this.#boot(name));
  }

  pause(name: string, forMs: number): void {
    const { process } = this.slots.get(name)!;
    if (!process?.alive || process.paused) return;
    this.world.note(`${name} pauses for ${Math.round(forMs)} ms`);
    process.pause();
    this.world.after(forMs, () => {
      if (!process.alive) return;
      this.world.note(`${name} resumes`);
      process.resume();
    });
  }

  /** Cuts both ways between two processes. */
  partition(a: string, b: string): void {
    this.world.note(`${a} and ${b} cannot reach each other`);
    this.fabric.cut(a, b);
    this.fabric.cut(b, a);
  }

  /** One way: `from` is not heard by `to`; what it sends comes late. */
  partitionOneWay(from: string, to: string): void {
    this.world.note(`${to} does not hear ${from}`);
    this.fabric.cut(from, to);
  }

  /** Both ways between a process and everybody else. */
  isolate(name: string): void {
    this.world.note(`${name} is cut off from everybody`);
    for (const other of this.slots.keys()) {
      if (other === name) continue;
      this.fabric.cut(name, other);
      this.fabric.cut(other, name);
    }
  }

  /** A further controller, beside those there are. */
  addController(): void {
    const name = `controller-${this.names('controller').length + 1}`;
    this.#addSlot(name, 'controller', this.regions[0]!);
    void this.#boot(name);
  }

  heal(): void {
    this.world.note('all links heal');
    this.fabric.heal();
  }

  /** Every replica on a living node. */
  replicasOf(shard: ShardId): { node: string; role: string }[] {
    const found: { node: string; role: string }[] = [];
    for (const { name, node, process } of this.slots.values()) {
      const replica = process?.alive ? node?.host.replica(shard) : undefined;
      if (replica) found.push({ node: name, role: replica.role });
    }
    return found;
  }

  /** Keys of the control store that begin so, as its database has them. */
  controlKeys(prefix: string): string[] {
    const control = this.#databases.get(this.names('store')[0]!)!.control!;
    const rows = control
      .prepare('SELECT key FROM entries WHERE key >= ? AND key < ?')
      .all(prefix, `${prefix}\uffff`);
    return rows.map(({ key }) => key as string);
  }

  /** Frees the databases; nothing may run after it. */
  close(): void {
    for (const { cell, control } of this.#databases.values()) {
      cell.close();
      control?.close();
    }
  }

  leader(): Controller | undefined {
    for (const name of this.names('controller')) {
      const { controller, process } = this.slots.get(name)!;
      if (controller?.election.leads && process?.alive) return controller;
    }
    return undefined;
  }

  #addSlot(name: string, role: Role, region: Region, zone = `${region}a`): void {
    this.slots.set(name, {
      name,
      role,
      region,
      zone,
      incarnations: 0,
      disk: new SimDisk(),
      process: undefined,
      mischief: { ...NO_MISCHIEF },
    });
  }

  async #boot(name: string): Promise<void> {
    const slot = this.slots.get(name)!;
    if (slot.process?.alive) return;
    slot.incarnations++;
    const process = new SimProcess({
      world: this.world,
      fabric: this.fabric,
      name,
      incarnation: slot.incarnations,
      region: slot.region,
      disk: slot.disk,
      // Wall clocks disagree by up to a second and a half; nothing may depend on them.
      skewMs: (this.world.random.split(`skew ${name}`).next() - 0.5) * 3_000,
      onLog: (level, fields, message) => this.#options.onLog?.(name, level, fields, message),
    });
    slot.process = process;
    this.world.note(`${name}#${slot.incarnations} starts`);
    if (slot.role === 'store') await this.#bootStore(slot, process);
    else if (slot.role === 'node') await this.#bootNode(slot, process);
    else if (slot.role === 'gateway') await this.#bootGateway(slot, process);
    else if (slot.role === 'controller') await this.#bootController(slot, process);
  }

  async #bootStore(slot: Slot, process: SimProcess): Promise<void> {
    const { io } = process;
    const { mutations } = this.#options;
    const databases = this.#databases.get(slot.name)!;
    slot.cell =
      this.#options.cell?.(databases.cell) ?? new SqliteCell({ database: databases.cell, mutations });
    const control =
      databases.control && new SqliteControl({ database: databases.control, now: io.clock.monotonicMs });
    await serveStore({
      io,
      address: `${slot.name}:1`,
      token: TOKEN,
      control,
      cell: slot.cell,
      filter: mischievous({
        process,
        random: this.world.random.split(`mischief ${slot.name}#${slot.incarnations}`),
        mischief: slot.mischief,
        done: (call, answer) => this.#options.onStoreCall?.(call, answer),
        hook: (store, call) => {
          for (const hook of this.storeHooks) {
            const replaced = hook(store, call);
            if (replaced) return replaced;
          }
          return undefined;
        },
      }),
    });
    if (slot.incarnations > 1) return;
    const stores = connectStores(io, {
      token: TOKEN,
      identity: slot.name,
      controlAddress: this.controlAddress,
    });
    const key = CONTROL_KEYS.cell(`cell-${slot.region}`);
    const record: CellRecord = { region: slot.region, address: `${slot.name}:1` };
    await stores.control.transact({
      compare: [{ key, version: 0 }],
      operations: [{ put: key, value: encodeRecord(record) }],
    });
    stores.close();
  }

  async #bootNode(slot: Slot, { io }: SimProcess): Promise<void> {
    const processId = this.#processIdOf(slot);
    const stores = connectStores(io, {
      token: TOKEN,
      identity: processId,
      controlAddress: this.controlAddress,
    });
    await stores.ready;
    const node = new SkeinNode({
      io,
      config: {
        name: slot.name,
        processId,
        region: slot.region,
        zone: slot.zone,
        address: `${slot.name}:1`,
        httpAddress: '',
        capacity: { cpu: 1, memoryBytes: 2 ** 30, networkBytesPerSecond: 1e8 },
        usdPerHour: this.topology.nodeUsdPerHour[slot.region] ?? 0.1,
        token: TOKEN,
        leaseTtlMs: this.#options.leaseTtlMs,
        limits: this.#options.nodeLimits,
      },
      runtime: this.#options.runtime?.(loadApp(this.#options.app), processId) ?? loadApp(this.#options.app),
      control: stores.control,
      cells: stores.cells,
      participant: migrationParticipant,
      mutations: this.#options.mutations,
    });
    await serveRpc({
      network: io.network,
      address: `${slot.name}:1`,
      token: TOKEN,
      handlers: node.handlers(),
    });
    await node.start();
    slot.node = node;
  }

  async #bootGateway(slot: Slot, { io }: SimProcess): Promise<void> {
    const identity = this.#processIdOf(slot);
    const { control } = connectStores(io, { token: TOKEN, identity, controlAddress: this.controlAddress });
    const gateway = new Gateway({
      io,
      control,
      config: {
        name: slot.name,
        identity,
        region: slot.region,
        token: TOKEN,
        topology: this.topology,
        routeFile: 'routes',
        assignmentsMax: ROUTES_MAX,
      },
    });
    await gateway.start();
    slot.gateway = gateway;
  }

  async #bootController(slot: Slot, { io }: SimProcess): Promise<void> {
    const processId = this.#processIdOf(slot);
    const { control } = connectStores(io, {
      token: TOKEN,
      identity: processId,
      controlAddress: this.controlAddress,
    });
    const peers = new Peers({ io, token: TOKEN, identity: processId });
    const controller = new Controller({
      io,
      control,
      engine: this.#options.engine(slot.name),
      peer: (address) => peers.peer(address),
      makeExecutor: (host) =>
        new MigrationExecutor({
          io,
          control,
          peer: (address) => peers.peer(address),
          nodeRecord: host.nodeRecord,
          onUpdate: host.onUpdate,
          settings: { stepDwellMsMax: 300, pollMs: 100, ...this.#options.migrations },
        }),
      config: {
        ...CONTROLLER_DEFAULTS,
        topology: this.topology,
        processId,
        name: slot.name,
        address: `${slot.name}:1`,
        httpAddress: '',
      },
    });
    await controller.start();
    slot.controller = controller;
  }

  /** OWNERSHIP rule 1: unique per start. */
  #processIdOf(slot: Slot): ProcessId {
    const isReused = this.#options.mutations?.has('process-id-reused');
    return `${slot.name}.${isReused ? 1 : slot.incarnations}`;
  }

  /** What the real supervisor does for a child that exited: its lease goes at once. */
  #revokeLater(processId: ProcessId): void {
    const supervisor = this.slots.get('supervisor')?.process;
    supervisor?.schedule(SEES_EXIT_MS, () => void this.#revoke(supervisor, processId));
  }

  async #revoke(supervisor: SimProcess, processId: ProcessId): Promise<void> {
    const stores = connectStores(supervisor.io, {
      token: TOKEN,
      identity: 'supervisor',
      controlAddress: this.controlAddress,
    });
    try {
      const entry = await stores.control.get(CONTROL_KEYS.node(processId));
      if (entry) await stores.control.revokeLease(decodeRecord<NodeRecord>(entry.value).leaseId);
    } catch {
      // The store is away: the TTL does it.
    } finally {
      stores.close();
    }
  }
}
