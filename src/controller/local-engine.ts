/**
 * The loop's thinking, in this thread: windows -> forecast -> placement -> plan.
 *
 * In production it runs inside `worker.ts`; the simulated world uses it directly. Deterministic: no clock but the
 * one that measures how long it took, no randomness; the same inputs give the same decisions. Unchanged input moves
 * nothing, because placement starts from where shards are and a move must pay for itself.
 */
import { Packr } from 'msgpackr';
import { type BatchExpert, type Forecaster, type OracleSource, withDeclared } from '../forecast/index.ts';
import { type LoadStep, LoadWindows } from '../metrics/index.ts';
import { cellFor } from '../model/cells.ts';
import type { ProcessId, Region, ShardId } from '../model/ids.ts';
import type { PlacementShard, Plan, ShardForecast } from '../model/loop.ts';
import type { Assignment, NodeRecord } from '../model/records.ts';
import {
  bestFixedPlacement,
  commonVariation,
  createPolicy,
  horizonsFor,
  type PlacementInput,
  type PlacementResult,
  type Policy,
  stillPlacer,
} from '../placement/index.ts';
import { type InFlight, MoveLedger, makePlan, repairLost } from '../plan/index.ts';
import { type ForecastQuery, forecastView } from './forecast-view.ts';
import { LoadHistory } from './load-history.ts';
import {
  type EngineConfig,
  type EngineDecision,
  type ForecastView,
  type LoopEngine,
  placementNode,
  type RepairTargets,
  type ShardInsight,
  type TickInput,
} from './loop-engine.ts';
import { bandwidthOf, cpuOf, latencyNowMs, longestTransferS, windowS } from './placement-facts.ts';
import { SignalMemory, type SignalMemoryState } from './signal-memory.ts';
import type { DeclaredSignal } from './signals.ts';

/** Shards placed in one tick: the most recently active ones. A bound on a tick's time. */
export const SHARDS_PLACED_MAX = 20_000;
/** Weight of the newest step in a node's measured overhead. */
const OVERHEAD_SMOOTHING = 0.1;
const FORMAT = 'skein-loop-3';

export interface LocalEngineOptions {
  config: EngineConfig;
  /** Measures how long parts took; nothing is decided by it. */
  monotonicMs: () => number;
  /** For the policy `oracle`. */
  oracle?: OracleSource;
  /** For the policy `predictive`: forecasters beside the engine's own. */
  experts?: readonly BatchExpert[];
}

export class LocalEngine implements LoopEngine {
  readonly #options: LocalEngineOptions;
  readonly #config: EngineConfig;
  readonly #packer = new Packr({ structuredClone: true, moreTypes: true });
  readonly #assignments = new Map<ShardId, Assignment>();
  readonly #overheadCpu = new Map<ProcessId, number>();
  #policy: Policy;
  #windows: LoadWindows;
  #history = new LoadHistory();
  #ledger = new MoveLedger();
  #signals: SignalMemory;
  #generation = 0;
  #steps = 0;
  /** `bestFixed`: where every shard belongs, once learnt. */
  #fixed: Map<ShardId, ProcessId> | undefined;
  #lastInput: TickInput | undefined;
  /** What the last tick placed: a repair does not wait for the next. */
  #lastPlacement: PlacementInput | undefined;

  constructor(options: LocalEngineOptions) {
    this.#options = options;
    this.#config = options.config;
    this.#policy = this.#newPolicy();
    this.#windows = new LoadWindows({ stepMs: this.#config.stepMs });
    this.#signals = new SignalMemory(this.#config.stepMs);
  }

  async tick(input: TickInput): Promise<EngineDecision> {
    const { monotonicMs } = this.#options;
    const startedMs = monotonicMs();
    this.#lastInput = { ...input, reports: [], assignments: { reset: false, put: [], gone: [] } };
    this.#follow(input);
    for (const shard of input.rolledBack) this.#ledger.rolledBack(shard, input.atMs);
    const actual = this.#learn(input);
    const stepS = this.#config.stepMs / 1000;
    if (actual === undefined)
      return {
        outcome: 'skipped',
        reason: this.#steps === 0 ? 'no load has been measured yet' : 'no new measurement in this step',
        tookMs: { forecast: monotonicMs() - startedMs, placement: 0 },
      };
    const { leadS } = this.#config;
    const total = this.#policy.forecaster.total([leadS]);
    this.#history.foresee(this.#history.lastStep + Math.round(leadS / stepS), total.p50[0] ?? 0);
    const placementInput = this.#placementInput(input);
    this.#lastPlacement = placementInput;
    const forecastMs = monotonicMs() - startedMs;
    const placement = this.#withCells(this.#place(input, placementInput), input);
    const decided = this.#plan(input, placement);
    return {
      ...decided,
      forecastRequestsPerSecond: { p50: total.p50[0] ?? 0, p90: total.p90[0] ?? 0, leadS },
      actualRequestsPerSecond: actual / stepS,
      forecastQuality: this.#policy.forecaster.quality?.(),
      costUsdPerHour: { now: placement.cost.now.total, target: placement.cost.target.total },
      ...(placement.certificate === undefined ? {} : { certified: placement.certificate }),
      ...(placement.infeasible.length > 0 ? { infeasible: placement.infeasible } : {}),
      ...(placement.nodeSized.length > 0 ? { nodeSized: placement.nodeSized } : {}),
      tookMs: { forecast: forecastMs, placement: monotonicMs() - startedMs - forecastMs },
    };
  }

  async insight(shard: ShardId): Promise<ShardInsight | undefined> {
    const input = this.#lastInput;
    if (!input || !this.#history.recent(shard)) return undefined;
    const placementInput = this.#placementInput(input);
    const known = placementInput.shards.find((candidate) => candidate.shard === shard);
    const found = this.#policy.placer.explain(placementInput, shard);
    const nowMs = known ? latencyNowMs(placementInput, known) : 0;
    const hours = windowS(placementInput) / 3600;
    return {
      ratesByOrigin: this.#history.ratesByOrigin(shard),
      summary: found.text,
      why: found.why,
      priceUsdPerHour: found.priceUsdPerHour,
      alternatives: found.alternatives.map((alternative) => ({
        node: alternative.target,
        region: alternative.region,
        gainUsdPerHour: alternative.gainUsdPerHour,
        costUsdPerHour: alternative.moveCostUsd / hours,
        latencyMsNow: nowMs,
        latencyMsThen: alternative.latencyMs,
        refusedBy: alternative.refusedBy === undefined ? [] : [alternative.refusedBy],
      })),
      forecast: known?.forecast,
      explanation: this.#policy.forecaster.explain(shard),
    };
  }

  async forecast(shard: ShardId | undefined, query: ForecastQuery = {}): Promise<ForecastView | undefined> {
    const input = this.#lastInput;
    if (this.#steps === 0) return undefined;
    if (shard !== undefined && !this.#history.recent(shard)) return undefined;
    const { forecaster } = this.#policy;
    const state = { forecaster, history: this.#history, stepS: this.#config.stepMs / 1000 };
    const shards = shard === undefined ? this.#shardsOf(query) : undefined;
    if (shards?.length === 0 && (query.node !== undefined || query.region !== undefined)) return undefined;
    return forecastView({ ...query, ...(shard !== undefined && { shard }) }, shards, state, (found) =>
      input ? this.#withDeclared(found, input) : found,
    );
  }

  /** Shards measured of late, of a node or a region where one is named. */
  #shardsOf({ node, region }: ForecastQuery): ShardId[] {
    const there = new Set<ProcessId>();
    for (const { record } of this.#lastInput?.nodes ?? [])
      if ((node === undefined || record.name === node) && (region === undefined || record.region === region))
        there.add(record.processId);
    const found: ShardId[] = [];
    for (const [shard] of this.#history.shards) {
      const primary = this.#assignments.get(shard)?.primary;
      if (primary !== undefined && there.has(primary)) found.push(shard);
    }
    return found.slice(-SHARDS_PLACED_MAX);
  }

  async repair(dead: ProcessId): Promise<RepairTargets | undefined> {
    const last = this.#lastPlacement;
    if (last === undefined) return undefined;
    const nodes = last.nodes.filter((node) => node.processId !== dead);
    const { repairs, stranded } = repairLost({ ...last, nodes });
    const ofDead = <Found extends { lost: ProcessId }>({ lost }: Found) => lost === dead;
    return {
      targets: Object.fromEntries(repairs.filter(ofDead).map(({ shard, target }) => [shard, target])),
      stranded: Object.fromEntries(
        stranded.filter(ofDead).map(({ shard, because, remedy }) => [shard, `${because}: ${remedy}`]),
      ),
    };
  }

  async save(): Promise<Uint8Array> {
    return this.#packer.pack({
      format: this.#format(),
      generation: this.#generation,
      steps: this.#steps,
      forecaster: this.#policy.forecaster.save(),
      fixed: this.#fixed,
      signals: this.#signals.save(),
    });
  }

  async load(bytes: Uint8Array): Promise<boolean> {
    const saved = this.#packer.unpack(bytes) as {
      format: string;
      generation: number;
      steps: number;
      forecaster: unknown;
      fixed?: Map<ShardId, ProcessId>;
      signals?: SignalMemoryState;
    };
    if (saved?.format !== this.#format()) return false;
    const policy = this.#newPolicy();
    policy.forecaster.load(saved.forecaster);
    this.#policy = policy;
    this.#windows = new LoadWindows({ stepMs: this.#config.stepMs });
    this.#history = new LoadHistory();
    this.#ledger = new MoveLedger();
    this.#generation = saved.generation;
    this.#steps = saved.steps;
    this.#fixed = saved.fixed;
    this.#signals = new SignalMemory(this.#config.stepMs);
    this.#signals.load(saved.signals);
    return true;
  }

  async close(): Promise<void> {}

  #newPolicy(): Policy {
    const { policy, learnS, halfLifeS } = this.#config;
    // For the one placement of `bestFixed`, everything learnt weighs about the same.
    return createPolicy(policy, {
      halfLifeS: policy === 'bestFixed' ? learnS * 10 : halfLifeS,
      oracle: this.#options.oracle,
      experts: this.#options.experts,
    });
  }

  #format(): string {
    const experts = (this.#options.experts ?? []).map(({ name }) => `/${name}`).join('');
    return `${FORMAT}/${this.#config.policy}/${this.#config.stepMs}${experts}`;
  }

  #follow({ assignments: { reset, put, gone } }: TickInput): void {
    if (reset) this.#assignments.clear();
    for (const assignment of put) this.#assignments.set(assignment.shard, assignment);
    for (const shard of gone) this.#assignments.delete(shard);
  }

  /** Requests of the newest closed step; undefined where none was closed. */
  #learn(input: TickInput): number | undefined {
    for (const { source, atMs, shards, mix } of input.reports)
      this.#windows.ingest(shards, source, atMs, mix);
    this.#measureOverhead(input);
    let requests: number | undefined;
    for (const step of this.#windows.close(input.atMs)) {
      this.#policy.forecaster.observe(this.#withoutSignals(step, input));
      this.#history.observe(step);
      this.#steps++;
      requests = 0;
      for (const sample of step.shards) requests += sample.commands + sample.queries;
    }
    return requests;
  }

  /** What the forecaster learns: the load as it would have been without the signals that act on it. */
  #withoutSignals(step: LoadStep, { signals }: TickInput): LoadStep {
    if (this.#config.policy !== 'predictive') return step;
    const { forecaster } = this.#policy;
    const next = [step.stepS];
    return this.#signals.without(
      step,
      signals,
      (scope) => this.#expectedIn(scope, forecaster, next) * step.stepS,
    );
  }

  /** Requests a second foreseen for the next step, without signals. */
  #expectedIn(scope: DeclaredSignal['scope'], forecaster: Forecaster, next: readonly number[]): number {
    if ('all' in scope) return forecaster.total(next).p50[0]!;
    if ('shard' in scope)
      return forecaster.forecast([scope.shard], next)[0]!.metrics.requests.quantiles[0][0]!;
    return forecaster.service?.(scope.service, next).p50[0] ?? Number.NaN;
  }

  /** What a node's event loop uses beside its handlers: parsing, the wire, the store. */
  #measureOverhead(input: TickInput): void {
    const handlers = new Map<ProcessId, number>();
    for (const { source, shards } of input.reports) {
      let cpu = 0;
      for (const sample of shards) cpu += sample.cpuSeconds / (sample.stepMs / 1000);
      handlers.set(source, cpu);
    }
    for (const { record, sample } of input.nodes) {
      if (!sample || sample.stepMs <= 0) continue;
      const cpu = Math.max(0, cpuOf(sample) - (handlers.get(record.processId) ?? 0));
      const before = this.#overheadCpu.get(record.processId) ?? cpu;
      this.#overheadCpu.set(record.processId, before + OVERHEAD_SMOOTHING * (cpu - before));
    }
    const present = new Set(input.nodes.map((node) => node.record.processId));
    for (const known of this.#overheadCpu.keys()) if (!present.has(known)) this.#overheadCpu.delete(known);
  }

  #placementInput(input: TickInput): PlacementInput {
    const cells: Record<Region, string> = {};
    for (const [cell, region] of Object.entries(input.cells)) cells[region] = cell;
    const overheadCpu: Record<ProcessId, number> = {};
    const cpuNow: Record<ProcessId, number> = {};
    for (const { record, sample } of input.nodes) {
      overheadCpu[record.processId] = this.#overheadCpu.get(record.processId) ?? 0;
      if (sample && sample.stepMs > 0) cpuNow[record.processId] = cpuOf(sample);
    }
    const shards = this.#shards(input);
    return {
      nodes: input.nodes.map(placementNode),
      shards,
      topology: this.#config.topology,
      cells,
      overheadCpu,
      cpuNow,
      commonVariation: commonVariation(shards, this.#policy.forecaster.total([this.#config.leadS])),
      bandwidthBps: bandwidthOf(input.transferRates),
      copiesGiveWay: this.#config.copiesGiveWay ?? true,
      prices: { moveCpuSecondsPerGb: input.moveCpuSecondsPerGb ?? 0 },
      owedUsd: (shard) => this.#ledger.owedUsd(shard, input.atMs),
    };
  }

  #shards(input: TickInput): PlacementShard[] {
    const nodes = new Map(input.nodes.map(({ record }) => [record.processId, record]));
    const inFlight = new Map(input.inFlight.map(({ shard, target }) => [shard, target]));
    const pinned = new Map(input.pinned.map(({ shard, target }) => [shard, target]));
    const quarantined = new Set(input.quarantined);
    const known: { assignment: Assignment; node: NodeRecord }[] = [];
    for (const [shard] of this.#history.shards) {
      const assignment = this.#assignments.get(shard);
      const node = assignment && nodes.get(assignment.primary);
      // Without its process it is repaired, not placed.
      if (node) known.push({ assignment, node });
    }
    // The history is in order of last activity; the newest are at its end.
    const chosen = known
      .slice(-SHARDS_PLACED_MAX)
      .sort((a, b) => (a.assignment.shard < b.assignment.shard ? -1 : 1));
    const ids = chosen.map(({ assignment }) => assignment.shard);
    const periodS = ids.length > 0 ? (this.#policy.forecaster.explain(ids[0]!).periodsS[0] ?? 0) : 0;
    const most = ids.reduce((bytes, id) => Math.max(bytes, this.#history.recent(id)?.stateBytes ?? 0), 0);
    const longestS = this.#config.leadS + longestTransferS(most, input.transferRates);
    const horizonsS = horizonsFor(this.#config.leadS, periodS, longestS);
    const forecasts = this.#policy.forecaster.forecast(ids, horizonsS);
    return chosen.map(({ assignment, node }, i) => {
      const { shard, primary, cell, epoch } = assignment;
      const recent = this.#history.recent(shard)!;
      const manifest = node.services[shard.slice(0, shard.indexOf('/'))];
      const target = inFlight.get(shard);
      return {
        shard,
        primary,
        cell,
        epoch,
        forecast: this.#withDeclared(forecasts[i]!, input),
        stateBytes: recent.stateBytes,
        writeBytesPerSecond: recent.writeBytesPerSecond,
        bytesPerRequest: recent.bytesPerRequest,
        ...(assignment.standbys.length > 0 ? { standbys: assignment.standbys } : {}),
        allowedRegions: manifest?.allowedRegions,
        // Its node's build wrote the state, so the state is of that version at most.
        version: manifest?.version ?? 1,
        pinnedTo: pinned.get(shard),
        quarantined: quarantined.has(shard) || undefined,
        inFlightTo: target !== undefined && nodes.has(target) ? target : undefined,
      };
    });
  }

  /** Only the predictive policy foresees: the others are there to be compared with. */
  #withDeclared(forecast: ShardForecast, { signals, atMs }: TickInput): ShardForecast {
    if (signals.length === 0 || this.#config.policy !== 'predictive') return forecast;
    return withDeclared(forecast, this.#signals.declaredFor(signals, forecast.shard, atMs));
  }

  #place(input: TickInput, placementInput: PlacementInput): PlacementResult {
    if (input.mode === 'observe') {
      const result = stillPlacer().place(placementInput);
      return { ...result, reason: 'the mode is observe: load is measured and foreseen, nothing is planned' };
    }
    if (this.#config.policy === 'bestFixed') return this.#placeOnce(placementInput);
    return this.#policy.placer.place(placementInput);
  }

  /** Placement knows regions only; which of a region's cells holds a log is said here. */
  #withCells(placement: PlacementResult, input: TickInput): PlacementResult {
    const cells = new Map(Object.entries(input.cells).map(([id, region]) => [id, { region }]));
    const regions = new Map(input.nodes.map(({ record }) => [record.processId, record.region]));
    const relocations = placement.relocations.map((relocation) => {
      const { shard, target } = relocation;
      const present = this.#assignments.get(shard)?.cell ?? relocation.cell;
      return { ...relocation, cell: cellFor(shard, present, regions.get(target) ?? '', cells) };
    });
    return { ...placement, relocations };
  }

  /** The one placement of `bestFixed`; what is not there yet goes there, within the budgets. */
  #placeOnce(input: PlacementInput): PlacementResult {
    const still = stillPlacer().place(input);
    const learnSteps = (this.#config.learnS * 1000) / this.#config.stepMs;
    if (this.#steps < learnSteps)
      return {
        ...still,
        reason: `the policy is bestFixed: it learns for ${Math.ceil(learnSteps - this.#steps)} steps more, then places once`,
      };
    this.#fixed ??= bestFixedPlacement(input);
    const present = new Set(input.nodes.map((node) => node.processId));
    const relocations: PlacementResult['relocations'] = [];
    for (const shard of input.shards) {
      const target = this.#fixed.get(shard.shard);
      if (target === undefined || target === shard.primary || !present.has(target)) continue;
      const node = input.nodes.find((candidate) => candidate.processId === target)!;
      relocations.push({
        shard: shard.shard,
        source: shard.primary,
        target,
        cell: input.cells[node.region] ?? shard.cell,
        reason: {
          text: 'the one placement that is best on average',
          gainUsdPerHour: 0,
          costUsdPerHour: 0,
          latencyMsNow: 0,
          latencyMsThen: 0,
        },
        gainUsd: 0,
        costUsd: 0,
        bytes: shard.stateBytes,
        kind: 'improve',
        neededAtS: 0,
        doneS: 0,
      });
    }
    const reason =
      relocations.length === 0
        ? 'every shard is where it is best on average'
        : `${relocations.length} shards are not yet where they are best on average`;
    return { ...still, target: new Map(this.#fixed), relocations, reason };
  }

  #plan(
    input: TickInput,
    placement: PlacementResult,
  ): Pick<EngineDecision, 'outcome' | 'reason'> & { plan?: Plan } {
    const { plan, reason } = makePlan({
      placement,
      inFlight: input.inFlight.map((flight) => this.#flight(flight, input)),
      tickS: this.#config.stepMs / 1000,
      epochOf: (shard) => this.#assignments.get(shard)?.epoch ?? 0,
      parent: this.#generation,
      atMs: input.atMs,
      budgets: { startedPerTick: this.#config.movesPerPlan },
      draining: new Set(
        input.nodes.filter(({ record }) => record.state === 'draining').map(({ record }) => record.processId),
      ),
    });
    if (!plan) return { outcome: 'still', reason };
    this.#generation = plan.generation;
    if (input.mode !== 'auto') return { outcome: 'recommended', reason, plan };
    const costs = new Map(
      [...placement.relocations, ...(placement.upcoming ?? [])].map(({ shard, costUsd }) => [shard, costUsd]),
    );
    for (const { shard, reason: why } of plan.moves)
      this.#ledger.moved(shard, input.atMs, costs.get(shard) ?? 0, why);
    return { outcome: 'planned', reason, plan };
  }

  /** A migration under way, with the time that its bytes are expected to take yet. */
  #flight({ shard, source, target, startedAtMs }: TickInput['inFlight'][number], input: TickInput): InFlight {
    const bytes = this.#history.recent(shard)?.stateBytes ?? 0;
    const region = (process: ProcessId) =>
      input.nodes.find(({ record }) => record.processId === process)?.record.region ?? '';
    const durationS =
      this.#config.leadS + bytes / bandwidthOf(input.transferRates)(region(source), region(target));
    const spentS = startedAtMs === undefined ? 0 : Math.max(0, input.atMs - startedAtMs) / 1000;
    return { shard, source, target, bytes, leftS: Math.max(0, durationS - spentS) };
  }
}
