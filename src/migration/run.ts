/**
 * One migration under way: performs what its machine asks for and reports back.
 *
 * Every action may be performed twice, by two executors, or late (SPEC.md, M1). Actions behind a record that must be
 * written ahead wait until it is durable (M2); other records are written when their state lasts, so that a small
 * shard's move is not made of writes.
 */
import type { Io } from '../io/io.ts';
import { MachineDriver } from '../machine/machine.ts';
import type { ProcessId } from '../model/ids.ts';
import {
  type Assignment,
  type AssignmentRecord,
  CONTROL_KEYS,
  decodeRecord,
  type NodeRecord,
} from '../model/records.ts';
import type { NodePeer } from '../node/participant.ts';
import type { HandOffPhases, HandOffResult, ReplicaStatus } from '../node/protocol.ts';
import type { ControlStore } from '../store/store.ts';
import type { Action, Direction, Event, Side } from './events.ts';
import { MigrationMachine } from './machine.ts';
import type { MigrationRecord } from './record.ts';
import { RecordWriter, Superseded } from './record-writer.ts';
import type { MigrationSettings } from './settings.ts';

/** A state that lasts shorter than this is not worth a write of its own. */
const BEHIND_MS = 200;
/** How long a target may hold a preparing or transferring status back. */
const LONG_POLL_MS = 1_000;
const STATUS_TIMEOUT_MS = 5_000;
const DROP_TIMEOUT_MS = 5_000;

export interface RunEnvironment {
  io: Io;
  control: ControlStore;
  executor: string;
  peer(address: string): NodePeer;
  nodeRecord(processId: ProcessId): NodeRecord | undefined;
  /** Share of the transfer limits for one more transfer between the two. */
  bytesPerSecond(source: ProcessId, target: ProcessId): number;
}

export class MigrationRun {
  readonly machine: MigrationMachine;
  /** Of the last hand-off that swapped. */
  handOff: { sealedMs: number; bytesCopied: number; phasesMs?: HandOffPhases } | undefined;
  readonly #environment: RunEnvironment;
  readonly #settings: MigrationSettings;
  readonly #driver: MachineDriver<Event, Action>;
  readonly #writer: RecordWriter;
  readonly #onChange: () => void;
  readonly #onEnd: (how: 'ended' | 'superseded', reason: string) => void;
  readonly #waiting: Action[] = [];
  #blocked = false;
  #behind: MigrationRecord | undefined;
  #cancelBehind: () => void = () => {};
  #stopped = false;

  constructor(options: {
    environment: RunEnvironment;
    record: MigrationRecord;
    settings: MigrationSettings;
    version: number;
    shiftVersion: number;
    onChange: () => void;
    onEnd: (how: 'ended' | 'superseded', reason: string) => void;
  }) {
    this.#environment = options.environment;
    this.#settings = options.settings;
    this.#onChange = options.onChange;
    this.#onEnd = options.onEnd;
    this.machine = new MigrationMachine(options.record, options.settings);
    const { clock } = options.environment.io;
    this.#writer = new RecordWriter({
      control: options.environment.control,
      clock,
      executor: options.environment.executor,
      record: options.record,
      version: options.version,
      shiftVersion: options.shiftVersion,
    });
    this.#driver = new MachineDriver<Event, Action>({
      machine: this.machine,
      clock,
      tick: { type: 'tick' },
      perform: (action) => {
        this.#waiting.push(action);
        this.#pump();
      },
    });
  }

  /** Begins, or goes on from the record. */
  start(): void {
    this.deliver({ type: 'start' });
  }

  deliver(event: Event): void {
    if (this.#stopped) return;
    const { state, percent } = this.machine.record;
    this.#driver.deliver(event);
    const { record } = this.machine;
    if (record.state !== state || record.percent !== percent) this.#onChange();
  }

  /** Acts no more; the record stays for another executor. */
  stop(): void {
    this.#stopped = true;
    this.#driver.stop();
    this.#writer.stop();
    this.#cancelBehind();
    this.#waiting.length = 0;
  }

  #pump(): void {
    while (!this.#blocked && !this.#stopped) {
      const action = this.#waiting.shift();
      if (!action) return;
      if (action.type === 'record') this.#record(action.record, action.ahead);
      else if (action.type === 'finish') this.#finish(action.record);
      else this.#act(action);
    }
  }

  #record(record: MigrationRecord, ahead: boolean): void {
    this.#cancelBehind();
    if (!ahead) {
      this.#behind = record;
      this.#cancelBehind = this.#environment.io.clock.setTimer(BEHIND_MS, () => {
        if (this.#behind === record) this.#write(record, () => {});
      });
      return;
    }
    this.#behind = undefined;
    this.#blocked = true;
    this.#write(record, () => {
      this.#blocked = false;
      this.deliver({ type: 'recorded', state: record.state, step: record.step });
      this.#pump();
    });
  }

  #finish(record: MigrationRecord): void {
    this.#cancelBehind();
    this.#blocked = true;
    this.#writer.finish().then(
      () => this.#over('ended', record.detail),
      (error) => this.#failedWrite(error),
    );
  }

  #write(record: MigrationRecord, done: () => void): void {
    this.#writer.write(record).then(
      () => {
        if (!this.#stopped) done();
      },
      (error) => this.#failedWrite(error),
    );
  }

  #failedWrite(error: unknown): void {
    if (this.#stopped) return;
    const reason = error instanceof Error ? error.message : String(error);
    if (!(error instanceof Superseded))
      this.#environment.io.log.error({ migration: this.machine.record.id, reason }, 'record not written');
    this.#over('superseded', reason);
  }

  #over(how: 'ended' | 'superseded', reason: string): void {
    if (this.#stopped) return;
    this.stop();
    this.#onEnd(how, reason);
  }

  // ---- actions

  #act(action: Exclude<Action, { type: 'record' | 'finish' }>): void {
    switch (action.type) {
      case 'read-assignment':
        this.#readAssignment();
        break;
      case 'prepare':
        this.#prepare();
        break;
      case 'observe':
        this.#observe();
        break;
      case 'warm-up':
        this.#warmUp();
        break;
      case 'hand-off':
        this.#handOff(action.direction, action.attempt);
        break;
      case 'drop':
        this.#dropAt(action.at);
        break;
    }
  }

  #readAssignment(): void {
    const { shard } = this.machine.record;
    this.#environment.control.get(CONTROL_KEYS.own(shard)).then(
      (entry) => {
        const assignment: Assignment | undefined = entry && {
          ...decodeRecord<AssignmentRecord>(entry.value),
          shard,
          version: entry.version,
        };
        this.deliver({ type: 'assignment', assignment });
      },
      (error) => this.#failed('read-assignment', undefined, error),
    );
  }

  #prepare(): void {
    const { record } = this.machine;
    const prepared = this.#peer('target').call(
      'replica.prepare',
      {
        migration: record.id,
        shard: record.shard,
        source: record.source,
        sourceAddress: record.sourceAddress,
        bytesPerSecond: this.#environment.bytesPerSecond(record.source, record.target),
        ...(this.#settings.giveWay ? {} : { giveWay: false as const }),
        waitMs: LONG_POLL_MS,
      },
      { timeoutMs: LONG_POLL_MS + STATUS_TIMEOUT_MS },
    );
    // Together, so that the first judgement already knows the source's users and work.
    Promise.all([prepared, this.#sourceStatus()]).then(
      ([target, source]) => this.deliver({ type: 'observed', target, source }),
      (error) => this.#failed('prepare', 'target', error),
    );
  }

  /** The source's status; a shard that has left its memory is asked back in, since only an open one can be moved. */
  async #sourceStatus(): Promise<ReplicaStatus | undefined> {
    const { record } = this.machine;
    const peer = this.#peer('source');
    try {
      const status = await this.#status('source', 0);
      if (status.role === 'none' && !record.handedOff)
        await peer.call('shard.activate', { shards: [record.shard] }, { timeoutMs: STATUS_TIMEOUT_MS });
      return status;
    } catch {
      return undefined;
    }
  }

  #observe(): void {
    const waitMs = this.machine.record.state === 'transferring' ? LONG_POLL_MS : 0;
    Promise.all([this.#status('target', waitMs), this.#status('source', 0).catch(() => undefined)]).then(
      ([target, source]) => {
        if (!source && !this.#environment.nodeRecord(this.machine.record.source))
          this.deliver({ type: 'gone', side: 'source' });
        this.deliver({ type: 'observed', target, source });
      },
      (error) => this.#failed('observe', 'target', error),
    );
  }

  #status(side: Side, waitMs: number): Promise<ReplicaStatus> {
    const { shard } = this.machine.record;
    return this.#peer(side).call('replica.status', waitMs > 0 ? { shard, waitMs } : { shard }, {
      timeoutMs: waitMs + STATUS_TIMEOUT_MS,
    });
  }

  #warmUp(): void {
    const { id, shard } = this.machine.record;
    this.#peer('target')
      .call('replica.warmUp', { migration: id, shard }, { timeoutMs: this.#settings.warmUpMsMax })
      .then(
        (report) => this.deliver({ type: 'warmed', report }),
        (error) => this.#failed('warm-up', 'target', error),
      );
  }

  #handOff(direction: Direction, attempt: number): void {
    const { record } = this.machine;
    const forward = direction === 'forward';
    const from: Side = forward ? 'source' : 'target';
    const order = {
      migration: record.id,
      shard: record.shard,
      epoch: record.epoch,
      target: forward ? record.target : record.source,
      targetAddress: forward ? record.targetAddress : record.sourceAddress,
      cell: forward ? record.cell : record.sourceCell,
    };
    const timeoutMs = forward ? this.#settings.handOffMsMax : this.#settings.handBackMsMax;
    const peer = this.#peer(from);
    const loaded =
      attempt > 1
        ? peer.call('shard.activate', { shards: [record.shard] }, { timeoutMs: STATUS_TIMEOUT_MS })
        : Promise.resolve();
    loaded
      .catch(() => undefined)
      .then(() => peer.call('replica.handOff', order, { timeoutMs }))
      .then(
        (result: HandOffResult) => {
          if (result.outcome === 'swapped') {
            const { sealedMs, bytesCopied, phasesMs } = result;
            this.handOff = { sealedMs, bytesCopied, phasesMs };
          }
          this.deliver({ type: 'handed-off', direction, result });
        },
        (error) => this.#failed('hand-off', from, error),
      );
  }

  #dropAt(at: Side): void {
    const { id, shard } = this.machine.record;
    this.#peer(at)
      .call('replica.drop', { migration: id, shard }, { timeoutMs: DROP_TIMEOUT_MS })
      .then(
        () => this.deliver({ type: 'dropped', at }),
        (error) => this.#failed('drop', at, error),
      );
  }

  #failed(call: Action['type'], at: Side | undefined, error: unknown): void {
    if (this.#stopped) return;
    const { record } = this.machine;
    // No answer from a process whose node key is gone: it will not come back under that name.
    for (const side of ['source', 'target'] as const)
      if (!this.#environment.nodeRecord(record[side])) this.deliver({ type: 'gone', side });
    this.deliver({
      type: 'call-failed',
      call,
      at,
      reason: error instanceof Error ? error.message : String(error),
    });
  }

  #peer(side: Side): NodePeer {
    const { record } = this.machine;
    return this.#environment.peer(side === 'source' ? record.sourceAddress : record.targetAddress);
  }
}
