/**
 * For tests of the machine: builders of records and statuses, and a loop that performs actions on a pretend world.
 */
import type { ExecutionStats, HandOffResult, ReplicaStatus } from '../node/protocol.ts';
import type { Action, Event } from './events.ts';
import { MigrationMachine } from './machine.ts';
import type { MigrationRecord } from './record.ts';
import { SETTINGS_DEFAULT, type SettingsChange, withSettings } from './settings.ts';

export function aRecord(change: Partial<MigrationRecord> = {}): MigrationRecord {
  return {
    id: 'm-1',
    shard: 'room/a',
    source: 'n1.a',
    sourceAddress: 'host:1',
    target: 'n2.b',
    targetAddress: 'host:2',
    cell: 'cell-2',
    sourceCell: 'cell-2',
    epoch: 7,
    state: 'planned',
    step: 0,
    percent: 0,
    handedOff: false,
    express: false,
    cancelled: false,
    verdict: 'rolled-back',
    detail: '',
    reason: 'nearer to its users',
    priority: 'improve',
    startedAtMs: 0,
    executor: 'e',
    ...change,
  };
}

export function stats(count: number, errors = 0, meanMs = 1): ExecutionStats {
  return { count, errors, handlerMsSum: count * meanMs, handlerMsP99: meanMs * 2 };
}

export function aStatus(change: Partial<ReplicaStatus> = {}): ReplicaStatus {
  return {
    shard: 'room/a',
    role: 'follower',
    epoch: 7,
    appliedSeq: 100,
    durableSeq: 100,
    sourceSeq: 100,
    phase: 'following',
    bytesTransferred: 10,
    bytesTotal: 10,
    stateBytes: 10,
    executed: { commands: stats(0), queries: stats(0) },
    users: 64,
    ...change,
  };
}

/** What a pretend world does; every test changes what it is about. */
export interface World {
  users: number;
  /** Mean handler time and share of errors at the source and at the target. */
  sourceMs: number;
  targetMs: number;
  targetErrorShare: number;
  /** One way between executor, source and target: delays answers, and is in no handler time. */
  distanceMs: number;
  queriesPerSecond: number;
  owner: 'source' | 'target' | 'other';
  /** What users wait at the source and at the target, as gateways measure it. */
  usersMsBefore: number;
  usersMsAfter: number;
  /** Requests are measured only from so many of each hundred. */
  measuredShare: number;
  /** The shard takes commands only. */
  onlyCommands: boolean;
  /** The node that executes a hand-off refuses it so often. */
  refusals: number;
}

export const A_WORLD: World = {
  users: 64,
  sourceMs: 2,
  targetMs: 2,
  targetErrorShare: 0,
  distanceMs: 1,
  queriesPerSecond: 100,
  owner: 'source',
  usersMsBefore: 80,
  usersMsAfter: 5,
  measuredShare: 1,
  onlyCommands: false,
  refusals: 0,
};

export interface Played {
  record: MigrationRecord;
  percents: number[];
  states: string[];
  actions: Action[];
  tookMs: number;
  handOffs: { forward: number; back: number };
}

/**
 * Plays a migration to its end. `crashAt`: after so many actions the executor dies before performing the next one, and
 * another goes on from the last durable record.
 */
export function play(
  options: {
    world?: Partial<World>;
    record?: Partial<MigrationRecord>;
    settings?: SettingsChange;
    crashAt?: number;
    /** Delivered once, when the predicate first holds. */
    inject?: { when: (record: MigrationRecord) => boolean; event: Event };
  } = {},
): Played {
  const world = { ...A_WORLD, ...options.world };
  const settings = withSettings(SETTINGS_DEFAULT, options.settings);
  let machine = new MigrationMachine(aRecord(options.record), settings);
  let durable: MigrationRecord | undefined;
  let nowMs = 0;
  let performed = 0;
  let queriesAtTarget = 0;
  let queriesAtSource = 0;
  let commandsAtTarget = 0;
  let measured = 0;
  let pending: { atMs: number; event: Event }[] = [];
  const played: Played = {
    record: machine.record,
    percents: [],
    states: [],
    actions: [],
    tookMs: 0,
    handOffs: { forward: 0, back: 0 },
  };
  let injected = false;
  let wakeAtMs: number | undefined;
  const work = (dtMs: number) => {
    const amount = (dtMs / 1000) * world.queriesPerSecond;
    const share = machine.record.percent / 100;
    const queries = world.onlyCommands ? 0 : amount;
    queriesAtTarget += queries * share;
    queriesAtSource += world.onlyCommands ? 0 : queries * (1 - share) + 0.01;
    if (world.owner === 'target') {
      commandsAtTarget += amount * (world.onlyCommands ? 1 : 0.3);
      measured += amount * world.measuredShare;
    }
  };
  const answer = (action: Action): Event | undefined => {
    const epoch = world.owner === 'target' ? 8 : 7;
    switch (action.type) {
      case 'record':
        durable = action.record;
        return { type: 'recorded', state: action.record.state, step: action.record.step };
      case 'read-assignment': {
        const primary = world.owner === 'source' ? 'n1.a' : world.owner === 'target' ? 'n2.b' : 'n3.c';
        return {
          type: 'assignment',
          assignment: { shard: 'room/a', epoch, primary, cell: 'cell-2', standbys: [], version: 1 },
        };
      }
      case 'prepare':
      case 'observe': {
        const queries = Math.floor(queriesAtTarget);
        const commands = Math.floor(commandsAtTarget);
        return {
          type: 'observed',
          target: aStatus({
            role: world.owner === 'target' ? 'primary' : 'follower',
            latency: {
              migration: 'm-1',
              byOrigin: {
                'eu-west-1': {
                  before: { count: 100, msSum: 100 * world.usersMsBefore },
                  after: { count: Math.floor(measured), msSum: Math.floor(measured) * world.usersMsAfter },
                },
              },
            },
            executed: {
              queries: stats(queries, Math.floor(queries * world.targetErrorShare), world.targetMs),
              commands: stats(commands, Math.floor(commands * world.targetErrorShare), world.targetMs),
            },
          }),
          source: aStatus({
            role: world.owner === 'source' ? 'primary' : 'follower',
            users: world.users,
            executed: {
              queries: stats(world.onlyCommands ? 0 : 1_000 + Math.floor(queriesAtSource), 0, world.sourceMs),
              commands: stats(1_000, 0, world.sourceMs),
            },
          }),
        };
      }
      case 'warm-up':
        return {
          type: 'warmed',
          report: {
            hookMs: 1,
            replayed: world.onlyCommands ? 0 : 20,
            mismatches: 0,
            sourceMsMean: 2,
            targetMsMean: 2,
          },
        };
      case 'hand-off': {
        const to = action.direction === 'forward' ? 'target' : 'source';
        if (world.refusals > 0) {
          world.refusals--;
          const result: HandOffResult = { outcome: 'refused', reason: 'not now' };
          return { type: 'handed-off', direction: action.direction, result };
        }
        if (world.owner === to)
          return { type: 'handed-off', direction: action.direction, result: { outcome: 'already', epoch } };
        world.owner = to;
        played.handOffs[action.direction]++;
        return {
          type: 'handed-off',
          direction: action.direction,
          result: { outcome: 'swapped', epoch: epoch + 1, version: 2, sealedMs: 3, bytesCopied: 0 },
        };
      }
      case 'drop':
        return { type: 'dropped', at: action.at };
      case 'finish':
        return undefined;
    }
  };
  const deliver = (event: Event) => {
    const step = machine.step(event, nowMs);
    wakeAtMs = step.wakeAtMs;
    played.states.push(machine.record.state);
    played.percents.push(machine.record.percent);
    for (const action of step.actions) {
      if (performed++ === options.crashAt) {
        pending = [];
        machine = new MigrationMachine(durable ?? aRecord(options.record), settings);
        deliver({ type: 'start' });
        return;
      }
      played.actions.push(action);
      const event = answer(action);
      const delayMs = action.type === 'record' ? 0 : world.distanceMs * 2;
      if (event) pending.push({ atMs: nowMs + delayMs, event });
    }
    if (options.inject && !injected && options.inject.when(machine.record)) {
      injected = true;
      deliver(options.inject.event);
    }
  };
  deliver({ type: 'start' });
  for (let turn = 0; turn < 100_000 && !machine.ended; turn++) {
    pending.sort((a, b) => a.atMs - b.atMs);
    const next = pending[0];
    if (next && (wakeAtMs === undefined || next.atMs <= wakeAtMs)) {
      pending.shift();
      work(Math.max(0, next.atMs - nowMs));
      nowMs = Math.max(nowMs, next.atMs);
      deliver(next.event);
    } else if (wakeAtMs !== undefined) {
      work(Math.max(0, wakeAtMs - nowMs));
      nowMs = Math.max(nowMs, wakeAtMs);
      deliver({ type: 'tick' });
    } else break;
  }
  played.record = machine.record;
  played.tookMs = nowMs;
  return played;
}
