/**
 * Starts, limits, resumes and shows migrations. One a leader; two that both believe they lead do no harm (SPEC.md, M3).
 *
 * Boundary: it never touches an assignment; only the nodes' own swaps change who owns a shard.
 */
import { type Io, randomId } from '../io/io.ts';
import type { ProcessId, ShardId } from '../model/ids.ts';
import type { Move } from '../model/loop.ts';
import { CONTROL_KEYS, decodeRecord, type NodeRecord } from '../model/records.ts';
import type { NodePeer } from '../node/participant.ts';
import type { ControlStore } from '../store/store.ts';
import type { MigrationRecord, State } from './record.ts';
import { MigrationRun, type RunEnvironment } from './run.ts';
import {
  type MigrationSettings,
  percentsOf,
  SETTINGS_DEFAULT,
  type SettingsChange,
  withSettings,
} from './settings.ts';
import type { MigrationView } from './view.ts';

export interface MigrationLimits {
  /** Moves at once; those that fail and tidy up count. */
  movesMax: number;
  /** Moves at once that a node takes part in, as source or target. */
  movesPerNodeMax: number;
  /** Transfers of all moves together. */
  bytesPerSecond: number;
  /** Transfers in and out of one node. */
  bytesPerSecondPerNode: number;
  /** Moves waiting for their turn; beyond this `start` throws. */
  queuedMax: number;
}

export const LIMITS_DEFAULT: MigrationLimits = {
  movesMax: 64,
  movesPerNodeMax: 32,
  bytesPerSecond: 256 * 1024 * 1024,
  bytesPerSecondPerNode: 64 * 1024 * 1024,
  queuedMax: 10_000,
};

/** Ended migrations kept for showing. */
const ENDED_MAX = 500;
const RESUME_PAGE = 500;

/** `conflict`: the shard is being moved already; `refused`: the move cannot be done as asked; `full`: try later. */
export class MigrationError extends Error {
  override readonly name = 'MigrationError';
  readonly code: 'conflict' | 'refused' | 'full';
  constructor(code: 'conflict' | 'refused' | 'full', message: string) {
    super(message);
    this.code = code;
  }
}

interface Entry {
  view: MigrationView;
  record: MigrationRecord;
  settings: MigrationSettings;
  version: number;
  shiftVersion: number;
  run?: MigrationRun;
}

/**
 * @example
 * const executor = new MigrationExecutor({ io, control, peer, nodeRecord, settings: { stepDwellMsMax: 500 } });
 * const id = executor.start(move);
 * executor.list().find((migration) => migration.id === id)?.step; // 'transferring'
 */
export class MigrationExecutor {
  readonly #io: Io;
  readonly #control: ControlStore;
  readonly #nodeRecord: (processId: ProcessId) => NodeRecord | undefined;
  readonly #limits: MigrationLimits;
  readonly #settings: MigrationSettings;
  readonly #onUpdate: (view: MigrationView) => void;
  readonly #environment: RunEnvironment;
  readonly #queue: Entry[] = [];
  readonly #running = new Map<string, Entry>();
  readonly #byShard = new Map<ShardId, Entry>();
  readonly #ended: MigrationView[] = [];
  readonly #busy = new Map<ProcessId, number>();

  constructor(options: {
    io: Io;
    control: ControlStore;
    peer(address: string): NodePeer;
    nodeRecord(processId: ProcessId): NodeRecord | undefined;
    limits?: Partial<MigrationLimits>;
    /** Changes to {@link SETTINGS_DEFAULT}, for every migration. */
    settings?: SettingsChange;
    onUpdate?: (view: MigrationView) => void;
  }) {
    this.#io = options.io;
    this.#control = options.control;
    this.#nodeRecord = options.nodeRecord;
    this.#limits = { ...LIMITS_DEFAULT, ...options.limits };
    this.#settings = withSettings(SETTINGS_DEFAULT, options.settings);
    percentsOf(this.#settings);
    this.#onUpdate = options.onUpdate ?? (() => {});
    this.#environment = {
      io: options.io,
      control: options.control,
      executor: `executor-${randomId(options.io.random)}`,
      peer: options.peer,
      nodeRecord: options.nodeRecord,
      bytesPerSecond: (source, target) => this.#share(source, target),
    };
  }

  /**
   * Begins a move, or queues it where the limits are reached.
   *
   * @throws MigrationError `conflict`, `refused` or `full`
   */
  start(move: Move, settings: SettingsChange = {}): string {
    const source = this.#nodeRecord(move.source);
    const target = this.#nodeRecord(move.target);
    if (this.#byShard.has(move.shard))
      throw new MigrationError('conflict', `${move.shard} is being moved already; wait, or cancel that move`);
    if (!source || !target)
      throw new MigrationError(
        'refused',
        `${source ? move.target : move.source} is not registered (any more)`,
      );
    if (move.source === move.target)
      throw new MigrationError('refused', `${move.shard} is on ${move.target} already`);
    if (this.#queue.length >= this.#limits.queuedMax)
      throw new MigrationError(
        'full',
        `${this.#limits.queuedMax} moves are waiting already; try again later`,
      );
    const merged = withSettings(this.#settings, settings);
    percentsOf(merged);
    const record: MigrationRecord = {
      id: `m-${randomId(this.#io.random)}`,
      shard: move.shard,
      source: move.source,
      sourceAddress: source.address,
      target: move.target,
      targetAddress: target.address,
      cell: move.cell,
      sourceCell: move.cell,
      epoch: move.epoch,
      state: 'planned',
      step: 0,
      percent: 0,
      handedOff: false,
      express: false,
      cancelled: false,
      verdict: 'rolled-back',
      detail: '',
      reason: move.reason.text,
      priority: move.priority,
      startedAtMs: this.#io.clock.realtimeMs(),
      executor: this.#environment.executor,
    };
    if (move.reason.promise !== undefined) record.promise = move.reason.promise;
    if (Object.keys(settings).length > 0) record.settings = settings;
    const entry = this.#entry(record, merged, 0, 0);
    this.#queue.push(entry);
    this.#onUpdate(entry.view);
    this.#admit();
    return record.id;
  }

  /** Asks a migration to stop and undo itself; false: there is none, or it is past the point of return. */
  cancel(id: string): boolean {
    const queued = this.#queue.findIndex((entry) => entry.record.id === id);
    if (queued >= 0) {
      const [entry] = this.#queue.splice(queued, 1);
      entry!.view.detail = 'cancelled before it began';
      this.#close(entry!, 'rolled-back');
      return true;
    }
    const run = this.#running.get(id)?.run;
    if (!run) return false;
    const { state } = run.machine.record;
    if (run.machine.ended || state === 'decommissioning') return false;
    if (state === 'rolling-back' || state === 'handing-back') return true;
    run.deliver({ type: 'cancel' });
    return true;
  }

  /**
   * Takes up every migration that the control store knows and this executor does not drive. Also for later: the first
   * write of a migration creates its keys, so an attempt at it that lands after the end creates them once more.
   */
  async resumeAll(): Promise<void> {
    let after: string | undefined;
    for (;;) {
      const { entries } = await this.#control.list('migration/', { limit: RESUME_PAGE, after });
      for (const { key, value } of entries) {
        after = key;
        const { shard } = decodeRecord<MigrationRecord>(value);
        if (this.#byShard.has(shard)) continue;
        const shiftKey = CONTROL_KEYS.shift(shard);
        const { read } = await this.#control.transact({
          compare: [],
          operations: [],
          read: [key, shiftKey],
        });
        const [own, shift] = read;
        // Ended since it was listed, or begun.
        if (own === undefined || this.#byShard.has(shard)) continue;
        const record = decodeRecord<MigrationRecord>(own.value);
        const settings = withSettings(this.#settings, record.settings);
        // What runs, runs: a resumed migration does not queue behind new ones.
        this.#begin(this.#entry(record, settings, own.version, shift?.version ?? 0));
      }
      if (entries.length < RESUME_PAGE) return;
    }
  }

  /** Running and queued ones, then those that ended, newest first. */
  list(): MigrationView[] {
    const views: MigrationView[] = [];
    for (const entry of this.#running.values()) views.push(refreshed(entry));
    for (const entry of this.#queue) views.push(entry.view);
    return views.concat(this.#ended.toReversed());
  }

  /** Stops acting at once; what runs stays recorded for the next leader, what only waits is forgotten. */
  stop(): void {
    for (const entry of this.#running.values()) entry.run?.stop();
    this.#running.clear();
    this.#queue.length = 0;
    this.#byShard.clear();
    this.#busy.clear();
  }

  #entry(record: MigrationRecord, settings: MigrationSettings, version: number, shiftVersion: number): Entry {
    const entry: Entry = {
      record,
      settings,
      version,
      shiftVersion,
      view: {
        id: record.id,
        shard: record.shard,
        source: record.source,
        target: record.target,
        sourceName: this.#nodeRecord(record.source)?.name,
        targetName: this.#nodeRecord(record.target)?.name,
        cell: record.cell,
        step: 'queued',
        percent: record.percent,
        reason: record.reason,
        priority: record.priority,
        startedAtMs: record.startedAtMs,
        bytesTransferred: 0,
        bytesTotal: 0,
        ...(record.promise === undefined ? {} : { promise: record.promise }),
      },
    };
    this.#byShard.set(record.shard, entry);
    return entry;
  }

  /** Begins what the limits allow, in order; a move whose nodes are busy lets later ones pass. */
  #admit(): void {
    for (let index = 0; index < this.#queue.length && this.#running.size < this.#limits.movesMax; ) {
      const entry = this.#queue[index]!;
      const { source, target } = entry.record;
      const max = this.#limits.movesPerNodeMax;
      if ((this.#busy.get(source) ?? 0) >= max || (this.#busy.get(target) ?? 0) >= max) {
        index++;
        continue;
      }
      this.#queue.splice(index, 1);
      this.#begin(entry);
    }
  }

  #begin(entry: Entry): void {
    const { record } = entry;
    this.#running.set(record.id, entry);
    for (const node of [record.source, record.target]) this.#busy.set(node, (this.#busy.get(node) ?? 0) + 1);
    entry.run = new MigrationRun({
      environment: this.#environment,
      record,
      settings: entry.settings,
      version: entry.version,
      shiftVersion: entry.shiftVersion,
      onChange: () => this.#onUpdate(refreshed(entry)),
      onEnd: (how, reason) => this.#release(entry, how, reason),
    });
    entry.run.start();
  }

  #release(entry: Entry, how: 'ended' | 'superseded', reason: string): void {
    const { record } = entry;
    if (this.#running.get(record.id) !== entry) return;
    this.#running.delete(record.id);
    for (const node of [record.source, record.target]) {
      const left = (this.#busy.get(node) ?? 1) - 1;
      if (left > 0) this.#busy.set(node, left);
      else this.#busy.delete(node);
    }
    refreshed(entry);
    if (how === 'superseded') {
      entry.view.detail = reason;
      this.#close(entry, 'rolled-back');
    } else this.#close(entry, entry.run!.machine.record.state);
    this.#admit();
  }

  #close(entry: Entry, state: State): void {
    const { view } = entry;
    view.outcome = state === 'done' ? 'completed' : state === 'failed' ? 'failed' : 'rolledBack';
    view.step = state;
    view.endedAtMs = this.#io.clock.realtimeMs();
    if (this.#byShard.get(view.shard) === entry) this.#byShard.delete(view.shard);
    this.#ended.push(view);
    if (this.#ended.length > ENDED_MAX) this.#ended.shift();
    this.#onUpdate(view);
  }

  #share(source: ProcessId, target: ProcessId): number {
    const atNode = Math.max(this.#busy.get(source) ?? 1, this.#busy.get(target) ?? 1, 1);
    const { bytesPerSecond, bytesPerSecondPerNode } = this.#limits;
    return Math.max(
      1,
      Math.min(bytesPerSecondPerNode / atNode, bytesPerSecond / Math.max(1, this.#running.size)),
    );
  }
}

function refreshed(entry: Entry): MigrationView {
  const { view, run } = entry;
  if (!run || view.outcome) return view;
  const { record, targetStatus } = run.machine;
  view.step = record.state;
  view.percent = record.percent;
  if (record.detail !== '') view.detail = record.detail;
  else delete view.detail;
  if (targetStatus) {
    view.bytesTransferred = Math.max(view.bytesTransferred, targetStatus.bytesTransferred);
    view.bytesTotal = Math.max(view.bytesTotal, targetStatus.bytesTotal);
  }
  if (record.measured) view.measured = record.measured;
  if (run.handOff) view.handOff = run.handOff;
  return view;
}
