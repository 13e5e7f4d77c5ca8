/**
 * What the admin API can see and order, on top of a {@link Controller}: one method a question or order.
 *
 * Reads of the mirror work on every controller; what only the leader knows or may do is refused elsewhere with
 * `not-leading` and the leader's address. Faults of the caller are {@link ProblemError}s with documented codes.
 */

import { randomId } from '../io/io.ts';
import { cellsOf } from '../model/cells.ts';
import { ProblemError } from '../model/errors.ts';
import type { CellId, ProcessId, Region, ShardId } from '../model/ids.ts';
import { isServiceName, parseShardId, rendezvous } from '../model/ids.ts';
import type { ControllerMode, Decision, Plan } from '../model/loop.ts';
import { CONTROL_KEYS, encodeRecord, type NodeRecord, type QuarantineRecord } from '../model/records.ts';
import type { Controller } from './controller.ts';
import { messageOf } from './controller.ts';
import { moveFor } from './drain.ts';
import type { MigrationView } from './executor.ts';
import { explain, type ShardExplanation } from './explain.ts';
import type { ForecastQuery } from './forecast-view.ts';
import type { LeaderRecord } from './leadership.ts';
import type { ForecastView } from './loop-engine.ts';
import { type ControllerSettings, SETTINGS_KEY } from './settings.ts';
import { type DeclaredSignal, SIGNAL_PREFIX, SIGNALS_MAX } from './signals.ts';

export interface ShardView {
  shard: ShardId;
  service: string;
  key: string;
  /** Name of the node; the process id where the node is gone. */
  node: string;
  processId: ProcessId;
  region?: Region;
  zone?: string;
  epoch: number;
  cell: string;
  standbys: ProcessId[];
  /** Revision of the assignment. */
  version: number;
  stateBytes: number;
  /** The primary's process is gone; the next request or the repair opens it elsewhere. */
  orphaned: boolean;
  quarantine?: QuarantineRecord;
  migration?: { id: string; target: string; step: string; percent: number };
}

export interface NodeView {
  name: string;
  processId: ProcessId;
  region: Region;
  zone: string;
  address: string;
  httpAddress: string;
  state: 'ready' | 'draining' | 'silent';
  cordoned: boolean;
  shards: number;
  capacity: NodeRecord['capacity'];
  usdPerHour: number;
  services: string[];
  startedAtMs: number;
}

export interface StatusView {
  leads: boolean;
  leader?: LeaderRecord;
  mode: ControllerMode;
  policy: string;
  nodes: { ready: number; draining: number; cordoned: number };
  gateways: number;
  shards: number;
  orphaned: number;
  quarantined: number;
  migrations: number;
  lastDecision?: Omit<Decision, 'plan'> & { moves: number };
}

export interface ShardFilter {
  node?: string;
  region?: string;
  service?: string;
  after?: string;
  limit: number;
}

export class Operations {
  readonly #controller: Controller;

  constructor(controller: Controller) {
    this.#controller = controller;
  }

  get controller(): Controller {
    return this.#controller;
  }

  status(): StatusView {
    const { view, election, decisions, config } = this.#controller;
    const nodes = [...view.nodes.values()];
    let orphaned = 0;
    for (const primary of view.deadPrimaries()) orphaned += view.shardsOf(primary).size;
    const last = decisions.at(-1);
    return {
      leads: election.leads,
      leader: election.leader,
      mode: this.#controller.mode,
      policy: config.policy,
      nodes: {
        ready: nodes.filter((node) => node.state === 'ready').length,
        draining: nodes.filter((node) => node.state === 'draining').length,
        cordoned: nodes.filter((node) => view.cordons.has(node.name)).length,
      },
      gateways: view.gateways.size,
      shards: view.assignments.size,
      orphaned,
      quarantined: [...view.quarantines.values()].filter((q) => q.quarantined).length,
      migrations: this.#controller.migrationsUnderWay().length,
      lastDecision: last && withoutPlan(last),
    };
  }

  shards(filter: ShardFilter): { shards: ShardView[]; next?: string } {
    const { view } = this.#controller;
    const migrations = this.#migrationsByShard();
    const matching: ShardId[] = [];
    const prefix = filter.service === undefined ? '' : `${filter.service}/`;
    for (const [shard, assignment] of view.assignments) {
      if (filter.after !== undefined && shard <= filter.after) continue;
      if (!shard.startsWith(prefix)) continue;
      const node = view.nodes.get(assignment.primary);
      if (filter.node !== undefined && node?.name !== filter.node && assignment.primary !== filter.node)
        continue;
      if (filter.region !== undefined && node?.region !== filter.region) continue;
      matching.push(shard);
    }
    matching.sort();
    const page = matching.slice(0, filter.limit);
    const next = matching.length > page.length ? page.at(-1) : undefined;
    return { shards: page.map((shard) => this.#shardView(shard, migrations.get(shard))), next };
  }

  shard(shard: ShardId): ShardView {
    return this.#shardView(shard, this.#migrationsByShard().get(shard));
  }

  nodes(): NodeView[] {
    const { view, sampler } = this.#controller;
    return [...view.nodes.values()]
      .map((node) => ({
        name: node.name,
        processId: node.processId,
        region: node.region,
        zone: node.zone,
        address: node.address,
        httpAddress: node.httpAddress,
        state: (sampler.missedInARow.get(node.processId) ?? 0) >= 3 ? ('silent' as const) : node.state,
        cordoned: view.cordons.has(node.name),
        shards: view.shardsOf(node.processId).size,
        capacity: node.capacity,
        usdPerHour: node.usdPerHour,
        services: Object.keys(node.services).sort(),
        startedAtMs: node.startedAtMs,
      }))
      .sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : a.startedAtMs - b.startedAtMs));
  }

  async drain(name: string): Promise<{ node: string; shards: number }> {
    this.#requireLeading();
    const node = this.#node(name);
    try {
      await this.#controller.peer(node.address).call('node.drain', {});
    } catch (error) {
      throw new ProblemError('unavailable', `the node ${name} did not take the order: ${messageOf(error)}`);
    }
    return { node: name, shards: this.#controller.view.shardsOf(node.processId).size };
  }

  async cordon(name: string, reason: string): Promise<{ node: string; cordoned: true }> {
    this.#node(name);
    const { io } = this.#controller;
    await this.#put(CONTROL_KEYS.cordon(name), { reason, sinceMs: io.clock.realtimeMs() });
    return { node: name, cordoned: true };
  }

  async uncordon(name: string): Promise<{ node: string; cordoned: false }> {
    if (!this.#controller.view.cordons.has(name)) this.#node(name);
    await this.#delete(CONTROL_KEYS.cordon(name));
    return { node: name, cordoned: false };
  }

  /** Starts a migration to a node, or to the best node of a region; the shard is then left there for a while. */
  move(
    shard: ShardId,
    to: ({ node: string } | { region: string }) & { cell?: CellId },
  ): { migration: string; target: string } {
    this.#requireLeading();
    const { view, config, io, executor, pins } = this.#controller;
    const assignment = this.#assigned(shard);
    const source = view.nodes.get(assignment.primary);
    if (!source)
      throw new ProblemError(
        'conflict',
        `the process of ${shard} is gone; it is opened elsewhere by its next request or by the repair under way`,
      );
    const running = this.#migrationsByShard().get(shard);
    if (running)
      throw new ProblemError(
        'conflict',
        `${shard} is being moved already (${running.step}, ${running.percent} %); wait for it or run \`skein migration cancel ${running.id}\``,
        { migration: running.id },
      );
    const target = 'node' in to ? this.#node(to.node) : this.#nodeIn(shard, to.region);
    if (target.processId === source.processId)
      throw new ProblemError('conflict', `${shard} is on ${target.name} already`);
    this.#mayHost(shard, target);
    if (to.cell !== undefined) this.#mayHold(to.cell, target.region);
    const move = moveFor(
      shard,
      source,
      target,
      { view, stateBytes: (id) => this.#controller.stateBytes(id), cell: to.cell },
      'manual',
      'moved by hand',
    );
    let migration: string;
    try {
      migration = executor.start(move);
    } catch (error) {
      throw new ProblemError('conflict', `the move was not started: ${messageOf(error)}`);
    }
    pins.set(shard, { target: target.processId, untilMs: io.clock.realtimeMs() + config.manualPinMs });
    return { migration, target: target.name };
  }

  /** Lets a quarantined shard take commands again. */
  async release(shard: ShardId): Promise<{ shard: ShardId; released: true }> {
    const record = this.#controller.view.quarantines.get(shard);
    if (!record) throw new ProblemError('not-found', `${shard} is not in quarantine`);
    await this.#delete(CONTROL_KEYS.quarantine(shard));
    return { shard, released: true };
  }

  migrations(): MigrationView[] {
    this.#requireLeading();
    return this.#controller.executor.list();
  }

  cancel(id: string): { migration: string; cancelled: true } {
    this.#requireLeading();
    if (!this.#controller.executor.list().some((migration) => migration.id === id))
      throw new ProblemError('not-found', `there is no migration ${id}; \`skein migration list\` shows all`);
    if (!this.#controller.executor.cancel(id))
      throw new ProblemError('conflict', `the migration ${id} has ended, or is past the point of return`);
    return { migration: id, cancelled: true };
  }

  decisions(limit: number): Decision[] {
    this.#requireLeading();
    return this.#controller.decisions.slice(-limit);
  }

  /** The newest plan that held moves, the decision it came with, the newest decision, and what became of the plan's moves. */
  plan(): { plan?: Plan; decision?: Decision; last?: Decision; migrations?: MigrationView[] } {
    this.#requireLeading();
    const last = this.#controller.decisions.at(-1);
    const decision = this.#controller.decisions.findLast((d) => (d.plan?.moves.length ?? 0) > 0);
    const plan = decision?.plan;
    if (plan === undefined) return { last };
    const planned = new Set(plan.moves.map(({ shard, target }) => `${shard} ${target}`));
    const migrations = this.#controller.executor
      .list()
      .filter(
        ({ shard, target, startedAtMs }) => planned.has(`${shard} ${target}`) && startedAtMs >= plan.madeAtMs,
      );
    return { plan, decision, last, migrations };
  }

  async forecast(shard: ShardId | undefined, query: ForecastQuery = {}): Promise<ForecastView> {
    this.#requireLeading();
    const found = await this.#controller.engine.forecast(shard, query);
    if (found) return found;
    const { node, region } = query;
    if (node !== undefined || region !== undefined)
      throw new ProblemError(
        'not-found',
        `no load of ${[node && `node ${node}`, region && `region ${region}`].filter(Boolean).join(' in ')} has been measured: there is none of that name, or it holds no shard that was asked of late`,
      );
    if (shard !== undefined) this.#assigned(shard);
    throw new ProblemError(
      'not-found',
      `no load of ${shard ?? 'the cluster'} has been measured yet, so nothing is foreseen`,
    );
  }

  async explain(shard: ShardId): Promise<ShardExplanation> {
    this.#requireLeading();
    const assignment = this.#assigned(shard);
    const insight = await this.#controller.engine.insight(shard);
    return explain({
      shard: this.shard(shard),
      insight,
      nodes: this.#controller.view.nodes,
      assignment,
      decisions: this.#controller.decisions,
      migrations: this.#controller.executor.list(),
      pin: this.#controller.pins.get(shard),
      nowMs: this.#controller.io.clock.realtimeMs(),
      topology: this.#controller.config.topology,
      policy: this.#controller.config.policy,
    });
  }

  async setMode(mode: ControllerMode): Promise<ControllerSettings> {
    const settings: ControllerSettings = { mode, setAtMs: this.#controller.io.clock.realtimeMs() };
    await this.#put(SETTINGS_KEY, settings);
    return settings;
  }

  signals(): DeclaredSignal[] {
    return [...this.#controller.view.signals.values()].sort((a, b) => a.fromMs - b.fromMs);
  }

  async declareSignal(signal: Omit<DeclaredSignal, 'id' | 'declaredAtMs'>): Promise<DeclaredSignal> {
    const { view, io } = this.#controller;
    const nowMs = io.clock.realtimeMs();
    if (signal.toMs <= signal.fromMs)
      throw new ProblemError('input-invalid', '`toMs` must be after `fromMs`');
    if (signal.toMs <= nowMs) throw new ProblemError('input-invalid', 'the signal is over already');
    if ('service' in signal.scope && !isServiceName(signal.scope.service))
      throw new ProblemError(
        'input-invalid',
        `${JSON.stringify(signal.scope.service)} is not a service name`,
      );
    const over = [...view.signals.values()].filter((known) => known.toMs <= nowMs);
    for (const known of over) await this.#delete(SIGNAL_PREFIX + known.id);
    if (view.signals.size - over.length >= SIGNALS_MAX)
      throw new ProblemError('conflict', `${SIGNALS_MAX} signals are declared already`);
    const full: DeclaredSignal = { ...signal, id: randomId(io.random), declaredAtMs: nowMs };
    await this.#put(SIGNAL_PREFIX + full.id, full);
    return full;
  }

  #requireLeading(): void {
    const { election } = this.#controller;
    if (election.leads) return;
    const { leader } = election;
    throw new ProblemError(
      'not-leading',
      leader
        ? `this controller stands by; ${leader.name} leads at http://${leader.httpAddress}`
        : 'no controller leads at the moment; one takes over within seconds',
      leader ? { leader: `http://${leader.httpAddress}` } : {},
    );
  }

  #assigned(shard: ShardId) {
    const assignment = this.#controller.view.assignment(shard);
    if (assignment) return assignment;
    throw new ProblemError(
      'not-found',
      `no shard ${shard} has been touched yet; \`skein shard list\` shows those that are`,
    );
  }

  #node(name: string): NodeRecord {
    const { view } = this.#controller;
    const node = view.nodeByName(name) ?? view.nodes.get(name);
    if (node) return node;
    const names = [...view.nodes.values()].map((known) => known.name).sort();
    throw new ProblemError('not-found', `there is no node ${name}; there are ${names.join(', ') || 'none'}`);
  }

  #nodeIn(shard: ShardId, region: Region): NodeRecord {
    const { view } = this.#controller;
    const { service } = parseShardId(shard);
    const able = [...view.nodes.values()].filter(
      (node) =>
        node.region === region &&
        node.state === 'ready' &&
        !view.cordons.has(node.name) &&
        node.services[service] !== undefined,
    );
    // The emptiest; the shard's own preference breaks ties.
    const fewest = Math.min(...able.map((node) => view.shardsOf(node.processId).size));
    const best = able.filter((node) => view.shardsOf(node.processId).size === fewest);
    const chosen = rendezvous(shard, best, (node) => node.name);
    if (chosen) return chosen;
    const regions = [...new Set([...view.nodes.values()].map((node) => node.region))].sort();
    throw new ProblemError(
      'conflict',
      regions.includes(region)
        ? `no node in ${region} takes new shards of ${service}; see \`skein node list\``
        : `there is no node in ${region}; there are nodes in ${regions.join(', ')}`,
    );
  }

  #mayHost(shard: ShardId, target: NodeRecord): void {
    const { service } = parseShardId(shard);
    const manifest = target.services[service];
    if (!manifest) throw new ProblemError('conflict', `${target.name} does not host the service ${service}`);
    if (manifest.allowedRegions && !manifest.allowedRegions.includes(target.region))
      throw new ProblemError('conflict', `shards of ${service} may not live in ${target.region}`);
    if (target.state === 'draining') throw new ProblemError('conflict', `${target.name} is being drained`);
  }

  #mayHold(cell: CellId, region: Region): void {
    const { cells } = this.#controller.view;
    if (cells.get(cell)?.region === region) return;
    const there = cellsOf(region, cells).sort();
    throw new ProblemError(
      'conflict',
      cells.has(cell)
        ? `${cell} is in ${cells.get(cell)!.region}, not in ${region}, which has ${there.join(', ') || 'none'}`
        : `there is no cell ${cell}; ${region} has ${there.join(', ') || 'none'}`,
    );
  }

  #migrationsByShard(): Map<ShardId, MigrationView> {
    return new Map(this.#controller.migrationsUnderWay().map((migration) => [migration.shard, migration]));
  }

  #shardView(shard: ShardId, migration: MigrationView | undefined): ShardView {
    const { view } = this.#controller;
    const assignment = this.#assigned(shard);
    const node = view.nodes.get(assignment.primary);
    const { service, key } = parseShardId(shard);
    const shift = view.shifts.get(shard);
    return {
      shard,
      service,
      key,
      node: node?.name ?? assignment.primary,
      processId: assignment.primary,
      region: node?.region,
      zone: node?.zone,
      epoch: assignment.epoch,
      cell: assignment.cell,
      standbys: assignment.standbys,
      version: assignment.version,
      stateBytes: this.#controller.stateBytes(shard),
      orphaned: node === undefined,
      quarantine: view.quarantines.get(shard),
      migration: migration
        ? {
            id: migration.id,
            target: view.nodes.get(migration.target)?.name ?? migration.target,
            step: migration.step,
            percent: migration.percent,
          }
        : shift && {
            id: shift.migration,
            target: view.nodes.get(shift.to)?.name ?? shift.to,
            step: 'shift',
            percent: shift.percent,
          },
    };
  }

  async #put(key: string, record: object): Promise<void> {
    await this.#store(() =>
      this.#controller.control.transact({
        compare: [],
        operations: [{ put: key, value: encodeRecord(record) }],
      }),
    );
  }

  async #delete(key: string): Promise<void> {
    await this.#store(() =>
      this.#controller.control.transact({ compare: [], operations: [{ delete: key }] }),
    );
  }

  async #store(run: () => Promise<unknown>): Promise<void> {
    try {
      await run();
    } catch (error) {
      throw new ProblemError(
        'unavailable',
        `the control store did not answer: ${messageOf(error)}`,
        {},
        { cause: error },
      );
    }
  }
}

function withoutPlan({ plan, ...decision }: Decision): StatusView['lastDecision'] {
  return { ...decision, moves: plan?.moves.length ?? 0 };
}
