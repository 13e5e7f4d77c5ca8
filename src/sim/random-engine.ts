/**
 * A loop engine that moves shards at random: what a migration must survive does not depend on why it was ordered.
 */

import type { LoopEngine, TickInput } from '../controller/loop-engine.ts';
import type { Random } from '../io/io.ts';
import type { ProcessId, ShardId } from '../model/ids.ts';
import type { Move } from '../model/loop.ts';
import type { Assignment } from '../model/records.ts';

export class RandomEngine implements LoopEngine {
  readonly #random: Random;
  readonly #movesPerTick: number;
  readonly #assignments = new Map<ShardId, Assignment>();
  readonly #isMoving: () => boolean;
  #generation = 0;

  /** @param isMoving false: plans are empty from now on, also of an engine that is made later. */
  constructor(random: Random, movesPerTick: number, isMoving: () => boolean) {
    this.#random = random;
    this.#movesPerTick = movesPerTick;
    this.#isMoving = isMoving;
  }

  async tick(input: TickInput) {
    if (input.assignments.reset) this.#assignments.clear();
    for (const assignment of input.assignments.put) this.#assignments.set(assignment.shard, assignment);
    for (const shard of input.assignments.gone) this.#assignments.delete(shard);
    const nodes = input.nodes
      .filter(({ record, cordoned }) => record.state === 'ready' && !cordoned)
      .map(({ record }) => record);
    const busy = new Set(input.inFlight.map(({ shard }) => shard));
    const shards = [...this.#assignments.values()].filter(({ shard }) => !busy.has(shard));
    const moves: Move[] = [];
    for (let i = 0; this.#isMoving() && i < this.#movesPerTick && shards.length > 0; i++) {
      const assignment = shards.splice(Math.floor(this.#random.next() * shards.length), 1)[0]!;
      const targets = nodes.filter(({ processId }) => processId !== assignment.primary);
      const target = targets[Math.floor(this.#random.next() * targets.length)];
      if (!target || !nodes.some(({ processId }) => processId === assignment.primary)) continue;
      const cell =
        Object.entries(input.cells).find(([, region]) => region === target.region)?.[0] ?? assignment.cell;
      moves.push(randomMove(assignment, target.processId, cell));
    }
    const none = { tookMs: { forecast: 0, placement: 0 } };
    if (moves.length === 0) return { outcome: 'still' as const, reason: 'nothing drawn', ...none };
    this.#generation++;
    const plan = { generation: this.#generation, parent: this.#generation - 1, madeAtMs: input.atMs, moves };
    return { outcome: 'planned' as const, reason: 'drawn at random', plan, ...none };
  }

  async insight() {
    return undefined;
  }

  async forecast() {
    return undefined;
  }

  async save() {
    return new Uint8Array();
  }

  async load() {
    return true;
  }

  async close() {}
}

function randomMove(assignment: Assignment, target: ProcessId, cell: string): Move {
  return {
    shard: assignment.shard,
    source: assignment.primary,
    target,
    cell,
    epoch: assignment.epoch,
    reason: {
      text: 'drawn at random',
      gainUsdPerHour: 0,
      costUsdPerHour: 0,
      latencyMsNow: 0,
      latencyMsThen: 0,
    },
    priority: 'improve',
    bytes: 0,
  };
}
