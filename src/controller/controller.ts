/**
 * Closes the loop on the leader: samples -> engine (metrics, forecast, placement, plan) -> migrations, once a step.
 *
 * Every tick yields a decision with its reason, also when nothing moves. Boundary: the controller orders and records;
 * no request waits for it, and a dead or deposed one leaves no shard without an owner (OWNERSHIP rules 5 and 6), so
 * each act here is a hint that nodes check by compare-and-swap.
 *
 *   standby --(lease won)--> leading: recover state, resume migrations, repair orphans, tick every `stepMs`
 *   leading --(lease lost)--> standby: no act after it; what runs is taken up by the next leader
 *
 * Invariants: acts only while `election.leads`; at most one tick is computed at a time (a step that comes too early is
 * a decision too: `skipped`); repair does not wait for a tick; drains are followed in every mode.
 */
import { type Io, sleep } from '../io/io.ts';
import type { ProcessId, ShardId } from '../model/ids.ts';
import type { ControllerMode, Decision, Move } from '../model/loop.ts';
import type { NodeRecord } from '../model/records.ts';
import type { NodePeer } from '../node/participant.ts';
import type { ControlStore } from '../store/store.ts';
import type { RpcClient, StreamHandler } from '../wire/rpc.ts';
import { ClusterView } from './cluster-view.ts';
import type { ControllerConfig } from './config.ts';
import { drainMoves } from './drain.ts';
import { Election } from './election.ts';
import { EventRing } from './event-ring.ts';
import type { MigrationView, MoveExecutor } from './executor.ts';
import type { EngineDecision, LoopEngine } from './loop-engine.ts';
import { MoveCpu } from './move-cpu.ts';
import { type RepairReport, repair } from './repair.ts';
import { Sampler } from './sampler.ts';
import { StateKeeper } from './state-keeper.ts';
import { TransferRates } from './transfer-rate.ts';

export interface ControllerOptions {
  io: Io;
  config: ControllerConfig;
  control: ControlStore;
  engine: LoopEngine;
  peer: (address: string) => NodePeer;
  /** Makes the migration driver; `onUpdate` is called with every change of a migration. */
  makeExecutor: (host: ExecutorHost) => MoveExecutor;
  /** A connection to another controller, for its saved state. */
  controllerClient?: (address: string) => RpcClient;
}

export interface ExecutorHost {
  nodeRecord: (processId: ProcessId) => NodeRecord | undefined;
  onUpdate: (migration: MigrationView) => void;
}

/** How often a dead primary's leftover shards are tried again, ticks. */
const ORPHAN_RETRY_TICKS = 5;
/** How long a repair waits for placement's choice, milliseconds: requests make their nodes claim meanwhile. */
const REPAIR_ANSWER_MS = 100;
/** How often migrations that are recorded and driven by nobody are looked for, ticks. */
const RESUME_TICKS = 10;

export class Controller {
  readonly config: ControllerConfig;
  readonly view: ClusterView;
  readonly election: Election;
  readonly engine: LoopEngine;
  readonly executor: MoveExecutor;
  readonly events: EventRing;
  readonly sampler: Sampler;
  readonly control: ControlStore;
  readonly io: Io;
  readonly peer: (address: string) => NodePeer;
  readonly state: StateKeeper;
  /** Newest last. */
  readonly decisions: Decision[] = [];
  readonly repairs: RepairReport[] = [];
  /** Shards moved by hand, and until when placement leaves them. */
  readonly pins = new Map<ShardId, { target: ProcessId; untilMs: number }>();
  readonly #transferRates = new TransferRates();
  readonly #moveCpu = new MoveCpu();
  readonly #stateBytes = new Map<ShardId, number>();
  readonly #rolledBack: ShardId[] = [];
  readonly #repairing = new Set<ProcessId>();
  /** Processes whose leftover shards were tried, by the tick to try again at. */
  readonly #retryAtTick = new Map<ProcessId, number>();
  /** Records of dead nodes: the region their shards should stay near. */
  readonly #regionOfDead = new Map<ProcessId, string>();
  #tick = 0;
  #ticking = false;
  #resuming = false;
  #cancelTimer: () => void = () => {};
  #term = 0;
  #stopped = false;

  constructor(options: ControllerOptions) {
    this.io = options.io;
    this.config = options.config;
    this.control = options.control;
    this.engine = options.engine;
    this.peer = options.peer;
    const { clock, log } = options.io;
    this.events = new EventRing(options.config.processId);
    this.sampler = new Sampler({ peer: options.peer, clock });
    this.view = new ClusterView({
      control: options.control,
      clock,
      log,
      events: {
        nodeJoined: (node) => this.#nodeEvent('joined', node),
        nodeChanged: (node) => {
          this.#nodeEvent(node.state, node);
          if (node.state === 'draining') this.#drain(new Set());
        },
        nodeGone: (node, shards) => {
          this.#nodeEvent('gone', node, shards.length);
          if (this.#regionOfDead.size > 1_000) this.#regionOfDead.clear();
          this.#regionOfDead.set(node.processId, node.region);
          if (shards.length > 0) void this.#repair(node.processId);
        },
        settingsChanged: (settings) => this.events.push('mode', clock.realtimeMs(), settings),
      },
    });
    this.executor = options.makeExecutor({
      nodeRecord: (processId) => this.view.nodes.get(processId),
      onUpdate: (migration) => {
        if (migration.outcome !== undefined && migration.outcome !== 'completed')
          this.#rolledBack.push(migration.shard);
        // A view is live: what is kept for the stream must not change afterwards.
        this.events.push('migration', clock.realtimeMs(), { ...migration });
      },
    });
    this.election = new Election({
      control: options.control,
      clock,
      log,
      ttlMs: options.config.leaseTtlMs,
      // Read at each campaign: the API's port may be known only after this was made.
      record: () => ({
        processId: options.config.processId,
        name: options.config.name,
        address: options.config.address,
        httpAddress: options.config.httpAddress,
      }),
      onGain: () => void this.#lead(),
      onLose: (reason) => this.#follow(reason),
    });
    this.state = new StateKeeper({
      clock,
      disk: options.io.disk,
      log,
      file: options.config.stateFile,
      leads: () => this.election.leads,
      save: () => this.engine.save(),
      leader: () => {
        const leader = this.election.leader;
        if (!leader || leader.processId === options.config.processId) return undefined;
        return options.controllerClient?.(leader.address);
      },
    });
  }

  /** What the controller serves on the wire, to its standbys. */
  get wireStreams(): Record<string, StreamHandler> {
    return { 'controller.state': this.state.serve };
  }

  /** Resolves when the cluster is known and the process stands by or leads. */
  async start(): Promise<void> {
    this.view.start();
    await this.view.whenReady();
    if (this.#stopped) return;
    this.election.start();
    this.state.start();
  }

  /** Resigns and ends; migrations under way are taken up by the next leader. */
  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#cancelTimer();
    this.state.stop();
    if (this.election.leads) await this.state.keep();
    this.executor.stop();
    await this.election.stop();
    this.view.stop();
    await this.engine.close();
  }

  get mode(): ControllerMode {
    return this.view.settings?.mode ?? this.config.mode;
  }

  /** Bytes of a shard's state as last measured; 0 where never. */
  stateBytes(shard: ShardId): number {
    return this.#stateBytes.get(shard) ?? 0;
  }

  /** Core-seconds that each end of a move spends on a gigabyte: as configured, else as measured; 0 where neither. */
  get moveCpuSecondsPerGb(): number {
    return this.config.moveCpuSecondsPerGb ?? this.#moveCpu.cpuSecondsPerGb ?? 0;
  }

  migrationsUnderWay(): MigrationView[] {
    return this.executor.list().filter((migration) => migration.outcome === undefined);
  }

  async #lead(): Promise<void> {
    const term = ++this.#term;
    const current = () => term === this.#term && this.election.leads && !this.#stopped;
    this.events.push('leader', this.io.clock.realtimeMs(), { leads: true, name: this.config.name });
    const saved = await this.state.recover();
    if (!current()) return;
    if (saved)
      await this.engine.load(saved).catch((error) => this.#warn(error, 'saved state was not loaded'));
    this.view.tellEverythingAgain();
    // The leader before may have gone by an outage of the control store, and with it the leases of nodes that live: they
    // get the time of one to register again.
    const graceTicks = Math.ceil(this.config.leaseTtlMs / this.config.stepMs);
    for (const primary of this.view.deadPrimaries()) this.#retryAtTick.set(primary, this.#tick + graceTicks);
    if (!current()) return;
    await this.#resume();
    if (current()) this.#schedule(term);
  }

  /**
   * Takes up what is recorded and driven by nobody: what the former leader left, also where the store did not answer
   * at first, and what a write that landed long after it was sent has brought back (SPEC.md, M3).
   */
  async #resume(): Promise<void> {
    if (this.#resuming) return;
    this.#resuming = true;
    await this.executor.resumeAll().catch((error) => this.#warn(error, 'migrations were not resumed'));
    this.#resuming = false;
  }

  #follow(reason: string): void {
    this.#term++;
    this.#cancelTimer();
    this.executor.stop();
    this.events.push('leader', this.io.clock.realtimeMs(), { leads: false, name: this.config.name, reason });
  }

  /** Steps are counted from the leader's start, so a slow tick does not shift the later ones. */
  #schedule(term: number): void {
    const { clock } = this.io;
    let dueMs = clock.monotonicMs() + this.config.stepMs;
    const arm = () => {
      this.#cancelTimer = clock.setTimer(Math.max(0, dueMs - clock.monotonicMs()), () => {
        if (term !== this.#term || !this.election.leads) return;
        dueMs = Math.max(dueMs + this.config.stepMs, clock.monotonicMs());
        arm();
        void this.tick();
      });
    };
    arm();
  }

  /** One step of the loop. Never rejects: what goes wrong is the decision's reason. */
  async tick(): Promise<Decision> {
    const { clock } = this.io;
    const tick = ++this.#tick;
    const atMs = clock.realtimeMs();
    const mode = this.mode;
    if (this.#ticking)
      return this.#record(tick, atMs, mode, skipped('the tick before is still being computed'));
    if (!this.election.leads) return this.#record(tick, atMs, mode, skipped('this controller does not lead'));
    this.#ticking = true;
    try {
      this.#retryOrphans(tick);
      if (tick % RESUME_TICKS === 0) void this.#resume();
      const decision = await this.#think(tick, atMs, mode);
      if (!this.election.leads)
        return this.#record(tick, atMs, mode, skipped('leadership ended while this was computed'));
      if (mode === 'auto') this.#execute(decision);
      this.#drain(new Set(decision.plan?.moves.map((move) => move.shard)));
      return this.#record(tick, atMs, mode, decision);
    } catch (error) {
      this.#warn(error, 'a tick failed');
      return this.#record(tick, atMs, mode, skipped(`the tick failed: ${messageOf(error)}`));
    } finally {
      this.#ticking = false;
    }
  }

  async #think(tick: number, atMs: number, mode: ControllerMode): Promise<EngineDecision> {
    const nodes = [...this.view.nodes.values()];
    const {
      reports,
      nodes: nodeSamples,
      missing,
    } = await this.sampler.pull(nodes, this.config.sampleTimeoutMs);
    for (const { shards } of reports)
      for (const sample of shards) this.#stateBytes.set(sample.shard, sample.stateBytes);
    if (this.engine.needsEverything) this.view.tellEverythingAgain();
    const underWay = this.migrationsUnderWay();
    const regionOf = (process: ProcessId) => this.view.nodes.get(process)?.region;
    this.#transferRates.observe(underWay, regionOf, this.io.clock.monotonicMs());
    this.#moveCpu.observe(reports, new Set(this.view.nodes.keys()));
    for (const [shard, pin] of this.pins) if (pin.untilMs <= atMs) this.pins.delete(shard);
    const decision = await this.engine.tick({
      tick,
      atMs,
      stepMs: this.config.stepMs,
      mode,
      nodes: nodes
        .filter((node) => this.view.nodes.has(node.processId))
        .map((record) => ({
          record,
          cordoned: this.view.cordons.has(record.name),
          sample: nodeSamples.get(record.processId),
        })),
      cells: Object.fromEntries([...this.view.cells].map(([id, cell]) => [id, cell.region])),
      assignments: this.view.takeChanges(),
      reports,
      inFlight: underWay.map(({ shard, source, target, startedAtMs }) => ({
        shard,
        source,
        target,
        startedAtMs,
      })),
      transferRates: this.#transferRates.list(),
      moveCpuSecondsPerGb: this.moveCpuSecondsPerGb,
      rolledBack: this.#rolledBack.splice(0),
      pinned: [...this.pins].map(([shard, { target }]) => ({ shard, target })),
      quarantined: [...this.view.quarantines.values()].filter((q) => q.quarantined).map((q) => q.shard),
      signals: [...this.view.signals.values()].filter((signal) => signal.toMs > atMs),
    });
    if (missing.length === 0) return decision;
    const names = missing.map((id) => this.view.nodes.get(id)?.name ?? id).join(', ');
    return { ...decision, reason: `${decision.reason}; no samples from ${names}` };
  }

  #execute(decision: EngineDecision): void {
    if (!decision.plan) return;
    const refused: string[] = [];
    for (const move of decision.plan.moves) {
      const reason = this.startMove(move);
      if (reason !== undefined) refused.push(`${move.shard}: ${reason}`);
    }
    if (refused.length > 0)
      decision.reason += `; ${refused.length} not started (${refused.slice(0, 3).join('; ')})`;
  }

  /** Starts a move; the reason why not, where it was refused. */
  startMove(move: Move): string | undefined {
    if (!this.view.nodes.has(move.target)) return 'the target is gone';
    try {
      this.executor.start(move);
      return undefined;
    } catch (error) {
      return messageOf(error);
    }
  }

  #drain(planned: ReadonlySet<ShardId>): void {
    if (!this.election.leads) return;
    const underWay = this.migrationsUnderWay();
    const draining = underWay.filter((migration) => migration.priority === 'drain').length;
    const busy = new Set(underWay.map((migration) => migration.shard));
    if (this.mode === 'auto') for (const shard of planned) busy.add(shard);
    const { moves } = drainMoves({
      view: this.view,
      busy,
      stateBytes: (shard) => this.stateBytes(shard),
      limit: Math.max(0, this.config.drainMovesAtOnce - draining),
      topology: this.config.topology,
    });
    for (const move of moves) if (this.startMove(move) !== undefined) break;
  }

  #retryOrphans(tick: number): void {
    const dead = new Set(this.view.deadPrimaries());
    for (const primary of this.#retryAtTick.keys()) if (!dead.has(primary)) this.#retryAtTick.delete(primary);
    for (const primary of dead) if ((this.#retryAtTick.get(primary) ?? 0) <= tick) void this.#repair(primary);
  }

  async #repair(dead: ProcessId): Promise<void> {
    if (!this.election.leads || this.#repairing.has(dead)) return;
    this.#repairing.add(dead);
    try {
      const report = await repair({
        dead,
        home: this.#regionOfDead.get(dead) ?? this.#homeOf(dead),
        clock: this.io.clock,
        log: this.io.log,
        topology: this.config.topology,
        peer: this.peer,
        orphans: () =>
          this.view.nodes.has(dead)
            ? []
            : [...this.view.shardsOf(dead)].map((shard) => this.view.assignment(shard)!),
        nodes: () => [...this.view.nodes.values()],
        cordoned: () => new Set(this.view.cordons.keys()),
        chosen: () => this.#repairTargets(dead),
        mayAct: () => this.election.leads && !this.#stopped,
      });
      this.repairs.push(report);
      if (this.repairs.length > 100) this.repairs.shift();
      this.events.push('repair', this.io.clock.realtimeMs(), {
        ...report,
        left: Object.keys(report.left).length,
      });
      this.io.log.info(
        { ...report, left: Object.keys(report.left).length },
        "a dead node's shards were spread over healthy nodes",
      );
    } catch (error) {
      this.#warn(error, 'a repair failed and is tried again');
    } finally {
      this.#repairing.delete(dead);
      this.#retryAtTick.set(dead, this.#tick + ORPHAN_RETRY_TICKS);
    }
  }

  /** Where placement would open a dead node's shards; undefined where it does not say so at once: a repair waits for nobody. */
  async #repairTargets(dead: ProcessId): Promise<Record<ShardId, ProcessId> | undefined> {
    const answer = this.engine.repair?.(dead).catch((error) => {
      this.#warn(error, 'placement did not say where lost shards should go');
      return undefined;
    });
    if (answer === undefined) return undefined;
    const found = await Promise.race([answer, sleep(this.io.clock, REPAIR_ANSWER_MS).then(() => undefined)]);
    return found?.targets;
  }

  /** For a process that died before this controller started: its shards' cell says where it was. */
  #homeOf(dead: ProcessId): string {
    for (const shard of this.view.shardsOf(dead)) {
      const region = this.view.cells.get(this.view.assignment(shard)!.cell)?.region;
      if (region) return region;
    }
    return this.config.topology.regions[0] ?? '';
  }

  #nodeEvent(change: string, node: NodeRecord, shards?: number): void {
    const { processId, name, region } = node;
    this.events.push('node', this.io.clock.realtimeMs(), { change, processId, name, region, shards });
  }

  #record(tick: number, atMs: number, mode: ControllerMode, decision: EngineDecision): Decision {
    const full: Decision = { tick, atMs, mode, ...decision };
    this.decisions.push(full);
    if (this.decisions.length > this.config.decisionsKept) this.decisions.shift();
    this.events.push('decision', atMs, full);
    return full;
  }

  #warn(error: unknown, message: string): void {
    this.io.log.warn({ error: messageOf(error) }, message);
  }
}

function skipped(reason: string): EngineDecision {
  return { outcome: 'skipped', reason, tookMs: { forecast: 0, placement: 0 } };
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
